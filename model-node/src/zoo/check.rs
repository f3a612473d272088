//! Whether the zoo on this machine is the zoo that we know, and answers as it should.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dropbear_models::{Classifier, DecodedImage, RunOptions, Runtime};
use serde::Deserialize;

use super::error::{ZooError, io};
use super::fetch::Progress;
use super::{Photo, Zoo, files, pins};

/// How far a score may be from the known one. Other processors round otherwise: 1e-5 was the worst met.
pub const SCORE_TOLERANCE: f32 = 1e-3;

/// The known answers: model, photo, class and score.
const FINGERPRINTS: &str = include_str!("fingerprints.toml");

/// The outcome of a check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Files that are not what they should be. If there are any, no model was run.
    pub damaged: Vec<Damaged>,
    /// What each model answered.
    pub models: Vec<ModelCheck>,
}

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// The digest that it should have, in hexadecimal.
    pub expected: String,
    /// The digest that it has.
    pub got: String,
}

/// What one model answered.
#[derive(Clone, Debug)]
pub struct ModelCheck {
    /// The model.
    pub name: &'static str,
    /// Its answers, in the order of [`Zoo::photos`].
    pub photos: Vec<PhotoCheck>,
}

/// What one model answered about one photo.
#[derive(Clone, Debug)]
pub struct PhotoCheck {
    /// The photo's file name.
    pub photo: String,
    /// What it shows, where that is known.
    pub truth: Option<u32>,
    /// The class that the model answered.
    pub class: u32,
    /// The score of that class.
    pub score: f32,
    /// The class and score that it should have answered.
    pub expected: Option<(u32, f32)>,
}

type Fingerprints = BTreeMap<String, BTreeMap<String, Fingerprint>>;

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fingerprint {
    class: u32,
    score: f32,
}

