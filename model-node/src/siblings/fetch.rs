//! A version's files, from the keeper's store into a sibling's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dropbear_certificates::Digest;
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_models::manifest::ARTEFACT_BYTES_MAX;
use dropbear_models::store::{MANIFEST_FILE, Store, StoreError};
use dropbear_wire::client;
use dropbear_wire::v1::Sealed;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::seal::{Kind, NotSealed, Seal};

/// Files travel in pieces of at most this many bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// Pieces that wait for a slow sibling.
const PIECES_WAITING_MAX: usize = 4;
/// A version has at most this many files: manifest, artefact, card, labels.
const FILES_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 255;
/// A request for files is answered while it is at most this old.
const FRESH_MS: u64 = 30_000;
/// The keeper sends the next piece within this time.
const PIECE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a version did not come over.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The keeper did not send it.
    #[error("the sibling at {0} did not send the version: {1}")]
    Keeper(SocketAddr, String),
    /// What it sent is not the version, or cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It sent another version.
    #[error("the sibling sent version {} instead of {}", .got.short(), .asked.short())]
    Other {
        /// What was asked for.
        asked: Digest,
        /// What came.
        got: Digest,
    },
}

/// Fetches a version from the keeper at `address` into `store`.
///
/// # Errors
/// [`FetchError`]; the store then has nothing of it.
pub async fn fetch(
    address: SocketAddr,
    seal: &Seal,
    version: &Digest,
    store: &Store,
    now_ms: u64,
) -> Result<(), FetchError> {
    let failed = |reason: String| FetchError::Keeper(address, reason);
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let asked = seal.seal(Kind::Fetch, &[], request(version, now_ms));
    let code = asked.code.clone();
    let mut stream = client::siblings(address)
        .fetch(asked)
        .await
        .map_err(|status| failed(status.message().to_owned()))?
        .into_inner();
    let mut files = Arrival { folder: folder.path(), place: 0, names: BTreeSet::new(), bytes: 0 };
    loop {
        let piece = tokio::time::timeout(PIECE_TIMEOUT, stream.message()).await;
        let piece = piece.map_err(|_| failed(format!("no piece within {PIECE_TIMEOUT:?}")))?;
        let piece = piece.map_err(|status| failed(status.message().to_owned()))?;
        let piece = piece.ok_or_else(|| failed("it broke off".into()))?;
        let body = seal.open(Kind::Piece, &code, &piece).map_err(|error: NotSealed| failed(error.to_string()))?;
        if files.take(body).map_err(failed)? {
            break;
        }
    }
    let (store, manifest) = (store.clone(), folder.path().join(MANIFEST_FILE));
    let added = tokio::task::spawn_blocking(move || store.add(&manifest)).await;
    let got = Digest(added.map_err(|error| failed(error.to_string()))??);
    if got == *version { Ok(()) } else { Err(FetchError::Other { asked: *version, got }) }
}

/// The files of a version as they arrive.
struct Arrival<'a> {
    folder: &'a Path,
    place: u64,
    names: BTreeSet<String>,
    bytes: u64,
}

impl Arrival<'_> {
    /// Takes a piece in; whether it was the last.
    fn take(&mut self, body: &[u8]) -> Result<bool, String> {
        let (place, name, bytes) = decode_piece(body).map_err(|error| error.to_string())?;
        if place != self.place {
            return Err("a piece is missing".into());
        }
        self.place += 1;
        if name.is_empty() {
            return Ok(true);
        }
        let is_plain = !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        self.names.insert(name.to_owned());
        self.bytes += bytes.len() as u64;
        // The manifest, card and labels are small beside the artefact's own bound.
        if !is_plain || self.names.len() > FILES_MAX || self.bytes > 2 * ARTEFACT_BYTES_MAX {
            return Err("it sent files that no version has".into());
        }
        let file = File::options().append(true).create(true).open(self.folder.join(name));
        file.and_then(|mut file| file.write_all(bytes)).map_err(|error| error.to_string())?;
        Ok(false)
    }
}

