//! Generates messages and stubs from `proto/`, without an installed protoc.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let internal = protox::compile(["dropbear/v1/dropbear.proto", "dropbear/v1/siblings.proto"], ["proto"])?;
    let inference = protox::compile(["inference/inference.proto"], ["proto"])?;
    // For gRPC reflection: clients see the public service alone.
    let descriptors = std::path::Path::new(&std::env::var("OUT_DIR")?).join("inference.bin");
    std::fs::write(descriptors, inference.encode_to_vec())?;
    for schema in [internal, inference] {
        // Payloads are shared between tasks, so `bytes` fields are reference-counted.
        tonic_prost_build::configure().bytes(".").compile_fds(schema)?;
    }
    Ok(())
}
