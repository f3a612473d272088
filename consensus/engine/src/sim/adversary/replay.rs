//! A member that repeats what others said, much later and to everybody.

use std::collections::VecDeque;
use std::time::Duration;

use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use commonware_runtime::{Clock as _, Spawner as _, Supervisor as _};
use rand_core::Rng as _;

use crate::sim::World;

/// Messages of each channel that it remembers.
const REMEMBERED: usize = 500;
const INTERVAL: Duration = Duration::from_millis(40);

impl World {
    /// Repeats old messages of every channel, all the time.
    ///
    /// # Panics
    ///
    /// If the replica's engine is running.
    pub async fn replay(&self, index: usize) {
        assert!(!self.is_running(index), "replica {index} is running");
        for (mut sender, mut receiver) in self.pipes(index).await {
            self.context.child("replay").spawn(move |mut context| async move {
                let mut heard = VecDeque::new();
                loop {
                    let pause = context.sleep(INTERVAL);
                    futures::pin_mut!(pause);
                    let message = {
                        let message = receiver.recv();
                        futures::pin_mut!(message);
                        match futures::future::select(message, pause).await {
                            futures::future::Either::Left((Ok((_, message)), _)) => Some(message),
                            futures::future::Either::Left((Err(_), _)) => return,
                            futures::future::Either::Right(_) => None,
                        }
                    };
                    heard.extend(message);
                    if heard.len() > REMEMBERED {
                        heard.pop_front();
                    }
                    let chosen = context.next_u32() as usize;
                    if let Some(old) = heard.get(chosen.checked_rem(heard.len()).unwrap_or(0)) {
                        sender.send(Recipients::All, old.clone(), true);
                    }
                }
            });
        }
    }
}
