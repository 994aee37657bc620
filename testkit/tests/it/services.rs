//! The endpoints as services of a real systemd, of a user without rights: installed, working, killed, installed anew and
//! removed; and what such a systemd understands of odd paths.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use home::services::{Manager, Service};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use testkit::{
    scenario::{REVIEWER_TOKEN, Scenario},
    systemd::UserManager,
};

use crate::{
    journey::journey_is_complete,
    support::{
        MEMORY_TOKEN, SIGNING_KEY, Site, World,
        binaries::{Process, binary, port},
        pull_request,
        tools::claude_cli,
        until,
    },
};

/// A user's systemd with our programs, or `None`, said loudly, where none can run.
pub(crate) async fn machine(folder: &Path) -> Option<UserManager> {
    if let Some(why) = UserManager::missing() {
        eprintln!("SKIPPED: {why}, so no service was installed");
        return None;
    }
    let machine = UserManager::start(folder, binary("ai-relay-home").parent().unwrap()).unwrap();
    let answers = until(async || machine.run("systemctl", &["--user", "is-system-running"]).is_ok()).await;
    assert!(answers, "{}", fs::read_to_string(folder.join("systemd.log")).unwrap());
    Some(machine)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The machine at home: both endpoints installed, with the real Claude CLI.
struct Home {
    machine: UserManager,
    root: PathBuf,
    ports: [u16; 2],
}

const LABELS: [&str; 2] = ["ai-relay-claude-endpoint", "ai-relay-ollama-endpoint"];

impl Home {
    fn new(machine: UserManager, world: &World) -> Self {
        let root = machine.home().join("ai relay");
        let ports = [port(), port()];
        let env = format!(
            "RELAY_SIGNING_KEY={SIGNING_KEY}\nMEMORY_TOKEN={MEMORY_TOKEN}\nGITHUB_TOKEN={REVIEWER_TOKEN}\nGITHUB_API_URL={}\n\
             GITHUB_PACING_MS=0\nREVIEWER=claude-cli\nCLAUDE_CLI={}\nANTHROPIC_API_KEY=sk-ant-testkit-0000000000000000\n\
             ANTHROPIC_BASE_URL={}\nOLLAMA_URL={}\nCLAUDE_ENDPOINT_PORT={}\nOLLAMA_ENDPOINT_PORT={}\n",
            world.github.url(),
            claude_cli().display(),
            world.anthropic.url(),
            world.ollama.url(),
            ports[0],
            ports[1]
        );
        machine.write(&root.join(".env"), &env).unwrap();
        for script in ["lib.sh", "start-ai-services.sh", "stop-ai-services.sh"] {
            let text = fs::read_to_string(repository().join("scripts").join(script)).unwrap();
            machine.write(&root.join("scripts").join(script), &text).unwrap();
        }
        Self { machine, root, ports }
    }

    /// `ai-relay-home services …`, which must succeed.
    fn services(&self, arguments: &[&str]) -> String {
        let program = self.machine.home().join("bin/ai-relay-home").display().to_string();
        let arguments: Vec<&str> = ["services"].iter().chain(arguments).copied().collect();
        self.machine.run(&program, &arguments).unwrap()
    }

    /// A script of the project, which must succeed.
    fn script(&self, name: &str, arguments: &[&str]) -> String {
        self.run_script(name, arguments).unwrap()
    }

    fn run_script(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let programs = format!("BIN_DIR={}", self.machine.home().join("bin").display());
        let script = self.root.join("scripts").join(name).display().to_string();
        let arguments: Vec<&str> =
            [programs.as_str(), "bash", &script].into_iter().chain(arguments.iter().copied()).collect();
        self.machine.run("env", &arguments)
    }

    fn install(&self) -> String {
        self.script("start-ai-services.sh", &["--install"])
    }

    fn pid(&self, label: &str) -> u32 {
        let unit = format!("{label}.service");
        let shown = self.machine.run("systemctl", &["--user", "show", "-P", "MainPID", &unit]).unwrap();
        shown.trim().parse().unwrap()
    }

    /// Everything below the home but the programs, the endpoints' data, and what the Claude CLI keeps for itself; by name.
    fn files(&self) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![self.machine.home().to_owned()]);
        while let Some(folder) = open.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.strip_prefix(self.machine.home()).unwrap().display().to_string();
                match path.is_dir() {
                    true if name != "bin" && name != "ai relay/data" => open.push(path),
                    false if !name.starts_with(".claude") => found.push(name),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_services_work_come_back_and_leave_nothing() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let folder = tempfile::tempdir().unwrap();
    let Some(machine) = machine(folder.path()).await else { return };
    let home = Home::new(machine, &world);
    let before = home.files();
    let said = home.install();
    assert!(said.contains("claude: no login of the CLI is needed"), "{said}");
    assert!(said.contains("sudo loginctl enable-linger nobody"), "{said}");

    let endpoints = home.ports.map(|port| format!("http://127.0.0.1:{port}"));
    let mut relay = Process::new(&world, "relay", world.relay_flags(&endpoints[0], &endpoints[1]));
    relay.start(&world).await;
    let site = Site { relay: relay.url.clone(), memory: endpoints[1].clone(), http: world.http.clone() };
    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    journey_is_complete(&world, &site, "d1", &scenario).await;

    let pids = LABELS.map(|label| home.pid(label));
    for (pid, label) in pids.iter().zip(LABELS) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{status}");
        }
        let unit = home.machine.home().join(format!(".config/systemd/user/{label}.service"));
        let unit = fs::read_to_string(unit).unwrap();
        for secret in [SIGNING_KEY, MEMORY_TOKEN, REVIEWER_TOKEN, "sk-ant-testkit"] {
            assert!(!unit.contains(secret), "{unit}");
        }
        home.machine.run("kill", &["-KILL", &pid.to_string()]).unwrap();
    }
    for (pid, label) in pids.iter().zip(LABELS) {
        assert!(until(async || ![0, *pid].contains(&home.pid(label))).await, "{label} did not come back");
    }
    let pids = LABELS.map(|label| home.pid(label));
    home.install();
    for (pid, label) in pids.iter().zip(LABELS) {
        assert_ne!(home.pid(label), *pid, "an installation anew restarts {label}");
    }
    assert_eq!(site.send(&pull_request("d2", &scenario, "edited")).await, 202);
    site.until("d2", "ollama", "completed").await;
    let status = home.services(&["status"]);
    assert_eq!(status.matches("active (running), pid ").count(), 2, "{status}");

    what_is_installed_is_restarted(&home);
    let said = home.script("start-ai-services.sh", &["--uninstall"]);
    assert_eq!(said.matches("stopped and removed").count(), 2, "{said}");
    assert_eq!(home.files(), before);
    for port in home.ports {
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "{port} is still taken");
    }
    let units =
        home.machine.run("systemctl", &["--user", "list-units", "--all", "--plain", "ai-relay*"]).unwrap();
    assert!(units.contains("0 loaded units listed"), "{units}");
    assert_eq!(home.services(&["uninstall"]).matches("was not installed").count(), 3);
    restarts_in_the_background(&home);
    doctors_find_the_services(&home);
    assert_eq!(home.script("stop-ai-services.sh", &[]).matches("stopped (pid").count(), 2);

    // The login trap, with the real CLI: no key, and no login that a service would find.
    let settings = home.root.join(".env");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("ANTHROPIC_API_KEY=", "# ANTHROPIC_API_KEY=")).unwrap();
    let said = home.script("start-ai-services.sh", &["--install", "--only", "claude-endpoint"]);
    let reviewer = said.lines().find(|line| line.contains("warn  reviewer")).unwrap();
    assert!(reviewer.contains("the Claude CLI is not logged in"), "as the service itself says: {said}");
    assert!(said.contains("the CLI is not logged in where the service looks"), "{said}");
    assert!(said.contains("claude setup-token"), "{said}");
    home.services(&["uninstall", "--only", "claude-endpoint"]);
    assert_eq!(home.files(), before);
}

