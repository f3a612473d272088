//! Models of the tests' own.

use bytes::Bytes;
use dropbear_certificates::{Digest, Vote};
use dropbear_model_node::model::classification::picture;
use dropbear_model_node::model::identity::Identity;
use dropbear_model_node::{Model, ModelCard, ModelError, Output, Unusable};
use dropbear_models::{DecodedImage, Manifest};
use dropbear_wire::v1::Tensor;

pub(crate) const IDENTITY_MANIFEST: &str =
    "name = \"echo\"\ntask = \"identity\"\nbackend = \"identity\"\nlicence = \"Apache-2.0\"\nlineage = \"none\"\n";

pub(crate) fn identity() -> Identity {
    Identity::new(&Manifest::parse(IDENTITY_MANIFEST).unwrap())
}

pub(crate) fn card(task: &'static str, classes: Option<u32>) -> ModelCard {
    let version = Digest::of(b"scripted");
    ModelCard { name: "scripted".into(), label: "1".into(), version, task, classes, backend: "test" }
}

/// Does whatever a test says with the data of each batch; a liar is one of these.
pub(crate) struct Scripted<F> {
    card: ModelCard,
    script: F,
}

impl<F: Fn(&[Bytes]) -> Result<Vec<Output>, ModelError> + Send + Sync + 'static> Scripted<F> {
    pub(crate) fn new(script: F) -> Self {
        Self { card: card("identity", None), script }
    }

    pub(crate) fn version(mut self, name: &str) -> Self {
        self.card.version = Digest::of(name.as_bytes());
        self
    }
}

impl<F: Fn(&[Bytes]) -> Result<Vec<Output>, ModelError> + Send + Sync + 'static> Model for Scripted<F> {
    type Input = Bytes;
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Bytes, Unusable> {
        Ok(tensor.data)
    }

    fn infer(&self, (): &mut (), inputs: &[Bytes]) -> Result<Vec<Output>, ModelError> {
        (self.script)(inputs)
    }
}

/// The vote of an `exact` group for the output [`class`].
pub(crate) fn vote_for(class: u32) -> Vote {
    Vote::Output(Digest::of(&class.to_le_bytes()))
}

/// Votes for one class per input.
pub(crate) fn class(class: u32) -> Output {
    Output::Class { class, bytes: class.to_le_bytes().to_vec().into() }
}

/// Says how red a picture's first pixel is.
pub(crate) struct Redness(ModelCard);

impl Redness {
    pub(crate) fn new() -> Self {
        Self(card("image-classification", Some(256)))
    }
}

impl Model for Redness {
    type Input = DecodedImage;
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<DecodedImage, Unusable> {
        picture(tensor)
    }

    fn infer(&self, (): &mut (), pictures: &[DecodedImage]) -> Result<Vec<Output>, ModelError> {
        Ok(pictures.iter().map(|picture| class(picture.rgb()[0].into())).collect())
    }
}

/// Cannot be loaded.
pub(crate) struct Broken(ModelCard);

impl Broken {
    pub(crate) fn new() -> Self {
        Self(card("identity", None))
    }
}

impl Model for Broken {
    type Input = ();
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        Err(ModelError("truncated".into()))
    }

    fn prepare(&self, (): &mut (), _: Tensor) -> Result<(), Unusable> {
        Ok(())
    }

    fn infer(&self, (): &mut (), _: &[()]) -> Result<Vec<Output>, ModelError> {
        Ok(Vec::new())
    }
}
