//! Measurements printed beside their baseline, taken in one run.
//!
//! A figure alone says little on a shared machine. Everything here is measured in pairs, interleaved, and printed with its
//! spread: [`overhead`] puts certified answers beside uncertified ones of the same market, and beside the bare models;
//! [`owners`] puts a group with a troublesome owner beside the same group when all is well; [`node`] puts model nodes beside
//! sessions of the same model; [`soak`] keeps a market busy and watches what it holds on to; [`ordering`] takes a committee
//! of coordinators alone to its limit; [`chaos`] breaks one coordinator after the other, and measures how soon that is over.
//! [`history`] measures nothing: it checks that what a market did is what it promised.

pub mod batches;
pub mod chaos;
pub mod delay;
pub mod flame;
pub mod history;
pub mod load;
pub mod node;
pub mod ordering;
pub mod overhead;
pub mod owners;
mod pace;
pub mod process;
pub mod scrape;
pub mod soak;
pub mod spread;
