//! What a GPU computes, held against what the CPU does, and how fast it is.
//!
//! ```text
//! gpu_check [--device N] [--side PIXELS] [--provider cuda|tensorrt] [MODEL.onnx LIBONNXRUNTIME [CUDA_FOLDER CUDNN_FOLDER]]
//! ```
//!
//! The model takes `input` `[N, 3, side, side]` and returns scores. Each finding is printed as it is made; the exit code
//! says whether all of them were right.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dropbear_models::backend::cuda::{self, Gpu, RANKS_MAX, Ranks, f16};
use dropbear_models::backend::{Normalisation, Side};
use dropbear_models::scores::{softmax, top_k};
use dropbear_models::{
    Backend, BackendError, Device, Interface, Onnx, Provider, ProviderOptions, RunOptions, Runtime, Tensor, TensorData,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BY: Normalisation = Normalisation { mean: 127.0, scale: 128.0 };

fn main() -> ExitCode {
    let mut findings = Findings { wrong: 0 };
    if let Err(error) = check(&mut findings) {
        findings.say(false, &format!("stopped: {error}"));
    }
    println!("{} wrong", findings.wrong);
    ExitCode::from(u8::from(findings.wrong > 0))
}

fn check(findings: &mut Findings) -> Result<()> {
    let arguments = Arguments::parse()?;
    println!("{} devices", cuda::device_count()?);
    let began = Instant::now();
    let gpu = Gpu::open(arguments.device)?;
    let (free, all) = gpu.memory()?;
    println!("{:?}, {} of {} MiB free, opened in {:?}", gpu.facts(), free >> 20, all >> 20, began.elapsed());
    // A failure in one does not keep the rest from being looked at.
    let normalised = normalise(&gpu, findings);
    findings.keep("normalise", normalised);
    let ranked = rank(&gpu, findings);
    findings.keep("rank", ranked);
    drop(gpu);
    match arguments.rest.as_slice() {
        [model, library, ..] => onnx(&arguments, model, library, findings),
        _ => Ok(()),
    }
}

struct Arguments {
    device: u32,
    side: usize,
    provider: Provider,
    rest: Vec<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut arguments = Self { device: 0, side: 224, provider: Provider::Cuda, rest: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--device" => arguments.device = value()?.parse()?,
                "--side" => arguments.side = value()?.parse()?,
                "--provider" => {
                    arguments.provider = match value()?.as_str() {
                        "cuda" => Provider::Cuda,
                        "tensorrt" => Provider::Tensorrt,
                        other => return Err(format!("`{other}` is no provider for GPUs").into()),
                    };
                }
                _ => arguments.rest.push(word.into()),
            }
        }
        Ok(arguments)
    }
}

struct Findings {
    wrong: usize,
}

impl Findings {
    fn say(&mut self, right: bool, what: &str) {
        println!("{}  {what}", if right { "ok   " } else { "WRONG" });
        self.wrong += usize::from(!right);
    }

    fn keep(&mut self, what: &str, result: Result<()>) {
        if let Err(error) = result {
            self.say(false, &format!("{what}: {error}"));
        }
    }
}

/// SplitMix64, so that every run sees the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pixels(&mut self, count: usize) -> Vec<u8> {
        let mut pixels: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        pixels.truncate(count);
        pixels
    }

    /// −10 to 10; on a grid of nine values, so that there are ties, if `coarse`.
    fn logits(&mut self, count: usize, coarse: bool) -> Vec<f32> {
        let logit = |bits: u64| match coarse {
            true => (bits % 9) as f32 - 4.0,
            false => ((bits >> 40) as f32 / (1 << 24) as f32 - 0.5) * 20.0,
        };
        (0..count).map(|_| logit(self.next())).collect()
    }
}

fn planes(pixels: &[u8], plane: usize) -> Vec<f32> {
    let mut planes = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(3 * plane) {
        for channel in 0..3 {
            planes.extend(picture.chunks_exact(3).map(|pixel| (f32::from(pixel[channel]) - BY.mean) / BY.scale));
        }
    }
    planes
}

