//! What each backend makes of this machine.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use dropbear_model_node::zoo::{GROUP, Zoo, cache_directory};
use dropbear_models::backend::{Backend, load};
use dropbear_models::classify::interface;
use dropbear_models::{Device, Form, Manifest, RunOptions, Runtime, Task, Tensor, TensorData};

use crate::Verdict;
use crate::hardware::{self, Hardware};

/// Before anything is measured: libraries set themselves up, and what is recorded is recorded.
const WARM_RUNS: usize = 5;

/// What is run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sample models.
    #[arg(long, value_delimiter = ',', default_value = GROUP[0])]
    models: Vec<String>,
    /// Backends, each measured in turn in every round.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [hardware::Backend::Onnx, hardware::Backend::Candle])]
    backends: Vec<hardware::Backend>,
    /// Where they run: cpu, or a GPU as cuda:0, cuda:1…
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// Threads within one run of the model, on a CPU.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Batch sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    sizes: Vec<usize>,
    /// Rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// ONNX Runtime's library, instead of the zoo's: one for GPUs, say.
    #[arg(long)]
    onnxruntime: Option<std::path::PathBuf>,
}

pub(super) fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    let zoo = Zoo::open(&cache_directory()?)?;
    let library = args.onnxruntime.clone().map_or_else(|| zoo.runtime_library(), Ok)?;
    let runtime = Runtime::load(&library)?;
    for model in &args.models {
        let mut subjects = Vec::new();
        for backend in &args.backends {
            subjects.push(Subject::open(args, &zoo, model, *backend, &runtime)?);
        }
        for _ in 0..args.rounds {
            for subject in &mut subjects {
                for (size, paces) in args.sizes.iter().zip(&mut subject.paces) {
                    paces.push(pace(subject.backend.as_mut(), subject.side, args.device, *size, args.seconds)?);
                }
            }
        }
        for subject in &mut subjects {
            for (size, paces) in args.sizes.iter().zip(&mut subject.paces) {
                paces.sort_by(f64::total_cmp);
                let median = paces[paces.len() / 2];
                let (low, high) = (paces[0], paces[paces.len() - 1]);
                let way = &subject.name;
                if json {
                    let line = serde_json::json!({
                        "model": model, "way": way, "size": size, "images_per_s": median, "low": low, "high": high,
                    });
                    println!("{line}");
                } else {
                    let batch_ms = *size as f64 / median * 1e3;
                    println!(
                        "{model:<11} {way:<20} {size:>4}  {median:>8.0} images/s  ({low:.0} to {high:.0})  {batch_ms:.2} ms a batch"
                    );
                }
            }
        }
    }
    Ok(Verdict::Good)
}

struct Subject {
    name: String,
    backend: Box<dyn Backend>,
    side: usize,
    /// Images per second for each batch size, one per round.
    paces: Vec<Vec<f64>>,
}

impl Subject {
    fn open(
        args: &Args,
        zoo: &Zoo,
        model: &str,
        backend: hardware::Backend,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let precision = Hardware { backend, device: args.device, ..Hardware::default() }.precision();
        let options =
            RunOptions { device: args.device, intra_threads: args.threads, precision, ..RunOptions::default() };
        let path = zoo.manifest_path_for(model, backend.format())?;
        let Task::ImageClassification(task) = Manifest::load(&path)?.task else {
            anyhow::bail!("{model} classifies no pictures");
        };
        let artefact = task.artefact.read(path.parent().context("a manifest lies in a folder")?)?;
        let loaded = load(task.backend, &artefact, &interface(&task), Some(runtime), &options);
        Ok(Self {
            name: format!("{} {precision}", backend.format().name()),
            backend: loaded.with_context(|| format!("{model} on {}", backend.format().name()))?,
            side: task.input.side as usize,
            paces: vec![Vec::new(); args.sizes.len()],
        })
    }
}

/// Images per second, from memory to memory.
fn pace(backend: &mut dyn Backend, side: usize, device: Device, size: usize, seconds: f64) -> anyhow::Result<f64> {
    let samples = (0..size * 3 * side * side).map(|i| (i * 31 % 256) as u8);
    let tensor = match Form::on(device) {
        Form::Pixels => Tensor::new(vec![size, side, side, 3], TensorData::Uint8(samples.collect()))?,
        Form::Planes => Tensor::fp32(
            vec![size, 3, side, side],
            samples.map(|sample| (f32::from(sample) - 127.0) / 128.0).collect(),
        )?,
    };
    let inputs = [tensor];
    for _ in 0..WARM_RUNS {
        backend.infer(&inputs)?;
    }
    let (began, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut runs = 0;
    while began.elapsed() < limit {
        backend.infer(&inputs)?;
        runs += 1;
    }
    Ok((runs * size) as f64 / began.elapsed().as_secs_f64())
}
