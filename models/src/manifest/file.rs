//! The TOML form of a manifest.

use super::tables::{ArtefactTable, BackendName, InputTable, ManifestFile, OutputTable, TaskName};
use super::{
    Artefact, BackendKind, CLASSES_MAX, DIMENSIONS_MAX, ImageClassification, ImageInput, Manifest, ManifestError,
    SIDE_MAX, Task, VALUES_MAX, VectorKind, VectorTask,
};

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let file: ManifestFile = toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
    check(is_name(&file.name), "name", NAME_RULE)?;
    check(!file.licence.is_empty(), "licence", "must not be empty")?;
    Ok(Manifest {
        task: task(file.task, file.backend, file.artefact, file.input, file.output)?,
        name: file.name,
        licence: file.licence,
        lineage: file.lineage,
        card: file.card.map(|card| artefact(card, "card.file", "card.blake3")).transpose()?,
    })
}

fn task(
    task: TaskName,
    backend: BackendName,
    artefact: Option<ArtefactTable>,
    input: Option<InputTable>,
    output: Option<OutputTable>,
) -> Result<Task, ManifestError> {
    use {BackendName as Backend, TaskName as Name};
    let kind = match backend {
        Backend::Identity | Backend::Onnx => BackendKind::Onnx,
        Backend::Linear => BackendKind::Linear,
        Backend::Candle => BackendKind::Candle,
        Backend::Torch => BackendKind::Torch,
    };
    match (task, backend, (artefact, input, output)) {
        (Name::Identity, Backend::Identity, (None, None, None)) => Ok(Task::Identity),
        (
            Name::ImageClassification,
            Backend::Onnx | Backend::Candle | Backend::Torch,
            (Some(artefact), Some(input), Some(output)),
        ) => image_classification(kind, artefact, input, output),
        (
            Name::Regression,
            Backend::Onnx | Backend::Torch | Backend::Linear,
            (Some(artefact), Some(input), Some(output)),
        ) => vector(VectorKind::Regression, kind, artefact, input, output),
        (
            Name::Embedding,
            Backend::Onnx | Backend::Torch | Backend::Linear,
            (Some(artefact), Some(input), Some(output)),
        ) => vector(VectorKind::Embedding, kind, artefact, input, output),
        (Name::Identity, ..) => {
            Err(field("task", "identity goes with backend = \"identity\" and no artefact, input or output"))
        }
        (Name::ImageClassification, ..) => Err(field(
            "task",
            "image-classification goes with backend = \"onnx\", \"candle\" or \"torch\", an artefact, an input and an output",
        )),
        (Name::Regression | Name::Embedding, ..) => Err(field(
            "task",
            "regression and embedding go with backend = \"onnx\", \"torch\" or \"linear\", an artefact, an input and an output",
        )),
    }
}

fn artefact(table: ArtefactTable, file: &'static str, digest: &'static str) -> Result<Artefact, ManifestError> {
    check(is_file_name(&table.file), file, FILE_RULE)?;
    let blake3 = blake3::Hash::from_hex(&table.blake3).map_err(|_| field(digest, "must be 64 hexadecimal digits"))?;
    Ok(Artefact { file: table.file, blake3: *blake3.as_bytes() })
}

fn needed<T>(value: Option<T>, name: &'static str) -> Result<T, ManifestError> {
    value.ok_or_else(|| field(name, "is missing"))
}

fn absent<T>(value: Option<T>, name: &'static str) -> Result<(), ManifestError> {
    check(value.is_none(), name, "does not belong to this task")
}

fn image_classification(
    backend: BackendKind,
    table: ArtefactTable,
    input: InputTable,
    output: OutputTable,
) -> Result<Task, ManifestError> {
    let artefact = artefact(table, "artefact.file", "artefact.blake3")?;
    absent(input.shape, "input.shape")?;
    absent(output.length, "output.length")?;
    let image = ImageInput {
        tensor: input.tensor,
        side: needed(input.side, "input.side")?,
        crop_margin: needed(input.crop_margin, "input.crop_margin")?,
        mean: needed(input.mean, "input.mean")?,
        scale: needed(input.scale, "input.scale")?,
    };
    check(
        (1..=SIDE_MAX).contains(&image.side) && image.crop_margin <= SIDE_MAX,
        "input.side",
        "must be 1 to 4096 pixels, and crop_margin at most 4096",
    )?;
    check(
        image.mean.is_finite() && image.scale.is_normal(),
        "input.scale",
        "must be finite and not zero, and mean finite",
    )?;
    let classes = needed(output.classes, "output.classes")?;
    check((1..=CLASSES_MAX).contains(&classes), "output.classes", "must be 1 to 1048576")?;
    check(output.labels.as_deref().is_none_or(is_file_name), "output.labels", FILE_RULE)?;
    Ok(Task::ImageClassification(ImageClassification {
        backend,
        artefact,
        input: image,
        output_tensor: output.tensor,
        classes,
        labels: output.labels,
    }))
}

