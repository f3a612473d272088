//! Whether the zoo on this machine is the zoo that we know, and answers as it should.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dropbear_models::{Classifier, DecodedImage, Precision, RunOptions, Runtime};
use serde::Deserialize;

use super::error::{ZooError, io};
use super::fetch::Progress;
use super::{Format, Photo, Zoo, files, pins};

/// How far a score in FP32 may be from the known one. Other processors and backends round otherwise: 1e-5 was the worst met.
pub const SCORE_TOLERANCE: f32 = 1e-3;
/// And how far in FP16, whose numbers are 0.008 apart where the scores are.
pub const SCORE_TOLERANCE_FP16: f32 = 0.1;

/// The known answers: model, photo, class and score.
const FINGERPRINTS: &str = include_str!("fingerprints.toml");

/// The outcome of a check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Files that are not what they should be. If there are any, no model was run.
    pub damaged: Vec<Damaged>,
    /// What each model answered, on each backend.
    pub models: Vec<ModelCheck>,
}

/// What is checked besides the files.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The backends on which every model runs.
    pub formats: Vec<Format>,
    /// How it runs.
    pub run: RunOptions,
    /// ONNX Runtime's library, where it is not the zoo's.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { formats: vec![Format::Onnx, Format::Candle], run: RunOptions::default(), onnxruntime: None }
    }
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
    /// The backend that ran it.
    pub format: Format,
    /// How far its scores may be from the known ones.
    pub tolerance: f32,
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
    /// The class and score that are known.
    pub expected: Option<(u32, f32)>,
    /// Its score of the class that is known.
    pub score_of_expected: f32,
}

type Fingerprints = BTreeMap<String, BTreeMap<String, Fingerprint>>;

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fingerprint {
    class: u32,
    score: f32,
}

pub(super) fn check(
    zoo: &Zoo,
    options: &CheckOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Check, ZooError> {
    let damaged = damaged(zoo, progress)?;
    let models = match damaged.is_empty() {
        true => answers(zoo, options, progress)?,
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

fn answers(
    zoo: &Zoo,
    options: &CheckOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<ModelCheck>, ZooError> {
    let fingerprints = fingerprints();
    let library = options.onnxruntime.clone().map_or_else(|| zoo.runtime_library(), Ok);
    let needed = options.formats.contains(&Format::Onnx);
    let runtime = needed.then(|| Ok::<_, ZooError>(Runtime::load(&library?)?)).transpose()?;
    let tolerance = match options.run.precision {
        Precision::Fp32 => SCORE_TOLERANCE,
        Precision::Fp16 => SCORE_TOLERANCE_FP16,
    };
    let photos = zoo.photos();
    let images = decoded(&photos)?;
    let mut models = Vec::new();
    for (name, format) in zoo.models().flat_map(|name| options.formats.iter().map(move |format| (name, *format))) {
        progress(Progress::Running { model: name, backend: format.name() });
        let path = zoo.manifest_path_for(name, format)?;
        let mut model = Classifier::open(&path, runtime.as_ref(), &options.run)?;
        let mut checks = Vec::new();
        for (photo, image) in photos.iter().zip(&images) {
            let answer = &model.classify(std::slice::from_ref(image))?[0];
            let file = file_name(photo);
            let known = fingerprints.get(name).and_then(|photos| photos.get(&file));
            let score = |class: u32| answer.logits[class as usize];
            checks.push(PhotoCheck {
                truth: photo.class,
                class: answer.class,
                score: score(answer.class),
                expected: known.map(|known| (known.class, known.score)),
                score_of_expected: known.map_or(f32::NAN, |known| score(known.class)),
                photo: file,
            });
        }
        models.push(ModelCheck { name, format, tolerance, photos: checks });
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
        self.photos.iter().all(|photo| photo.passed(self.tolerance))
    }

    /// How far its scores of the known classes are from the known scores, at most.
    pub fn apart(&self) -> f32 {
        self.photos.iter().map(PhotoCheck::apart).fold(0.0, f32::max)
    }

    /// How many labelled photos it got right, and how many there are.
    pub fn accuracy(&self) -> (usize, usize) {
        let labelled = self.photos.iter().filter(|photo| photo.truth.is_some());
        let right = labelled.clone().filter(|photo| photo.truth == Some(photo.class));
        (right.count(), labelled.count())
    }
}

impl PhotoCheck {
    /// Whether the known class has the known score, and no other one more than rounding explains.
    pub fn passed(&self, tolerance: f32) -> bool {
        self.apart() <= tolerance && self.score - self.score_of_expected <= 2.0 * tolerance
    }

    fn apart(&self) -> f32 {
        self.expected.map_or(f32::INFINITY, |(_, score)| (score - self.score_of_expected).abs())
    }
}

/// A table: one row per model and backend, then what differs.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.damaged {
            let (path, expected, got) = (file.path.display(), &file.expected, &file.got);
            writeln!(f, "damaged  {path}\n         expected {expected}\n         got      {got}")?;
        }
        if !self.damaged.is_empty() {
            return write!(f, "run `dropbear zoo fetch --repair`");
        }
        writeln!(f, "{:<12} {:<8} {:>8} {:>10} {:>12}", "model", "backend", "correct", "as known", "apart")?;
        for model in &self.models {
            let (right, labelled) = model.accuracy();
            let known = model.photos.iter().filter(|photo| photo.passed(model.tolerance)).count();
            let correct = format!("{right}/{labelled}");
            let known = format!("{known}/{}", model.photos.len());
            let (backend, apart) = (model.format.name(), model.apart());
            writeln!(f, "{:<12} {backend:<8} {correct:>8} {known:>10} {apart:>12.6}", model.name)?;
        }
        for model in &self.models {
            for photo in model.photos.iter().filter(|photo| !photo.passed(model.tolerance)) {
                writeln!(f, "{} on {}, {}: {photo}", model.name, model.format.name(), photo.photo)?;
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
        for model in
            answers(&zoo, &CheckOptions { formats: vec![Format::Onnx], ..CheckOptions::default() }, &mut |_| {})?
        {
            writeln!(text, "\n[{}]", model.name)?;
            for PhotoCheck { photo, class, score, .. } in &model.photos {
                writeln!(text, "\"{photo}\" = {{ class = {class}, score = {score:.4} }}")?;
            }
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/zoo/fingerprints.toml"), text)?;
        Ok(())
    }
}
