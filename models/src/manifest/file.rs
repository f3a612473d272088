//! The TOML form of a manifest.

use serde::{Deserialize, Serialize};

use super::{
    Artefact, BackendKind, CLASSES_MAX, ImageClassification, ImageInput, Manifest, ManifestError, SIDE_MAX, Task,
};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    name: String,
    task: TaskName,
    backend: BackendName,
    licence: String,
    lineage: String,
    artefact: Option<ArtefactTable>,
    input: Option<InputTable>,
    output: Option<OutputTable>,
}

#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum TaskName {
    Identity,
    ImageClassification,
}

#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum BackendName {
    Identity,
    Onnx,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ArtefactTable {
    file: String,
    blake3: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    tensor: String,
    side: u32,
    crop_margin: u32,
    mean: f32,
    scale: f32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OutputTable {
    tensor: String,
    classes: u32,
    labels: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let file: ManifestFile = toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
    check(is_name(&file.name), "name", NAME_RULE)?;
    check(!file.licence.is_empty(), "licence", "must not be empty")?;
    Ok(Manifest {
        task: task(file.task, file.backend, file.artefact, file.input, file.output)?,
        name: file.name,
        licence: file.licence,
        lineage: file.lineage,
    })
}

fn task(
    task: TaskName,
    backend: BackendName,
    artefact: Option<ArtefactTable>,
    input: Option<InputTable>,
    output: Option<OutputTable>,
) -> Result<Task, ManifestError> {
    match (task, backend, artefact, input, output) {
        (TaskName::Identity, BackendName::Identity, None, None, None) => Ok(Task::Identity),
        (TaskName::ImageClassification, BackendName::Onnx, Some(artefact), Some(input), Some(output)) => {
            image_classification(artefact, input, output).map(Task::ImageClassification)
        }
        (TaskName::Identity, ..) => {
            Err(field("task", "identity goes with backend = \"identity\" and no artefact, input or output"))
        }
        (TaskName::ImageClassification, ..) => {
            Err(field("task", "image-classification goes with backend = \"onnx\", an artefact, an input and an output"))
        }
    }
}

fn image_classification(
    artefact: ArtefactTable,
    input: InputTable,
    output: OutputTable,
) -> Result<ImageClassification, ManifestError> {
    check(is_file_name(&artefact.file), "artefact.file", FILE_RULE)?;
    let blake3 = blake3::Hash::from_hex(&artefact.blake3)
        .map_err(|_| field("artefact.blake3", "must be 64 hexadecimal digits"))?;
    check(
        (1..=SIDE_MAX).contains(&input.side) && input.crop_margin <= SIDE_MAX,
        "input.side",
        "must be 1 to 4096 pixels, and crop_margin at most 4096",
    )?;
    check(
        input.mean.is_finite() && input.scale.is_normal(),
        "input.scale",
        "must be finite and not zero, and mean finite",
    )?;
    check((1..=CLASSES_MAX).contains(&output.classes), "output.classes", "must be 1 to 1048576")?;
    check(output.labels.as_deref().is_none_or(is_file_name), "output.labels", FILE_RULE)?;
    Ok(ImageClassification {
        backend: BackendKind::Onnx,
        artefact: Artefact { file: artefact.file, blake3: *blake3.as_bytes() },
        input: ImageInput {
            tensor: input.tensor,
            side: input.side,
            crop_margin: input.crop_margin,
            mean: input.mean,
            scale: input.scale,
        },
        output_tensor: output.tensor,
        classes: output.classes,
        labels: output.labels,
    })
}

pub(super) fn write(manifest: &Manifest) -> String {
    let classification = match &manifest.task {
        Task::Identity => None,
        Task::ImageClassification(classification) => Some(classification),
    };
    let file = ManifestFile {
        name: manifest.name.clone(),
        task: match manifest.task {
            Task::Identity => TaskName::Identity,
            Task::ImageClassification(_) => TaskName::ImageClassification,
        },
        backend: match classification.map(|c| c.backend) {
            None => BackendName::Identity,
            Some(BackendKind::Onnx) => BackendName::Onnx,
        },
        licence: manifest.licence.clone(),
        lineage: manifest.lineage.clone(),
        artefact: classification.map(|c| ArtefactTable {
            file: c.artefact.file.clone(),
            blake3: blake3::Hash::from_bytes(c.artefact.blake3).to_string(),
        }),
        input: classification.map(|c| InputTable {
            tensor: c.input.tensor.clone(),
            side: c.input.side,
            crop_margin: c.input.crop_margin,
            mean: c.input.mean,
            scale: c.input.scale,
        }),
        output: classification.map(|c| OutputTable {
            tensor: c.output_tensor.clone(),
            classes: c.classes,
            labels: c.labels.clone(),
        }),
    };
    toml::to_string(&file).expect("strings, numbers and tables are TOML")
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
