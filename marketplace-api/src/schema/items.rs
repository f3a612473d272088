//! Splitting a call's input into requests, each checked against the task.

use bytes::Bytes;
use dropbear_certificates::Digest;
use dropbear_certificates::request::input_digest;
use dropbear_wire::v1;

use super::{Takes, Task};
use crate::ask::{Failure, Tensor, TensorData};
use crate::picture::{PictureRules, check_picture};

/// One element of a datatype, in bytes; `None` for BYTES and unknown ones.
pub(crate) fn element_bytes(datatype: &str) -> Option<usize> {
    Some(match datatype {
        "BOOL" | "UINT8" | "INT8" => 1,
        "UINT16" | "INT16" | "FP16" | "BF16" => 2,
        "UINT32" | "INT32" | "FP32" => 4,
        "UINT64" | "INT64" | "FP64" => 8,
        _ => return None,
    })
}

/// The number of elements of a shape, if it can be counted at all.
pub(crate) fn element_count(shape: &[u64]) -> Option<usize> {
    let count = shape.iter().try_fold(1u64, |count, length| count.checked_mul(*length))?;
    usize::try_from(count).ok()
}

/// Splits an input into items, one per leading index, and checks each against the task.
pub(crate) fn items(
    task: Task,
    input: &Tensor,
    items_max: usize,
    pictures: PictureRules,
) -> Result<Vec<v1::Tensor>, Failure> {
    let shape = canonical_shape(task, input)?;
    let (count, rest) = shape
        .split_first()
        .ok_or_else(|| bad(input, "it needs a batch dimension: the leading index counts the requests".to_owned()))?;
    let count = usize::try_from(*count)
        .ok()
        .filter(|count| (1..=items_max).contains(count))
        .ok_or_else(|| bad(input, format!("its leading dimension is the number of requests, from 1 to {items_max}")))?;
    let pieces = pieces(input, &shape, count)?;
    if task.takes == Takes::Pictures && input.datatype == "BYTES" {
        let mut pixels = 0;
        for (place, piece) in pieces.iter().enumerate() {
            let checked = check_picture(piece, pictures);
            pixels += checked.map_err(|problem| bad(input, format!("element {place} is {problem}")))?;
        }
        let pixels_max = pictures.call_pixels_max;
        if pixels > pixels_max {
            let problem =
                format!("its pictures have {pixels} pixels together, more than {pixels_max}: send fewer at once");
            return Err(bad(input, problem));
        }
    }
    let item =
        |data| v1::Tensor { name: input.name.clone(), datatype: input.datatype.clone(), shape: rest.to_vec(), data };
    Ok(pieces.into_iter().map(item).collect())
}

/// The digest that a request commits to.
pub(crate) fn digest(item: &v1::Tensor) -> Digest {
    input_digest(&item.name, &item.datatype, &item.shape, &item.data)
}

fn bad(input: &Tensor, problem: String) -> Failure {
    let name: String = input.name.chars().take(64).collect();
    Failure::BadInput(format!("input `{name}`: {problem}"))
}

fn canonical_shape(task: Task, input: &Tensor) -> Result<Vec<u64>, Failure> {
    if input.name.len() > 256 || input.shape.len() > 16 {
        return Err(bad(input, "its name or shape is too long".into()));
    }
    if task.takes == Takes::Tensor {
        return Ok(input.shape.clone());
    }
    if input.name != "image" {
        return Err(bad(input, "this group takes one input, `image`".into()));
    }
    match (input.datatype.as_str(), input.shape.as_slice()) {
        // Many clients write a batch of scalars as [N, 1].
        ("BYTES", [count] | [count, 1]) => Ok(vec![*count]),
        ("UINT8", [_, height, width, 3]) if *height > 0 && *width > 0 => Ok(input.shape.clone()),
        _ => Err(bad(
            input,
            format!(
                "{} {:?} is not BYTES [N] of encoded JPEG or PNG, nor UINT8 [N, height, width, 3]",
                input.datatype, input.shape
            ),
        )),
    }
}

