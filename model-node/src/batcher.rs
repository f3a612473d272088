//! The dynamic batcher: which input is prepared next, and when which inputs become one run of the model.
//!
//! Pure: time is an argument, threads are the pool's business. Only an idle worker asks for a batch, so inputs gather
//! exactly while all workers are busy. An idle worker takes what is ready at once, unless more is being prepared: then
//! it waits for a fuller batch, but never longer than the delay.

use std::collections::VecDeque;

use serde::Deserialize;

/// Bounds of the batcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// The model runs on at most this many inputs at once.
    pub batch_size_max: usize,
    /// An idle worker waits at most this long for inputs that are being prepared.
    pub batch_delay_us: u64,
    /// At most this many inputs wait or are prepared.
    pub queue_items_max: usize,
}

/// Something whose asker may have gone away.
pub trait Cancel {
    /// Whether nobody waits for it any more.
    fn is_cancelled(&self) -> bool;
}

/// There is no room; try again later, or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full: {waiting} of {queue_items_max} inputs wait, {asked} more do not fit; ask again later")]
pub struct QueueFull {
    /// Inputs in the queue.
    pub waiting: usize,
    /// Inputs asked to be queued.
    pub asked: usize,
    /// The bound.
    pub queue_items_max: usize,
}

/// What an idle worker should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<P> {
    /// Run the model on these.
    Run(Vec<P>),
    /// Ask again when something was prepared, or at this time in microseconds.
    WaitUntil(u64),
    /// Ask again when something was prepared.
    Idle,
}

/// Inputs on their way to the model: raw (`R`), being prepared, prepared (`P`).
#[derive(Debug)]
pub struct Batcher<R, P> {
    limits: Limits,
    raw: VecDeque<R>,
    preparing: usize,
    /// With the time at which each was prepared.
    ready: VecDeque<(u64, P)>,
}

