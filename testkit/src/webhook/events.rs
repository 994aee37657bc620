//! One function per event. Everything follows from the [`Scenario`], so the same call gives the same bytes.

use serde_json::{Value, json};

use crate::scenario::Scenario;
use crate::shape::{self, API, Repo, User, WEB, extended, id_of, node_id, sha_of};

/// Id of the made-up hook.
pub(super) const HOOK_ID: u64 = 518_204_991;

/// What every event carries.
fn envelope(scenario: &Scenario, sender: &str) -> Value {
    let mut common = json!({
        "repository": shape::repository(API, &scenario.repo()),
        "sender": shape::user(API, &User::new(sender)),
    });
    if let Some(id) = scenario.installation {
        common["installation"] = json!({"id": id, "node_id": node_id("MDIzOkludGVncmF0aW9u", id)});
    }
    common
}

/// `pull_request`: opened, synchronize, reopened, `ready_for_review`, edited, closed ….
pub fn pull_request(scenario: &Scenario, action: &str) -> Value {
    let mut pull = scenario.pull();
    pull.open = action != "closed";
    let own = json!({
        "action": action, "number": scenario.number,
        "pull_request": shape::pull_request(API, &scenario.repo(), &pull),
    });
    let more = match action {
        "synchronize" => json!({"before": scenario.before, "after": scenario.head_sha}),
        "edited" => json!({"changes": {"title": {"from": format!("WIP: {}", scenario.title)}}}),
        _ => json!({}),
    };
    extended(extended(own, more), envelope(scenario, &scenario.author))
}

/// `push` of the scenario's newest commit to its branch.
pub fn push(scenario: &Scenario) -> Value {
    let (full, after) = (&scenario.repository, &scenario.head_sha);
    let person = json!({
        "name": scenario.author, "email": format!("{}@users.noreply.github.com", scenario.author),
        "username": scenario.author,
    });
    let paths: Vec<_> = scenario.increment.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
    let commit = json!({
        "id": after, "tree_id": sha_of(&format!("tree {after}")), "distinct": true, "message": scenario.title,
        "timestamp": scenario.updated_at, "url": format!("{WEB}/{full}/commit/{after}"), "author": person,
        "committer": person, "added": [], "removed": [], "modified": paths,
    });
    let own = json!({
        "ref": format!("refs/heads/{}", scenario.head_ref), "before": scenario.before, "after": after,
        "pusher": {"name": scenario.author, "email": person["email"]}, "created": false, "deleted": false,
        "forced": false, "base_ref": null,
        "compare": format!("{WEB}/{full}/compare/{:.12}...{after:.12}", scenario.before),
        "commits": [commit], "head_commit": commit,
    });
    let mut event = extended(own, envelope(scenario, &scenario.author));
    event["repository"] = pushed_repository(&scenario.repo());
    event
}

/// In pushes the repository's times are Unix seconds and its owner has a name.
fn pushed_repository(repo: &Repo) -> Value {
    let owner = shape::user(API, &User::new(repo.owner()));
    let more = json!({
        "created_at": 1_767_604_364, "pushed_at": 1_795_341_491, "stargazers": 3,
        "master_branch": repo.default_branch,
        "owner": extended(owner, json!({"name": repo.owner(), "email": null})),
    });
    extended(shape::repository(API, repo), more)
}

/// `issue_comment` on the scenario's pull request (on a plain issue if `number` is another one).
pub fn issue_comment(scenario: &Scenario, action: &str, number: u64, author: &str, body: &str) -> Value {
    let id = id_of(&format!("{}#{number} {author} {body}", scenario.repository));
    let base = format!("{API}/repos/{}/issues", scenario.repository);
    let comment = json!({
        "id": id, "node_id": node_id("IC", id), "url": format!("{base}/comments/{id}"),
        "html_url": format!("{}#issuecomment-{id}", page(scenario, number)),
        "issue_url": format!("{base}/{number}"), "user": shape::user(API, &User::new(author)),
        "created_at": scenario.updated_at, "updated_at": scenario.updated_at,
        "author_association": "CONTRIBUTOR", "body": body, "reactions": reactions(&format!("{base}/comments/{id}")),
        "performed_via_github_app": null,
    });
    let mut issue = issue_json(scenario, number, &scenario.title, &scenario.body);
    if number == scenario.number {
        let page = page(scenario, number);
        issue["pull_request"] = json!({
            "url": format!("{API}/repos/{}/pulls/{number}", scenario.repository), "html_url": page,
            "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"), "merged_at": null,
        });
        issue["draft"] = json!(scenario.draft);
    }
    extended(json!({"action": action, "issue": issue, "comment": comment}), envelope(scenario, author))
}

