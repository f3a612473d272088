//! The library's parts, put together: the same over TCP and in the simulation.

use std::future::Future;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use commonware_broadcast::buffered;
use commonware_codec::Codec;
use commonware_consensus::Reporters;
use commonware_consensus::marshal::core::Actor;
use commonware_consensus::marshal::resolver::p2p as backfill;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::marshal::{self, Start};
use commonware_consensus::simplex;
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipBudget, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::{Epoch, FixedEpocher, ViewDelta};
use commonware_cryptography::certificate::{ConstantProvider, Verifier as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _, Sha256, Signer as _};
use commonware_p2p::{Blocker, Channel, Provider, Receiver, Recipients, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Quota, Spawner, Storage};
use commonware_storage::archive::immutable::{self, Archive};
use commonware_utils::{NZDuration, NonZeroDuration};
use futures::future::{Either, FutureExt as _, select, select_all};
use rand_core::CryptoRng;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::application::Adapter;
use crate::block::{Block, PayloadMax};
use crate::config::{Committee, Setup};
use crate::delivery::Delivery;
use crate::evidence::Observer;
use crate::memory::{Examination, Heard, Journaled, Testimony};
use crate::note::{self, Note, Unread};
use crate::replica::{DynReplica, Role};
use crate::status::Counters;

/// Messages per second and peer on each channel of the protocol: a view costs a peer two or three votes and
/// as many certificates, its leader one block. Mailboxes, and with them memory, are sized by these.
const VOTES_PER_S_MAX: u32 = 1_000;
const CERTIFICATES_PER_S_MAX: u32 = 1_000;
const FETCHES_PER_S_MAX: u32 = 200;
const BLOCKS_PER_S_MAX: u32 = 400;
const BACKFILLS_PER_S_MAX: u32 = 400;

/// Messages that wait inside the library between two of its parts at most.
const MAILBOX_MESSAGES_MAX: usize = 1_024;
/// Blocks not yet final that are kept per peer.
const BLOCKS_PER_PEER_MAX: usize = 16;
/// Blocks that are fetched at the same time to fill a gap.
const GAP_BLOCKS_MAX: usize = 20;
/// Final blocks that wait for the replica's acknowledgement at most.
pub(crate) const UNACKNOWLEDGED_BLOCKS_MAX: usize = 16;
/// Views below the last final one whose votes are kept, for slow peers and for evidence.
const VIEWS_RETAINED: u64 = 256;
/// Peers' answers that wait to be judged at most.
const TESTIMONIES_WAITING_MAX: usize = 256;
/// How long a peer has to answer a request, and the pause before it is repeated.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
const FETCH_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The files' page cache: 4 MiB.
const PAGE_BYTES: u16 = 4_096;
const PAGES: usize = 1_024;
/// Buffers of one file while it is written, and while it is replayed at the start.
pub(crate) const WRITE_BUFFER_BYTES: usize = 256 << 10;
pub(crate) const REPLAY_BUFFER_BYTES: usize = 1 << 20;
/// The first size of an archive's index; it doubles as needed.
const INDEX_ENTRIES: u32 = 16_384;
const INDEX_GROWTH_ENTRIES: u32 = 4_096;
const INDEX_GROWTH_FREQUENCY: u8 = 4;
/// How archives are cut into files. The number of items can never change for existing archives.
const ARCHIVE_ITEMS_PER_SECTION: u64 = 65_536;
const ARCHIVE_SECTION_BYTES: u64 = 1 << 30;
const CACHE_ITEMS_PER_SECTION: u64 = 256;

/// The one epoch of an engine: a new committee is a new engine with its own namespace and directory.
const EPOCH: Epoch = Epoch::zero();
/// More heights than an epoch can ever have.
const EPOCH_HEIGHTS: u64 = u64::MAX >> 1;

/// One registered channel of the network.
pub(crate) type Pipe<S, R> = (S, R);

/// The channels of the network, one for each kind of traffic.
pub(crate) struct Channels<S, R> {
    pub(crate) votes: Pipe<S, R>,
    pub(crate) certificates: Pipe<S, R>,
    pub(crate) fetches: Pipe<S, R>,
    pub(crate) blocks: Pipe<S, R>,
    pub(crate) backfills: Pipe<S, R>,
    pub(crate) relay: Pipe<S, R>,
}

