//! Certificates, offline: what they prove, by whom, and what not.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use dropbear_certificates::genesis_json::LabelTables;
use dropbear_certificates::request::input_digest;
use dropbear_certificates::{Certificate, Charter, Digest, Origin, Outcome, Record, TrustRoot, Verified, Vote};
use dropbear_wire::files::read_genesis;
use serde_json::json;

use crate::{Trust, Verdict};

/// Verify and show certificates.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Verify certificates against a trust root, offline; exit 1 if any is refused.
    Verify(VerifyArgs),
    /// Show what certificates say, without verifying it.
    Show {
        /// Certificate files.
        #[arg(required = true)]
        certificates: Vec<PathBuf>,
    },
}

/// What to verify, and what it should be about.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Certificate files.
    #[arg(required = true)]
    certificates: Vec<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    /// The image that the answer must be about.
    #[arg(long)]
    image: Option<PathBuf>,
    /// The label, or the class number, that the answer must be.
    #[arg(long)]
    label: Option<String>,
}

/// A trust root with the label tables that its charters name.
pub(crate) struct Root {
    trust: TrustRoot,
    labels: LabelTables,
}

impl Root {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let (genesis, labels) = read_genesis(path)?;
        Ok(Self { trust: TrustRoot::new(genesis), labels })
    }

    /// The class's label, or its number where the charter has no labels.
    pub(crate) fn label(&self, charter: &Charter, class: u32) -> String {
        let table = charter.labels.and_then(|digest| self.labels.get(&digest));
        let label = table.and_then(|table| table.get(class as usize));
        label.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Verifies certificate bytes.
    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<Verified, dropbear_certificates::Refusal> {
        Certificate::from_bytes(bytes)?.verify(&self.trust)
    }
}

/// The digest of an image as clients send it: one BYTES element named `image`.
pub(crate) fn image_digest(image: &[u8]) -> Digest {
    input_digest("image", "BYTES", &[], image)
}

/// Why a certificate is not accepted: a stable code and a sentence.
struct Refused {
    code: &'static str,
    reason: String,
}

pub(crate) fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Verify(args) => verify(&args, json),
        Command::Show { certificates } => show(&certificates),
    }
}

fn verify(args: &VerifyArgs, json: bool) -> anyhow::Result<Verdict> {
    let root = Root::read(&args.trust.trust)?;
    let image = match &args.image {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(image_digest(&bytes))
        }
        None => None,
    };
    let mut verdict = Verdict::Good;
    for path in &args.certificates {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        match check(&root, &bytes, image.as_ref(), args.label.as_deref()) {
            Ok(verified) if json => println!("{}", proven_json(&root, path, &verified)),
            Ok(verified) => println!("VERIFIED  {}\n{}", path.display(), statement(&root, &verified, image.is_some())),
            Err(Refused { code, reason }) => {
                verdict = Verdict::Bad;
                if json {
                    println!("{}", json!({ "file": path, "verified": false, "code": code, "reason": reason }));
                } else {
                    println!("REFUSED   {}\n  {reason} ({code})", path.display());
                }
            }
        }
    }
    Ok(verdict)
}

fn check(root: &Root, bytes: &[u8], image: Option<&Digest>, label: Option<&str>) -> Result<Verified, Refused> {
    let refused = |code, reason: &str| Refused { code, reason: reason.to_owned() };
    let verified =
        root.verify(bytes).map_err(|refusal| Refused { code: refusal.code(), reason: refusal.to_string() })?;
    match image.map(|image| verified.is_about(image)) {
        Some(Some(false)) => return Err(refused("other-image", "the certificate is about another image")),
        Some(None) => {
            return Err(refused(
                "request-hidden",
                "the certificate does not show its request: it cannot be held against the image",
            ));
        }
        _ => {}
    }
    if let Some(expected) = label {
        match verified.class() {
            Some(class) if expected == class.to_string() || expected == root.label(verified.charter(), class) => {}
            Some(class) => {
                let found = root.label(verified.charter(), class);
                return Err(refused(
                    "other-label",
                    &format!("the certified answer is \"{found}\", not \"{expected}\""),
                ));
            }
            None if verified.record().outcome == Outcome::NoAgreement => {
                return Err(refused("no-agreement", "the models did not agree: no label is certified"));
            }
            None => return Err(refused("votes-hidden", "the certificate does not show its votes: it names no label")),
        }
    }
    Ok(verified)
}

