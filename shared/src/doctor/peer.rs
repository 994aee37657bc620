//! One of our services, looked at over HTTP: whether anybody answers, who, of which version, and whether both sides know
//! the same key.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use url::Url;

use super::{Finding, clock, version};
use crate::{
    client,
    config::without_password,
    error::chain,
    health::Report,
    signature::{self, SignatureError, SigningKeys},
};

/// For one answer, the connection included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A health report has a few KiB.
const LARGEST_ANSWER: usize = 1 << 20;
const PATH: &str = "/health";

/// What was seen of a service.
#[derive(Debug, Clone)]
pub enum Seen {
    /// No connection.
    Refused(String),
    /// A connection, and then nothing for as long as we wait.
    Silent,
    /// A connection that ended without an answer.
    Broken(String),
    /// An answer that is none of our services'.
    Stranger(String),
    /// A health report.
    Answered(Box<Answered>),
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Its health.
    pub report: Report,
    /// Seconds that its clock is ahead.
    pub ahead: Option<i64>,
    /// Whether both sides know the same key.
    pub signed: Signed,
}

/// Whether both sides know the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// It was not asked.
    Unasked,
    /// It takes our signature, and we take its: that of the key at this place, from 1.
    Both(usize),
    /// It refuses our signature, in its words.
    Refused(String),
    /// It took it, and its answer bears no signature of ours.
    Unproven(SignatureError),
    /// No answer to this question.
    Unanswered(String),
}

/// Looks at `service` at `base`, with each of `keys`, if there are any, until one is known there.
pub async fn look(service: &str, base: &Url, keys: &[SigningKeys]) -> Seen {
    let http = match client::http(Some(TIMEOUT)) {
        Ok(http) => http,
        Err(error) => return Seen::Broken(chain(&error)),
    };
    let url = format!("{}{PATH}", base.as_str().trim_end_matches('/'));
    let (status, headers, body) = match exchange(http.get(&url)).await {
        Ok(answer) => answer,
        Err(error) if error.is_timeout() => return Seen::Silent,
        Err(error) if error.is_connect() => return Seen::Refused(chain(&error.without_url())),
        Err(error) => return Seen::Broken(chain(&error.without_url())),
    };
    let Ok(report) = serde_json::from_slice::<Report>(&body) else {
        let server = headers.get("server").and_then(|server| server.to_str().ok());
        let named = server.map(|server| format!(" ({server})")).unwrap_or_default();
        return Seen::Stranger(format!("answers {status}{named}, and not as one of our services"));
    };
    let ahead = clock::ahead(&headers, Timestamp::now());
    let mut signed = Signed::Unasked;
    for (index, key) in keys.iter().enumerate() {
        let answer = ask_signed(&http, &url, service, key).await;
        // What the first key came to is told, unless a later one is known.
        match answer {
            Signed::Both(_) => signed = Signed::Both(index + 1),
            other if signed == Signed::Unasked => signed = other,
            _ => {}
        }
        if !matches!(signed, Signed::Refused(_)) {
            break;
        }
    }
    Seen::Answered(Box::new(Answered { report, ahead, signed }))
}

async fn ask_signed(http: &reqwest::Client, url: &str, service: &str, keys: &SigningKeys) -> Signed {
    let id = signature::bound_id("GET", service, PATH, &uuid::Uuid::new_v4().to_string());
    let headers = keys.sign(&id, Timestamp::now().as_second(), b"");
    let request = http
        .get(url)
        .header(signature::ID, &headers.id)
        .header(signature::TIMESTAMP, headers.timestamp)
        .header(signature::SIGNATURE, &headers.signature);
    let (status, headers, body) = match exchange(request).await {
        Ok(answer) => answer,
        Err(error) => return Signed::Unanswered(chain(&error.without_url())),
    };
    if status == 401 {
        return Signed::Refused(message(&body));
    }
    let mark = headers.get(signature::ANSWER).and_then(|value| value.to_str().ok());
    match keys.verify_answer(mark, &id, status, body) {
        Ok(_) => Signed::Both(1),
        Err(why) => Signed::Unproven(why),
    }
}

