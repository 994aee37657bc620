use clap::CommandFactory;
use insta::assert_snapshot;
use serde_json::{Value, json};
use shared::memory::SearchResponse;

use super::show;
use crate::config::Cli;
use crate::store::portable::{Imported, Taken};
use crate::store::sqlite::{Checked, Held};

fn found() -> SearchResponse {
    let hit = |id: &str, text: &str, source: Value| {
        json!({"id": id, "text": text, "kind": "decision", "repository": "octo/app", "score": 0.0321, "lexical_rank": 1,
            "vector_rank": null, "source": source, "created_at": "2026-11-22T10:00:00Z"})
    };
    let mut old = hit("0123456789abcdef", &"word ".repeat(200), json!({"trust": "fork"}));
    old["standing"] = json!("stale");
    old["because"] = json!("src/queue.rs changed in 1a2b3c4 (2026-11-20)");
    let source = json!({"agent": "jules", "pull_request": 7, "url": "https://github.test/octo/app/pull/7"});
    let mut new = hit("fedcba9876543210", "Retries are capped\nat five \u{1b}[31m", source);
    let found = |rank, measure, contribution| json!({"rank": rank, "measure": measure, "weight": 1.0, "contribution": contribution});
    new["explanation"] = json!({"lexical": found(1, 7.25, 0.0164), "vector": found(2, 0.81, 0.0161), "recency": 0.98, "validity": 1.0});
    serde_json::from_value(json!({"mode": "hybrid", "results": [new, old]})).unwrap()
}

#[test]
fn answers_read_as_text_and_as_a_table() {
    assert_snapshot!("search", show::hits(&found()));
    assert_snapshot!("recent", show::recent(&found().results));
    let none: SearchResponse = serde_json::from_value(json!({"mode": "lexical", "results": []})).unwrap();
    assert_eq!(
        (show::hits(&none), show::recent(&[])),
        ("nothing was found\n".into(), "no memories\n".into())
    );
}

#[test]
fn what_is_forgotten_is_listed_and_a_dry_run_says_what_does_it() {
    let memory =
        |id: &str| json!({"id": id, "kind": "note", "repository": "o/r", "text": "The key\nis hunter2"});
    let forgotten =
        |dry_run, memories: Vec<Value>| show::forgotten(&json!({"dry_run": dry_run, "forgotten": memories}));
    assert_snapshot!("forget", forgotten(true, vec![memory("0123456789abcdef"), memory("fedcba9876543210")]));
    assert!(forgotten(false, vec![memory("0123456789abcdef")]).ends_with("1 memory forgotten\n"));
    assert_eq!(forgotten(true, vec![]), "there is no such memory\n");
    let copies = json!([
        {"path": "/data/memory.db.schema-3-20261130T070000Z", "until": "2026-12-14T07:00:00.5Z"},
        {"path": "/data/memory.db.replaced-20261130T070000.000Z", "until": null}
    ]);
    let said = |memories: Vec<Value>| show::forgotten(&json!({"forgotten": memories, "copies": copies}));
    assert!(said(vec![memory("0123456789abcdef")]).ends_with(
        "1 memory forgotten\na copy from before an upgrade has it still; it goes by itself on 2026-12-14, or now with: rm /data/memory.db.schema-3-20261130T070000Z\n\
         what a restore moved aside may have it still; it stays until you remove it: rm /data/memory.db.replaced-20261130T070000.000Z\n"
    ));
    assert!(!said(vec![]).contains("rm "));
}

#[test]
fn numbers_read_as_tables() {
    let stats = json!({
        "records": 12, "memories": 10, "indexed": 8, "superseded": 1, "stale": 2, "merged": 0, "forgotten": 3,
        "by_kind": {"decision": 4, "note": 6}, "vectors": {"model": "nomic-embed-text", "with": 7, "waiting": 1, "rejected": 0, "cut": 1},
        "refining": {"refined": 3, "waiting": 1, "set_aside": 0}, "embedder": {"state": "waiting", "error": "Ollama is away"},
        "refiner": {"state": "idle"}, "ollama": {"state": "away", "error": "Ollama does not answer"},
    });
    assert_snapshot!("stats", show::stats(&stats));
    let taken = |added| Taken { added, skipped: 1 };
    let imported =
        Imported { records: taken(100), derivations: taken(2), judgements: taken(0), audit: taken(7) };
    assert_snapshot!("import", show::imported(&imported));
    let held = Held { records: 12, memories: 10, vectors: 7, bytes: 4096 };
    assert_eq!(show::held(&held), "12 records, 10 memories, 7 vectors, 4096 bytes");
    let differences = vec!["memory 01: its text is not what the record makes".to_owned()];
    let checked = Checked { records: 12, memories: 10, vectors: 7, differences };
    assert_snapshot!("check", show::checked(&checked));
    assert_snapshot!("check_well", show::checked(&Checked { differences: vec![], ..checked }));
    assert!(show::taken(&json!({"id": "update:1", "status": "accepted"})).starts_with("taken as update:1"));
    assert!(show::taken(&json!({"id": "update:1", "status": "duplicate"})).contains("before"));
}

#[test]
fn each_command_explains_itself() {
    let mut program = Cli::command();
    let mut help = String::new();
    for command in program
        .get_subcommands_mut()
        .filter(|command| !matches!(command.get_name(), "config" | "healthcheck"))
    {
        help.push_str(&format!("{}\n\n", command.render_help()));
    }
    assert_snapshot!("help", help);
}

#[test]
fn a_command_line_that_means_two_things_is_refused() {
    let parse = |arguments: &[&str]| {
        let arguments = ["ollama-endpoint"].iter().chain(arguments);
        Cli::command().try_get_matches_from(arguments).map(drop).map_err(|error| error.to_string())
    };
    for fine in [
        &["forget", "--id", "01234567", "--id", "89abcdef"][..],
        &["forget", "--query", "key", "--repository", "o/r"],
        &["search", "retries", "--since", "3d", "--mode", "lexical"],
        &["add", "--repository", "o/r"],
        &["export"],
    ] {
        assert!(parse(fine).is_ok(), "{fine:?}: {:?}", parse(fine));
    }
    for wrong in [
        &["forget"][..],
        &["forget", "--id", "01234567", "--repository", "o/r"],
        &["search"],
        &["search", "x", "--since", "yesterday"],
        &["search", "x", "--limit", "51"],
        &["add", "text"],
        &["backup"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}
