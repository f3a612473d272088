//! The committed vectors are what the generator makes, and every file alone gives the verdict that it states.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use dropbear_certificates::samples::{example, files, json};
use dropbear_certificates::{Certificate, GovernanceChain, Refusal, TrustRoot, Verified, genesis_json};
use serde_json::Value;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn committed(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            committed(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn committed_vectors_are_the_generators() {
    let mut found = BTreeMap::new();
    committed(&testdata(), "", &mut found);
    let made = files();
    assert_eq!(found.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (name, content) in made {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parse(&found[&name]), parse(&content), "{name}: run the example `vectors`");
    }
}

#[test]
fn the_specifications_example_is_the_codes() {
    let spec = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md")).unwrap();
    assert!(example::put_into(&spec).unwrap() == spec, "run the example `vectors`");
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn verify(vector: &Value) -> Result<Verified, Refusal> {
    let trust = fs::read(testdata().join(vector["trust"].as_str().unwrap())).unwrap();
    let mut trust = TrustRoot::new(genesis_json::from_json(&trust).unwrap().0);
    if let Some(chain) = vector.get("chain") {
        trust = trust.extended(&GovernanceChain::from_bytes(&bytes(chain))?)?;
    }
    Certificate::from_bytes(&bytes(&vector["certificate"]))?.verify(&trust)
}

#[test]
fn every_vector_gets_its_verdict_and_every_rule_has_one() {
    let mut codes = BTreeSet::new();
    for folder in ["valid", "invalid"] {
        for entry in fs::read_dir(testdata().join(folder)).unwrap() {
            let vector: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            match verify(&vector) {
                Ok(verified) => assert_eq!(json::expectation(&verified), vector["expect"], "{}", vector["name"]),
                Err(refusal) => {
                    assert_eq!(vector["expect"]["code"], refusal.code(), "{}", vector["name"]);
                    codes.insert(refusal.code());
                }
            }
        }
    }
    let all = Refusal::CODES.iter().copied().filter(|code| *code != "budget-exhausted");
    assert_eq!(codes, all.collect());
}
