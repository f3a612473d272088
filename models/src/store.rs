//! The store: versions of models in folders that are named by their digest.
//!
//! ```text
//! store/<version digest>/model.toml   the manifest, whose digest is the folder's name
//!                        lite0.onnx   the artefact, named by BLAKE3 in the manifest
//!                        card.md      the card, likewise
//!                        labels.json  the names of the classes
//! ```
//!
//! A version appears as a whole or not at all, and is checked whenever it is read: a file that is not what the version
//! names is never loaded.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::labels::LABELS_BYTES_MAX;
use crate::manifest::{ARTEFACT_BYTES_MAX, Artefact, Manifest, ManifestError, Task};

/// The manifest's name in a version's folder.
pub const MANIFEST_FILE: &str = "model.toml";
/// A store has at most this many versions.
pub const VERSIONS_MAX: usize = 1024;

/// Versions of models, by digest.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A version in the store. Its artefact is read, and checked, when it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What the version is.
    pub manifest: Manifest,
    /// Where its manifest lies.
    pub path: PathBuf,
    /// The artefact's length in bytes; zero where the model has none.
    pub artefact_bytes: u64,
}

/// Why a version cannot be kept or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The manifest, the artefact or the card.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store cannot be read or written.
    #[error("the model store cannot use {path}: {source}")]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A version's folder holds another version.
    #[error("{path} holds version {got}: the store was tampered with; remove the folder and publish again")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The digest of what is there.
        got: String,
    },
    /// Two files of a model have the same name.
    #[error("two files of the model are called `{0}`: rename one")]
    SameName(String),
    /// The store holds [`VERSIONS_MAX`] versions.
    #[error("the model store holds {VERSIONS_MAX} versions; remove some that are retired")]
    Full,
}

/// A version digest in hexadecimal, as folders are called.
fn hex(version: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*version).to_string()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Files { path, source }
}

impl Store {
    /// Opens the store in the folder `root`; makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Files`]
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(failed(root))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Copies a version into the store: the manifest at `path` and the files beside it, each checked. Gives its digest.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is then kept.
    pub fn add(&self, path: &Path) -> Result<[u8; 32], StoreError> {
        let manifest = Manifest::load(path)?;
        let version = manifest.version_digest();
        if self.find(&version)?.is_some() {
            return Ok(version);
        }
        if self.versions()?.len() >= VERSIONS_MAX {
            return Err(StoreError::Full);
        }
        let source = path.parent().unwrap_or(Path::new("."));
        let folder = tempfile::tempdir_in(&self.root).map_err(failed(&self.root))?;
        copy(&manifest, source, folder.path())?;
        manifest.read_card(folder.path())?;
        let target = self.root.join(hex(&version));
        sync(folder.path())?;
        match fs::rename(folder.path(), &target) {
            Ok(()) => sync(&self.root)?,
            // Somebody else was faster.
            Err(_) if target.is_dir() => {}
            Err(error) => return Err(failed(&target)(error)),
        }
        self.find(&version)?.map(|_| version).ok_or_else(|| failed(&target)(io::ErrorKind::NotFound.into()))
    }

    /// The version with this digest, if the store has it.
    ///
    /// # Errors
    /// [`StoreError`] if the folder is there and holds something else.
    pub fn find(&self, version: &[u8; 32]) -> Result<Option<Stored>, StoreError> {
        let folder = self.root.join(hex(version));
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let manifest = Manifest::load(&path)?;
        let got = manifest.version_digest();
        if got != *version {
            return Err(StoreError::Foreign { path: folder, got: hex(&got) });
        }
        let artefact_bytes = match manifest.task.artefact() {
            Some(artefact) => length(&folder.join(&artefact.file))?,
            None => 0,
        };
        Ok(Some(Stored { manifest, path, artefact_bytes }))
    }

    /// The digests of all versions, ascending.
    ///
    /// # Errors
    /// [`StoreError::Files`]
    pub fn versions(&self) -> Result<Vec<[u8; 32]>, StoreError> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed(&self.root))? {
            let name = entry.map_err(failed(&self.root))?.file_name();
            versions
                .extend(name.to_str().and_then(|name| blake3::Hash::from_hex(name).ok()).map(|hash| *hash.as_bytes()));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Forgets a version.
    ///
    /// # Errors
    /// [`StoreError::Files`]
    pub fn remove(&self, version: &[u8; 32]) -> Result<(), StoreError> {
        let folder = self.root.join(hex(version));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&folder)(error)),
            _ => Ok(()),
        }
    }
}

impl Stored {
    /// Every file of the version.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let labels = match &self.manifest.task {
            Task::ImageClassification(task) => task.labels.as_ref(),
            Task::Identity | Task::Vector(_) => None,
        };
        let artefacts = self.manifest.task.artefact().into_iter().chain(&self.manifest.card);
        let beside = artefacts.map(|artefact| &artefact.file).chain(labels).map(|name| folder.join(name));
        std::iter::once(self.path.clone()).chain(beside).collect()
    }
}

fn length(path: &Path) -> Result<u64, StoreError> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(failed(path))
}

