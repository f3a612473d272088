//! What is signed, by whom, and how anybody checks it.
