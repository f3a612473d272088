//! Model cards: what an owner tells people about a model, as Hugging Face's hub writes it: markdown under YAML front
//! matter.
//!
//! ```text
//! ---
//! license: apache-2.0
//! pipeline_tag: image-classification
//! inputs: one picture, 224 pixels square after cropping
//! outputs: scores of 1000 ImageNet classes
//! base_model: efficientnet-lite0
//! metrics: [{type: accuracy, value: 0.75}]
//! ---
//! # Lite0
//! …
//! ```
//!
//! The card's digest is part of the version, so a card never changes under a version's feet. The hub's own keys are
//! taken as they are; `licence`, `task` and `lineage` are understood, too.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::manifest::Manifest;

/// The longest card that is read, in bytes.
pub const CARD_BYTES_MAX: u64 = 64 << 10;
/// Values of the front matter, however deep.
const NODES_MAX: usize = 4096;
const DEPTH_MAX: usize = 32;
const FENCE: &str = "---";

/// A model card's front matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Terms of use.
    pub licence: String,
    /// What the model does.
    pub task: String,
    /// What it takes.
    pub inputs: Value,
    /// What it returns.
    pub outputs: Value,
    /// What it was made from.
    pub lineage: Value,
    /// How well it does, if its owner says so.
    pub metrics: Option<Value>,
}

/// Why a text is no model card, or another model's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// Not text.
    #[error("the card is not UTF-8 text")]
    NotText,
    /// No front matter.
    #[error("the card does not begin with front matter: YAML between two lines of `---`")]
    NoFrontMatter,
    /// The front matter is not YAML, or too much of it.
    #[error("the card's front matter is not a YAML mapping within bounds: {0}")]
    Syntax(String),
    /// A field is missing.
    #[error("the card's front matter lacks `{0}`")]
    Missing(&'static str),
    /// A field is no text.
    #[error("the card's `{0}` must be a text")]
    NoText(&'static str),
    /// The card speaks of another model.
    #[error("the card says {field} `{card}`, the manifest `{manifest}`: make them agree")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// What the card says.
        card: String,
        /// What the manifest says.
        manifest: String,
    },
}

impl Card {
    /// Reads a card's bytes; its body is not looked at.
    ///
    /// # Errors
    /// [`CardError`] says what is missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, CardError> {
        let text = std::str::from_utf8(bytes).map_err(|_| CardError::NotText)?;
        let mut fields = mapping(front_matter(text).ok_or(CardError::NoFrontMatter)?)?;
        let mut take = |names: &[&str]| names.iter().find_map(|name| fields.remove(*name));
        let (licence, task) = (take(&["license", "licence"]), take(&["pipeline_tag", "task"]));
        Ok(Self {
            licence: text_of(licence, "license")?,
            task: text_of(task, "pipeline_tag")?,
            inputs: take(&["inputs"]).ok_or(CardError::Missing("inputs"))?,
            outputs: take(&["outputs"]).ok_or(CardError::Missing("outputs"))?,
            lineage: take(&["base_model", "lineage"]).ok_or(CardError::Missing("base_model"))?,
            metrics: take(&["model-index", "metrics"]),
        })
    }

    /// Checks that the card speaks of the manifest's model. Licences compare without case, as the hub writes SPDX
    /// identifiers small.
    ///
    /// # Errors
    /// [`CardError::Mismatch`]
    pub fn check(&self, manifest: &Manifest) -> Result<(), CardError> {
        let pairs = [("licence", &self.licence, manifest.licence.as_str()), ("task", &self.task, manifest.task.name())];
        match pairs.into_iter().find(|(_, card, manifest)| !card.eq_ignore_ascii_case(manifest)) {
            Some((field, card, manifest)) => {
                Err(CardError::Mismatch { field, card: card.clone(), manifest: manifest.to_owned() })
            }
            None => Ok(()),
        }
    }
}

/// The lines between the first line, which is a fence, and the next fence.
fn front_matter(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(FENCE)?;
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?;
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == FENCE {
            return rest.get(..length);
        }
        length += line.len();
    }
    None
}

