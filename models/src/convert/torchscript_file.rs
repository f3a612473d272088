//! The part of the TorchScript archive format that our models use: one module with tensors and a `forward`. A zip file
//! that stores, with the code as text and the tensors as raw little-endian numbers, each at a multiple of 64 bytes; the
//! names of the members, and the pickle opcodes, are those of PyTorch's serialization.

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::checkpoint::Weights;

/// The folder that an archive's members lie in.
const ARCHIVE: &str = "model";
/// The archive format's version: 3 has `forward` as a method and integer division as it is today.
const VERSION: &str = "3\n";
/// Members begin at multiples of it, so that tensors can be mapped.
const ALIGNMENT: u16 = 64;

/// A module under construction. Statements and tensors are written in the order in which they are added.
pub(super) struct Module {
    name: &'static str,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    body: String,
    values: usize,
}

impl Module {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, tensors: Vec::new(), body: String::new(), values: 0 }
    }

    /// Adds a tensor: an attribute of `self`, with underscores for dots.
    pub(super) fn tensor(&mut self, name: &str, weights: &Weights) {
        let bytes = weights.elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.tensors.push((name.replace('.', "_"), weights.shape.clone(), bytes));
    }

    /// Adds a statement; the name of its value.
    pub(super) fn value(&mut self, expression: &str) -> String {
        let name = format!("_{}", self.values);
        self.values += 1;
        self.body += &format!("    {name} = {expression}\n");
        name
    }

    /// The file. `forward` takes one tensor `x`, and returns `result`.
    pub(super) fn into_file(self, result: &str) -> Vec<u8> {
        let mut archive = Archive(ZipWriter::new(Cursor::new(Vec::new())));
        archive.member("data.pkl", &self.pickle());
        archive.member("code/__torch__.py", self.code(result).as_bytes());
        // No constants: an empty tuple.
        archive.member("constants.pkl", b"\x80\x02).");
        for (i, (_, _, bytes)) in self.tensors.iter().enumerate() {
            archive.member(&format!("data/{i}"), bytes);
        }
        archive.member("byteorder", b"little");
        archive.member("version", VERSION.as_bytes());
        archive.0.finish().expect("memory does not fail").into_inner()
    }

    fn code(&self, result: &str) -> String {
        let names: Vec<&str> = self.tensors.iter().map(|(name, _, _)| name.as_str()).collect();
        let listed: String = names.iter().map(|name| format!("\"{name}\", ")).collect();
        let declared: String = names.iter().map(|name| format!("  {name} : Tensor\n")).collect();
        let (name, body) = (self.name, &self.body);
        format!(
            "class {name}(Module):\n  __parameters__ = [{listed}]\n  __buffers__ = []\n{declared}  training : bool\n  \
             def forward(self: __torch__.{name},\n    x: Tensor) -> Tensor:\n{body}    return {result}\n"
        )
    }

    /// The module object: its class and its attributes.
    fn pickle(&self) -> Vec<u8> {
        let mut pickle = Pickle(vec![0x80, 2]);
        pickle.global("__torch__", self.name);
        // An empty tuple, a new object of the class, then the dictionary of its attributes.
        pickle.0.extend(b")\x81}(");
        for (key, (name, shape, bytes)) in self.tensors.iter().enumerate() {
            pickle.text(name);
            pickle.tensor(key, shape, bytes.len() / 4);
        }
        pickle.text("training");
        // False; set the items; build; stop.
        pickle.0.extend(b"\x89ub.");
        pickle.0
    }
}

struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Archive {
    fn member(&mut self, name: &str, bytes: &[u8]) {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::DEFAULT)
            .with_alignment(ALIGNMENT);
        let started = self.0.start_file(format!("{ARCHIVE}/{name}"), options);
        started.and_then(|()| Ok(self.0.write_all(bytes)?)).expect("memory does not fail");
    }
}

/// Pickle opcodes, protocol 2.
struct Pickle(Vec<u8>);

impl Pickle {
    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend(u32::try_from(text.len()).expect("names are short").to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn integer(&mut self, number: usize) {
        self.0.push(b'J');
        self.0.extend(i32::try_from(number).expect("tensors have fewer than 2³¹ elements").to_le_bytes());
    }

    fn integers(&mut self, numbers: &[usize]) {
        self.0.push(b'(');
        numbers.iter().for_each(|number| self.integer(*number));
        self.0.push(b't');
    }

    /// `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`, the storage being member `key`.
    fn tensor(&mut self, key: usize, shape: &[usize], elements: usize) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend(b"((");
        self.text("storage");
        self.global("torch", "FloatStorage");
        self.text(&key.to_string());
        self.text("cpu");
        self.integer(elements);
        // The tuple, as a persistent id.
        self.0.extend(b"tQ");
        self.integer(0);
        self.integers(shape);
        self.integers(&strides(shape));
        self.0.push(0x89);
        self.global("collections", "OrderedDict");
        // Called without arguments; the tuple of all; called.
        self.0.extend(b")RtR");
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn strides_are_row_major() {
        assert_eq!(strides(&[8, 3, 5, 5]), [75, 25, 5, 1]);
        assert_eq!(strides(&[7]), [1]);
        assert!(strides(&[]).is_empty());
    }

    #[test]
    fn an_archive_has_code_and_aligned_tensors() -> Result<(), Box<dyn std::error::Error>> {
        let mut module = Module::new("Twice");
        let weights = Weights { shape: vec![2], elements: vec![1.0, -2.0] };
        module.tensor("layer.two", &weights);
        let product = module.value("torch.mul(x, self.layer_two)");
        let file = module.into_file(&product);
        let mut archive = zip::ZipArchive::new(Cursor::new(&file))?;
        let mut code = String::new();
        archive.by_name("model/code/__torch__.py")?.read_to_string(&mut code)?;
        assert!(code.contains("    _0 = torch.mul(x, self.layer_two)\n    return _0\n"), "{code}");
        let mut numbers = Vec::new();
        let mut member = archive.by_name("model/data/0")?;
        assert_eq!(member.data_start().ok_or("no start")? % u64::from(ALIGNMENT), 0);
        member.read_to_end(&mut numbers)?;
        assert_eq!(numbers, [1.0f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        Ok(())
    }
}
