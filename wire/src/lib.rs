//! What services say to each other: protobuf schemas, gRPC stubs and conversions to core types.