/// The largest; NaN counts as infinitely far.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |max, apart| if apart.is_nan() { f32::INFINITY } else { apart.max(max) })
}

fn normalise(gpu: &Gpu, findings: &mut Findings) -> Result<()> {
    let mut random = Random(1);
    // The pixels of 225 × 225 are odd in number: the kernel's other path.
    for side in [224usize, 225, 260] {
        for pictures in [1usize, 7, 64] {
            let plane = side * side;
            let count = pictures * 3 * plane;
            let pixels = random.pixels(count);
            let mut pinned = gpu.pinned::<u8>(count)?;
            pinned.numbers()?.copy_from_slice(&pixels);
            let mut uploaded = gpu.buffer::<u8>(count)?;
            gpu.upload(&pinned, count, &mut uploaded)?;
            let expected = planes(&pixels, plane);

            let mut fp32 = gpu.buffer::<f32>(count)?;
            gpu.normalise(&uploaded, pictures, side, BY, &mut fp32)?;
            let apart = difference(&gpu.download(&fp32, count)?, &expected);
            let pace = pace(gpu, 5 * count, || gpu.normalise(&uploaded, pictures, side, BY, &mut fp32))?;
            findings.say(apart == 0.0, &format!("normalise fp32 {pictures} x {side}: {apart:e} apart, {pace:.0} GB/s"));

            let mut fp16 = gpu.buffer::<f16>(count)?;
            gpu.normalise(&uploaded, pictures, side, BY, &mut fp16)?;
            let halves: Vec<f32> = gpu.download(&fp16, count)?.into_iter().map(f16::to_f32).collect();
            let rounded: Vec<f32> = expected.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
            let (apart, lost) = (difference(&halves, &rounded), difference(&halves, &expected));
            let pace = self::pace(gpu, 3 * count, || gpu.normalise(&uploaded, pictures, side, BY, &mut fp16))?;
            let what =
                format!("normalise fp16 {pictures} x {side}: {apart:e} apart ({lost:e} to fp32), {pace:.0} GB/s");
            findings.say(apart == 0.0, &what);
        }
    }
    Ok(())
}

/// Gigabytes a second.
fn pace(
    gpu: &Gpu,
    bytes: usize,
    mut work: impl FnMut() -> std::result::Result<(), BackendError>,
) -> std::result::Result<f64, BackendError> {
    const RUNS: usize = 200;
    work()?;
    gpu.finish()?;
    let began = Instant::now();
    for _ in 0..RUNS {
        work()?;
    }
    gpu.finish()?;
    Ok((bytes * RUNS) as f64 / began.elapsed().as_secs_f64() / 1e9)
}

fn rank(gpu: &Gpu, findings: &mut Findings) -> Result<()> {
    const ROWS: usize = 300;
    let mut random = Random(2);
    for classes in [1000usize, 5, 1] {
        for k in [1usize, 5, RANKS_MAX] {
            for coarse in [false, true] {
                let mut logits = random.logits(ROWS * classes, coarse);
                spoil(&mut logits, classes);
                let mut pinned = gpu.pinned::<f32>(logits.len())?;
                pinned.numbers()?.copy_from_slice(&logits);
                let mut uploaded = gpu.buffer::<f32>(logits.len())?;
                gpu.upload(&pinned, logits.len(), &mut uploaded)?;
                gpu.rank(&uploaded, ROWS, classes, k)?;
                let began = Instant::now();
                let ranks = gpu.rank(&uploaded, ROWS, classes, k)?;
                let took = began.elapsed();
                let apart: Vec<Option<f32>> =
                    ranks.iter().zip(logits.chunks_exact(classes)).map(|(got, row)| ranks_apart(got, row, k)).collect();
                let other = apart.iter().filter(|apart| apart.is_none()).count();
                let apart = apart.iter().flatten().fold(0f32, |max, apart| apart.max(max));
                let ties = if coarse { ", ties" } else { "" };
                findings.say(
                    ranks.len() == ROWS && other == 0 && apart <= 1e-6,
                    &format!(
                        "rank {ROWS} x {classes}{ties}, k {k}: {other} rows other, {apart:e} apart, {took:?} with reading"
                    ),
                );
            }
        }
    }
    Ok(())
}

