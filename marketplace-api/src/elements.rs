//! BYTES tensors in binary form, as every protocol writes them.

use bytes::Bytes;

use crate::ask::TensorData;

/// The elements of a BYTES tensor in binary form: 4 bytes of little-endian length before each.
pub(crate) fn join_elements(elements: &[Bytes]) -> Bytes {
    let mut joined = Vec::with_capacity(elements.iter().map(|element| element.len() + 4).sum());
    for element in elements {
        joined.extend((element.len() as u32).to_le_bytes());
        joined.extend_from_slice(element);
    }
    joined.into()
}

/// Reads what [`join_elements`] writes.
pub(crate) fn split_elements(mut joined: Bytes, count: usize) -> Result<TensorData, &'static str> {
    const BROKEN: &str = "its BYTES elements need 4 bytes of little-endian length before each, and nothing after";
    let mut elements = Vec::new();
    while !joined.is_empty() {
        let length = joined.first_chunk::<4>().ok_or(BROKEN)?;
        let length = u32::from_le_bytes(*length) as usize;
        if elements.len() == count || length > joined.len() - 4 {
            return Err(BROKEN);
        }
        let _ = joined.split_to(4);
        elements.push(joined.split_to(length));
    }
    Ok(TensorData::Elements(elements))
}
