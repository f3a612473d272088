//! A node in a market of one owner, over real sockets, with a coordinator that keeps a real ledger.

mod ballots;
mod journal;
mod lifecycle;
mod market;
mod onnx;
mod pictures;
mod siblings;
mod stored;
mod versions;
