//! Tensor data in JSON: straight into bytes, whatever the nesting, never more elements than the shape has.

use std::fmt;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use crate::ask::TensorData;
use crate::schema::element_bytes;

/// Nested no deeper than tensors have dimensions.
const DEPTH_MAX: usize = 16;

/// Reads a tensor's JSON `data`. With `base64`, BYTES elements are base64; else their text is the element.
pub(super) fn read(json: &RawValue, datatype: &str, count: usize, base64: bool) -> Result<TensorData, String> {
    if matches!(datatype, "FP16" | "BF16") {
        return Err(format!("{datatype} has no JSON form: send it as binary data"));
    }
    let size = element_bytes(datatype);
    if size.is_none() && datatype != "BYTES" {
        return Err("its datatype is not known".into());
    }
    // What a client claims is not allocated before it is there: an element takes at least two characters.
    let capacity = count.min(json.get().len() / 2 + 1) * size.unwrap_or(0);
    let mut sink = Sink { datatype, count, base64, found: 0, raw: Vec::with_capacity(capacity), elements: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_str(json.get());
    Level { sink: &mut sink, depth: 0 }.deserialize(&mut deserializer).map_err(|error| format!("its data: {error}"))?;
    if sink.found != count {
        return Err(format!("its shape has {count} elements, its data {}", sink.found));
    }
    Ok(if datatype == "BYTES" { TensorData::Elements(sink.elements) } else { TensorData::Raw(sink.raw.into()) })
}

struct Sink<'a> {
    datatype: &'a str,
    count: usize,
    base64: bool,
    found: usize,
    raw: Vec<u8>,
    elements: Vec<Bytes>,
}

impl Sink<'_> {
    fn count(&mut self) -> Result<(), String> {
        self.found += 1;
        if self.found > self.count { Err(format!("more than {} elements", self.count)) } else { Ok(()) }
    }

    fn integer(&mut self, number: i128) -> Result<(), String> {
        self.count()?;
        let misfit = |_| format!("{number} is no {}", self.datatype);
        match self.datatype {
            "UINT8" => self.raw.push(u8::try_from(number).map_err(misfit)?),
            "UINT16" => self.raw.extend(u16::try_from(number).map_err(misfit)?.to_le_bytes()),
            "UINT32" => self.raw.extend(u32::try_from(number).map_err(misfit)?.to_le_bytes()),
            "UINT64" => self.raw.extend(u64::try_from(number).map_err(misfit)?.to_le_bytes()),
            "INT8" => self.raw.extend(i8::try_from(number).map_err(misfit)?.to_le_bytes()),
            "INT16" => self.raw.extend(i16::try_from(number).map_err(misfit)?.to_le_bytes()),
            "INT32" => self.raw.extend(i32::try_from(number).map_err(misfit)?.to_le_bytes()),
            "INT64" => self.raw.extend(i64::try_from(number).map_err(misfit)?.to_le_bytes()),
            "BOOL" if matches!(number, 0 | 1) => self.raw.push(number as u8),
            "FP32" => self.raw.extend((number as f32).to_le_bytes()),
            "FP64" => self.raw.extend((number as f64).to_le_bytes()),
            other => return Err(format!("a number is no {other}")),
        }
        Ok(())
    }

    fn fraction(&mut self, number: f64) -> Result<(), String> {
        self.count()?;
        match self.datatype {
            "FP32" => self.raw.extend((number as f32).to_le_bytes()),
            "FP64" => self.raw.extend(number.to_le_bytes()),
            other => return Err(format!("{number} is no {other}")),
        }
        Ok(())
    }

    fn flag(&mut self, flag: bool) -> Result<(), String> {
        self.count()?;
        if self.datatype != "BOOL" {
            return Err(format!("a boolean is no {}", self.datatype));
        }
        self.raw.push(flag.into());
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        self.count()?;
        if self.datatype != "BYTES" {
            return Err(format!("a string is no {}", self.datatype));
        }
        let element = if self.base64 { decode(text)? } else { Bytes::copy_from_slice(text.as_bytes()) };
        self.elements.push(element);
        Ok(())
    }
}

fn decode(text: &str) -> Result<Bytes, String> {
    let bytes = text.as_bytes();
    let decoded =
        BASE64.decode(bytes).or_else(|_| BASE64_NOPAD.decode(bytes)).or_else(|_| BASE64URL_NOPAD.decode(bytes));
    decoded.map(Bytes::from).map_err(|_| "BYTES elements of this group are base64 in JSON; this one is not".into())
}