/// The scripts leave what is installed to the system, and with `--restart` have it start that anew.
fn what_is_installed_is_restarted(home: &Home) {
    let said = home.script("stop-ai-services.sh", &[]);
    assert!(said.contains("claude-endpoint: is installed and kept running by the system"), "{said}");
    let pids = LABELS.map(|label| home.pid(label));
    let said = home.script("start-ai-services.sh", &["--restart"]);
    assert_eq!(said.matches("started anew by systemd").count(), 2, "{said}");
    assert!(!said.contains("tunnel"), "it is not there: {said}");
    for (pid, label) in pids.iter().zip(LABELS) {
        assert!(![0, *pid].contains(&home.pid(label)), "{label} was not started anew");
    }
    doctors_find_the_services(home);
    let said = home.script("start-ai-services.sh", &[]);
    assert_eq!(said.matches("kept so by the system; with --restart").count(), 2, "{said}");
    home.machine.run("systemctl", &["--user", "stop", LABELS[0]]).unwrap();
    let refused = home.run_script("start-ai-services.sh", &[]).unwrap_err().to_string();
    assert!(refused.contains("claude-endpoint: is installed, and does not run"), "{refused}");
    home.script("start-ai-services.sh", &["--restart"]);
    assert_ne!(home.pid(LABELS[0]), 0);
}

