//! Tensors as they travel between a caller and a backend: element type, shape, row-major elements.

use thiserror::Error;

/// An element type, named as in the Open Inference Protocol (KServe v2, "Tensor Data Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// One byte, zero or one.
    Bool,
    /// Unsigned, one byte.
    Uint8,
    /// Unsigned, two bytes.
    Uint16,
    /// Unsigned, four bytes.
    Uint32,
    /// Unsigned, eight bytes.
    Uint64,
    /// Signed, one byte.
    Int8,
    /// Signed, two bytes.
    Int16,
    /// Signed, four bytes.
    Int32,
    /// Signed, eight bytes.
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// Byte strings, each after its length as a little-endian `u32`.
    Bytes,
}

impl DataType {
    /// Bytes of one element; `None` for [`DataType::Bytes`], whose elements vary.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

/// A tensor's elements, row-major.
///
/// The two types that models here compute with are typed; every other type passes through as its encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single-precision elements.
    Fp32(Vec<f32>),
    /// Byte elements.
    Uint8(Vec<u8>),
    /// Any other type, in the little-endian binary encoding of the Open Inference Protocol.
    Encoded {
        /// The element type.
        data_type: DataType,
        /// The elements' encoding.
        bytes: Vec<u8>,
    },
}

/// An element type, a shape and the elements that the shape promises.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

/// Why elements do not make a tensor of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape promises another number of elements.
    #[error("shape {shape:?} needs {expected} elements, got {got}")]
    ElementCount {
        /// The shape asked for.
        shape: Vec<usize>,
        /// What the shape multiplies to.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// The shape multiplies to more elements than this machine can address.
    #[error("shape {shape:?} has too many elements")]
    Overflow {
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// The encoding breaks off, or has bytes left over.
    #[error("the encoding of {data_type:?} elements is malformed")]
    Encoding {
        /// The element type.
        data_type: DataType,
    },
}

impl Tensor {
    /// A tensor of `shape`, row-major.
    ///
    /// # Errors
    /// When `data` does not hold exactly the elements that `shape` promises.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Self, TensorError> {
        let got = data.element_count()?;
        let expected = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        match expected {
            None => Err(TensorError::Overflow { shape }),
            Some(expected) if expected != got => Err(TensorError::ElementCount { shape, expected, got }),
            Some(_) => Ok(Self { shape, data }),
        }
    }

    /// A single-precision tensor.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn fp32(shape: Vec<usize>, elements: Vec<f32>) -> Result<Self, TensorError> {
        Self::new(shape, TensorData::Fp32(elements))
    }

    /// The sizes of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.data.data_type()
    }

    /// The elements.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The elements, if they are single-precision.
    pub fn as_fp32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::Fp32(elements) => Some(elements),
            _ => None,
        }
    }

    /// The shape and the elements.
    pub fn into_parts(self) -> (Vec<usize>, TensorData) {
        (self.shape, self.data)
    }
}

impl TensorData {
    /// The element type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Fp32(_) => DataType::Fp32,
            Self::Uint8(_) => DataType::Uint8,
            Self::Encoded { data_type, .. } => *data_type,
        }
    }

    fn element_count(&self) -> Result<usize, TensorError> {
        match self {
            Self::Fp32(elements) => Ok(elements.len()),
            Self::Uint8(elements) => Ok(elements.len()),
            Self::Encoded { data_type, bytes } => {
                encoded_count(*data_type, bytes).ok_or(TensorError::Encoding { data_type: *data_type })
            }
        }
    }
}

fn encoded_count(data_type: DataType, bytes: &[u8]) -> Option<usize> {
    match data_type.size() {
        Some(size) => bytes.len().is_multiple_of(size).then(|| bytes.len() / size),
        None => byte_string_count(bytes),
    }
}

fn byte_string_count(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        bytes = rest.get(length..)?;
        count += 1;
    }
    bytes.is_empty().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_elements_must_agree() {
        assert!(Tensor::fp32(vec![2, 3], vec![0.0; 6]).is_ok());
        assert_eq!(
            Tensor::fp32(vec![2, 3], vec![0.0; 5]),
            Err(TensorError::ElementCount { shape: vec![2, 3], expected: 6, got: 5 })
        );
        let huge = vec![usize::MAX, 2];
        assert_eq!(Tensor::fp32(huge.clone(), vec![]), Err(TensorError::Overflow { shape: huge }));
    }

    #[test]
    fn encoded_elements_are_counted() {
        let encoded = |data_type, bytes: &[u8]| TensorData::Encoded { data_type, bytes: bytes.to_vec() };
        assert!(Tensor::new(vec![2], encoded(DataType::Int16, &[1, 0, 2, 0])).is_ok());
        assert!(Tensor::new(vec![1], encoded(DataType::Int64, &[0; 7])).is_err());
        let strings = [1, 0, 0, 0, b'a', 0, 0, 0, 0];
        assert!(Tensor::new(vec![2], encoded(DataType::Bytes, &strings)).is_ok());
        assert!(Tensor::new(vec![2], encoded(DataType::Bytes, &strings[..8])).is_err());
        assert!(Tensor::new(vec![1], encoded(DataType::Bytes, &[255, 255, 255, 255])).is_err());
    }
}
