//! What a model node makes of its backend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use dropbear_bench::batches::Batches;
use dropbear_bench::node::{Plan, Report, Subject, Who, measure};
use dropbear_model_node::NodeConfig;
use dropbear_model_node::zoo::{GROUP, Zoo};
use dropbear_models::{DecodedImage, Form, ImageInput, Preprocessor};
use dropbear_wire::files::read_genesis;
use dropbear_wire::{client, v1};

use super::bare::{BATCH, sessions};
use super::inputs::photos;
use super::{made, temporary};
use crate::hardware::Hardware;
use crate::init::CPU_BATCH;
use crate::service::Kind;
use crate::up::Market;
use crate::{Verdict, init, layout, zoo};

/// The model that everybody has.
const MODEL: &str = GROUP[0];
/// Its owners: with a node of one worker, with a node of two, and with two nodes of one.
const OWNERS: [&str; 3] = ["alder", "birch", "cedar"];
/// The last owner's second node, whose votes its first one keeps.
const SIBLING: &str = "cedar-2";
/// The sibling's ports come so far after its keeper's; those between are other owners'.
const SIBLING_PORTS: u16 = 2;
/// The sibling serves from so long after the market does.
const SIBLING_TIMEOUT: Duration = Duration::from_secs(60);
const SIBLING_POLL: Duration = Duration::from_millis(50);

/// The load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Batches that a node has at once, for each of its workers.
    #[arg(long, default_value_t = 3)]
    in_flight: usize,
    #[command(flatten)]
    hardware: Hardware,
}

/// Requests in one batch on a GPU, and the side of its square pictures: of it the sample models keep what they take.
const GPU_BATCH: usize = 64;
const GPU_SIDE: u32 = 256;

pub(super) async fn run(args: Args) -> anyhow::Result<Verdict> {
    let folder = temporary()?;
    let dir = made(folder.path(), init::Group::Imagenet, args.hardware, "").await?;
    let zoo = zoo::fetch_with_progress().await?;
    prepare(&args, &dir, &zoo)?;
    let market = Market::start(&dir).await?;
    let measured = under_load(&args, &dir, &zoo).await;
    market.stop().await?;
    print!("{}", measured?);
    Ok(Verdict::Good)
}

/// Every owner gets the same model, and the nodes that it is to have.
fn prepare(args: &Args, dir: &Path, zoo: &Zoo) -> anyhow::Result<()> {
    let format = args.hardware.backend.format();
    let manifest = |model: &str| anyhow::Ok(format!("manifest = {:?}", zoo.manifest_path_for(model, format)?));
    for (owner, model) in OWNERS.iter().zip(GROUP).skip(1) {
        change(&config(dir, owner), &[(&manifest(model)?, &manifest(MODEL)?)])?;
    }
    if args.hardware.is_gpu() {
        for owner in [OWNERS[0], OWNERS[2]] {
            change(&config(dir, owner), &[("workers = 2", "workers = 1")])?;
        }
    } else {
        let two = [("workers = 1", "workers = 2"), ("decode_threads = 1", "decode_threads = 2")];
        change(&config(dir, OWNERS[1]), &two)?;
        for owner in OWNERS {
            // As many at once as a session without a node infers.
            change(
                &config(dir, owner),
                &[(&format!("batch_size_max = {CPU_BATCH}"), &format!("batch_size_max = {BATCH}"))],
            )?;
        }
    }
    sibling(dir)
}

fn config(dir: &Path, owner: &str) -> PathBuf {
    dir.join(owner).join(Kind::ModelNode.config_file())
}

/// Replaces lines of a configuration.
fn change(path: &Path, lines: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (before, after) in lines {
        let before = format!("\n{before}\n");
        ensure!(text.contains(&before), "{} has no line `{}`", path.display(), before.trim());
        text = text.replace(&before, &format!("\n{after}\n"));
    }
    init::write(path, &text)
}