/// `issues`.
pub fn issues(scenario: &Scenario, action: &str, number: u64, title: &str, body: &str) -> Value {
    let issue = issue_json(scenario, number, title, body);
    extended(json!({"action": action, "issue": issue}), envelope(scenario, &scenario.author))
}

fn page(scenario: &Scenario, number: u64) -> String {
    let kind = if number == scenario.number { "pull" } else { "issues" };
    format!("{WEB}/{}/{kind}/{number}", scenario.repository)
}

fn issue_json(scenario: &Scenario, number: u64, title: &str, body: &str) -> Value {
    let id = id_of(&format!("issue {}#{number}", scenario.repository));
    let repository = format!("{API}/repos/{}", scenario.repository);
    let own = format!("{repository}/issues/{number}");
    json!({
        "url": own, "repository_url": repository, "labels_url": format!("{own}/labels{{/name}}"),
        "comments_url": format!("{own}/comments"), "events_url": format!("{own}/events"),
        "html_url": page(scenario, number), "id": id, "node_id": node_id("I", id), "number": number,
        "title": title, "user": shape::user(API, &User::new(&scenario.author)), "labels": [], "state": "open",
        "locked": false, "assignee": null, "assignees": [], "milestone": null, "comments": 1,
        "created_at": "2026-11-22T09:58:12Z", "updated_at": scenario.updated_at, "closed_at": null,
        "author_association": "CONTRIBUTOR", "active_lock_reason": null, "body": body, "reactions": reactions(&own),
        "timeline_url": format!("{own}/timeline"), "performed_via_github_app": null, "state_reason": null,
    })
}

