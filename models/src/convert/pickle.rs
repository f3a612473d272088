//! The part of Python's pickle protocol 2 that PyTorch checkpoints need, and nothing else.
//!
//! A pickle is a program for a stack machine that may call anything it can name. This machine can name four things,
//! none of which runs code; it allocates in proportion to the program's length, and every read is bounded.

use std::collections::BTreeMap;

use thiserror::Error;

/// The most instructions of one pickle. EfficientNet-Lite2's has fifteen thousand.
const OPS_MAX: usize = 1 << 18;

/// Why a pickle was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The input ends within an instruction.
    #[error("it ends at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// An instruction that checkpoints do not need.
    #[error("instruction {op:#04x} at byte {at} is not allowed")]
    Instruction {
        /// The instruction.
        op: u8,
        /// Where.
        at: usize,
    },
    /// A function or class that checkpoints do not need.
    #[error("it names `{name}`, which is not allowed")]
    Global {
        /// Module and name.
        name: String,
    },
    /// An instruction's operands are missing or of the wrong kind.
    #[error("it is malformed at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
    },
    /// More instructions than any checkpoint needs.
    #[error("it has more than {OPS_MAX} instructions")]
    TooLong,
}

/// An index into [`Pickle::values`].
pub(super) type Slot = usize;

/// A value. Containers hold slots, so values can be shared, or even contain themselves, without harm.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A longer integer: two's complement, little-endian.
    Long(&'a [u8]),
    Str(&'a str),
    Tuple(Vec<Slot>),
    List(Vec<Slot>),
    Dict(Vec<(Slot, Slot)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(TensorView),
}

/// The names that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    Storage(Element),
}

/// The element type of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Fp32,
    Int64,
}

/// A run of elements that follows the pickles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) element: Element,
    pub(super) key: &'a str,
    pub(super) count: u64,
}

