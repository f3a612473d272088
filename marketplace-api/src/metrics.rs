//! What a gateway measures of itself and of those whom it asks.

use std::time::Duration;

use dropbear_telemetry::{Registry, Stages, durations};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::ask::{Answered, Failure};
use crate::show;

/// From admission until the request's batch leaves.
pub(crate) const QUEUE: &str = "queue";
/// From there until the ballots decide.
pub(crate) const COLLECT: &str = "collect";
/// From the submission until a quorum has attested its block.
pub(crate) const ORDER: &str = "order";
/// Assembling and verifying certificates.
pub(crate) const CERTIFY: &str = "certify";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    group: String,
    certified: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    group: String,
    certified: bool,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Owner {
    group: String,
    owner: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OwnerSaid {
    group: String,
    owner: String,
    result: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The instruments; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) stages: Stages,
    pub(crate) in_flight: Gauge,
    requests: Family<Ended, Counter>,
    latencies: Durations<Call>,
    ballots: Family<OwnerSaid, Counter>,
    ballot_latencies: Durations<Owner>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            stages: Stages::register(
                registry,
                "dropbear_gateway_stage",
                "Time per stage: queue (admission to fan-out), collect (to decisive ballots), order (submission to a \
                 quorum's attestations), certify (assembling and verifying)",
                &[QUEUE, COLLECT, ORDER, CERTIFY],
            ),
            in_flight: Gauge::default(),
            requests: Family::default(),
            latencies: Family::new_with_constructor(durations),
            ballots: Family::default(),
            ballot_latencies: Family::new_with_constructor(durations),
        };
        let each = "dropbear_gateway_";
        registry.register(format!("{each}in_flight"), "Requests admitted and not answered", metrics.in_flight.clone());
        registry.register(format!("{each}requests"), "Requests by what became of them", metrics.requests.clone());
        registry.register(
            format!("{each}request_seconds"),
            "From admission to answer, of requests that were answered",
            metrics.latencies.clone(),
        );
        registry.register(
            format!("{each}ballots"),
            "Ballots asked for, by owner and by what came: counted, late (after the outcome), never (not even then), \
             stale, unavailable, refused, faulty",
            metrics.ballots.clone(),
        );
        registry.register(
            format!("{each}ballot_seconds"),
            "From asking an owner to its valid ballot, be it counted or late",
            metrics.ballot_latencies.clone(),
        );
        metrics
    }

    /// A request ended.
    pub(crate) fn ended(&self, group: &str, certified: bool, answered: &Answered, after: Duration) {
        let (group, outcome) = (group.to_owned(), outcome(answered));
        if answered.is_ok() {
            let call = Call { group: group.clone(), certified };
            self.latencies.get_or_create(&call).observe(after.as_secs_f64());
        }
        self.requests.get_or_create(&Ended { group, certified, outcome }).inc();
    }

    /// A call was not admitted.
    pub(crate) fn turned_away(&self, group: &str, certified: bool, requests: usize) {
        let ended = Ended { group: group.to_owned(), certified, outcome: "turned-away" };
        self.requests.get_or_create(&ended).inc_by(requests as u64);
    }

    /// An owner answered, or will not.
    pub(crate) fn ballot(&self, group: &str, owner: &str, result: &'static str) {
        let said = OwnerSaid { group: group.to_owned(), owner: owner.to_owned(), result };
        self.ballots.get_or_create(&said).inc();
    }

    /// An owner's valid ballot came this long after it was asked for: in time to be counted, or too late.
    pub(crate) fn answered(&self, group: &str, owner: &str, after: Duration, in_time: bool) {
        self.ballot(group, owner, if in_time { "counted" } else { "late" });
        let owner = Owner { group: group.to_owned(), owner: owner.to_owned() };
        self.ballot_latencies.get_or_create(&owner).observe(after.as_secs_f64());
    }
}

/// As clients are told, and which of our own failures it was.
fn outcome(answered: &Answered) -> &'static str {
    match answered.as_ref().map_err(|unanswered| &unanswered.failure) {
        Err(Failure::Unattested(_)) => "unattested",
        Err(Failure::Refused(..)) => "refused",
        _ => show::outcome(answered),
    }
}
