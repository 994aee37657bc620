use testkit::anthropic::{Anthropic as StandIn, Reply as Answer, always};
use testkit::control::{Fault, post as posting};

use super::*;
use crate::reviewer::tests::{TIMEOUT, question, refused, review, summary};

async fn anthropic(replies: Vec<Answer>) -> (StandIn, Anthropic) {
    let stand_in = StandIn::start(always(Answer::review(review()))).await.unwrap();
    for reply in replies {
        stand_in.answer_next(reply);
    }
    let model = "claude-sonnet-5-5".to_owned();
    let client = Anthropic::new(stand_in.url().parse().unwrap(), "sk-ant-x".into(), model, TIMEOUT).unwrap();
    (stand_in, client)
}

#[tokio::test]
async fn the_api_is_asked_as_current_models_want_it() {
    let (stand_in, client) = anthropic(vec![]).await;
    let reply = client.ask(&question()).await.unwrap();
    assert_eq!(
        (summary(&reply).as_str(), reply.model.as_str()),
        ("Fine, see \u{FF20}x.", "claude-sonnet-5-5")
    );
    assert!(reply.usage.output_tokens > 0 && reply.cost_usd.is_none());
    let body = &stand_in.requests()[0].body;
    assert_eq!((&body["model"], &body["max_tokens"]), (&json!("claude-sonnet-5-5"), &json!(9_000)));
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["output_config"]["format"]["schema"], crate::verdict::schema());
}

