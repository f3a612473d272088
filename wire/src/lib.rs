//! What services say to each other: protobuf schemas, gRPC stubs and conversions to core types.
//!
//! Signed things travel as the exact bytes that were signed; the conversions here parse them and blame the sender.

pub mod client;
pub mod convert;
pub mod files;
pub mod follow;
pub mod governance;
pub mod infer;
pub mod listen;
pub mod registry;

#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/, which documents every field"
)]
pub mod v1 {
    //! Messages and stubs of `dropbear.v1`.
    tonic::include_proto!("dropbear.v1");
}

#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/, which documents what is not plain"
)]
pub mod inference {
    //! Messages and stubs of the Open Inference Protocol's package `inference`.
    tonic::include_proto!("inference");

    /// The encoded descriptors of this package, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("inference");
}

/// No message between services is larger.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// An owner's entry waits this long for a block that is made for others: a block of its own costs the whole market.
pub const ENTRY_PATIENCE: std::time::Duration = std::time::Duration::from_millis(150);
