//! What the tools do: questions to the memory, and updates for its queue.

use jiff::Timestamp;
use queue::Queue;
use shared::error::chain;
use shared::memory::{Hit, Mode, SearchResponse, Update};

use super::answers::{Added, Briefed, Forgotten, Found, Gone, Memory};
use super::{Refusal, arguments};
use crate::memory::{Brief, Question, Selection, standing};
use crate::receive;
use crate::store::{Audit, Filter, StoreError, Stored};

/// Who says it if neither the call nor the client does.
const NOBODY: &str = "mcp";

/// What the tools work with. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    memory: crate::memory::Memory,
    queue: Queue,
}

impl Calls {
    pub(super) fn new(memory: crate::memory::Memory, queue: Queue) -> Self {
        Self { memory, queue }
    }

    pub(super) async fn search(&self, search: arguments::Search) -> Result<Found, Refusal> {
        let filter = Filter {
            repository: given(search.repository),
            kind: given(search.kind),
            agent: given(search.agent),
            path: given(search.path),
            since: arguments::time("since", search.since.as_deref())?,
            until: arguments::time("until", search.until.as_deref())?,
            as_of: arguments::time("as_of", search.as_of.as_deref())?,
        };
        let text = arguments::question(&search.query)?.to_owned();
        self.ask(text, filter, arguments::limit(search.limit)?).await.map(|found| Found::new(found, true))
    }

    pub(super) async fn recent(&self, recent: arguments::Recent) -> Result<Found, Refusal> {
        let filter = Filter {
            repository: given(recent.repository),
            kind: given(recent.kind),
            agent: given(recent.agent),
            path: given(recent.path),
            since: arguments::time("since", recent.since.as_deref())?,
            until: arguments::time("until", recent.until.as_deref())?,
            as_of: None,
        };
        let limit = arguments::limit(recent.limit)?;
        self.ask(String::new(), filter, limit).await.map(|found| Found::new(found, false))
    }

    pub(super) async fn briefing(&self, briefing: arguments::Briefing) -> Result<Briefed, Refusal> {
        let brief = Brief {
            text: arguments::task(briefing.query.as_deref().unwrap_or_default())?.to_owned(),
            paths: arguments::paths(briefing.paths.unwrap_or_default())?,
            filter: Filter { repository: given(Some(briefing.repository)), ..Filter::default() },
            budget: arguments::budget(briefing.budget)?,
        };
        self.memory.briefing(brief, Timestamp::now()).await.map(Briefed::new).map_err(unreadable)
    }

    /// One memory, if there is one of this id.
    pub(super) async fn find(&self, id: &str) -> Result<Option<Memory>, Refusal> {
        Ok(self.memory.get(id).await.map_err(unreadable)?.map(|stored| Memory::whole(hit(stored))))
    }

    pub(super) async fn get(&self, get: arguments::Get) -> Result<Memory, Refusal> {
        let unknown = || {
            Refusal("there is no memory with this id; take the id from an answer of memory_search or memory_recent".into())
        };
        self.find(&get.id).await?.ok_or_else(unknown)
    }

    /// Puts an update where `POST /memory-update` puts it. `client` is what the MCP client calls itself.
    pub(super) async fn add(&self, add: arguments::Add, client: Option<String>) -> Result<Added, Refusal> {
        let agent = given(add.agent).or(client).unwrap_or_else(|| NOBODY.to_owned());
        let update = Update {
            id: add.id,
            repository: add.repository,
            context: add.text,
            kind: given(add.kind),
            agent: Some(agent.clone()),
            branch: given(add.branch),
            url: given(add.url),
            pull_request: add.pull_request,
            commits: add.commits.unwrap_or_default(),
            paths: add.paths.unwrap_or_default(),
            ..Update::default()
        };
        let accepted = receive::keep(&self.queue, &update).await.map_err(|error| {
            if error.status().is_server_error() {
                tracing::error!(
                    code = error.code(),
                    cause = chain(&error),
                    "an update over MCP was not kept"
                );
            }
            // The wire's name of the text is not the tool's.
            Refusal(error.message().replace("`context`", "`text`"))
        })?;
        Ok(Added { status: accepted.word(), id: accepted.id, agent })
    }

    /// Forgets, or tells what would be forgotten. `client` is what the MCP client calls itself.
    pub(super) async fn forget(
        &self,
        forget: arguments::Forget,
        client: Option<String>,
    ) -> Result<Forgotten, Refusal> {
        let reason = arguments::reason(&forget.reason)?.to_owned();
        let by = format!("{} over MCP", client.as_deref().unwrap_or("somebody"));
        let (selection, asked, most) = match (forget.ids, forget.query) {
            (Some(ids), None) => {
                let ids = arguments::ids(ids)?;
                (Selection::Ids(ids.clone()), ids, usize::MAX)
            }
            (None, Some(query)) => {
                let filter = Filter { repository: given(forget.repository), ..Filter::default() };
                let text = arguments::question(&query)?.to_owned();
                (Selection::Query { text, filter }, Vec::new(), arguments::forgettable(forget.limit)?)
            }
            _ => return Err(Refusal("say which memories: either `ids` or `query`".to_owned())),
        };
        let mut selected = self.memory.select(selection).await.map_err(unreadable)?;
        let more = selected.len().saturating_sub(most);
        selected.truncate(most);
        // An id may be given by its beginning, as a briefing does.
        let known = |id: &String| selected.iter().any(|memory| memory.id.starts_with(id));
        let unknown = asked.iter().filter(|id| !known(id)).cloned().collect();
        let dry_run = forget.dry_run.unwrap_or(asked.is_empty());
        if !dry_run {
            let ids = selected.into_iter().map(|memory| memory.id).collect();
            selected = self.memory.forget(ids, Audit { by, reason }).await.map_err(unreadable)?;
        }
        let gone = |memory: Stored| Gone::new(memory.id, memory.draft.text);
        Ok(Forgotten { dry_run, forgotten: selected.into_iter().map(gone).collect(), more, unknown })
    }

    async fn ask(&self, text: String, filter: Filter, limit: usize) -> Result<SearchResponse, Refusal> {
        let question = Question { text, filter, limit, mode: Mode::Hybrid, explain: false };
        self.memory.search(question, Timestamp::now()).await.map_err(unreadable)
    }
}

/// What an agent leaves empty it does not say.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn unreadable(error: StoreError) -> Refusal {
    tracing::error!(cause = chain(&error), "the memory failed a tool of MCP");
    Refusal("the memory cannot be read or written now; try again in a minute. The ollama-endpoint's log has the cause".into())
}

fn hit(stored: Stored) -> Hit {
    let source = stored.source();
    let (standing, because) = standing(&stored);
    Hit {
        id: stored.id,
        text: stored.draft.text,
        kind: stored.draft.kind,
        repository: stored.draft.repository,
        score: 0.0,
        lexical_rank: None,
        vector_rank: None,
        source,
        created_at: stored.draft.created_at,
        standing,
        because,
        explanation: None,
    }
}
