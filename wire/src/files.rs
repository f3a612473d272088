//! Files that every service starts from: its secret keys and the market's genesis.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use dropbear_certificates::genesis_json::{self, GenesisFileError, LabelTables};
use dropbear_certificates::{Genesis, SecretKey};
use zeroize::Zeroizing;

/// Why a file that a service needs cannot be used; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// The operating system refused.
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
    /// Others may read a secret.
    #[error("{0} is readable by others (mode {1:o}); run: chmod 600 {0}")]
    Exposed(PathBuf, u32),
    /// Not a key.
    #[error("{0} is not a key file: it holds 64 lower-case hex digits")]
    NotAKey(PathBuf),
    /// Not a genesis.
    #[error("{0}: {1}")]
    Genesis(PathBuf, GenesisFileError),
}

/// The seed in a key file: 64 hex digits, readable by its owner alone.
///
/// # Errors
/// [`FileError`] if the file is missing, exposed or no key.
pub fn read_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, FileError> {
    let failed = |error| FileError::Read(path.to_owned(), error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed(path.to_owned(), mode));
    }
    let mut text = Zeroizing::new(String::new());
    (&file).take(128).read_to_string(&mut text).map_err(failed)?;
    let bytes = HEXLOWER.decode(text.trim_end().as_bytes()).map(Zeroizing::new);
    let seed = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    seed.map(Zeroizing::new).ok_or_else(|| FileError::NotAKey(path.to_owned()))
}

/// The key in a key file.
///
/// # Errors
/// As for [`read_seed`].
pub fn read_key(path: &Path) -> Result<SecretKey, FileError> {
    read_seed(path).map(|seed| SecretKey::from_seed(&seed))
}

/// Writes a new key file with mode 0600; never over an existing one.
///
/// # Errors
/// [`FileError::Write`] if the file exists or cannot be written.
pub fn write_seed(path: &Path, seed: &[u8; 32]) -> Result<(), FileError> {
    let failed = |error| FileError::Write(path.to_owned(), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(seed)));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads `genesis.json`.
///
/// # Errors
/// [`FileError`] if the file is missing or no genesis.
pub fn read_genesis(path: &Path) -> Result<(Genesis, LabelTables), FileError> {
    let json = std::fs::read(path).map_err(|error| FileError::Read(path.to_owned(), error))?;
    genesis_json::from_json(&json).map_err(|error| FileError::Genesis(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        write_seed(&path, &[7; 32]).unwrap();
        assert_eq!(*read_seed(&path).unwrap(), [7; 32]);
        assert!(matches!(write_seed(&path, &[8; 32]), Err(FileError::Write(..))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_seed(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn garbage_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        write_seed(&path, &[7; 32]).unwrap();
        std::fs::write(&path, "secret").unwrap();
        assert!(matches!(read_seed(&path), Err(FileError::NotAKey(_))));
        assert!(matches!(read_seed(&folder.path().join("none")), Err(FileError::Read(..))));
    }
}
