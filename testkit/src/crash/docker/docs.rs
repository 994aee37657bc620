//! The commands that `docs/coolify.md` gives for the VPS, run as they stand there.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

use super::{container::Container, report::Report};

const PAGE: &str = "docs/coolify.md";
/// Where the page keeps backups.
const BACKUPS: &str = "/var/backups/ai-relay";
/// Sections whose commands need nothing but the engine.
const SECTIONS: [&str; 2] = ["## Backup and restore", "## 6. Is it there?"];

/// Runs them in one shell, as somebody would who follows the page.
pub(super) async fn commands(relay: &Container<'_>, root: &Path, report: &mut Report) -> anyhow::Result<()> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| PAGE)?;
    let [keeping, looking] = SECTIONS.map(|heading| blocks(&page, heading));
    // What asks the world for the relay's name is not for here.
    let looking: Vec<&str> = looking.into_iter().filter(|block| !block.contains("https://")).collect();
    ensure!(keeping.len() == 2 && looking.len() == 2, "{PAGE} has other blocks than before");
    let place = relay.folder().join("backups").display().to_string();
    let script = [looking, keeping].concat().join("\n").replace(BACKUPS, &place);
    let commands = script.lines().filter(|line| !line.is_empty() && !line.starts_with("relay()")).count();
    relay.script(&script).await?;
    relay.is_ready().await?;
    let data = relay.data().await?;
    let aside = fs::read_dir(&data)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("queue.db.replaced-"))
        .count();
    let found = format!("{commands} ran; restored, the store before is kept");
    report.row("commands of docs/coolify.md", &found, aside > 0);
    Ok(())
}

/// The shell blocks of a section, in their order.
fn blocks<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let Some((_, rest)) = page.split_once(&format!("\n{heading}\n")) else { return Vec::new() };
    let section = rest.split("\n## ").next().unwrap_or_default();
    let openings = section.split("```sh\n").skip(1);
    openings.filter_map(|opening| Some(opening.split_once("```")?.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_section_are_found() {
        let page =
            "# x\n\n## A\n\n```sh\na\nb\n```\n\n```toml\nc\n```\n\n```sh\nd\n```\n\n## B\n\n```sh\ne\n```\n";
        assert_eq!(blocks(page, "## A"), ["a\nb\n", "d\n"]);
        assert_eq!(blocks(page, "## B"), ["e\n"]);
        assert!(blocks(page, "## C").is_empty());
    }
}
