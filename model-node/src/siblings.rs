//! What one owner's nodes do together: one of them keeps the vote journal, and its siblings ask it.
//!
//! ```text
//! sibling ──Settle(votes)──▶ keeper ──journal──▶ the votes that stand ──▶ sibling signs its ballot
//!         ──Fetch(version)─▶        ──store────▶ manifest, artefact, card
//! ```
//!
//! So the owner gives one vote per request and version from any of its nodes. Where the keeper does not answer, a
//! sibling gives no ballot: silence is no guilt, a second vote is.
//!
//! Channels are loopback without TLS, so each message carries a code under a secret that follows from the owner's key
//! ([`seal`]): nobody else can take the keeper's place, fill its journal, or read its models' files.

pub mod fetch;
pub mod keeper;
pub mod seal;
pub(crate) mod serve;
