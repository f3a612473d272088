//! The part of the ONNX file format that our models use: IR version 8, operator set 13. Field numbers are those of
//! `onnx.proto`.

use prost::Message;

use super::checkpoint::Weights;

const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 13;
const ELEMENT_FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;
const ATTRIBUTE_INTS: i32 = 7;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(oneof = "Size", tags = "1, 2")]
    size: Option<Size>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Size {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Parameter(String),
}

/// An attribute of a node.
pub(super) enum Attribute {
    Int(usize),
    Ints(Vec<usize>),
}

/// A graph under construction. Nodes and weights are written in the order in which they are added.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    initializers: Vec<TensorProto>,
}

impl Graph {
    /// Adds a constant.
    pub(super) fn constant(&mut self, name: &str, weights: &Weights) {
        self.initializers.push(TensorProto {
            dims: weights.shape.iter().map(|&dim| dim as i64).collect(),
            data_type: ELEMENT_FLOAT,
            name: name.to_owned(),
            raw_data: (weights.elements.iter()).flat_map(|e| e.to_le_bytes()).collect(),
        });
    }

    /// Adds a node, named after its only output.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]) {
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// The file. `input` and `output` are tensors of any batch of items of the given shape.
    pub(super) fn into_file(self, name: &str, input: (&str, &[usize]), output: (&str, &[usize])) -> Vec<u8> {
        let graph = GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.initializers,
            input: vec![batch_of(input)],
            output: vec![batch_of(output)],
        };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "dropbear".to_owned(),
            graph: Some(graph),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPERATOR_SET }],
        };
        model.encode_to_vec()
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let (i, ints, kind) = match value {
        Attribute::Int(i) => (*i as i64, Vec::new(), ATTRIBUTE_INT),
        Attribute::Ints(ints) => (0, ints.iter().map(|&i| i as i64).collect(), ATTRIBUTE_INTS),
    };
    AttributeProto { name: name.to_owned(), i, ints, kind }
}

fn batch_of((name, item): (&str, &[usize])) -> ValueInfo {
    let batch = Size::Parameter("N".to_owned());
    let sizes = item.iter().map(|&dim| Size::Value(dim as i64));
    let dim = (std::iter::once(batch).chain(sizes)).map(|size| Dimension { size: Some(size) }).collect();
    ValueInfo {
        name: name.to_owned(),
        kind: Some(TypeProto {
            tensor_type: Some(TensorType { elem_type: ELEMENT_FLOAT, shape: Some(Shape { dim }) }),
        }),
    }
}