/// The number and the quota of each channel, in the order of [`Channels`].
pub(crate) fn quotas(setup: &Setup) -> [(Channel, Quota); 6] {
    [
        (0, VOTES_PER_S_MAX),
        (1, CERTIFICATES_PER_S_MAX),
        (2, FETCHES_PER_S_MAX),
        (3, BLOCKS_PER_S_MAX),
        (4, BACKFILLS_PER_S_MAX),
        (5, setup.relay_messages_per_s_max),
    ]
    .map(|(channel, per_s)| {
        let per_s = NonZeroU32::new(per_s).expect("quotas are not zero");
        (channel, Quota::per_second(per_s))
    })
}

impl<S, R> Channels<S, R> {
    pub(crate) fn new([votes, certificates, fetches, blocks, backfills, relay]: [Pipe<S, R>; 6]) -> Self {
        Self { votes, certificates, fetches, blocks, backfills, relay }
    }
}

/// The largest message that any channel carries.
pub(crate) fn message_size_bytes_max(setup: &Setup) -> u32 {
    let peers = u32::try_from(setup.committee.keys.len()).expect("committees are small");
    commonware_p2p::max_message_size(&[
        simplex::max_payload_size::<Scheme, Digest>(peers),
        marshal::max_payload_size::<Standard<Block>, Scheme>(peers, &PayloadMax::new(setup.block_size_bytes_max)),
        setup.relay_size_bytes_max + note::OVERHEAD_BYTES_MAX,
    ])
}

