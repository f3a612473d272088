//! How often something happens.

/// How often per second something happened that happened at these moments: the slope of the straight line through them,
/// which neither the first nor the last of them decides. Nothing of less than three.
pub(crate) fn pace(moments: &[f64]) -> Option<f64> {
    if moments.len() < 3 {
        return None;
    }
    let count = moments.len() as f64;
    let (mean_s, mean_place) = (moments.iter().sum::<f64>() / count, (count - 1.0) / 2.0);
    let (mut together, mut square) = (0.0, 0.0);
    for (place, moment) in moments.iter().enumerate() {
        together += (moment - mean_s) * (place as f64 - mean_place);
        square += (moment - mean_s).powi(2);
    }
    (square > 0.0).then(|| together / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_steady_work_however_it_begins_and_ends() {
        assert!((pace(&[0.5, 1.0, 1.5, 2.0]).unwrap() - 2.0).abs() < 1e-9);
        // Two workers that finish together.
        let pairs: Vec<_> = (1..=40).flat_map(|turn| [f64::from(turn), f64::from(turn)]).collect();
        assert!((pace(&pairs).unwrap() - 2.0).abs() < 2e-3);
        assert_eq!(pace(&[1.0, 2.0]), None);
        assert_eq!(pace(&[1.0, 1.0, 1.0]), None);
    }
}
