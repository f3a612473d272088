//! The names of classes, for people. Votes and certificates speak of class indices.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The longest label file that is read, in bytes.
pub const LABELS_BYTES_MAX: u64 = 1 << 20;

/// The names of a task's classes, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<String>);

/// Why labels could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabelsError {
    /// The file cannot be read.
    #[error("cannot read labels from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than [`LABELS_BYTES_MAX`].
    #[error("labels in {path} are longer than {LABELS_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a JSON list of strings.
    #[error("{path} is not a JSON list of strings: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
}

impl Labels {
    /// Labels in the order of their classes.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Reads a JSON list of strings.
    ///
    /// # Errors
    /// When the file cannot be read, is too long, or is anything else.
    pub fn load(path: &Path) -> Result<Self, LabelsError> {
        let bytes = crate::manifest::read_bounded(path, LABELS_BYTES_MAX)
            .map_err(|source| LabelsError::Read { path: path.to_owned(), source })?
            .ok_or_else(|| LabelsError::TooLong { path: path.to_owned() })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|source| LabelsError::Syntax { path: path.to_owned(), source })
    }

    /// The name of a class.
    pub fn name(&self, class: u32) -> Option<&str> {
        self.0.get(usize::try_from(class).ok()?).map(String::as_str)
    }

    /// All names, by class.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_class() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("labels.json");
        std::fs::write(&path, r#"["tench", "goldfish"]"#)?;
        let labels = Labels::load(&path)?;
        assert_eq!(labels.name(1), Some("goldfish"));
        assert_eq!(labels.name(2), None);

        std::fs::write(&path, r#"{"0": "tench"}"#)?;
        assert!(matches!(Labels::load(&path), Err(LabelsError::Syntax { .. })));
        Ok(())
    }
}