fn copy(manifest: &Manifest, source: &Path, target: &Path) -> Result<(), StoreError> {
    let mut names = BTreeSet::from([MANIFEST_FILE]);
    let mut name = |file| if names.insert(file) { Ok(()) } else { Err(StoreError::SameName(file.into())) };
    for artefact in manifest.task.artefact().into_iter().chain(&manifest.card) {
        name(&artefact.file)?;
        copy_artefact(artefact, source, target)?;
    }
    if let Task::ImageClassification(task) = &manifest.task
        && let Some(labels) = &task.labels
    {
        name(labels)?;
        copy_bounded(&source.join(labels), &target.join(labels), LABELS_BYTES_MAX)?;
    }
    let path = target.join(MANIFEST_FILE);
    fs::write(&path, manifest.to_toml()).map_err(failed(&path))?;
    sync(&path)
}

fn copy_artefact(artefact: &Artefact, source: &Path, target: &Path) -> Result<(), StoreError> {
    let (from, to) = (source.join(&artefact.file), target.join(&artefact.file));
    copy_bounded(&from, &to, ARTEFACT_BYTES_MAX)?;
    // The copy is what counts.
    Ok(artefact.check(&to)?)
}

fn copy_bounded(from: &Path, to: &Path, bytes_max: u64) -> Result<(), StoreError> {
    let read = |source| ManifestError::Read { path: from.to_owned(), source };
    let source = File::open(from).map_err(read)?;
    let mut copy = File::create(to).map_err(failed(to))?;
    let copied = io::copy(&mut io::Read::take(source, bytes_max + 1), &mut copy).map_err(failed(to))?;
    if copied > bytes_max {
        return Err(ManifestError::TooLong { path: from.to_owned(), bytes_max }.into());
    }
    copy.sync_all().map_err(failed(to))
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::CARD_BYTES_MAX;

    const CARD: &str =
        "---\nlicense: mit\npipeline_tag: regression\ninputs: a number\noutputs: a number\nbase_model: none\n---\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(card: &str) -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            folder.write("weights.f32", &[0; 8]);
            folder.write("card.md", card.as_bytes());
            let (weights, card) = (blake3::hash(&[0; 8]), blake3::hash(card.as_bytes()));
            let manifest = format!(
                "name = \"zero\"\ntask = \"regression\"\nbackend = \"linear\"\nlicence = \"MIT\"\nlineage = \"none\"\n\
                 artefact = {{ file = \"weights.f32\", blake3 = \"{weights}\" }}\n\
                 card = {{ file = \"card.md\", blake3 = \"{card}\" }}\n\
                 input = {{ tensor = \"x\", shape = [1] }}\noutput = {{ tensor = \"y\", length = 1 }}\n"
            );
            folder.write("zero.toml", manifest.as_bytes());
            folder
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.0.path().join(name), bytes).expect("a file");
        }

        fn add(&self, store: &Store) -> Result<[u8; 32], StoreError> {
            store.add(&self.0.path().join("zero.toml"))
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::open(&root.path().join("models")).expect("a store");
        (root, store)
    }

    #[test]
    fn a_version_is_found_by_its_digest_until_it_is_removed() -> Result<(), StoreError> {
        let (_root, store) = store();
        let version = Folder::new(CARD).add(&store)?;
        assert_eq!(Folder::new(CARD).add(&store)?, version, "twice is once");
        let other = Folder::new(&CARD.replace("a number", "one number")).add(&store)?;
        assert_ne!(version, other, "another card makes another version");
        assert_eq!(store.versions()?.len(), 2);
        let stored = store.find(&version)?.expect("just added");
        assert_eq!((stored.manifest.name.as_str(), stored.artefact_bytes), ("zero", 8));
        store.remove(&version)?;
        store.remove(&version)?;
        assert_eq!(store.find(&version)?, None);
        assert_eq!(store.versions()?, [other]);
        Ok(())
    }

    #[test]
    fn what_is_not_what_the_manifest_names_is_not_kept() -> Result<(), StoreError> {
        let (_root, store) = store();
        let refused = |folder: &Folder| folder.add(&store).expect_err("refused").to_string();
        let folder = Folder::new(CARD);
        folder.write("weights.f32", &[1; 8]);
        assert!(refused(&folder).contains("is not the artefact"));
        folder.write("weights.f32", &[0; 8]);
        folder.write("card.md", b"another");
        assert!(refused(&folder).contains("is not the artefact"));
        assert!(refused(&Folder::new("# no front matter")).contains("front matter"));
        assert!(refused(&Folder::new(&CARD.replace("mit", "gpl-3.0"))).contains("licence"));
        let long = CARD.to_owned() + &"long ".repeat(2 << 20);
        assert!(refused(&Folder::new(&long)).contains(&CARD_BYTES_MAX.to_string()));
        assert_eq!(store.versions()?.len(), 0);
        Ok(())
    }

    #[test]
    fn a_store_that_was_tampered_with_is_noticed() -> Result<(), StoreError> {
        let (root, store) = store();
        let version = Folder::new(CARD).add(&store)?;
        let folder = root.path().join("models").join(hex(&version));
        let stored = store.find(&version)?.expect("just added");
        let artefact = stored.manifest.task.artefact().expect("weights").clone();
        fs::write(folder.join("weights.f32"), [2; 8]).expect("a file");
        assert!(matches!(artefact.read(&folder), Err(ManifestError::Digest { .. })));
        fs::write(folder.join(MANIFEST_FILE), stored.manifest.to_toml().replace("zero", "one")).expect("a file");
        assert!(matches!(store.find(&version), Err(StoreError::Foreign { .. })));
        Ok(())
    }
}