fn names(charter: &Charter, owners: impl Iterator<Item = usize>) -> String {
    let names: Vec<_> = owners.map(|place| charter.roster[place].owner.as_str()).collect();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

/// What a verified certificate proves, for people.
fn statement(root: &Root, verified: &Verified, image_given: bool) -> String {
    let (record, charter) = (verified.record(), verified.charter());
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    line("answer", answer(root, verified));
    for (votes, owners) in votes(root, verified) {
        line("votes", format!("{votes}: {owners}"));
    }
    line("request", request(verified, image_given));
    match &verified.attachments().models {
        Some(models) => {
            let versions = models.0.iter().enumerate().filter_map(|(place, version)| {
                let version = version.as_ref()?;
                Some(format!("{} {} {}", charter.roster[place].owner, version.model, version.digest.short()))
            });
            line("models", versions.collect::<Vec<_>>().join("; "));
        }
        None => line("models", format!("the set {} (not shown)", record.model_set.short())),
    }
    let members = &root.trust.genesis().committee.members;
    let signers: Vec<_> = verified.signers().iter().map(|place| members[*place].name.as_str()).collect();
    let quorum = root.trust.genesis().committee.quorum();
    line("attested by", format!("{} ({} of {}, quorum {quorum})", signers.join(", "), signers.len(), members.len()));
    line("when", format!("{}, block {}, leaf {}", time(record.agreed_ms), record.seq, record.leaf_index));
    line("trust root", format!("genesis {}, made {}", record.genesis, time(root.trust.genesis().created_ms)));
    line("not proven", "that the named weights computed these votes; that the owners are independent".into());
    line("", "of each other (they disclose it); that nobody asked before under another nonce.".into());
    text
}

fn answer(root: &Root, verified: &Verified) -> String {
    let record = verified.record();
    let demand = record.demand.name();
    match (record.outcome, verified.class()) {
        (Outcome::Agreed, Some(class)) => {
            let label = root.label(verified.charter(), class);
            format!("\"{label}\" (class {class}), {} ({demand} was demanded)", record.assurance)
        }
        (Outcome::Agreed, None) => format!("agreed, {}; the votes are not shown", record.assurance),
        (Outcome::NoAgreement, _) => format!("no agreement: the votes cannot reach {demand}"),
    }
}

fn votes(root: &Root, verified: &Verified) -> Vec<(String, String)> {
    let (record, charter) = (verified.record(), verified.charter());
    let mut shown = verified.attachments().votes.iter().flat_map(|votes| &votes.votes);
    let name = |group: &dropbear_certificates::record::VoteGroup| match group.commitment {
        None => "no answer".to_owned(),
        Some(commitment) => match shown.next() {
            Some(Vote::Class(class)) => root.label(charter, *class),
            Some(_) => "an answer".to_owned(),
            None => format!("hidden vote {}", commitment.short()),
        },
    };
    let groups = record.votes.iter().map(name).collect::<Vec<_>>();
    let mut lines: Vec<_> = groups
        .into_iter()
        .zip(&record.votes)
        .map(|(name, group)| (name, names(charter, group.owners.iter())))
        .collect();
    let voted = |place: &usize| record.votes.iter().any(|group| group.owners.contains(*place));
    let missing: Vec<_> = (0..charter.roster.len()).filter(|place| !voted(place)).collect();
    if !missing.is_empty() {
        lines.push(("missing".into(), names(charter, missing.into_iter())));
    }
    lines
}

fn request(verified: &Verified, image_given: bool) -> String {
    let record = verified.record();
    let origin = match record.origin {
        Origin::ClientSigned => "signed by the client",
        Origin::GatewayMinted => "named by the gateway (says nothing about who asked, or how often)",
    };
    let about = match (&verified.attachments().request, image_given) {
        (Some(_), true) => "about the given image; ",
        (Some(request), false) => return format!("about input {}; {origin}", request.opening.input),
        (None, _) => "input not shown; ",
    };
    format!("{about}{origin}")
}

fn time(unix_ms: u64) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms);
    let stamp = humantime::format_rfc3339_seconds(then);
    match SystemTime::now().duration_since(then) {
        Ok(age) => format!("{stamp} ({} ago)", humantime::format_duration(Duration::from_secs(age.as_secs()))),
        Err(_) => format!("{stamp} (in the future by this clock)"),
    }
}

fn record_json(record: &Record) -> serde_json::Value {
    let group = |group: &dropbear_certificates::record::VoteGroup| {
        json!({
            "commitment": group.commitment.map(|commitment| commitment.to_string()),
            "owners": group.owners.iter().collect::<Vec<_>>(),
        })
    };
    json!({
        "genesis": record.genesis.to_string(), "epoch": record.epoch, "config": record.config.to_string(),
        "group": record.group, "charter": record.charter.to_string(), "model_set": record.model_set.to_string(),
        "request_id": record.request.to_string(), "request_commitment": record.commitment.to_string(),
        "expiry_ms": record.expiry_ms,
        "origin": match record.origin { Origin::ClientSigned => "client", Origin::GatewayMinted => "gateway" },
        "policy": record.policy.name(), "owners": record.owners, "fault_bound": record.faults,
        "demand": record.demand.name(), "votes": record.votes.iter().map(group).collect::<Vec<_>>(),
        "outcome": record.outcome.name(), "assurance": record.assurance.name(),
        "ballots_root": record.ballots.to_string(), "seq": record.seq, "leaf_index": record.leaf_index,
        "agreed_ms": record.agreed_ms,
    })
}

fn proven_json(root: &Root, path: &Path, verified: &Verified) -> serde_json::Value {
    let class = verified.class();
    json!({
        "file": path, "verified": true,
        "class": class, "label": class.map(|class| root.label(verified.charter(), class)),
        "signers": verified.signers(), "record": record_json(verified.record()),
    })
}

fn show(certificates: &[PathBuf]) -> anyhow::Result<Verdict> {
    for path in certificates {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let certificate = match Certificate::from_bytes(&bytes) {
            Ok(certificate) => certificate,
            Err(refusal) => bail!("{}: {refusal}", path.display()),
        };
        let header = certificate.header();
        let shown = json!({
            "file": path, "verified": false, "bytes": bytes.len(), "id": certificate.id().to_string(),
            "header": {
                "genesis": header.genesis.to_string(), "epoch": header.epoch, "config": header.config.to_string(),
                "seq": header.seq, "tree_size": header.tree_size, "ledger_root": header.ledger_root.to_string(),
                "governance_seq": header.governance_seq, "agreed_ms": header.agreed_ms,
                "record_root": header.record_root.to_string(),
            },
            "record": record_json(certificate.record()),
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
    }
    Ok(Verdict::Good)
}
