//! PyTorch checkpoints in the format from before zip files: five pickles, then the elements of each storage.
//!
//! ```text
//! pickle(magic) pickle(1001) pickle(system) pickle(state dictionary) pickle(storage keys)
//! then for each key: element count as a little-endian i64, elements
//! ```

use std::collections::BTreeMap;

use thiserror::Error;

use super::pickle::{Element, Pickle, PickleError, Storage, TensorView, Value};

/// The longest checkpoint that is read, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 256 << 20;
/// `0x1950a86a20f9469cfc6c`, little-endian, as the format's first pickle has it.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Single-precision tensors by name.
#[derive(Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, Weights>,
}

/// One tensor of a checkpoint, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub elements: Vec<f32>,
}

/// Why a file is not a checkpoint that we read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file is longer than [`CHECKPOINT_BYTES_MAX`].
    #[error("the checkpoint is longer than {CHECKPOINT_BYTES_MAX} bytes")]
    TooLong,
    /// The file does not begin as this format does.
    #[error("not a PyTorch checkpoint of the format from before zip files")]
    NotACheckpoint,
    /// One of the pickles was refused.
    #[error("the checkpoint's {part} was refused: {source}")]
    Pickle {
        /// Which pickle.
        part: &'static str,
        /// Why.
        source: PickleError,
    },
    /// A pickle built something other than the format says.
    #[error("the checkpoint's {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// A tensor does not lie within its storage.
    #[error("tensor `{name}` does not lie within its storage")]
    Tensor {
        /// Its name.
        name: String,
    },
    /// The tensors have more elements than the file.
    #[error("the tensors have more elements than the file")]
    Expansion,
}

impl Checkpoint {
    /// Reads a checkpoint. Tensors of other element types (counters) are left out.
    ///
    /// # Errors
    /// When the bytes are not such a checkpoint. Memory stays in proportion to the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::TooLong);
        }
        let mut rest = bytes;
        read_preamble(&mut rest)?;
        let dictionary = read_pickle(&mut rest, "state dictionary")?;
        let keys = read_pickle(&mut rest, "storage keys")?;
        let storages = read_storages(rest, &keys, &declared_storages(&dictionary)?)?;
        let mut elements_left = bytes.len() / size_of::<f32>();
        let mut tensors = BTreeMap::new();
        for (name, view, storage) in named_tensors(&dictionary)? {
            if storage.element == Element::Int64 {
                continue;
            }
            let weights = gather(view, storages[storage.key], &mut elements_left, name)?;
            if tensors.insert(name.to_owned(), weights).is_some() {
                return Err(CheckpointError::Tensor { name: name.into() });
            }
        }
        Ok(Self { tensors })
    }

    /// Takes a tensor out.
    pub(super) fn take(&mut self, name: &str) -> Option<Weights> {
        self.tensors.remove(name)
    }

    /// The names of the tensors that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

fn read_pickle<'a>(rest: &mut &'a [u8], part: &'static str) -> Result<Pickle<'a>, CheckpointError> {
    Pickle::read(rest).map_err(|source| CheckpointError::Pickle { part, source })
}

fn read_preamble(rest: &mut &[u8]) -> Result<(), CheckpointError> {
    let magic = Pickle::read(rest).map_err(|_| CheckpointError::NotACheckpoint)?;
    let protocol = Pickle::read(rest).map_err(|_| CheckpointError::NotACheckpoint)?;
    if *magic.root() != Value::Long(MAGIC) || *protocol.root() != Value::Int(PROTOCOL) {
        return Err(CheckpointError::NotACheckpoint);
    }
    let part = "system description";
    let system = read_pickle(rest, part)?;
    let Value::Dict(pairs) = system.root() else {
        return Err(CheckpointError::Malformed { part });
    };
    let little_endian = pairs.iter().any(|&(key, value)| {
        *system.value(key) == Value::Str("little_endian") && *system.value(value) == Value::Bool(true)
    });
    match little_endian {
        true => Ok(()),
        false => Err(CheckpointError::Malformed { part }),
    }
}

