//! Ollama: whether it runs, for whom, with which models, and whether what it embeds fits to what is stored.

use std::time::Duration;

use shared::doctor::{Finding, listeners};
use url::{Host, Url};

use crate::config::{Config, Refine};
use crate::ollama::{Ollama, OllamaError, Purpose, is_model};
use crate::store::VectorModel;

/// A cold model is loaded first.
const EMBED: Duration = Duration::from_secs(60);

/// Looks at it; `stored` is what the memory's vectors are of.
pub(super) async fn examine(config: &Config, stored: &[VectorModel]) -> Vec<Finding> {
    let ollama = match Ollama::new(config.ollama_url.clone(), config.embed_model.clone()) {
        Ok(ollama) => ollama,
        Err(error) => return vec![Finding::skipped("connection", format!("TLS cannot be set up: {error}"))],
    };
    let version = match ollama.version().await {
        Ok(version) => version,
        Err(error) => return vec![Finding::fail("connection", error.to_string(), start(&error))],
    };
    let mut found = vec![Finding::ok("connection", format!("Ollama {version} at {}", config.ollama_url))];
    found.extend(exposed(&config.ollama_url));
    let models = match ollama.models().await {
        Ok(models) => models,
        Err(error) => {
            found.push(Finding::fail("models", error.to_string(), start(&error)));
            return found;
        }
    };
    let has = |wanted: &str| models.iter().any(|listed| is_model(wanted, listed));
    found.push(match (config.refine, has(&config.chat_model)) {
        (_, true) => Finding::ok("chat model", &config.chat_model),
        (Refine::Off, false) => Finding::skipped(
            "chat model",
            format!("{} is not there, and MEMORY_REFINE=off needs none", config.chat_model),
        ),
        (Refine::Auto, false) => Finding::warn(
            "chat model",
            format!("{} is not there: memories stay as they were sent", config.chat_model),
            format!("ollama pull {}", config.chat_model),
        ),
    });
    if !has(&config.embed_model) {
        let says = format!("{} is not there: memories are found by their words alone", config.embed_model);
        found.push(Finding::fail("embed model", says, format!("ollama pull {}", config.embed_model)));
        return found;
    }
    found.push(Finding::ok("embed model", &config.embed_model));
    found.push(embedding(&ollama, stored).await);
    found
}

fn start(error: &OllamaError) -> &'static str {
    match error {
        OllamaError::Slow { .. } => "`ollama ps` shows what it is busy with; restart it if it stays so",
        _ => "`ollama serve`, or start the Ollama app; OLLAMA_URL says where it is looked for",
    }
}

/// Whether Ollama itself is open to others, past the proxy and its token.
fn exposed(url: &Url) -> Option<Finding> {
    let here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let listening = listeners::on(url.port_or_known_default()?).ok().filter(|_| here)?;
    let open = listening.iter().find(|listener| !listener.address.is_loopback());
    Some(match open {
        None => Finding::ok("address", "Ollama itself is for this machine alone"),
        Some(_) => Finding::warn(
            "address",
            "Ollama itself listens on other addresses, too: everybody in your network may use it, and delete models",
            "OLLAMA_HOST=127.0.0.1 for Ollama, and start it again; others can use the proxy",
        ),
    })
}

/// One word is embedded, and compared with what is stored.
async fn embedding(ollama: &Ollama, stored: &[VectorModel]) -> Finding {
    let check = "embedding";
    let model = ollama.embed_model();
    let dimensions = match ollama.embed(&["doctor"], Purpose::Query, EMBED).await {
        Ok(embedded) => embedded.vectors.first().map_or(0, Vec::len),
        Err(error) => {
            let mend = format!(
                "`ollama run {model}` shows whether it can be loaded; `ollama pull {model}` fetches it anew"
            );
            return Finding::fail(check, error.to_string(), mend);
        }
    };
    compare(model, dimensions, stored)
}

fn compare(model: &str, dimensions: usize, stored: &[VectorModel]) -> Finding {
    let check = "embedding";
    if dimensions == 0 {
        return Finding::fail(
            check,
            format!("{model} gives an empty vector"),
            "OLLAMA_EMBED_MODEL must be a model that embeds, such as nomic-embed-text",
        );
    }
    let others: usize = stored.iter().filter(|one| one.model != model).map(|one| one.vectors).sum();
    match stored.iter().find(|one| one.model == model && one.dimensions != dimensions) {
        Some(other) => Finding::fail(
            check,
            format!(
                "{model} gives {dimensions} numbers, and {} stored vectors of it have {}: they cannot be compared",
                other.vectors, other.dimensions
            ),
            "stop the service, set OLLAMA_EMBED_MODEL to another tag of the model, and start it: all is embedded again",
        ),
        None if others > 0 => Finding::ok(
            check,
            format!(
                "{dimensions} numbers; {others} vectors are of an earlier model, until all is embedded again"
            ),
        ),
        None => Finding::ok(check, format!("{dimensions} numbers, as those that are stored")),
    }
}

#[cfg(test)]
mod tests {
    use shared::doctor::Status;

    use super::*;

    #[test]
    fn what_is_embedded_must_fit_to_what_is_stored() {
        let stored =
            |model: &str, dimensions| VectorModel { model: model.to_owned(), dimensions, vectors: 7 };
        let status = |stored: &[VectorModel]| compare("nomic", 768, stored).status;
        assert_eq!(status(&[]), Status::Ok);
        assert_eq!(status(&[stored("nomic", 768), stored("other", 384)]), Status::Ok);
        assert_eq!(status(&[stored("nomic", 384)]), Status::Fail);
        assert!(compare("nomic", 768, &[stored("other", 384)]).says.contains("7 vectors"));
        assert_eq!(compare("nomic", 0, &[]).status, Status::Fail);
    }
}
