//! What the commands print for people. Pure.

use std::fmt::Write as _;

use serde_json::Value;
use shared::memory::{Hit, SearchResponse, Standing};
use shared::terminal::{aligned, printable};

use crate::store::portable::{Imported, Taken};
use crate::store::sqlite::{Checked, Held};

/// As much of a memory is shown in a table, and among the answers of a search.
const SHORT: usize = 80;
const LONG: usize = 600;

/// Digits of an id, which are enough to name the memory.
const DIGITS: usize = 8;

/// What a search found, a few lines each.
pub(super) fn hits(found: &SearchResponse) -> String {
    if found.results.is_empty() {
        return "nothing was found\n".to_owned();
    }
    let mut text = String::new();
    for hit in &found.results {
        let day = hit.created_at.strftime("%Y-%m-%d");
        let _ =
            write!(text, "{}  {day}  {}  {}", id(&hit.id), printable(&hit.kind), printable(&hit.repository));
        if hit.is_untrusted() {
            text.push_str("  from outside of the project");
        }
        if hit.standing != Standing::Current {
            let _ =
                write!(text, "  ({})", printable(hit.because.as_deref().unwrap_or("does not hold any more")));
        }
        text.push('\n');
        for line in cut(&hit.text, LONG).lines() {
            let _ = writeln!(text, "    {}", printable(line));
        }
        let origin = origin(hit);
        if !origin.is_empty() {
            let _ = writeln!(text, "    {origin}");
        }
        if let Some(explanation) = explanation(hit) {
            let _ = writeln!(text, "    {explanation}");
        }
    }
    text
}

fn origin(hit: &Hit) -> String {
    let source = &hit.source;
    let number = source.pull_request.map(|number| format!("#{number}"));
    let parts = [&source.agent, &source.author, &number, &source.branch, &source.url];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| printable(part)).collect();
    parts.join(" · ")
}

fn explanation(hit: &Hit) -> Option<String> {
    let explanation = hit.explanation.as_ref()?;
    let mut parts = Vec::new();
    for (found, what, measure) in
        [(&explanation.lexical, "words", "bm25"), (&explanation.vector, "meaning", "cosine")]
    {
        if let Some(found) = found {
            parts.push(format!(
                "{what} no. {} ({measure} {:.2}) {:.4}",
                found.rank, found.measure, found.contribution
            ));
        }
    }
    Some(format!(
        "score {:.4} = ({}) × age {:.2} × standing {:.2}",
        hit.score,
        parts.join(" + "),
        explanation.recency,
        explanation.validity
    ))
}

/// The newest memories as a table.
pub(super) fn recent(hits: &[Hit]) -> String {
    if hits.is_empty() {
        return "no memories\n".to_owned();
    }
    let mut rows = vec![["ID", "SAID", "KIND", "REPOSITORY", "WHO", "WHAT"].map(str::to_owned).to_vec()];
    for hit in hits {
        let who = hit.source.agent.as_deref().or(hit.source.author.as_deref()).unwrap_or("-");
        rows.push(vec![
            id(&hit.id).to_owned(),
            hit.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            printable(&hit.kind),
            printable(&hit.repository),
            printable(who),
            one_line(&hit.text),
        ]);
    }
    aligned(&rows, usize::MAX)
}

