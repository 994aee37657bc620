//! What the four programs say about themselves: `--version`, `completions`, `man`, each held against the real reader.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use shared::version::VERSION;

use crate::support::binaries::binary;

/// A program, the beginning of a word of it, and what that becomes.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("relay", "deliv", "deliveries"),
    ("claude-endpoint", "led", "ledger"),
    ("ollama-endpoint", "rein", "reindex"),
    ("ai-relay-home", "serv", "services"),
];

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(binary(program)).args(arguments).env_clear().output().unwrap();
    said(program, &output);
    String::from_utf8(output.stdout).unwrap()
}

fn said(who: &str, Output { status, stderr, .. }: &Output) {
    assert!(status.success(), "{who}: {status}: {}", String::from_utf8_lossy(stderr));
}

/// What a program makes of an input; `None` where it is not installed.
fn fed(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // A reader that has seen enough is no failure of ours.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().ok()
}

#[test]
fn each_program_says_which_build_it_is() {
    for (program, _, _) in PROGRAMS {
        assert_eq!(run(program, &["--version"]), format!("{program} {VERSION}\n"));
    }
}

/// Presses the tab key after `words`, as bash does it.
const TAB: &str = r#"
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
function=$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

fn completed(script: &str, words: &[&str]) -> Vec<String> {
    let arguments = [&["-c", TAB, "tab"], words].concat();
    let output = fed("bash", &arguments, script).unwrap();
    said("bash", &output);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_words_and_never_offers_a_secret() {
    for (program, begun, whole) in PROGRAMS {
        let script = run(program, &["completions", "bash"]);
        assert_eq!(completed(&script, &[program, begun]), [whole], "{program}");
        let flags = completed(&script, &[program, "--"]);
        assert!(flags.iter().any(|flag| flag == "--help"), "{flags:?}");
        let secret = |flag: &&String| ["secret", "token", "key"].iter().any(|word| flag.ends_with(word));
        assert_eq!(flags.iter().find(secret), None, "{program}: a secret on a command line is everybody's");
    }
    let relay = run("relay", &["completions", "bash"]);
    assert_eq!(completed(&relay, &["relay", "deliveries", "red"]), ["redeliver"]);
    assert_eq!(completed(&relay, &["relay", "--log-format", "j"]), ["json"]);
}

#[test]
fn other_shells_can_read_theirs() {
    for (shell, check) in [("zsh", "--no-exec"), ("fish", "--no-execute")] {
        for (program, _, _) in PROGRAMS {
            let script = run(program, &["completions", shell]);
            match fed(shell, &[check], &script) {
                Some(output) => said(shell, &output),
                None => eprintln!("skipped: {shell} is not installed"),
            }
        }
    }
}

/// Runs `groff`, or on macOS `mandoc`, which must have nothing to say against the page; the page as text.
fn read_page(path: &Path) -> String {
    let page = fs::read_to_string(path).unwrap();
    let groff = fed("groff", &["-Kutf8", "-man", "-Tutf8", "-ww", "-P-cbou"], &page);
    let output = groff.or_else(|| fed("mandoc", &["-man", "-Werror"], &page));
    let Some(output) = output else {
        panic!("there is neither groff nor mandoc; scripts/test.sh installs groff-base")
    };
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_man_pages_can_be_read_and_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for (program, _, word) in PROGRAMS {
        let pages = folder.path().join(program);
        run(program, &["man", pages.to_str().unwrap()]);
        let first = read_page(&pages.join(format!("{program}.1")));
        assert!(first.contains(&format!("{program}-{word}(1)")), "{first}");
        let names: Vec<_> = fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(names.len() > 4, "{names:?}");
        for page in names {
            read_page(&page);
        }
    }
    let relay = read_page(&folder.path().join("relay/relay.1"));
    // Lines are filled up with blanks.
    let relay = relay.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        relay.contains("GITHUB_WEBHOOK_SECRET") && relay.contains("Secret(s) of the GitHub webhook"),
        "{relay}"
    );
    assert!(folder.path().join("relay/relay-deliveries-redeliver.1").exists());
}

/// As `relay completions bash | head -1` leaves it.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut command = Command::new(binary("relay"));
    command.args(["completions", "bash"]).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    said("relay", &output);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
