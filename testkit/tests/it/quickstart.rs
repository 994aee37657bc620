//! `scripts/quickstart.sh` beside settings for daily use: it takes nothing of them but what it says, and leaves nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::binaries::{binary, port};

#[test]
fn a_quickstart_keeps_apart_from_the_settings_for_daily_use() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let settings = folder.path().join(".env");
    let daily = format!(
        "GITHUB_TOKEN=ghp_daily\nGITHUB_APP_ID=1\nGITHUB_APP_PRIVATE_KEY_FILE={here}/none.pem\nGITHUB_REPOSITORIES=acme/daily\n\
         GITHUB_ORGANISATIONS=acme\nWEBHOOK_URL=https://daily.example/github-webhook\nRECORD_DIR={here}/record\nJULES_HANDOFF=on\n\
         HANDOFF_TOKEN=x\nBUDGET_DAILY_USD=0.000001\nOVER_BUDGET=skip\nCONFIG={here}/none.toml\nMAX_BACKLOG=1\n\
         GITHUB_WEBHOOK_SECRET_FILE={here}/none\nOLLAMA_URL=http://127.0.0.1:9\nRUST_LOG=nonsense=nonsense\n"
    );
    fs::write(&settings, &daily).unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/quickstart.sh");
    let mut command = Command::new("bash");
    command.arg(script).stdin(Stdio::null()).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", &here).env("TMPDIR", &here);
    command.env("ENV_FILE", &settings).env("BIN_DIR", binary("testkit").parent().unwrap());
    for variable in ["RELAY_PORT", "CLAUDE_ENDPOINT_PORT", "OLLAMA_ENDPOINT_PORT"] {
        command.env(variable, port().to_string());
    }
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("GitHub: stand-in") && said.contains("Ollama: stand-in"), "{said}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), daily);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".env"], "nothing else is left, and nothing was recorded");
}