/// Starts everything above the network. The returned future resolves, with a reason, when a part ended: then
/// all must.
pub(crate) async fn start<E, P, B, S, R>(
    context: E,
    setup: Setup,
    (provider, blocker): (P, B),
    channels: Channels<S, R>,
    replica: Arc<dyn DynReplica>,
    outbox: mpsc::Receiver<Bytes>,
    counters: Arc<Counters>,
) -> impl Future<Output = &'static str> + Send
where
    E: Spawner + Clock + Storage + Metrics + CryptoRng,
    P: Provider<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let prefix = setup.partition_prefix.as_str();
    let payload_max = PayloadMax::new(setup.block_size_bytes_max);
    let genesis = Block::genesis(setup.genesis_digest);
    let genesis_digest = genesis.digest();
    let public_key = setup.me.public_key();
    let epocher = FixedEpocher::new(nz64(EPOCH_HEIGHTS));
    let page_cache = CacheRef::new(nz16(PAGE_BYTES), nz(PAGES));
    let timing = setup.timing;

    // Blocks on their way to being final.
    let (blocks, block_buffer) = buffered::Engine::<_, _, Block, _, _>::new(
        context.child("blocks"),
        buffered::Config {
            public_key: public_key.clone(),
            mailbox_size: nz(MAILBOX_MESSAGES_MAX),
            deque_size: BLOCKS_PER_PEER_MAX,
            priority: true,
            codec_config: payload_max,
            peer_provider: provider.clone(),
            strategy: Sequential,
        },
    );
    let blocks = blocks.start(channels.blocks);

    // Final blocks: stored, fetched from peers where missing, delivered in order.
    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key,
            peer_provider: provider,
            blocker: blocker.clone(),
            mailbox_size: nz(MAILBOX_MESSAGES_MAX),
            fetch_timeout: fetch_timeout(),
            fetch_retry_delay: FETCH_RETRY_DELAY,
            priority_requests: false,
            priority_responses: false,
        },
        channels.backfills,
    );
    let finalizations = archive(
        context.child("finalizations"),
        &format!("{prefix}finalizations"),
        Scheme::certificate_codec_config_unbounded(),
        &page_cache,
    )
    .await;
    let final_blocks =
        archive(context.child("final_blocks"), &format!("{prefix}blocks"), payload_max, &page_cache).await;
    let (marshal, marshal_mailbox, _) = Actor::init(
        context.child("marshal"),
        finalizations,
        final_blocks,
        marshal::Config {
            provider: ConstantProvider::<Scheme, Epoch>::new(setup.scheme.clone()),
            epocher: epocher.clone(),
            start: Start::Genesis(Digested::precomputed(genesis, genesis_digest)),
            partition_prefix: format!("{prefix}marshal"),
            mailbox_size: nz(MAILBOX_MESSAGES_MAX),
            view_retention: ViewDelta::new(VIEWS_RETAINED),
            prunable_items_per_section: nz64(CACHE_ITEMS_PER_SECTION),
            page_cache: page_cache.clone(),
            replay_buffer: nz(REPLAY_BUFFER_BYTES),
            key_write_buffer: nz(WRITE_BUFFER_BYTES),
            value_write_buffer: nz(WRITE_BUFFER_BYTES),
            block_codec_config: payload_max,
            max_repair: nz(GAP_BLOCKS_MAX),
            max_pending_acks: nz(UNACKNOWLEDGED_BLOCKS_MAX),
            strategy: Sequential,
        },
    )
    .await;
    let (inbox, delivered, delivery) = Delivery::new(replica.clone(), counters.clone());
    let marshal = marshal.start(inbox, block_buffer, resolver);

    // What we signed before this start, and what the others signed.
    let journaled = Journaled::read(context.child("journal"), &setup, page_cache.clone()).await;
    let heard = Heard::new(&setup.committee);
    let (testimonies, answers) = mpsc::channel(TESTIMONIES_WAITING_MAX);
    let examination = Examination {
        rng: context.child("examination"),
        setup: setup.clone(),
        journaled,
        replica: replica.clone(),
        answers,
    };

    let stored = marshal_mailbox.clone();

    // Votes.
    let adapter = Adapter {
        replica: replica.clone(),
        block_size_bytes_max: setup.block_size_bytes_max,
        timing,
        finals: marshal_mailbox.clone(),
        delivered,
    };
    let inline = Inline::new(context.child("inline"), adapter, marshal_mailbox, epocher);
    let observer = Observer {
        rng: Arc::new(Mutex::new(context.child("observer"))),
        scheme: setup.scheme.clone(),
        committee: setup.committee.clone(),
        replica: replica.clone(),
        counters: counters.clone(),
        heard: heard.clone(),
    };
    let config = move |scheme, partition| {
        simplex::config::Config {
            scheme,
            elector: RoundRobin::<Sha256>::default(),
            blocker,
            automaton: inline.clone(),
            relay: inline.clone(),
            reporter: Reporters::from((inline, observer)),
            track_historical_votes: true,
            strategy: Sequential,
            partition,
            mailbox_size: nz(MAILBOX_MESSAGES_MAX),
            epoch: EPOCH,
            floor: Floor::Genesis(genesis_digest),
            replay_buffer: nz(REPLAY_BUFFER_BYTES),
            write_buffer: nz(WRITE_BUFFER_BYTES),
            page_cache,
            leader_timeout: timing.leader,
            certification_timeout: timing.certification,
            timeout_retry: timing.retry,
            view_retention: ViewDelta::new(VIEWS_RETAINED),
            skip: SkipPolicy::Enabled {
                timeout: timing.inactive,
                // Idle views count against a budget; ours may be idle for years and must still pass over a
                // dead leader at once.
                budget: SkipBudget::Fixed(nz64(u64::MAX)),
            },
            fetch_timeout: fetch_timeout(),
            fetch_retry_delay: FETCH_RETRY_DELAY,
            forward: ForwardPolicy::Disabled,
        }
    };

    // Messages that are not ordered.
    let (sender, receiver) = channels.relay;
    let mut asking = sender.clone();
    let relay_out = context.child("relay_out").spawn({
        let sender = sender.clone();
        |_| send_relayed(outbox, sender)
    });
    let notes =
        Notes { sender, committee: setup.committee.clone(), replica: replica.clone(), heard, testimonies, counters };
    let relay_in = context.child("relay_in").spawn(|_| notes.run(receiver));

    async move {
        let decided = examination.decide(&context, || {
            asking.send(Recipients::All, Note::Ask.to_bytes(), true);
        });
        let named = |(part, reason): (Part, &'static str)| part.map(move |_| reason).boxed();
        let mut parts: Vec<_> = [
            (blocks, "block dissemination ended"),
            (marshal, "block delivery ended"),
            (relay_out, "the relay's outbox closed"),
            (relay_in, "the relay's inbox closed"),
        ]
        .into_iter()
        .map(named)
        .collect();
        let role = match select(decided.boxed(), select_all(&mut parts)).await {
            Either::Left((role, _)) => role,
            Either::Right(((reason, ..), _)) => return reason,
        };
        let (scheme, partition) = match &role {
            Role::Voter => (setup.scheme.clone(), setup.votes_partition()),
            // The library takes no journal with votes that its scheme cannot sign.
            Role::Follower(_) => (setup.follower(), setup.follower_partition()),
        };
        replica.begin(role).await;
        // What was final before waits until the replica knows its role: it decides what is signed.
        let delivery = context.child("delivery").spawn(|_| delivery.run(stored));
        let votes = simplex::Engine::new(context.child("simplex"), config(scheme, partition)).start(
            channels.votes,
            channels.certificates,
            channels.fetches,
        );
        parts.extend([(delivery, "the replica's inbox closed"), (votes, "voting ended")].map(named));
        select_all(parts).await.0
    }
}

