//! What a node serves: one model version, as the pool's threads use it.
//!
//! ```text
//! Tensor ──prepare──▶ Input ──infer (batch)──▶ Output ──vote_of──▶ Vote
//!          (decode thread)   (worker thread)
//! ```

pub mod classification;
pub mod identity;
pub mod numbers;

use std::sync::Arc;

use bytes::Bytes;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{Charter, Digest, Policy, Vote};
use dropbear_models::{Form, Manifest, RunOptions, Task};
use dropbear_wire::v1::Tensor;
use tracing::debug;

use numbers::numbers;

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

    /// Loads the model for one worker thread; again after it failed or panicked. Workers that live at the same time have
    /// different places, from 0 on: on a node with several devices the place decides which one a worker uses.
    ///
    /// # Errors
    /// [`ModelError`]; the node then answers with errors, never with votes.
    fn open(&self, place: usize) -> Result<Self::Session, ModelError>;

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

/// A model that others hold, too.
impl<M: Model> Model for Arc<M> {
    type Input = M::Input;
    type Preparer = M::Preparer;
    type Session = M::Session;

    fn card(&self) -> &ModelCard {
        (**self).card()
    }

    fn preparer(&self) -> M::Preparer {
        (**self).preparer()
    }

    fn open(&self, place: usize) -> Result<M::Session, ModelError> {
        (**self).open(place)
    }

    fn prepare(&self, preparer: &mut M::Preparer, tensor: Tensor) -> Result<M::Input, Unusable> {
        (**self).prepare(preparer, tensor)
    }

    fn infer(&self, session: &mut M::Session, inputs: &[M::Input]) -> Result<Vec<Output>, ModelError> {
        (**self).infer(session, inputs)
    }
}

/// How a model's sessions run: one after the other on these devices.
#[derive(Clone, Debug)]
pub struct Sessions(Vec<RunOptions>);

impl Sessions {
    /// Sessions on `first` and the others in turn. All devices take inputs in the same form.
    ///
    /// # Errors
    /// [`ModelError`] where GPUs and CPUs are mixed.
    pub fn new(first: RunOptions, others: impl IntoIterator<Item = RunOptions>) -> Result<Self, ModelError> {
        let all: Vec<_> = std::iter::once(first).chain(others).collect();
        match all.iter().all(|options| Form::on(options.device) == Form::on(all[0].device)) {
            true => Ok(Self(all)),
            false => Err(ModelError("a node's `devices` are CPUs or GPUs, not both: run two nodes".into())),
        }
    }

    /// How the session of the worker in this place runs.
    fn of(&self, place: usize) -> &RunOptions {
        &self.0[place % self.0.len()]
    }

    /// The form in which the model takes pictures.
    fn form(&self) -> Form {
        Form::on(self.0[0].device)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self(vec![RunOptions::default()])
    }
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
    /// The best classes, and the full output behind them.
    Ranking {
        /// Different classes, the one with the highest score first; never empty.
        classes: Vec<u32>,
        /// The scores, as the ballot commits to them.
        bytes: Bytes,
    },
    /// Numbers, estimates or a place in a space: little-endian FP32, as the ballot commits to them.
    Values(Bytes),
    /// An output that is agreed on byte by byte.
    Canonical(Bytes),
}

impl Output {
    /// Numbers.
    #[must_use]
    pub fn values(values: Vec<f32>) -> Self {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Self::Values(bytes.into())
    }

    /// The full output, as the ballot commits to it.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Class { bytes, .. } | Self::Ranking { bytes, .. } | Self::Values(bytes) | Self::Canonical(bytes) => {
                bytes
            }
        }
    }

    /// The classes that it names, the best first.
    fn classes(&self) -> &[u32] {
        match self {
            Self::Class { class, .. } => std::slice::from_ref(class),
            Self::Ranking { classes, .. } => classes,
            Self::Values(_) | Self::Canonical(_) => &[],
        }
    }
}

/// The vote that an output stands for under a charter; an abstention where the charter does not admit it.
///
/// | Policy | Vote |
/// |---|---|
/// | `exact` | the digest of the output's bytes, whatever it is |
/// | `plurality` | the best class |
/// | `borda` | the best classes, as many as the charter ranks |
/// | `median`, `trimmed-mean`, `within` | the numbers in the charter's fixed point |
#[must_use]
pub fn vote_of(output: &Output, charter: &Charter) -> Vote {
    let vote = match charter.policy {
        Policy::Exact { .. } => Vote::Output(Digest::of(output.bytes())),
        Policy::Plurality => output.classes().first().map_or(Vote::Abstain, |class| Vote::Class(*class)),
        Policy::Borda { ranks } => ranking(output.classes(), ranks),
        Policy::Median { tensor } | Policy::TrimmedMean { tensor } | Policy::Within { tensor, .. } => {
            fixed(output, &tensor)
        }
    };
    if charter.admits(&vote) { vote } else { Vote::Abstain }
}

