//! A committee of coordinators without nodes and gateways, for a group whose owners sign in this process.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use dropbear_bench::ordering::Member;
use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Rules};
use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::{Assurance, Charter, Genesis, Policy};
use dropbear_consensus::{Activate, Entry, Publish, Register};
use dropbear_wire::{client, v1};
use futures_util::future::try_join_all;

use super::supply::{GROUP, Signers, version};
use crate::init::{self, CLOCK_SKEW_MS_MAX, REQUEST_LIFETIME_MS_MAX};
use crate::layout::{self, Ports};
use crate::service::Kind;
use crate::supervise::{self, Running, stop_all};

const MODEL: &str = "synthetic";
/// A coordinator has this long to order an owner's entry.
const ORDER_TIMEOUT_MS: u64 = 20_000;

/// Running coordinators.
pub(super) struct Committee {
    pub(super) genesis: Genesis,
    running: Vec<Running>,
}

impl Committee {
    /// Makes a market in `dir` and starts its coordinators.
    pub(super) async fn start(dir: &Path, members: usize, signers: &Signers) -> anyhow::Result<Self> {
        let genesis = make(dir, members, signers)?;
        let services = layout::services(dir)?.into_iter().filter(|service| service.kind == Kind::Coordinator);
        // They wait for each other: all start at once.
        let starts: Vec<_> = services.map(|service| tokio::spawn(supervise::start(service, true, None))).collect();
        let mut running = Vec::with_capacity(members);
        for start in starts {
            running.push(start.await??);
        }
        Ok(Self { genesis, running })
    }

    /// Every owner registers, publishes and activates its version.
    pub(super) async fn publish(&self, signers: &Signers) -> anyhow::Result<()> {
        let (genesis, serial) = (self.genesis.digest(), now_ms()?);
        for (place, key) in signers.owners.iter().enumerate() {
            let (owner, version) = (key.public(), version(place));
            let register = Register {
                genesis,
                owner,
                serial,
                group: GROUP.into(),
                model: MODEL.into(),
                licence: "Apache-2.0".into(),
                lineage: "none".into(),
            };
            let publish = Publish {
                genesis,
                owner,
                serial: serial + 1,
                group: GROUP.into(),
                model: MODEL.into(),
                label: "1".into(),
                version,
            };
            let activate = Activate { genesis, owner, serial: serial + 2, group: GROUP.into(), version, from_seq: 0 };
            for entry in [register.sign(key), publish.sign(key), activate.sign(key)] {
                self.order(&entry).await?;
            }
        }
        Ok(())
    }

    /// Has an entry ordered, and waits until every coordinator has it in its ledger: the next entry builds on it everywhere.
    async fn order(&self, entry: &Entry) -> anyhow::Result<()> {
        let bytes = Bytes::from(entry.to_bytes());
        let submit = |running: &Running| {
            let (address, entry, name) = (running.service.address(), bytes.clone(), running.service.name.clone());
            async move {
                let what = Some(v1::submit_request::What::Entry(entry));
                let request =
                    v1::SubmitRequest { what, timeout_ms: ORDER_TIMEOUT_MS, want_leaves: false, patience_ms: 0 };
                let reply = client::coordinator(address?).submit(request).await?.into_inner();
                match reply.refusal {
                    Some(refusal) => bail!("{name} refuses an owner's entry: {}", refusal.message),
                    None => Ok(()),
                }
            }
        };
        try_join_all(self.running.iter().map(submit)).await.map(drop)
    }

    /// The coordinators as they are measured, in committee order.
    pub(super) fn members(&self) -> anyhow::Result<Vec<Member>> {
        let member = |member: &dropbear_certificates::genesis::Member| {
            let running = self.running.iter().find(|running| running.service.name == member.name);
            let running = running.with_context(|| format!("{} does not run", member.name))?;
            let metrics = running.service.metrics_address()?.context("a coordinator without metrics")?;
            Ok(Member {
                process: running.process().with_context(|| format!("{} ended", member.name))?,
                address: running.service.address()?,
                metrics: format!("http://{metrics}/metrics"),
                data_dir: running.service.folder().join("data"),
            })
        };
        self.genesis.committee.members.iter().map(member).collect()
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        stop_all(self.running).await
    }
}

/// Keys, genesis and configuration files.
fn make(dir: &Path, members: usize, signers: &Signers) -> anyhow::Result<Genesis> {
    let dir = init::new_folder(dir)?;
    let ports = Ports { base: layout::free_port_base()? };
    let committee = (0..members).map(|place| init::member(&dir, place)).collect::<anyhow::Result<Vec<_>>>()?;
    for place in 0..members {
        let config = init::coordinator_config(members, ports, place)?;
        init::write(&dir.join(init::coordinator_toml(place)), &config)?;
    }
    let gateway = |(place, key): (usize, &dropbear_certificates::SecretKey)| GatewayIdentity {
        name: format!("gateway-{place}"),
        key: key.public(),
    };
    let genesis = Genesis {
        market: "ordering".into(),
        created_ms: now_ms()?,
        rules: Rules { request_lifetime_ms_max: REQUEST_LIFETIME_MS_MAX, clock_skew_ms_max: CLOCK_SKEW_MS_MAX },
        committee: dropbear_certificates::Committee { epoch: 0, members: committee },
        gateways: signers.gateways.iter().enumerate().map(gateway).collect(),
        charters: vec![charter(signers)],
    };
    genesis.check()?;
    init::write(&layout::genesis(&dir), &to_json(&genesis, &LabelTables::new()))?;
    Ok(genesis)
}

/// As that of the sample group of picture classifiers.
fn charter(signers: &Signers) -> Charter {
    let seat = |(place, key): (usize, &dropbear_certificates::SecretKey)| Seat {
        owner: init::owner_name(place),
        key: key.public(),
        party: String::new(),
        lineage: String::new(),
    };
    Charter {
        group: GROUP.into(),
        task: "image-classification".into(),
        classes: super::supply::CLASSES,
        labels: None,
        roster: signers.owners.iter().enumerate().map(seat).collect(),
        policy: Policy::Plurality,
        faults: 1,
        assurance: Assurance::Robust,
        notice_blocks: 1,
        approvals: 3,
        fee: 1,
    }
}

fn now_ms() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("this clock is before 1970")?;
    u64::try_from(now.as_millis()).context("this clock is far in the future")
}
