//! Key files: a 32-byte Ed25519 seed as 64 hexadecimal digits and a newline, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use dropbear_certificates::{Digest, SecretKey};
use zeroize::Zeroizing;

/// 64 digits, a newline, and what an editor may have added.
const KEY_FILE_BYTES_MAX: u64 = 80;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Not readable or writable.
    #[error("cannot use the key file {0}: {1}")]
    File(PathBuf, io::Error),
    /// Others can read it.
    #[error(
        "the key file {0} can be read by others (mode {1:o}): run `chmod 600 {0}`, and replace the key if it leaked"
    )]
    Permissions(PathBuf, u32),
    /// Not a key.
    #[error("the key file {0} does not hold 64 hexadecimal digits")]
    Content(PathBuf),
}

/// Reads a key.
///
/// # Errors
/// [`KeyFileError`] if the file is not there, others can read it, or it holds no key.
pub fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let failed = |error| KeyFileError::File(path.into(), error);
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions(path.into(), mode));
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let seed = Digest::from_hex(text.trim_end()).ok_or_else(|| KeyFileError::Content(path.into()))?;
    Ok(SecretKey::from_seed(&Zeroizing::new(seed.0)))
}

/// Writes a new key file with mode 0600.
///
/// # Errors
/// [`KeyFileError::File`] if it cannot be written, or exists: a key is never overwritten.
pub fn create(path: &Path, seed: &[u8; 32]) -> Result<(), KeyFileError> {
    let failed = |error| KeyFileError::File(path.into(), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let text = Zeroizing::new(format!("{}\n", Digest(*seed)));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_never_overwritten() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("owner.key");
        create(&path, &[7; 32]).unwrap();
        assert_eq!(read(&path).unwrap().public(), SecretKey::from_seed(&[7; 32]).public());
        assert!(matches!(create(&path, &[8; 32]), Err(KeyFileError::File(..))));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("owner.key");
        create(&path, &[7; 32]).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains("chmod 600"), "{message}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("owner.key");
        create(&path, &[7; 32]).unwrap();
        for text in ["", "07", &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Content(_))), "{text}");
        }
    }
}