fn mapping(yaml: &str) -> Result<Map<String, Value>, CardError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: 1,
        },
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| CardError::Syntax(error.to_string()))
}

fn text_of(value: Option<Value>, field: &'static str) -> Result<String, CardError> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(CardError::NoText(field)),
        None => Err(CardError::Missing(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CARD: &str = "---\nlicense: apache-2.0\npipeline_tag: identity\ninputs: any bytes\noutputs: the same bytes\n\
                        base_model: none\nmodel-index:\n  - name: echo\n    results: [{value: 1.0}]\nunknown: 3\n---\n\
                        # Echo\n\nSays what it hears.\n";

    fn refused(text: &str) -> CardError {
        Card::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn a_card_is_read_as_the_hub_writes_it() -> Result<(), CardError> {
        let card = Card::parse(CARD.as_bytes())?;
        assert_eq!((card.licence.as_str(), card.task.as_str()), ("apache-2.0", "identity"));
        assert_eq!(card.metrics.and_then(|metrics| metrics[0]["results"][0]["value"].as_f64()), Some(1.0));
        assert_eq!(Card::parse(CARD.replace('\n', "\r\n").as_bytes())?.inputs, "any bytes");
        let british = CARD.replace("license", "licence").replace("base_model", "lineage");
        assert_eq!(Card::parse(british.as_bytes())?.lineage, "none");
        Ok(())
    }

    #[test]
    fn what_is_no_card_is_refused_with_the_reason() {
        assert_eq!(Card::parse(b"---\n\xff\n---\n"), Err(CardError::NotText));
        for text in ["", "# Echo\n", "--- \nlicense: mit\n", "---\nlicense: mit\n", " ---\nlicense: mit\n---\n"] {
            assert_eq!(refused(text), CardError::NoFrontMatter, "{text:?}");
        }
        for text in ["---\n---\n", "---\n- license\n---\n", "---\n{\n---\n", "---\na: &a [*a]\n---\n"] {
            assert!(matches!(refused(text), CardError::Syntax(_) | CardError::Missing(_)), "{text:?}");
        }
        for (line, error) in [
            ("license: apache-2.0\n", CardError::Missing("license")),
            ("pipeline_tag: identity\n", CardError::Missing("pipeline_tag")),
            ("inputs: any bytes\n", CardError::Missing("inputs")),
            ("outputs: the same bytes\n", CardError::Missing("outputs")),
            ("base_model: none\n", CardError::Missing("base_model")),
        ] {
            assert_eq!(refused(&CARD.replace(line, "")), error);
        }
        assert_eq!(refused(&CARD.replace("apache-2.0", "[mit]")), CardError::NoText("license"));
    }

    #[test]
    fn front_matter_that_multiplies_itself_is_refused() {
        let mut bomb = String::from("---\na0: &a0 [x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let last = format!("*a{}, ", level - 1).repeat(8);
            bomb += &format!("a{level}: &a{level} [{last}]\n");
        }
        let begun = std::time::Instant::now();
        assert!(matches!(refused(&(bomb + "---\n")), CardError::Syntax(_)));
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_card_and_its_manifest_agree() -> Result<(), Box<dyn std::error::Error>> {
        let manifest = "name = \"echo\"\ntask = \"identity\"\nbackend = \"identity\"\nlicence = \"Apache-2.0\"\n\
                        lineage = \"none\"\n";
        let card = Card::parse(CARD.as_bytes())?;
        card.check(&Manifest::parse(manifest)?)?;
        let error = card.check(&Manifest::parse(&manifest.replace("Apache-2.0", "MIT"))?).unwrap_err();
        assert!(error.to_string().contains("licence"), "{error}");
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(yaml in "[ a-c:\\[\\]{}&*!|>\"'#,\n-]{0,200}") {
            // Whatever comes of it.
            let _ = Card::parse(format!("---\n{yaml}\n---\n").as_bytes());
        }
    }
}
