//! From logits to probabilities and ranks.

use thiserror::Error;

/// A score that is not a finite number: the model or the machine that ran it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the score of class {class} is not a finite number")]
pub struct NotFinite {
    /// The first such class.
    pub class: usize,
}

/// The probabilities that `logits` stand for, summed in double precision.
///
/// # Errors
/// When a logit is not finite.
pub fn softmax(logits: &[f32]) -> Result<Vec<f32>, NotFinite> {
    check_finite(logits)?;
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = (logits.iter()).map(|&logit| (f64::from(logit) - f64::from(max)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    Ok(powers.iter().map(|power| (power / sum) as f32).collect())
}

/// The indices of the `k` highest scores, highest first; of equal scores the lower index comes first.
///
/// # Errors
/// When a score is not finite: then there is no order.
pub fn top_k(scores: &[f32], k: usize) -> Result<Vec<usize>, NotFinite> {
    check_finite(scores)?;
    let k = k.min(scores.len());
    let by_rank = |&a: &usize, &b: &usize| {
        // Adding zero makes −0 and 0 the equals that they are.
        (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)).then(a.cmp(&b))
    };
    let mut indices: Vec<usize> = (0..scores.len()).collect();
    if k < indices.len() {
        indices.select_nth_unstable_by(k, by_rank);
        indices.truncate(k);
    }
    indices.sort_unstable_by(by_rank);
    Ok(indices)
}

fn check_finite(scores: &[f32]) -> Result<(), NotFinite> {
    match scores.iter().position(|score| !score.is_finite()) {
        Some(class) => Err(NotFinite { class }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_scores_rank_by_index() {
        assert_eq!(top_k(&[1.0, 3.0, 3.0, 2.0, 3.0], 4), Ok(vec![1, 2, 4, 3]));
        assert_eq!(top_k(&[-0.0, 0.0, -0.0], 3), Ok(vec![0, 1, 2]));
        assert_eq!(top_k(&[1.0, 2.0], 5), Ok(vec![1, 0]));
        assert_eq!(top_k(&[], 5), Ok(vec![]));
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        assert_eq!(top_k(&[1.0, f32::NAN], 1), Err(NotFinite { class: 1 }));
        assert_eq!(softmax(&[f32::INFINITY]), Err(NotFinite { class: 0 }));
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one_and_keep_the_order(
            logits in proptest::collection::vec(-500f32..500.0, 1..200),
        ) {
            let probabilities = softmax(&logits)?;
            prop_assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            let best = top_k(&logits, 1)?[0];
            prop_assert!(probabilities.iter().all(|&p| p <= probabilities[best]));
        }

        #[test]
        fn top_k_is_the_head_of_a_stable_sort(
            scores in proptest::collection::vec((-4i8..4).prop_map(f32::from), 0..50),
            k in 0usize..60,
        ) {
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            sorted.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            sorted.truncate(k);
            prop_assert_eq!(top_k(&scores, k)?, sorted);
        }
    }
}
