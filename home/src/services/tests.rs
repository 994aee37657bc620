//! The generated files: as they are, and as those read them who will.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use proptest::prelude::*;

use super::{config::Settings, *};

fn settings(home: &str) -> Settings {
    let root = Path::new(home).join("ai-relay");
    Settings {
        env_file: root.join(".env"),
        home: home.into(),
        user: "me".to_owned(),
        path: "/nowhere".into(),
        programs: root.join("target/release"),
        data_root: root.join("data"),
        tunnel_dir: root.join("data/tunnel"),
        claude_endpoint_port: 5050,
        ollama_endpoint_port: 8090,
        given: vec![],
        file: BTreeMap::from([("MEMORY_TOKEN".to_owned(), "s3cret".to_owned())]),
        root,
    }
}

fn managers() -> [(&'static str, Manager, &'static str); 3] {
    [
        ("agent", Manager::LaunchAgent, "/Users/me"),
        ("daemon", Manager::LaunchDaemon { user: "me".to_owned() }, "/Users/me"),
        ("systemd", Manager::SystemdUser, "/home/me"),
    ]
}

#[test]
fn the_files_read_like_this() {
    for (kind, manager, home) in managers() {
        for name in Name::ALL {
            let service = plan::service(name, &manager, &settings(home)).unwrap();
            let text = manager.render(&service).unwrap();
            assert!(!text.contains("s3cret"), "{text}");
            insta::assert_snapshot!(format!("{kind}_{}", name.program()), text);
        }
    }
}

#[test]
fn launchd_gets_property_lists_that_say_what_is_meant() {
    for (_, manager, home) in
        managers().into_iter().filter(|(_, manager, _)| *manager != Manager::SystemdUser)
    {
        for name in Name::ALL {
            let service = plan::service(name, &manager, &settings(home)).unwrap();
            let list = parse(&manager.render(&service).unwrap());
            assert_eq!(read_back(&list, &service), service);
            for (key, value) in [("RunAtLoad", true), ("KeepAlive", true)] {
                assert_eq!(list[key].as_boolean(), Some(value), "{key}");
            }
            for (key, value) in [("ThrottleInterval", 10), ("ExitTimeOut", 20), ("Umask", 0o077)] {
                assert_eq!(list[key].as_signed_integer(), Some(value), "{key}");
            }
            assert_eq!(list["StandardErrorPath"].as_string(), service.log.to_str());
            let user = list.get("UserName").and_then(plist::Value::as_string);
            assert_eq!(user, (manager != Manager::LaunchAgent).then_some("me"));
        }
    }
}

fn parse(text: &str) -> plist::Dictionary {
    plist::Value::from_reader_xml(text.as_bytes()).unwrap().into_dictionary().unwrap()
}

/// What a property list says of a service; what it does not hold is taken from `meant`.
fn read_back(list: &plist::Dictionary, meant: &Service) -> Service {
    let text = |value: &plist::Value| value.as_string().unwrap().to_owned();
    let mut command = list["ProgramArguments"].as_array().unwrap().iter().map(text);
    let mut environment: Vec<_> = list["EnvironmentVariables"]
        .as_dictionary()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    let is_file = |(name, _): &(String, String)| name == "ENV_FILE";
    let file = environment.iter().position(is_file).map(|at| environment.remove(at).1.into());
    Service {
        name: text(&list["Label"]),
        about: meant.about.clone(),
        program: command.next().unwrap().into(),
        arguments: command.collect(),
        environment,
        environment_file: file,
        folder: text(&list["WorkingDirectory"]).into(),
        log: text(&list["StandardOutPath"]).into(),
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_a_path_launchd_reads_what_was_meant(
        words in prop::collection::vec("[ -~¡-ÿ&<>\"'%$\\\\]{0,20}", 6),
    ) {
        let path = |word: &String| PathBuf::from(format!("/{word}"));
        let service = Service {
            name: "ai-relay-tunnel".to_owned(),
            about: "a test".to_owned(),
            program: path(&words[0]),
            arguments: words[1..3].to_vec(),
            environment: vec![("A".to_owned(), words[3].clone()), ("B_2".to_owned(), words[4].clone())],
            environment_file: Some(path(&words[4])),
            folder: path(&words[5]),
            log: path(&words[0]),
        };
        let list = parse(&Manager::LaunchAgent.render(&service).unwrap());
        prop_assert_eq!(read_back(&list, &service), service);
    }
}

/// The real systemd reads what it will read later. That it also *means* what was meant is shown by the journey test with a
/// running one.
#[test]
fn systemd_has_nothing_to_say_against_its_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no systemd-analyze here, so no unit was verified");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a folder & 100% of $HOME <odd> ; ü");
    fs::create_dir_all(odd.join("ai-relay/target/release")).unwrap();
    program(&odd.join("ai-relay/target/release/ai-relay-home"));
    for name in Name::ALL {
        let settings = settings(odd.to_str().unwrap());
        let service = plan::service(name, &Manager::SystemdUser, &settings).unwrap();
        let file = folder.path().join(systemd::unit_name(&service.name));
        let unit = Manager::SystemdUser.render(&service).unwrap();
        assert_eq!(verify(&file, &unit), "", "{unit}");
    }
    // so that silence means something
    let file = folder.path().join("wrong.service");
    assert!(verify(&file, "[Service]\nExecStart=/bin/true\nRestrat=always\n").contains("Restrat"));
}

