//! A coordinator's data on a disk that can be full: a file system in memory whose size is ours to say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::statvfs::statvfs;

use crate::cell::Cell;

/// More than any run writes. Memory is taken only as it does.
const ROOMY_BYTES: u64 = 16 << 30;
/// The service writes while its disk shrinks: what was used a moment ago may be too small already.
const SHRINK_TRIES: u32 = 1000;

/// The disk.
pub(super) struct Disk {
    /// Whoever lives in there sees it.
    pub(super) cell: Arc<Cell>,
    dir: PathBuf,
}

fn remount(dir: &Path, bytes: u64) -> nix::Result<()> {
    mount(None::<&str>, dir, None::<&str>, MsFlags::MS_REMOUNT, Some(format!("size={bytes}").as_str()))
}

impl Disk {
    /// Mounts it at `dir`, for its cell alone.
    ///
    /// # Errors
    /// Where mounting is not permitted.
    pub(super) async fn mount(dir: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let cell = Cell::new(CloneFlags::CLONE_NEWNS).await?;
        let place = dir.clone();
        let mounted = cell.run(move || {
            // Otherwise the mount would show outside.
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            let size = format!("size={ROOMY_BYTES},mode=700");
            mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
        });
        mounted.await?.context("cannot mount a file system in memory")?;
        Ok(Self { cell: Arc::new(cell), dir })
    }

    /// From now on there is no space left: it is as large as what is on it.
    pub(super) async fn fill(&self) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        let fill = move || {
            for _ in 0..SHRINK_TRIES {
                let now = statvfs(&dir)?;
                let used = (now.blocks() - now.blocks_free()) * now.fragment_size();
                match remount(&dir, used) {
                    Err(Errno::EINVAL) => {}
                    done => return done,
                }
            }
            Err(Errno::EAGAIN)
        };
        self.cell.run(fill).await?.context("cannot shrink a file system in memory")
    }

    /// From now on there is space again.
    pub(super) async fn widen(&self) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        self.cell.run(move || remount(&dir, ROOMY_BYTES)).await?.context("cannot widen a file system in memory")
    }
}
