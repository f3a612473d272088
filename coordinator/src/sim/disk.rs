//! A disk that is made up: it loses power, fills up, rots and comes back from old copies.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// Power that fails tears writes at these boundaries.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What survives without power.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// What happened since the last sync.
    unsynced: Vec<Change>,
    is_full: bool,
    /// Handles of earlier processes are dead.
    process: u64,
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
        Change::SetLen(length) => bytes.resize(*length, 0),
    }
}

/// One coordinator's disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that used the disk is gone; what it wrote stays.
    pub fn kill(&self) {
        self.contents().process += 1;
    }

    /// The power fails: of what was not synced, each sector is lost or not, as `survives` has it.
    pub fn fail_power(&self, mut survives: impl FnMut() -> bool) {
        let mut contents = self.contents();
        contents.process += 1;
        let mut left = contents.durable.clone();
        for unsynced in std::mem::take(&mut contents.unsynced) {
            match unsynced {
                Change::Write(offset, data) => {
                    for (sector, data) in data.chunks(SECTOR_BYTES).enumerate() {
                        if survives() {
                            change(&mut left, &Change::Write(offset + sector * SECTOR_BYTES, data.to_vec()));
                        }
                    }
                }
                Change::SetLen(_) if survives() => change(&mut left, &unsynced),
                Change::SetLen(_) => {}
            }
        }
        contents.durable.clone_from(&left);
        contents.current = left;
    }

    /// From now on nothing can be written, or can again.
    pub fn set_full(&self, is_full: bool) {
        self.contents().is_full = is_full;
    }

    /// A copy of the disk as it is, for restoring later.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.contents().clone())))
    }

    /// All places where these bytes lie.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Vec<usize> {
        let contents = self.contents();
        let places = contents.current.windows(bytes.len()).enumerate();
        places.filter(|(_, window)| *window == bytes).map(|(place, _)| place).collect()
    }

    /// A bit at this place turns over.
    pub fn rot(&self, place: usize) {
        let mut contents = self.contents();
        contents.current[place] ^= 1;
        contents.durable[place] ^= 1;
    }

    pub(super) fn open(&self) -> Handle {
        Handle { process: self.contents().process, disk: self.clone() }
    }
}

/// One process's access to a disk.
#[derive(Debug)]
pub(super) struct Handle {
    disk: Disk,
    process: u64,
}

impl Handle {
    fn live(&self) -> Result<MutexGuard<'_, Contents>, io::Error> {
        let contents = self.disk.contents();
        match contents.process == self.process {
            true => Ok(contents),
            false => Err(io::Error::other("the process of this handle is gone")),
        }
    }

    fn apply(&self, made: Change) -> Result<(), io::Error> {
        let mut contents = self.live()?;
        if contents.is_full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        change(&mut contents.current, &made);
        contents.unsynced.push(made);
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated disks are small")
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.live()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let contents = self.live()?;
        let start = place(offset);
        let bytes = contents.current.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.apply(Change::SetLen(place(len)))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut contents = self.live()?;
        if contents.is_full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        for unsynced in std::mem::take(&mut contents.unsynced) {
            change(&mut contents.durable, &unsynced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.apply(Change::Write(place(offset), data.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_power_only_what_was_synced_is_sure() {
        let disk = Disk::default();
        let handle = disk.open();
        handle.write(0, b"synced").unwrap();
        handle.sync_data().unwrap();
        handle.write(0, b"SYNCED").unwrap();
        handle.write(10, b"more").unwrap();
        let kept = disk.copy();
        disk.fail_power(|| false);
        assert!(handle.write(0, b"dead").is_err(), "the process is gone");
        let mut bytes = [0; 6];
        disk.open().read(0, &mut bytes).unwrap();
        assert_eq!((&bytes, disk.open().len().unwrap()), (b"synced", 6));
        kept.kill();
        kept.open().read(0, &mut bytes).unwrap();
        assert_eq!((&bytes, kept.open().len().unwrap()), (b"SYNCED", 14), "a killed process loses nothing");
    }

    #[test]
    fn a_full_disk_refuses_and_keeps() {
        let disk = Disk::default();
        let handle = disk.open();
        handle.write(0, b"kept").unwrap();
        disk.set_full(true);
        assert!(handle.write(0, b"more").is_err() && handle.sync_data().is_err());
        disk.set_full(false);
        handle.sync_data().unwrap();
        assert_eq!(disk.find(b"kept"), [0]);
    }
}