pub(super) fn check(zoo: &Zoo, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Check, ZooError> {
    let damaged = damaged(zoo, progress)?;
    let models = match damaged.is_empty() {
        true => answers(zoo, progress)?,
        false => Vec::new(),
    };
    Ok(Check { damaged, models })
}

/// How many labelled photos a model is known to get right, and how many there are.
pub(super) fn known_accuracy(model: &str) -> (usize, usize) {
    let known = fingerprints().remove(model).unwrap_or_default();
    let is_right = |photo: &&pins::Photo| known.get(photo.name).map(|answer| answer.class) == photo.class;
    (pins::LABELLED_PHOTOS.iter().filter(is_right).count(), pins::LABELLED_PHOTOS.len())
}

fn fingerprints() -> Fingerprints {
    toml::from_str(FINGERPRINTS).expect("the known answers are tested")
}

fn damaged(zoo: &Zoo, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<Damaged>, ZooError> {
    let files = files::expected();
    progress(Progress::Comparing { files: files.len() });
    let mut damaged = Vec::new();
    for file in files {
        let path = zoo.root().join(&file.path);
        let bytes = std::fs::read(&path).map_err(io("read", &path))?;
        let (expected, got) = file.digests(&bytes);
        if expected != got {
            damaged.push(Damaged { path, expected, got });
        }
    }
    Ok(damaged)
}

fn answers(zoo: &Zoo, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<ModelCheck>, ZooError> {
    let fingerprints = fingerprints();
    let runtime = Runtime::load(&zoo.runtime_library()?)?;
    let photos = zoo.photos();
    let images = decoded(&photos)?;
    let mut models = Vec::new();
    for name in zoo.models() {
        progress(Progress::Running { model: name });
        let path = zoo.manifest_path(name)?;
        let mut model = Classifier::open(&path, Some(&runtime), &RunOptions::default())?;
        let mut checks = Vec::new();
        for (photo, image) in photos.iter().zip(&images) {
            let answer = &model.classify(std::slice::from_ref(image))?[0];
            let file = file_name(photo);
            checks.push(PhotoCheck {
                truth: photo.class,
                class: answer.class,
                score: answer.logits[answer.class as usize],
                expected: (fingerprints.get(name))
                    .and_then(|photos| photos.get(&file))
                    .map(|known| (known.class, known.score)),
                photo: file,
            });
        }
        models.push(ModelCheck { name, photos: checks });
    }
    Ok(models)
}

fn decoded(photos: &[Photo]) -> Result<Vec<DecodedImage>, ZooError> {
    (photos.iter())
        .map(|photo| {
            let file = std::fs::read(&photo.path).map_err(io("read", &photo.path))?;
            DecodedImage::decode(&file).map_err(|source| ZooError::Photo { path: photo.path.clone(), source })
        })
        .collect()
}

fn file_name(photo: &Photo) -> String {
    let name = photo.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl Check {
    /// Whether every file and every answer is as known.
    pub fn passed(&self) -> bool {
        self.damaged.is_empty() && self.models.iter().all(ModelCheck::passed)
    }
}

impl ModelCheck {
    /// Whether every answer is as known.
    pub fn passed(&self) -> bool {
        self.photos.iter().all(PhotoCheck::passed)
    }

    /// How many labelled photos it got right, and how many there are.
    pub fn accuracy(&self) -> (usize, usize) {
        let labelled = self.photos.iter().filter(|photo| photo.truth.is_some());
        let right = labelled.clone().filter(|photo| photo.truth == Some(photo.class));
        (right.count(), labelled.count())
    }
}

impl PhotoCheck {
    /// Whether the answer is the known one.
    pub fn passed(&self) -> bool {
        self.expected.is_some_and(|(class, score)| class == self.class && (score - self.score).abs() <= SCORE_TOLERANCE)
    }
}

/// A table: one row per model, then what differs.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.damaged {
            let (path, expected, got) = (file.path.display(), &file.expected, &file.got);
            writeln!(f, "damaged  {path}\n         expected {expected}\n         got      {got}")?;
        }
        if !self.damaged.is_empty() {
            return write!(f, "run `dropbear zoo fetch --repair`");
        }
        writeln!(f, "{:<12} {:>10} {:>12}", "model", "correct", "as known")?;
        for model in &self.models {
            let (right, labelled) = model.accuracy();
            let known = model.photos.iter().filter(|photo| photo.passed()).count();
            let correct = format!("{right}/{labelled}");
            let known = format!("{known}/{}", model.photos.len());
            writeln!(f, "{:<12} {correct:>10} {known:>12}", model.name)?;
        }
        for model in &self.models {
            for photo in model.photos.iter().filter(|photo| !photo.passed()) {
                writeln!(f, "{} on {}: {photo}", model.name, photo.photo)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PhotoCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {} with score {:.4}", self.class, self.score)?;
        match self.expected {
            Some((class, score)) => write!(f, ", expected class {class} with score {score:.4}"),
            None => write!(f, ", expected nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn there_is_a_known_answer_for_every_model_and_photo() -> Result<(), toml::de::Error> {
        let fingerprints: Fingerprints = toml::from_str(FINGERPRINTS)?;
        let zoo = Zoo { root: PathBuf::new() };
        let photos: Vec<String> = zoo.photos().iter().map(file_name).collect();
        assert_eq!(fingerprints.len(), zoo.models().count());
        for model in zoo.models() {
            let known = &fingerprints[model];
            assert_eq!(known.len(), photos.len());
            assert!(photos.iter().all(|photo| known.contains_key(photo)), "{model}");
        }
        Ok(())
    }

    #[test]
    #[ignore = "rewrites fingerprints.toml from this machine's answers"]
    fn write_fingerprints() -> Result<(), Box<dyn std::error::Error>> {
        let zoo = Zoo::open(&super::super::cache_directory()?)?;
        let mut text = String::from("# What each model answers about each photo: class and score.\n");
        for model in answers(&zoo, &mut |_| {})? {
            writeln!(text, "\n[{}]", model.name)?;
            for PhotoCheck { photo, class, score, .. } in &model.photos {
                writeln!(text, "\"{photo}\" = {{ class = {class}, score = {score:.4} }}")?;
            }
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/zoo/fingerprints.toml"), text)?;
        Ok(())
    }
}
