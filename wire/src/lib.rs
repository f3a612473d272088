//! What services say to each other: protobuf schemas, gRPC stubs and conversions to core types.
//!
//! Signed things travel as the exact bytes that were signed; the conversions here parse them and blame the sender.

pub mod client;
pub mod convert;
pub mod files;
pub mod follow;
pub mod listen;

#[expect(missing_docs, clippy::all, reason = "generated from proto/, which documents every field")]
pub mod v1 {
    //! Messages and stubs of `dropbear.v1`.
    tonic::include_proto!("dropbear.v1");
}

/// No message between services is larger.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
