//! A market whose coordinators can be hit by faults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_bench::chaos::{Drawn, Draws, Fault};
use nix::sys::signal::Signal;

use super::disk::Disk;
use super::network::Network;
use super::progress::{Cut, reached};
use crate::layout::{self, Service};
use crate::service::Kind;
use crate::supervise::{self, Running};
use crate::up::{Cells, Market};

/// A coordinator that has not caught up after this long is given up.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// The coordinators, and what can be done to them.
pub(super) struct Site {
    pub(super) market: Market,
    pub(super) coordinators: Vec<Service>,
    pub(super) addresses: Vec<SocketAddr>,
    /// What they are hit by.
    pub(super) draws: Draws,
    /// What they cannot be hit by, and why.
    pub(super) skipped: Vec<String>,
    quorum: usize,
    cells: Cells,
    disk: Option<Disk>,
    network: Option<Network>,
}

/// What a fault left behind when it ended.
pub(super) struct Healed {
    pub(super) at_us: u64,
    pub(super) notes: Vec<String>,
    pub(super) wrongs: Vec<String>,
}

/// What the faults of a run are to be.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) lasts_max: Duration,
    pub(super) network: bool,
}

fn coordinators(dir: &Path) -> anyhow::Result<Vec<Service>> {
    Ok(layout::services(dir)?.into_iter().filter(|service| service.kind == Kind::Coordinator).collect())
}

impl Site {
    /// Starts the market in `dir`; `Err` says why coordinators cannot have a network of their own here, if that is asked for.
    pub(super) async fn start(dir: &Path, plan: &Plan) -> anyhow::Result<Result<Self, String>> {
        let coordinators = coordinators(dir)?;
        let (mut cells, mut kinds, mut skipped) = (Cells::new(), Vec::new(), Vec::new());
        let (mut disk, mut network) = (None, None);
        if plan.network {
            match Network::build(&coordinators).await {
                Ok(built) => {
                    let names = coordinators.iter().map(|service| service.name.clone());
                    cells.extend(names.zip(built.hosts.iter().cloned()));
                    network = Some(built);
                }
                Err(error) => return Ok(Err(format!("coordinators cannot be put on hosts of their own: {error:#}"))),
            }
            kinds.extend([Fault::Cut, Fault::Halves]);
        } else {
            kinds.extend([Fault::Kill, Fault::Pause]);
            let place = Draws::new(plan.seed, Vec::new(), coordinators.len(), plan.lasts_max).small_disk();
            let service = &coordinators[place];
            match Disk::mount(data_of(service)?).await {
                Ok(mounted) => {
                    cells.insert(service.name.clone(), mounted.cell.clone());
                    disk = Some(mounted);
                    kinds.push(Fault::DiskFull);
                }
                Err(error) => skipped.push(format!("{}: {error:#}", Fault::DiskFull)),
            }
        }
        let draws = Draws::new(plan.seed, kinds, coordinators.len(), plan.lasts_max);
        let addresses = coordinators.iter().map(Service::address).collect::<anyhow::Result<Vec<_>>>()?;
        let market = Market::start_in(dir, &cells).await?;
        let members = coordinators.len();
        let quorum = members - (members - 1) / 3;
        Ok(Ok(Self { market, coordinators, addresses, draws, skipped, quorum, cells, disk, network }))
    }

    /// Lets a fault happen, and ends it.
    pub(super) async fn suffer(&mut self, drawn: &Drawn, now_us: impl Fn() -> u64) -> anyhow::Result<Healed> {
        let mut healed = Healed { at_us: 0, notes: Vec::new(), wrongs: Vec::new() };
        match (drawn.fault, drawn.victims.as_slice()) {
            (Fault::Kill, [victim]) => {
                self.take(*victim)?.kill().await?;
                tokio::time::sleep(drawn.lasts).await;
                healed.at_us = now_us();
                self.start_again(*victim).await?;
            }
            (Fault::Pause, [victim]) => {
                let running = self.take(*victim)?;
                running.signal(Signal::SIGSTOP);
                tokio::time::sleep(drawn.lasts).await;
                running.signal(Signal::SIGCONT);
                healed.at_us = now_us();
                self.market.services.push(running);
            }
            (Fault::DiskFull, [victim]) => self.disk_full(*victim, drawn.lasts, &now_us, &mut healed).await?,
            (Fault::Cut | Fault::Halves, victims) => {
                let network = self.network.as_ref().context("coordinators have no network of their own")?;
                let addresses = |is_victim: bool| {
                    let places = (0..self.addresses.len()).filter(|place| victims.contains(place) == is_victim);
                    places.map(|place| self.addresses[place]).collect()
                };
                network.cut(victims).await?;
                let cut = Cut::begun(addresses(true), addresses(false), self.quorum).await;
                tokio::time::sleep(drawn.lasts).await;
                match cut.ends().await {
                    Ok(said) => healed.notes.push(said),
                    Err(wrong) => healed.wrongs.push(wrong.to_string()),
                }
                network.heal(victims).await?;
                healed.at_us = now_us();
            }
            (fault, victims) => bail!("{fault} of {} coordinators is not a thing", victims.len()),
        }
        Ok(healed)
    }

    fn take(&mut self, place: usize) -> anyhow::Result<Running> {
        self.market.take(&self.coordinators[place].name)
    }

    async fn start_again(&mut self, place: usize) -> anyhow::Result<()> {
        let service = self.coordinators[place].clone();
        let cell = self.cells.get(&service.name).cloned();
        self.market.services.push(supervise::start(service, true, cell.as_deref()).await?);
        Ok(())
    }

    /// A coordinator may stop when its disk is full, or wait. With space again, it goes on or is started again.
    async fn disk_full(
        &mut self,
        victim: usize,
        lasts: Duration,
        now_us: &impl Fn() -> u64,
        healed: &mut Healed,
    ) -> anyhow::Result<()> {
        let mut running = self.take(victim)?;
        let disk = self.disk.as_ref().context("no coordinator has a disk that can be full")?;
        let (begun_us, over) = (now_us(), tokio::time::Instant::now() + lasts);
        disk.fill().await?;
        let ended = tokio::time::timeout_at(over, running.last_words()).await.ok();
        let seconds = (now_us() - begun_us) as f64 / 1e6;
        tokio::time::sleep_until(over).await;
        disk.widen().await?;
        healed.at_us = now_us();
        if let Some(ended) = ended {
            healed.notes.push(format!("it stopped after {seconds:.1} s, {ended}"));
            return self.start_again(victim).await;
        }
        // It did not stop. Either it waited for space, or it noticed nothing yet, or it hangs.
        let target = super::progress::seq_max(&self.addresses).await;
        let caught_up = tokio::time::timeout(CATCH_UP_TIMEOUT, reached(self.addresses[victim], target));
        let ended = tokio::select! {
            caught_up = caught_up => caught_up.is_err().then(|| "still ran, but did nothing any more".to_owned()),
            ended = running.last_words() => Some(ended),
        };
        match ended {
            None => {
                healed.notes.push("it did not stop".into());
                self.market.services.push(running);
            }
            Some(how) => {
                healed.wrongs.push(format!("with space again, it did not go on: {how}"));
                running.kill().await?;
                self.start_again(victim).await?;
            }
        }
        Ok(())
    }
}

fn data_of(coordinator: &Service) -> anyhow::Result<PathBuf> {
    Ok(dropbear_coordinator::CoordinatorConfig::load(&coordinator.config)?.data_dir)
}
