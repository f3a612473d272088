//! Owners change a group on a real committee, and its readers can prove it.

use dropbear_certificates::charter::Seat;
use dropbear_certificates::{Assurance, Charter, GovernanceChain, StatementType, TrustRoot};
use dropbear_consensus::chain::check_entry;
use dropbear_consensus::{Account, Approve, Chain, Checked, CheckedProposal, Entry, Market, Propose, Submission};
use dropbear_wire::convert::{Attested, account};
use dropbear_wire::follow::Follower;
use dropbear_wire::registry::RegistryState;
use dropbear_wire::{client, governance, v1};
use tokio_stream::StreamExt as _;

use crate::market::{GENESIS_BLOCK, Ledger, gateway, genesis, owner, version_digest};
use crate::running::{Running, certificate, configs, now_ms, order, start, start_all, submit};

const GROUP: &str = "imagenet";

fn joined(mut charter: Charter, place: u8) -> Charter {
    let (owner, key) = (format!("owner-{place}"), owner(place).public());
    charter.roster.push(Seat { owner, key, party: "a party".into(), lineage: "a lineage".into() });
    charter
}

/// Orders an entry on the committee and on the ledger that runs beside it.
async fn order_both(committee: &[Running], ledger: &mut Ledger, entry: Checked) -> Vec<v1::SubmitReply> {
    let replies = order(committee, &entry).await;
    ledger.block(&[entry]).unwrap();
    replies
}

/// Owner 4 proposes itself, publishes, and is approved; gives the replies to the approval that enacts it.
async fn join(committee: &[Running], ledger: &mut Ledger) -> Vec<v1::SubmitReply> {
    let (genesis, (charter, digest)) = (ledger.genesis(), ledger.charter());
    let (serial, key) = (ledger.next_serial(), owner(4));
    let charter = joined(charter, 4);
    let propose = Propose { genesis, owner: key.public(), serial, previous: Some(digest), charter };
    let proposal = propose.proposal();
    let mut entries = vec![propose.sign(&key).check(&genesis).unwrap()];
    entries.extend([ledger.register(4), ledger.publish(4, 0), ledger.activate(4, 0, 0)]);
    for approver in 0..3 {
        let (serial, key) = (ledger.next_serial(), owner(approver));
        let approve = Approve { genesis, owner: key.public(), serial, group: GROUP.into(), proposal };
        entries.push(approve.sign(&key).check(&genesis).unwrap());
    }
    let mut last = Vec::new();
    for entry in entries {
        last = order_both(committee, ledger, entry).await;
    }
    last
}

async fn governance_of(running: &Running) -> v1::GovernanceReply {
    client::ledger(running.address).governance(v1::GovernanceRequest { from_seq: 0 }).await.unwrap().into_inner()
}

async fn accounts_of(running: &Running) -> v1::AccountsReply {
    let request = v1::AccountsRequest { group: GROUP.into() };
    client::ledger(running.address).accounts(request).await.unwrap().into_inner()
}

