//! Sample markets with every key derived from a number, for tests, examples and benchmarks; never for use.
//!
//! Behind the feature `samples`. The test vectors in `testdata/` are made here.

pub mod conflicts;
pub mod corrupt;
pub mod example;
pub mod governance;
pub mod json;
pub mod market;
pub mod mutate;
pub mod requests;
pub mod valid;

pub use market::{Case, Market};

use alloc::collections::BTreeMap;
use alloc::string::String;

/// Every file of `testdata/`, by name.
///
/// # Panics
/// If a certificate does not get the verdict that its vector states.
#[must_use]
pub fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for vector in valid::vectors().into_iter().chain(corrupt::vectors()) {
        let found = json::verdict(&vector).err().map(|refusal| refusal.code());
        assert_eq!(found, vector.code, "vector {}", vector.name);
        files.insert(json::trust_name(&vector), json::trust_file(&vector));
        let folder = if vector.code.is_none() { "valid" } else { "invalid" };
        let twice = files.insert(alloc::format!("{folder}/{}.json", vector.name), json::vector_file(&vector));
        assert!(twice.is_none(), "two vectors named {}", vector.name);
    }
    for pair in conflicts::pairs() {
        let trust = alloc::format!("trust-{}.json", pair.genesis.digest().short());
        files.insert(alloc::format!("conflicts/{}.json", pair.name), conflicts::pair_file(&pair, &trust));
    }
    files.insert("requests.json".into(), requests::requests_file());
    files
}
