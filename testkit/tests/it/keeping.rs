//! The memory's commands, with the built binary: asked while it runs, kept, brought back, and checked.

use std::process::{Command, Output, Stdio};

use testkit::scenario::Scenario;

use crate::support::binaries::{Process, binary};
use crate::support::{MEMORY_TOKEN, World, until};

struct Memory<'a> {
    world: &'a World,
    process: Process,
    data: String,
}

impl<'a> Memory<'a> {
    async fn start(world: &'a World, name: &str) -> Self {
        let data = world.data(name);
        let mut flags = world.ollama_flags();
        flags.extend(["--data-dir".to_owned(), data.clone()]);
        let at = flags.iter().position(|flag| flag == "--data-dir").unwrap();
        flags.drain(at..at + 2);
        let mut process = Process::new(world, "ollama-endpoint", flags);
        process.start(world).await;
        Self { world, process, data }
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let port = self.process.url.rsplit(':').next().unwrap();
        let settings = [("PORT", port), ("DATA_DIR", &self.data), ("MEMORY_TOKEN", MEMORY_TOKEN)];
        let mut command = Command::new(binary("ollama-endpoint"));
        command.args(arguments).env_clear().envs(settings).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command printed, which must have gone well.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command said that failed.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.world.folder.path().join(name).display().to_string()
    }

    async fn found(&self, query: &str, count: usize) {
        let search = ["search", query, "--mode", "lexical"];
        let lines = async || self.run(&search).matches("  octo/").count() == count;
        assert!(until(lines).await, "{query}: {}", self.run(&search));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_asked_taken_out_and_in_again_forgotten_and_brought_back() {
    let world = World::start(&Scenario::default()).await;
    let mut memory = Memory::start(&world, "first").await;
    let repository = ["--repository", "octo/app"];
    let add = |text: &str| memory.run(&[&["add", text], &repository[..]].concat());
    for text in ["Retries are capped at five", "Deploys happen on Tuesdays", "The key is hunter2"] {
        assert!(add(text).starts_with("taken as update:"), "{text}");
    }
    memory.found("retries", 1).await;
    memory.found("hunter2", 1).await;
    assert!(memory.run(&["recent"]).contains("Deploys happen on Tuesdays"));
    assert!(memory.run(&["briefing", "how many retries?"]).contains("capped at five"));
    assert!(memory.run(&["stats"]).contains("embeds with nomic-embed-text"));
    let json: serde_json::Value = serde_json::from_str(&memory.run(&["recent", "--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);

    let backup = memory.file("backup.db");
    assert!(memory.run(&["backup", &backup]).starts_with("3 records, 3 memories"));
    assert!(memory.refused(&["backup", &backup]).contains("never overwrites"));
    assert!(memory.run(&["check"]).starts_with("all is well: 3 records"));
    assert!(memory.refused(&["reindex"]).contains("stop that one first"));

    assert!(memory.run(&["forget", "--query", "hunter2"]).contains("--yes does it"));
    memory.found("hunter2", 1).await;
    assert!(
        memory
            .run(&["forget", "--query", "hunter2", "--yes", "--reason", "a key"])
            .contains("1 memory forgotten")
    );
    memory.found("hunter2", 0).await;

    let export = memory.file("export.jsonl");
    memory.run(&["export", &export]);
    let text = std::fs::read_to_string(&export).unwrap();
    assert!(!text.contains("hunter2") && text.contains("a key"), "{text}");
    assert_eq!(memory.run(&["export"]), text, "standard output is the same");
    let other = Memory::start(&world, "second").await;
    let imported = || other.run(&["import", &export]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(imported().contains("records 3 0"));
    assert!(imported().contains("records 0 3"));
    assert_eq!(other.run(&["export"]), text, "byte for byte");
    other.found("retries", 1).await;
    std::fs::write(memory.file("bad.jsonl"), text.replacen("{\"record\"", "{\"surprise\"", 1)).unwrap();
    let bad = other.refused(&["import", &memory.file("bad.jsonl")]);
    assert!(bad.contains("line 2") && bad.contains("surprise"), "{bad}");

    memory.process.kill();
    let silent = memory.refused(&["search", "retries"]);
    assert!(
        silent.contains("nothing answers at http://127.0.0.1:") && silent.contains("running?"),
        "{silent}"
    );
    assert!(memory.run(&["check"]).starts_with("all is well"), "after a kill, too");
    assert!(memory.run(&["reindex"]).contains("made anew"));
    let restored = memory.run(&["restore", &backup]);
    assert!(restored.contains("3 records") && restored.contains("is kept in"), "{restored}");
    memory.process.start(&world).await;
    memory.found("hunter2", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_two_services_do_not_share_a_memory() {
    let world = World::start(&Scenario::default()).await;
    let memory = Memory::start(&world, "first").await;
    let output = |settings: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(binary("ollama-endpoint"));
        let output = command
            .args(arguments)
            .env_clear()
            .envs(settings.to_vec())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(output(&[], &["search", "x"]).contains("set MEMORY_TOKEN"));
    assert!(output(&[("DATA_DIR", &memory.file("nowhere"))], &["check"]).contains("DATA_DIR says where"));
    let mut flags = world.ollama_flags();
    let at = flags.iter().position(|flag| flag == "--data-dir").unwrap();
    flags[at + 1] = memory.data.clone();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--port", "0"]).collect();
    let second = output(&[], &flags);
    assert!(second.contains("in use by a running ollama-endpoint"), "{second}");
    let port = memory.process.url.rsplit(':').next().unwrap();
    let key = [("PORT", port), ("RELAY_SIGNING_KEY", crate::support::SIGNING_KEY)];
    assert!(output(&key, &["forget", "--query", "x"]).contains("a signature is not enough"));
    let mut command = Command::new(binary("ollama-endpoint"));
    let signed = command.args(["search", "x"]).env_clear().envs(key).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&signed.stdout), "nothing was found\n", "{signed:?}");
}