/// A running part of the engine.
type Part = Handle<()>;

async fn send_relayed(mut outbox: mpsc::Receiver<Bytes>, mut sender: impl Sender<PublicKey = PublicKey>) {
    while let Some(message) = outbox.recv().await {
        let reached = sender.send(Recipients::All, Note::Message(message).to_bytes(), false).len();
        debug!(reached, "relayed");
    }
}

/// Takes what peers send outside of the protocol.
struct Notes<S> {
    sender: S,
    committee: Committee,
    replica: Arc<dyn DynReplica>,
    heard: Heard,
    testimonies: mpsc::Sender<Testimony>,
    counters: Arc<Counters>,
}

impl<S: Sender<PublicKey = PublicKey>> Notes<S> {
    async fn run(mut self, mut receiver: impl Receiver<PublicKey = PublicKey>) {
        while let Ok((peer, message)) = receiver.recv().await {
            let Some(from) = self.committee.index(&peer) else {
                warn!(?peer, "relayed message from outside of the committee");
                continue;
            };
            match Note::parse(message.into()) {
                Ok(Note::Message(message)) => self.replica.relayed(from, message),
                Ok(Note::Ask) => {
                    let answer = Note::Testimony { vote: self.heard.of(from), shown: self.replica.testify(from) };
                    self.sender.send(Recipients::One(peer), answer.to_bytes(), true);
                }
                // Nobody takes them once the role is decided; a full queue holds enough to decide by.
                Ok(Note::Testimony { vote, shown }) => drop(self.testimonies.try_send(Testimony { from, vote, shown })),
                Ok(Note::Unknown) => debug!(from, "a newer peer says something that this version does not know"),
                Err(Unread::Malformed) => debug!(from, "a peer relayed something malformed"),
                Err(Unread::Version(version)) => {
                    if self.counters.refused(from, version) {
                        error!(
                            from,
                            version,
                            ours = note::VERSION,
                            "a peer's messages are of another version: refused"
                        );
                    }
                }
            }
        }
    }
}

async fn archive<E, V>(
    context: E,
    partition: &str,
    codec_config: V::Cfg,
    page_cache: &CacheRef,
) -> Archive<E, Digest, V>
where
    E: Storage + Clock + Metrics,
    V: Codec + Send + Sync,
{
    Archive::init(
        context,
        immutable::Config {
            metadata_partition: format!("{partition}-metadata"),
            freezer_table_partition: format!("{partition}-table"),
            freezer_table_initial_size: INDEX_ENTRIES,
            freezer_table_resize_frequency: INDEX_GROWTH_FREQUENCY,
            freezer_table_resize_chunk_size: INDEX_GROWTH_ENTRIES,
            freezer_key_partition: format!("{partition}-keys"),
            freezer_key_page_cache: page_cache.clone(),
            freezer_value_partition: format!("{partition}-values"),
            freezer_value_target_size: ARCHIVE_SECTION_BYTES,
            freezer_value_compression: None,
            ordinal_partition: format!("{partition}-ordinal"),
            items_per_section: nz64(ARCHIVE_ITEMS_PER_SECTION),
            codec_config,
            replay_buffer: nz(REPLAY_BUFFER_BYTES),
            freezer_key_write_buffer: nz(WRITE_BUFFER_BYTES),
            freezer_value_write_buffer: nz(WRITE_BUFFER_BYTES),
            ordinal_write_buffer: nz(WRITE_BUFFER_BYTES),
        },
    )
    .await
    .unwrap_or_else(|error| panic!("archive {partition} cannot be opened: {error}"))
}

fn fetch_timeout() -> NonZeroDuration {
    NZDuration!(FETCH_TIMEOUT)
}

pub(crate) const fn nz(value: usize) -> NonZeroUsize {
    NonZeroUsize::new(value).expect("constants are not zero")
}

const fn nz16(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("constants are not zero")
}

const fn nz64(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).expect("constants are not zero")
}
