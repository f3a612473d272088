//! The history checker on ledgers of known honesty: whatever is planted is caught, and named.

mod honest;
mod market;
mod planted;
