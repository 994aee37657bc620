use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use shared::signature::GithubSecrets;

use super::*;

fn verified(body: &[u8]) -> Verified {
    let secrets = GithubSecrets::parse(&"a-long-enough-secret".into()).unwrap();
    secrets.verify(Some(&secrets.sign(body)), Bytes::copy_from_slice(body)).unwrap()
}

/// The envelope as the endpoints get it; `None` for a ping.
fn read(event: &str, encoding: Encoding, body: &[u8]) -> Result<Option<Envelope>, PayloadError> {
    let meta = Meta { event: event.into(), delivery: "d1".into() };
    Ok(match parse(meta, encoding, &verified(body), Timestamp::UNIX_EPOCH, None)? {
        Received::Event { envelope, payload } => {
            Some(serde_json::from_slice(&envelope.around(&payload).unwrap()).unwrap())
        }
        Received::Ping { .. } => None,
    })
}

fn envelope(event: &str, payload: &serde_json::Value) -> Envelope {
    read(event, Encoding::Json, payload.to_string().as_bytes()).unwrap().expect("not a ping")
}

fn pr_payload() -> serde_json::Value {
    json!({"action": "synchronize", "number": 7,
        "pull_request": {"number": 7, "title": "Fix", "user": {"login": "ann", "type": "User"}, "draft": false,
                         "head": {"sha": "h"}, "base": {"sha": "b"}, "updated_at": "2026-11-22T10:00:00Z"},
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
        "sender": {"login": "google-labs-jules[bot]", "type": "Bot"}})
}

#[test]
fn a_pull_request_is_read() {
    let envelope = envelope("pull_request", &pr_payload());
    assert_eq!(envelope.action.as_deref(), Some("synchronize"));
    assert_eq!(envelope.sender.unwrap().kind, SenderKind::Bot);
    let Subject::PullRequest(pr) = envelope.subject else { panic!("not a pull request") };
    assert_eq!((pr.number, pr.head_sha.as_str(), pr.author.as_str()), (7, "h", "ann"));
    assert!(pr.updated_at.is_some());
}

#[test]
fn a_push_and_each_kind_of_comment_is_read() {
    let push =
        json!({"ref": "refs/heads/main", "before": "a", "after": "b", "forced": true, "commits": [{}, {}]});
    let Subject::Push(push) = envelope("push", &push).subject else { panic!("not a push") };
    assert_eq!((push.git_ref.as_str(), push.commits, push.forced), ("refs/heads/main", 2, true));
    let said = json!({"id": 5, "body": "hm", "user": null});
    for (event, payload, on_pr) in [
        ("issue_comment", json!({"issue": {"number": 3}, "comment": said}), false),
        ("issue_comment", json!({"issue": {"number": 3, "pull_request": {}}, "comment": said}), true),
        ("pull_request_review", json!({"pull_request": {"number": 3}, "review": said}), true),
        ("pull_request_review_comment", json!({"pull_request": {"number": 3}, "comment": said}), true),
    ] {
        let Subject::Comment(comment) = envelope(event, &payload).subject else {
            panic!("{event} is not a comment")
        };
        assert_eq!((comment.number, comment.author.as_str(), comment.is_pull_request), (3, "ghost", on_pr));
    }
}

#[test]
fn an_unknown_event_or_an_unexpected_shape_is_taken_as_other() {
    for (event, payload) in [
        ("merge_group", json!({"action": 7})),
        ("pull_request", json!({"pull_request": "?"})),
        ("push", json!({})),
    ] {
        assert_eq!(envelope(event, &payload).subject, Subject::Other);
    }
}

#[test]
fn a_form_holds_the_same_payload() {
    let json = pr_payload().to_string();
    let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    let envelope = read("pull_request", Encoding::Form, form.as_bytes()).unwrap().unwrap();
    assert_eq!(envelope.payload.get(), json);
    assert_eq!(read("push", Encoding::Form, b"other=1").unwrap_err(), PayloadError::NoPayload);
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in [&b"{"[..], b"", b"[]", b"7", b"{} {}", b"\xff\xfe", b"{\"a\":01}"] {
        assert!(read("push", Encoding::Json, body).is_err(), "{body:?}");
    }
}

#[test]
fn headers_must_be_plain_words() {
    let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    };
    let both = headers(&[("x-github-event", "push"), ("x-github-delivery", "d-1")]);
    assert_eq!(meta(&both).unwrap(), Meta { event: "push".into(), delivery: "d-1".into() });
    assert_eq!(
        meta(&headers(&[("x-github-event", "push")])).unwrap_err(),
        PayloadError::Header("x-github-delivery")
    );
    let spaced = headers(&[("x-github-event", "pu sh"), ("x-github-delivery", "d")]);
    assert_eq!(meta(&spaced).unwrap_err(), PayloadError::Header("x-github-event"));
    let json = headers(&[("content-type", "Application/JSON; charset=utf-8")]);
    assert_eq!(encoding(&json).unwrap(), Encoding::Json);
    assert!(
        encoding(&headers(&[("content-type", "text/plain")])).is_err()
            && encoding(&HeaderMap::new()).is_err()
    );
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(event in "[a-z_]{1,20}", body in any::<Vec<u8>>(), form in any::<bool>()) {
        let _ = read(&event, if form { Encoding::Form } else { Encoding::Json }, &body);
    }

    /// Any subset of a real payload's parts, with parts replaced by something else, is taken.
    #[test]
    fn any_object_is_taken_and_kept_byte_for_byte(
        event in prop::sample::select(vec!["pull_request", "push", "issue_comment", "pull_request_review", "release", "x"]),
        drop in prop::sample::subsequence(vec!["action", "pull_request", "repository", "sender"], 0..4),
        odd in prop::sample::subsequence(vec!["action", "pull_request", "repository", "sender", "ref", "issue"], 0..4),
        space in "[ \t\r\n]{0,3}",
    ) {
        let mut payload = pr_payload();
        for key in drop { payload.as_object_mut().unwrap().remove(key); }
        for key in odd { payload[key] = json!([1, {"deep": null}]); }
        let text = serde_json::to_string_pretty(&payload).unwrap();
        let envelope = read(event, Encoding::Json, format!("{space}{text}{space}").as_bytes()).unwrap().unwrap();
        prop_assert_eq!(envelope.payload.get(), text);
    }
}
