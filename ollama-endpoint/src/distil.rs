//! Event or update → the text worth remembering, by one template per kind of event. Pure.

mod payload;
mod text;

use jiff::Timestamp;
use shared::event::{Envelope, SenderKind, Subject};
use shared::memory::{Source, Update};

use self::payload::{Commit, Payload};
use self::text::{LONGEST, cut, first_line, listed, tidy};

/// The kind of what is kept of a text that was deleted at its origin.
pub const RETRACTION: &str = "retraction";

/// Why a text that was deleted at its origin is not worth finding.
pub const TAKEN_BACK: &str = "what was taken back is not remembered";

/// A memory before it is stored: what it says, and about what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `owner/name`; empty for events of an organisation.
    pub repository: String,
    /// `change`, `decision`, `discussion`, `review`, `release`, `incident`, `note`, or what an agent called it.
    pub kind: String,
    /// The memory, at most 8 KiB.
    pub text: String,
    /// When it was said.
    pub created_at: Timestamp,
    /// Where it comes from; the store adds the delivery.
    pub source: Source,
    /// Whether a search may find it; junk is kept, but not indexed.
    pub indexed: bool,
}

impl Draft {
    /// The address and kind of event whose memories this one takes back, those that are still to arrive included.
    pub fn takes_back(&self) -> Option<(&str, &str)> {
        let taken = self.kind == RETRACTION && !self.indexed;
        self.source.url.as_deref().zip(self.source.event.as_deref()).filter(|_| taken)
    }
}

/// What a template made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distilled {
    /// The memory.
    pub draft: Draft,
    /// Why it is not worth finding, if it is not.
    pub junk: Option<&'static str>,
    /// What the event did to the code that older memories may speak of.
    pub touches: Vec<Touch>,
}

/// What one commit on the default branch did to the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The commit that did it, as its full id.
    pub commit: String,
    /// When it was made.
    pub at: Timestamp,
    /// The pull request that brought it, where its message says so.
    pub pull_request: Option<u64>,
    /// What it did.
    pub what: Touched,
}

/// What happened to a file or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// The file of this path has other contents now, or is new.
    Changed(String),
    /// There is no file of this path any more.
    Removed(String),
    /// The commit of this id was taken back.
    Reverted(String),
}

/// The part of a [`Draft`] that depends on the kind of event.
struct Told {
    kind: &'static str,
    text: String,
    branch: Option<String>,
    url: Option<String>,
    junk: Option<&'static str>,
}

impl Told {
    fn new(kind: &'static str, text: String) -> Self {
        Self { kind, text, branch: None, url: None, junk: None }
    }

    fn on(mut self, branch: Option<&String>) -> Self {
        self.branch = branch.cloned();
        self
    }

    fn at(mut self, url: Option<&String>) -> Self {
        self.url = url.cloned();
        self
    }

    fn junk(mut self, reason: Option<&'static str>) -> Self {
        self.junk = self.junk.or(reason);
        self
    }

    /// What is left of a deleted text: where it stood, so that its memories are found, and none of its words.
    fn taken_back(self, who: &str) -> Self {
        let Self { branch, url: Some(url), .. } = self else { return self.junk(Some(TAKEN_BACK)) };
        let text = format!("{who} took back what was said at {url}");
        Self { kind: RETRACTION, text, branch, url: Some(url), junk: Some(TAKEN_BACK) }
    }
}

/// The prefix of a local agent's delivery ids, which keeps them apart from GitHub's.
pub const LOCAL_PREFIX: &str = "update:";

/// What was received under a delivery id, whichever of the two forms it has.
///
/// # Errors
/// It is neither an [`Envelope`] nor an [`Update`].
pub fn distil(delivery: &str, body: &[u8], received_at: Timestamp) -> serde_json::Result<Distilled> {
    if delivery.starts_with(LOCAL_PREFIX) {
        return serde_json::from_slice::<Update>(body).map(|sent| update(&sent, received_at));
    }
    serde_json::from_slice::<Envelope>(body).map(|sent| envelope(&sent))
}