/// Rows 0 to 3 cannot be ranked; row 4 has zeros of both signs, row 5 the largest numbers that there are.
fn spoil(logits: &mut [f32], classes: usize) {
    for (row, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
        logits[(row + 1) * classes - 1] = value;
    }
    logits[3 * classes + classes / 2] = f32::NAN;
    logits[4 * classes - 1] = f32::INFINITY;
    for (class, value) in logits[4 * classes..5 * classes].iter_mut().enumerate() {
        *value = if class % 2 == 0 { -0.0 } else { 0.0 };
    }
    logits[5 * classes] = f32::MIN;
    logits[6 * classes - 1] = f32::MAX;
}

/// How far the probabilities are apart, if the classes, or the reasons, are the same.
fn ranks_apart(got: &Ranks, row: &[f32], k: usize) -> Option<f32> {
    match (got, top_k(row, k), softmax(row)) {
        (Ok(got), Ok(top), Ok(probabilities)) => {
            let same = got.len() == top.len() && got.iter().zip(&top).all(|((class, _), top)| *class as usize == *top);
            let got: Vec<f32> = got.iter().map(|(_, probability)| *probability).collect();
            let expected: Vec<f32> = top.iter().map(|class| probabilities[*class]).collect();
            same.then(|| difference(&got, &expected))
        }
        (Err(got), Err(expected), _) => (*got == expected).then_some(0.0),
        _ => None,
    }
}

