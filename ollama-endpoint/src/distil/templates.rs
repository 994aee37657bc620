//! One template for each kind of event but pushes. Pure.

use super::text::{first_line, tidy};
use super::{Payload, Told, junk};

pub(super) fn pull_request(payload: &Payload, action: &str, who: &str) -> Told {
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

pub(super) fn issue_comment(payload: &Payload, who: &str) -> Told {
    let issue = payload.issue.clone().unwrap_or_default();
    let comment = payload.comment.clone().unwrap_or_default();
    let mut text = format!("{who} commented on {}", titled(issue.number, issue.title.as_deref()));
    push_body(&mut text, comment.body.as_deref());
    Told::new("discussion", text).at(comment.html_url.as_ref()).junk(comment_junk(comment.body.as_deref()))
}

pub(super) fn review(payload: &Payload, action: &str, who: &str) -> Told {
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
        _ => comment_junk(review.body.as_deref()),
    };
    Told::new("review", text).on(pr.head.name.as_ref()).at(review.html_url.as_ref()).junk(junk)
}

pub(super) fn review_comment(payload: &Payload, who: &str) -> Told {
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
        .junk(comment_junk(comment.body.as_deref()))
}

pub(super) fn issue(payload: &Payload, action: &str, who: &str) -> Told {
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

pub(super) fn release(payload: &Payload, action: &str, who: &str) -> Told {
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

pub(super) fn workflow_run(payload: &Payload) -> Told {
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

pub(super) fn other(event: &str, payload: &Payload, action: &str, who: &str) -> Told {
    let about = payload.discussion.clone().or_else(|| payload.issue.clone()).unwrap_or_default();
    let comment = payload.comment.clone().unwrap_or_default();
    let mut text = format!("{} {} by {who}", event.replace('_', " "), action.replace('_', " "));
    if about.title.is_some() {
        text.push_str(&format!(": {}", titled(about.number, about.title.as_deref())));
    }
    let body = comment.body.as_deref().or(about.body.as_deref());
    push_body(&mut text, body);
    let silent = tidy(body.unwrap_or_default()).is_empty();
    let junk =
        if silent { Some("this kind of event carries no text to remember") } else { comment_junk(body) };
    Told::new("note", text).at(comment.html_url.as_ref().or(about.html_url.as_ref())).junk(junk)
}

/// Why a comment or review is not worth finding.
fn comment_junk(body: Option<&str>) -> Option<&'static str> {
    junk::of_comment(&tidy(body.unwrap_or_default()))
}

/// Adds what somebody wrote, unless it had been recalled from here.
pub(super) fn push_body(text: &mut String, body: Option<&str>) {
    let body = tidy(body.unwrap_or_default());
    if !body.is_empty() && !junk::is_recalled(&body) {
        text.push_str("\n\n");
        text.push_str(&body);
    }
}

pub(super) fn titled(number: Option<u64>, title: Option<&str>) -> String {
    let number = number.map_or_else(|| "#?".to_owned(), |number| format!("#{number}"));
    title.map_or_else(|| number.clone(), |title| format!("{number} \"{title}\""))
}

pub(super) fn counted(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

pub(super) fn short(sha: &str) -> &str {
    sha.get(..8).unwrap_or(sha)
}