async fn with_models(committee: &[Running]) -> Ledger {
    let mut ledger = Ledger::asking_at(now_ms());
    for place in 0..4 {
        for entry in [ledger.register(place), ledger.publish(place, 0), ledger.activate(place, 0, 0)] {
            order_both(committee, &mut ledger, entry).await;
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_joins_and_everybody_can_follow_and_prove_it() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path());
    let mut committee = start_all(&configs).await;
    let mut ledger = with_models(&committee).await;
    let mut view = Follower::start(vec![committee[1].address], 0).view();
    let roster = |view: &dropbear_wire::follow::LedgerView| view.groups[GROUP].charter.roster.len();
    assert_eq!(roster(&view.wait_for(|view| view.seq > 0).await.unwrap()), 4);

    let enacted = join(&committee, &mut ledger).await;
    assert_eq!(enacted[0].leaves.len(), 2, "the approval, and the charter that it enacts");
    {
        let seen = view.wait_for(|view| roster(view) == 5).await.unwrap();
        let group = &seen.groups[GROUP];
        assert_eq!(group.digest, ledger.charter().1);
        assert_eq!(group.current(4, seen.seq + 1).unwrap().digest, version_digest(4, 0));
        assert!(group.state.proposals.is_empty());
    }

    // A certificate under the second charter verifies from the genesis through what a quorum shows.
    let entry = ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7), (4, 7)]);
    let certified = certificate(&order(&committee, &entry).await);
    let trust = TrustRoot::new(genesis());
    assert_eq!(certified.verify(&trust).unwrap_err().code(), "unknown-charter");
    let mut replies = Vec::new();
    for running in &committee[..3] {
        replies.push(governance_of(running).await);
    }
    let too_few = governance::chain(&replies[..2], &genesis().committee);
    assert_eq!(too_few, GovernanceChain(Vec::new()), "two of four are no quorum");
    let chain = governance::chain(&replies, &genesis().committee);
    let verified = certified.verify(&trust.extended(&chain).unwrap()).unwrap();
    assert!(verified.is_trust_current());

    // A liar among them changes nothing.
    replies[0].links[0].leaf.as_mut().unwrap().data = b"something else".to_vec().into();
    replies.push(governance_of(&committee[3]).await);
    assert_eq!(governance::chain(&replies, &genesis().committee).0.len(), 1);

    // All of it outlives a restart.
    let (before, accounts) = (governance_of(&committee[3]).await, accounts_of(&committee[3]).await);
    committee.remove(3).stop().await;
    committee.push(start(configs[3].clone()).await);
    assert_eq!(governance_of(&committee[3]).await, before);
    assert_eq!(accounts_of(&committee[3]).await, accounts);
    for running in committee {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_alike_everywhere_and_late_ballots_are_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let committee = start_all(&configs(folder.path())).await;
    let ledger = with_models(&committee).await;
    order(&committee, &ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)])).await;
    let requests = vec![ledger.request(1, Assurance::Robust)];
    let ballots = vec![ledger.ballot(3, 0, &requests, &[7])];
    let (genesis, charter) = (ledger.genesis(), ledger.charter().1);
    let late = Submission::sign(StatementType::Late, genesis, &gateway(), GROUP.into(), charter, requests, ballots);
    order(&committee, &Entry::Late(Box::new(late)).check(&genesis).unwrap()).await;
    let told = accounts_of(&committee[0]).await;
    for running in &committee[1..] {
        assert_eq!(accounts_of(running).await, told);
    }
    let of = |place| {
        told.accounts.iter().map(|message| account(message).unwrap()).find(|(key, _)| *key == owner(place).public())
    };
    let (_, in_time) = of(0).unwrap();
    assert_eq!(in_time, Account { offered: 1, counted: 1, agreed: 1, paid: 1, earned: 1, ..Account::default() });
    let (_, too_late) = of(3).unwrap();
    assert_eq!(too_late, Account { offered: 1, late: 1, paid: 1, earned: 1, ..Account::default() });
    let unknown = v1::AccountsRequest { group: "nobody".into() };
    let status = client::ledger(committee[0].address).accounts(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    for running in committee {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_replays_the_exported_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let committee = start_all(&configs(folder.path())).await;
    let mut ledger = with_models(&committee).await;
    join(&committee, &mut ledger).await;
    order(&committee, &ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7), (3, 7)])).await;

    let request = v1::BlocksRequest { from_seq: 1, to_seq: 0, want_leaves: true };
    let mut blocks = client::ledger(committee[2].address).blocks(request).await.unwrap().into_inner();
    let mut chain = Chain::new(std::sync::Arc::new(Market::new(genesis())), GENESIS_BLOCK);
    let mut count = 0;
    while let Some(block) = blocks.next().await {
        let block = block.unwrap();
        let attested = Attested::try_from(block.attested.as_ref().unwrap()).unwrap();
        let member = &genesis().committee.members[attested.member];
        assert!(attested.header.is_attested(&member.attestation, &attested.signature.unwrap()));
        let check = |bytes: &[u8]| check_entry(bytes, &ledger.genesis()).map(std::sync::Arc::new);
        let proposal = CheckedProposal::from_payload(&block.payload, check).unwrap();
        count += 1;
        let executed = chain.execute(chain.tip(), [count; 32], &proposal, None).unwrap();
        assert_eq!(executed.header, attested.header);
        assert_eq!(executed.leaves, block.leaves);
        chain.finalize([count; 32]).unwrap();
    }
    assert_eq!(u64::from(count), ledger.chain.state().seq + 1);

    let groups = client::ledger(committee[2].address).groups(v1::GroupsRequest {}).await.unwrap().into_inner();
    let told = RegistryState::try_from(&groups.registry.unwrap()).unwrap();
    assert_eq!(
        told.groups[GROUP].model_set(groups.seq),
        chain.state().registry.group(GROUP).unwrap().model_set(groups.seq)
    );
    let beyond = v1::BlocksRequest { from_seq: 1, to_seq: 1_000, want_leaves: false };
    let status = client::ledger(committee[2].address).blocks(beyond).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    for running in committee {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_entry_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let committee = start_all(&configs(folder.path())).await;
    let mut ledger = Ledger::asking_at(now_ms());
    let what = |entry: &Checked| v1::submit_request::What::Entry(entry.bytes().to_vec().into());
    let unregistered = ledger.publish(0, 0);
    let refusal = submit(committee[0].address, what(&unregistered)).await.refusal.unwrap();
    assert_eq!(refusal.code, "not-registered");
    assert!(refusal.message.contains("register it first"), "{}", refusal.message);
    let stranger = ledger.register(7);
    let refusal = submit(committee[0].address, what(&stranger)).await.refusal.unwrap();
    assert_eq!(refusal.code, "not-named");
    // One coordinator tells the others of what it took.
    let registered = ledger.register(0);
    let alone = submit(committee[0].address, what(&registered)).await;
    assert!(alone.refusal.is_none() && alone.attested.is_some());
    for running in committee {
        running.stop().await;
    }
}
