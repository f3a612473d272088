//! Standard receipts for tools that know nothing of us.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Root;
use crate::{Trust, Verdict};

/// A certificate to expand.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The certificate.
    certificate: PathBuf,
    #[command(flatten)]
    trust: Trust,
    /// A folder for record.cbor, and for each attestation receipt-N.cose with its public key receipt-N.key (hex).
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    let root = Root::read(&args.trust)?;
    let bytes =
        std::fs::read(&args.certificate).with_context(|| format!("cannot read {}", args.certificate.display()))?;
    let verified = match root.verify(&bytes) {
        Ok(verified) => verified,
        Err(refusal) => bail!("only certificates that verify are expanded: {refusal} ({})", refusal.code()),
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let write = |name: String, content: &[u8]| {
        let path = args.out.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    write("record.cbor".into(), &verified.record_bytes())?;
    let receipts = verified.receipts();
    for (place, receipt) in verified.signers().iter().zip(&receipts) {
        write(format!("receipt-{place}.cose"), &receipt.bytes)?;
        write(format!("receipt-{place}.key"), format!("{}\n", receipt.key).as_bytes())?;
    }
    if json {
        println!("{}", json!({ "out": args.out, "receipts": receipts.len() }));
    } else {
        println!("{} receipts and record.cbor in {}", receipts.len(), args.out.display());
    }
    Ok(Verdict::Good)
}