/// A local agent's own words are the memory.
pub fn update(update: &Update, received_at: Timestamp) -> Distilled {
    let source = Source {
        delivery: None,
        agent: update.agent.clone(),
        branch: update.branch.clone(),
        event: update.event_type.clone(),
        url: update.url.clone(),
        trust: update.trust,
        author: update.author.clone(),
        pull_request: update.pull_request,
        commits: update.commits.clone(),
        paths: update.paths.clone(),
        model: update.model.clone(),
        prompt_version: update.prompt_version.clone(),
    };
    let draft = Draft {
        repository: update.repository.clone(),
        kind: update.kind.clone().unwrap_or_else(|| "note".to_owned()),
        text: cut(update.context.trim(), LONGEST),
        created_at: update.timestamp.unwrap_or(received_at),
        source,
        indexed: true,
    };
    Distilled { draft, junk: None, touches: Vec::new() }
}

/// What happened, in words that a later search is likely to use.
pub fn envelope(envelope: &Envelope) -> Distilled {
    let payload = Payload::parse(&envelope.payload);
    let action = envelope.action.as_deref().unwrap_or_default();
    let who = envelope.sender.as_ref().map_or("somebody", |sender| &sender.login);
    let told = match envelope.event.as_str() {
        "push" => push(envelope, &payload, who),
        "pull_request" => pull_request(&payload, action, who),
        "issue_comment" => issue_comment(envelope, &payload, who),
        "pull_request_review" => review(&payload, action, who),
        "pull_request_review_comment" => review_comment(&payload, who),
        "issues" => issue(&payload, action, who),
        "release" => release(&payload, action, who),
        "workflow_run" => workflow_run(&payload),
        event => other(event, &payload, action, who),
    };
    let told = match action {
        // A release that is published again has the same address.
        "deleted" if envelope.event != "release" => told.taken_back(who),
        _ => told.junk(ours(&payload)),
    };
    let repository = envelope.repository.as_ref().map(|repository| repository.full_name.clone());
    let told = told.junk(repository.is_none().then_some("it belongs to no repository"));
    let draft = Draft {
        repository: repository.unwrap_or_default(),
        kind: told.kind.to_owned(),
        text: cut(&told.text, LONGEST),
        created_at: envelope.received_at,
        source: Source {
            agent: envelope.sender.as_ref().map(|sender| sender.login.clone()),
            branch: told.branch,
            event: Some(envelope.event.clone()),
            url: told.url,
            trust: payload.trust(envelope),
            ..Source::default()
        },
        indexed: told.junk.is_none(),
    };
    Distilled { draft, junk: told.junk, touches: Vec::new() }
}

fn push(envelope: &Envelope, payload: &Payload, who: &str) -> Told {
    let Subject::Push(push) = &envelope.subject else {
        return Told::new("change", format!("{who} pushed")).junk(Some("it does not say what was pushed"));
    };
    let deleted = push.after.bytes().all(|digit| digit == b'0');
    if let Some(tag) = push.git_ref.strip_prefix("refs/tags/") {
        let verb = if deleted { "deleted" } else { "set" };
        return Told::new("release", format!("{who} {verb} the tag {tag} ({})", short(&push.after)));
    }
    let branch = push.git_ref.trim_start_matches("refs/heads/").to_owned();
    let own: Vec<&Commit> = payload.commits.iter().filter(|commit| !commit.is_merge()).collect();
    let mut text = format!("{who} pushed {} to {branch}", counted(own.len(), "commit"));
    if push.forced {
        text.push_str(", rewriting its history (force push)");
    }
    for commit in own.iter().take(50) {
        text.push_str(&format!(
            "\n- {} {}",
            short(&commit.id),
            tidy(&commit.message).replace("\n\n", "\n").replace('\n', "\n  ")
        ));
    }
    let files = own.iter().flat_map(|commit| commit.files());
    if let Some(files) = listed(files, 40) {
        text.push_str(&format!("\nFiles: {files}"));
    }
    let junk = match (deleted, payload.commits.is_empty(), own.is_empty()) {
        (true, ..) => Some("a deleted branch says nothing"),
        (_, true, _) if !push.forced => Some("a push without commits says nothing"),
        (_, false, true) if !push.forced => Some("it only merges what was already remembered"),
        _ => None,
    };
    Told::new("change", text).on(Some(&branch)).at(payload.compare.as_ref()).junk(junk)
}

