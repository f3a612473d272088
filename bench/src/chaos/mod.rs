//! A market under load while one fault after the other hits its coordinators: what clients notice, how soon all is well
//! again, and whether anything that was promised is lost.
//!
//! Throughput is answers per second. A fault's *level before* is that of the three seconds before it. The market is *back*
//! when a second begins that reaches 90 % of that level, and whose three seconds from its beginning on do as well; the
//! seconds looked at begin every 250 ms, the first one when the fault ends. A killed coordinator's fault ends when it is
//! started again. It has *caught up* when it holds the last block that any other held at that moment.

mod clients;
mod draw;
mod ledgers;
mod report;
mod timeline;

use std::fmt;

use serde::Serialize;

pub use clients::{Load, Observed, Problem, ask};
pub use draw::{Drawn, Draws};
pub use ledgers::{CompareError, Compared, LookedUp, compare, look_up};
pub use report::{Report, Row};
pub use timeline::{SETTLE, WINDOW};

/// What hits coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// `kill -9`, and a start on the same directory.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// No space left on the device that its data is on; then there is again, and it is started where it stopped.
    DiskFull,
    /// Fewer than a quorum lacks its network.
    Cut,
    /// The network falls into halves, neither of which holds a quorum.
    Halves,
}

impl Fault {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Pause => "pause",
            Self::DiskFull => "disk full",
            Self::Cut => "cut off",
            Self::Halves => "halves",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