type Named<'p, 'a> = (&'a str, &'p TensorView, Storage<'a>);

fn named_tensors<'p, 'a>(dictionary: &'p Pickle<'a>) -> Result<Vec<Named<'p, 'a>>, CheckpointError> {
    let malformed = CheckpointError::Malformed { part: "state dictionary" };
    let Value::Dict(pairs) = dictionary.root() else {
        return Err(malformed);
    };
    (pairs.iter())
        .map(|&(name, tensor)| {
            let (Value::Str(name), Value::Tensor(view)) = (dictionary.value(name), dictionary.value(tensor)) else {
                return Err(malformed.clone());
            };
            match dictionary.value(view.storage) {
                Value::Storage(storage) => Ok((*name, view, *storage)),
                _ => Err(malformed.clone()),
            }
        })
        .collect()
}

fn declared_storages<'a>(dictionary: &Pickle<'a>) -> Result<BTreeMap<&'a str, Storage<'a>>, CheckpointError> {
    let mut storages = BTreeMap::new();
    for (_, _, storage) in named_tensors(dictionary)? {
        let earlier = storages.insert(storage.key, storage);
        if earlier.is_some_and(|earlier| earlier != storage) {
            return Err(CheckpointError::Malformed { part: "state dictionary" });
        }
    }
    Ok(storages)
}

fn read_storages<'a>(
    mut rest: &'a [u8],
    keys: &Pickle<'a>,
    declared: &BTreeMap<&'a str, Storage<'a>>,
) -> Result<BTreeMap<&'a str, &'a [u8]>, CheckpointError> {
    let malformed = |part| CheckpointError::Malformed { part };
    let Value::List(keys_listed) = keys.root() else {
        return Err(malformed("storage keys"));
    };
    let mut storages = BTreeMap::new();
    for &key in keys_listed {
        let Value::Str(key) = keys.value(key) else {
            return Err(malformed("storage keys"));
        };
        let storage = declared.get(key).ok_or(malformed("storage keys"))?;
        let bytes = read_storage(&mut rest, storage).ok_or(malformed("storages"))?;
        storages.insert(*key, bytes);
    }
    match declared.keys().all(|key| storages.contains_key(key)) {
        true => Ok(storages),
        false => Err(malformed("storages")),
    }
}

fn read_storage<'a>(rest: &mut &'a [u8], storage: &Storage<'_>) -> Option<&'a [u8]> {
    let (count, after) = rest.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*count) != storage.count {
        return None;
    }
    let size: u64 = match storage.element {
        Element::Fp32 => 4,
        Element::Int64 => 8,
    };
    let length = usize::try_from(storage.count.checked_mul(size)?).ok()?;
    let (elements, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(elements)
}

/// Copies a tensor out of its storage, row-major.
fn gather(
    view: &TensorView,
    storage: &[u8],
    elements_left: &mut usize,
    name: &str,
) -> Result<Weights, CheckpointError> {
    let outside = || CheckpointError::Tensor { name: name.into() };
    let (storage, _) = storage.as_chunks::<4>();
    let shape = (view.shape.iter())
        .map(|&dim| usize::try_from(dim).map_err(|_| outside()))
        .collect::<Result<Vec<usize>, _>>()?;
    let count =
        (shape.iter()).try_fold(1usize, |product, &dim| product.checked_mul(dim)).ok_or(CheckpointError::Expansion)?;
    *elements_left = elements_left.checked_sub(count).ok_or(CheckpointError::Expansion)?;
    if view.strides.len() != shape.len() {
        return Err(outside());
    }
    let mut elements = Vec::with_capacity(count);
    let mut index = vec![0u64; shape.len()];
    for _ in 0..count {
        let at = position(view, &index).and_then(|at| usize::try_from(at).ok());
        let bytes = at.and_then(|at| storage.get(at)).ok_or_else(outside)?;
        elements.push(f32::from_le_bytes(*bytes));
        advance(&mut index, &view.shape);
    }
    Ok(Weights { shape, elements })
}

fn position(view: &TensorView, index: &[u64]) -> Option<u64> {
    (index.iter().zip(&view.strides)).try_fold(view.offset, |at, (&i, &stride)| at.checked_add(i.checked_mul(stride)?))
}

/// Counts `index` up within `shape`, last dimension fastest.
fn advance(index: &mut [u64], shape: &[u64]) {
    for (i, &dim) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < dim {
            return;
        }
        *i = 0;
    }
}

#[cfg(test)]
mod tests;