/// The contents of each item.
fn pieces(input: &Tensor, shape: &[u64], count: usize) -> Result<Vec<Bytes>, Failure> {
    let elements = element_count(shape).ok_or_else(|| bad(input, "its shape is too large".into()))?;
    match &input.data {
        TensorData::Elements(found) if shape.len() > 1 || found.len() != elements => Err(bad(
            input,
            format!("BYTES of shape [{count}] need {count} elements; {} came, of shape {:?}", found.len(), input.shape),
        )),
        TensorData::Elements(found) => Ok(found.clone()),
        TensorData::Raw(data) => {
            let size = element_bytes(&input.datatype)
                .ok_or_else(|| bad(input, format!("the datatype `{}` is not known", input.datatype)))?;
            let needed = elements.checked_mul(size).filter(|needed| *needed == data.len() && *needed > 0);
            let needed = needed.ok_or_else(|| {
                bad(input, format!("shape {:?} of {} does not fit {} bytes", input.shape, input.datatype, data.len()))
            })?;
            let each = needed / count;
            Ok((0..count).map(|place| data.slice(place * each..(place + 1) * each)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gives;
    use super::*;

    const RULES: PictureRules = PictureRules { side_max: 4096, pixels_max: 1 << 24, call_pixels_max: 1 << 25 };

    const PICTURES: Task = Task { takes: Takes::Pictures, gives: Gives::Class };
    const TENSOR: Task = Task { takes: Takes::Tensor, gives: Gives::Echo { exact: false } };

    fn raw(datatype: &str, shape: &[u64], bytes: usize) -> Tensor {
        let data = TensorData::Raw(Bytes::from(vec![7; bytes]));
        Tensor { name: "image".into(), datatype: datatype.into(), shape: shape.to_vec(), data }
    }

    fn split(task: Task, tensor: &Tensor) -> Result<Vec<v1::Tensor>, String> {
        items(task, tensor, 8, RULES).map_err(|failure| failure.to_string())
    }

    #[test]
    fn one_item_per_leading_index() {
        let items = split(PICTURES, &raw("UINT8", &[2, 4, 5, 3], 120)).unwrap();
        assert_eq!((items.len(), items[1].shape.as_slice(), items[1].data.len()), (2, [4, 5, 3].as_slice(), 60));
        let items = split(TENSOR, &raw("FP32", &[1, 16], 64)).unwrap();
        assert_eq!((items.len(), items[0].data.len()), (1, 64));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (task, tensor) in [
            (PICTURES, raw("UINT8", &[1, 4, 5, 4], 80)),
            (PICTURES, raw("UINT8", &[1, 4, 5, 3], 59)),
            (PICTURES, raw("FP32", &[1, 4, 5, 3], 240)),
            (PICTURES, raw("UINT8", &[9, 1, 1, 3], 27)),
            (TENSOR, raw("FP32", &[], 4)),
            (TENSOR, raw("FP32", &[0], 0)),
            (TENSOR, raw("FP32", &[1, 0], 0)),
            (TENSOR, raw("FP99", &[1], 4)),
            (TENSOR, raw("FP32", &[u64::MAX, u64::MAX], 4)),
            (TENSOR, raw("FP32", &[1, u64::MAX], 4)),
        ] {
            let message = split(task, &tensor).unwrap_err();
            assert!(message.starts_with("input `image`: "), "{message}");
        }
    }

    #[test]
    fn elements_are_counted_and_looked_at() {
        let elements = |shape: &[u64], count| Tensor {
            data: TensorData::Elements(vec![Bytes::from_static(b"GIF89a"); count]),
            ..raw("BYTES", shape, 0)
        };
        let refused = split(PICTURES, &elements(&[1], 1)).unwrap_err();
        assert!(refused.contains("element 0 is not a JPEG or PNG"), "{refused}");
        assert!(split(PICTURES, &elements(&[2], 1)).unwrap_err().contains("need 2 elements"));
        assert_eq!(split(TENSOR, &elements(&[2], 2)).map(|items| items.len()), Ok(2));
        assert!(split(TENSOR, &elements(&[2, 2], 4)).is_err());
    }
}
