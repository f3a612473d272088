//! What a group's task takes and gives, in terms of Open Inference Protocol tensors.

use bytes::Bytes;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{Charter, Policy};

use crate::ask::{Failure, Tensor, TensorData};

mod items;

pub(crate) use items::{digest, element_bytes, element_count, items};

/// The one version under which a group is served: its versions change under it, and its certificates name them.
pub(crate) const VERSION: &str = "1";
pub(crate) const PLATFORM: &str = "dropbear";

/// One tensor of a model's metadata; -1 is any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: &'static str,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<i64>,
}

/// What goes into the models of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Pictures, as JPEG, PNG or pixels.
    Pictures,
    /// Any one tensor.
    Tensor,
}

/// What a group agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A class (`plurality`).
    Class,
    /// A class, and the others in the order of their points (`borda`).
    Ranking {
        /// Classes in a ranking, at most.
        ranks: u64,
    },
    /// The input again: `identity` under a policy that says nothing of its elements.
    Echo {
        /// Whether its digest is what the owners agree on (`exact`).
        exact: bool,
    },
    /// An output byte by byte (`exact`).
    Output,
    /// Numbers (`median`, `trimmed-mean`, `within`).
    Values(TensorBounds),
}

/// What the models of a group do: the task says what goes in, the policy what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
}

pub(crate) const TALLY: &str = "tally";
pub(crate) const LABEL: &str = "label";
pub(crate) const CLASS: &str = "class";
pub(crate) const RANKING: &str = "ranking";
pub(crate) const DIGEST: &str = "digest";
pub(crate) const OUTPUT: &str = "OUTPUT0";

const IDENTITY: &str = "identity";

impl Task {
    pub(crate) fn of(charter: &Charter) -> Result<Self, Failure> {
        let takes = match charter.task.as_str() {
            "image-classification" => Takes::Pictures,
            IDENTITY | "regression" | "embedding" => Takes::Tensor,
            other => return Err(Failure::Unavailable(format!("this gateway does not know the task `{other}`"))),
        };
        let gives = match charter.policy {
            Policy::Plurality if charter.task == IDENTITY => Gives::Echo { exact: false },
            Policy::Exact { .. } if charter.task == IDENTITY => Gives::Echo { exact: true },
            Policy::Plurality => Gives::Class,
            Policy::Borda { ranks } => Gives::Ranking { ranks },
            Policy::Exact { .. } => Gives::Output,
            Policy::Median { tensor } | Policy::TrimmedMean { tensor } | Policy::Within { tensor, .. } => {
                Gives::Values(tensor)
            }
        };
        Ok(Self { takes, gives })
    }

    /// Whether the owners' full outputs are needed for the answer.
    pub(crate) fn wants_outputs(self) -> bool {
        self.gives == Gives::Output
    }

    /// The name of the one input.
    pub(crate) const fn input_name(self) -> &'static str {
        match self.takes {
            Takes::Pictures => "image",
            Takes::Tensor => "INPUT0",
        }
    }

    pub(crate) fn input(self) -> TensorSpec {
        match self.takes {
            Takes::Pictures => spec(self.input_name(), "BYTES", &[-1]),
            Takes::Tensor => spec(self.input_name(), "FP32", &[-1, -1]),
        }
    }

    /// The names of the outputs.
    pub(crate) const fn output_names(self) -> &'static [&'static str] {
        match self.gives {
            Gives::Class => &[LABEL, CLASS, TALLY],
            Gives::Ranking { .. } => &[LABEL, CLASS, RANKING, TALLY],
            Gives::Echo { exact: false } | Gives::Values(_) => &[OUTPUT, TALLY],
            Gives::Echo { exact: true } | Gives::Output => &[OUTPUT, DIGEST, TALLY],
        }
    }

    pub(crate) fn outputs(self) -> Vec<TensorSpec> {
        let one = |name: &&'static str| match (*name, self.gives) {
            (CLASS, _) => spec(CLASS, "INT64", &[-1]),
            (RANKING, Gives::Ranking { ranks }) => spec(RANKING, "INT64", &[-1, ranks.cast_signed()]),
            (OUTPUT, Gives::Values(tensor)) => spec(OUTPUT, "FP64", &[-1, i64::from(tensor.length)]),
            (OUTPUT, Gives::Echo { .. }) => spec(OUTPUT, "FP32", &[-1, -1]),
            (name, _) => spec(name, "BYTES", &[-1]),
        };
        self.output_names().iter().map(one).collect()
    }

    /// The tensor that a body without any description holds.
    pub(crate) fn raw(self, body: Bytes) -> Tensor {
        let name = self.input_name().into();
        match self.takes {
            Takes::Pictures => {
                Tensor { name, datatype: "BYTES".into(), shape: vec![1], data: TensorData::Elements(vec![body]) }
            }
            Takes::Tensor => {
                let shape = vec![1, body.len() as u64];
                Tensor { name, datatype: "UINT8".into(), shape, data: TensorData::Raw(body) }
            }
        }
    }
}

fn spec(name: &'static str, datatype: &'static str, shape: &[i64]) -> TensorSpec {
    TensorSpec { name, datatype, shape: shape.to_vec() }
}
