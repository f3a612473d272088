//! What verification costs, in one run and on one core: `cargo bench -p dropbear-certificates`.
//!
//! From certificate bytes to a verdict, next to what cannot be avoided: q strict Ed25519 verifications. Ratios are what
//! carries from one machine to another.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dropbear_certificates::samples::valid::{by_policy, classes};
use dropbear_certificates::samples::{Case, Market, governance};
use dropbear_certificates::{Assurance, Attachments, Certificate, Effort, KeyTables, Policy, SeenQuorums, TrustRoot};
use ed25519_dalek::{Signature, VerifyingKey};

/// The fastest of many short rounds, per call: what the code costs when nothing else runs.
fn time(mut call: impl FnMut()) -> Duration {
    const ROUND: Duration = Duration::from_millis(1);
    const ROUNDS: usize = 400;
    let mut round = |calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed()
    };
    let mut calls = 1;
    while round(calls) < ROUND {
        calls *= 2;
    }
    (0..ROUNDS).map(|_| round(calls) / calls).min().unwrap_or_default()
}

struct Row {
    members: u8,
    quorum: usize,
    strict: Duration,
    fresh: Duration,
    tables: Duration,
    seen: Duration,
}

fn case(members: u8) -> Case {
    Market::new(members, 4, Policy::Plurality).decide(&classes(&[285; 4]), Assurance::Robust).bare()
}

fn measure(members: u8) -> Row {
    let case = case(members);
    let (trust, certificate) = (TrustRoot::new(case.market.genesis.clone()), case.certified());
    let committee = &case.market.committee;
    let (header, _) = case.header();
    let signed: Vec<_> = (committee.faults()..committee.members.len())
        .map(|place| {
            let key = &committee.members[place].attestation;
            let signature = header.attest(&dropbear_certificates::samples::market::key(
                dropbear_certificates::samples::market::Role::Attestation(0),
                place as u8,
            ));
            let bare = VerifyingKey::from_bytes(key.as_bytes()).expect("an admitted key");
            (bare, header.signed_bytes(key), Signature::from_bytes(&signature))
        })
        .collect();
    let strict = time(|| {
        for (key, message, signature) in &signed {
            key.verify_strict(black_box(message), signature).expect("a good signature");
        }
    });
    let bytes = certificate.to_bytes();
    let tables = KeyTables::of(committee);
    let verify = |effort: &mut Effort<'_>| {
        let read = Certificate::from_bytes(black_box(&bytes)).expect("a certificate");
        black_box(read.into_verified(&trust, effort).expect("a good certificate"));
    };
    let mut memory = SeenQuorums::new(1024);
    Row {
        members,
        quorum: committee.quorum(),
        strict,
        fresh: time(|| verify(&mut Effort::default())),
        tables: time(|| verify(&mut Effort { tables: Some(&tables), ..Effort::default() })),
        seen: time(|| verify(&mut Effort { seen: Some(&mut memory), ..Effort::default() })),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn print(row: &Row) {
    let strict = micros(row.strict);
    let cell = |time: Duration| {
        format!("{:>8.1} us {:>9.0}/s {:>5.2}x", micros(time), 1e6 / micros(time), micros(time) / strict)
    };
    println!(
        "{:>3} {:>3} | {strict:>8.1} us | {} | {} | {:>6.2} us {:>9.0}/s",
        row.members,
        row.quorum,
        cell(row.fresh),
        cell(row.tables),
        micros(row.seen),
        1e6 / micros(row.seen),
    );
}

fn sizes() {
    println!("\nsizes in bytes, 1024 records a block, one common answer of four owners");
    for members in [4, 7, 31] {
        println!("  {members:>2} members: {}", case(members).certified().to_bytes().len());
    }
    let market = Market::new(4, 4, Policy::Plurality);
    let full = market.decide(&classes(&[285; 4]), Assurance::Robust);
    let bare = full.clone().bare().certified().to_bytes().len();
    let with = |keep: fn(&mut Attachments, Attachments)| {
        let case = full.clone().attach(|shown| {
            let all = std::mem::take(shown);
            keep(shown, all);
        });
        case.certified().to_bytes().len() - bare
    };
    println!("  attached to four: request {}", with(|shown, all| shown.request = all.request));
    println!("    all votes {}", with(|shown, all| shown.votes = all.votes));
    println!("    winner's vote {}", with(|shown, mut all| shown.single_votes = all.single_votes.drain(..1).collect()));
    println!("    model set {}", with(|shown, all| shown.models = all.models));
    println!("    four ballot proofs {}", with(|shown, all| shown.ballots = all.ballots));
    println!("    governance chain of two links {}", governance::chain().to_bytes().len());
    println!("  charter of four {}, genesis {}", market.charter.to_bytes().len(), market.genesis.to_bytes().len());
    for (name, case) in by_policy() {
        println!(
            "  {name}: record {}, certificate {}",
            case.record.to_bytes().len(),
            case.bare().certified().to_bytes().len()
        );
    }
}

fn main() {
    println!("  n   q |  strict x q |              fresh             |          with tables           |   quorum seen");
    for members in [4, 7, 31] {
        print(&measure(members));
    }
    sizes();
}