/// The doctors look with the settings of the services, whatever this terminal has, and find them.
fn doctors_find_the_services(home: &Home) {
    let program = home.machine.home().join("bin/ai-relay-home").display().to_string();
    let mut command = home.machine.command("env");
    command.arg("PORT=9").arg(program).args(["services", "doctor", "--json", "--offline", "--root"]);
    let done = command.arg(&home.root).output().unwrap();
    let documents = serde_json::Deserializer::from_slice(&done.stdout).into_iter::<serde_json::Value>();
    let documents: Vec<_> = documents.map(Result::unwrap).collect();
    assert_eq!(documents.len(), 2, "{}", String::from_utf8_lossy(&done.stderr));
    for (document, (label, port)) in documents.iter().rev().zip(LABELS.iter().zip(home.ports)) {
        let service = label.trim_start_matches("ai-relay-");
        assert_eq!(document["service"], service);
        let hops = document["hops"].as_array().unwrap();
        let own = hops.iter().find(|hop| hop["hop"] == service).unwrap();
        let connection =
            own["checks"].as_array().unwrap().iter().find(|one| one["check"] == "connection").unwrap();
        assert_eq!(connection["status"], "ok", "{document:#}");
        assert!(connection["says"].as_str().unwrap().contains(&format!(":{port}")), "{connection}");
    }
}

