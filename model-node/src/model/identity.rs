//! The model that returns its input: for tests, and for benchmarks of everything but inference.
//!
//! Numbers (`FP32`) come back as numbers, so that groups of every policy but those on classes can be made of it.

use dropbear_models::Manifest;
use dropbear_wire::v1::Tensor;

use super::{Model, ModelCard, ModelError, Output, Unusable, describe};

/// Returns its input.
#[derive(Clone, Debug)]
pub struct Identity {
    card: ModelCard,
}

impl Identity {
    /// The identity model with this manifest.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        Self { card: describe(manifest) }
    }
}

impl Model for Identity {
    type Input = Output;
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Output, Unusable> {
        let is_numbers = tensor.datatype == "FP32";
        Ok(if is_numbers { Output::Values(tensor.data) } else { Output::Canonical(tensor.data) })
    }

    fn infer(&self, (): &mut (), inputs: &[Output]) -> Result<Vec<Output>, ModelError> {
        Ok(inputs.to_vec())
    }
}
