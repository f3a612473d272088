//! A member that sends noise on every channel.

use bytes::Bytes;
use commonware_p2p::{Recipients, Sender as _};
use commonware_runtime::{Clock as _, Spawner as _, Supervisor as _};
use rand_core::Rng as _;
use std::time::Duration;

use crate::sim::World;

/// Bytes of one message at most.
const NOISE_BYTES_MAX: u32 = 600;
const INTERVAL: Duration = Duration::from_millis(50);

impl World {
    /// Sends bytes without meaning on every channel, all the time.
    ///
    /// # Panics
    ///
    /// If the replica's engine is running.
    pub async fn garbage(&self, index: usize) {
        assert!(!self.is_running(index), "replica {index} is running");
        let mut pipes = self.pipes(index).await;
        self.context.child("garbage").spawn(move |mut context| async move {
            loop {
                for (sender, _) in &mut pipes {
                    let mut noise = vec![0; (context.next_u32() % NOISE_BYTES_MAX) as usize];
                    context.fill_bytes(&mut noise);
                    // Some of it begins as real messages do.
                    if let Some(first) = noise.first_mut() {
                        *first %= 4;
                    }
                    sender.send(Recipients::All, Bytes::from(noise), true);
                }
                context.sleep(INTERVAL).await;
            }
        });
    }
}
