//! Members that break the rules: each takes the place of a replica that runs no engine of its own.

mod contradict;
mod equivocate;
mod garbage;
mod replay;
mod twins;
