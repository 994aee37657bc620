//! A release on its way to a machine: packed by `scripts/release.sh`, served over HTTP, installed by `scripts/install.sh`,
//! or refused by it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use shared::version::VERSION;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::binaries::binary;

const PROGRAMS: [&str; 4] = ["relay", "claude-endpoint", "ollama-endpoint", "ai-relay-home"];

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts").join(name)
}

fn archive() -> String {
    let target = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", arch) => format!("{arch}-unknown-linux-musl"),
        (_, arch) => format!("{arch}-apple-darwin"),
    };
    format!("ai-relay-{target}.tar.gz")
}

/// A program that is the built one, or whatever else `text` makes of it.
fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The archive of the built programs, each behind a script of one line: debug builds are large.
fn packed(change: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (built, dist) = (folder.path().join("built"), folder.path().join("dist"));
    fs::create_dir(&built).unwrap();
    for name in PROGRAMS {
        program(&built, name, &format!("exec '{}' \"$@\"", binary(name).display()));
    }
    change(&built);
    let name = archive();
    let target = name.strip_prefix("ai-relay-").unwrap().strip_suffix(".tar.gz").unwrap();
    let mut pack = Command::new(script("release.sh"));
    let output = pack.args(["pack", target]).arg(&built).env("DIST", &dist).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sum = fs::read_to_string(dist.join(format!("{name}.sha256"))).unwrap();
    let bytes = fs::read(dist.join(&name)).unwrap();
    assert_eq!(sum, sums(&bytes));
    bytes
}

fn sums(bytes: &[u8]) -> String {
    format!("{}  {}\n", hex::encode(Sha256::digest(bytes)), archive())
}

/// What a server has: a file, or one whose transfer breaks off in its middle.
#[derive(Clone)]
enum File {
    Whole(Vec<u8>),
    BreaksOff(Vec<u8>),
}

#[derive(Clone, Default)]
struct Files {
    files: Arc<Mutex<HashMap<String, File>>>,
    asked: Arc<AtomicUsize>,
}

async fn serve(State(files): State<Files>, uri: Uri) -> Response {
    files.asked.fetch_add(1, Ordering::SeqCst);
    match files.files.lock().unwrap().get(uri.path()).cloned() {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(File::Whole(bytes)) => bytes.into_response(),
        Some(File::BreaksOff(bytes)) => {
            let half = Ok(Bytes::from(bytes[..bytes.len() / 2].to_vec()));
            let broken = Err(std::io::Error::other("the cable was cut"));
            Body::from_stream(futures_util::stream::iter([half, broken])).into_response()
        }
    }
}

/// A server of releases, and a machine to install them on.
struct World {
    files: Files,
    url: String,
    machine: TempDir,
}

impl World {
    async fn new() -> Self {
        let files = Files::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/releases", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(files.clone());
        tokio::spawn(shared::server::serve(listener, router, Default::default(), Default::default()));
        Self { files, url, machine: tempfile::tempdir().unwrap() }
    }

    /// As the newest release.
    fn publish(&self, archive_file: File, sums: &str) {
        self.publish_at("latest/download", archive_file, sums);
    }

    fn publish_at(&self, place: &str, archive_file: File, sums: &str) {
        let mut files = self.files.files.lock().unwrap();
        files.insert(format!("/releases/{place}/{}", archive()), archive_file);
        files.insert(format!("/releases/{place}/SHA256SUMS"), File::Whole(sums.into()));
    }

    fn installed(&self, name: &str) -> PathBuf {
        self.machine.path().join(".local").join(name)
    }

    /// With this text of the script, and these arguments beside the server's address.
    fn run(&self, text: &[u8], arguments: &[&str]) -> Output {
        self.run_as_it_is(text, arguments, Some(&self.url))
    }

