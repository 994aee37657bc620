//! The commands in the documentation. A shell runs every block of them in a folder of its own: our programs are the real ones,
//! beside running services; what belongs to another machine is asked for its `--help`, which finds words that it does not
//! know; programs of the system are named, and do nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use testkit::scenario::Scenario;

use crate::{
    journey::journey_is_complete,
    support::{
        ADMIN_TOKEN, MEMORY_TOKEN, SIGNING_KEY, WEBHOOK_SECRET, World, binaries::Binaries, binaries::binary,
        pull_request,
    },
};

const DELIVERY: &str = "0d0c5000-cc78-11e3-81ab-4c9367dc0958";

/// What people read, from the root. Blocks in other languages than `sh` are not commands.
const PAGES: [&str; 3] = ["README.md", "deploy/README.md", "docs"];

/// Ours, and beginnings of their command lines that are not carried out here; each has a test of its own.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("relay", &["serve", "restore", "deliveries watch", "completions", "man", "doctor"]),
    ("claude-endpoint", &["serve", "review", "replay", "completions", "man", "doctor"]),
    ("ollama-endpoint", &["serve", "restore", "reindex", "completions", "man", "doctor"]),
    ("ai-relay-home", &[""]),
];

/// The system's, and other people's. In these tests they do nothing.
const FOREIGN: &[&str] = &[
    "apt-get",
    "awk",
    "brew",
    "caddy",
    "cargo",
    "chown",
    "claude",
    "codex",
    "crontab",
    "curl",
    "df",
    "docker",
    "gemini",
    "git",
    "install",
    "ip",
    "journalctl",
    "kill",
    "launchctl",
    "loginctl",
    "nginx",
    "ollama",
    "openssl",
    "pkill",
    "pmset",
    "promtool",
    "python3",
    "rm",
    "rsync",
    "ss",
    "ssh",
    "sshd",
    "sudo",
    "systemctl",
    "tail",
    "timedatectl",
    "useradd",
    "usermod",
    "ufw",
    "cp",
    "mkdir",
    "scp",
    "gh",
    "jq",
    "chmod",
    "dig",
    "sh",
    "nano",
    "bash",
    "date",
    "getent",
    "grep",
    "less",
    "mv",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A block of commands and where it stands.
#[derive(Debug)]
struct Block {
    page: String,
    line: usize,
    text: String,
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = PAGES.iter().map(|page| root().join(page)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn blocks(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).unwrap();
    let page = path.strip_prefix(root()).unwrap().display().to_string();
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (line, number) in text.lines().zip(1..) {
        let bare = line.trim_start();
        open = match open {
            None if bare == "```sh" => Some(Block { page: page.clone(), line: number, text: String::new() }),
            None => None,
            Some(block) if bare == "```" => {
                blocks.push(block);
                None
            }
            Some(mut block) => {
                block.text.push_str(line);
                block.text.push('\n');
                Some(block)
            }
        };
    }
    blocks
}

/// Commands of ours that stand between backticks in a text, such as an alert's.
fn quoted(text: &str) -> Vec<String> {
    let ours = |part: &&str| {
        PROGRAMS.iter().any(|(name, _)| part.split(' ').next() == Some(name) && part.contains(' '))
    };
    text.split('`').skip(1).step_by(2).filter(ours).map(str::to_owned).collect()
}

/// A folder with all programs that the documentation may name, for a shell to find.
struct Shelf {
    folder: PathBuf,
    backups: std::cell::Cell<u32>,
}

impl Shelf {
    fn new(world: &World, all: &Binaries) -> Self {
        let folder = world.folder.path().join("shelf");
        fs::create_dir_all(folder.join("bin")).unwrap();
        let shelf = Self { folder, backups: 0.into() };
        for (name, unlike) in PROGRAMS {
            shelf.program(name, &ours(world, all, name, unlike));
        }
        for name in FOREIGN {
            shelf.program(name, "exit 0");
        }
        for name in ["deploy", ".env.example"] {
            std::os::unix::fs::symlink(root().join(name), shelf.folder.join(name)).unwrap();
        }
        // The settings, which the programs have already.
        fs::write(shelf.folder.join(".env"), "").unwrap();
        fs::write(shelf.folder.join("relay.env"), "").unwrap();
        fs::create_dir(shelf.folder.join("target")).unwrap();
        std::os::unix::fs::symlink(shelf.folder.join("bin"), shelf.folder.join("target/release")).unwrap();
        fs::create_dir(shelf.folder.join("scripts")).unwrap();
        for script in fs::read_dir(root().join("scripts")).unwrap() {
            let script = script.unwrap().path();
            let name = format!("../scripts/{}", script.file_name().unwrap().display());
            shelf.program(&name, &flags_are_known(&script));
        }
        shelf
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.folder.join("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a shell says of these commands if it cannot carry one of them out.
    fn carry_out(&self, commands: &str) -> Result<(), String> {
        let output = Command::new("/bin/bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", &self.filled_in(commands)])
            .env_clear()
            .env("PATH", self.folder.join("bin"))
            .envs([("HOME", &self.folder), ("TMPDIR", &self.folder)])
            .envs([("MEMORY_TOKEN", MEMORY_TOKEN), ("UID", "501"), ("USER", "you")])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
    }

    /// With what stands for something put in its place.
    fn filled_in(&self, commands: &str) -> String {
        let words = |text: &str, name: &str, value: &str| {
            let whole =
                |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
            let (mut out, mut rest) = (String::new(), text);
            while let Some(at) = rest.find(name) {
                let (before, after) = (&rest[..at], &rest[at + name.len()..]);
                out.push_str(before);
                let stands_alone = whole(out.chars().next_back()) && whole(after.chars().next());
                out.push_str(if stands_alone { value } else { name });
                rest = after;
            }
            out + rest
        };
        self.backups.set(self.backups.get() + 1);
        let file = format!("file-{}", self.backups.get());
        let text = commands.replace("/etc/ai-relay/", &format!("{}/", self.folder.display()));
        let text = words(&text, "ID", DELIVERY);
        let text = words(&text, "TARGET", "claude");
        words(&text, "FILE", &file)
    }
}

/// Runs a program of ours with the settings of the running one, or, where `unlike` says so, asks it for help on these words.
fn ours(world: &World, all: &Binaries, name: &str, unlike: &[&str]) -> String {
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let (url, data) = match name {
        "relay" => (&all.relay.url, world.data("relay")),
        "claude-endpoint" => (&all.claude.url, world.data("claude-endpoint")),
        _ => (&all.ollama.url, world.data("ollama-endpoint")),
    };
    let settings = [
        ("PORT", port(url)),
        ("DATA_DIR", data),
        ("RELAY_URL", all.relay.url.clone()),
        ("RELAY_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
        ("RELAY_SIGNING_KEY", SIGNING_KEY.to_owned()),
        ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("MEMORY_TOKEN", MEMORY_TOKEN.to_owned()),
    ];
    let exports: String = settings.map(|(name, value)| format!("export {name}='{value}'\n")).concat();
    let program = binary(name).display().to_string();
    let asked: String = unlike
        .iter()
        .map(|words| format!("case \"$* \" in \"{words}\"*) exec '{program}' \"$@\" --help ;; esac\n"))
        .collect();
    format!("{exports}{asked}exec '{program}' \"$@\"")
}

/// A script's flags must stand in it, or in the program that thin scripts pass them on to; running it is for the tests of
/// the script.
fn flags_are_known(script: &Path) -> String {
    let (path, program) = (script.display(), root().join("home/src").display().to_string());
    format!(
        "/bin/bash -n '{path}' || exit 1\nfor word in \"$@\"; do\n  case $word in --*) /bin/grep -q -e \"$word\" -r '{path}' '{program}' || {{ echo \"{path} does not know $word\"; exit 1; }} ;; esac\ndone"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_in_the_documentation_can_be_carried_out() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut all = Binaries::new(&world);
    all.start(&world).await;
    let site = all.site(&world);
    assert_eq!(site.send(&pull_request(DELIVERY, &scenario, "opened")).await, 202);
    journey_is_complete(&world, &site, DELIVERY, &scenario).await;
    let shelf = Shelf::new(&world, &all);
    let (mut run, mut failures) = (0, Vec::new());
    for block in pages().iter().flat_map(|page| blocks(page)) {
        run += 1;
        if let Err(said) = shelf.carry_out(&block.text) {
            failures.push(format!("{}:{}\n{}\n  {said}", block.page, block.line, block.text));
        }
    }
    let alerts = fs::read_to_string(root().join("deploy/alerts.yml")).unwrap();
    let quoted = quoted(&alerts.replace("{{ $labels.lane }}", "claude"));
    assert!(quoted.len() > 5, "{quoted:?}");
    for command in quoted {
        if let Err(said) = shelf.carry_out(&command) {
            failures.push(format!("deploy/alerts.yml\n{command}\n  {said}"));
        }
    }
    assert!(run > 15, "only {run} blocks were found");
    assert!(failures.is_empty(), "{} of {run} blocks:\n\n{}", failures.len(), failures.join("\n\n"));
    for wrong in [
        "relay deliveries lst",
        "relay restore --sideways FILE",
        "no-such-program",
        "./scripts/crash-test.sh --no-such-flag",
    ] {
        assert!(shelf.carry_out(wrong).is_err(), "`{wrong}` went well: this test sees nothing");
    }
}

/// The French README has what the English one has, so that one that was left behind shows.
#[test]
fn the_translation_keeps_up() {
    let shape = |page: &str| {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let mut in_block = false;
        let code: Vec<String> = text
            .lines()
            .filter(|line| {
                let fence = line.starts_with("```");
                in_block ^= fence;
                in_block && !fence
            })
            .map(str::to_owned)
            .collect();
        (count("#"), count("| "), code)
    };
    let (english, french) = (shape("README.md"), shape("docs/README.fr.md"));
    assert_eq!((english.0, english.1), (french.0, french.1), "headings and rows of tables");
    assert_eq!(english.2, french.2, "blocks of code");
}
