//! GitHub's JSON shapes as its REST answers and its webhooks share them (public REST schema, 2022-11-28).

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Where the `url` fields point in webhooks.
pub(crate) const API: &str = "https://api.github.com";
/// Where the `html_url` fields point.
pub(crate) const WEB: &str = "https://github.com";

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login; a bot's ends with `[bot]`.
    pub login: String,
    /// Whether it is an app's account.
    pub bot: bool,
}

impl User {
    /// A person, or a bot if the login ends with `[bot]`.
    pub fn new(login: impl Into<String>) -> Self {
        let login = login.into();
        let bot = login.ends_with("[bot]");
        Self { login, bot }
    }
}

/// What the shapes need to know of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// `owner/name`.
    pub full_name: String,
    /// Hidden from those without access.
    pub private: bool,
    /// Usually `main`.
    pub default_branch: String,
}

impl Repo {
    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.full_name.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.full_name.split_once('/').map_or(self.full_name.as_str(), |(_, name)| name)
    }
}

/// What the shapes need to know of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Number within the repository.
    pub number: u64,
    /// Title.
    pub title: String,
    /// Description; Markdown.
    pub body: Option<String>,
    /// Who opened it.
    pub author: User,
    /// Not ready for review.
    pub draft: bool,
    /// Still open.
    pub open: bool,
    /// Merged (then not open).
    pub merged: bool,
    /// Branch it goes into.
    pub base_ref: String,
    /// Commit of that branch it is compared with.
    pub base_sha: String,
    /// Branch it comes from.
    pub head_ref: String,
    /// Newest commit.
    pub head_sha: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Commits, changed files, added and deleted lines.
    pub size: [usize; 4],
}

/// A number that stays the same for the same text, below 2^31 as GitHub's ids of accounts are.
pub(crate) fn id_of(text: &str) -> u64 {
    let hash = Sha256::digest(text);
    u64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1)
}

/// 40 hexadecimal digits that stay the same for the same text: a made-up commit.
pub fn sha_of(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..20])
}

/// An opaque node id.
pub(crate) fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:012X}")
}

/// `base` with the fields of `more`.
pub(crate) fn extended(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

fn urls(fields: &mut Map<String, Value>, base: &str, table: &[(&str, &str)]) {
    fields.extend(table.iter().map(|(key, tail)| ((*key).to_owned(), json!(format!("{base}{tail}")))));
}

const USER_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
];

/// A "simple user".
pub(crate) fn user(api: &str, user: &User) -> Value {
    let id = id_of(&user.login);
    let kind = if user.bot { "in" } else { "u" };
    let page = user.login.replace("[bot]", "");
    let login = user.login.replace('[', "%5B").replace(']', "%5D");
    let mut fields = Map::new();
    urls(&mut fields, &format!("{api}/users/{login}"), USER_URLS);
    extended(
        Value::Object(fields),
        json!({
            "login": user.login, "id": id, "node_id": node_id(if user.bot { "BOT" } else { "U" }, id),
            "avatar_url": format!("https://avatars.githubusercontent.com/{kind}/{id}?v=4"), "gravatar_id": "",
            "html_url": if user.bot { format!("{WEB}/apps/{page}") } else { format!("{WEB}/{page}") },
            "type": if user.bot { "Bot" } else { "User" }, "user_view_type": "public", "site_admin": false,
        }),
    )
}

const REPO_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
];

/// A full repository.
pub(crate) fn repository(api: &str, repo: &Repo) -> Value {
    let (full, id) = (&repo.full_name, id_of(&repo.full_name));
    let mut fields = Map::new();
    urls(&mut fields, &format!("{api}/repos/{full}"), REPO_URLS);
    let identity = json!({
        "id": id, "node_id": node_id("R", id), "name": repo.name(), "full_name": full, "private": repo.private,
        "owner": user(api, &User::new(repo.owner())), "html_url": format!("{WEB}/{full}"),
        "description": "A small shop", "fork": false, "homepage": null, "language": "Rust",
        "default_branch": repo.default_branch, "visibility": if repo.private { "private" } else { "public" },
        "git_url": format!("git://github.com/{full}.git"), "ssh_url": format!("git@github.com:{full}.git"),
        "clone_url": format!("{WEB}/{full}.git"), "svn_url": format!("{WEB}/{full}"), "mirror_url": null,
        "created_at": "2026-01-05T09:12:44Z", "updated_at": "2026-11-21T16:40:02Z",
        "pushed_at": "2026-11-22T09:58:11Z",
    });
    let numbers = json!({
        "size": 1184, "stargazers_count": 3, "watchers_count": 3, "forks_count": 0, "open_issues_count": 4,
        "forks": 0, "open_issues": 4, "watchers": 3, "topics": [], "license": null,
    });
    let settings = json!({
        "has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": false, "has_pages": false,
        "has_discussions": false, "archived": false, "disabled": false, "allow_forking": true,
        "is_template": false, "web_commit_signoff_required": false,
    });
    extended(extended(extended(Value::Object(fields), identity), numbers), settings)
}

