//! Who we are, and what others may do.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::transport::{GithubError, Who};
use super::{Github, Result, app, repo, wire};

const VIEWER: &str = "query Viewer { viewer { login } }";

/// What an account may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Permission {
    /// Nothing, or it is no account.
    None,
    /// Look, perhaps sort issues.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

impl Permission {
    /// Whether the account may push.
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }
}

impl Github {
    /// Who we are: the token's owner, or an app's bot with its `[bot]`. `None` for an app's token on a host that does not tell;
    /// what any app wrote is taken for ours then, if the caller knows its body.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn login(&self) -> Result<Option<&str>> {
        let ask = || async {
            if self.transport.who() == Who::App {
                return Ok(Some(self.get_json::<app::Identity>("/app").await?.login()));
            }
            match self.get_json::<wire::User>("/user").await {
                Ok(user) => Ok(Some(user.login)),
                // an app's token has no user, but it is the viewer
                Err(GithubError::Forbidden(_)) => self.viewer().await,
                Err(error) => Err(error),
            }
        };
        self.login.get_or_try_init(ask).await.map(Option::as_deref)
    }

    async fn viewer(&self) -> Result<Option<String>> {
        let answer = self.query(VIEWER, &json!({}), "the viewer").await?;
        Ok(answer.and_then(|answer| answer.data["viewer"]["login"].as_str().map(str::to_owned)))
    }

    /// Keeps what an answer has told of us.
    pub(super) fn we_are(&self, login: &str) {
        // it may be known already, and does not change
        let _ = self.login.set(Some(login.to_owned()));
    }

    /// What an account may do in a repository. Whoever asks needs push access.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn permission(&self, repository: &str, login: &str) -> Result<Permission> {
        let name = login.strip_suffix("[bot]").unwrap_or(login);
        let is_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !is_name {
            return Ok(Permission::None);
        }
        let login = login.replace('[', "%5B").replace(']', "%5D");
        let path = format!("{}/collaborators/{login}/permission", repo(repository)?);
        match self.get_json::<wire::Collaborator>(&path).await {
            // GitHub's older names: those of custom roles are among its newer ones
            Ok(collaborator) => Ok(match collaborator.permission.as_str() {
                "admin" => Permission::Admin,
                "write" => Permission::Write,
                "read" => Permission::Read,
                _ => Permission::None,
            }),
            Err(GithubError::NotFound(_)) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }
}
