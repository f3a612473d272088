//! The attestor never signs two headers for one seq, and leaves no hole.

mod market;

use dropbear_certificates::{Assurance, Digest, Header};
use dropbear_consensus::{AttestError, Attestor};
use market::Ledger;

fn headers() -> (Header, Header) {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)]);
    let executed = ledger.block(&[entry]).unwrap();
    let first = Header { seq: 1, ..executed.header.clone() };
    (first.clone(), Header { seq: 2, ..first })
}

#[test]
fn in_order_and_again_but_never_another() {
    let (first, second) = headers();
    let mut attestor = Attestor::default();
    assert_eq!(attestor.permit(&second), Err(AttestError::OutOfOrder { last: 0, found: 2 }));
    attestor.permit(&first).unwrap();
    attestor.permit(&first).unwrap();
    let other = Header { agreed_ms: first.agreed_ms + 1, ..first.clone() };
    assert_eq!(attestor.permit(&other), Err(AttestError::Conflict(1)));
    attestor.permit(&second).unwrap();
    assert_eq!(attestor.permit(&first), Err(AttestError::OutOfOrder { last: 2, found: 1 }));
}

#[test]
fn a_restart_remembers() {
    let (first, second) = headers();
    let mut attestor = Attestor::resume(Some((1, Digest::of(&first.to_bytes()))));
    let other = Header { agreed_ms: first.agreed_ms + 1, ..first.clone() };
    assert_eq!(attestor.permit(&other), Err(AttestError::Conflict(1)));
    attestor.permit(&first).unwrap();
    attestor.permit(&second).unwrap();
}
