//! Verification of raw bytes against a market whose keys the fuzzer does not have. Start it from the vectors: decode the
//! `certificate` of each file in `testdata/` into a file of `fuzz/corpus/verify/`. Nothing verifies but what a quorum
//! signed.
#![no_main]

use std::sync::LazyLock;

use dropbear_certificates::samples::valid::common;
use dropbear_certificates::{Certificate, TrustRoot};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<TrustRoot> = LazyLock::new(|| TrustRoot::new(common().market.genesis));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(verified) = Certificate::from_bytes(bytes).and_then(|read| read.verify(&TRUST)) {
        assert!(verified.signers().len() >= verified.committee().quorum());
        assert!(verified.record().follows());
        let _ = (verified.receipts(), verified.result(), verified.provenance());
    }
});