/// A second node of the last owner.
fn sibling(dir: &Path) -> anyhow::Result<()> {
    let keeper = config(dir, OWNERS[2]);
    let path = config(dir, SIBLING);
    init::new_folder(&dir.join(SIBLING))?;
    std::fs::copy(&keeper, &path).with_context(|| format!("cannot write {}", path.display()))?;
    let NodeConfig { listen, metrics_listen, .. } = NodeConfig::load(&keeper)?;
    let metrics = metrics_listen.context("a model node without metrics")?;
    let after = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + SIBLING_PORTS);
    let key = format!("key = \"../{}/owner.key\"\njournal_of = \"{listen}\"", OWNERS[2]);
    change(
        &path,
        &[
            ("key = \"owner.key\"", &key),
            (&format!("listen = \"{listen}\""), &format!("listen = \"{}\"", after(listen))),
            (&format!("metrics_listen = \"{metrics}\""), &format!("metrics_listen = \"{}\"", after(metrics))),
        ],
    )
}

async fn under_load(args: &Args, dir: &Path, zoo: &Zoo) -> anyhow::Result<Report> {
    let address = |node: &str| anyhow::Ok(NodeConfig::load(&config(dir, node))?.listen);
    ready(address(SIBLING)?).await?;
    let pictures = photos().await?.iter().map(|file| DecodedImage::decode(file)).collect::<Result<Vec<_>, _>>()?;
    let (pictures, batch_size) = match args.hardware.is_gpu() {
        true => (pictures.iter().map(square).collect::<Result<Vec<_>, _>>()?, GPU_BATCH),
        false => (pictures, BATCH),
    };
    let (genesis, _) = read_genesis(&layout::genesis(dir))?;
    let batches = Batches::of(&genesis, pictures.iter().map(tensor).collect()).context("a market without a group")?;
    let backend = |count, name: &str| {
        let who = Who::Sessions(sessions(zoo, MODEL, &args.hardware, (count, batch_size), pictures.clone())?);
        anyhow::Ok(Subject { name: name.into(), who, beside: None })
    };
    let nodes = |name: &str, addresses: Vec<SocketAddr>, workers: usize, beside| Subject {
        name: name.into(),
        who: Who::Nodes { addresses, in_flight: args.in_flight * workers },
        beside: Some(beside),
    };
    let plan = Plan {
        subjects: vec![
            backend(1, "one session")?,
            nodes("a node with one worker", vec![address(OWNERS[0])?], 1, 0),
            backend(2, "two sessions")?,
            nodes("a node with two workers", vec![address(OWNERS[1])?], 2, 2),
            nodes("two nodes with one worker each", vec![address(OWNERS[2])?, address(SIBLING)?], 1, 2),
        ],
        batches: Arc::new(batches),
        batch_size,
        rounds: args.rounds,
        duration: Duration::from_secs(args.seconds),
    };
    Ok(measure(&plan).await?)
}

/// The middle of a picture, as a small square.
fn square(picture: &DecodedImage) -> anyhow::Result<DecodedImage> {
    let input = ImageInput { tensor: String::new(), side: GPU_SIDE, crop_margin: 0, mean: 0.0, scale: 1.0 };
    let pixels = Preprocessor::new(&input, Form::Pixels).apply(picture);
    let pixels = pixels.pixels().context("pixels were asked for")?.to_vec();
    Ok(DecodedImage::from_raw(GPU_SIDE, GPU_SIDE, pixels)?)
}

fn tensor(picture: &DecodedImage) -> v1::Tensor {
    v1::Tensor {
        name: "image".into(),
        datatype: "UINT8".into(),
        shape: vec![u64::from(picture.height()), u64::from(picture.width()), 3],
        data: picture.rgb().to_vec().into(),
    }
}

/// Waits until the node serves: the market is ready without it.
async fn ready(node: SocketAddr) -> anyhow::Result<()> {
    let serves = async {
        let mut client = client::model_node(node);
        while !client.describe(v1::DescribeRequest {}).await.is_ok_and(|reply| reply.into_inner().ready) {
            tokio::time::sleep(SIBLING_POLL).await;
        }
    };
    let waited = tokio::time::timeout(SIBLING_TIMEOUT, serves).await;
    waited.with_context(|| format!("the model node {SIBLING} does not serve after {SIBLING_TIMEOUT:?}"))
}
