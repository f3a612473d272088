//! What a node serves: one model version, as the pool's threads use it.
//!
//! ```text
//! Tensor ──prepare──▶ Input ──infer (batch)──▶ Output ──vote_of──▶ Vote
//!          (decode thread)   (worker thread)
//! ```

pub mod classification;
pub mod identity;

use bytes::Bytes;
use dropbear_certificates::{Charter, Digest, Policy, Vote};
use dropbear_wire::v1::Tensor;

/// One model version that a node serves.
///
/// Shared by all threads; what one thread needs for itself is its [`Model::Preparer`] or [`Model::Session`].
pub trait Model: Send + Sync + 'static {
    /// One request's input as the model takes it.
    type Input: Send + 'static;
    /// The scratch memory of one decode thread.
    type Preparer;
    /// The loaded model of one worker thread.
    type Session;

    /// What the model is.
    fn card(&self) -> &ModelCard;

    /// Scratch memory for one decode thread.
    fn preparer(&self) -> Self::Preparer;

    /// Loads the model for one worker thread; again after it failed or panicked.
    ///
    /// # Errors
    /// [`ModelError`]; the node then answers with errors, never with votes.
    fn open(&self) -> Result<Self::Session, ModelError>;

    /// Makes one request's input of its tensor, which is hostile.
    ///
    /// # Errors
    /// [`Unusable`] if the model can make nothing of it; the owner then abstains.
    fn prepare(&self, preparer: &mut Self::Preparer, tensor: Tensor) -> Result<Self::Input, Unusable>;

    /// Computes one output per input, in order.
    ///
    /// # Errors
    /// [`ModelError`] fails the whole batch; its inputs are then tried one by one.
    fn infer(&self, session: &mut Self::Session, inputs: &[Self::Input]) -> Result<Vec<Output>, ModelError>;
}

/// What a model is called and what it can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// The model's name, published in the ledger.
    pub name: String,
    /// The version's name, published in the ledger.
    pub label: String,
    /// The version's digest.
    pub version: Digest,
    /// The task, as charters name it.
    pub task: &'static str,
    /// Classes that it tells apart; none where the task has no fixed number.
    pub classes: Option<u32>,
    /// What runs it.
    pub backend: &'static str,
}

/// What a model says about one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A class, and the full output behind it.
    Class {
        /// The class with the highest score.
        class: u32,
        /// The scores, as the ballot commits to them.
        bytes: Bytes,
    },
    /// An output that is agreed on byte by byte.
    Canonical(Bytes),
}

impl Output {
    /// The full output, as the ballot commits to it.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Class { bytes, .. } | Self::Canonical(bytes) => bytes,
        }
    }
}

/// The vote that an output stands for under a charter; an abstention where the charter does not admit it.
///
/// Under `exact` any output votes by the digest of its bytes.
#[must_use]
pub fn vote_of(output: &Output, charter: &Charter) -> Vote {
    let vote = match (charter.policy, output) {
        (Policy::Exact { .. }, output) => Vote::Output(Digest::of(output.bytes())),
        (_, Output::Class { class, .. }) => Vote::Class(*class),
        (_, Output::Canonical(_)) => Vote::Abstain,
    };
    if charter.admits(&vote) { vote } else { Vote::Abstain }
}

/// Why a model can make nothing of an input; always its sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Why a model cannot be loaded or failed; ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

impl ModelError {
    /// The error that says what `error` says.
    pub fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// The label of a version whose owner gave it none: the first digits of its digest.
#[must_use]
pub fn default_label(version: &Digest) -> String {
    let mut label = version.to_string();
    label.truncate(12);
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::charter;

    #[test]
    fn a_class_that_the_charter_does_not_have_is_an_abstention() {
        let charter = charter("image-classification", 10);
        let class = |class| vote_of(&Output::Class { class, bytes: Bytes::new() }, &charter);
        assert_eq!(class(9), Vote::Class(9));
        assert_eq!(class(10), Vote::Abstain);
    }

    #[test]
    fn equal_canonical_outputs_vote_alike_and_others_mostly_not() {
        let charter = charter("identity", 1 << 20);
        let vote = |bytes: &'static [u8]| vote_of(&Output::Canonical(Bytes::from_static(bytes)), &charter);
        assert_eq!(vote(b"one"), vote(b"one"));
        assert_ne!(vote(b"one"), vote(b"two"));
    }
}
