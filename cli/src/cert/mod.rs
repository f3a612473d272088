//! Certificates, offline: what they prove, by whom, and what not.

mod conflict;
mod expand;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use dropbear_certificates::chain::GovernanceChain;
use dropbear_certificates::effort::{Effort, KeyTables, SeenQuorums};
use dropbear_certificates::genesis_json::LabelTables;
use dropbear_certificates::request::input_digest;
use dropbear_certificates::{Certificate, Charter, Digest, Outcome, TrustRoot, Verified};
use dropbear_wire::files::read_genesis;
use serde_json::json;

use crate::{Trust, Verdict};
use report::{proven_json, record_json, statement};

/// Verify and show certificates.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Verify certificates against a trust root, offline; exit 1 if any is refused.
    Verify(VerifyArgs),
    /// Whether two certificates contradict each other, and whose keys are then guilty.
    Conflict(conflict::Args),
    /// Expand a certificate into standard receipts (RFC 9942), one per attestation.
    Expand(expand::Args),
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
    pub(crate) fn read(trust: &Trust) -> anyhow::Result<Self> {
        let root = Self::of_genesis(&trust.trust)?;
        let Some(path) = &trust.chain else { return Ok(root) };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let extended = GovernanceChain::from_bytes(&bytes).and_then(|chain| root.trust.extended(&chain));
        match extended {
            Ok(trust) => Ok(Self { trust, ..root }),
            Err(refusal) => bail!("the governance chain {} is refused: {refusal}", path.display()),
        }
    }

    pub(crate) fn of_genesis(path: &Path) -> anyhow::Result<Self> {
        let (genesis, labels) = read_genesis(path)?;
        Ok(Self { trust: TrustRoot::new(genesis), labels })
    }

    /// The class's label, or its number where the charter has no labels.
    pub(crate) fn label(&self, charter: &Charter, class: u32) -> String {
        let table = charter.labels.and_then(|digest| self.labels.get(&digest));
        let label = table.and_then(|table| table.get(class as usize));
        label.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// The genesis digest.
    pub(crate) fn digest(&self) -> Digest {
        self.trust.digest()
    }

    /// The charter of a group, as genesis has it.
    pub(crate) fn charter(&self, group: &str) -> anyhow::Result<&Charter> {
        let charter = self.trust.genesis().charters.iter().find(|charter| charter.group == group);
        charter.with_context(|| format!("the trust root knows no group `{group}`"))
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
        Command::Conflict(args) => conflict::run(&args, json),
        Command::Expand(args) => expand::run(&args, json),
        Command::Show { certificates } => show(&certificates),
    }
}

/// The certificates that are named: files, and every `*.cert` in folders.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        found.retain(|file| file.extension().is_some_and(|extension| extension == "cert"));
        if found.is_empty() {
            bail!("{} holds no *.cert files", path.display());
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn verify(args: &VerifyArgs, json: bool) -> anyhow::Result<Verdict> {
    let root = Root::read(&args.trust)?;
    let image = match &args.image {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(image_digest(&bytes))
        }
        None => None,
    };
    let files = files(&args.certificates)?;
    // One certificate is told in full; many by a summary, and by name where one is refused.
    let in_full = files.len() == 1;
    let mut progress = Progress::new(files.len());
    let mut checker = Checker::new(&root, files.len());
    for path in &files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let checked = checker.check(&bytes, image.as_ref(), args.label.as_deref());
        progress.count(checked.is_ok());
        match checked {
            Ok(verified) if json => println!("{}", proven_json(&root, path, &verified)),
            Ok(verified) if in_full => {
                println!("VERIFIED  {}\n{}", path.display(), statement(&root, &verified, image.is_some()));
            }
            Ok(_) => {}
            Err(Refused { code, reason }) if json => {
                println!("{}", json!({ "file": path, "verified": false, "code": code, "reason": reason }));
            }
            Err(Refused { code, reason }) => println!("REFUSED   {}\n  {reason} ({code})", path.display()),
        }
    }
    if !in_full && !json {
        println!("{}", progress.summary());
    }
    Ok(if progress.refused == 0 { Verdict::Good } else { Verdict::Bad })
}

/// Counts, and tells people on standard error that something happens.
struct Progress {
    total: usize,
    verified: usize,
    refused: usize,
    started: Instant,
}

/// How often progress is told, in certificates.
const PROGRESS_EVERY: usize = 1000;

impl Progress {
    fn new(total: usize) -> Self {
        Self { total, verified: 0, refused: 0, started: Instant::now() }
    }

    fn count(&mut self, verified: bool) {
        self.verified += usize::from(verified);
        self.refused += usize::from(!verified);
        let done = self.verified + self.refused;
        if done.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("{done} of {}", self.total);
        }
    }

    fn summary(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let per_second = self.total as f64 / seconds;
        format!(
            "{} verified, {} refused, in {seconds:.2} s ({per_second:.0} certificates/s on one core, files read included)",
            self.verified, self.refused
        )
    }
}

/// Verifies many certificates faster than one by one, with the same verdicts.
struct Checker<'a> {
    root: &'a Root,
    seen: SeenQuorums,
    /// Tables pay off from a few dozen certificates on.
    tables: Option<KeyTables>,
}

/// Blocks whose quorum is remembered.
const QUORUMS_SEEN_MAX: usize = 4096;
/// From this many certificates on, tables are made.
const TABLES_FROM: usize = 64;

impl<'a> Checker<'a> {
    fn new(root: &'a Root, certificates: usize) -> Self {
        let committee = &root.trust.genesis().committee;
        let tables = (certificates >= TABLES_FROM).then(|| KeyTables::of(committee));
        Self { root, seen: SeenQuorums::new(QUORUMS_SEEN_MAX), tables }
    }

    fn check(&mut self, bytes: &[u8], image: Option<&Digest>, label: Option<&str>) -> Result<Verified, Refused> {
        let mut effort = Effort { tables: self.tables.as_ref(), seen: Some(&mut self.seen), ..Effort::default() };
        let verified = Certificate::from_bytes(bytes)
            .and_then(|certificate| certificate.into_verified(&self.root.trust, &mut effort))
            .map_err(|refusal| Refused { code: refusal.code(), reason: refusal.to_string() })?;
        fits(self.root, verified, image, label)
    }
}

/// Holds a verified certificate against what it should be about.
fn fits(root: &Root, verified: Verified, image: Option<&Digest>, label: Option<&str>) -> Result<Verified, Refused> {
    let refused = |code, reason: &str| Refused { code, reason: reason.to_owned() };
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
