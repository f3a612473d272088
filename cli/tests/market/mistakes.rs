//! Mistakes at the command line: one clear line, and the right exit code.

use std::process::Command;

use crate::harness::{DROPBEAR, Folder, dropbear, said};

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

/// A service with one line of its configuration replaced fails with one clear line.
fn refuses(folder: &Folder, service: &str, kind: &str, line: (&str, &str), expected: &str) {
    let config = folder.dir().join(service).join(format!("{kind}.toml"));
    let (from, to) = line;
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let changed = config.with_file_name("changed.toml");
    std::fs::write(&changed, text.replace(from, to)).unwrap();
    // A service that takes it would run for ever: `timeout` then exits with 124.
    let output = Command::new("timeout").args(["20", DROPBEAR, kind, "--config"]).arg(&changed).output().unwrap();
    let said = said(&output);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("dropbear: ")).collect();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        errors.len() == 1 && said.ends_with(&format!("{}\n", errors[0])) && errors[0].contains(expected),
        "expected one line with `{expected}`: {said}"
    );
}

#[test]
fn services_refuse_what_they_cannot_use_with_one_line() {
    let folder = Folder::init("identity");
    let services = [("coordinator-0", "coordinator"), ("alder", "model-node"), ("gateway", "gateway")];
    for (service, kind) in services {
        refuses(&folder, service, kind, ("../genesis.json", "../nowhere.json"), "nowhere.json");
    }
    // Another's key.
    std::fs::copy(folder.dir().join("alder/owner.key"), folder.dir().join("gateway/alder.key")).unwrap();
    std::fs::copy(folder.dir().join("alder/owner.key"), folder.dir().join("coordinator-0/alder.key")).unwrap();
    std::fs::copy(folder.dir().join("birch/owner.key"), folder.dir().join("alder/birch.key")).unwrap();
    refuses(&folder, "gateway", "gateway", ("gateway.key", "alder.key"), "no gateway `gateway` with the key in");
    refuses(&folder, "coordinator-0", "coordinator", ("attestation.key", "alder.key"), "key");
    refuses(&folder, "alder", "model-node", ("owner.key", "birch.key"), "key");
    // No place to write: /proc takes no folders from anybody, not even from root.
    for (service, kind) in &services[..2] {
        let read_only = "data_dir = \"/proc/dropbear\"";
        refuses(&folder, service, kind, ("data_dir = \"data\"", read_only), "/proc/dropbear");
    }
    // Ports that others have.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let base = folder.port_base;
    for ((service, kind), port) in services.into_iter().zip([base + 10, base + 300, base]) {
        refuses(&folder, service, kind, (&format!("127.0.0.1:{port}\""), &format!("{taken}\"")), &taken);
    }
}
