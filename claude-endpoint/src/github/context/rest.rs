//! What REST knows of the same: where there is no token, or a host without our GraphQL API. It does not know which
//! threads are resolved, nor which issues are linked.

use http::Method;

use super::{Context, OwnReview, Text, Thread, Want};
use crate::github::transport::GithubError;
use crate::github::{Github, Result, repo, sha, wire};

/// Reviews or comments that are read.
const MOST_PAGES: usize = 30;
const RAW: &str = "application/vnd.github.raw+json";
/// Bytes of a rules file.
const LARGEST_TEXT: usize = 256 * 1024;

impl Github {
    pub(super) async fn context_by_rest(&self, repository: &str, want: &Want<'_>) -> Result<Context> {
        let mut context = Context {
            pull: self.pull(repository, want.number).await?,
            commits: Vec::new(),
            issues: Vec::new(),
            rules: Vec::new(),
            files: Vec::new(),
            threads: Vec::new(),
            has_all_threads: false,
            reviews: Vec::new(),
            viewer: None,
            missing: Vec::new(),
        };
        if !self.can_post() {
            // sixty calls an hour are too few for more, and nothing will be posted
            context
                .missing
                .push("everything but the pull request itself: GITHUB_TOKEN is not set".to_owned());
            return Ok(context);
        }
        context.missing.push(
            "commit messages, linked issues, texts of the changed files, which threads are resolved: this host has \
             no GraphQL API that knows them"
                .to_owned(),
        );
        context.viewer = self.login().await?.map(str::to_owned);
        context.reviews = self.own_reviews_by_rest(repository, want.number).await?;
        context.threads = self.own_threads_by_rest(repository, want.number).await?;
        context.has_all_threads = true;
        for path in want.rules {
            context.rules.extend(self.text_by_rest(repository, want.base, path).await?);
        }
        Ok(context)
    }

    pub(in crate::github) async fn own_reviews_by_rest(
        &self,
        repository: &str,
        number: u64,
    ) -> Result<Vec<OwnReview>> {
        let login = self.login().await?;
        let path = format!("{}/pulls/{number}/reviews", repo(repository)?);
        let reviews: Vec<wire::Posted> = self.pages(&path, MOST_PAGES, |_| false).await?;
        let own = reviews.into_iter().filter(|review| review.is_by(login) && review.state != "PENDING");
        Ok(own.map(OwnReview::from).collect())
    }

    async fn own_threads_by_rest(&self, repository: &str, number: u64) -> Result<Vec<Thread>> {
        let login = self.login().await?;
        let comments = self.review_comments(repository, number).await?;
        let (roots, replies): (Vec<_>, Vec<_>) =
            comments.into_iter().partition(|comment| comment.in_reply_to_id.is_none());
        let ours = roots.into_iter().filter(|root| root.is_by(login));
        let thread = |root: wire::Posted| {
            let in_it = replies.iter().filter(|reply| reply.in_reply_to_id == Some(root.id));
            Thread {
                id: String::new(),
                is_resolved: false,
                resolved_by: None,
                is_outdated: root.is_outdated(),
                path: root.path.clone().unwrap_or_default(),
                line: root.line,
                comments: std::iter::once(&root).chain(in_it).map(|it| it.in_thread(login)).collect(),
            }
        };
        Ok(ours.map(thread).collect())
    }

    /// All comments on the code of a pull request, oldest first.
    pub(in crate::github) async fn review_comments(
        &self,
        repository: &str,
        number: u64,
    ) -> Result<Vec<wire::Posted>> {
        let path = format!("{}/pulls/{number}/comments", repo(repository)?);
        self.pages(&path, MOST_PAGES, |_| false).await
    }

    async fn text_by_rest(&self, repository: &str, commit: &str, path: &str) -> Result<Option<Text>> {
        let encoded: Vec<String> = path.split('/').map(segment).collect();
        let url = format!("{}/contents/{}?ref={}", repo(repository)?, encoded.join("/"), sha(commit)?);
        match self.call(Method::GET, &url, RAW, None).await {
            Ok(text) if text.len() <= LARGEST_TEXT => {
                let text = String::from_utf8(text.to_vec()).ok();
                Ok(text.map(|text| Text { path: path.to_owned(), text }))
            }
            Ok(_) | Err(GithubError::NotFound(_) | GithubError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A part of a path as it can stand in a URL.
fn segment(part: &str) -> String {
    let encode = |byte: u8| match byte {
        b'.' if part == "." || part == ".." => "%2E".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    part.bytes().map(encode).collect()
}