    /// `releases`: what the environment says about where they are.
    fn run_as_it_is(&self, text: &[u8], arguments: &[&str], releases: Option<&str>) -> Output {
        let file = self.machine.path().join("install.sh");
        fs::write(&file, text).unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.machine.path().display());
        let mut command = Command::new("sh");
        command.arg(file).args(arguments).env_clear().env("PATH", path).env("TMPDIR", self.machine.path());
        command.env("HOME", self.machine.path()).envs(releases.map(|url| ("AI_RELAY_RELEASES", url)));
        tokio::task::block_in_place(|| command.output().unwrap())
    }

    fn install(&self, arguments: &[&str]) -> (bool, String) {
        let to = self.installed("");
        let arguments = [&["--to", to.to_str().unwrap()], arguments].concat();
        let output = self.run(&fs::read(script("install.sh")).unwrap(), &arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn is_refused(&self, why: &str) {
        let (success, said) = self.install(&[]);
        assert!(!success && said.contains(why), "{why}: {said}");
        assert!(!self.installed("bin/relay").exists(), "{said}");
        self.left_nothing();
    }

    fn left_nothing(&self) {
        let left: Vec<_> =
            fs::read_dir(self.machine.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        let known = |name: &&std::ffi::OsString| {
            !["install.sh", ".local", "uname"].iter().any(|known| *name == known)
        };
        assert_eq!(left.iter().find(known), None, "scratch files");
        let own = fs::read_dir(self.installed("")).into_iter().flatten();
        let own: Vec<_> = own.map(|file| file.unwrap().file_name()).collect();
        assert!(own.iter().all(|name| name == "bin" || name == "share"), "{own:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_with_its_man_pages_and_completions() {
    let world = World::new().await;
    let release = packed(|_| ());
    assert_eq!(release, packed(|_| ()), "the same programs make the same archive");
    world.publish(File::Whole(release.clone()), &sums(&release));
    let (success, said) = world.install(&[]);
    assert!(success, "{said}");
    for name in PROGRAMS {
        let path = world.installed("bin").join(name);
        assert!(said.contains(&format!("bin/{name}: {VERSION}")), "{said}");
        let version = Command::new(&path).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("{name} {VERSION}\n"));
        assert!(world.installed(&format!("share/man/man1/{name}.1")).exists());
        assert!(world.installed(&format!("share/bash-completion/completions/{name}")).exists());
    }
    for text in ["man/man1/relay-deliveries-list.1", "ai-relay/deploy/relay.service", "ai-relay/.env.example"]
    {
        assert!(world.installed("share").join(text).exists(), "{text}");
    }
    let (_, again) = world.install(&["--only", "relay"]);
    assert!(
        again.contains(&format!("{VERSION} -> {VERSION}")) && again.contains("until it is restarted"),
        "{again}"
    );
    assert!(!again.contains("bin/claude-endpoint"), "{again}");
    world.left_nothing();
}

/// Root's umask is often 077, and a unit with an account of its own is to start what root installed.
#[tokio::test(flavor = "multi_thread")]
async fn others_may_run_what_was_installed_whatever_the_umask() {
    let world = World::new().await;
    let release = packed(|_| ());
    world.publish(File::Whole(release.clone()), &sums(&release));
    let text = [b"umask 077\n".as_slice(), &fs::read(script("install.sh")).unwrap()].concat();
    let to = world.installed("");
    assert!(world.run(&text, &["--to", to.to_str().unwrap()]).status.success());
    for (name, wanted) in [("bin", 0o755), ("bin/relay", 0o755), ("share/man/man1/relay.1", 0o644)] {
        let mode = fs::metadata(world.installed(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{name}: {mode:o}");
    }
}

/// The way for private repositories: the installer has no token, whoever downloads has one.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_downloaded_already_is_installed_from_its_folder() {
    let world = World::new().await;
    let (release, folder) = (packed(|_| ()), tempfile::tempdir().unwrap());
    let from = ["--from", folder.path().to_str().unwrap()];
    let (success, said) = world.install(&from);
    assert!(!success && said.contains("there is no ") && said.contains("SHA256SUMS"), "{said}");
    fs::write(folder.path().join(archive()), &release).unwrap();
    fs::write(folder.path().join("SHA256SUMS"), sums(&release)).unwrap();
    let (success, said) = world.install(&from);
    assert!(success && world.installed("bin/relay").exists(), "{said}");
    assert_eq!(world.files.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_asked_for_by_its_number() {
    let world = World::new().await;
    let release = packed(|_| ());
    world.publish_at("download/v0.0.9", File::Whole(release.clone()), &sums(&release));
    let (success, said) = world.install(&["--version", "v0.0.9"]);
    assert!(success, "{said}");
    let (success, said) = world.install(&["--version", "0.0.8"]);
    assert!(!success && said.contains("cannot download"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_exactly_what_was_released_is_refused() {
    let world = World::new().await;
    world.is_refused("cannot download");
    let release = packed(|_| ());
    let mut damaged = release.clone();
    damaged[release.len() / 2] ^= 1;
    let half = release[..release.len() / 2].to_vec();
    let longer = [release.clone(), vec![0]].concat();
    for wrong in [damaged, half, longer, Vec::new()] {
        world.publish(File::Whole(wrong), &sums(&release));
        world.is_refused("is damaged or was changed");
    }
    world.publish(File::BreaksOff(release.clone()), &sums(&release));
    world.is_refused("cannot download");
    let other = sums(&release).replace(&archive(), "another-archive.tar.gz");
    for (wrong, why) in [
        (String::new(), "no checksum"),
        (other, "no checksum"),
        (sums(&release) + &sums(b"x"), "no single SHA-256"),
        ("<html>\n".to_owned(), "no checksum"),
        (format!("not-a-sum {}\n", archive()), "no single SHA-256"),
    ] {
        world.publish(File::Whole(release.clone()), &wrong);
        world.is_refused(why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_run_here_replaces_nothing() {
    let world = World::new().await;
    let release = packed(|_| ());
    world.publish(File::Whole(release.clone()), &sums(&release));
    assert!(world.install(&[]).0);
    let before = fs::read(world.installed("bin/relay")).unwrap();
    let broken = packed(|built| {
        program(built, "relay", "[ \"$1\" = --version ] || exit 0; echo relay 9.9.9");
        program(built, "ai-relay-home", "[ \"$1\" = --version ] || exit 0; exit 1");
    });
    world.publish(File::Whole(broken.clone()), &sums(&broken));
    let (success, said) = world.install(&[]);
    assert!(!success && said.contains("ai-relay-home does not run on this machine"), "{said}");
    assert_eq!(fs::read(world.installed("bin/relay")).unwrap(), before, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_machine_is_told_to_build_from_the_sources() {
    let world = World::new().await;
    program(world.machine.path(), "uname", "case $1 in -s) echo Plan9 ;; *) echo mips ;; esac");
    world.is_refused("cargo build --release");
    let (success, said) = world.install(&["--only", "rely"]);
    assert!(!success && said.contains("there is no rely"), "{said}");
    assert_eq!(world.files.asked.load(Ordering::SeqCst), 0);
}

/// The commands of a step of the release workflow.
fn step(name: &str) -> String {
    let workflow = script("../.github/workflows/release.yml");
    let text = fs::read_to_string(workflow).unwrap();
    let step = text.split(&format!("- name: {name}")).nth(1).unwrap();
    let step = step.split_once("run: |\n").unwrap().1;
    let indent = " ".repeat(step.len() - step.trim_start_matches(' ').len());
    step.lines().map_while(|line| line.strip_prefix(&indent)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_workflow_publishes_can_be_installed() {
    let world = World::new().await;
    let release = packed(|_| ());
    let place = tempfile::tempdir().unwrap();
    let [dist, scripts] = ["dist", "scripts"].map(|name| place.path().join(name));
    for folder in [&dist, &scripts] {
        fs::create_dir(folder).unwrap();
    }
    fs::copy(script("install.sh"), scripts.join("install.sh")).unwrap();
    fs::write(dist.join(archive()), &release).unwrap();
    fs::write(dist.join(format!("{}.sha256", archive())), sums(&release)).unwrap();
    fs::write(dist.join("relay.cdx.json"), "{}").unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-e", "-o", "pipefail", "-c", &step("Checksums, and an installer")]).current_dir(&dist);
    shell
        .env("GITHUB_SERVER_URL", world.url.strip_suffix("/releases").unwrap())
        .env("GITHUB_REPOSITORY", "octo/relay");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<_> =
        fs::read_dir(&dist).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["SHA256SUMS", &archive(), "install.sh", "relay.cdx.json"]);
    for name in names {
        let bytes = fs::read(dist.join(&name)).unwrap();
        let path = format!("/octo/relay/releases/latest/download/{name}");
        world.files.files.lock().unwrap().insert(path, File::Whole(bytes));
    }
    let to = world.installed("");
    let arguments = ["--only", "relay", "--to", to.to_str().unwrap()];
    let output = world.run_as_it_is(&fs::read(dist.join("install.sh")).unwrap(), &arguments, None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(world.installed("bin/relay").exists());
}

/// What a shell that reads the script from a broken connection has.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_script_does_nothing() {
    let world = World::new().await;
    let release = packed(|_| ());
    world.publish(File::Whole(release.clone()), &sums(&release));
    let whole = fs::read(script("install.sh")).unwrap();
    let to = world.installed("");
    let arguments = ["--to", to.to_str().unwrap()];
    let called = whole.len() - "{ main \"$@\"; exit; }\n".len();
    for cut in (0..called).step_by(199).chain(called..whole.len() - 1) {
        world.run(&whole[..cut], &arguments);
        assert_eq!(world.files.asked.load(Ordering::SeqCst), 0, "cut after {cut} bytes");
    }
    assert!(!to.exists());
    assert!(world.run(&whole, &arguments).status.success(), "and all of it does something");
}