fn onnx(arguments: &Arguments, model: &Path, library: &Path, findings: &mut Findings) -> Result<()> {
    let artefact = std::fs::read(model)?;
    let runtime = Runtime::load(library)?;
    println!("{}: {}", library.display(), runtime.build_info());
    let interface = Interface {
        input: Side { tensor: "input".into(), shape: vec![3, arguments.side, arguments.side] },
        output: Side { tensor: "logits".into(), shape: vec![1000] },
        picture: Some(BY),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let cpu = RunOptions { intra_threads: threads, ..RunOptions::default() };
    let mut check =
        Check { cpu: Onnx::load(&runtime, &artefact, &interface, &cpu)?, runtime, artefact, interface, findings };
    let plain = plain(arguments);
    if let Err(error) = Onnx::load(&check.runtime, &check.artefact, &check.interface, &plain) {
        check.findings.say(false, &format!("onnx plain: {error}"));
        println!("what follows may run on the CPU in part:");
        let providers = [&plain.providers[..], &[Provider::Cpu]].concat();
        return check.way("with cpu", &RunOptions { providers, ..plain }, 1e-3);
    }
    let result = check.way("plain", &plain, 1e-3);
    check.findings.keep("onnx plain", result);
    if arguments.provider == Provider::Cuda {
        let set = |set: fn(&mut ProviderOptions)| {
            let mut options = plain.clone();
            set(&mut options.provider_options);
            options
        };
        for (name, options, apart_max) in [
            ("nhwc", set(|options| options.prefer_nhwc = true), 1e-3),
            ("tf32", set(|options| options.tf32 = true), 1e-1),
            ("graph", set(|options| options.cuda_graph = true), 1e-3),
        ] {
            let result = check.way(name, &options, apart_max);
            check.findings.keep(&format!("onnx {name}"), result);
        }
    }
    Ok(())
}

/// TensorRT leaves to CUDA what it cannot do.
fn plain(arguments: &Arguments) -> RunOptions {
    let providers = match arguments.provider {
        Provider::Tensorrt => vec![Provider::Tensorrt, Provider::Cuda],
        provider => vec![provider],
    };
    let (cuda_libraries, cudnn_libraries) = match arguments.rest.as_slice() {
        [_, _, cuda, cudnn] => (Some(cuda.clone()), Some(cudnn.clone())),
        _ => (None, None),
    };
    let provider_options = ProviderOptions { cuda_libraries, cudnn_libraries, ..ProviderOptions::default() };
    RunOptions { device: Device::Cuda(arguments.device), providers, provider_options, ..RunOptions::default() }
}

struct Check<'a> {
    cpu: Onnx,
    runtime: Runtime,
    artefact: Vec<u8>,
    interface: Interface,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// One way to run the model on a GPU, whose scores may be so far from the CPU's.
    fn way(&mut self, name: &str, options: &RunOptions, apart_max: f32) -> Result<()> {
        let began = Instant::now();
        let mut gpu = Onnx::load(&self.runtime, &self.artefact, &self.interface, options)?;
        let provider = gpu.provider();
        println!("onnx {name}: loaded in {:?}; passed over: {:?}", began.elapsed(), gpu.passed_over());
        self.findings.say(options.providers.first() == Some(&provider), &format!("onnx {name}: runs on {provider}"));
        let mut random = Random(3);
        // Down and up again: rooms grow, and what was recorded comes again.
        for count in [8usize, 1, 64, 1, 8] {
            self.same_scores(&mut gpu, name, random.pixels(count * self.values()), count, apart_max)?;
        }
        for count in [1usize, 8, 16, 32, 64, 128] {
            pace_of(&mut gpu, name, self.pictures(random.pixels(count * self.values()), count)?, count)?;
        }
        Ok(())
    }

    fn values(&self) -> usize {
        self.interface.input.values()
    }

    fn pictures(&self, pixels: Vec<u8>, count: usize) -> Result<Tensor> {
        let side = self.interface.input.shape[1];
        Ok(Tensor::new(vec![count, side, side, 3], TensorData::Uint8(pixels))?)
    }

    fn same_scores(&mut self, gpu: &mut Onnx, name: &str, pixels: Vec<u8>, count: usize, apart_max: f32) -> Result<()> {
        let shape = [&[count], &self.interface.input.shape[..]].concat();
        let planes = planes(&pixels, self.values() / 3);
        let expected = self.cpu.infer(&[Tensor::fp32(shape, planes)?])?;
        let got = gpu.infer(&[self.pictures(pixels, count)?])?;
        let (Some(got), Some(expected)) = (got.first(), expected.first()) else { return Err("no scores".into()) };
        let same_shape = got.shape() == expected.shape();
        let (Some(got), Some(expected)) = (got.as_fp32(), expected.as_fp32()) else {
            return Err("the scores are not FP32".into());
        };
        let apart = difference(got, expected);
        let classes = (expected.len() / count).max(1);
        let best = |row: &[f32]| top_k(row, 1).ok().and_then(|top| top.first().copied());
        let rows = got.chunks_exact(classes).zip(expected.chunks_exact(classes));
        let same = rows.filter(|(got, expected)| best(got).is_some() && best(got) == best(expected)).count();
        let largest = expected.iter().fold(0f32, |max, score| score.abs().max(max));
        self.findings.say(
            same_shape && apart <= apart_max,
            &format!("onnx {name} {count}: {apart:e} apart (of {largest:.2}), {same} of {count} classes the same"),
        );
        Ok(())
    }
}

fn pace_of(gpu: &mut Onnx, name: &str, batch: Tensor, count: usize) -> Result<()> {
    let batch = [batch];
    let warm = Instant::now();
    for _ in 0..5 {
        gpu.infer(&batch)?;
    }
    let warm = warm.elapsed();
    let (began, mut runs) = (Instant::now(), 0usize);
    while began.elapsed() < Duration::from_secs(1) {
        gpu.infer(&batch)?;
        runs += 1;
    }
    let took = began.elapsed().as_secs_f64();
    let (pace, batch_ms) = ((runs * count) as f64 / took, took * 1e3 / runs as f64);
    println!("       onnx {name} {count}: {pace:.0} images/s, {batch_ms:.3} ms a batch (the first five took {warm:?})");
    Ok(())
}
