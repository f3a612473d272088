use bytes::Bytes;
use dropbear_certificates::{Assurance, SecretKey};

use super::*;

const NOW_MS: u64 = 1_800_000_000_000;
const SEED: Seed = Seed([5; 32]);

/// A request as a client signs it, with the item that carries it.
struct Case {
    request: Request,
    seed: Bytes,
    input: Tensor,
    signature: Option<Bytes>,
}

fn client() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

fn case(nonce: u8) -> Case {
    let input =
        Tensor { name: "image".into(), datatype: "BYTES".into(), shape: vec![], data: Bytes::from_static(b"a photo") };
    let digest = input_digest(&input.name, &input.datatype, &input.shape, &input.data);
    let request = Request {
        genesis: Digest::of(b"genesis"),
        group: "group".into(),
        key: client().public(),
        origin: Origin::ClientSigned,
        nonce: [nonce; 16],
        commitment: RequestOpening::new(&SEED, digest).commitment(),
        expiry_ms: NOW_MS + 1000,
        demand: Assurance::Robust,
    };
    Case { request, seed: Bytes::copy_from_slice(&SEED.0), input, signature: None }
}

impl Case {
    fn item(self) -> InferItem {
        let signature = self.signature.unwrap_or_else(|| self.request.sign(&client()).to_vec().into());
        InferItem { request: self.request.statement().into(), signature, seed: self.seed, input: Some(self.input) }
    }
}

fn charter() -> Digest {
    Digest::of(b"charter")
}

fn admit_items(items: Vec<InferItem>) -> Result<AdmittedBatch, NotAdmitted> {
    let charter = convert::digest_bytes(&charter());
    admit_request(InferRequest { group: "group".into(), charter, items, want_outputs: false })
}

fn admit_request(request: InferRequest) -> Result<AdmittedBatch, NotAdmitted> {
    let (genesis, charter) = (Digest::of(b"genesis"), charter());
    let terms = Terms { genesis: &genesis, group: "group", charter: &charter, lifetime_ms_max: 60_000, now_ms: NOW_MS };
    admit(request, &terms)
}

/// The second of two requests is changed; what is said of it?
fn refused(change: impl FnOnce(&mut Case)) -> NotAdmitted {
    let mut changed = case(2);
    change(&mut changed);
    admit_items(vec![case(1).item(), changed.item()]).unwrap_err()
}

#[test]
fn a_good_batch_is_admitted_with_its_ids_and_salts() {
    let ids = [case(1).request.id(), case(2).request.id()];
    let batch = admit_items(vec![case(1).item(), case(2).item()]).unwrap();
    assert_eq!(batch.root, batch_root(&ids));
    assert_eq!(batch.items.iter().map(|item| item.id).collect::<Vec<_>>(), ids);
    assert_eq!(batch.items[0].vote_salt, SEED.salt(Field::Vote));
    assert_eq!(batch.items[1].input, case(2).input);
}

#[test]
fn another_input_or_seed_than_the_request_commits_to_is_refused() {
    assert_eq!(refused(|case| case.input.data = Bytes::from_static(b"another")), NotAdmitted::OtherInput(1));
    assert_eq!(refused(|case| case.input.shape = vec![1]), NotAdmitted::OtherInput(1));
    assert_eq!(refused(|case| case.input.name = "picture".into()), NotAdmitted::OtherInput(1));
    assert_eq!(refused(|case| case.seed = Bytes::from_static(&[6; 32])), NotAdmitted::OtherInput(1));
    assert_eq!(refused(|case| case.seed = Bytes::from_static(&[5; 31])), NotAdmitted::Item(1, "seed"));
}

#[test]
fn expiry_is_bounded_on_both_sides() {
    assert_eq!(refused(|case| case.request.expiry_ms = NOW_MS), NotAdmitted::Expired(1));
    assert_eq!(refused(|case| case.request.expiry_ms = NOW_MS + 60_001), NotAdmitted::ExpiryTooFar(1));
    let mut last = case(1);
    last.request.expiry_ms = NOW_MS + 60_000;
    assert!(admit_items(vec![last.item()]).is_ok());
}

#[test]
fn a_client_signs_its_own_requests_and_nobody_signs_minted_ones() {
    assert_eq!(refused(|case| case.signature = Some(Bytes::new())), NotAdmitted::Signature(1));
    assert_eq!(refused(|case| case.signature = Some(vec![1; 64].into())), NotAdmitted::Signature(1));
    assert_eq!(refused(|case| case.signature = Some(vec![1; 63].into())), NotAdmitted::Item(1, "signature"));
    assert_eq!(refused(|case| case.request.origin = Origin::GatewayMinted), NotAdmitted::Item(1, "signature"));
    let mut minted = case(1);
    (minted.request.origin, minted.signature) = (Origin::GatewayMinted, Some(Bytes::new()));
    assert!(admit_items(vec![minted.item()]).is_ok());
}

#[test]
fn requests_of_other_markets_and_groups_are_refused() {
    assert_eq!(refused(|case| case.request.genesis = Digest::ZERO), NotAdmitted::Foreign(1));
    assert_eq!(refused(|case| case.request.group = "other".into()), NotAdmitted::Foreign(1));
}

#[test]
fn a_batch_has_one_to_the_maximum_of_different_requests() {
    assert_eq!(admit_items(vec![]), Err(NotAdmitted::Count(0)));
    let many = vec![InferItem::default(); BATCH_REQUESTS_MAX + 1];
    assert_eq!(admit_items(many), Err(NotAdmitted::Count(BATCH_REQUESTS_MAX + 1)));
    assert_eq!(admit_items(vec![case(1).item(), case(1).item()]), Err(NotAdmitted::Twice(1)));
    assert_eq!(admit_items(vec![InferItem::default()]), Err(NotAdmitted::Item(0, "request statement")));
    assert_eq!(admit_items(vec![InferItem { input: None, ..case(1).item() }]), Err(NotAdmitted::Item(0, "input")));
}

#[test]
fn a_stale_charter_asks_for_a_retry_and_everything_else_blames_the_sender() {
    let request = |group: &str, charter: &[u8]| InferRequest {
        group: group.into(),
        charter: Bytes::copy_from_slice(charter),
        items: vec![case(1).item()],
        want_outputs: false,
    };
    let code = |request| tonic::Status::from(admit_request(request).unwrap_err()).code();
    assert_eq!(code(request("group", &[7; 32])), tonic::Code::FailedPrecondition);
    assert_eq!(code(request("group", &[7; 31])), tonic::Code::InvalidArgument);
    assert_eq!(code(request("other", charter().as_bytes())), tonic::Code::InvalidArgument);
    let status = tonic::Status::from(NotAdmitted::OtherInput(3));
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("the input is not the one that request 3 commits to"));
}
