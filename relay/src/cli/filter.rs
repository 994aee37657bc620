//! Which deliveries are meant.

use clap::Args;
use jiff::{Span, SpanRelativeTo, Timestamp};
use url::Url;

/// See the module.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FilterArgs {
    /// pending, leased, handed_over, delivered, completed, partial, skipped, superseded, discarded, dead or ignored
    #[arg(long)]
    pub(super) state: Option<String>,
    /// claude, ollama, or the name of an extra target
    #[arg(long)]
    pub(super) target: Option<String>,
    /// owner/name
    #[arg(long)]
    pub(super) repository: Option<String>,
    /// GitHub's event, such as pull_request
    #[arg(long)]
    pub(super) event: Option<String>,
    /// What arrived since: a time ago, such as 90m, 2h or 3d, or a time in RFC 3339
    #[arg(long, value_parser = since)]
    pub(super) since: Option<Timestamp>,
}

impl FilterArgs {
    /// Whether it lets everything through.
    pub(super) fn is_empty(&self) -> bool {
        let Self { state, target, repository, event, since } = self;
        state.is_none() && target.is_none() && repository.is_none() && event.is_none() && since.is_none()
    }

    /// Adds itself to the URL of the list.
    pub(super) fn add_to(&self, url: &mut Url) {
        let since = self.since.map(|since| since.to_string());
        let values = [
            ("state", &self.state),
            ("target", &self.target),
            ("repository", &self.repository),
            ("event", &self.event),
            ("since", &since),
        ];
        for (name, value) in values {
            url.query_pairs_mut().extend_pairs(value.as_ref().map(|value| (name, value)));
        }
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    before(Timestamp::now(), text).ok_or_else(|| {
        "give a time ago, such as 90m, 2h or 3d, or a time such as 2026-11-22T10:00:00Z".to_owned()
    })
}

/// A day is 24 hours.
fn before(now: Timestamp, text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let span: Span = text.parse().ok()?;
    let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_sub(ago.abs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_as_a_distance_or_as_itself() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2h", "2026-11-22T08:00:00Z"),
            ("90m", "2026-11-22T08:30:00Z"),
            ("3d", "2026-11-19T10:00:00Z"),
            ("1w", "2026-11-15T10:00:00Z"),
            ("1h 30m", "2026-11-22T08:30:00Z"),
            ("2026-11-22T09:59:00+01:00", "2026-11-22T08:59:00Z"),
        ] {
            assert_eq!(before(now, text), time.parse().ok(), "{text}");
        }
        for wrong in ["", "2", "yesterday", "2026-11-22", "1y 3x", "99999999999d"] {
            assert_eq!(before(now, wrong), None, "{wrong}");
        }
    }
}