async fn exchange(request: RequestBuilder) -> reqwest::Result<(u16, HeaderMap, Bytes)> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(LARGEST_ANSWER.saturating_sub(body.len()))]);
        if body.len() == LARGEST_ANSWER {
            break;
        }
    }
    Ok((status, headers, body.freeze()))
}

fn message(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json.pointer("/error/message").and_then(serde_json::Value::as_str);
    message.unwrap_or("it gives no reason").chars().take(300).collect()
}

/// What mends what can be wrong with a service, from where the doctor is.
#[derive(Debug, Clone, Copy)]
pub struct Remedies {
    /// It does not run.
    pub start: &'static str,
    /// It takes connections and says nothing.
    pub frozen: &'static str,
    /// Somebody else answers.
    pub stranger: &'static str,
    /// Another of our services answers.
    pub mixed_up: &'static str,
    /// It does not know our key.
    pub key: &'static str,
    /// Its version is another one.
    pub upgrade: &'static str,
}

/// The way there: whether the service could be asked at all. `broken`: what it means that connections are taken and ended.
pub fn reach(url: &Url, seen: &Seen, remedies: &Remedies, broken: &str) -> Finding {
    let check = "connection";
    let shown = without_password(url.as_str());
    let base = shown.trim_end_matches('/');
    match seen {
        Seen::Refused(_) => Finding::fail(check, format!("nothing answers at {base}"), remedies.start),
        Seen::Silent => Finding::fail(
            check,
            format!("{base} takes connections and says nothing for {} s", TIMEOUT.as_secs()),
            remedies.frozen,
        ),
        Seen::Broken(why) => Finding::fail(
            check,
            format!("{base} takes connections and ends them: {broken} ({why})"),
            remedies.start,
        ),
        Seen::Stranger(_) | Seen::Answered(_) => Finding::ok(check, format!("{base} answers")),
    }
}

/// Who answers, as what, and whether the signatures hold both ways.
pub fn identity(service: &str, seen: &Seen, keys: usize, remedies: &Remedies) -> Vec<Finding> {
    let answered = match seen {
        Seen::Answered(answered) => answered,
        Seen::Stranger(what) => {
            let says = format!("whoever is there {what}; it can swallow nothing, since answers are signed");
            return vec![Finding::fail("service", says, remedies.stranger)];
        }
        Seen::Refused(_) | Seen::Silent | Seen::Broken(_) => {
            return vec![Finding::skipped("service", "it could not be asked")];
        }
    };
    let Answered { report, ahead, signed } = &**answered;
    if report.service_id != service {
        let says = format!("the {} answers where the {service} should", report.service_id);
        return vec![Finding::fail("service", says, remedies.mixed_up)];
    }
    let mut found = vec![Finding::ok("service", format!("it is the {service}"))];
    found.extend(signature(service, signed, keys, remedies));
    found.push(clock::judge(&format!("the {service}"), *ahead));
    found.push(same_version(service, &report.release_id, remedies));
    found
}

fn signature(service: &str, signed: &Signed, keys: usize, remedies: &Remedies) -> Option<Finding> {
    let check = "signatures";
    Some(match signed {
        Signed::Unasked => return None,
        Signed::Both(1) => Finding::ok(check, "its and ours hold, both ways"),
        Signed::Both(place) => Finding::warn(
            check,
            format!(
                "the {service} knows number {place} of {keys} keys in RELAY_SIGNING_KEY, and not the first, which signs"
            ),
            "add the first key to RELAY_SIGNING_KEY on the other machine too; until then put the old one first here",
        ),
        Signed::Refused(why) if why.contains("timestamp") => Finding::fail(
            check,
            format!("the {service} refuses our signature: {why}"),
            "set the clocks right: `timedatectl set-ntp true` (Linux), `sudo sntp -sS time.apple.com` (macOS)",
        ),
        Signed::Refused(why) => {
            Finding::fail(check, format!("the {service} refuses our signature: {why}"), remedies.key)
        }
        Signed::Unproven(why) => Finding::fail(
            check,
            format!("what answers as the {service} cannot prove it: {why}"),
            remedies.stranger,
        ),
        Signed::Unanswered(why) => {
            Finding::fail(check, format!("no answer to a signed question: {why}"), remedies.frozen)
        }
    })
}