fn ranking(classes: &[u32], ranks: u64) -> Vote {
    let count = usize::try_from(ranks).unwrap_or(usize::MAX).min(classes.len());
    if count == 0 { Vote::Abstain } else { Vote::Ranking(classes[..count].to_vec()) }
}

fn fixed(output: &Output, bounds: &TensorBounds) -> Vote {
    let Output::Values(bytes) = output else { return Vote::Abstain };
    let converted = numbers(bytes).map_err(|error| error.to_string());
    match converted.and_then(|values| bounds.convert(&values).map_err(|error| error.to_string())) {
        Ok(values) => Vote::Tensor(values),
        Err(reason) => {
            debug!(%reason, "abstaining: the output is no vote under the charter");
            Vote::Abstain
        }
    }
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

/// What the model with this manifest is.
#[must_use]
pub fn describe(manifest: &Manifest) -> ModelCard {
    let version = Digest(manifest.version_digest());
    let (classes, backend) = match &manifest.task {
        Task::Identity => (None, "identity"),
        Task::ImageClassification(task) => (Some(task.classes), task.backend.name()),
        Task::Vector(task) => (None, task.backend.name()),
    };
    let (name, label) = (manifest.name.clone(), default_label(&version));
    ModelCard { name, label, version, task: manifest.task.name(), classes, backend }
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

    fn under(policy: Policy) -> Charter {
        Charter { policy, ..charter("any", 10) }
    }

    fn ranked(classes: &[u32]) -> Output {
        Output::Ranking { classes: classes.to_vec(), bytes: Bytes::new() }
    }

    #[test]
    fn a_class_that_the_charter_does_not_have_is_an_abstention() {
        let charter = charter("image-classification", 10);
        let class = |class| vote_of(&Output::Class { class, bytes: Bytes::new() }, &charter);
        assert_eq!(class(9), Vote::Class(9));
        assert_eq!(class(10), Vote::Abstain);
        assert_eq!(vote_of(&ranked(&[3, 4]), &charter), Vote::Class(3));
    }

    #[test]
    fn a_ranking_is_as_long_as_the_charter_ranks_or_as_the_model_knows() {
        let charter = under(Policy::Borda { ranks: 3 });
        assert_eq!(vote_of(&ranked(&[7, 1, 2, 9]), &charter), Vote::Ranking(vec![7, 1, 2]));
        assert_eq!(vote_of(&ranked(&[7, 1]), &charter), Vote::Ranking(vec![7, 1]));
        assert_eq!(vote_of(&ranked(&[7, 1, 10]), &charter), Vote::Abstain, "a class that there is not");
        let class = Output::Class { class: 7, bytes: Bytes::new() };
        assert_eq!(vote_of(&class, &charter), Vote::Ranking(vec![7]));
    }

    #[test]
    fn numbers_vote_in_the_charters_fixed_point_or_not_at_all() {
        let tensor = TensorBounds { length: 2, fraction_bits: 1, min: -10, max: 10 };
        let policies = [
            Policy::Median { tensor },
            Policy::TrimmedMean { tensor },
            Policy::Within { tensor, epsilon: 1, quorum: 1 },
        ];
        for policy in policies {
            let vote = |values: &[f32]| vote_of(&Output::values(values.to_vec()), &under(policy));
            assert_eq!(vote(&[0.5, -5.0]), Vote::Tensor(vec![1, -10]));
            assert_eq!(vote(&[0.5, 5.5]), Vote::Abstain, "out of bounds");
            assert_eq!(vote(&[0.5]), Vote::Abstain, "too short");
            assert_eq!(vote(&[0.5, f32::NAN]), Vote::Abstain, "not a number");
            assert_eq!(vote_of(&ranked(&[1]), &under(policy)), Vote::Abstain, "another kind of output");
            let broken = Output::Values(Bytes::from_static(b"1234567"));
            assert_eq!(vote_of(&broken, &under(policy)), Vote::Abstain, "it breaks off");
        }
    }

    #[test]
    fn equal_outputs_vote_alike_under_exact_and_others_do_not() {
        let charter = charter("identity", 1 << 20);
        let vote = |bytes: &'static [u8]| vote_of(&Output::Canonical(Bytes::from_static(bytes)), &charter);
        assert_eq!(vote(b"one"), vote(b"one"));
        assert_ne!(vote(b"one"), vote(b"two"));
        assert_eq!(vote_of(&Output::values(vec![0.0]), &charter), vote(b"\0\0\0\0"));
    }
}
