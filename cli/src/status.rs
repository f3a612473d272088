//! Who is up, how far, what went wrong, and what that means for the market.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dropbear_certificates::Genesis;
use dropbear_wire::files::read_genesis;
use dropbear_wire::{client, v1};
use serde::Serialize;

use crate::Verdict;
use crate::layout::{self, Service};
use crate::service::Kind;

/// A service that does not answer within this time is called down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A coordinator this many blocks behind the furthest is named.
const LAG_BLOCKS_MAX: u64 = 10;

/// The market to look at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's folder.
    dir: PathBuf,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    services: Vec<Line>,
    /// What is wrong, what it means and what to do; empty if all is well.
    findings: Vec<String>,
}

/// One service.
#[derive(Serialize)]
struct Line {
    service: String,
    kind: &'static str,
    address: String,
    up: bool,
    /// Last block, for coordinators.
    seq: Option<u64>,
    detail: String,
    #[serde(skip)]
    config: PathBuf,
}

pub(crate) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    let services = layout::services(&args.dir)?;
    let (market, _) = read_genesis(&layout::genesis(&args.dir))?;
    let asked: Vec<_> = services.into_iter().map(|service| tokio::spawn(ask(service))).collect();
    let mut services = Vec::new();
    for line in asked {
        services.push(line.await??);
    }
    let report = Report { findings: findings(&market, &services), services };
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.findings.is_empty() { Verdict::Good } else { Verdict::Bad })
}

fn seq_max(services: &[Line]) -> u64 {
    services.iter().filter_map(|line| line.seq).max().unwrap_or(0)
}

fn print(report: &Report) {
    let seq_max = seq_max(&report.services);
    println!("{:<12} {:<16} {:<21} {:<5} {:>7} {:>4}  DETAIL", "KIND", "SERVICE", "ADDRESS", "STATE", "SEQ", "LAG");
    for line in &report.services {
        let seq = line.seq.map(|seq| seq.to_string()).unwrap_or_default();
        let lag = line.seq.map(|seq| (seq_max - seq).to_string()).unwrap_or_default();
        let state = if line.up { "up" } else { "DOWN" };
        println!(
            "{:<12} {:<16} {:<21} {state:<5} {seq:>7} {lag:>4}  {}",
            line.kind, line.service, line.address, line.detail
        );
    }
    for finding in &report.findings {
        println!("! {finding}");
    }
}

/// What the state of its services means for the market.
fn findings(market: &Genesis, services: &[Line]) -> Vec<String> {
    let mut findings = Vec::new();
    let down: Vec<_> = services.iter().filter(|line| !line.up).collect();
    let down_of = |kind: Kind| down.iter().filter(|line| line.kind == kind.command()).count();
    findings.extend(committee(market, down_of(Kind::Coordinator)));
    for charter in &market.charters {
        let names = charter.roster.iter().map(|seat| seat.owner.as_str());
        let missing: Vec<_> = names.filter(|name| down.iter().any(|line| line.service == *name)).collect();
        findings.extend(owners(&charter.group, charter.roster.len(), charter.faults, &missing));
    }
    let seq_max = seq_max(services);
    for line in services.iter().filter(|line| line.seq.is_some_and(|seq| seq + LAG_BLOCKS_MAX < seq_max)) {
        findings.push(format!("{} is behind and catches up by itself while the others are up", line.service));
    }
    for line in &down {
        let (kind, config) = (line.kind, line.config.display());
        findings.push(format!("{} is down; if it does not run: dropbear {kind} --config {config}", line.service));
    }
    findings
}

fn committee(market: &Genesis, down: usize) -> Option<String> {
    let (members, quorum) = (market.committee.members.len(), market.committee.quorum());
    let up = members - down;
    match up {
        _ if down == 0 => None,
        up if up < quorum => Some(format!(
            "{up} of {members} coordinators are up and {quorum} must agree: nothing is certified until more return"
        )),
        up if up == quorum => {
            Some(format!("{up} of {members} coordinators are up: certification goes on, but no other may fail"))
        }
        up => Some(format!("{up} of {members} coordinators are up: certification goes on")),
    }
}

fn owners(group: &str, roster: usize, faults: u64, missing: &[&str]) -> Option<String> {
    let names = missing.join(", ");
    match missing.len() {
        0 => None,
        few if few as u64 <= faults => Some(format!(
            "`{group}` answers without {names} ({} of {roster} owners); what the rest disagree on stays `insufficient`",
            roster - few
        )),
        many => Some(format!(
            "`{group}` lacks {names}: {} of {roster} owners are too few for most answers (`insufficient`)",
            roster - many
        )),
    }
}

async fn ask(service: Service) -> anyhow::Result<Line> {
    let address = service.address()?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer(service.kind, address)).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ANSWER_TIMEOUT:?}")));
    let (up, seq, detail) = match answer {
        Ok((up, seq, detail)) => (up, seq, detail),
        Err(error) => (false, None, format!("{error:#}; log: {}", service.log().display())),
    };
    let (kind, config) = (service.kind.command(), service.config);
    Ok(Line { service: service.name, kind, address: address.to_string(), up, seq, detail, config })
}

async fn answer(kind: Kind, address: SocketAddr) -> anyhow::Result<(bool, Option<u64>, String)> {
    match kind {
        Kind::Coordinator => {
            let status = client::coordinator(address).status(v1::StatusRequest {}).await.map_err(short)?.into_inner();
            let waiting = format!("{} entries wait", status.waiting_entries);
            let detail = match (status.last_error.as_str(), status.role()) {
                ("", v1::Role::Follower) => format!("follows without a vote: {}", status.follows_because),
                ("", v1::Role::Asking) => "asks its peers what it signed before it votes".to_owned(),
                ("", v1::Role::Voter | v1::Role::Unspecified) => waiting,
                (error, _) => error.to_owned(),
            };
            Ok((true, Some(status.seq), detail))
        }
        Kind::ModelNode => {
            let node = client::model_node(address).describe(v1::DescribeRequest {}).await.map_err(short)?.into_inner();
            let model = format!("{} {} on {}", node.model, node.label, node.backend);
            let detail = match (node.ready, node.model.is_empty()) {
                (true, _) => model,
                (false, true) => node.problem,
                (false, false) => format!("{model}: {}", node.problem),
            };
            Ok((node.ready, None, detail))
        }
        Kind::Gateway => {
            let response = reqwest::get(format!("http://{address}/v2/health/ready"))
                .await
                .map_err(|error| if error.is_connect() { anyhow::anyhow!("not reachable") } else { error.into() })?;
            let ready = response.status().is_success();
            let body: serde_json::Value = response.json().await?;
            let problem = body["error"].as_str().unwrap_or("not ready");
            Ok((ready, None, if ready { "ready".into() } else { problem.to_owned() }))
        }
    }
}

fn short(status: tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unavailable => anyhow::anyhow!("not reachable"),
        _ => anyhow::anyhow!("{}", status.message()),
    }
}
