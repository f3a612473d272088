//! Damage that knows the format: the input seeds a series of mutations of valid certificates. Whatever still verifies
//! says what the original said.
#![no_main]

use std::sync::LazyLock;

use dropbear_certificates::samples::mutate::{Dice, mutate};
use dropbear_certificates::samples::valid::vectors;
use dropbear_certificates::{Certificate, TrustRoot};
use libfuzzer_sys::fuzz_target;

static SOURCES: LazyLock<Vec<(Certificate, TrustRoot)>> = LazyLock::new(|| {
    let sources = vectors().into_iter().filter(|vector| vector.chain.is_none());
    let source = |vector: dropbear_certificates::samples::valid::Vector| {
        let certificate = Certificate::from_bytes(&vector.certificate).expect("a valid vector");
        (certificate, TrustRoot::new(vector.genesis))
    };
    sources.map(source).collect()
});

fuzz_target!(|seed: u64| {
    let mut dice = Dice::new(seed);
    let (source, trust) = &SOURCES[dice.below(SOURCES.len())];
    let (donor, _) = &SOURCES[dice.below(SOURCES.len())];
    let mut certificate = source.clone();
    for _ in 0..8 {
        let bytes = mutate(&certificate, donor, &mut dice);
        let Ok(read) = Certificate::from_bytes(&bytes) else { continue };
        assert_eq!(read.to_bytes(), bytes);
        if let Ok(verified) = read.verify(trust) {
            // Swapped item by item, a certificate may become its donor; never a mixture.
            let said = (verified.header(), verified.record());
            let whole = |known: &Certificate| said == (known.header(), known.record());
            assert!(whole(source) || whole(donor));
        }
        certificate = read;
    }
});