struct Level<'a, 'b> {
    sink: &'a mut Sink<'b>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensor elements, in nested arrays or flat")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(A::Error::custom("nested too deeply"));
        }
        while sequence.next_element_seed(Level { sink: &mut *self.sink, depth })?.is_some() {}
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.sink.integer(number.into()).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.sink.integer(number.into()).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.sink.fraction(number).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<(), E> {
        self.sink.flag(flag).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.sink.text(text).map_err(E::custom)
    }
}

/// Writes a tensor's JSON `data`, flat. What JSON cannot say (FP16, NaN) becomes null.
pub(super) fn write(datatype: &str, data: &TensorData) -> serde_json::Result<Box<RawValue>> {
    fn numbers<T: serde::Serialize, const N: usize>(
        raw: &[u8],
        read: fn([u8; N]) -> T,
    ) -> serde_json::Result<Box<RawValue>> {
        to_raw_value(&raw.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect::<Vec<_>>())
    }
    let raw = match data {
        TensorData::Raw(raw) => raw,
        TensorData::Elements(elements) => {
            let text = |element: &Bytes| match std::str::from_utf8(element) {
                Ok(text) => text.to_owned(),
                Err(_) => BASE64.encode(element),
            };
            return to_raw_value(&elements.iter().map(text).collect::<Vec<_>>());
        }
    };
    match datatype {
        "BOOL" => numbers(raw, |[byte]: [u8; 1]| byte != 0),
        "UINT8" => numbers(raw, u8::from_le_bytes),
        "UINT16" => numbers(raw, u16::from_le_bytes),
        "UINT32" => numbers(raw, u32::from_le_bytes),
        "UINT64" => numbers(raw, u64::from_le_bytes),
        "INT8" => numbers(raw, i8::from_le_bytes),
        "INT16" => numbers(raw, i16::from_le_bytes),
        "INT32" => numbers(raw, i32::from_le_bytes),
        "INT64" => numbers(raw, i64::from_le_bytes),
        "FP32" => numbers(raw, f32::from_le_bytes),
        "FP64" => numbers(raw, f64::from_le_bytes),
        _ => numbers(raw, |_: [u8; 2]| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str, datatype: &str, count: usize) -> Result<TensorData, String> {
        let raw: Box<RawValue> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        read(&raw, datatype, count, true)
    }

    fn raw(bytes: &[u8]) -> Result<TensorData, String> {
        Ok(TensorData::Raw(Bytes::copy_from_slice(bytes)))
    }

    #[test]
    fn nested_and_flat_are_the_same() {
        assert_eq!(parse("[[1,2],[3,255]]", "UINT8", 4), raw(&[1, 2, 3, 255]));
        assert_eq!(parse("[1,2,3,255]", "UINT8", 4), raw(&[1, 2, 3, 255]));
        assert_eq!(parse("[true,0]", "BOOL", 2), raw(&[1, 0]));
        assert_eq!(
            parse(r#"["aGk=","aGk"]"#, "BYTES", 2),
            Ok(TensorData::Elements(vec![Bytes::from_static(b"hi"); 2]))
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        for (json, datatype, count, complaint) in [
            ("[256]", "UINT8", 1, "256 is no UINT8"),
            ("[-1]", "UINT64", 1, "-1 is no UINT64"),
            ("[1.5]", "INT64", 1, "1.5 is no INT64"),
            ("[1,2]", "UINT8", 1, "more than 1"),
            ("[1]", "UINT8", 2, "has 2 elements"),
            ("[1]", "UINT8", usize::MAX, "elements"),
            ("[\"*\"]", "BYTES", 1, "base64"),
            ("[1]", "BYTES", 1, "no BYTES"),
            ("[null]", "FP32", 1, "null"),
            ("{\"a\":1}", "FP32", 1, "map"),
            ("[1]", "FP16", 1, "binary"),
            ("[1]", "STRING", 1, "not known"),
            (&deep, "UINT8", 1, "deep"),
        ] {
            let message = parse(json, datatype, count).unwrap_err();
            assert!(message.contains(complaint), "{json}: {message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(numbers in prop::collection::vec(any::<f32>(), 1..20)) {
            prop_assume!(numbers.iter().all(|number| number.is_finite()));
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let json = write("FP32", &TensorData::Raw(bytes.clone().into())).unwrap();
            prop_assert_eq!(read(&json, "FP32", numbers.len(), false), raw(&bytes));
        }
    }
}
