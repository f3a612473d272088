//! What a node opens before it serves: its journal, its models, and the version that it brings along.

use std::sync::Arc;

use dropbear_models::Store;

use super::NodeError;
use crate::config::Settings;
use crate::errand::Bootstrap;
use crate::fleet::Fleet;
use crate::journal::{Journal, Votes};
use crate::library::{Library, Running};
use crate::metrics::Metrics;
use crate::siblings::keeper::Keeper;
use crate::siblings::seal::Seal;

const JOURNAL_FILE: &str = "votes.redb";

/// What a node serves from.
pub(super) struct Models {
    pub(super) library: Arc<dyn Library>,
    pub(super) bootstrap: Option<Bootstrap>,
    /// Where siblings get versions from, or where they come to from a sibling.
    pub(super) store: Option<Store>,
}

/// What takes files to open.
pub(super) struct Opened {
    pub(super) models: Models,
    pub(super) fleet: Arc<Fleet>,
    pub(super) votes: Votes,
    pub(super) seal: Seal,
}

impl Opened {
    /// Loading a model and opening files block: both off the async threads.
    pub(super) async fn open(
        settings: &Settings,
        models: impl FnOnce(Running) -> Result<Models, NodeError> + Send + 'static,
        metrics: Metrics,
    ) -> Result<Self, NodeError> {
        let (data_dir, journal_of) = (settings.data_dir.clone(), settings.journal_of);
        let running = Running {
            limits: settings.limits,
            threads: settings.threads,
            timeouts: settings.timeouts,
            metrics: metrics.clone(),
        };
        let genesis = settings.genesis.digest();
        let seal = Seal::new(&settings.key, &genesis);
        let keys: Vec<_> = std::iter::once(&settings.key).chain(&settings.next_key).map(|key| key.public()).collect();
        let keeper = journal_of.map(|address| Keeper::new(address, seal.clone()));
        let opening = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&data_dir).map_err(|error| NodeError::DataDir(data_dir.clone(), error))?;
            let journal = data_dir.join(JOURNAL_FILE);
            let votes = match keeper {
                Some(_) if journal.exists() => return Err(NodeError::TwoJournals(journal)),
                Some(keeper) => Votes::Keeper(Box::new(keeper)),
                None => Votes::Own(Journal::open(&journal, &keys, &genesis)?),
            };
            let models = models(running)?;
            let fleet = Fleet::new(Arc::clone(&models.library), metrics)?;
            if let Some(bootstrap) = &models.bootstrap {
                fleet.load_now(bootstrap.card.version)?;
            }
            Ok(Self { models, fleet, votes, seal })
        });
        opening.await.map_err(|error| NodeError::Server(error.to_string()))?
    }
}
