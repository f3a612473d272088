//! Making a market: keys, genesis, and one annotated configuration file per service.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use dropbear_certificates::charter::{Seat, labels_digest};
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::{Assurance, Charter, Committee, Genesis, Policy, PublicKey, SecretKey};
use dropbear_model_node::zoo::{GROUP, SPARE, Zoo};
use dropbear_models::{Device, Precision};
use dropbear_wire::files::write_seed;

use crate::hardware::Hardware;
use crate::layout::{Ports, genesis};
use crate::{Verdict, zoo};

/// Names of the sample owners; further ones are numbered.
const OWNERS: [&str; 8] = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel"];
/// More would not leave each service a port of its own.
const PLACES_MAX: usize = 31;
/// A request is decided within ten minutes or never: this bounds the memory of decided ids.
pub(crate) const REQUEST_LIFETIME_MS_MAX: u64 = 600_000;
pub(crate) const CLOCK_SKEW_MS_MAX: u64 = 5_000;

/// What a group does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// Four EfficientNet-Lite classifiers of 1000 classes; agreed by plurality.
    Imagenet,
    /// Models that echo their input, for tests and measurements of everything around inference.
    Identity,
}

/// The market to make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder that does not exist yet, or is empty.
    pub(crate) dir: PathBuf,
    /// Model owners; each gets a key and a model node.
    #[arg(long, default_value_t = 4)]
    pub(crate) owners: usize,
    /// Committee members; each gets keys and a coordinator.
    #[arg(long, default_value_t = 4)]
    pub(crate) coordinators: usize,
    /// What the model group does.
    #[arg(long, value_enum, default_value_t = Group::Imagenet)]
    pub(crate) group: Group,
    /// First port: the gateway's HTTP. All others follow from it.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port_base: u16,
    #[command(flatten)]
    pub(crate) hardware: Hardware,
}

pub(crate) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    let market = make(&args).await?;
    let path = genesis(&args.dir);
    if json {
        let summary = serde_json::json!({
            "dir": args.dir, "genesis": path, "digest": market.digest().to_string(),
            "owners": args.owners, "coordinators": args.coordinators,
        });
        println!("{summary}");
    } else {
        println!("made a market of {} owners and {} coordinators", args.owners, args.coordinators);
        println!("  genesis  {}", market.digest());
        println!("  start    dropbear up {}", args.dir.display());
        println!("  trust    give {} to everybody who is to verify certificates", path.display());
    }
    Ok(Verdict::Good)
}

pub(crate) async fn make(args: &Args) -> anyhow::Result<Genesis> {
    if !(1..=PLACES_MAX).contains(&args.owners) || !(1..=PLACES_MAX).contains(&args.coordinators) {
        bail!("--owners and --coordinators are 1 to {PLACES_MAX}");
    }
    let zoo = match args.group {
        Group::Imagenet => Some(zoo::fetch_with_progress().await?),
        Group::Identity => None,
    };
    new_folder(&args.dir)?;
    let ports = Ports { base: args.port_base };
    let members = (0..args.coordinators).map(|place| member(&args.dir, place)).collect::<anyhow::Result<Vec<_>>>()?;
    let roster = (0..args.owners).map(|place| seat(args, place)).collect::<anyhow::Result<Vec<_>>>()?;
    let gateway = new_folder(&args.dir.join("gateway")).and_then(|folder| new_key(&folder.join("gateway.key")))?;
    let mut labels = LabelTables::new();
    let charter = charter(args, roster, zoo.as_ref(), &mut labels)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("this clock is before 1970")?;
    let market = Genesis {
        market: "dropbear".into(),
        created_ms: u64::try_from(now.as_millis()).context("this clock is far in the future")?,
        rules: Rules { request_lifetime_ms_max: REQUEST_LIFETIME_MS_MAX, clock_skew_ms_max: CLOCK_SKEW_MS_MAX },
        committee: Committee { epoch: 0, members },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: gateway }],
        charters: vec![charter],
    };
    market.check()?;
    write(&genesis(&args.dir), &to_json(&market, &labels))?;
    for place in 0..args.coordinators {
        write(&args.dir.join(coordinator_toml(place)), &coordinator_config(args.coordinators, ports, place)?)?;
    }
    for place in 0..args.owners {
        let path = args.dir.join(owner_name(place)).join("model-node.toml");
        write(&path, &model_node_config(args, ports, place, zoo.as_ref())?)?;
    }
    write(&args.dir.join("gateway/gateway.toml"), &gateway_config(args, ports)?)?;
    Ok(market)
}

