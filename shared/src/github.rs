//! What the refusals of GitHub's REST API mean (docs.github.com: "Rate limits for the REST API", "Troubleshooting"), and
//! how a GitHub App says who it is.

mod app_key;

pub use app_key::{AppKey, InvalidKey};

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;

use crate::client::retry_after;

/// GitHub asks for at least a minute after a secondary limit without `retry-after`.
const LIMITED_FOR: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Characters of a message that are passed on.
const LONGEST_MESSAGE: usize = 500;

/// How long to stay away if a refusal is a primary or secondary rate limit, else `None`: `retry-after`, else the reset
/// of an exhausted primary limit, else GitHub's minimum; at most an hour.
pub fn pause(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let reset = || {
        let exhausted = number("x-ratelimit-remaining") == Some(0);
        let seconds = number("x-ratelimit-reset")? - Timestamp::now().as_second();
        exhausted.then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or_default() + 1))
    };
    is_limit(status, headers, body)
        .then(|| retry_after(headers).or_else(reset).unwrap_or(LIMITED_FOR).min(LONGEST_WAIT))
}

/// Secondary limits are told apart from other refusals by their words; content that was created too fast is one, too.
fn is_limit(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = message(body).to_lowercase();
    let too_quick = text.contains("submitted too quickly") || text.contains(r#""code":"abuse""#);
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::UNPROCESSABLE_ENTITY => too_quick,
        StatusCode::FORBIDDEN => {
            too_quick
                || headers.contains_key(header::RETRY_AFTER)
                || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
                || text.contains("rate limit")
                || text.contains("abuse")
        }
        _ => false,
    }
}

/// GitHub's message with its details, at most 500 characters.
pub fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match (json["message"].as_str(), json.get("errors")) {
        (Some(message), Some(errors)) => format!("{message} {errors}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().take(LONGEST_MESSAGE).collect()
}