fn vector(
    kind: VectorKind,
    backend: BackendKind,
    table: ArtefactTable,
    input: InputTable,
    output: OutputTable,
) -> Result<Task, ManifestError> {
    let artefact = artefact(table, "artefact.file", "artefact.blake3")?;
    absent(input.side, "input.side")?;
    absent(input.crop_margin, "input.crop_margin")?;
    absent(input.mean, "input.mean")?;
    absent(input.scale, "input.scale")?;
    absent(output.classes, "output.classes")?;
    absent(output.labels, "output.labels")?;
    let input_shape = needed(input.shape, "input.shape")?;
    let values = input_shape.iter().try_fold(1u32, |product, length| product.checked_mul(*length));
    let fits = !input_shape.is_empty() && input_shape.len() <= DIMENSIONS_MAX;
    check(
        fits && values.is_some_and(|values| (1..=VALUES_MAX).contains(&values)),
        "input.shape",
        "must be 1 to 8 dimensions with 1 to 16777216 values in all",
    )?;
    let length = needed(output.length, "output.length")?;
    check((1..=VALUES_MAX).contains(&length), "output.length", "must be 1 to 16777216")?;
    Ok(Task::Vector(VectorTask {
        kind,
        backend,
        artefact,
        input_tensor: input.tensor,
        input_shape,
        output_tensor: output.tensor,
        length,
    }))
}

pub(super) fn write(manifest: &Manifest) -> String {
    let (task, backend, input, output) = tables(&manifest.task);
    let file = ManifestFile {
        name: manifest.name.clone(),
        task,
        backend,
        licence: manifest.licence.clone(),
        lineage: manifest.lineage.clone(),
        artefact: manifest.task.artefact().map(artefact_table),
        input,
        output,
        card: manifest.card.as_ref().map(artefact_table),
    };
    toml::to_string(&file).expect("strings, numbers and tables are TOML")
}

fn tables(task: &Task) -> (TaskName, BackendName, Option<InputTable>, Option<OutputTable>) {
    match task {
        Task::Identity => (TaskName::Identity, BackendName::Identity, None, None),
        Task::ImageClassification(task) => {
            let ImageInput { tensor, side, crop_margin, mean, scale } = task.input.clone();
            let input = InputTable {
                tensor,
                side: Some(side),
                crop_margin: Some(crop_margin),
                mean: Some(mean),
                scale: Some(scale),
                shape: None,
            };
            let (tensor, labels) = (task.output_tensor.clone(), task.labels.clone());
            let output = OutputTable { tensor, classes: Some(task.classes), labels, length: None };
            (TaskName::ImageClassification, task.backend.into(), Some(input), Some(output))
        }
        Task::Vector(task) => {
            let shape = Some(task.input_shape.clone());
            let input = InputTable { tensor: task.input_tensor.clone(), shape, ..InputTable::default() };
            let length = Some(task.length);
            let output = OutputTable { tensor: task.output_tensor.clone(), length, ..OutputTable::default() };
            (task.kind.into(), task.backend.into(), Some(input), Some(output))
        }
    }
}

fn artefact_table(artefact: &Artefact) -> ArtefactTable {
    let blake3 = blake3::Hash::from_bytes(artefact.blake3).to_string();
    ArtefactTable { file: artefact.file.clone(), blake3 }
}

const NAME_RULE: &str = "must be 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and start with a letter or digit";
const FILE_RULE: &str = "must be the name of a file beside the manifest";

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    name.len() <= 64 && name.bytes().all(allowed) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A plain name, so that a manifest from elsewhere cannot point out of its directory.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn check(holds: bool, name: &'static str, rule: &str) -> Result<(), ManifestError> {
    if holds { Ok(()) } else { Err(field(name, rule)) }
}

fn field(field: &'static str, reason: &str) -> ManifestError {
    ManifestError::Field { field, reason: reason.to_owned() }
}