pub(crate) fn new_folder(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    if entries.next().is_some() {
        bail!(
            "{} is not empty; a market is made in a folder of its own, so that no key is ever overwritten",
            path.display()
        );
    }
    Ok(path.to_owned())
}

pub(crate) fn new_key(path: &Path) -> anyhow::Result<PublicKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("this system has no random numbers")?;
    write_seed(path, &seed)?;
    Ok(SecretKey::from_seed(&seed).public())
}

pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn owner_name(place: usize) -> String {
    OWNERS.get(place).map_or_else(|| format!("owner-{place}"), |name| (*name).to_owned())
}

fn coordinator_name(place: usize) -> String {
    format!("coordinator-{place}")
}

pub(crate) fn coordinator_toml(place: usize) -> PathBuf {
    Path::new(&coordinator_name(place)).join("coordinator.toml")
}

/// Makes a member's folder and keys.
pub(crate) fn member(dir: &Path, place: usize) -> anyhow::Result<Member> {
    let folder = new_folder(&dir.join(coordinator_name(place)))?;
    let attestation = new_key(&folder.join("attestation.key"))?;
    let engine = new_key(&folder.join("engine.key"))?;
    Ok(Member { name: coordinator_name(place), attestation, engine })
}

fn model_of(place: usize) -> &'static str {
    let models = [GROUP[0], GROUP[1], GROUP[2], GROUP[3], SPARE];
    models[place % models.len()]
}

fn seat(args: &Args, place: usize) -> anyhow::Result<Seat> {
    let owner = owner_name(place);
    let key = new_folder(&args.dir.join(&owner)).and_then(|folder| new_key(&folder.join("owner.key")))?;
    let lineage = match args.group {
        Group::Imagenet => format!("EfficientNet-Lite, ImageNet-1k ({})", model_of(place)),
        Group::Identity => "identity".into(),
    };
    Ok(Seat { party: format!("{owner} (sample)"), owner, key, lineage })
}

fn charter(args: &Args, roster: Vec<Seat>, zoo: Option<&Zoo>, tables: &mut LabelTables) -> anyhow::Result<Charter> {
    let labels = match zoo {
        Some(zoo) => {
            let labels = zoo.labels()?.names().to_vec();
            let digest = labels_digest(&labels);
            tables.insert(digest, labels);
            Some(digest)
        }
        None => None,
    };
    let owners = roster.len() as u64;
    let faults = (owners - 1) / 3;
    let (group, task, classes, policy) = match args.group {
        Group::Imagenet => ("imagenet", "image-classification", 1000, Policy::Plurality),
        // The smallest quorum of which two always share an honest owner.
        Group::Identity => ("identity", "identity", 0, Policy::Exact { quorum: (owners + faults) / 2 + 1 }),
    };
    Ok(Charter {
        group: group.into(),
        task: task.into(),
        classes,
        labels,
        faults,
        approvals: (2 * owners).div_ceil(3),
        roster,
        policy,
        assurance: Assurance::Robust,
        notice_blocks: 1,
        fee: 1,
    })
}

fn list<T: std::fmt::Display>(items: impl Iterator<Item = anyhow::Result<T>>) -> anyhow::Result<String> {
    let items = items.map(|item| Ok(format!("\"{}\"", item?))).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(format!("[{}]", items.join(", ")))
}

