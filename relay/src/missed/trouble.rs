//! What can be in the way of the search, in words that say what to do.

use super::github::{GithubError, Scope};

/// Why a source could not be looked through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error("the queue cannot be used: {0}")]
    Queue(#[from] queue::Error),
    #[error(
        "no active webhook leads here: set WEBHOOK_URL to the URL that the webhook at GitHub has, or add the webhook"
    )]
    NoHook,
}

/// What is wrong and what to do, without naming the source: `/health` is open to anybody.
pub(crate) fn advice(scope: &Scope, trouble: &Trouble) -> String {
    let Trouble::Github(error) = trouble else { return trouble.to_string() };
    match (error, scope) {
        (GithubError::Credentials, Scope::App) => {
            "GitHub does not accept the app's key: GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY must be of the same \
             GitHub App, and this machine's clock right"
        }
        (GithubError::Credentials, _) => {
            "GitHub does not accept GITHUB_TOKEN: make a new one with \"Webhooks: read and write\""
        }
        (GithubError::Forbidden | GithubError::NotFound, Scope::Repository(_)) => {
            "GITHUB_TOKEN may not manage the webhooks of a repository in GITHUB_REPOSITORIES, or there is no such \
             repository: it needs \"Webhooks: read and write\" (a classic token: admin:repo_hook) from somebody who \
             administers it"
        }
        (GithubError::Forbidden | GithubError::NotFound, Scope::Organisation(_)) => {
            "GITHUB_TOKEN may not manage the webhooks of an organisation in GITHUB_ORGANISATIONS, or there is no such \
             organisation: it needs \"Webhooks: read and write\" of the organisation (a classic token: \
             admin:org_hook) from one of its owners"
        }
        (GithubError::Forbidden | GithubError::NotFound, Scope::App) => {
            "the GitHub App has no webhook: switch it on in the app's settings"
        }
        (GithubError::Refused(300..=399, _), _) => {
            "a repository or organisation has moved: set its new name in GITHUB_REPOSITORIES or GITHUB_ORGANISATIONS"
        }
        (GithubError::Refused(..), _) => "GitHub refuses to answer; the log has its words",
        (GithubError::Limited(_), _) => "GitHub's rate limit is reached; the search goes on when it allows",
        (GithubError::Unavailable(_) | GithubError::Unexpected(_), _) => return error.to_string(),
    }
    .to_owned()
}
