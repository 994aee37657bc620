//! What GraphQL answers, read into a [`Context`].

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::thread::WireThread;
use super::{Commit, Context, Issue, OwnReview, Text, Want, document};
use crate::github::graphql::Answer;
use crate::github::transport::GithubError;
use crate::github::{Pull, Result};
use crate::text::shorten;

/// Bytes of one text, and of all.
const LARGEST_TEXT: usize = 256 * 1024;
const MOST_TEXT: usize = 4 * 1024 * 1024;
/// Characters.
const LONGEST_MESSAGE: usize = 4_000;
const LONGEST_ISSUE: usize = 20_000;

/// What has been read so far, and where it goes on.
pub(super) struct Read {
    pub(super) context: Context,
    /// Reviews before this cursor are still to be read.
    pub(super) before: Option<Value>,
    /// Threads after this cursor are still to be read.
    pub(super) after: Option<Value>,
}

/// A page of a connection.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct Nodes<T> {
    nodes: Option<Vec<Option<T>>>,
    page_info: Option<PageInfo>,
}

impl<T> Nodes<T> {
    pub(super) fn all(self) -> impl Iterator<Item = T> {
        self.nodes.into_iter().flatten().flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default)]
    has_previous_page: bool,
    start_cursor: Option<Value>,
    #[serde(default)]
    has_next_page: bool,
    end_cursor: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Actor {
    #[serde(rename = "__typename")]
    kind: String,
    login: String,
}

impl Actor {
    fn is_bot(&self) -> bool {
        self.kind == "Bot"
    }