#[tokio::test]
async fn a_passing_failure_is_asked_again_and_a_lasting_one_is_not() {
    let overloaded = |headers| Answer::error(StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", headers);
    let soon = vec![("retry-after-ms", "1".to_owned())];
    let (stand_in, client) = anthropic(vec![overloaded(soon.clone()), overloaded(soon)]).await;
    assert!(client.ask(&question()).await.is_ok());
    assert_eq!(stand_in.count(&posting("/v1/messages")), 3);

    let (stand_in, client) = anthropic(vec![overloaded(vec![("retry-after", "120".to_owned())])]).await;
    let error = refused(&client).await;
    assert!(
        matches!(error, ReviewError::Retry { after: Some(after), .. } if after == Duration::from_secs(120)),
        "{error:?}"
    );
    assert_eq!(stand_in.count(&posting("/v1/messages")), 1);

    let (stand_in, client) = anthropic(vec![overloaded(vec![("x-should-retry", "false".to_owned())])]).await;
    assert!(matches!(refused(&client).await, ReviewError::NoReview(_)));
    assert_eq!(stand_in.count(&posting("/v1/messages")), 1);
}

#[tokio::test]
async fn each_failure_of_the_api_has_its_own_consequence() {
    let after = async |reply| refused(&anthropic(vec![reply]).await.1).await;
    assert!(matches!(after(Answer::refusal()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Answer::max_tokens()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Answer::context_window_exceeded()).await, ReviewError::TooLarge(_)));
    assert!(matches!(after(Answer::spend_limit()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Answer::text("looks good")).await, ReviewError::Unusable(_)));
    assert!(matches!(answer(b"{", &question()).unwrap_err().error, ReviewError::Unusable(_)));

    let (stand_in, _) = anthropic(vec![]).await;
    let with = |key: &str, model: &str| {
        Anthropic::new(stand_in.url().parse().unwrap(), key.into(), model.into(), TIMEOUT).unwrap()
    };
    let error = refused(&with("wrong", "claude-sonnet-5-5")).await;
    assert!(
        matches!(&error, ReviewError::Away { reason, .. } if reason.contains("check ANTHROPIC_API_KEY")),
        "{error:?}"
    );
    let error = refused(&with("sk-ant-x", "claude-2")).await;
    assert!(
        matches!(&error, ReviewError::Away { reason, .. } if reason.contains("check CLAUDE_MODEL and CLAUDE_CHEAP_MODEL (claude-2)")),
        "{error:?}"
    );
    stand_in.stop().await;
    let error = refused(&with("sk-ant-x", "claude-sonnet-5-5")).await;
    assert!(matches!(&error, ReviewError::Away { hold, .. } if hold.is_zero()), "{error:?}");
    assert!(with("sk-ant-x", "claude-sonnet-5-5").ready().await.is_err());
}

#[tokio::test]
async fn every_status_that_may_be_retried_is_and_no_other() {
    let soon = || vec![("retry-after-ms", "1".to_owned())];
    for status in [408, 409, 429, 500, 502, 503, 504, 529] {
        let failing = Answer::error(StatusCode::from_u16(status).unwrap(), "api_error", soon());
        let (stand_in, client) = anthropic(vec![failing.clone(), failing.clone()]).await;
        assert!(client.ask(&question()).await.is_ok(), "{status}");
        assert_eq!(stand_in.count(&posting("/v1/messages")), 3, "{status}");
        let (stand_in, client) = anthropic(vec![failing.clone(), failing.clone(), failing]).await;
        assert!(matches!(refused(&client).await, ReviewError::Retry { .. }), "{status}: then the queue's");
        assert_eq!(stand_in.count(&posting("/v1/messages")), 3, "{status}");
    }
    for (status, told) in [(400, None), (413, None), (422, None), (429, Some("false")), (529, Some("false"))]
    {
        let told = told.map(|told| ("x-should-retry", told.to_owned()));
        let headers = soon().into_iter().chain(told).collect();
        let failing = Answer::error(StatusCode::from_u16(status).unwrap(), "api_error", headers);
        let (stand_in, client) = anthropic(vec![failing]).await;
        let error = refused(&client).await;
        assert!(matches!(error, ReviewError::NoReview(_) | ReviewError::TooLarge(_)), "{status}: {error:?}");
        assert_eq!(matches!(error, ReviewError::TooLarge(_)), status == 413);
        assert_eq!(stand_in.count(&posting("/v1/messages")), 1, "{status}");
    }
    let told = vec![("x-should-retry", "true".to_owned()), ("retry-after", "0".to_owned())];
    let (stand_in, client) = anthropic(vec![Answer::error(StatusCode::CONFLICT, "x", told)]).await;
    assert!(client.ask(&question()).await.is_ok());
    assert_eq!(stand_in.count(&posting("/v1/messages")), 2);
}

#[tokio::test]
async fn the_spend_limit_is_never_retried() {
    let (stand_in, client) = anthropic(vec![Answer::spend_limit(), Answer::spend_limit()]).await;
    let error = refused(&client).await;
    assert!(matches!(&error, ReviewError::NoReview(reason) if reason.contains("spend limit")), "{error:?}");
    assert_eq!(stand_in.count(&posting("/v1/messages")), 1);
}

#[tokio::test]
async fn an_answer_of_no_use_was_paid_for() {
    for reply in [Answer::refusal(), Answer::max_tokens(), Answer::text("looks good")] {
        let failed = anthropic(vec![reply]).await.1.ask(&question()).await.unwrap_err();
        let paid = failed.paid.unwrap();
        assert!(paid.usage.output_tokens > 0 && paid.model == "claude-sonnet-5-5", "{paid:?}");
    }
    let failed = anthropic(vec![Answer::spend_limit()]).await.1.ask(&question()).await.unwrap_err();
    assert_eq!(failed.paid, None);
}

#[tokio::test]
async fn the_cheaper_one_is_the_same_api_with_another_model() {
    let (stand_in, client) = anthropic(vec![]).await;
    let client = client.with_cheaper("claude-haiku-5-5");
    let cheaper = client.cheaper().unwrap();
    assert_eq!(cheaper.ask(&question()).await.unwrap().model, "claude-haiku-5-5");
    assert_eq!((stand_in.requests()[0].model(), cheaper.name()), ("claude-haiku-5-5", "anthropic"));
    assert!(cheaper.cheaper().is_none());
    for none in ["", "claude-sonnet-5-5"] {
        assert!(client.clone().with_cheaper(none).cheaper().is_none());
    }
}

#[tokio::test]
async fn a_cut_connection_is_asked_again() {
    let (stand_in, client) = anthropic(vec![]).await;
    stand_in.fail_next(posting("/v1/messages"), Fault::Cut);
    assert!(client.ask(&question()).await.is_ok());
}
