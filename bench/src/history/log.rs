//! What clients and owners saw, one JSON object a line. All times are of one clock, in microseconds.
//!
//! ```text
//! {"kind":"request","start_us":5,"end_us":9,"certificate":"<base64url>"}        answered: agreed or no agreement
//! {"kind":"request","start_us":5,"end_us":9,"id":"<hex>","error":"timed out"}   not answered; id where it is known
//! {"kind":"entry","start_us":5,"end_us":9,"name":"activate","seq":7,"leaf":1}   applied at this place, as its sender was told
//! {"kind":"final","at_us":12,"seq":7}                                           from now on somebody knows that block 7 is final
//! ```

use std::io::{self, BufRead, Write};

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// A line is at most this long.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// A client's request and what came of it.
    Request {
        /// When it was sent.
        start_us: u64,
        /// When the answer was there.
        end_us: u64,
        /// The certificate, base64url without padding.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<String>,
        /// The request id in hexadecimal, where no certificate names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Why there is no certificate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// An owner's entry that was applied.
    Entry {
        /// When it was sent.
        start_us: u64,
        /// When its sender was told its place.
        end_us: u64,
        /// The entry's kind.
        name: String,
        /// Its block.
        seq: u64,
        /// Its leaf there.
        leaf: u64,
    },
    /// Somebody learned that a block is final.
    Final {
        /// When.
        at_us: u64,
        /// The block.
        seq: u64,
    },
}

impl Event {
    /// An answered request.
    #[must_use]
    pub fn answered(start_us: u64, end_us: u64, certificate: &[u8]) -> Self {
        let certificate = Some(BASE64URL_NOPAD.encode(certificate));
        Self::Request { start_us, end_us, certificate, id: None, error: None }
    }
}

/// Why a file is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is too long.
    #[error("line {0} is longer than {LINE_BYTES_MAX} bytes")]
    Long(u64),
    /// A line is no event.
    #[error("line {0} is no event of a log: {1}")]
    Line(u64, serde_json::Error),
}

/// Writes one line.
///
/// # Errors
/// [`io::Error`]
pub fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// Reads a log, line by line.
pub fn read<R: BufRead>(mut input: R) -> impl Iterator<Item = Result<Event, LogError>> {
    let mut number = 0;
    std::iter::from_fn(move || next(&mut input, &mut number).transpose())
}

fn next(input: &mut impl BufRead, number: &mut u64) -> Result<Option<Event>, LogError> {
    let mut line = Vec::new();
    io::Read::take(&mut *input, LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    *number += 1;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(LogError::Long(*number));
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| LogError::Line(*number, error))
}
