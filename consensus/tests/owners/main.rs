//! Owners in charge of their models and groups, on a ledger.

mod accounts;
mod charters;
#[path = "../market/mod.rs"]
mod market;
mod models;
mod signed;
