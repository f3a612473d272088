//! The ledger as a file: every block from the first on, with whoever attested it.
//!
//! ```text
//! file   = "dropbear-ledger/1" LF, then per block: 4 bytes (length, big-endian), that many bytes of block
//! block  = [1, bstr header, [* [uint member, sig]], bstr payload, [* bstr leaf]]      (deterministic CBOR, SPEC.md 2)
//! ```
//!
//! `header` is `[template, record root]`, `payload` the ordered proposal, `leaves` those of the block's record tree.

use std::io::{self, Read, Write};

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{Header, Signature};

const MAGIC: &[u8] = b"dropbear-ledger/1\n";
const VERSION: u64 = 1;
/// A block with its leaves is at most this large.
pub const BLOCK_BYTES_MAX: usize = 64 << 20;
const HEADER_BYTES_MAX: usize = 1024;
const MEMBERS_MAX: usize = 128;
const LEAVES_MAX: usize = 65_536;

/// Why a file holds no ledger.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is another kind of file.
    #[error("this is no exported ledger: it does not begin with `dropbear-ledger/1`")]
    Magic,
    /// A block is not one.
    #[error("block {number} of the file is damaged: {error}")]
    Block {
        /// Its number in the file, from 1.
        number: u64,
        /// What is wrong.
        error: CborError,
    },
}

/// A final block as it was exported; nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its header.
    pub header: Header,
    /// (place in the committee, attestation), ascending.
    pub attestations: Vec<(usize, Signature)>,
    /// The proposal that was ordered.
    pub payload: Vec<u8>,
    /// Every leaf of the record tree.
    pub leaves: Vec<Vec<u8>>,
}

impl Block {
    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(5).uint(VERSION).bytes(&self.header.to_bytes()).array(self.attestations.len());
        for (member, signature) in &self.attestations {
            out.array(2).uint(*member as u64).bytes(signature);
        }
        out.bytes(&self.payload).array(self.leaves.len());
        for leaf in &self.leaves {
            out.bytes(leaf);
        }
        out.finish()
    }

    /// Reads what [`Block::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no block.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(5)?;
        input.key(VERSION)?;
        let header = Header::from_bytes(input.bytes(HEADER_BYTES_MAX)?)?;
        let mut attestations = Vec::new();
        for _ in 0..input.array(MEMBERS_MAX)? {
            input.array_of(2)?;
            attestations.push((input.uint_max(MEMBERS_MAX as u64)? as usize, input.fixed()?));
        }
        let payload = input.bytes(BLOCK_BYTES_MAX)?.to_vec();
        let count = input.array(LEAVES_MAX)?;
        let leaves = (0..count).map(|_| Ok(input.bytes(BLOCK_BYTES_MAX)?.to_vec()));
        let leaves = leaves.collect::<Result<_, CborError>>()?;
        input.finish()?;
        Ok(Self { header, attestations, payload, leaves })
    }
}

/// Writes blocks, first the head of the file.
#[derive(Debug)]
pub struct Writer<W>(W);

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`io::Error`]
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self(out))
    }

    /// Adds a block.
    ///
    /// # Errors
    /// [`io::Error`]
    pub fn block(&mut self, block: &Block) -> io::Result<()> {
        let bytes = block.to_bytes();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&bytes)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`io::Error`]
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// Reads blocks, one at a time.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    number: u64,
}

impl<R: Read> Reader<R> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`FileError::Magic`] if it is another kind of file.
    pub fn new(mut input: R) -> Result<Self, FileError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => Ok(Self { input, number: 0 }),
            Ok(()) => Err(FileError::Magic),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(FileError::Magic),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self) -> Result<Option<Block>, FileError> {
        let mut length = [0; 4];
        let got = self.input.read(&mut length)?;
        if got == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let damaged = |error| FileError::Block { number, error };
        self.input.read_exact(&mut length[got..]).map_err(|_| damaged(CborError::Truncated))?;
        let length = u32::from_be_bytes(length) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(damaged(CborError::Bounds));
        }
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).map_err(|_| damaged(CborError::Truncated))?;
        Block::from_bytes(&bytes).map(Some).map_err(damaged)
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Block, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