fn pull_request(payload: &Payload, action: &str, who: &str) -> Told {
    let pr = payload.pull_request.clone().unwrap_or_default();
    let (kind, verb) = match (action, pr.merged) {
        ("closed", Some(true)) => ("change", "merged"),
        ("closed", _) => ("decision", "closed without merging"),
        (action, _) => ("change", action),
    };
    let mut text = format!(
        "Pull request {} {} by {who}",
        titled(pr.number, pr.title.as_deref()),
        verb.replace('_', " ")
    );
    if let Some(author) = pr.user.login.as_deref().filter(|author| *author != who) {
        text.push_str(&format!(" (author {author})"));
    }
    if let (Some(head), Some(base)) = (&pr.head.name, &pr.base.name) {
        text.push_str(&format!("\nBranch {head} into {base}"));
    }
    push_body(&mut text, pr.body.as_deref());
    let junk = match action {
        "opened" | "reopened" | "edited" | "ready_for_review" | "closed" => None,
        "synchronize" => Some("a new head says nothing by itself"),
        _ => Some("it does not change what the pull request says"),
    };
    Told::new(kind, text).on(pr.head.name.as_ref()).at(pr.html_url.as_ref()).junk(junk)
}

fn issue_comment(envelope: &Envelope, payload: &Payload, who: &str) -> Told {
    let issue = payload.issue.clone().unwrap_or_default();
    let comment = payload.comment.clone().unwrap_or_default();
    let mut text = format!("{who} commented on {}", titled(issue.number, issue.title.as_deref()));
    push_body(&mut text, comment.body.as_deref());
    let bot = envelope.sender.as_ref().is_some_and(|sender| sender.kind == SenderKind::Bot);
    Told::new("discussion", text)
        .at(comment.html_url.as_ref())
        .junk(silent(comment.body.as_deref()))
        .junk(bot.then_some("bots' comments are chatter"))
}

fn review(payload: &Payload, action: &str, who: &str) -> Told {
    let pr = payload.pull_request.clone().unwrap_or_default();
    let review = payload.review.clone().unwrap_or_default();
    let state = review.state.as_deref().unwrap_or_default().to_lowercase();
    let verb = match state.as_str() {
        "approved" => "approved",
        "changes_requested" => "requested changes on",
        _ => "reviewed",
    };
    let mut text = format!("{who} {verb} pull request {}", titled(pr.number, pr.title.as_deref()));
    push_body(&mut text, review.body.as_deref());
    let junk = match (action, verb) {
        // An approval is a decision even without words.
        ("submitted", "approved" | "requested changes on") => None,
        ("dismissed", _) => Some("a dismissal does not change what the review says"),
        _ => silent(review.body.as_deref()),
    };
    Told::new("review", text).on(pr.head.name.as_ref()).at(review.html_url.as_ref()).junk(junk)
}

fn review_comment(payload: &Payload, who: &str) -> Told {
    let pr = payload.pull_request.clone().unwrap_or_default();
    let comment = payload.comment.clone().unwrap_or_default();
    let mut text = format!("{who} on pull request {}", titled(pr.number, pr.title.as_deref()));
    if let Some(path) = &comment.path {
        let line = comment.line.map(|line| format!(":{line}")).unwrap_or_default();
        text.push_str(&format!(", {path}{line}"));
    }
    push_body(&mut text, comment.body.as_deref());
    Told::new("review", text)
        .on(pr.head.name.as_ref())
        .at(comment.html_url.as_ref())
        .junk(silent(comment.body.as_deref()))
}

fn issue(payload: &Payload, action: &str, who: &str) -> Told {
    let issue = payload.issue.clone().unwrap_or_default();
    let reason = issue.state_reason.as_deref().filter(|_| action == "closed");
    let reason = reason.map(|reason| format!(" as {}", reason.replace('_', " "))).unwrap_or_default();
    let mut text =
        format!("Issue {} {action}{reason} by {who}", titled(issue.number, issue.title.as_deref()));
    push_body(&mut text, issue.body.as_deref());
    let told = matches!(action, "opened" | "edited" | "closed" | "reopened");
    Told::new("discussion", text)
        .at(issue.html_url.as_ref())
        .junk((!told).then_some("it does not change what the issue says"))
}

