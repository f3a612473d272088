//! Who is up, how far, and what went wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use dropbear_wire::{client, v1};
use serde::Serialize;

use crate::Verdict;
use crate::layout::{self, Service};
use crate::service::Kind;

/// A service that does not answer within this time is called down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The market to look at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's folder.
    dir: PathBuf,
}

/// One line of the report.
#[derive(Serialize)]
struct Line {
    service: String,
    kind: &'static str,
    address: String,
    up: bool,
    /// Last block, for coordinators.
    seq: Option<u64>,
    detail: String,
}

pub(crate) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    let asked: Vec<_> = layout::services(&args.dir)?.into_iter().map(|service| tokio::spawn(ask(service))).collect();
    let mut lines = Vec::new();
    for line in asked {
        lines.push(line.await??);
    }
    let seq_max = lines.iter().filter_map(|line| line.seq).max().unwrap_or(0);
    if json {
        println!("{}", serde_json::to_string(&lines)?);
    } else {
        println!("{:<12} {:<16} {:<21} {:<5} {:>7} {:>4}  DETAIL", "KIND", "SERVICE", "ADDRESS", "STATE", "SEQ", "LAG");
        for line in &lines {
            let seq = line.seq.map(|seq| seq.to_string()).unwrap_or_default();
            let lag = line.seq.map(|seq| (seq_max - seq).to_string()).unwrap_or_default();
            let state = if line.up { "up" } else { "DOWN" };
            println!(
                "{:<12} {:<16} {:<21} {state:<5} {seq:>7} {lag:>4}  {}",
                line.kind, line.service, line.address, line.detail
            );
        }
    }
    Ok(if lines.iter().all(|line| line.up) { Verdict::Good } else { Verdict::Bad })
}

fn listen_address(service: &Service) -> anyhow::Result<SocketAddr> {
    Ok(match service.kind {
        Kind::Coordinator => dropbear_coordinator::CoordinatorConfig::load(&service.config)?.listen,
        Kind::ModelNode => dropbear_model_node::NodeConfig::load(&service.config)?.listen,
        Kind::Gateway => dropbear_marketplace_api::GatewayConfig::load(&service.config)?.http_listen,
    })
}

async fn ask(service: Service) -> anyhow::Result<Line> {
    let address = listen_address(&service).with_context(|| service.config.display().to_string())?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer(service.kind, address)).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ANSWER_TIMEOUT:?}")));
    let (up, seq, detail) = match answer {
        Ok((up, seq, detail)) => (up, seq, detail),
        Err(error) => (false, None, format!("{error:#}; log: {}", service.log().display())),
    };
    let address = address.to_string();
    Ok(Line { service: service.name, kind: service.kind.command(), address, up, seq, detail })
}

async fn answer(kind: Kind, address: SocketAddr) -> anyhow::Result<(bool, Option<u64>, String)> {
    match kind {
        Kind::Coordinator => {
            let status = client::coordinator(address).status(v1::StatusRequest {}).await.map_err(short)?.into_inner();
            let detail = match status.last_error.as_str() {
                "" => format!("{} entries wait", status.waiting_entries),
                error => error.to_owned(),
            };
            Ok((true, Some(status.seq), detail))
        }
        Kind::ModelNode => {
            let node = client::model_node(address).describe(v1::DescribeRequest {}).await.map_err(short)?.into_inner();
            let model = format!("{} {} on {}", node.model, node.label, node.backend);
            let detail = if node.ready { model } else { format!("{model}: {}", node.problem) };
            Ok((node.ready, None, detail))
        }
        Kind::Gateway => {
            let response = reqwest::get(format!("http://{address}/v2/health/ready"))
                .await
                .map_err(|error| if error.is_connect() { anyhow::anyhow!("not reachable") } else { error.into() })?;
            let ready = response.status().is_success();
            Ok((ready, None, if ready { "ready".into() } else { response.text().await? }))
        }
    }
}

fn short(status: tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unavailable => anyhow::anyhow!("not reachable"),
        _ => anyhow::anyhow!("{}", status.message()),
    }
}