/// The configuration of the member at `place` of a committee of so many.
pub(crate) fn coordinator_config(coordinators: usize, ports: Ports, place: usize) -> anyhow::Result<String> {
    let engine_addresses = list((0..coordinators).map(|place| ports.engine(place)))?;
    Ok(format!(
        r#"# One committee member's coordinator. Relative paths are relative to this file.

# The member's name in genesis.
name = "{name}"
genesis = "../genesis.json"
# Signs block headers. Separate from the engine's key, so that either can be replaced alone.
attestation_key = "attestation.key"
# Votes in the ordering engine and identifies this coordinator to its peers.
engine_key = "engine.key"
# Gateways, model nodes and operators ask here. Loopback only: there is no TLS yet.
listen = "{listen}"
# Prometheus asks here: http://{metrics}/metrics
metrics_listen = "{metrics}"
# Every member's ordering engine, in committee order, this one's included. These may be on other hosts: engines know each
# other by their keys, and encrypt.
engine_addresses = {engine_addresses}
# The ledger and the engine's journals. Never restore a copy of it: the coordinator could contradict itself.
data_dir = "data"
# How long a view waits for its leader before the next one takes over.
leader_timeout_ms = 500
# The longest that an entry waits for others to share its block. Gateways say how patient each entry is; an idle
# market's are not at all.
patience_ms_max = 500
# Entries that wait for their block, in bytes.
pool_bytes_max = 67108864
"#,
        name = coordinator_name(place),
        listen = ports.coordinator(place)?,
        metrics = ports.coordinator_metrics(place)?,
    ))
}

fn model_node_config(args: &Args, ports: Ports, place: usize, zoo: Option<&Zoo>) -> anyhow::Result<String> {
    let coordinators = (0..args.coordinators).map(|place| ports.coordinator(place)).collect::<anyhow::Result<_>>()?;
    let (group, model) = match zoo {
        Some(zoo) => {
            let manifest = zoo.manifest_path_for(model_of(place), args.hardware.backend.format())?;
            let model = format!(
                "# The model: a manifest, with its artefact beside it.\nmanifest = {:?}\n# ONNX Runtime's shared library.\nonnxruntime = {:?}\n",
                manifest,
                zoo.runtime_library()?
            );
            ("imagenet", model)
        }
        None => {
            write(&args.dir.join(owner_name(place)).join("identity.toml"), IDENTITY_MANIFEST)?;
            ("identity", "# A model that echoes its input.\nmanifest = \"identity.toml\"\n".to_owned())
        }
    };
    Ok(node_text(&NodePlan {
        owner: owner_name(place),
        group: group.into(),
        listen: ports.model_node(place)?,
        metrics: ports.model_node_metrics(place)?,
        coordinators,
        endpoints: None,
        model,
        pace: match (zoo, args.hardware.is_gpu()) {
            (Some(_), true) => Pace::gpu(&args.hardware),
            (Some(_), false) => Pace { batch_size_max: CPU_BATCH, ..Pace::default() },
            (None, _) => Pace { batch_size_max: 16, ..Pace::default() },
        },
    }))
}

/// How a node uses its devices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) workers: usize,
    pub(crate) decode_threads: usize,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    /// Requests in one inference at most.
    pub(crate) batch_size_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        let (device, precision) = (Device::Cpu, Precision::Fp32);
        Self { workers: 1, decode_threads: 1, device, precision, batch_size_max: CPU_BATCH }
    }
}

impl Pace {
    /// One worker copies while the other computes; a GPU is fed by several threads.
    fn gpu(hardware: &Hardware) -> Self {
        let (device, precision) = (hardware.device, hardware.precision());
        Self { workers: 2, decode_threads: 4, device, precision, batch_size_max: 64 }
    }
}

/// What an inference on a CPU takes at most: with more, four models at once on two cores lose an eighth of their pace.
pub(crate) const CPU_BATCH: usize = 2;

