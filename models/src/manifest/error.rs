//! Why a manifest or its files cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use crate::card::CardError;

/// Why a manifest or its artefact cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is longer than is allowed for its kind.
    #[error("{path} is longer than {bytes_max} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The manifest is not TOML, or has fields that manifests do not have.
    #[error("not a model manifest: {0}")]
    Syntax(String),
    /// A field is out of its bounds.
    #[error("manifest field `{field}` {reason}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should be.
        reason: String,
    },
    /// The artefact is not the one that the manifest names.
    #[error(
        "{path} is not the artefact that its manifest names (BLAKE3 {got}, expected {expected}): fetch it again, or \
         publish a new version"
    )]
    Digest {
        /// The artefact.
        path: PathBuf,
        /// The manifest's digest, in hexadecimal.
        expected: String,
        /// The file's digest, in hexadecimal.
        got: String,
    },
    /// The card is no card, or another model's.
    #[error("{path}: {source}")]
    Card {
        /// The card.
        path: PathBuf,
        /// What is wrong with it.
        source: CardError,
    },
}
