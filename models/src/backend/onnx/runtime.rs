//! The one ONNX Runtime library of a process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use thiserror::Error;

/// A handle to the process's ONNX Runtime library. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    library: PathBuf,
    environment: Environment,
}

/// Why the ONNX Runtime library cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// There is no such file.
    #[error("no ONNX Runtime library at {path}: run `dropbear zoo fetch`, or name your own libonnxruntime")]
    Missing {
        /// Where we looked.
        path: PathBuf,
    },
    /// The file is not an ONNX Runtime library for this machine, or is older than 1.24.
    #[error("{path} cannot be used as ONNX Runtime (1.24 or newer for this machine is needed): {reason}")]
    Unsuitable {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// Another library is loaded already; a process can have one.
    #[error("this process already uses the ONNX Runtime at {loaded}, so it cannot also use {asked}")]
    AlreadyLoaded {
        /// The one in use.
        loaded: PathBuf,
        /// The one asked for.
        asked: PathBuf,
    },
}

/// The library that won: ONNX Runtime keeps process-wide state, so there is one environment per process.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads `library`, or returns the handle if this process has loaded it before.
    ///
    /// # Errors
    /// When the library is missing, unsuitable, or not the one that this process uses.
    pub fn load(library: &Path) -> Result<Self, RuntimeError> {
        let library = library.canonicalize().map_err(|_| RuntimeError::Missing { path: library.to_owned() })?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*loaded {
            Some(runtime) if runtime.library == library => Ok(runtime.clone()),
            Some(runtime) => Err(RuntimeError::AlreadyLoaded { loaded: runtime.library.clone(), asked: library }),
            None => Ok(loaded.insert(Self::start(library)?).clone()),
        }
    }

    /// The library's path.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The library's own account of its version and build.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn start(library: PathBuf) -> Result<Self, RuntimeError> {
        let unsuitable = |reason: String| RuntimeError::Unsuitable { path: library.clone(), reason };
        let environment = ort::init_from(&library)
            .map_err(|e| unsuitable(e.to_string()))?
            .with_name("dropbear")
            .with_telemetry(false)
            .build()
            .map_err(|e| unsuitable(e.to_string()))?;
        Ok(Self { library, environment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let path = Path::new("/nonexistent/libonnxruntime.so");
        assert!(matches!(Runtime::load(path), Err(RuntimeError::Missing { path: p }) if p == path));
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("libonnxruntime.so");
        std::fs::write(&path, "not a library")?;
        assert!(matches!(Runtime::load(&path), Err(RuntimeError::Unsuitable { .. })));
        Ok(())
    }
}
