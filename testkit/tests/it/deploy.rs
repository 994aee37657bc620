//! The files of `deploy/`, read by the programs that they are for. (The image and the compose file run in a real engine:
//! `scripts/docker-test.sh`. The proxies' snippets: `proxies.rs`.)

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::binaries::binary;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What it printed, and whether it ended well.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn the_build_context_is_the_workspace_and_nothing_else() {
    let manifest = read("Cargo.toml");
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let mut wanted: BTreeSet<String> = members.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    wanted.extend(["Cargo.toml", "Cargo.lock"].map(str::to_owned));
    let ignore = read(".dockerignore");
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let allowed: BTreeSet<String> = lines.map(|line| line.strip_prefix('!').unwrap().to_owned()).collect();
    assert_eq!(
        allowed, wanted,
        "cargo needs every member of the workspace, and nothing else may get into a layer"
    );
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("deploy/docker-compose.yaml")).unwrap()
}

#[test]
fn the_compose_file_is_as_coolify_wants_it() {
    let compose = compose();
    assert_eq!(compose["services"].as_object().unwrap().len(), 1);
    let relay = &compose["services"]["relay"];
    for (name, wanted) in [
        ("network_mode", json!("host")),
        ("read_only", json!(true)),
        ("cap_drop", json!(["ALL"])),
        ("security_opt", json!(["no-new-privileges:true"])),
        ("restart", json!("unless-stopped")),
        ("volumes", json!(["relay-data:/data"])),
    ] {
        assert_eq!(relay[name], wanted, "{name}");
    }
    for name in ["ports", "networks", "container_name", "privileged", "devices", "env_file", "user"] {
        assert!(relay.get(name).is_none(), "{name} does not go with the host's network or the cage");
    }
    assert!(compose["volumes"].get("relay-data").is_some(), "the volume has a name");
    assert!(compose.get("networks").is_none());
}

#[test]
fn the_compose_file_passes_settings_that_there_are_and_only_asks_for_secrets() {
    let (compose, example) = (compose(), read(".env.example"));
    let environment = compose["services"]["relay"]["environment"].as_object().unwrap().clone();
    let mut required = Vec::new();
    for (name, value) in &environment {
        assert!(example.contains(&format!("{name}=")), "{name} is not in .env.example");
        let inside = value.as_str().unwrap().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let inside = inside.unwrap_or_else(|| panic!("{name} is fixed to {value}"));
        let operator = inside.strip_prefix(name.as_str()).unwrap_or_else(|| panic!("{name} is {value}"));
        match operator {
            // A text behind it would become the value under Coolify.
            ":?" => required.push(name.as_str()),
            operator => assert!(operator.starts_with(":-"), "{name} is {value}"),
        }
    }
    required.sort_unstable();
    assert_eq!(required, ["GITHUB_WEBHOOK_SECRET", "RELAY_ADMIN_TOKEN", "RELAY_SIGNING_KEY"]);
    let as_in_compose = |name: &str| environment[name].as_str().unwrap().to_owned();
    assert_eq!(as_in_compose("LISTEN"), "${LISTEN:-docker0}", "not open to the internet by itself");
}

#[test]
fn the_relay_starts_with_the_compose_files_defaults() {
    let mut command = Command::new(binary("relay"));
    command.args(["config", "show"]).env_clear();
    for (name, value) in compose()["services"]["relay"]["environment"].as_object().unwrap() {
        let default = value.as_str().unwrap().split_once(":-").map_or("", |(_, default)| default);
        command.env(name, default.trim_end_matches('}'));
    }
    // This machine need not have Docker's bridge.
    let loopback = if cfg!(target_os = "macos") { "lo0" } else { "lo" };
    let (well, said) = run(command.env("LISTEN", loopback));
    assert!(well && said.contains("port = \"4200\""), "{said}");
}

/// `--env-file` alone only fills in what the file names.
#[test]
fn with_docker_alone_every_setting_of_the_file_reaches_the_relay() {
    let works = |words: &[&str]| {
        let asked = Command::new(words[0]).args(&words[1..]).arg("version").output();
        asked.is_ok_and(|asked| asked.status.success())
    };
    let either = [["docker", "compose"].as_slice(), &["docker-compose"]];
    let Some(compose) = either.into_iter().find(|words| works(words)) else {
        eprintln!("SKIPPED: docker compose is missing, so deploy/docker-compose.alone.yaml is not tried");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deploy")).unwrap();
    let mut command = Command::new(compose[0]);
    command.current_dir(folder.path()).args(&compose[1..]).args(["--env-file", "relay.env"]);
    for name in ["deploy/docker-compose.yaml", "deploy/docker-compose.alone.yaml"] {
        fs::write(folder.path().join(name), read(name)).unwrap();
        command.args(["--file", name]);
    }
    let secrets = ["GITHUB_WEBHOOK_SECRET", "RELAY_SIGNING_KEY", "RELAY_ADMIN_TOKEN"];
    let settings = secrets.map(|name| format!("{name}=secret-of-{name}\n")).concat()
        + "LISTEN=127.0.0.1\nTRUSTED_PROXIES=198.51.100.0/24\nMAX_BACKLOG=7\n";
    fs::write(folder.path().join("relay.env"), settings).unwrap();
    let (well, said) = run(command.arg("config").env("SOURCE_COMMIT", "1a2b3c4d5e6f"));
    assert!(well, "{said}");
    for wanted in
        ["TRUSTED_PROXIES: 198.51.100.0/24", "MAX_BACKLOG: '7'", "LISTEN: 127.0.0.1", "1a2b3c4d5e6f"]
    {
        assert!(said.replace('"', "'").contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_little_that_it_may_do() {
    let program = Path::new("/usr/bin/systemd-analyze");
    if !program.exists() {
        eprintln!("SKIPPED: systemd-analyze is missing, so deploy/relay.service is not checked");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("relay.service");
    // It wants the program to be there.
    let text =
        read("deploy/relay.service").replace("/usr/local/bin/relay", &binary("relay").display().to_string());
    fs::write(&unit, text).unwrap();
    let (well, said) = run(Command::new(program).arg("verify").arg(&unit));
    assert!(well && said.trim().is_empty(), "{said}");
    // In tenths of its ten points; a unit without any of this has 9.6.
    let (well, said) = run(Command::new(program)
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(&unit));
    assert!(well, "{said}");
}

/// The commands of the relay's own program that a page gives.
fn relay_commands(page: &str) -> impl Iterator<Item = &str> {
    let shell = page.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    shell.flat_map(str::lines).filter(|line| line.starts_with("relay "))
}

#[test]
fn coolifys_page_gives_commands_that_there_are() {
    let page = read("docs/coolify.md");
    let mut commands = 0;
    for line in relay_commands(&page).filter(|line| *line != "relay --version") {
        let words = line
            .split(' ')
            .skip(1)
            .take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'));
        let (well, said) = run(Command::new(binary("relay")).args(words).arg("--help").env_clear());
        assert!(well, "`{line}`: {said}");
        commands += 1;
    }
    assert!(commands >= 3, "{commands}");
    for block in page.split("```sh\n").skip(1) {
        let script = block.split("```").next().unwrap();
        let (well, said) = run(Command::new("bash").args(["-n", "-c", script]));
        assert!(well, "{script}{said}");
    }
    for file in page.split("](../").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
        assert!(root().join(file).exists(), "docs/coolify.md leads to {file}, which is not there");
    }
}
