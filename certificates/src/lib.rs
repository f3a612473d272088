//! What is signed, by whom, and how anybody checks it.
//!
//! An *inference certificate* proves offline that a Byzantine quorum of a market's committee agreed on exactly this
//! outcome of exactly this request under exactly these model versions. This crate holds everything that a verifier needs
//! and everything that signers must agree on, and nothing else: no clock, file, network, thread or randomness. The
//! normative page is `SPEC.md`, from which anybody can write another verifier; the vectors in `testdata/` tell whether it
//! agrees with this one.
//!
//! ```text
//! Seed ─▶ Request ─▶ Ballot ─▶ Agreement ─▶ Record ─▶ Header ─▶ Certificate ─▶ Verified
//! ```
//!
//! Types grow along the path. A [`Certificate`] is bytes that parsed; only verification turns it into a [`Verified`], and
//! only a `Verified` answers questions about results.
//!
//! # 1. Verifying
//!
//! Trust begins with a genesis that somebody pinned. Everything else is an argument.
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
//! A [`Refusal`] names the first step of `SPEC.md` that failed, by a stable [code](Refusal::code), and says
//! [whose fault](Refusal::fault) it is: the bearer's, the verifier's own lack of trust, or, worst, that of a committee
//! whose quorum attested what the rules forbid.
//!
//! # 2. What a certificate proves, and what not
//!
//! * **The outcome is the policy applied to the votes.** Verification recomputes what the record alone shows, and
//!   everything if the votes are attached. What a level of [`Assurance`] promises is one sentence:
//!   [`Policy::promise`]; why it holds stands on each policy's page in [`policy`].
//! * **It answers this input**, if the request is attached: [`Verified::is_about`].
//! * **Who asked**: [`Verified::provenance`] tells a client's own signature from a gateway's.
//! * **Owners' own words**, where ballot proofs are attached: [`Verified::owners_proven`]. Not even a corrupt committee can
//!   then put words into an owner's mouth.
//!
//! It does not prove what [`verify::NOT_PROVEN`] lists. With q colluding or stolen keys, a verifier that knows only genesis
//! can be deceived; but two certificates that contradict each other then convict at least f + 1 keys: [`conflict`].
//!
//! # 3. Years later
//!
//! Committees and charters change. A [`GovernanceChain`] leads from the pinned genesis to the epoch of the certificate,
//! each step certified by the quorum before it; it rides along as an attachment or comes as a file.
//!
//! ```no_run
//! # use dropbear_certificates::{GovernanceChain, Refusal, TrustRoot};
//! # fn extend(trust: TrustRoot, chain_bytes: &[u8]) -> Result<TrustRoot, Refusal> {
//! let trust = trust.extended(&GovernanceChain::from_bytes(chain_bytes)?)?;
//! println!("trusts epochs up to {}", trust.epoch_newest());
//! # Ok(trust)
//! # }
//! ```
//!
//! # 4. Many certificates, hostile certificates
//!
//! Work is counted: an [`Effort`] holds a [`Budget`] of signatures and path nodes. It may also hold [`KeyTables`], with
//! which a signature costs about half, and [`SeenQuorums`], with which further certificates of one block cost about two
//! microseconds. Both are objects of the caller, never globals, and neither ever changes a verdict.
//!
//! ```
//! use dropbear_certificates::{Certificate, Effort, KeyTables, Refusal, SeenQuorums, TrustRoot};
//!
//! fn count_valid(certificates: &[Vec<u8>], trust: &TrustRoot) -> usize {
//!     let tables = KeyTables::of(&trust.genesis().committee);
//!     let mut seen = SeenQuorums::new(1024);
//!     let mut verify = |bytes: &Vec<u8>| -> Result<(), Refusal> {
//!         let mut effort = Effort { tables: Some(&tables), seen: Some(&mut seen), ..Effort::default() };
//!         Certificate::from_bytes(bytes)?.into_verified(trust, &mut effort).map(|_| ())
//!     };
//!     certificates.iter().filter(|bytes| verify(bytes).is_ok()).count()
//! }
//! # let _ = count_valid;
//! ```
//!
//! # 5. Asking, and showing less than everything
//!
//! A client draws a [`Seed`] per request, from which the salt of every commitment derives, and signs:
//!
//! ```
//! use dropbear_certificates::request::{RequestTerms, input_digest};
//! use dropbear_certificates::{Assurance, Digest, SecretKey, Seed, SignedRequest};
//!
//! # let (genesis, key, seed, nonce) = (Digest::of(b""), SecretKey::from_seed(&[1; 32]), Seed([2; 32]), [3; 16]);
//! let terms = RequestTerms {
//!     genesis,
//!     group: "imagenet".into(),
//!     input: input_digest("image", "BYTES", &[], b"the photo's bytes"),
//!     expiry_ms: 1_900_000_000_000,
//!     demand: Assurance::Robust,
//! };
//! let signed = SignedRequest::by_client(terms, &key, &seed, nonce);
//! assert!(signed.request.is_signed(&signed.signature));
//! ```
//!
//! Records hold commitments only. The holder of a certificate chooses what to show: the request, all votes, one vote, the
//! result, the model versions, owners' signatures ([`Attachments`]). Each part opens one commitment and tells nothing
//! about the others; [`Certificate::with_attachments`] removes what should not travel.
//!
//! # 6. Other tools
//!
//! A verified certificate expands, without any new signature, into standard RFC 9942 receipts ([`receipt`]) that existing
//! tools verify unmodified. They prove inclusion under one signer; counting a quorum and checking the outcome is this
//! crate's.
//!
//! # 7. Embedding
//!
//! `no_std` with `alloc`. Features: `std` and `json` (both default; without `json` a genesis is read from its CBOR by
//! [`Genesis::from_bytes`]), and `samples`, markets with known keys for tests. No input makes it panic: every decoder is
//! bounded, none recurses.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

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
#[cfg(feature = "samples")]
pub mod samples;
mod short;
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