/// What was, or would be, forgotten.
pub(super) fn forgotten(answer: &Value) -> String {
    let memories = answer["forgotten"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |memory: &Value, name: &str| printable(memory[name].as_str().unwrap_or("-"));
    let rows: Vec<Vec<String>> = memories
        .iter()
        .map(|memory| {
            let id = id(memory["id"].as_str().unwrap_or_default()).to_owned();
            let what = one_line(memory["text"].as_str().unwrap_or_default());
            vec![id, text(memory, "kind"), text(memory, "repository"), what]
        })
        .collect();
    let (count, counted) = (memories.len(), counted(memories.len() as u64, "memory", "memories"));
    let end = match answer["dry_run"] == true {
        _ if count == 0 => "there is no such memory\n".to_owned(),
        true => format!("{counted} would be forgotten for good; the same with --yes does it\n"),
        false => format!("{counted} forgotten\n"),
    };
    let copies = if count > 0 { copies(&answer["copies"]) } else { String::new() };
    aligned(&rows, usize::MAX) + &end + &copies
}

/// Where what was forgotten stands still, and for how long.
fn copies(copies: &Value) -> String {
    let mut told = String::new();
    for copy in copies.as_array().into_iter().flatten() {
        let text = |name: &str| printable(copy[name].as_str().unwrap_or("-"));
        let path = text("path");
        let _ = match copy["until"].as_str() {
            Some(until) => writeln!(
                told,
                "a copy from before an upgrade has it still; it goes by itself on {}, or now with: rm {path}",
                printable(until.split('T').next().unwrap_or_default())
            ),
            None => writeln!(
                told,
                "what a restore moved aside may have it still; it stays until you remove it: rm {path}"
            ),
        };
    }
    told
}

/// What became of an update.
pub(super) fn taken(answer: &Value) -> String {
    let id = printable(answer["id"].as_str().unwrap_or_default());
    match answer["status"].as_str() {
        Some("duplicate") => format!("{id} had been taken before"),
        _ => format!("taken as {id}; a search finds it in a moment"),
    }
}

/// The numbers of `GET /memory/stats`.
pub(super) fn stats(stats: &Value) -> String {
    let number = |path: &str| stats.pointer(path).and_then(Value::as_u64).unwrap_or_default().to_string();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, path) in [
        ("records", "/records"),
        ("memories", "/memories"),
        ("findable", "/indexed"),
        ("superseded", "/superseded"),
        ("stale", "/stale"),
        ("merged", "/merged"),
        ("forgotten", "/forgotten"),
        ("with a vector", "/vectors/with"),
        ("wait for a vector", "/vectors/waiting"),
        ("set aside by the embedder", "/vectors/rejected"),
        ("embedded by their beginning", "/vectors/cut"),
        ("refined", "/refining/refined"),
        ("wait for being refined", "/refining/waiting"),
        ("set aside by the refiner", "/refining/set_aside"),
    ] {
        rows.push(vec![name.to_owned(), number(path)]);
    }
    for (kind, count) in stats["by_kind"].as_object().into_iter().flatten() {
        rows.push(vec![format!("kind {}", printable(kind)), count.to_string()]);
    }
    let mut text = aligned(&rows, 1);
    let model = stats.pointer("/vectors/model").and_then(Value::as_str).unwrap_or("-");
    let _ = writeln!(text, "embeds with {}", printable(model));
    for (name, key) in [("Ollama", "ollama"), ("the embedder", "embedder"), ("the refiner", "refiner")] {
        let state = stats[key]["state"].as_str().unwrap_or("-").replace('_', " ");
        let error = stats[key]["error"].as_str().map(|error| format!(": {}", printable(error)));
        let _ = writeln!(text, "{name} is {}{}", printable(&state), error.unwrap_or_default());
    }
    text
}

/// What became of the lines of an import.
pub(super) fn imported(imported: &Imported) -> String {
    let Imported { records, derivations, judgements, audit } = *imported;
    let mut rows = vec![["", "ADDED", "SKIPPED"].map(str::to_owned).to_vec()];
    let lines =
        [("records", records), ("derivations", derivations), ("judgements", judgements), ("audit", audit)];
    for (name, Taken { added, skipped }) in lines {
        rows.push(vec![name.to_owned(), added.to_string(), skipped.to_string()]);
    }
    aligned(&rows, 1)
}

/// What a check found.
pub(super) fn checked(checked: &Checked) -> String {
    let Checked { records, memories, vectors, differences } = checked;
    if differences.is_empty() {
        return format!(
            "all is well: {records} records make the {memories} memories that there are; {vectors} vectors are theirs\n"
        );
    }
    let lines: String = differences.iter().map(|line| format!("{}\n", printable(line))).collect();
    format!(
        "{lines}stop the service and run `ollama-endpoint reindex`, which makes everything anew of the record\n"
    )
}

/// What a file holds.
pub(super) fn held(held: &Held) -> String {
    let Held { records, memories, vectors, bytes } = held;
    format!("{records} records, {memories} memories, {vectors} vectors, {bytes} bytes")
}

/// A text of several lines.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", printable(line))).collect()
}

fn id(id: &str) -> &str {
    id.get(..DIGITS).unwrap_or(id)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&cut(&words.join(" "), SHORT))
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text).trim_end()),
        None => text.to_owned(),
    }
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
