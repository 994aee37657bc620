//! What a doctor should know of GitHub: who we are there, what we may do, and which repositories we see. Nothing is written,
//! and so the right to write is known as far as GitHub tells it.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use shared::doctor::{Finding, clock, github};

use super::transport::{Answered, GithubError, Request, Who};
use super::{Github, Result, decode, repo};

const SCOPES: [&str; 2] = ["repo", "public_repo"];
const WANTED: &str = "a fine-grained token with Contents: read, and Pull requests, Issues and Commit statuses: read and write (a classic one: repo)";
const TRIED: &str = "`--repository OWNER/NAME` tries whether it can read";
/// What a GitHub App needs: the permission, and whether to write.
const PERMISSIONS: [(&str, bool); 4] =
    [("contents", false), ("pull_requests", true), ("issues", true), ("checks", true)];

/// What `/user` and `/app` have in common is nothing but this.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Identity {
    login: Option<String>,
    slug: Option<String>,
    permissions: Value,
}

/// A repository as somebody who may see it gets it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen {
    archived: bool,
    permissions: Value,
}

impl Github {
    /// What was found, for each of `repositories` too.
    pub async fn examine(&self, repositories: &[String]) -> Vec<Finding> {
        let who = self.transport.who();
        let answer = match self.answer(if who == Who::App { "/app" } else { "/user" }).await {
            Ok(answer) => answer,
            Err(error) => return vec![refused("credentials", &error)],
        };
        let identity: Identity = decode(&answer.body).unwrap_or_default();
        let now = Timestamp::now();
        let name = identity.login.or(identity.slug).unwrap_or_else(|| "somebody".to_owned());
        let mut found = vec![
            Finding::ok("credentials", format!("GitHub knows them as {name}")),
            clock::judge("GitHub", clock::ahead(&answer.headers, now)),
        ];
        match who {
            Who::App => found.push(permissions(&identity.permissions)),
            _ => {
                found.push(github::scopes(&answer.headers, &SCOPES, WANTED, TRIED));
                found.extend(github::expiry(&answer.headers, now));
            }
        }
        found.extend(github::limit(&answer.headers, now));
        for repository in repositories {
            found.push(self.repository(repository, who).await);
        }
        found
    }

    async fn answer(&self, path: &str) -> Result<Answered> {
        self.transport.call(Request::new(&Method::GET, path, None)).await
    }

    async fn repository(&self, name: &str, who: Who) -> Finding {
        let seen = async { decode::<Seen>(&self.answer(&repo(name)?).await?.body) };
        match seen.await {
            Ok(seen) if seen.archived => {
                Finding::warn(name, "it is archived: nothing can be posted", "unarchive it, or leave it out")
            }
            // An app's permissions are not those of a person.
            Ok(seen) if who == Who::Token && seen.permissions["push"] == false => Finding::warn(
                name,
                "seen; whose token this is may not push there: reviews can be posted, statuses not",
                "a token of somebody with write access",
            ),
            Ok(_) => Finding::ok(name, "seen"),
            Err(error) => refused(name, &error),
        }
    }
}

/// What an app may do, which GitHub tells.
fn permissions(held: &Value) -> Finding {
    let check = "permissions";
    let lacks = |(name, write): &(&str, bool)| match held[*name].as_str() {
        Some("write" | "admin") => None,
        Some(_) if !*write => None,
        _ if *write => Some(format!("{name}: write")),
        _ => Some(format!("{name}: read")),
    };
    let lacking: Vec<String> = PERMISSIONS.iter().filter_map(lacks).collect();
    match lacking.is_empty() {
        true => Finding::ok(check, "all that reviews need"),
        false => Finding::fail(
            check,
            format!("the GitHub App lacks {}", lacking.join(", ")),
            "add them in the app's settings (\"Permissions & events\"), and have the installation's owner accept",
        ),
    }
}

fn refused(check: &str, error: &GithubError) -> Finding {
    let says = error.to_string();
    let mend = match error {
        GithubError::RateLimited { .. } => {
            return Finding::warn(check, says, "wait until then, and look again");
        }
        GithubError::Unavailable(_) | GithubError::Broken(..) => {
            "can this machine reach GITHUB_API_URL? `curl -sI https://api.github.com`; https://www.githubstatus.com"
        }
        GithubError::BadToken(_) => "set a valid GITHUB_TOKEN or GitHub App, and start the service again",
        _ => WANTED,
    };
    Finding::fail(check, says, mend)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::doctor::Status;

    use super::*;

    #[test]
    fn what_an_app_lacks_is_named() {
        let all = json!({"contents": "read", "pull_requests": "write", "issues": "write", "checks": "write"});
        assert_eq!(permissions(&all).status, Status::Ok);
        let few = permissions(&json!({"contents": "write", "pull_requests": "read"}));
        assert_eq!(few.says, "the GitHub App lacks pull_requests: write, issues: write, checks: write");
        assert_eq!(permissions(&Value::Null).status, Status::Fail);
    }
}