impl<R: Cancel, P: Cancel> Batcher<R, P> {
    /// An empty batcher.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, raw: VecDeque::new(), preparing: 0, ready: VecDeque::new() }
    }

    /// Inputs that wait or are being prepared.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.raw.len() + self.preparing + self.ready.len()
    }

    /// Takes all of `inputs`, or none.
    ///
    /// # Errors
    /// [`QueueFull`] if they do not fit.
    pub fn admit(&mut self, inputs: Vec<R>) -> Result<(), QueueFull> {
        let (waiting, asked) = (self.waiting(), inputs.len());
        let queue_items_max = self.limits.queue_items_max;
        if asked > queue_items_max.saturating_sub(waiting) {
            return Err(QueueFull { waiting, asked, queue_items_max });
        }
        self.raw.extend(inputs);
        Ok(())
    }

    /// The next input to prepare; [`Batcher::prepared`] must follow.
    pub fn next_raw(&mut self) -> Option<R> {
        while let Some(input) = self.raw.pop_front() {
            if !input.is_cancelled() {
                self.preparing += 1;
                return Some(input);
            }
        }
        None
    }

    /// One input was prepared; `None` if it was unusable.
    pub fn prepared(&mut self, now_us: u64, input: Option<P>) {
        debug_assert!(self.preparing > 0, "nothing was being prepared");
        self.preparing -= 1;
        self.ready.extend(input.map(|input| (now_us, input)));
    }

    /// What an idle worker should do now.
    pub fn step(&mut self, now_us: u64) -> Step<P> {
        self.ready.retain(|(_, input)| !input.is_cancelled());
        let Some((since_us, _)) = self.ready.front() else { return Step::Idle };
        let due_us = since_us.saturating_add(self.limits.batch_delay_us);
        let more_to_come = self.preparing > 0 || !self.raw.is_empty();
        if more_to_come && self.ready.len() < self.limits.batch_size_max && now_us < due_us {
            return Step::WaitUntil(due_us);
        }
        let size = self.ready.len().min(self.limits.batch_size_max.max(1));
        Step::Run(self.ready.drain(..size).map(|(_, input)| input).collect())
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { batch_size_max: 3, batch_delay_us: 100, queue_items_max: 5 };

    /// An input with a number, cancelled when its number is on the list.
    #[derive(Clone, Debug)]
    struct Input(u32, Rc<RefCell<BTreeSet<u32>>>);

    impl Cancel for Input {
        fn is_cancelled(&self) -> bool {
            self.1.borrow().contains(&self.0)
        }
    }

    struct Market {
        batcher: Batcher<Input, Input>,
        cancelled: Rc<RefCell<BTreeSet<u32>>>,
        preparing: Vec<Input>,
    }

    impl Market {
        fn new() -> Self {
            Self { batcher: Batcher::new(LIMITS), cancelled: Rc::default(), preparing: Vec::new() }
        }

        fn admit(&mut self, numbers: std::ops::Range<u32>) -> Result<(), QueueFull> {
            self.batcher.admit(numbers.map(|number| Input(number, Rc::clone(&self.cancelled))).collect())
        }

        fn begin(&mut self) {
            self.preparing.extend(self.batcher.next_raw());
        }

        fn prepare(&mut self, now_us: u64) {
            self.begin();
            let input = self.preparing.pop();
            self.batcher.prepared(now_us, input);
        }

        fn step(&mut self, now_us: u64) -> Step<u32> {
            match self.batcher.step(now_us) {
                Step::Run(inputs) => Step::Run(inputs.into_iter().map(|Input(number, _)| number).collect()),
                Step::WaitUntil(due_us) => Step::WaitUntil(due_us),
                Step::Idle => Step::Idle,
            }
        }
    }

    #[test]
    fn a_lone_input_runs_at_once() {
        let mut market = Market::new();
        market.admit(0..1).unwrap();
        assert_eq!(market.step(0), Step::Idle);
        market.prepare(5);
        assert_eq!(market.step(5), Step::Run(vec![0]));
        assert_eq!(market.step(6), Step::Idle);
    }

    #[test]
    fn an_idle_worker_waits_for_what_is_being_prepared_until_the_delay_or_a_full_batch() {
        let mut market = Market::new();
        market.admit(0..5).unwrap();
        market.prepare(10);
        assert_eq!(market.step(20), Step::WaitUntil(110));
        assert_eq!(market.step(110), Step::Run(vec![0]));
        (0..3).for_each(|_| market.prepare(120));
        assert_eq!(market.step(121), Step::Run(vec![1, 2, 3]), "full before the delay");
        market.prepare(130);
        assert_eq!(market.step(130), Step::Run(vec![4]), "nothing else is coming");
    }

    #[test]
    fn inputs_gather_while_workers_are_busy() {
        let mut market = Market::new();
        market.admit(0..4).unwrap();
        (0..4).for_each(|_| market.prepare(0));
        assert_eq!(market.step(1_000), Step::Run(vec![0, 1, 2]));
        assert_eq!(market.step(2_000), Step::Run(vec![3]));
    }

    #[test]
    fn a_full_queue_takes_all_or_nothing() {
        let mut market = Market::new();
        market.admit(0..3).unwrap();
        market.begin();
        let full = QueueFull { waiting: 3, asked: 3, queue_items_max: 5 };
        assert_eq!(market.admit(3..6), Err(full));
        market.admit(3..5).unwrap();
        assert_eq!(market.batcher.waiting(), 5);
    }

    #[test]
    fn cancelled_inputs_are_neither_prepared_nor_run() {
        let mut market = Market::new();
        market.admit(0..4).unwrap();
        market.cancelled.borrow_mut().insert(0);
        market.prepare(0);
        market.prepare(0);
        market.cancelled.borrow_mut().extend([1, 3]);
        market.begin();
        assert!(market.preparing.is_empty());
        assert_eq!(market.step(0), Step::Run(vec![2]));
        assert_eq!(market.batcher.waiting(), 0);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Admit(u32),
        Prepare { usable: bool },
        Step,
        Cancel(u32),
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1u32..4).prop_map(Event::Admit),
            any::<bool>().prop_map(|usable| Event::Prepare { usable }),
            Just(Event::Step),
            (0u32..40).prop_map(Event::Cancel),
            (0u64..200).prop_map(Event::Wait),
        ]
    }

    proptest! {
        #[test]
        fn each_input_runs_once_in_order_unless_cancelled_or_unusable(
            events in proptest::collection::vec(event(), 0..120),
        ) {
            let mut market = Market::new();
            let (mut now_us, mut next, mut ran, mut unusable) = (0, 0, Vec::new(), BTreeSet::new());
            for event in events {
                match event {
                    Event::Admit(count) => next += if market.admit(next..next + count).is_ok() { count } else { 0 },
                    Event::Prepare { usable } => if let Some(input) = market.batcher.next_raw() {
                        if !usable { unusable.insert(input.0); }
                        market.batcher.prepared(now_us, usable.then_some(input));
                    },
                    Event::Step => if let Step::Run(batch) = market.step(now_us) {
                        prop_assert!((1..=LIMITS.batch_size_max).contains(&batch.len()));
                        ran.extend(batch);
                    },
                    Event::Cancel(number) => { market.cancelled.borrow_mut().insert(number); }
                    Event::Wait(us) => now_us += us,
                }
                prop_assert!(market.batcher.waiting() <= LIMITS.queue_items_max);
            }
            while let Some(input) = market.batcher.next_raw() {
                market.batcher.prepared(now_us, Some(input));
            }
            while let Step::Run(batch) = market.step(u64::MAX) {
                ran.extend(batch);
            }
            prop_assert!(ran.is_sorted_by(|a, b| a < b), "in order, none twice");
            let lost = (0..next).filter(|number| !ran.contains(number));
            let cancelled = market.cancelled.borrow();
            prop_assert!(lost.into_iter().all(|number| cancelled.contains(&number) || unusable.contains(&number)));
            prop_assert_eq!(market.batcher.waiting(), 0);
        }
    }
}
