//! `relay backup` and `relay restore`.

use std::path::Path;

use anyhow::Context;

pub(super) async fn backup(url: &str, file: &Path) -> anyhow::Result<()> {
    let made = queue::backup(url, file).await.with_context(|| format!("no backup in {}", file.display()))?;
    println!("{} deliveries, {} bytes, in {}", made.deliveries, made.bytes, file.display());
    Ok(())
}

pub(super) async fn restore(url: &str, file: &Path, replace: bool) -> anyhow::Result<()> {
    let restored = queue::restore(url, file, replace);
    let restored = restored.await.with_context(|| format!("{} was not restored", file.display()))?;
    println!(
        "{} deliveries, {} bytes, are the store now; start the relay, and look at `relay deliveries list`",
        restored.deliveries, restored.bytes
    );
    Ok(())
}