fn release(payload: &Payload, action: &str, who: &str) -> Told {
    let release = payload.release.clone().unwrap_or_default();
    let tag = release.tag_name.as_deref().unwrap_or("without a tag");
    let name = release.name.as_deref().filter(|name| !name.is_empty() && *name != tag);
    let mut text =
        format!("Release {tag}{} published by {who}", name.map(|n| format!(" \"{n}\"")).unwrap_or_default());
    push_body(&mut text, release.body.as_deref());
    // GitHub sends `created`, `published` and `released` for one release.
    let junk = (action != "published").then_some("only the publication of a release is remembered");
    Told::new("release", text).at(release.html_url.as_ref()).junk(junk)
}

fn workflow_run(payload: &Payload) -> Told {
    let run = payload.workflow_run.clone().unwrap_or_default();
    let conclusion = run.conclusion.as_deref().unwrap_or("unfinished");
    let mut text = format!(
        "Workflow \"{}\" ended as {}",
        run.name.as_deref().unwrap_or("?"),
        conclusion.replace('_', " ")
    );
    if let Some(branch) = &run.head_branch {
        text.push_str(&format!(" on {branch}"));
    }
    if let Some(number) = run.run_number {
        text.push_str(&format!(" (run {number})"));
    }
    if let Some(commit) = &run.head_commit {
        text.push_str(&format!("\nCommit {} {}", short(&commit.id), first_line(&commit.message)));
    }
    let failed = matches!(conclusion, "failure" | "timed_out" | "startup_failure");
    Told::new("incident", text)
        .on(run.head_branch.as_ref())
        .at(run.html_url.as_ref())
        .junk((!failed).then_some("only failed runs are remembered"))
}

fn other(event: &str, payload: &Payload, action: &str, who: &str) -> Told {
    let about = payload.discussion.clone().or_else(|| payload.issue.clone()).unwrap_or_default();
    let comment = payload.comment.clone().unwrap_or_default();
    let mut text = format!("{} {} by {who}", event.replace('_', " "), action.replace('_', " "));
    if about.title.is_some() {
        text.push_str(&format!(": {}", titled(about.number, about.title.as_deref())));
    }
    let body = comment.body.as_deref().or(about.body.as_deref());
    push_body(&mut text, body);
    Told::new("note", text).at(comment.html_url.as_ref().or(about.html_url.as_ref())).junk(
        tidy(body.unwrap_or_default()).is_empty().then_some("this kind of event carries no text to remember"),
    )
}

/// Why a comment or review without words is not worth finding.
fn silent(body: Option<&str>) -> Option<&'static str> {
    tidy(body.unwrap_or_default()).is_empty().then_some("it has no text")
}

/// Our own reviews come back as events of several kinds; the reviewer has remembered what they say already.
fn ours(payload: &Payload) -> Option<&'static str> {
    let comment = payload.comment.as_ref().and_then(|comment| comment.body.as_deref());
    let review = payload.review.as_ref().and_then(|review| review.body.as_deref());
    let marked = comment.or(review).is_some_and(|body| body.contains("<!-- ai-relay"));
    marked.then_some("it is our own; its author remembers it")
}

fn push_body(text: &mut String, body: Option<&str>) {
    let body = tidy(body.unwrap_or_default());
    if !body.is_empty() {
        text.push_str("\n\n");
        text.push_str(&body);
    }
}

fn titled(number: Option<u64>, title: Option<&str>) -> String {
    let number = number.map_or_else(|| "#?".to_owned(), |number| format!("#{number}"));
    title.map_or_else(|| number.clone(), |title| format!("{number} \"{title}\""))
}

fn counted(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

fn short(sha: &str) -> &str {
    sha.get(..8).unwrap_or(sha)
}

#[cfg(test)]
mod tests;
