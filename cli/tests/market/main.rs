//! Whole markets of real processes, driven as users drive them.

mod harness;
mod honest;
mod hostile;
mod identity;
mod mistakes;
