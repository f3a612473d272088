//! Tensors in protobuf: raw bytes, or elements by datatype.

use bytes::Bytes;
use dropbear_wire::inference::InferTensorContents;
use dropbear_wire::inference::model_infer_request::InferInputTensor;
use dropbear_wire::inference::model_infer_response::InferOutputTensor;

use crate::ask::{Failure, Tensor, TensorData};
use crate::elements::{join_elements, split_elements};
use crate::schema::{Task, element_count};

/// The one input of a request.
pub(super) fn input(task: Task, inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<Tensor, Failure> {
    let count = inputs.len();
    let Ok([input]) = <[InferInputTensor; 1]>::try_from(inputs) else {
        let name = task.input_name();
        return Err(Failure::BadInput(format!("this group takes exactly one input, `{name}`; {count} came")));
    };
    let bad = |problem: &str| Failure::BadInput(format!("input: {problem}"));
    let shape: Option<Vec<u64>> = input.shape.iter().map(|length| u64::try_from(*length).ok()).collect();
    let shape = shape.ok_or_else(|| bad("its shape has a negative length"))?;
    let count = element_count(&shape).ok_or_else(|| bad("its shape is too large"))?;
    let data = match (<[Bytes; 1]>::try_from(raw), input.contents) {
        (Ok([raw]), None) if input.datatype == "BYTES" => split_elements(raw, count).map_err(bad)?,
        (Ok([raw]), None) => TensorData::Raw(raw),
        (Err(raw), Some(contents)) if raw.is_empty() => elements(&input.datatype, contents).map_err(bad)?,
        _ => return Err(bad("its contents come either in `raw_input_contents` or in `contents`")),
    };
    Ok(Tensor { name: input.name, datatype: input.datatype, shape, data })
}

/// Elements by datatype, as raw bytes. Numbers must fit the datatype.
fn elements(datatype: &str, contents: InferTensorContents) -> Result<TensorData, &'static str> {
    const MISFIT: &str = "an element does not fit its datatype";
    fn raw<T: Copy, const N: usize>(
        elements: &[T],
        write: impl Fn(T) -> Option<[u8; N]>,
    ) -> Result<TensorData, &'static str> {
        let written: Option<Vec<[u8; N]>> = elements.iter().map(|element| write(*element)).collect();
        Ok(TensorData::Raw(written.ok_or(MISFIT)?.concat().into()))
    }
    match datatype {
        "BYTES" => Ok(TensorData::Elements(contents.bytes_contents)),
        "BOOL" => raw(&contents.bool_contents, |flag| Some([u8::from(flag)])),
        "UINT8" => raw(&contents.uint_contents, |number| Some([u8::try_from(number).ok()?])),
        "UINT16" => raw(&contents.uint_contents, |number| Some(u16::try_from(number).ok()?.to_le_bytes())),
        "UINT32" => raw(&contents.uint_contents, |number| Some(number.to_le_bytes())),
        "UINT64" => raw(&contents.uint64_contents, |number| Some(number.to_le_bytes())),
        "INT8" => raw(&contents.int_contents, |number| Some(i8::try_from(number).ok()?.to_le_bytes())),
        "INT16" => raw(&contents.int_contents, |number| Some(i16::try_from(number).ok()?.to_le_bytes())),
        "INT32" => raw(&contents.int_contents, |number| Some(number.to_le_bytes())),
        "INT64" => raw(&contents.int64_contents, |number| Some(number.to_le_bytes())),
        "FP32" => raw(&contents.fp32_contents, |number| Some(number.to_le_bytes())),
        "FP64" => raw(&contents.fp64_contents, |number| Some(number.to_le_bytes())),
        _ => Err("its datatype is not known, or has no `contents`: send it in `raw_input_contents`"),
    }
}

/// An output's description, and its raw contents.
pub(super) fn output(tensor: Tensor) -> (InferOutputTensor, Bytes) {
    let raw = match tensor.data {
        TensorData::Raw(raw) => raw,
        TensorData::Elements(elements) => join_elements(&elements),
    };
    let shape = tensor.shape.iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect();
    let output = InferOutputTensor { name: tensor.name, datatype: tensor.datatype, shape, ..Default::default() };
    (output, raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Gives, Takes};

    const TASK: Task = Task { takes: Takes::Tensor, gives: Gives::Echo { exact: false } };

    fn given(
        datatype: &str,
        shape: &[i64],
        contents: Option<InferTensorContents>,
        raw: &[&'static [u8]],
    ) -> Result<Tensor, String> {
        let input = InferInputTensor {
            name: "a".into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            contents,
            ..Default::default()
        };
        let raw = raw.iter().map(|raw| Bytes::from_static(raw)).collect();
        super::input(TASK, vec![input], raw).map_err(|failure| failure.to_string())
    }

    #[test]
    fn raw_and_typed_contents_are_the_same() {
        let typed = InferTensorContents { fp32_contents: vec![1.0, 2.5], ..Default::default() };
        let raw = given("FP32", &[1, 2], None, &[b"\x00\x00\x80\x3f\x00\x00\x20\x40"]);
        assert_eq!(given("FP32", &[1, 2], Some(typed), &[]), raw);
        assert!(raw.is_ok());
        let typed = InferTensorContents { bytes_contents: vec![Bytes::from_static(b"hi")], ..Default::default() };
        assert_eq!(given("BYTES", &[1], Some(typed), &[]), given("BYTES", &[1], None, &[b"\x02\x00\x00\x00hi"]));
    }

    #[test]
    fn hostile_contents_are_refused() {
        let typed = || Some(InferTensorContents { uint_contents: vec![256], ..Default::default() });
        assert!(given("UINT8", &[1], typed(), &[]).unwrap_err().contains("fit"));
        assert!(given("UINT8", &[1], typed(), &[b"x"]).unwrap_err().contains("either"));
        assert!(given("UINT8", &[1], None, &[b"x", b"y"]).unwrap_err().contains("either"));
        assert!(given("UINT8", &[-1], None, &[b"x"]).unwrap_err().contains("negative"));
        assert!(given("FP16", &[1], typed(), &[]).unwrap_err().contains("datatype"));
        assert!(given("BYTES", &[1], None, &[b"\xff\xff\xff\xff"]).unwrap_err().contains("length"));
        assert!(super::input(TASK, Vec::new(), Vec::new()).is_err());
    }
}
