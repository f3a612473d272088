//! Generates messages and stubs from `proto/`, without an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["dropbear/v1/dropbear.proto"], ["proto"])?;
    // Payloads are shared between tasks, so `bytes` fields are reference-counted.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
