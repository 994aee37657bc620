//! Any signed body under any event name is an envelope or an error, and a payload that is taken is kept byte for byte.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use relay::github::{Encoding, Meta, Received, parse};
use shared::{event::Envelope, signature::GithubSecrets};

static SECRETS: LazyLock<GithubSecrets> = LazyLock::new(|| GithubSecrets::parse(&"a-secret-for-fuzzing".into()).unwrap());
const EVENTS: [&str; 8] =
    ["pull_request", "push", "issue_comment", "pull_request_review", "pull_request_review_comment", "issues", "ping", "other"];

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (event, form, body) = input;
    let verified = SECRETS.verify(Some(&SECRETS.sign(body)), Bytes::copy_from_slice(body)).unwrap();
    let meta = Meta { event: EVENTS[event as usize % EVENTS.len()].into(), delivery: "d".into() };
    let encoding = if form { Encoding::Form } else { Encoding::Json };
    if let Ok(Received::Event { envelope, payload }) = parse(meta, encoding, &verified, Timestamp::UNIX_EPOCH, None) {
        let sent: Envelope = serde_json::from_slice(&envelope.around(&payload).unwrap()).unwrap();
        assert_eq!(sent.payload.get(), payload.trim_ascii());
        if !form {
            assert_eq!(payload.as_bytes(), body.trim_ascii());
        }
        let _ = (envelope.key(), envelope.replaces(), envelope.headline());
    }
});
