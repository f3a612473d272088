//! Owners that are slow, absent, many, or not needed: who is asked, and who is waited for.

mod market;

use std::time::Duration;

use market::node::Manner;
use market::{Cast, Market, picture};
use tokio::time::{interval, timeout};

/// Waits until the gateway measures what `line` says.
async fn measured(market: &Market, line: &str) {
    let mut again = interval(Duration::from_millis(50));
    let seen = async {
        while !market.metrics().await.contains(line) {
            again.tick().await;
        }
    };
    let found = timeout(Duration::from_secs(10), seen).await;
    assert!(found.is_ok(), "no `{line}` in {}", market.metrics().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_owner_delays_nobody_and_its_lateness_is_visible() {
    let mut cast = Cast::default();
    cast.owners[2] = Manner::Slow(600);
    let market = Market::start(cast).await;
    for _ in 0..8 {
        assert_eq!(market.classify(picture([7; 4]), "").await.0, 200);
    }
    // How little it delays them, `dropbear bench owners` measures; that its ballots are late says that none was awaited.
    let late = r#"dropbear_gateway_ballots_total{group="imagenet",owner="owner-2",result="late"}"#;
    measured(&market, late).await;
    assert!(!market.metrics().await.contains(r#"owner="owner-1",result="late""#), "the others are in time");
}

#[tokio::test]
async fn an_owner_that_never_answers_is_given_up_after_a_bounded_time() {
    let mut cast = Cast::default();
    cast.owners[2] = Manner::Silent;
    cast.limits.late_wait_ms = 100;
    let market = Market::start(cast).await;
    for _ in 0..4 {
        assert_eq!(market.classify(picture([7; 4]), "").await.0, 200);
    }
    measured(&market, r#"dropbear_gateway_ballots_total{group="imagenet",owner="owner-2",result="never"}"#).await;
}

#[tokio::test]
async fn nobody_is_waited_for_beyond_the_room_for_it() {
    let mut cast = Cast::default();
    cast.owners[2] = Manner::Silent;
    cast.limits.late_bytes_max = 1;
    let market = Market::start(cast).await;
    for _ in 0..4 {
        assert_eq!(market.classify(picture([7; 4]), "").await.0, 200);
    }
    measured(&market, r#"dropbear_gateway_ballots_total{group="imagenet",owner="owner-2",result="never"}"#).await;
}

#[tokio::test]
async fn as_many_owners_are_asked_as_the_assurance_needs_and_each_in_its_turn() {
    let market = Market::honest().await;
    for _ in 0..4 {
        assert_eq!(market.classify(picture([7; 4]), "").await.0, 200);
    }
    assert_eq!(market.ledger.asked(), [3; 4], "robust needs three of four");
    for _ in 0..4 {
        assert_eq!(market.classify(picture([7; 4]), "assurance=supported").await.0, 200);
    }
    assert_eq!(market.ledger.asked(), [5; 4], "supported needs two");
}

#[tokio::test]
async fn the_rest_is_asked_where_the_first_ballots_do_not_decide() {
    let market = Market::honest().await;
    // Without owner 0 it is two to one; the first round asks owners 1, 2 and 3.
    let (status, body) = market.classify(picture([7, 7, 7, 8]), "").await;
    assert_eq!((status, market.ledger.asked()), (200, [1; 4]), "{body}");
}

#[tokio::test]
async fn a_dead_or_silent_node_is_replaced_by_its_sibling() {
    for manner in [Manner::Down, Manner::Silent] {
        let mut cast = Cast::default();
        // Only together can the three others and this owner decide.
        cast.owners[3] = manner;
        cast.siblings = vec![(3, Manner::Honest)];
        let market = Market::start(cast).await;
        for _ in 0..2 {
            let (status, body) = market.classify(picture([7, 7, 8, 7]), "").await;
            assert_eq!(status, 200, "{manner:?}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_with_the_fewest_requests_is_asked() {
    let mut cast = Cast::default();
    cast.owners[3] = Manner::Slow(2_000);
    cast.siblings = vec![(3, Manner::Slow(20)), (3, Manner::Down)];
    cast.limits.batch_size_max = 1;
    let market = Market::start(cast).await;
    // Owner 3 decides each of them, and its slow node would answer after the deadline: it holds the one that it got.
    for _ in 0..5 {
        let (status, body) = market.classify(picture([7, 7, 8, 7]), "timeout_ms=1900").await;
        assert_eq!(status, 200, "{body}");
    }
}