/// Whether two services are of one version.
fn same_version(service: &str, theirs: &str, remedies: &Remedies) -> Finding {
    match theirs == version() {
        true => Finding::ok("version", theirs),
        false => Finding::warn(
            "version",
            format!("the {service} is {theirs}, this program {}", version()),
            remedies.upgrade,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::Status, health::Check};

    const REMEDIES: Remedies = Remedies {
        start: "start",
        frozen: "thaw",
        stranger: "chase",
        mixed_up: "swap",
        key: "RELAY_SIGNING_KEY",
        upgrade: "upgrade",
    };

    fn answered(signed: Signed) -> Seen {
        let report = Report::new("claude-endpoint").with("store", Check::pass());
        Seen::Answered(Box::new(Answered { report, ahead: Some(0), signed }))
    }

    fn found(seen: &Seen) -> Vec<(String, Status, Option<String>)> {
        let found = identity("claude-endpoint", seen, 2, &REMEDIES);
        found.into_iter().map(|one| (one.check, one.status, one.mend)).collect()
    }

    #[test]
    fn each_kind_of_silence_has_its_own_remedy() {
        let url = "http://127.0.0.1:5050".parse().unwrap();
        let mend = |seen: Seen| reach(&url, &seen, &REMEDIES, "it is down").mend;
        assert_eq!(mend(Seen::Refused(String::new())).as_deref(), Some("start"));
        assert_eq!(mend(Seen::Silent).as_deref(), Some("thaw"));
        assert_eq!(mend(Seen::Broken("closed".into())).as_deref(), Some("start"));
        assert_eq!(mend(answered(Signed::Unasked)), None);
        let wrong = "http://me:s3cret@127.0.0.1:5050".parse().unwrap();
        let told = reach(&wrong, &Seen::Silent, &REMEDIES, "it is down").says;
        assert!(told.starts_with("http://redacted@127.0.0.1:5050 takes"), "{told}");
        assert_eq!(found(&Seen::Silent), [("service".into(), Status::Skipped, None)]);
    }

    #[test]
    fn who_cannot_prove_itself_is_told_from_who_refuses_us() {
        let signatures = |signed| found(&answered(signed))[1].clone();
        assert_eq!(signatures(Signed::Both(1)).1, Status::Ok);
        assert_eq!(signatures(Signed::Both(2)).1, Status::Warn);
        let (_, status, mend) = signatures(Signed::Refused("the signature does not match".into()));
        assert!(status == Status::Fail && mend.unwrap().contains("RELAY_SIGNING_KEY"));
        let (_, status, mend) = signatures(Signed::Refused(SignatureError::Stale.to_string()));
        assert!(status == Status::Fail && mend.unwrap().contains("timedatectl"));
        assert_eq!(signatures(Signed::Unproven(SignatureError::Missing)).2.as_deref(), Some("chase"));
        let stranger = found(&Seen::Stranger("answers 200".into()));
        assert_eq!(stranger, [("service".into(), Status::Fail, Some("chase".into()))]);
    }

    #[test]
    fn another_service_and_another_version_are_told() {
        let report = Report::new("ollama-endpoint");
        let other = Seen::Answered(Box::new(Answered { report, ahead: None, signed: Signed::Unasked }));
        assert_eq!(found(&other), [("service".into(), Status::Fail, Some("swap".into()))]);
        let report = Report { release_id: "0.0.1".into(), ..Report::new("claude-endpoint") };
        let older = Seen::Answered(Box::new(Answered { report, ahead: None, signed: Signed::Both(1) }));
        assert_eq!(found(&older)[3], ("version".into(), Status::Warn, Some("upgrade".into())));
    }
}
