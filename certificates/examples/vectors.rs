//! Writes the test vectors of `testdata/` and the example of `SPEC.md`: `cargo run -p dropbear-certificates --example vectors`.

use std::fs;
use std::path::Path;

use dropbear_certificates::samples::{example, files};

fn main() -> std::io::Result<()> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for (name, content) in files() {
        let path = testdata.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)?;
    }
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md");
    let text = example::put_into(&fs::read_to_string(&spec)?).ok_or(std::io::ErrorKind::InvalidData)?;
    fs::write(spec, text)
}
