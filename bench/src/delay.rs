//! A TCP proxy that passes on a service's answers as late as it is told.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What is read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks that are under way in one connection; beyond them the service cannot write on.
const CHUNKS_MAX: usize = 4096;

/// A proxy before one service. It ends, with its connections, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    delay: Delay,
    accepting: JoinHandle<()>,
}

/// How late answers are passed on; it may change at any time.
#[derive(Clone, Debug, Default)]
pub struct Delay(Arc<AtomicU64>);

impl Delay {
    /// Answers that come from now on are passed on this much later.
    pub fn set(&self, delay: Duration) {
        self.0.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Proxy {
    /// A proxy before the service at `target`, at a free port of this machine; without delay at first.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, delay) = (listener.local_addr()?, Delay::default());
        let accepting = tokio::spawn(accept(listener, target, delay.clone()));
        Ok(Self { address, delay, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its delay.
    #[must_use]
    pub fn delay(&self) -> Delay {
        self.delay.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, delay: Delay) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Without a listener, clients find nobody.
                let Ok((client, _)) = accepted else { return };
                connections.spawn(connect(client, target, delay.clone()));
            }
            // Whatever ended it, both sides see it closed, as they would without a proxy.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until either side ends it.
async fn connect(client: TcpStream, target: SocketAddr, delay: Delay) -> io::Result<()> {
    let service = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    service.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_service, mut to_service)) =
        (client.into_split(), service.into_split());
    tokio::select! {
        asked = copy(&mut from_client, &mut to_service) => asked.map(drop),
        answered = late(&mut from_service, &mut to_client, &delay) => answered,
    }
}

/// Copies what comes, each part when it is due and in the order in which it came.
async fn late(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    delay: &Delay,
) -> io::Result<()> {
    let mut waiting: VecDeque<(Instant, Bytes)> = VecDeque::new();
    let mut buffer = BytesMut::new();
    let mut is_open = true;
    loop {
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, mut chunk)) = waiting.pop_front() {
                to.write_all_buf(&mut chunk).await?;
            }
        }
        let due = waiting.front().map(|(due, _)| *due);
        if !is_open && due.is_none() {
            return Ok(());
        }
        buffer.reserve(CHUNK_BYTES);
        tokio::select! {
            read = from.read_buf(&mut buffer), if is_open && waiting.len() < CHUNKS_MAX => {
                is_open = read? > 0;
                let after = waiting.back().map_or_else(Instant::now, |(due, _)| *due);
                waiting.push_back((after.max(Instant::now() + delay.get()), buffer.split().freeze()));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that says back what it hears, and a client of it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(async move {
            let (mut from, mut to) = listener.accept().await.unwrap().0.into_split();
            copy(&mut from, &mut to).await
        });
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, client)
    }

    async fn said_back(client: &mut TcpStream, what: &[u8]) -> Duration {
        let asked = Instant::now();
        let mut heard = vec![0; what.len()];
        let (mut from, mut to) = client.split();
        let (wrote, read) = tokio::join!(to.write_all(what), from.read_exact(&mut heard));
        wrote.unwrap();
        read.unwrap();
        assert!(heard == what, "other bytes, or in another order");
        asked.elapsed()
    }

    #[tokio::test]
    async fn answers_are_the_same_and_as_late_as_told() {
        let (proxy, mut client) = echo().await;
        let long: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        said_back(&mut client, &long).await;
        let delay = Duration::from_millis(80);
        proxy.delay().set(delay);
        assert!(said_back(&mut client, b"late").await >= delay);
        assert!(said_back(&mut client, &long).await >= delay);
        proxy.delay().set(Duration::ZERO);
        said_back(&mut client, &long).await;
    }

    #[tokio::test]
    async fn nothing_is_carried_once_the_proxy_is_gone() {
        let (proxy, mut client) = echo().await;
        said_back(&mut client, b"there").await;
        drop(proxy);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection is closed");
    }
}
