//! Telling whether an entry would apply, without applying it.

use crate::entry::{Checked, Entry};
use crate::refusal::Refused;
use crate::state::execution::Execution;
use crate::state::judge::{Batch, InForce, Times, group_of};
use crate::state::{Decisions, Market, State};

/// Whether an entry would apply right after `state`; cheaper than applying it, and changes nothing.
///
/// # Errors
/// [`Refused`] says why not.
pub fn would_apply(
    market: &Market,
    state: &State,
    before: &dyn Decisions,
    agreed_ms: u64,
    entry: &Checked,
) -> Result<(), Refused> {
    let Entry::Submission(submission) = entry.entry() else {
        return Execution::new(market, state, before, agreed_ms).apply(entry);
    };
    let in_force = InForce::of(group_of(&state.registry, submission)?, state.seq + 1)?;
    let batch = Batch::new(&in_force, submission, agreed_ms)?;
    let times = Times { agreed_ms, lifetime_ms_max: market.genesis.rules.request_lifetime_ms_max };
    let mut refused = None;
    for (place, (submitted, id)) in submission.requests.iter().zip(entry.request_ids()).enumerate() {
        let decided = before.decided(id, submitted.request.expiry_ms).map(|(place, _)| place);
        match batch.judge(submitted, place, decided, times) {
            Ok(_) => return Ok(()),
            Err(reason) => refused = Some(reason),
        }
    }
    match (refused, submission.requests.len()) {
        (Some(only), 1) => Err(only),
        _ => Err(Refused::Nothing),
    }
}
