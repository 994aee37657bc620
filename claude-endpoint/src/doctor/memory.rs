//! The memory, as this service asks it.

use inbox::doctor::remedies;
use shared::doctor::Finding;
use shared::doctor::peer::{self, Seen, Signed};
use shared::signature::SigningKeys;

use crate::config::MemorySettings;
use crate::memory::{Memory, MemoryError, SERVICE};

/// Whether it is there, who it is, and whether it lets us in.
pub(super) async fn examine(
    settings: MemorySettings,
    keys: SigningKeys,
    each: &[SigningKeys],
) -> Vec<Finding> {
    let seen = peer::look(SERVICE, &settings.url, each).await;
    let mut found = vec![peer::reach(&settings.url, &seen, remedies(), "it ends as it begins")];
    if matches!(seen, Seen::Answered(_) | Seen::Stranger(_)) {
        found.extend(peer::identity(SERVICE, &seen, each.len(), remedies()));
    }
    if let Seen::Answered(answered) = &seen {
        found.push(match answered.signed {
            Signed::Both(_) => access(settings, keys).await,
            // Everybody can take a port and answer as the memory.
            _ => {
                Finding::skipped("access", "MEMORY_TOKEN is not sent to who has not proven to be the memory")
            }
        });
    }
    // Reviews are made without it.
    found.into_iter().map(Finding::softened).collect()
}

async fn access(settings: MemorySettings, keys: SigningKeys) -> Finding {
    let check = "access";
    let by = if settings.token.is_some() { "MEMORY_TOKEN" } else { "a signature" };
    let memory = match Memory::new(settings, keys) {
        Ok(memory) => memory,
        Err(error) => return Finding::skipped(check, format!("TLS cannot be set up: {error}")),
    };
    match memory.lets_in().await {
        Ok(()) if by == "MEMORY_TOKEN" => Finding::ok(check, "it takes MEMORY_TOKEN"),
        Ok(()) => Finding::warn(
            check,
            "it takes our signature; without MEMORY_TOKEN nothing can be forgotten by /ai forget",
            "MEMORY_TOKEN in .env, for both endpoints",
        ),
        Err(MemoryError::Refused(401 | 403, why)) => Finding::fail(
            check,
            format!("it refuses {by}: {why}"),
            "MEMORY_TOKEN must be the one that the ollama-endpoint runs with; then start both again",
        ),
        Err(error) => Finding::fail(check, error.to_string(), "ollama-endpoint doctor"),
    }
}
