//! Secrets that stand in diffs, files, messages and memories are replaced before they leave. Pure.
//!
//! What has the form of a known token, what stands between the lines of a private key, and what is assigned to a name
//! like `password` and looks random becomes `<redacted:KIND>`. Lines are kept, so that line numbers stay true. It is a net,
//! not a proof: a secret in a form that nobody knows, or cut into pieces, passes. None of the crates that do this is past
//! its first versions, and none knows private keys in a diff or keeps lines.

mod guess;
mod pem;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use regex::Captures;
use rules::{RULES, Rule, SET};

/// What replaces a secret begins so; no rule matches it.
pub(crate) const MARK: &str = "<redacted:";

/// Replacing can bring to light what stood wall to wall with it.
const MOST_ROUNDS: usize = 8;

/// The text with what looks like a secret replaced by `<redacted:KIND>`. It has as many lines as before, and redacting
/// it again changes nothing.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut safe = once(text);
    if let Cow::Owned(first) = &mut safe {
        for _ in 1..MOST_ROUNDS {
            let Cow::Owned(next) = once(first) else { break };
            *first = next;
        }
    }
    safe
}

/// Whether [`redact`] would replace something.
pub fn contains_secret(text: &str) -> bool {
    matches!(once(text), Cow::Owned(_))
}

fn once(text: &str) -> Cow<'_, str> {
    let mut safe = pem::redact(text);
    let found = SET.matches(&safe);
    for index in &found {
        if let Some(next) = apply(&RULES[index], &safe) {
            safe = Cow::Owned(next);
        }
    }
    if found.matched_any()
        && let Some(next) = beside_access_keys(&safe)
    {
        safe = Cow::Owned(next);
    }
    safe
}

fn mark(kind: &str) -> String {
    format!("{MARK}{kind}>")
}

/// The text with what the rule finds replaced; `None` if it finds nothing.
fn apply(rule: &Rule, text: &str) -> Option<String> {
    replace(text, rule.regex.captures_iter(text), rule.kind, |found| (rule.is_secret)(found))
}

/// Replaces the group `secret` of each finding that `is_secret`; `None` if there is none.
fn replace<'t>(
    text: &'t str,
    findings: impl Iterator<Item = Captures<'t>>,
    kind: &str,
    is_secret: impl Fn(&Captures<'_>) -> bool,
) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    for found in findings {
        let secret = found.name(rules::SECRET).or_else(|| found.get(0));
        if let Some(secret) = secret.filter(|secret| !secret.is_empty() && is_secret(&found)) {
            out.push_str(&text[done..secret.start()]);
            out.push_str(&mark(kind));
            done = secret.end();
        }
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// An AWS secret key has no form of its own: forty characters. It is one where an access key is near.
fn beside_access_keys(text: &str) -> Option<String> {
    const NEAR: usize = 3;
    let key = mark(rules::AWS_ACCESS_KEY);
    if !text.contains(&key) {
        return None;
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let keys: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.contains(&key)).map(|(at, _)| at).collect();
    let mut changed = false;
    let mut next = keys.iter().copied().peekable();
    let safe: Vec<Cow<'_, str>> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| {
            while next.next_if(|key| key + NEAR < at).is_some() {}
            let is_near = next.peek().is_some_and(|key| *key <= at + NEAR);
            let found = is_near.then(|| rules::FORTY.captures_iter(line));
            let redacted = found.and_then(|found| {
                replace(line, found, "aws-secret-key", |found| guess::is_base64(&found[rules::SECRET]))
            });
            changed |= redacted.is_some();
            redacted.map_or(Cow::Borrowed(*line), Cow::Owned)
        })
        .collect();
    changed.then(|| safe.join("\n"))
}
