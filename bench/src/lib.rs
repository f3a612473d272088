//! Measurements printed beside their baseline, taken in one run.
//!
//! A figure alone says little on a shared machine. Everything here is measured in pairs, interleaved, and printed with its
//! spread: [`overhead`] puts certified answers beside uncertified ones of the same market, and beside the bare models;
//! [`soak`] keeps a market busy and watches what it holds on to. [`history`] measures nothing: it checks that what a market
//! did is what it promised.

pub mod history;
pub mod load;
pub mod overhead;
pub mod scrape;
pub mod soak;
