//! The ledger's rules: entries, blocks, the registry, the attestor and the store behind a trait.
