//! Threads as GraphQL shows them.

use serde::Deserialize;

use super::answer::{Actor, Nodes, id};
use super::{Thread, ThreadComment};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireThread {
    id: String,
    is_resolved: bool,
    is_outdated: bool,
    path: String,
    line: Option<u32>,
    resolved_by: Option<Login>,
    root: Nodes<Comment>,
    latest: Nodes<Comment>,
}

#[derive(Deserialize)]
struct Login {
    login: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    #[serde(deserialize_with = "id")]
    full_database_id: Option<u64>,
    viewer_did_author: bool,
    body: String,
    url: String,
    author: Option<Actor>,
    reactions: Option<Reactions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reactions {
    total_count: u32,
    viewer_has_reacted: bool,
}

impl WireThread {
    /// `None` if somebody else began it.
    pub(super) fn ours(self) -> Option<Thread> {
        let root = self.root.all().next().filter(|root| root.viewer_did_author)?.read()?;
        let latest = self.latest.all().filter_map(Comment::read).filter(|comment| comment.id != root.id);
        let latest: Vec<_> = latest.collect();
        Some(Thread {
            id: self.id,
            is_resolved: self.is_resolved,
            resolved_by: self.resolved_by.map(|user| user.login),
            is_outdated: self.is_outdated,
            path: self.path,
            line: self.line,
            comments: std::iter::once(root).chain(latest).collect(),
        })
    }
}

impl Comment {
    fn read(self) -> Option<ThreadComment> {
        let by_others =
            self.reactions.map(|it| it.total_count.saturating_sub(u32::from(it.viewer_has_reacted)));
        Some(ThreadComment {
            id: self.full_database_id?,
            is_ours: self.viewer_did_author,
            author: Actor::login(self.author),
            body: self.body,
            url: self.url,
            thumbs_down: by_others.unwrap_or_default(),
        })
    }
}