/// A tensor within a storage; offset and strides count elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorView {
    pub(super) storage: Slot,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// What one pickle built.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Slot,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at the front of `input`, and moves `input` past it.
    pub(super) fn read(input: &mut &'a [u8]) -> Result<Self, PickleError> {
        let mut machine =
            Machine { input, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() };
        let root = machine.run()?;
        let (values, at) = (machine.values, machine.at);
        *input = &input[at..];
        Ok(Self { values, root })
    }

    pub(super) fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    pub(super) fn value(&self, slot: Slot) -> &Value<'a> {
        &self.values[slot]
    }
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Slot>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Slot>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Slot, PickleError> {
        for _ in 0..OPS_MAX {
            let at = self.at;
            match self.byte()? {
                b'.' => return self.pop(),
                op => self.step(op, at)?,
            }
        }
        Err(PickleError::TooLong)
    }

    fn step(&mut self, op: u8, at: usize) -> Result<(), PickleError> {
        match op {
            0x80 => match self.byte()? {
                2 => Ok(()),
                _ => Err(PickleError::Malformed { at }),
            },
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | b'X' => self.push_literal(op),
            b'q' | b'r' | b'h' | b'j' => self.use_memo(op),
            b')' | 0x85 | 0x86 | 0x87 | b't' => self.push_tuple(op),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'a' | b'e' => self.append(op),
            b's' | b'u' => self.set_items(op),
            b'c' => self.push_global(),
            b'Q' => self.push_storage(),
            b'R' => self.call(),
            // A state for the object beneath; only `_metadata` of an ordered dictionary, which no weight needs.
            b'b' => self.pop().and_then(|_| self.dict().map(|_| ())),
            _ => Err(PickleError::Instruction { op, at }),
        }
    }

    fn push_literal(&mut self, op: u8) -> Result<(), PickleError> {
        let value = match op {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => {
                let length = self.byte()?;
                Value::Long(self.take(length.into())?)
            }
            _ => {
                let length = u32::from_le_bytes(self.array()?);
                let bytes = self.take(length as usize)?;
                Value::Str(std::str::from_utf8(bytes).map_err(|_| self.malformed())?)
            }
        };
        self.push(value)
    }

    fn use_memo(&mut self, op: u8) -> Result<(), PickleError> {
        let key = match op {
            b'q' | b'h' => self.byte()?.into(),
            _ => u32::from_le_bytes(self.array()?),
        };
        match op {
            b'q' | b'r' => {
                let top = *self.stack.last().ok_or(self.malformed())?;
                self.memo.insert(key, top);
            }
            _ => self.stack.push(*self.memo.get(&key).ok_or(self.malformed())?),
        }
        Ok(())
    }

    fn push_tuple(&mut self, op: u8) -> Result<(), PickleError> {
        let items = match op {
            b')' => Vec::new(),
            0x85..=0x87 => self.pop_n(usize::from(op - 0x84))?,
            _ => self.pop_to_mark()?,
        };
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, op: u8) -> Result<(), PickleError> {
        let items = match op {
            b'a' => self.pop_n(1)?,
            _ => self.pop_to_mark()?,
        };
        let malformed = self.malformed();
        match self.top()? {
            Value::List(list) => list.extend(items),
            _ => return Err(malformed),
        }
        Ok(())
    }

    fn set_items(&mut self, op: u8) -> Result<(), PickleError> {
        let items = match op {
            b's' => self.pop_n(2)?,
            _ => self.pop_to_mark()?,
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed());
        }
        self.dict()?.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn push_global(&mut self) -> Result<(), PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch", "FloatStorage") => Global::Storage(Element::Fp32),
            ("torch", "LongStorage") => Global::Storage(Element::Int64),
            _ => {
                let name = format!("{module}.{name}").chars().take(80).collect();
                return Err(PickleError::Global { name });
            }
        };
        self.push(Value::Global(global))
    }

    /// A persistent id: `("storage", type, key, location, element count, view)`.
    fn push_storage(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let [kind, element, key, _location, count, _view] = self.tuple(id)?;
        match (&self.values[kind], &self.values[element], &self.values[key]) {
            (Value::Str("storage"), Value::Global(Global::Storage(element)), Value::Str(key)) => {
                let (element, key) = (*element, *key);
                let count = self.count(count)?;
                self.push(Value::Storage(Storage { element, key, count }))
            }
            _ => Err(self.malformed()),
        }
    }

    fn call(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match (&self.values[function], &self.values[arguments]) {
            (Value::Global(Global::OrderedDict), Value::Tuple(items)) if items.is_empty() => {
                self.push(Value::Dict(Vec::new()))
            }
            (Value::Global(Global::RebuildTensor), Value::Tuple(_)) => {
                let [storage, offset, shape, strides, _grad, _hooks] = self.tuple(arguments)?;
                if !matches!(self.values[storage], Value::Storage(_)) {
                    return Err(self.malformed());
                }
                let view = TensorView {
                    storage,
                    offset: self.count(offset)?,
                    shape: self.counts(shape)?,
                    strides: self.counts(strides)?,
                };
                self.push(Value::Tensor(view))
            }
            _ => Err(self.malformed()),
        }
    }

    fn tuple<const N: usize>(&self, slot: Slot) -> Result<[Slot; N], PickleError> {
        match &self.values[slot] {
            Value::Tuple(items) => items.as_slice().try_into().map_err(|_| self.malformed()),
            _ => Err(self.malformed()),
        }
    }

    fn counts(&self, slot: Slot) -> Result<Vec<u64>, PickleError> {
        match &self.values[slot] {
            Value::Tuple(items) => items.iter().map(|&item| self.count(item)).collect(),
            _ => Err(self.malformed()),
        }
    }

    fn count(&self, slot: Slot) -> Result<u64, PickleError> {
        match self.values[slot] {
            Value::Int(count) => u64::try_from(count).map_err(|_| self.malformed()),
            _ => Err(self.malformed()),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Slot, Slot)>, PickleError> {
        let malformed = self.malformed();
        match self.top()? {
            Value::Dict(pairs) => Ok(pairs),
            _ => Err(malformed),
        }
    }

    fn top(&mut self) -> Result<&mut Value<'a>, PickleError> {
        let top = *self.stack.last().ok_or(self.malformed())?;
        Ok(&mut self.values[top])
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), PickleError> {
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Slot, PickleError> {
        let [slot] = self.pop_n(1)?[..] else {
            return Err(self.malformed());
        };
        Ok(slot)
    }

    /// The top `n` slots, lowest first; never from beneath a mark.
    fn pop_n(&mut self, n: usize) -> Result<Vec<Slot>, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(n) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(self.malformed()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Slot>, PickleError> {
        let mark = self.marks.pop().ok_or(self.malformed())?;
        Ok(self.stack.split_off(mark))
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(length.ok_or(PickleError::Truncated { at: self.at })?)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.malformed())
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let taken = self.input[self.at..].get(..length).ok_or(PickleError::Truncated { at: self.at })?;
        self.at += length;
        Ok(taken)
    }

    fn malformed(&self) -> PickleError {
        PickleError::Malformed { at: self.at }
    }
}

#[cfg(test)]
mod tests;
