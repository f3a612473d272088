//! A batch as gRPC has it on the wire, in pieces. What is repeated here of protobuf's encoding is the tags and lengths
//! around an input, in whose order they may come: an input's bytes last.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::v1;

/// Field numbers of `proto/dropbear/v1/dropbear.proto`.
const REQUEST_ITEMS: u32 = 3;
const ITEM_INPUT: u32 = 4;
const TENSOR_DATA: u32 = 4;

/// One gRPC message, uncompressed. An input's bytes are shared with the request, not copied.
pub(super) fn pieces(request: &v1::InferRequest) -> Vec<Bytes> {
    let mut pieces = Pieces::default();
    pieces.text.put_u8(0);
    #[expect(clippy::cast_possible_truncation, reason = "checked against MESSAGE_BYTES_MAX")]
    pieces.text.put_u32(request.encoded_len() as u32);
    let v1::InferRequest { group, charter, items, want_outputs } = request;
    let head = v1::InferRequest {
        group: group.clone(),
        charter: charter.clone(),
        items: Vec::new(),
        want_outputs: *want_outputs,
    };
    pieces.message(&head);
    for item in items {
        pieces.field(REQUEST_ITEMS, item.encoded_len());
        let v1::InferItem { request, signature, seed, input } = item;
        let (request, signature, seed) = (request.clone(), signature.clone(), seed.clone());
        pieces.message(&v1::InferItem { request, signature, seed, input: None });
        let Some(tensor) = input else { continue };
        pieces.field(ITEM_INPUT, tensor.encoded_len());
        let v1::Tensor { name, datatype, shape, data } = tensor;
        let (name, datatype, shape) = (name.clone(), datatype.clone(), shape.clone());
        pieces.message(&v1::Tensor { name, datatype, shape, data: Bytes::new() });
        if !data.is_empty() {
            pieces.field(TENSOR_DATA, data.len());
            pieces.cut();
            pieces.done.push(data.clone());
        }
    }
    pieces.cut();
    pieces.done
}

#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    text: BytesMut,
}

impl Pieces {
    /// A message's fields; infallible, for the buffer grows.
    fn message(&mut self, message: &impl prost::Message) {
        self.text.reserve(message.encoded_len());
        message.encode_raw(&mut self.text);
    }

    fn field(&mut self, number: u32, bytes: usize) {
        self.text.reserve(key_len(number) + encoded_len_varint(bytes as u64));
        encode_key(number, WireType::LengthDelimited, &mut self.text);
        encode_varint(bytes as u64, &mut self.text);
    }

    fn cut(&mut self) {
        if !self.text.is_empty() {
            self.done.push(self.text.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data: &'static [u8]) -> v1::Tensor {
        v1::Tensor { name: "image".into(), datatype: "UINT8".into(), shape: vec![2, 300, 3], data: data.into() }
    }

    fn item(seed: u8, input: Option<v1::Tensor>) -> v1::InferItem {
        let signature = if seed.is_multiple_of(2) { Bytes::new() } else { vec![seed; 64].into() };
        v1::InferItem { request: vec![seed; 200].into(), signature, seed: vec![seed; 32].into(), input }
    }

    #[test]
    fn a_batch_in_pieces_is_the_batch_and_shares_its_inputs() {
        static LARGE: [u8; 100_000] = [7; 100_000];
        let tensors = [Some(tensor(&LARGE)), Some(tensor(&[])), None, Some(v1::Tensor::default()), Some(tensor(b"1"))];
        let items = tensors.into_iter().zip(0..).map(|(input, seed)| item(seed, input)).collect();
        for want_outputs in [false, true] {
            let charter = vec![1; 32].into();
            let items = Vec::clone(&items);
            let request = v1::InferRequest { group: "imagenet".into(), charter, items, want_outputs };
            let pieces = pieces(&request);
            assert!(pieces.iter().any(|piece| piece.as_ptr() == LARGE.as_ptr()), "not copied");
            let all = pieces.concat();
            assert_eq!(all[..5], [&[0], &(all.len() as u32 - 5).to_be_bytes()[..]].concat());
            assert_eq!(v1::InferRequest::decode(&all[5..]), Ok(request));
        }
        assert_eq!(pieces(&v1::InferRequest::default()).concat(), [0; 5]);
    }
}