const MERGING: &[(&str, &str)] = &[
    ("squash_merge_commit_message", "COMMIT_MESSAGES"),
    ("squash_merge_commit_title", "COMMIT_OR_PR_TITLE"),
    ("merge_commit_message", "PR_TITLE"),
    ("merge_commit_title", "MERGE_MESSAGE"),
];

/// The repository inside `head` and `base`: with the merge settings.
fn branch_repository(api: &str, repo: &Repo) -> Value {
    let mut fields = Map::new();
    urls(&mut fields, "", MERGING);
    let allowed = json!({
        "allow_squash_merge": true, "allow_merge_commit": true, "allow_rebase_merge": true,
        "allow_auto_merge": false, "delete_branch_on_merge": true, "allow_update_branch": false,
        "use_squash_pr_title_as_default": false,
    });
    extended(extended(repository(api, repo), Value::Object(fields)), allowed)
}

fn branch(api: &str, repo: &Repo, name: &str, sha: &str) -> Value {
    json!({
        "label": format!("{}:{name}", repo.owner()), "ref": name, "sha": sha,
        "user": user(api, &User::new(repo.owner())), "repo": branch_repository(api, repo),
    })
}

/// A full pull request.
pub(crate) fn pull_request(api: &str, repo: &Repo, pull: &Pull) -> Value {
    let (full, number) = (&repo.full_name, pull.number);
    let id = id_of(&format!("{full}#{number}"));
    let closed = if pull.open { Value::Null } else { json!(pull.updated_at) };
    let merged = if pull.merged { json!(pull.updated_at) } else { Value::Null };
    let [commits, changed_files, additions, deletions] = pull.size;
    let text = json!({
        "id": id, "node_id": node_id("PR", id), "number": number, "locked": false, "title": pull.title,
        "state": if pull.open { "open" } else { "closed" }, "user": user(api, &pull.author), "body": pull.body,
        "created_at": pull.created_at, "updated_at": pull.updated_at, "closed_at": closed, "merged_at": merged,
        "merge_commit_sha": sha_of(&format!("merge {}", pull.head_sha)), "assignee": null, "assignees": [],
        "requested_reviewers": [], "requested_teams": [], "labels": [], "milestone": null, "draft": pull.draft,
        "head": branch(api, repo, &pull.head_ref, &pull.head_sha),
        "base": branch(api, repo, &pull.base_ref, &pull.base_sha),
        "author_association": "CONTRIBUTOR", "auto_merge": null, "active_lock_reason": null,
        "merged": pull.merged, "mergeable": null, "rebaseable": null, "mergeable_state": "unknown",
        "merged_by": null, "comments": 0, "review_comments": 0, "maintainer_can_modify": false,
        "commits": commits, "additions": additions, "deletions": deletions, "changed_files": changed_files,
    });
    extended(text, pull_urls(api, full, pull))
}

fn pull_urls(api: &str, full: &str, pull: &Pull) -> Value {
    let (number, head) = (pull.number, &pull.head_sha);
    let (page, own) = (format!("{WEB}/{full}/pull/{number}"), format!("{api}/repos/{full}/pulls/{number}"));
    let issue = format!("{api}/repos/{full}/issues/{number}");
    let links = [
        ("self", own.clone()),
        ("html", page.clone()),
        ("issue", issue.clone()),
        ("comments", format!("{issue}/comments")),
        ("review_comments", format!("{own}/comments")),
        ("review_comment", format!("{api}/repos/{full}/pulls/comments{{/number}}")),
        ("commits", format!("{own}/commits")),
        ("statuses", format!("{api}/repos/{full}/statuses/{head}")),
    ];
    let links: Map<_, _> = links.into_iter().map(|(key, href)| (key.into(), json!({"href": href}))).collect();
    json!({
        "url": own, "html_url": page, "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"),
        "issue_url": issue, "commits_url": format!("{own}/commits"),
        "review_comments_url": format!("{own}/comments"),
        "review_comment_url": format!("{api}/repos/{full}/pulls/comments{{/number}}"),
        "comments_url": format!("{issue}/comments"),
        "statuses_url": format!("{api}/repos/{full}/statuses/{head}"), "_links": links,
    })
}