    /// As REST and webhooks have it: GraphQL shows a bot without its `[bot]`.
    pub(super) fn login(actor: Option<Self>) -> String {
        match actor {
            Some(actor) if actor.is_bot() => format!("{}[bot]", actor.login),
            Some(actor) => actor.login,
            None => String::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullFields {
    state: String,
    is_draft: bool,
    title: String,
    body: String,
    url: String,
    head_ref_oid: String,
    head_ref_name: String,
    base_ref_oid: String,
    changed_files: usize,
    updated_at: Option<Timestamp>,
    is_cross_repository: bool,
    author: Option<Actor>,
}

impl From<PullFields> for Pull {
    fn from(it: PullFields) -> Self {
        Self {
            open: it.state == "OPEN",
            draft: it.is_draft,
            head_sha: it.head_ref_oid,
            base_sha: it.base_ref_oid,
            changed_files: it.changed_files,
            updated_at: it.updated_at,
            head_ref: it.head_ref_name,
            title: it.title,
            body: it.body,
            author_is_bot: it.author.as_ref().is_some_and(Actor::is_bot),
            author: Actor::login(it.author),
            is_cross_repository: it.is_cross_repository,
            url: it.url,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(deserialize_with = "id")]
    full_database_id: Option<u64>,
    viewer_did_author: bool,
    body: String,
    url: String,
    /// Only the viewer's own draft has none.
    submitted_at: Option<Timestamp>,
    commit: Option<Oid>,
}

#[derive(Deserialize)]
struct Oid {
    oid: String,
}

/// Ids have outgrown GraphQL's numbers and come as text.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()))
}

/// Our own reviews on one page, oldest first.
pub(in crate::github) struct OwnReviews {
    pub(in crate::github) own: Vec<OwnReview>,
    /// Where older ones are.
    pub(in crate::github) before: Option<Value>,
    /// When the oldest one of the page was submitted, whoever wrote it.
    pub(in crate::github) oldest: Option<Timestamp>,
}

/// A pull request with a page of its reviews.
pub(in crate::github) struct Paged {
    /// None in an answer about more pages.
    pub(in crate::github) pull: Option<Pull>,
    pub(in crate::github) reviews: OwnReviews,
}

impl Paged {
    /// Reads `pull` of the repository. It and its reviews are what nothing can be done without.
    pub(in crate::github) fn of(answer: &Answer, what: &str) -> Result<Self> {
        let pull = &answer.data["repository"]["pull"];
        let missing = || answer.error_at("pull", what).unwrap_or_else(|| answer.error(what));
        if answer.data["repository"].is_null() || pull.is_null() || pull["reviews"].is_null() {
            return Err(missing());
        }
        let reviews: Nodes<Review> = decoded(&pull["reviews"])?;
        let fields: Option<PullFields> =
            if pull.get("headRefOid").is_some() { Some(decoded(pull)?) } else { None };
        Ok(Self { pull: fields.map(Pull::from), reviews: own_reviews(reviews) })
    }
}

fn own_reviews(page: Nodes<Review>) -> OwnReviews {
    let older = page.page_info.as_ref().filter(|info| info.has_previous_page);
    let before = older.and_then(|info| info.start_cursor.clone());
    let (mut own, mut oldest) = (Vec::new(), None);
    for review in page.all() {
        let Some(submitted) = review.submitted_at else { continue };
        oldest = Some(oldest.map_or(submitted, |oldest: Timestamp| oldest.min(submitted)));
        if let (true, Some(id)) = (review.viewer_did_author, review.full_database_id) {
            let commit = review.commit.map(|commit| commit.oid).unwrap_or_default();
            own.push(OwnReview { id, body: review.body, url: review.url, commit });
        }
    }
    OwnReviews { own, before, oldest }
}

/// The first answer.
pub(super) fn context(answer: &Answer, repository: &str, want: &Want<'_>, what: &str) -> Result<Read> {
    let Paged { pull, reviews } = Paged::of(answer, what)?;
    let pull = pull.ok_or_else(|| GithubError::Unexpected("a pull request without its head".to_owned()))?;
    let it = &answer.data["repository"];
    let mut missing = Vec::new();
    let mut optional = |alias: &str, field: &str, name: &str| -> Value {
        let part = it[alias][field].clone();
        if part.is_null() {
            let reason =
                answer.error_at(alias, what).map_or("not shown".to_owned(), |error| error.to_string());
            missing.push(format!("{name}: {reason}"));
        }
        part
    };
    let commits = optional("commits", "commits", "commit messages");
    let issues = optional("issues", "closingIssuesReferences", "linked issues");
    let threads = optional("threads", "reviewThreads", "review threads");
    let mut read = Read {
        context: Context {
            pull,
            commits: self::commits(&commits)?,
            issues: self::issues(&issues, it["nameWithOwner"].as_str().unwrap_or(repository))?,
            rules: Vec::new(),
            files: Vec::new(),
            threads: Vec::new(),
            has_all_threads: !threads.is_null(),
            reviews: reviews.own,
            viewer: answer.data["viewer"]["login"].as_str().map(str::to_owned),
            missing,
        },
        before: reviews.before,
        after: None,
    };
    read.add_threads(&threads)?;
    read.read_texts(answer, want, what)?;
    Ok(read)
}

impl Read {
    /// A further page of reviews, of threads, or of both.
    pub(super) fn add(&mut self, answer: &Answer, what: &str) -> Result<()> {
        if self.before.is_some() {
            let OwnReviews { mut own, before, .. } = Paged::of(answer, what)?.reviews;
            own.append(&mut self.context.reviews);
            (self.context.reviews, self.before) = (own, before);
        }
        if self.after.is_some() {
            let threads = &answer.data["repository"]["threads"]["reviewThreads"];
            if threads.is_null() {
                let reason = answer.error_at("threads", what).unwrap_or_else(|| answer.error(what));
                self.context.missing.push(format!("newer review threads: {reason}"));
                self.context.has_all_threads = false;
            }
            self.add_threads(threads)?;
        }
        Ok(())
    }

    fn add_threads(&mut self, threads: &Value) -> Result<()> {
        self.after = None;
        let Some(page) = decoded::<Option<Nodes<WireThread>>>(threads)? else { return Ok(()) };
        let newer = page.page_info.as_ref().filter(|info| info.has_next_page);
        self.after = newer.and_then(|info| info.end_cursor.clone());
        self.context.threads.extend(page.all().filter_map(WireThread::ours));
        Ok(())
    }

    fn read_texts(&mut self, answer: &Answer, want: &Want<'_>, what: &str) -> Result<()> {
        let wanted = want.rules.iter().copied().chain(want.paths.iter().map(String::as_str));
        let mut room = MOST_TEXT;
        for (i, path) in wanted.enumerate() {
            let (alias, is_rule) = (document::object(i), i < want.rules.len());
            let blob: Option<Blob> = decoded(&answer.data["repository"][&alias])?;
            let text = blob.and_then(Blob::whole).filter(|text| text.len() <= LARGEST_TEXT.min(room));
            if let Some(text) = text {
                room -= text.len();
                let texts = if is_rule { &mut self.context.rules } else { &mut self.context.files };
                texts.push(Text { path: path.to_owned(), text });
            } else if let Some(error) = answer.error_at(&alias, what) {
                self.context.missing.push(format!("the text of `{path}`: {error}"));
            }
        }
        Ok(())
    }
}

fn commits(commits: &Value) -> Result<Vec<Commit>> {
    #[derive(Deserialize)]
    struct Node {
        commit: Fields,
    }
    #[derive(Deserialize)]
    struct Fields {
        oid: String,
        message: String,
    }
    let page: Option<Nodes<Node>> = decoded(commits)?;
    let commits = page.into_iter().flat_map(Nodes::all).map(|node| node.commit);
    Ok(commits.map(|it| Commit { sha: it.oid, message: shorten(&it.message, LONGEST_MESSAGE) }).collect())
}

/// Those of this repository: one of another may be private, and what is in it must not show up in a review.
fn issues(issues: &Value, repository: &str) -> Result<Vec<Issue>> {
    #[derive(Deserialize)]
    struct Node {
        number: u64,
        title: String,
        body: String,
        state: String,
        url: String,
        author: Option<Actor>,
        repository: Repository,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Repository {
        name_with_owner: String,
    }
    let page: Option<Nodes<Node>> = decoded(issues)?;
    let own = page.into_iter().flat_map(Nodes::all);
    let own = own.filter(|node| node.repository.name_with_owner.eq_ignore_ascii_case(repository));
    let issue = |node: Node| Issue {
        number: node.number,
        title: node.title,
        body: shorten(&node.body, LONGEST_ISSUE),
        author: Actor::login(node.author),
        open: node.state == "OPEN",
        is_pull_request: false,
        url: node.url,
    };
    Ok(own.map(issue).collect())
}

/// A folder or a submodule has none of these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    text: Option<String>,
    byte_size: Option<usize>,
    is_binary: Option<bool>,
    #[serde(default)]
    is_truncated: bool,
}

impl Blob {
    fn whole(self) -> Option<String> {
        let is_small = self.byte_size.is_some_and(|size| size <= LARGEST_TEXT);
        self.text.filter(|_| is_small && !self.is_truncated && self.is_binary != Some(true))
    }
}

fn decoded<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| GithubError::Unexpected(error.to_string()))
}
