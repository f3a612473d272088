//! The canonical encoding of a manifest, and its digest.

use super::{ImageClassification, Manifest, Task, VectorTask};

const CONTEXT: &str = "dropbear 1 model version";

pub(super) fn digest(manifest: &Manifest) -> [u8; 32] {
    let mut fields = Fields(blake3::Hasher::new_derive_key(CONTEXT));
    for text in [manifest.task.name(), &manifest.name, &manifest.licence, &manifest.lineage] {
        fields.put(text.as_bytes());
    }
    match &manifest.task {
        Task::Identity => {}
        Task::ImageClassification(classification) => fields.put_classification(classification),
        Task::Vector(task) => fields.put_vector(task),
    }
    if let Some(card) = &manifest.card {
        fields.put(b"card");
        fields.put(&card.blake3);
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
        let input = &classification.input;
        self.put(classification.backend.name().as_bytes());
        self.put(&classification.artefact.blake3);
        self.put(input.tensor.as_bytes());
        self.put(&input.side.to_le_bytes());
        self.put(&input.crop_margin.to_le_bytes());
        self.put(&input.mean.to_le_bytes());
        self.put(&input.scale.to_le_bytes());
        self.put(classification.output_tensor.as_bytes());
        self.put(&classification.classes.to_le_bytes());
    }

    fn put_vector(&mut self, task: &VectorTask) {
        self.put(task.backend.name().as_bytes());
        self.put(&task.artefact.blake3);
        self.put(task.input_tensor.as_bytes());
        let shape: Vec<u8> = task.input_shape.iter().flat_map(|length| length.to_le_bytes()).collect();
        self.put(&shape);
        self.put(task.output_tensor.as_bytes());
        self.put(&task.length.to_le_bytes());
    }
}
