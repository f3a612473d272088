use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dropbear_certificates::Digest;
use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::model::ModelCard;

/// Answers each input with itself, and misbehaves on inputs that ask for it.
#[derive(Debug)]
struct Moody {
    card: ModelCard,
    opened: Arc<AtomicUsize>,
}

impl Moody {
    fn new() -> (Self, Arc<AtomicUsize>) {
        let (name, label, opened) = ("moody".into(), "1".into(), Arc::default());
        let card =
            ModelCard { name, label, version: Digest::ZERO, task: "identity", classes: None, backend: "identity" };
        (Self { card, opened: Arc::clone(&opened) }, opened)
    }
}

impl Model for Moody {
    type Input = Bytes;
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn preparer(&self) {}

    fn open(&self) -> Result<(), ModelError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Bytes, Unusable> {
        match tensor.data.first() {
            Some(b'u') => Err(Unusable("unusable".into())),
            Some(b'd') => panic!("the decoder panics"),
            _ => Ok(tensor.data),
        }
    }

    fn infer(&self, (): &mut (), inputs: &[Bytes]) -> Result<Vec<Output>, ModelError> {
        match inputs.iter().filter_map(|input| input.first()).find(|kind| b"pf".contains(kind)) {
            Some(b'p') => panic!("the model panics"),
            Some(_) => Err(ModelError("failed".into())),
            None => Ok(inputs.iter().cloned().map(Output::Canonical).collect()),
        }
    }
}

const LIMITS: Limits = Limits { batch_size_max: 4, batch_delay_us: 50, queue_items_max: 64 };
const THREADS: Threads = Threads { decode: 2, workers: 2 };

fn job(data: &str) -> (Job<Tensor>, oneshot::Receiver<Answered>) {
    let (reply, answer) = oneshot::channel();
    let input = Tensor { data: Bytes::copy_from_slice(data.as_bytes()), ..Tensor::default() };
    (Job { input, reply }, answer)
}

fn ask(pool: &Pool<Moody>, data: &[&str]) -> Vec<Fate> {
    let (jobs, answers): (Vec<_>, Vec<_>) = data.iter().map(|data| job(data)).unzip();
    pool.admit(jobs).unwrap();
    answers.into_iter().map(|answer| answer.blocking_recv().unwrap().fate).collect()
}

fn is_right(data: &str, fate: &Fate) -> bool {
    match (data.as_bytes()[0], fate) {
        (b'u' | b'd', Fate::Unusable(_)) | (b'p' | b'f', Fate::Failed(_)) => true,
        (b'o', Fate::Output(output)) => output.bytes() == data.as_bytes(),
        _ => false,
    }
}

#[test]
fn one_bad_input_fails_alone_and_the_session_is_replaced_after_a_panic() {
    let (model, opened) = Moody::new();
    let pool =
        Pool::start(model, LIMITS, Threads { decode: 1, workers: 1 }, Metrics::register(&mut Default::default()))
            .unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    let data = ["o1", "p2", "o3", "u4", "d5", "f6", "o7"];
    for (data, fate) in data.iter().zip(ask(&pool, &data)) {
        assert!(is_right(data, &fate), "{data}: {fate:?}");
    }
    assert!(opened.load(Ordering::SeqCst) > 1, "loaded anew");
}

#[test]
fn a_worker_that_keeps_failing_loads_its_model_anew() {
    let (model, opened) = Moody::new();
    let pool =
        Pool::start(model, LIMITS, Threads { decode: 1, workers: 1 }, Metrics::register(&mut Default::default()))
            .unwrap();
    for _ in 0..FAILURES_MAX {
        assert_eq!(ask(&pool, &["f"]), [Fate::Failed(ModelError("failed".into()))]);
    }
    ask(&pool, &["o"]);
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[test]
fn closing_drops_what_waits_and_nobody_waits_in_vain() {
    let (model, _) = Moody::new();
    let pool = Pool::start(model, LIMITS, THREADS, Metrics::register(&mut Default::default())).unwrap();
    let (jobs, answers): (Vec<_>, Vec<_>) = (0..64).map(|_| job("o")).unzip();
    pool.admit(jobs).unwrap();
    drop(pool);
    for mut answer in answers {
        assert_ne!(answer.try_recv(), Err(TryRecvError::Empty), "answered or dropped");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_input_gets_its_own_answer_under_cancellation_and_failure(
        kinds in proptest::collection::vec((prop::sample::select(b"oooooufp".to_vec()), any::<bool>()), 1..60),
    ) {
        let pool = Pool::start(Moody::new().0, LIMITS, THREADS, Metrics::register(&mut Default::default())).unwrap();
        let mut waiting = BTreeMap::new();
        for (number, (kind, stays)) in kinds.into_iter().enumerate() {
            let data = format!("{}{number}", char::from(kind));
            let (job, answer) = job(&data);
            pool.admit(vec![job]).unwrap();
            if stays {
                waiting.insert(data, answer);
            }
        }
        for (data, answer) in waiting {
            let fate = answer.blocking_recv().unwrap().fate;
            prop_assert!(is_right(&data, &fate), "{}: {:?}", data, fate);
        }
    }
}
