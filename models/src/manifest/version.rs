//! The canonical encoding of a manifest, and its digest.

use super::{BackendKind, ImageClassification, Manifest, Task};

const CONTEXT: &str = "dropbear 1 model version";

pub(super) fn digest(manifest: &Manifest) -> [u8; 32] {
    let mut fields = Fields(blake3::Hasher::new_derive_key(CONTEXT));
    let task = match manifest.task {
        Task::Identity => "identity",
        Task::ImageClassification(_) => "image-classification",
    };
    for text in [task, &manifest.name, &manifest.licence, &manifest.lineage] {
        fields.put(text.as_bytes());
    }
    if let Task::ImageClassification(classification) = &manifest.task {
        fields.put_classification(classification);
    }
    *fields.0.finalize().as_bytes()
}

struct Fields(blake3::Hasher);

impl Fields {
    fn put(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    fn put_classification(&mut self, classification: &ImageClassification) {
        let backend = match classification.backend {
            BackendKind::Onnx => "onnx",
        };
        let input = &classification.input;
        self.put(backend.as_bytes());
        self.put(&classification.artefact.blake3);
        self.put(input.tensor.as_bytes());
        self.put(&input.side.to_le_bytes());
        self.put(&input.crop_margin.to_le_bytes());
        self.put(&input.mean.to_le_bytes());
        self.put(&input.scale.to_le_bytes());
        self.put(classification.output_tensor.as_bytes());
        self.put(&classification.classes.to_le_bytes());
    }
}
