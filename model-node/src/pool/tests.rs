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

    fn open(&self, _place: usize) -> Result<(), ModelError> {
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
const TIMEOUTS: Timeouts = Timeouts { infer: Duration::from_secs(30), load: Duration::from_secs(30) };

fn start<M: Model>(model: M, threads: Threads, timeouts: Timeouts) -> Result<Pool<M>, ModelError> {
    Pool::start(model, LIMITS, threads, timeouts, Metrics::register(&mut Default::default()))
}

fn job(data: &str) -> (Job<Tensor>, oneshot::Receiver<Answered>) {
    let (reply, answer) = oneshot::channel();
    let input = Tensor { data: Bytes::copy_from_slice(data.as_bytes()), ..Tensor::default() };
    (Job { input, reply }, answer)
}

fn ask<M: Model>(pool: &Pool<M>, data: &[&str]) -> Vec<Fate> {
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
    let pool = start(model, Threads { decode: 1, workers: 1 }, TIMEOUTS).unwrap();
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
    let pool = start(model, Threads { decode: 1, workers: 1 }, TIMEOUTS).unwrap();
    for _ in 0..worker::FAILURES_MAX {
        assert_eq!(ask(&pool, &["f"]), [Fate::Failed(ModelError("failed".into()))]);
    }
    ask(&pool, &["o"]);
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[test]
fn closing_drops_what_waits_and_nobody_waits_in_vain() {
    let (model, _) = Moody::new();
    let pool = start(model, THREADS, TIMEOUTS).unwrap();
    let (jobs, answers): (Vec<_>, Vec<_>) = (0..64).map(|_| job("o")).unzip();
    pool.admit(jobs).unwrap();
    drop(pool);
    for mut answer in answers {
        assert_ne!(answer.try_recv(), Err(TryRecvError::Empty), "answered or dropped");
    }
}

/// Echoes, but hangs on inputs that begin with `h`, until it is let go.
struct Hanging {
    echo: Moody,
    let_go: Mutex<mpsc::Receiver<()>>,
}

impl Model for Hanging {
    type Input = Bytes;
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        self.echo.card()
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        self.echo.open(0)
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Bytes, Unusable> {
        self.echo.prepare(&mut (), tensor)
    }

    fn infer(&self, (): &mut (), inputs: &[Bytes]) -> Result<Vec<Output>, ModelError> {
        if inputs.iter().any(|input| input.starts_with(b"h")) {
            // Ends with an error when the test is over.
            let _ = self.let_go.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        self.echo.infer(&mut (), inputs)
    }
}

const IMPATIENT: Timeouts = Timeouts { infer: Duration::from_millis(40), load: Duration::from_secs(30) };

#[test]
fn a_worker_that_hangs_is_replaced_alone_and_its_late_answer_is_nobodys() {
    let (echo, opened) = Moody::new();
    let (let_go, waits) = mpsc::channel();
    let hanging = Hanging { echo, let_go: Mutex::new(waits) };
    let pool = start(hanging, Threads { decode: 1, workers: 1 }, IMPATIENT).unwrap();
    let fates = ask(&pool, &["h1"]);
    assert!(matches!(&fates[..], [Fate::Failed(error)] if error.0.contains("did not answer within")), "{fates:?}");
    assert!(is_right("o2", &ask(&pool, &["o2"])[0]), "by the worker's successor");
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    let_go.send(()).unwrap();
    let gone = |state: &mut State<Bytes>| !state.hung.is_empty();
    drop(pool.shared.ended.wait_while(pool.shared.lock(), gone).unwrap());
    assert!(is_right("o3", &ask(&pool, &["o3"])[0]));
    assert_eq!(pool.shared.lock().live.len(), 1, "the one that came back has ended");
}

#[test]
fn of_a_batch_that_hangs_nobody_knows_who_is_to_blame() {
    let (_let_go, waits) = mpsc::channel();
    let hanging = Hanging { echo: Moody::new().0, let_go: Mutex::new(waits) };
    let pool = start(hanging, Threads { decode: 1, workers: 1 }, IMPATIENT).unwrap();
    let (first, first_answer) = job("h1");
    pool.admit(vec![first]).unwrap();
    while pool.shared.lock().runs.is_empty() {
        std::thread::yield_now();
    }
    // They gather while the worker hangs.
    let fates = ask(&pool, &["h2", "o3", "o4"]);
    assert!(matches!(first_answer.blocking_recv().unwrap().fate, Fate::Failed(_)));
    assert!(fates.iter().all(|fate| matches!(fate, Fate::Lost(_))), "{fates:?}");
}

#[test]
fn a_pool_whose_workers_all_hang_says_so() {
    let (let_go, waits) = mpsc::channel();
    let hanging = Hanging { echo: Moody::new().0, let_go: Mutex::new(waits) };
    let pool = start(hanging, Threads { decode: 1, workers: 1 }, IMPATIENT).unwrap();
    for _ in 0..HUNG_MAX {
        assert!(matches!(ask(&pool, &["h"])[..], [Fate::Failed(_)]));
    }
    drop(pool.shared.ended.wait_while(pool.shared.lock(), |state| !state.is_stuck()).unwrap());
    assert_eq!(pool.admit(vec![job("o").0]), Err(Refusal::Stuck));
    (0..HUNG_MAX).for_each(|_| let_go.send(()).unwrap());
    // Once they come back there is room for successors.
    while pool.is_stuck() {
        std::thread::yield_now();
    }
    assert!(is_right("o", &ask(&pool, &["o"])[0]));
}

/// A session that takes its thread down when it is let go.
struct Explosive(Arc<AtomicUsize>);

impl Drop for Explosive {
    fn drop(&mut self) {
        let is_first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!is_first, "the session explodes");
    }
}

/// Echoes; its first session explodes when the model fails so often that it is loaded anew.
struct Brittle(Moody, Arc<AtomicUsize>);

impl Model for Brittle {
    type Input = Bytes;
    type Preparer = ();
    type Session = Explosive;

    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<Explosive, ModelError> {
        Ok(Explosive(Arc::clone(&self.1)))
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Bytes, Unusable> {
        self.0.prepare(&mut (), tensor)
    }

    fn infer(&self, _: &mut Explosive, inputs: &[Bytes]) -> Result<Vec<Output>, ModelError> {
        self.0.infer(&mut (), inputs)
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_whoever_waits_for_its_batch_is_told() {
    let pool = start(Brittle(Moody::new().0, Arc::default()), Threads { decode: 1, workers: 1 }, TIMEOUTS).unwrap();
    let (poison, answer) = job("p");
    pool.admit(vec![poison]).unwrap();
    assert!(answer.blocking_recv().is_err(), "the handle is dropped");
    assert!(is_right("o", &ask(&pool, &["o"])[0]), "by the worker's successor");
}

/// Never loads.
struct Heavy(Moody, Mutex<mpsc::Receiver<()>>);

impl Model for Heavy {
    type Input = ();
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        // Ends with an error when the test is over.
        let _ = self.1.lock().unwrap_or_else(PoisonError::into_inner).recv();
        Ok(())
    }

    fn prepare(&self, (): &mut (), _: Tensor) -> Result<(), Unusable> {
        Ok(())
    }

    fn infer(&self, (): &mut (), _: &[()]) -> Result<Vec<Output>, ModelError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_model_that_does_not_load_in_time_is_given_up() {
    let (_never, waits) = mpsc::channel();
    let timeouts = Timeouts { load: Duration::from_millis(20), ..TIMEOUTS };
    let Err(error) = start(Heavy(Moody::new().0, Mutex::new(waits)), THREADS, timeouts) else { panic!("it loaded") };
    assert!(error.0.contains("did not load within"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_input_gets_its_own_answer_under_cancellation_and_failure(
        kinds in proptest::collection::vec((prop::sample::select(b"oooooufp".to_vec()), any::<bool>()), 1..60),
    ) {
        let pool = start(Moody::new().0, THREADS, TIMEOUTS).unwrap();
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
