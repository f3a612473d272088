//! EfficientNet-Lite as an ONNX graph.

use super::checkpoint::Weights;
use super::onnx_file::{Attribute, Graph};
use super::weighted::EfficientNetLite;
use crate::efficientnet_lite::{Block, CLASSES, Convolution};

/// The ONNX file: input `input` `[N, 3, side, side]`, output `logits` `[N, classes]`.
pub(super) fn write(model: &EfficientNetLite) -> Vec<u8> {
    let mut graph = Graph::default();
    for (name, value) in [("zero", 0.0), ("six", 6.0)] {
        let scalar = Weights { shape: Vec::new(), elements: vec![value] };
        graph.constant(name, &scalar);
    }
    for (name, weights) in model.tensors() {
        graph.constant(&name, weights);
    }
    let mut features = convolution(&mut graph, &model.network.stem, "input");
    for (i, layers) in model.network.blocks.iter().enumerate() {
        features = block(&mut graph, i, layers, features);
    }
    let features = convolution(&mut graph, &model.network.head, &features);
    graph.node("GlobalAveragePool", &[&features], "pooled", &[]);
    graph.node("Flatten", &["pooled"], "flat", &[("axis", Attribute::Int(1))]);
    graph.node("Gemm", &["flat", "fc.weight", "fc.bias"], "logits", &[("transB", Attribute::Int(1))]);
    let side = model.variant.side();
    graph.into_file(model.variant.name(), ("input", &[3, side, side]), ("logits", &[CLASSES]))
}

fn block(graph: &mut Graph, i: usize, block: &Block, input: String) -> String {
    let wide = block.expand.as_ref().map(|expand| convolution(graph, expand, &input));
    let features = convolution(graph, &block.depthwise, wide.as_deref().unwrap_or(&input));
    let features = convolution(graph, &block.project, &features);
    if !block.residual {
        return features;
    }
    let sum = format!("b{i}.add");
    graph.node("Add", &[&features, &input], &sum, &[]);
    sum
}

fn convolution(graph: &mut Graph, layer: &Convolution, input: &str) -> String {
    let (before, after) = layer.padding;
    let attributes = [
        ("group", Attribute::Int(layer.groups)),
        ("kernel_shape", Attribute::Ints(vec![layer.kernel; 2])),
        ("pads", Attribute::Ints(vec![before, before, after, after])),
        ("strides", Attribute::Ints(vec![layer.stride; 2])),
    ];
    let output = format!("{}.out", layer.name);
    let (weight, bias) = (format!("{}.weight", layer.name), format!("{}.bias", layer.name));
    graph.node("Conv", &[input, &weight, &bias], &output, &attributes);
    if !layer.activated {
        return output;
    }
    let activated = format!("{}.act", layer.name);
    graph.node("Clip", &[&output, "zero", "six"], &activated, &[]);
    activated
}