/// A program that does nothing; what a system has of those is not everywhere at the same place.
fn program(path: &Path) {
    fs::write(path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn verify(file: &Path, unit: &str) -> String {
    fs::write(file, unit).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["--user", "--man=no", "verify"])
        .arg(file)
        .env("XDG_RUNTIME_DIR", file.parent().unwrap())
        .output()
        .unwrap();
    [verified.stdout, verified.stderr].map(|said| String::from_utf8(said).unwrap()).concat()
}

#[test]
fn what_no_file_can_hold_is_refused() {
    let service = plan::service(Name::Tunnel, &Manager::SystemdUser, &settings("/home/me")).unwrap();
    let refused = |change: &dyn Fn(&mut Service), manager: &Manager| {
        let mut service = service.clone();
        change(&mut service);
        manager.render(&service).unwrap_err().to_string()
    };
    for (_, manager, _) in managers() {
        let error =
            refused(&|service| service.arguments.push("a\nExecStartPre=/bin/evil".to_owned()), &manager);
        assert!(error.contains("control character"), "{error}");
        let error = refused(&|service| service.environment.push(("A B".to_owned(), String::new())), &manager);
        assert!(error.contains("not the name of a variable"), "{error}");
        let error = refused(&|service| service.program = "target/release/x".into(), &manager);
        assert!(error.contains("not an absolute path"), "{error}");
    }
    let error =
        refused(&|service| service.folder = "/home/me/ends in a space ".into(), &Manager::SystemdUser);
    assert!(error.contains("rename it"), "{error}");
}

#[test]
fn a_service_finds_the_claude_cli_and_no_folder_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let bin = |name: &str| folder.path().join(name);
    for (place, program) in [("cli", "claude"), ("node", "node"), ("others", "tool")] {
        fs::create_dir(bin(place)).unwrap();
        self::program(&bin(place).join(program));
    }
    let mut settings = settings("/home/me");
    settings.path = std::env::join_paths(["others", "cli", "node"].map(bin)).unwrap();
    let path = plan::search_path(&Manager::SystemdUser, &settings).unwrap();
    let shown = path.replace(folder.path().to_str().unwrap(), "");
    assert_eq!(shown, "/cli:/node:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    settings.file.insert("CLAUDE_CLI".to_owned(), bin("others/tool").to_str().unwrap().to_owned());
    let path = plan::search_path(&Manager::LaunchAgent, &settings).unwrap();
    assert!(path.contains("/others:") && path.contains("/opt/homebrew/bin:/usr/local/bin"), "{path}");
}

#[test]
fn what_could_not_start_is_refused_before_anything_changes() {
    let refused = |name, manager: &Manager, settings: &Settings, is_running| {
        plan::check(name, manager, settings, is_running)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let settings_there = settings("/Users/me");
    let (agent, systemd) = (Manager::LaunchAgent, Manager::SystemdUser);
    assert!(refused(Name::Tunnel, &agent, &settings_there, false).contains(" tunnel setup --host VPS"));
    let missing = refused(Name::ClaudeEndpoint, &agent, &settings_there, false);
    assert!(missing.contains("install.sh of a release"), "{missing}");
    assert!(missing.ends_with("cargo build --release --locked -p claude-endpoint"), "{missing}");

    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path().to_str().unwrap());
    fs::create_dir_all(&settings.programs).unwrap();
    fs::write(settings.programs.join("claude-endpoint"), "").unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    settings.claude_endpoint_port = taken.local_addr().unwrap().port();
    let said = refused(Name::ClaudeEndpoint, &systemd, &settings, false);
    assert!(said.contains("is taken; if ./scripts/start-ai-services.sh started it"), "{said}");
    assert_eq!(refused(Name::ClaudeEndpoint, &systemd, &settings, true), "");
    settings.data_root = folder.path().join("Documents/data");
    let said = refused(Name::ClaudeEndpoint, &agent, &settings, true);
    assert!(said.contains("does not let launchd's services into"), "{said}");
    assert_eq!(refused(Name::ClaudeEndpoint, &systemd, &settings, true), "");
    settings.data_root = folder.path().join("data");
    settings.tunnel_dir = folder.path().join("Desktop/tunnel");
    let said = refused(Name::Tunnel, &agent, &settings, true);
    assert!(said.contains("Desktop/tunnel is"), "{said}");
}

/// Agent and daemon take a service from each other: what one of them runs has the port by right.
#[test]
fn a_service_that_another_manager_runs_is_known_to_run() {
    let runs_it = |who: Manager| {
        move |manager: &Manager, _: &str| {
            let pid = (std::mem::discriminant(manager) == std::mem::discriminant(&who)).then_some(7);
            Ok(Status { installed: pid.is_some(), pid, says: String::new() })
        }
    };
    let (agent, daemon) = (Manager::LaunchAgent, Manager::LaunchDaemon { user: "me".to_owned() });
    for asked in [&agent, &daemon] {
        assert!(asked.any_runs("x", runs_it(agent.clone())) && asked.any_runs("x", runs_it(daemon.clone())));
        assert!(!asked.any_runs("x", runs_it(Manager::SystemdUser)));
        assert!(!asked.any_runs("x", |_, _| anyhow::bail!("nobody can be asked")));
    }
}

#[test]
fn managers_are_understood() {
    let printed = "gui/501/ai-relay-tunnel = {\n\tactive count = 1\n\tstate = running\n\truns = 3\n\tpid = 4711\n\tlast exit code = 255\n\tspawn type = interactive\n\tendpoints = {\n\t\tpid = 1\n\t}\n}\n";
    assert_eq!(
        launchd::answer(printed),
        (Some(4711), "running, last exit code: 255, started 3 times".to_owned())
    );
    let shown = "ActiveState=activating\nSubState=auto-restart\nMainPID=0\nResult=exit-code\nNRestarts=7\n";
    let says = "activating (auto-restart), last result: exit-code, restarted 7 times";
    assert_eq!(systemd::answer(shown), (None, says.to_owned()));
}

#[test]
fn logs_are_found() {
    let commands: Vec<String> = managers()
        .iter()
        .map(|(_, manager, home)| {
            manager.log_command(&plan::service(Name::ClaudeEndpoint, manager, &settings(home)).unwrap())
        })
        .collect();
    let of_launchd = "tail /Users/me/Library/Logs/ai-relay/claude-endpoint*.log";
    assert_eq!(commands, [of_launchd, of_launchd, "journalctl --user -u ai-relay-claude-endpoint"]);

    let home = tempfile::tempdir().unwrap();
    let settings = settings(home.path().to_str().unwrap());
    let service = plan::service(Name::Tunnel, &Manager::LaunchAgent, &settings).unwrap();
    assert_eq!(Manager::LaunchAgent.last_words(&service), "");
    fs::create_dir_all(service.log.parent().unwrap()).unwrap();
    fs::write(service.log.with_file_name("tunnel.log"), "the VPS does not answer\n").unwrap();
    assert!(Manager::LaunchAgent.last_words(&service).contains("the VPS does not answer"));
    fs::write(&service.log, "error: no start\n").unwrap();
    let both = Manager::LaunchAgent.last_words(&service);
    assert!(both.contains("the VPS does not answer") && both.contains("error: no start"), "{both}");
}

#[test]
fn managers_are_told_this() {
    let desktop = launchd::Domain::Desktop(501);
    let file = "/Users/me/Library/LaunchAgents/ai-relay-tunnel.plist";
    let mut told = vec![desktop.end("ai-relay-tunnel")];
    told.extend(desktop.begin("ai-relay-tunnel", file));
    told.extend(
        launchd::Domain::System.begin("ai-relay-tunnel", "/Library/LaunchDaemons/ai-relay-tunnel.plist"),
    );
    told.push(desktop.restart("ai-relay-tunnel"));
    told.extend(systemd::begin("ai-relay-tunnel"));
    told.extend(systemd::end("ai-relay-tunnel"));
    let lines: Vec<String> = told.iter().map(|words| words.join(" ")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
