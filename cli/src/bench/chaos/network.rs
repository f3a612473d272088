//! Coordinators on hosts of their own: a network namespace each, joined by two switches, between which a host can be moved.
//!
//! ```text
//! gateway, model nodes, this process                     one network
//!      │ 127.0.0.1, through a door into each host
//! coordinator-0    coordinator-1    coordinator-2    coordinator-3
//!   10.83.0.1        10.83.0.2        10.83.0.3        10.83.0.4
//!      └────────────────┴─ switch `whole` ─┴──────╳         │
//!                          switch `apart` ──────────────────┘    while it is cut off
//! ```
//!
//! Their engines reach each other through the switches alone. Their APIs listen on their hosts' own loopback addresses, where
//! only the doors reach them: a coordinator that is cut off from its peers still hears gateways and clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use nix::sched::CloneFlags;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::cell::Cell;
use crate::layout::Service;

/// The network. It goes when it is dropped and no coordinator runs any more.
pub(super) struct Network {
    switches: Cell,
    /// By place in the committee.
    pub(super) hosts: Vec<Arc<Cell>>,
    doors: Vec<AbortHandle>,
}

const fn address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 83, 0, place as u8 + 1)
}

impl Network {
    /// Builds it for these coordinators, and tells their configurations.
    ///
    /// # Errors
    /// Where that is not permitted, or `ip` is missing.
    pub(super) async fn build(coordinators: &[Service]) -> anyhow::Result<Self> {
        let switches = Cell::new(CloneFlags::CLONE_NEWNET).await?;
        for switch in ["whole", "apart"] {
            switches.ip(&format!("link add {switch} type bridge")).await?;
            switches.ip(&format!("link set {switch} up")).await?;
        }
        let mut network = Self { switches, hosts: Vec::new(), doors: Vec::new() };
        for (place, service) in coordinators.iter().enumerate() {
            let host = Arc::new(Cell::new(CloneFlags::CLONE_NEWNET).await?);
            network.plug_in(place, &host).await?;
            let api = service.address()?;
            network.doors.push(door(Arc::clone(&host), api).await?);
            network.hosts.push(host);
        }
        for service in coordinators {
            readdress(&service.config)?;
        }
        Ok(network)
    }

    async fn plug_in(&self, place: usize, host: &Cell) -> anyhow::Result<()> {
        let cable = format!("link add port{place} type veth peer name eth0 netns {}", host.network());
        self.switches.ip(&cable).await?;
        self.switches.ip(&format!("link set port{place} master whole")).await?;
        self.switches.ip(&format!("link set port{place} up")).await?;
        host.ip("link set lo up").await?;
        host.ip(&format!("address add {}/24 dev eth0", address(place))).await?;
        host.ip("link set eth0 up").await
    }

    /// Moves hosts to the other switch. Their links stay up: what they send arrives nowhere.
    pub(super) async fn cut(&self, places: &[usize]) -> anyhow::Result<()> {
        self.move_to("apart", places).await
    }

    /// Moves them back.
    pub(super) async fn heal(&self, places: &[usize]) -> anyhow::Result<()> {
        self.move_to("whole", places).await
    }

    async fn move_to(&self, switch: &str, places: &[usize]) -> anyhow::Result<()> {
        for place in places {
            self.switches.ip(&format!("link set port{place} master {switch}")).await?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for door in &self.doors {
            door.abort();
        }
    }
}

/// Engines listen and call on the hosts' addresses.
fn readdress(config: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let engines = dropbear_coordinator::CoordinatorConfig::load(config)?.engine_addresses;
    let text = engines.iter().enumerate().fold(text, |text, (place, engine)| {
        text.replace(&format!("\"{engine}\""), &format!("\"{}\"", SocketAddr::from((address(place), engine.port()))))
    });
    std::fs::write(config, text).with_context(|| format!("cannot write {}", config.display()))
}

/// Listens at `api` here, and passes calls on to the same address there.
async fn door(host: Arc<Cell>, api: SocketAddr) -> anyhow::Result<AbortHandle> {
    let listener = TcpListener::bind(api).await.with_context(|| format!("cannot listen on {api}"))?;
    let serve = async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            let host = Arc::clone(&host);
            tokio::spawn(async move {
                // Nobody listens there while the coordinator is down: then the caller is hung up on.
                let Ok(mut inside) = host.connect(api).await else { return };
                let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
                // However a connection ends, it has ended.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    };
    Ok(tokio::spawn(serve).abort_handle())
}