/// What a model node's configuration says.
pub(crate) struct NodePlan {
    pub(crate) owner: String,
    pub(crate) group: String,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) coordinators: Vec<SocketAddr>,
    /// Where gateways find the owner's nodes, if the node is to tell the ledger.
    pub(crate) endpoints: Option<Vec<String>>,
    /// Lines about the model that it brings along, and what runs it.
    pub(crate) model: String,
    pub(crate) pace: Pace,
}

/// A model node's annotated configuration.
pub(crate) fn node_text(plan: &NodePlan) -> String {
    let NodePlan { owner, group, listen, metrics, coordinators, endpoints, model, pace } = plan;
    let Pace { workers, decode_threads, device, precision, batch_size_max } = pace;
    let endpoints = endpoints.as_ref().map_or_else(String::new, |endpoints| {
        format!("# Where gateways find this owner's nodes: told to the ledger.\nendpoints = {endpoints:?}\n")
    });
    let coordinators: Vec<_> = coordinators.iter().map(ToString::to_string).collect();
    format!(
        r#"# One owner's model node. Relative paths are relative to this file.

# The owner's name on the group's roster.
owner = "{owner}"
group = "{group}"
genesis = "../genesis.json"
# Signs ballots and lifecycle entries.
key = "owner.key"
# Gateways ask here. Loopback only: there is no TLS yet.
listen = "{listen}"
# Prometheus asks here: http://{metrics}/metrics
metrics_listen = "{metrics}"
# Any of them tells this node how the ledger stands; all are tried.
coordinators = {coordinators:?}
{endpoints}{model}# Model sessions, each on a thread of its own, and threads within one inference.
workers = {workers}
intra_threads = 1
# Where models run: `cpu`, or GPUs as `cuda:0`, `cuda:1`…, each with so many workers; and what they compute in.
devices = ["{device}"]
precision = "{precision}"
# Threads that decode and crop images.
decode_threads = {decode_threads}
# Requests in one inference at most, and how long a busy node waits to fill it. On a CPU that several models share, few:
# what an inference touches should fit a core's cache. On a GPU, or for small models, many.
batch_size_max = {batch_size_max}
batch_delay_us = 0
# Requests that wait at most; beyond it the gateway is told to come back later.
queue_items_max = 1024
# The vote journal, and versions of models by digest: `dropbear model publish` puts them there. Never restore a copy of
# the journal: the owner could contradict itself.
data_dir = "data"
"#
    )
}

const IDENTITY_MANIFEST: &str = r#"name = "identity"
licence = "Apache-2.0"
lineage = "none"
task = "identity"
backend = "identity"
"#;

fn gateway_config(args: &Args, ports: Ports) -> anyhow::Result<String> {
    let group = match args.group {
        Group::Imagenet => "imagenet",
        Group::Identity => "identity",
    };
    let mut text = format!(
        r#"# A gateway: the market's public face. Relative paths are relative to this file.

# The gateway's name in genesis.
name = "gateway"
genesis = "../genesis.json"
# Signs submissions, and requests of clients without a key.
key_file = "gateway.key"
# Clients ask here: Open Inference Protocol (KServe v2) over HTTP and gRPC.
http_listen = "{http}"
grpc_listen = "{grpc}"
# Prometheus asks here: http://{metrics}/metrics
metrics_listen = "{metrics}"

"#,
        http = ports.http()?,
        grpc = ports.grpc()?,
        metrics = ports.gateway_metrics()?,
    );
    for place in 0..args.coordinators {
        let address = ports.coordinator(place)?;
        writeln!(text, "[[coordinators]]\nmember = \"{}\"\naddress = \"{address}\"\n", coordinator_name(place))?;
    }
    writeln!(text, "# Where each owner's model nodes are.\n[groups.{group}]")?;
    for place in 0..args.owners {
        writeln!(text, "{} = [\"{}\"]", owner_name(place), ports.model_node(place)?)?;
    }
    Ok(text)
}
