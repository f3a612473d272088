//! EfficientNet-Lite as a TorchScript module.

use super::torchscript_file::Module;
use super::weighted::EfficientNetLite;
use crate::efficientnet_lite::{Block, Convolution};

/// The TorchScript file: `forward` takes `[N, 3, side, side]` and returns `[N, classes]`.
pub(super) fn write(model: &EfficientNetLite) -> Vec<u8> {
    let mut module = Module::new("EfficientNetLite");
    for (name, weights) in model.tensors() {
        module.tensor(&name, weights);
    }
    let mut features = convolution(&mut module, &model.network.stem, "x");
    for layers in &model.network.blocks {
        features = block(&mut module, layers, features);
    }
    let features = convolution(&mut module, &model.network.head, &features);
    let pooled = module.value(&format!("torch.mean({features}, [2, 3])"));
    let logits = module.value(&format!("torch.linear({pooled}, self.fc_weight, self.fc_bias)"));
    module.into_file(&logits)
}

fn block(module: &mut Module, block: &Block, input: String) -> String {
    let wide = block.expand.as_ref().map(|expand| convolution(module, expand, &input));
    let features = convolution(module, &block.depthwise, wide.as_deref().unwrap_or(&input));
    let features = convolution(module, &block.project, &features);
    match block.residual {
        true => module.value(&format!("torch.add({features}, {input})")),
        false => features,
    }
}

/// PyTorch pads evenly; zeros that cannot be split come first.
fn convolution(module: &mut Module, layer: &Convolution, input: &str) -> String {
    let (before, after) = layer.padding;
    let (input, padding) = match before == after {
        true => (input.to_owned(), before),
        false => (module.value(&format!("torch.constant_pad_nd({input}, [{before}, {after}, {before}, {after}])")), 0),
    };
    let name = layer.name.replace('.', "_");
    let Convolution { stride, groups, .. } = layer;
    let output = module.value(&format!(
        "torch.conv2d({input}, self.{name}_weight, self.{name}_bias, [{stride}, {stride}], [{padding}, {padding}], [1, 1], {groups})"
    ));
    match layer.activated {
        true => module.value(&format!("torch.hardtanh({output}, 0., 6.)")),
        false => output,
    }
}
