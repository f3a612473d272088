//! What is signed, by whom, and how anybody checks it.
//!
//! An *inference certificate* proves offline that a Byzantine quorum of a market's committee agreed on exactly this
//! outcome of exactly this request under exactly these model versions. This crate holds everything that a verifier needs
//! and everything that signers must agree on, and nothing else: no clock, file, network, thread or randomness.
//!
//! ```text
//! Seed ─▶ Request ─▶ Ballot ─▶ Tally ─▶ Record ─▶ Header ─▶ Certificate ─▶ Verified
//! ```
//!
//! # Verifying
//!
//! ```no_run
//! # #[cfg(feature = "json")] {
//! use dropbear_certificates::{Certificate, TrustRoot, genesis_json};
//!
//! # let (genesis_json, certificate_bytes) = (vec![], vec![]);
//! let (genesis, _labels) = genesis_json::from_json(&genesis_json).expect("the genesis that you trust");
//! let verified = Certificate::from_bytes(&certificate_bytes)?.verify(&TrustRoot::new(genesis))?;
//! println!("class {:?}, {}", verified.class(), verified.record().assurance);
//! # }
//! # Ok::<(), dropbear_certificates::Refusal>(())
//! ```
//!
//! # What a certificate does not prove
//!
//! That the named weights really computed the votes; that the owners are independent of each other; that the client did
//! not ask before under another nonce. With q colluding or stolen keys, a verifier that knows only genesis can be
//! deceived; but two certificates that contradict each other then convict at least f + 1 keys.

#![no_std]

extern crate alloc;

pub mod attachments;
pub mod ballot;
pub mod bitmap;
pub mod cbor;
pub mod certificate;
pub mod chain;
pub mod charter;
pub mod conflict;
pub mod digest;
pub mod effort;
pub mod error;
pub mod genesis;
#[cfg(feature = "json")]
pub mod genesis_json;
pub mod header;
pub mod key;
pub mod merkle;
mod openings;
pub mod policy;
pub mod receipt;
pub mod record;
pub mod request;
pub mod trust;
pub mod verify;

pub use attachments::{Attachments, BallotProof, RequestAttachment, ValueOpening, VotesAttachment};
pub use ballot::{Answer, Ballot, BallotStatement};
pub use certificate::Certificate;
pub use chain::{ChainLink, CharterEntry, ConfigEntry, GovernanceChain, GovernanceEntry};
pub use charter::{Charter, ModelSet, ModelVersion};
pub use conflict::{Attested, LedgerOpening, Verdict};
pub use digest::Digest;
pub use effort::{Budget, Effort, KeyTables, SeenQuorums};
pub use error::{Fault, Refusal};
pub use genesis::{Committee, Genesis};
pub use header::Header;
pub use key::{PublicKey, SecretKey, Signature, StatementType};
pub use policy::{Agreement, Assurance, Decision, Policy, Support, Tally, Vote};
pub use receipt::Receipt;
pub use record::{Outcome, Record};
pub use request::{Origin, Request, RequestOpening, RequestTerms, Seed, SignedRequest};
pub use trust::TrustRoot;
pub use verify::{Provenance, Verified};
