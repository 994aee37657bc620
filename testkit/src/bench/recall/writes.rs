//! How many updates a second are acknowledged, each on disk before its answer, and how soon they can be found.

use std::{path::Path, time::Instant};

use serde_json::{Value, json};

use super::{
    super::{
        Setup,
        report::{Bound, Goal},
    },
    Recall,
    corpus::Corpus,
    double::{Double, MODEL},
    scale::{WRITERS, update},
    service::Service,
    texts::Texts,
};

const LEAST_PER_SECOND: f64 = 2_000.0;

/// Sends distinct updates to an empty store.
pub(super) async fn run(recall: &Recall, setup: &Setup, folder: &Path) -> anyhow::Result<(Vec<Goal>, Value)> {
    let texts = Texts::of(&Corpus::read(usize::MAX)?);
    let double = Double::start().await?;
    let mut service = Service::start(setup, folder, double.url(), MODEL).await?;
    let count = recall.updates;
    println!("writes: {count} distinct updates from {WRITERS} writers, each answer must be 202");
    // Made beforehand: what is measured is the service.
    let updates: Vec<Value> = (0..count).map(|number| update(&texts, number)).collect();
    let started = Instant::now();
    let taken = service.update(updates.into_iter(), WRITERS, true).await?;
    let remembered = service.until_remembered(count).await? - started;
    let embedded = service.until_embedded(count).await? - started;
    service.stop()?;
    let rate = |time: std::time::Duration| count as f64 / time.as_secs_f64();
    let goals = vec![
        Goal::new(
            format!("acknowledged updates, {WRITERS} writers"),
            rate(taken),
            "/s",
            Bound::AtLeast(LEAST_PER_SECOND),
        ),
        Goal::new("of these found by words, from the first one on", rate(remembered), "/s", Bound::None),
        Goal::new("found by meaning as well", rate(embedded), "/s", Bound::None),
    ];
    let seconds = [taken, remembered, embedded].map(|time| time.as_secs_f64());
    let [taken, remembered, embedded] = seconds;
    let numbers = json!({"updates": count, "taken": taken, "remembered": remembered, "embedded": embedded});
    Ok((goals, numbers))
}
