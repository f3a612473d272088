//! Mistakes at the command line: one clear line, and the right exit code.

use crate::harness::{Folder, dropbear, said};

fn fails(arguments: &[&str], code: i32, expected: &str) {
    let output = dropbear(arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(expected), "expected `{expected}`: {said}");
}

#[test]
fn mistakes_are_named() {
    let folder = Folder::init("identity");
    let dir = folder.dir();
    let dir = dir.to_str().unwrap();
    let genesis = folder.genesis();
    let genesis = genesis.to_str().unwrap();
    fails(&["up", "/nowhere"], 1, "dropbear init");
    fails(&["status", folder.scratch().to_str().unwrap()], 1, "holds no market");
    fails(&["init", dir, "--group", "identity"], 1, "not empty");
    fails(&["init", "/tmp/x", "--owners", "0", "--group", "identity"], 1, "--owners");
    fails(&["infer", "photo.jpg"], 2, "--trust");
    fails(&["cert", "verify", "missing.cert", "--trust", genesis], 1, "cannot read missing.cert");
    fails(&["cert", "verify", genesis, "--trust", "/nowhere.json"], 1, "cannot read /nowhere.json");
    fails(&["cert", "verify", genesis, "--trust", genesis], 1, "malformed");
    fails(&["cert", "show", genesis], 1, "not a certificate");
    fails(&["coordinator", "--config", "/nowhere.toml"], 1, "cannot read /nowhere.toml");
    fails(&["conjure"], 2, "unrecognized subcommand");
}

#[test]
fn secrets_are_private_and_their_exposure_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::init("identity");
    let key = folder.dir().join("coordinator-0/attestation.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = folder.dir().join("coordinator-0/coordinator.toml");
    fails(&["coordinator", "--config", config.to_str().unwrap()], 1, "chmod 600");
}
