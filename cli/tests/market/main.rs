//! Whole markets of real processes, driven as users drive them.

mod asker;
mod desk;
mod faults;
mod harness;
mod honest;
mod hostile;
mod identity;
mod metrics;
mod mistakes;
mod owners;
mod paperwork;
mod tour;
mod updates;
