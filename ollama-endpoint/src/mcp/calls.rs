//! What the tools do: questions to the memory, and updates for its queue.

use jiff::Timestamp;
use queue::Queue;
use shared::error::chain;
use shared::memory::{Briefing, BriefingLine, Hit, SearchResponse, Update};

use super::answers::{Added, Briefed, Forgotten, Found, Gone, Memory};
use super::{Refusal, arguments};
use crate::memory::Question;
use crate::receive;
use crate::store::{Filter, StoreError, Stored};

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
            as_of: arguments::time("as_of", search.as_of.as_deref())?,
        };
        let text = arguments::question(&search.query)?.to_owned();
        let question = Question { text, filter, limit: arguments::limit(search.limit)? };
        self.ask(question).await.map(|response| Found::new(response, true))
    }

    pub(super) async fn recent(&self, recent: arguments::Recent) -> Result<Found, Refusal> {
        let filter = Filter { repository: given(recent.repository), kind: given(recent.kind), as_of: None };
        let question = Question { text: String::new(), filter, limit: arguments::limit(recent.limit)? };
        self.ask(question).await.map(|response| Found::new(response, false))
    }

    pub(super) async fn briefing(&self, brief: arguments::Briefing) -> Result<Briefed, Refusal> {
        let text = arguments::task(brief.query.as_deref().unwrap_or_default())?.to_owned();
        let paths = arguments::paths(brief.paths.unwrap_or_default())?;
        let budget = arguments::budget(brief.budget)?;
        let filter = Filter { repository: given(Some(brief.repository)), ..Filter::default() };
        let question = Question { text: format!("{text} {}", paths.join(" ")), filter, limit: 20 };
        let found = self.ask(question).await?;
        Ok(Briefed::new(brief_of(found, budget)))
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

    pub(super) async fn forget(&self, forget: arguments::Forget) -> Result<Forgotten, Refusal> {
        let reason = arguments::reason(&forget.reason)?.to_owned();
        let (dry_run, found, unknown) = match (forget.ids, forget.query) {
            (Some(ids), None) => {
                let (found, unknown) = self.known(arguments::ids(ids)?).await?;
                (forget.dry_run.unwrap_or(false), found, unknown)
            }
            (None, Some(query)) => {
                let filter = Filter { repository: given(forget.repository), ..Filter::default() };
                let text = arguments::question(&query)?.to_owned();
                let found =
                    self.ask(Question { text, filter, limit: arguments::limit(forget.limit)? }).await?;
                let found = found.results.into_iter().map(|hit| (hit.id, hit.text)).collect();
                (forget.dry_run.unwrap_or(true), found, Vec::new())
            }
            _ => return Err(Refusal("say which memories: either `ids` or `query`".to_owned())),
        };
        if !dry_run {
            for (id, _) in &found {
                self.memory.forget(id).await.map_err(unreadable)?;
                tracing::info!(memory = id, reason, "forgotten");
            }
        }
        let forgotten = found.into_iter().map(|(id, text)| Gone::new(id, text)).collect();
        Ok(Forgotten { dry_run, forgotten, unknown })
    }

    async fn known(&self, ids: Vec<String>) -> Result<(Vec<(String, String)>, Vec<String>), Refusal> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for id in ids {
            match self.memory.get(&id).await.map_err(unreadable)? {
                Some(stored) => found.push((id, stored.draft.text)),
                None => unknown.push(id),
            }
        }
        Ok((found, unknown))
    }

    async fn ask(&self, question: Question) -> Result<SearchResponse, Refusal> {
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
        standing: Default::default(),
        because: None,
        explanation: None,
    }
}

fn brief_of(found: SearchResponse, budget: usize) -> Briefing {
    let (mut text, mut lines, mut left_out) = (String::new(), Vec::new(), 0);
    for hit in found.results {
        let line = format!("- {}\n", hit.text.split_whitespace().collect::<Vec<_>>().join(" "));
        if (text.len() + line.len()) / 4 > budget {
            left_out += 1;
            continue;
        }
        text.push_str(&line);
        lines.push(BriefingLine { id: hit.id, line, source: hit.source });
    }
    Briefing { mode: found.mode, tokens: text.len() / 4, text, budget, lines, left_out }
}