fn request(version: &Digest, now_ms: u64) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(2).digest(version).uint(now_ms);
    out.finish()
}

/// The version that a request asks for.
pub(super) fn wanted(body: &[u8], now_ms: u64) -> Result<Digest, Status> {
    let read = || -> Result<(Digest, u64), CborError> {
        let mut input = Decoder::new(body);
        input.array_of(2)?;
        let wanted = (input.digest()?, input.uint()?);
        input.finish()?;
        Ok(wanted)
    };
    let (version, asked_ms) = read().map_err(|error| Status::invalid_argument(error.to_string()))?;
    if asked_ms.abs_diff(now_ms) > FRESH_MS {
        return Err(Status::unauthenticated("the request is old, or the nodes' clocks differ by more than 30 s"));
    }
    Ok(version)
}

fn encode_piece(place: u64, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(3).uint(place).text(name).bytes(bytes);
    out.finish()
}

fn decode_piece(body: &[u8]) -> Result<(u64, &str, &[u8]), CborError> {
    let mut input = Decoder::new(body);
    input.array_of(3)?;
    let piece = (input.uint()?, input.text(NAME_BYTES_MAX)?, input.bytes(PIECE_BYTES_MAX)?);
    input.finish()?;
    Ok(piece)
}

type Piece = Result<Sealed, Status>;

/// The pieces of a version, read while they are sent.
pub(super) fn pieces(
    store: Store,
    version: Digest,
    seal: Seal,
    asked: Vec<u8>,
) -> impl Stream<Item = Piece> + Send + 'static {
    let (send, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let mut place = 0;
        let mut tell = |name: &str, bytes: &[u8]| {
            let sealed = seal.seal(Kind::Piece, &asked, encode_piece(place, name, bytes));
            place += 1;
            // Whoever asked may be gone.
            send.blocking_send(Ok(sealed)).is_ok()
        };
        if let Err(status) = read(&store, &version, &mut tell) {
            // Whoever asked may be gone.
            let _ = send.blocking_send(Err(status));
        }
    });
    ReceiverStream::new(pieces)
}

fn read(store: &Store, version: &Digest, tell: &mut impl FnMut(&str, &[u8]) -> bool) -> Result<(), Status> {
    let stored = store.find(&version.0).map_err(|error| Status::data_loss(error.to_string()))?;
    let stored = stored.ok_or_else(|| Status::not_found(format!("version {} is not in the store", version.short())))?;
    let mut piece = vec![0; PIECE_BYTES_MAX];
    for path in stored.files() {
        let failed = |error: std::io::Error| Status::data_loss(format!("cannot read {}: {error}", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut file = File::open(&path).map_err(failed)?;
        loop {
            let length = file.read(&mut piece).map_err(failed)?;
            if length == 0 {
                break;
            }
            if !tell(name, &piece[..length]) {
                return Ok(());
            }
        }
    }
    tell("", &[]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_arrive_whole_in_order_and_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Arrival { folder: folder.path(), place: 0, names: BTreeSet::new(), bytes: 0 };
        assert_eq!(files.take(&encode_piece(0, "a", b"one ")), Ok(false));
        assert_eq!(files.take(&encode_piece(1, "a", b"two")), Ok(false));
        assert!(files.take(&encode_piece(3, "b", b"")).is_err(), "out of order");
        assert!(files.take(&encode_piece(2, "../b", b"")).is_err(), "out of the folder");
        assert_eq!(files.take(&encode_piece(3, "", b"")), Ok(true));
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"one two");
    }

    #[test]
    fn an_old_request_is_not_answered() {
        let body = request(&Digest::of(b"version"), 1_000_000);
        assert_eq!(wanted(&body, 1_000_000 + FRESH_MS).unwrap(), Digest::of(b"version"));
        assert!(wanted(&body, 1_000_001 + FRESH_MS).is_err());
        assert!(wanted(b"", 0).is_err());
    }
}
