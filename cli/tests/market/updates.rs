//! Owners that update all the time, under load: the history is checked, and no request fails.

use serde_json::{Value, json};

use crate::harness::{alone, dropbear, said};

#[tokio::test(flavor = "multi_thread")]
async fn updates_under_load_break_no_promise() {
    let _alone = alone().await;
    let kept = tempfile::tempdir().unwrap();
    let keep = kept.path().to_str().unwrap();
    let live =
        ["--json", "bench", "history", "--seconds", "10", "--activations", "20", "--clients", "4", "--keep", keep];
    let ran = dropbear(&live);
    assert!(ran.status.success(), "{}", said(&ran));
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    // Each owner activated its first version before.
    assert_eq!((&report["activations"], &report["failed"], &report["violations"]), (&json!(24), &json!(0), &json!({})));
    assert!(report["certificates"].as_u64().unwrap() > 20, "{report}");

    // What was kept can be checked by anybody, and says so if it is tampered with.
    let [log, ledger, genesis] = ["log.jsonl", "ledger.bin", "genesis.json"].map(|name| kept.path().join(name));
    let check = || {
        let files = [&log, &ledger, &genesis].map(|path| path.to_str().unwrap());
        dropbear(&["bench", "history", "--log", files[0], "--ledger", files[1], "--trust", files[2]])
    };
    let green = check();
    assert!(green.status.success() && said(&green).contains("GREEN"), "{}", said(&green));
    let mut bytes = std::fs::read(&ledger).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&ledger, bytes).unwrap();
    let red = check();
    assert!(!red.status.success() && said(&red).contains("RED"), "{}", said(&red));
}
