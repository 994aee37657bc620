//! Which deliveries are meant.

use clap::Args;
use jiff::Timestamp;
use shared::terminal::time;
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
    #[arg(long, value_parser = time)]
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
