//! Pictures through the whole gateway: what comes back, whoever misbehaves.

mod market;

use dropbear_certificates::Outcome;
use market::committee::Conduct;
use market::node::Manner;
use market::{Cast, Market, picture};

#[tokio::test]
async fn an_answer_comes_with_a_certificate_that_anybody_can_verify() {
    let market = Market::honest().await;
    let (status, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(status, 200, "{body}");
    let result = &body["results"][0];
    assert_eq!((&result["label"], &result["class"]), (&"thing 7".into(), &7.into()));
    let verified = market.verify(&result["certificate"]);
    assert_eq!((verified.class(), verified.record().outcome), (Some(7), Outcome::Agreed));
    let input = dropbear_certificates::request::input_digest("image", "BYTES", &[], &picture([7; 4]));
    assert_eq!(verified.is_about(&input), Some(true));
    assert!(verified.attachments().models.is_some());
}

#[tokio::test]
async fn disagreement_is_certified_and_answered_as_conflict() {
    let mut cast = Cast::default();
    cast.limits.await_all_ballots = true;
    let market = Market::start(cast).await;
    let (status, body) = market.classify(picture([2, 2, 5, 7]), "").await;
    assert_eq!(status, 409, "{body}");
    let result = &body["results"][0];
    assert_eq!(result["outcome"], "no-agreement");
    assert_eq!(result["tally"]["votes"][0]["owners"], serde_json::json!(["owner-0", "owner-1"]));
    assert_eq!(market.verify(&result["certificate"]).record().outcome, Outcome::NoAgreement);
    let (status, body) = market.classify(picture([2, 2, 5, 7]), "assurance=supported").await;
    assert_eq!((status, &body["results"][0]["class"]), (200, &2.into()), "{body}");
}

#[tokio::test]
async fn one_liar_changes_nothing_but_the_tally() {
    let mut cast = Cast::default();
    cast.owners[1] = Manner::Liar(99);
    cast.limits.await_all_ballots = true;
    let market = Market::start(cast).await;
    let (status, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(status, 200, "{body}");
    let votes = &body["results"][0]["tally"]["votes"];
    assert_eq!((&votes[0]["class"], &votes[1]["owners"]), (&7.into(), &serde_json::json!(["owner-1"])));
}

#[tokio::test]
async fn one_owner_without_a_usable_ballot_is_missing() {
    for manner in [Manner::Silent, Manner::Down, Manner::Impostor, Manner::Babbler] {
        let mut cast = Cast::default();
        cast.owners[2] = manner;
        let market = Market::start(cast).await;
        let (status, body) = market.classify(picture([7; 4]), "").await;
        assert_eq!(status, 200, "{manner:?}: {body}");
        assert_eq!(body["results"][0]["tally"]["missing"], serde_json::json!(["owner-2"]));
        market.verify(&body["results"][0]["certificate"]);
        let (status, body) = market.classify(picture([7, 7, 7, 8]), "timeout_ms=300").await;
        assert_eq!((status, &body["results"][0]["outcome"]), (504, &"insufficient".into()), "{body}");
        assert!(body["error"].as_str().unwrap().contains("owner-2: "), "{body}");
        assert_eq!(body["results"][0]["tally"]["votes"][0]["class"], 7);
    }
}

#[tokio::test]
async fn one_bad_coordinator_is_worked_around_wherever_it_stands() {
    let conducts = [Conduct::Dead, Conduct::Mute, Conduct::Forger, Conduct::Refuser, Conduct::LeafForger];
    for (turn, conduct) in conducts.into_iter().enumerate() {
        let mut cast = Cast::default();
        cast.coordinators[turn % 4] = conduct;
        let market = Market::start(cast).await;
        // As often as there are places: another coordinator is asked first each time.
        for class in 0..4 {
            let (status, body) = market.classify(picture([class; 4]), "").await;
            assert_eq!(status, 200, "{conduct:?}: {body}");
            market.verify(&body["results"][0]["certificate"]);
        }
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_certificate() {
    let mut cast = Cast::default();
    // Else a late ballot may be recorded meanwhile.
    cast.limits.late_bytes_max = 1;
    let market = Market::start(cast).await;
    let expiry_ms = market::now_ms() + 30_000;
    let query = format!("nonce=000102030405060708090a0b0c0d0e0f&expiry_ms={expiry_ms}");
    let (_, first) = market.classify(picture([7; 4]), &query).await;
    let seq = market.ledger.seq();
    let (status, second) = market.classify(picture([7; 4]), &query).await;
    assert_eq!(status, 200, "{second}");
    let id = |body: &serde_json::Value| market.verify(&body["results"][0]["certificate"]).record().clone();
    assert_eq!((id(&first), market.ledger.seq()), (id(&second), seq));
    // By id anybody gets it, but without what it opens.
    let request_id = first["results"][0]["request_id"].as_str().unwrap();
    let (status, body) = market.get(&format!("/api/v1/certificates/{request_id}?format=base64")).await;
    assert_eq!(status, 200, "{body}");
    let public = market.verify(&body["certificate"]);
    assert_eq!((public.record(), public.class()), (&id(&first), None));
    assert!(public.attachments().request.is_none() && public.attachments().votes.is_none());
}

#[tokio::test]
async fn ballots_of_an_outdated_version_are_asked_for_again() {
    let market = Market::honest().await;
    market.ledger.publish("imagenet", 3, 1);
    market.ledger.activate("imagenet", 3, 1);
    // Version 1 is in force now; owner 3's node still serves version 0.
    let asked = tokio::spawn({
        let (http, url) = (market.http.clone(), format!("{}/api/v1/groups/imagenet/classify", market.url));
        async move { http.post(url).body(picture([7, 7, 8, 7])).send().await.unwrap().status().as_u16() }
    });
    market.ledger.has_answered(3).await;
    market.ledger.serve_version(3, 1);
    assert_eq!(asked.await.unwrap(), 200, "two agree without owner 3: its ballot is needed");
}

#[tokio::test]
async fn uncertified_answers_touch_no_ledger() {
    let market = Market::honest().await;
    let seq = market.ledger.seq();
    let (status, body) = market.classify(picture([7; 4]), "certify=none").await;
    assert_eq!((status, &body["results"][0]["class"]), (200, &7.into()), "{body}");
    assert!(body["results"][0].get("certificate").is_none());
    assert_eq!(market.classify(picture([2, 2, 5, 7]), "certify=none").await.0, 409);
    assert_eq!(market.ledger.seq(), seq);
}

#[tokio::test]
async fn several_pictures_in_one_form() {
    let market = Market::honest().await;
    let part = |class| reqwest::multipart::Part::bytes(picture([class; 4])).file_name("a.png");
    let form = reqwest::multipart::Form::new().part("a", part(3)).part("b", part(4)).text("assurance", "decisive");
    let url = format!("{}/api/v1/groups/imagenet/classify", market.url);
    let body: serde_json::Value = market.http.post(url).multipart(form).send().await.unwrap().json().await.unwrap();
    let classes: Vec<_> = body["results"].as_array().unwrap().iter().map(|result| &result["class"]).collect();
    assert_eq!(classes, [3, 4], "{body}");
    for result in body["results"].as_array().unwrap() {
        market.verify(&result["certificate"]);
    }
}
