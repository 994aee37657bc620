//! The commands that we tell people to run: those of a clone's scripts where they are at hand, else this program's own, by
//! the name that it was called by, so that what is told works where it is read.

use std::path::Path;

/// `words` of `ai-relay-home tunnel`.
pub(crate) fn tunnel(words: &str) -> String {
    if has_script("setup-tunnel.sh") {
        format!("./scripts/setup-tunnel.sh {words}")
    } else {
        format!("{} tunnel {words}", this_program())
    }
}

/// `words` of `ai-relay-home services`: install, restart or uninstall.
pub(crate) fn services(words: &str) -> String {
    if has_script("start-ai-services.sh") {
        format!("./scripts/start-ai-services.sh --{words}")
    } else {
        format!("{} services {words}", this_program())
    }
}

/// Scripts stand in the project's root, and run us there.
fn has_script(name: &str) -> bool {
    Path::new("scripts").join(name).is_file()
}

fn this_program() -> String {
    std::env::args().next().unwrap_or_else(|| "ai-relay-home".to_owned())
}
