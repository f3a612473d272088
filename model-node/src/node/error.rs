//! Why a node does not run.

use std::path::PathBuf;

use dropbear_models::{ManifestError, StoreError};
use dropbear_wire::files::FileError;
use dropbear_wire::listen::ListenError;

use crate::config::ConfigError;
use crate::journal::JournalError;
use crate::model::ModelError;

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis or the key.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The model store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model.
    #[error("the model cannot be loaded: {0}")]
    Model(#[from] ModelError),
    /// The key is another owner's since the market was made.
    #[error("{0} is the key of owner `{1}`, not of `{2}`: check `owner` and `key`")]
    OthersKey(PathBuf, String, String),
    /// The data folder.
    #[error("cannot make the folder {0}: {1}")]
    DataDir(PathBuf, std::io::Error),
    /// The vote journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node has a journal and is to use another.
    #[error(
        "{0} holds this node's own votes, which the journal named by `journal_of` does not know: stop the node until the \
         last request it voted on has expired, then move the file away"
    )]
    TwoJournals(PathBuf),
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server failed.
    #[error("the server failed: {0}; restart the node")]
    Server(String),
}