/// What is not installed is started anew by the scripts, and also where it does not run.
fn restarts_in_the_background(home: &Home) {
    let pids = |said: &str| said.lines().filter(|line| line.contains(": started at http")).count();
    let said = home.script("start-ai-services.sh", &["--restart"]);
    assert_eq!((pids(&said), said.matches(": not running").count()), (2, 2), "{said}");
    let said = home.script("start-ai-services.sh", &["--restart"]);
    assert_eq!((pids(&said), said.matches(": stopped (pid").count()), (2, 2), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_others_may_read_are_refused_and_nothing_is_installed() {
    let world = World::start(&Scenario::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let Some(machine) = machine(folder.path()).await else { return };
    let home = Home::new(machine, &world);
    let program = home.machine.home().join("bin/ai-relay-home");
    let refused = || {
        let mut command = home.machine.command(program.to_str().unwrap());
        let done = command.args(["services", "install", "--root"]).arg(&home.root).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(!home.machine.home().join(".config").exists());
        String::from_utf8(done.stderr).unwrap()
    };
    let settings = home.root.join(".env");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused();
    assert!(said.contains("run: chmod 600") && !said.contains(MEMORY_TOKEN), "{said}");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&settings).unwrap();
    let other = std::net::TcpListener::bind(("127.0.0.1", home.ports[1])).unwrap();
    let said = refused();
    assert!(said.contains(&format!("port {}, for the ollama-endpoint, is taken", home.ports[1])), "{said}");
    drop(other);

    // what systemd itself would go on trying is said at once
    fs::write(&settings, text.replace(SIGNING_KEY, "whsec_wrong")).unwrap();
    let mut command = home.machine.command(program.to_str().unwrap());
    let done = command.args(["services", "install", "--root"]).arg(&home.root).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("ai-relay-ollama-endpoint is not healthy"), "{said}");
    assert!(said.contains("last result: exit-code") && !said.contains("whsec_wrong"), "{said}");
}

/// A release in its owner's own folder, without the sources: one command, and what it tells to run is that program.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_needs_no_clone() {
    let folder = tempfile::tempdir().unwrap();
    let Some(machine) = machine(folder.path()).await else { return };
    let here = machine.home().join("relay");
    machine.write(&here.join("a file"), "").unwrap();
    let ports = [port(), port()];
    let run = |words: &[&str]| {
        let mut command = machine.command("env");
        command.arg(format!("--chdir={}", here.display()));
        command.arg(format!("PATH={}:/usr/bin:/bin", machine.home().join("bin").display()));
        command.args([
            format!("CLAUDE_ENDPOINT_PORT={}", ports[0]),
            format!("OLLAMA_ENDPOINT_PORT={}", ports[1]),
        ]);
        let done = command.arg("ai-relay-home").args(words).output().unwrap();
        (
            done.status.success(),
            [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap()).concat(),
        )
    };
    let (done, said) = run(&["services", "restart"]);
    assert!(
        !done && said.contains("no service is installed; `ai-relay-home services install` does that"),
        "{said}"
    );
    let (done, said) = run(&["services", "install"]);
    assert!(done && said.contains("with fresh secrets"), "{said}");
    assert_eq!(said.matches("installed as").count(), 2, "{said}");
    assert!(!said.contains("scripts/") && !said.contains("cargo"), "{said}");
    let mode = fs::metadata(here.join(".env")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let before = fs::read_to_string(here.join(".env")).unwrap();
    let (done, said) = run(&["services", "restart"]);
    assert!(done && said.matches("started anew by systemd").count() == 2, "{said}");
    assert!(run(&["services", "install"]).0, "again, after a new version");
    assert_eq!(fs::read_to_string(here.join(".env")).unwrap(), before);
    assert!(run(&["services", "uninstall"]).0);
}

/// Says what it was started with.
const WITNESS: &str = "#!/bin/sh\nprintf '%s\\0' \"$PWD\" \"$A\" \"$B\" \"$@\" >\"$OUT.new\"\nmv \"$OUT.new\" \"$OUT\"\nexec sleep 1000\n";

/// Services whose every part is a word that could mean something else to systemd.
fn odd_services(home: &Path, count: usize) -> Vec<(Service, PathBuf)> {
    // in the program's own path, systemd allows no quotes and no backslashes at all
    let path = "[ !#-&(-.0-\\[\\]-~¡-ÿ€]{0,12}|[%$][a-zA-Z{}]{1,4}|;|#|@x";
    let word = "[ -.0-~¡-ÿ€]{0,12}|[%$][a-zA-Z{}]{1,4}|[\"'\\\\]{1,3}|\\$\\{HOME\\}|%h|@x|-x|;|#";
    let words = (prop::collection::vec(path, 2), prop::collection::vec(word, 4));
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    (0..count)
        .map(|number| {
            let (path, words) = words.new_tree(&mut runner).unwrap().current();
            let folder = home.join(format!("odd/{number}")).join(format!("x{}x", path[0]));
            let out = home.join(format!("odd/out-{number}"));
            let service = Service {
                name: format!("odd-{number}"),
                about: words[0].clone(),
                program: folder.join(format!("p{}", path[1])),
                arguments: words[..2].to_vec(),
                environment: vec![
                    ("A".to_owned(), words[2].clone()),
                    ("B".to_owned(), words[3].clone()),
                    ("OUT".to_owned(), out.display().to_string()),
                    ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ],
                environment_file: None,
                folder,
                log: "/dev/null".into(),
            };
            (service, out)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_a_path_systemd_runs_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let Some(machine) = machine(folder.path()).await else { return };
    let services = odd_services(machine.home(), 60);
    let units = machine.home().join(".config/systemd/user");
    let mut names = Vec::new();
    for (service, _) in &services {
        fs::create_dir_all(&service.folder).unwrap();
        fs::write(&service.program, WITNESS).unwrap();
        fs::set_permissions(&service.program, fs::Permissions::from_mode(0o755)).unwrap();
        let unit = Manager::SystemdUser.render(service).unwrap();
        machine.write(&units.join(format!("{}.service", service.name)), &unit).unwrap();
        names.push(format!("{}.service", service.name));
    }
    chown(machine.home().join("odd"), Some(65_534), Some(65_534)).unwrap();
    machine.run("systemctl", &["--user", "daemon-reload"]).unwrap();
    let arguments: Vec<&str> =
        ["--user", "start"].into_iter().chain(names.iter().map(String::as_str)).collect();
    machine.run("systemctl", &arguments).unwrap();
    for (service, out) in &services {
        assert!(until(async || out.exists()).await, "{service:#?}");
        let seen = fs::read_to_string(out).unwrap();
        let seen: Vec<&str> = seen.trim_end_matches('\0').split('\0').collect();
        let value = |at: usize| service.environment[at].1.as_str();
        let mut meant = vec![service.folder.to_str().unwrap(), value(0), value(1)];
        meant.extend(service.arguments.iter().map(String::as_str));
        assert_eq!(seen.join("\0"), meant.join("\0").trim_end_matches('\0'), "{service:#?}");
    }
}