fn reactions(of: &str) -> Value {
    json!({
        "url": format!("{of}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0,
        "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
    })
}

/// `pull_request_review`; `state` is approved, commented, `changes_requested` or dismissed.
pub fn pull_request_review(
    scenario: &Scenario,
    action: &str,
    author: &str,
    state: &str,
    body: &str,
) -> Value {
    let id = id_of(&format!("review {author} {body}"));
    let pull = shape::pull_request(API, &scenario.repo(), &scenario.pull());
    let html = format!("{}#pullrequestreview-{id}", page(scenario, scenario.number));
    let review = json!({
        "id": id, "node_id": node_id("PRR", id), "user": shape::user(API, &User::new(author)), "body": body,
        "commit_id": scenario.head_sha, "submitted_at": scenario.updated_at, "state": state, "html_url": html,
        "pull_request_url": pull["url"], "author_association": "CONTRIBUTOR",
        "_links": {"html": {"href": html}, "pull_request": {"href": pull["url"]}},
    });
    extended(json!({"action": action, "review": review, "pull_request": pull}), envelope(scenario, author))
}

/// `pull_request_review_comment` on one line.
pub fn pull_request_review_comment(
    scenario: &Scenario,
    action: &str,
    author: &str,
    (path, line): (&str, u64),
    body: &str,
) -> Value {
    let id = id_of(&format!("comment {author} {path} {line} {body}"));
    let pull = shape::pull_request(API, &scenario.repo(), &scenario.pull());
    let own = format!("{API}/repos/{}/pulls/comments/{id}", scenario.repository);
    let html = format!("{}#discussion_r{id}", page(scenario, scenario.number));
    let comment = json!({
        "url": own, "pull_request_review_id": id_of(&format!("review of {id}")), "id": id,
        "node_id": node_id("PRRC", id), "diff_hunk": "@@ -1,1 +1,1 @@", "path": path,
        "commit_id": scenario.head_sha, "original_commit_id": scenario.head_sha,
        "user": shape::user(API, &User::new(author)), "body": body, "created_at": scenario.updated_at,
        "updated_at": scenario.updated_at, "html_url": html, "pull_request_url": pull["url"],
        "author_association": "CONTRIBUTOR", "reactions": reactions(&own), "start_line": null,
        "original_start_line": null, "start_side": null, "line": line, "original_line": line, "side": "RIGHT",
        "original_position": 1, "position": 1, "subject_type": "line",
        "_links": {"self": {"href": own}, "html": {"href": html}, "pull_request": {"href": pull["url"]}},
    });
    extended(json!({"action": action, "comment": comment, "pull_request": pull}), envelope(scenario, author))
}

/// `release`.
pub fn release(scenario: &Scenario, action: &str, tag: &str) -> Value {
    let id = id_of(&format!("release {tag}"));
    let (full, author) = (&scenario.repository, User::new(&scenario.author));
    let own = format!("{API}/repos/{full}/releases/{id}");
    let release = json!({
        "url": own, "assets_url": format!("{own}/assets"),
        "upload_url": format!("https://uploads.github.com/repos/{full}/releases/{id}/assets{{?name,label}}"),
        "html_url": format!("{WEB}/{full}/releases/tag/{tag}"), "id": id, "author": shape::user(API, &author),
        "node_id": node_id("RE", id), "tag_name": tag, "target_commitish": scenario.base_ref,
        "name": format!("Shop {tag}"), "draft": false, "immutable": false, "prerelease": false,
        "created_at": scenario.updated_at, "updated_at": scenario.updated_at, "published_at": scenario.updated_at,
        "assets": [], "tarball_url": format!("{API}/repos/{full}/tarball/{tag}"),
        "zipball_url": format!("{API}/repos/{full}/zipball/{tag}"), "body": "Search by customer.",
    });
    extended(json!({"action": action, "release": release}), envelope(scenario, &scenario.author))
}

/// `workflow_run`; `conclusion` is success, failure, … once the action is completed.
pub fn workflow_run(scenario: &Scenario, action: &str, conclusion: Option<&str>) -> Value {
    let (id, workflow, suite) = (11_932_004_871_u64, 84_120_331_u64, 30_771_840_112_u64);
    let (full, actor) = (&scenario.repository, shape::user(API, &User::new(&scenario.author)));
    let own = format!("{API}/repos/{full}/actions/runs/{id}");
    let run = json!({
        "id": id, "name": "CI", "node_id": node_id("WFR", id), "head_branch": scenario.head_ref,
        "head_sha": scenario.head_sha, "path": ".github/workflows/ci.yml", "display_title": scenario.title,
        "run_number": 41, "event": "pull_request", "conclusion": conclusion, "workflow_id": workflow,
        "status": if conclusion.is_some() { "completed" } else { "in_progress" }, "check_suite_id": suite,
        "check_suite_node_id": node_id("CS", suite), "url": own,
        "html_url": format!("{WEB}/{full}/actions/runs/{id}"), "pull_requests": [],
        "created_at": scenario.updated_at, "updated_at": scenario.updated_at, "actor": actor, "run_attempt": 1,
        "referenced_workflows": [], "run_started_at": scenario.updated_at, "triggering_actor": actor,
        "jobs_url": format!("{own}/jobs"), "logs_url": format!("{own}/logs"),
        "check_suite_url": format!("{API}/repos/{full}/check-suites/{suite}"),
        "artifacts_url": format!("{own}/artifacts"), "cancel_url": format!("{own}/cancel"),
        "rerun_url": format!("{own}/rerun"), "previous_attempt_url": null,
        "workflow_url": format!("{API}/repos/{full}/actions/workflows/{workflow}"),
        "head_commit": {
            "id": scenario.head_sha, "tree_id": sha_of(&format!("tree {}", scenario.head_sha)),
            "message": scenario.title, "timestamp": scenario.updated_at,
            "author": {"name": scenario.author, "email": "ann@example.com"},
            "committer": {"name": scenario.author, "email": "ann@example.com"},
        },
        "repository": shape::repository(API, &scenario.repo()),
        "head_repository": shape::repository(API, &scenario.repo()),
    });
    let definition = json!({
        "id": workflow, "node_id": node_id("W", workflow), "name": "CI", "path": ".github/workflows/ci.yml",
        "state": "active", "created_at": "2026-02-01T08:00:00.000Z", "updated_at": "2026-02-01T08:00:00.000Z",
        "url": format!("{API}/repos/{full}/actions/workflows/{workflow}"),
        "html_url": format!("{WEB}/{full}/blob/main/.github/workflows/ci.yml"),
        "badge_url": format!("{WEB}/{full}/workflows/CI/badge.svg"),
    });
    let own = json!({"action": action, "workflow_run": run, "workflow": definition});
    extended(own, envelope(scenario, &scenario.author))
}

/// `ping`, as sent when a hook is made.
pub fn ping(scenario: &Scenario) -> Value {
    let hooks = format!("{API}/repos/{}/hooks/{HOOK_ID}", scenario.repository);
    let hook = json!({
        "type": "Repository", "id": HOOK_ID, "name": "web", "active": true, "events": ["*"],
        "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********",
            "url": "https://relay.example.com/github-webhook"},
        "updated_at": "2026-11-22T09:00:00Z", "created_at": "2026-11-22T09:00:00Z", "url": hooks,
        "test_url": format!("{hooks}/test"), "ping_url": format!("{hooks}/pings"),
        "deliveries_url": format!("{hooks}/deliveries"),
        "last_response": {"code": null, "status": "unused", "message": null},
    });
    let own = json!({"zen": "Keep it logically awesome.", "hook_id": HOOK_ID, "hook": hook});
    extended(own, envelope(scenario, &scenario.author))
}
