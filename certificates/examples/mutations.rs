//! Writes seeded mutations of valid certificates with our verdicts, one JSON object a line, for checking other
//! implementations against this one: `cargo run -p dropbear-certificates --example mutations -- 10000 [seed]`.
//!
//! Each line is `{ trust, chain?, certificate, expect: { ok, code? } }`, as in the vectors of `testdata/`.

use std::io::{BufWriter, Write as _};

use data_encoding::HEXLOWER;
use dropbear_certificates::samples::json::{trust_name, verdict};
use dropbear_certificates::samples::mutate::{Dice, mutate};
use dropbear_certificates::samples::valid::{Vector, vectors};
use dropbear_certificates::{Certificate, GovernanceChain, TrustRoot};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(10_000), |count| count.parse())?;
    let mut dice = Dice::new(arguments.next().map_or(Ok(1), |seed| seed.parse())?);
    let sources = sources();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for _ in 0..count {
        let (vector, certificate, trust) = &sources[dice.below(sources.len())];
        let (_, donor, _) = &sources[dice.below(sources.len())];
        let bytes = mutate(certificate, donor, &mut dice);
        let expected = match Certificate::from_bytes(&bytes).and_then(|read| read.verify(trust)) {
            Ok(_) => json!({ "ok": true }),
            Err(refusal) => json!({ "ok": false, "code": refusal.code() }),
        };
        let mut line = json!({
            "trust": trust_name(vector), "certificate": HEXLOWER.encode(&bytes), "expect": expected,
        });
        if let Some(chain) = &vector.chain {
            line["chain"] = HEXLOWER.encode(chain).into();
        }
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// The valid vectors, parsed, with their trust roots.
fn sources() -> Vec<(Vector, Certificate, TrustRoot)> {
    let source = |vector: Vector| {
        verdict(&vector).ok()?;
        let trust = TrustRoot::new(vector.genesis.clone());
        let trust = match &vector.chain {
            Some(chain) => trust.extended(&GovernanceChain::from_bytes(chain).ok()?).ok()?,
            None => trust,
        };
        Some((vector.clone(), Certificate::from_bytes(&vector.certificate).ok()?, trust))
    };
    vectors().into_iter().filter_map(source).collect()
}
