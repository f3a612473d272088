//! The one binary: every service and every command.
fn main() {}
