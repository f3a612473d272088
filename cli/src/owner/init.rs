//! A new owner in a market's folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dropbear_certificates::charter::is_name;
use dropbear_model_node::NodeConfig;
use dropbear_model_node::zoo::{Zoo, cache_directory};
use serde_json::json;

use super::node_config;
use crate::Verdict;
use crate::desk::{Desk, key_text};
use crate::init::{NodePlan, Pace, new_folder, new_key, node_text, write};
use crate::layout::{self, Service};
use crate::service::Kind;

/// So many ports after the last node's are tried.
const PORTS_TRIED_MAX: u16 = 200;

/// The owner to make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's folder, made with `dropbear init`.
    market: PathBuf,
    /// The owner's name: a-z, 0-9, `-`, `.` and `_`.
    name: String,
    /// The group that its model node is to serve; the market's first if not given.
    #[arg(long)]
    group: Option<String>,
    /// ONNX Runtime's shared library; that of the sample models, if they were fetched, if not given.
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

pub(super) fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    if !is_name(&args.name) {
        bail!("`{}` is no name: names are 1 to 64 characters of a-z, 0-9, `-`, `.` and `_`", args.name);
    }
    let desk = Desk::of_market(&args.market)?;
    let first = desk.genesis.charters.first().map(|charter| charter.group.clone());
    let group = args.group.clone().or(first).context("this market has no group yet: name one with --group")?;
    let folder = args.market.join(&args.name);
    if folder.exists() {
        bail!("{} exists: choose another name, or remove it if no ledger knows its key", folder.display());
    }
    let (listen, metrics) = addresses(&args.market)?;
    let onnxruntime = match &args.onnxruntime {
        Some(path) => Some(path.canonicalize().with_context(|| format!("no file {}", path.display()))?),
        // Models that need none do without it.
        None => cache_directory().and_then(|cache| Zoo::open(&cache)).and_then(|zoo| zoo.runtime_library()).ok(),
    };
    let key = new_key(&new_folder(&folder)?.join("owner.key"))?;
    let model = onnxruntime.map(|path| format!("# ONNX Runtime's shared library.\nonnxruntime = {path:?}\n"));
    let plan = NodePlan {
        owner: args.name.clone(),
        group: group.clone(),
        listen,
        metrics,
        coordinators: desk.coordinators()?.to_vec(),
        endpoints: Some(vec![listen.to_string()]),
        model: model.unwrap_or_default(),
        pace: Pace::default(),
    };
    let config = node_config(&folder);
    write(&config, &node_text(&plan))?;
    if json {
        let made =
            json!({ "owner": args.name, "key": key_text(&key), "group": group, "config": config, "listen": listen });
        println!("{made}");
    } else {
        println!("made the owner {} with the key {}", args.name, key_text(&key));
        let market = args.market.display();
        println!(
            "  join   dropbear group join {group} --market {market} --owner {} --party \"who controls you\" --lineage \"where your model comes from\"",
            args.name
        );
        println!("  serve  dropbear model-node --config {}", config.display());
    }
    Ok(Verdict::Good)
}

/// Two addresses that nobody has, after those of the market's other nodes.
fn addresses(market: &Path) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let nodes = layout::services(market)?.into_iter().filter(|service| service.kind == Kind::ModelNode);
    let taken = |service: Service| -> anyhow::Result<[u16; 2]> {
        let config = NodeConfig::load(&service.config).with_context(|| service.config.display().to_string())?;
        let listen = config.listen.port();
        Ok([listen, config.metrics_listen.map_or(listen, |metrics| metrics.port())])
    };
    let taken = nodes.map(taken).collect::<anyhow::Result<Vec<_>>>()?;
    let last = |which: usize| taken.iter().map(|ports| ports[which]).max().context("this market has no model node");
    let listen = free(last(0)?, &taken)?;
    let metrics = free(last(1)?.max(listen), &taken)?;
    Ok(((Ipv4Addr::LOCALHOST, listen).into(), (Ipv4Addr::LOCALHOST, metrics).into()))
}

fn free(last: u16, taken: &[[u16; 2]]) -> anyhow::Result<u16> {
    let is_free = |port: &u16| {
        !taken.iter().any(|ports| ports.contains(port)) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    let tried = (1..=PORTS_TRIED_MAX).filter_map(|offset| last.checked_add(offset));
    let found = tried.into_iter().find(is_free);
    found.with_context(|| format!("no free port after {last}: stop what uses them"))
}
