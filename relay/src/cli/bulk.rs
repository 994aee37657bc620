//! `relay deliveries redeliver` and `discard`: by id, or whatever a filter finds.

use anyhow::bail;
use clap::Args;
use http::{Method, StatusCode};

use super::{
    admin::{Admin, is_refused},
    filter::FilterArgs,
    inspect,
};
use crate::{
    admin::MOST,
    table,
    view::{DeliveryView, TargetView},
};

/// Which deliveries, and whether really.
#[derive(Debug, Args)]
pub struct Bulk {
    /// Delivery ids; instead of them, a filter
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Redeliver,
    Discard,
}

impl Action {
    fn route(self) -> &'static str {
        match self {
            Self::Redeliver => "redeliver",
            Self::Discard => "discard",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Redeliver => "sent again",
            Self::Discard => "discarded",
        }
    }

    /// What is meant where the filter names no state.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Redeliver => &["dead"],
            Self::Discard => &["pending", "dead"],
        }
    }

    /// The targets to name in the calls for a delivery of which `found` match; `None` is all. To send several again is
    /// one call, since each makes a new round in which the outcomes of the one before do not count.
    fn calls<'a>(self, found: &[&'a TargetView]) -> Vec<Option<&'a str>> {
        match (self, found) {
            (Self::Redeliver, [_, _, ..]) => vec![None],
            _ => found.iter().map(|target| Some(target.target.as_str())).collect(),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    nothing: usize,
    failed: usize,
}

pub(super) async fn run(action: Action, bulk: &Bulk, admin: &Admin) -> anyhow::Result<()> {
    let only_target = FilterArgs { target: None, ..bulk.filter.clone() }.is_empty();
    match (bulk.ids.is_empty(), bulk.filter.is_empty()) {
        (true, true) => bail!(
            "say which: delivery ids, or a filter such as --state dead --since 2h; --dry-run shows what it finds"
        ),
        (false, _) if !only_target => {
            bail!("give ids or a filter, not both; beside ids only --target counts")
        }
        _ => {}
    }
    let mut tally = Tally::default();
    for id in &bulk.ids {
        by_id(action, bulk, admin, id, &mut tally).await?;
    }
    if bulk.ids.is_empty() {
        by_filter(action, bulk, admin, &mut tally).await?;
    }
    let Tally { done, nothing, failed } = tally;
    let would = if bulk.dry_run { "would be " } else { "" };
    println!("{done} {would}{}, {nothing} with nothing to do, {failed} failed", action.done());
    if failed > 0 { bail!("{failed} failed; the lines above say why") } else { Ok(()) }
}

async fn by_id(
    action: Action,
    bulk: &Bulk,
    admin: &Admin,
    id: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if !bulk.dry_run {
        return call(action, admin, id, bulk.filter.target.as_deref(), tally).await;
    }
    match admin.show(id).await {
        Ok(delivery) => {
            println!("{}", table::row(&delivery));
            tally.done += 1;
            Ok(())
        }
        Err(error) => tally.failed(id, error),
    }
}

/// Page by page, from the newest on: what is changed on the way stays where it is in that order.
async fn by_filter(action: Action, bulk: &Bulk, admin: &Admin, tally: &mut Tally) -> anyhow::Result<()> {
    let states = match &bulk.filter.state {
        Some(state) => vec![state.as_str()],
        None => action.states().to_vec(),
    };
    for state in states {
        let filter = FilterArgs { state: Some(state.to_owned()), ..bulk.filter.clone() };
        let mut before = None;
        loop {
            let page = inspect::page(admin, &filter, MOST, before).await?;
            for delivery in &page.deliveries {
                one(action, bulk.dry_run, admin, delivery, &filter, tally).await?;
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// One delivery that a filter found: of its targets only those that match.
async fn one(
    action: Action,
    dry_run: bool,
    admin: &Admin,
    delivery: &DeliveryView,
    filter: &FilterArgs,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if dry_run {
        println!("{}", table::row(delivery));
        tally.done += 1;
        return Ok(());
    }
    let matches = |target: &&TargetView| {
        filter.state.as_ref().is_none_or(|state| *state == target.state)
            && filter.target.as_ref().is_none_or(|name| *name == target.target)
    };
    let found: Vec<&TargetView> = delivery.targets.iter().filter(matches).collect();
    let calls = match found[..] {
        // The filter's word is one that only the store knows, such as an outcome's `failed`.
        [] => vec![filter.target.as_deref()],
        _ => action.calls(&found),
    };
    for target in calls {
        call(action, admin, &delivery.id, target, tally).await?;
    }
    Ok(())
}

/// One call. That this delivery cannot be helped does not keep the others from it; that the relay is gone does.
async fn call(
    action: Action,
    admin: &Admin,
    id: &str,
    target: Option<&str>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut url = admin.delivery_url(id, Some(action.route()))?;
    url.query_pairs_mut().extend_pairs(target.map(|target| ("target", target)));
    let at = target.map(|target| format!(" ({target})")).unwrap_or_default();
    match admin.call::<serde_json::Value>(Method::POST, url).await {
        Ok(_) => {
            println!("{id}{at}: {}", action.done());
            tally.done += 1;
        }
        Err(error) if is_refused(&error, StatusCode::CONFLICT) => {
            println!("{id}{at}: {error}");
            tally.nothing += 1;
        }
        Err(error) => tally.failed(id, error)?,
    }
    Ok(())
}

impl Tally {
    fn failed(&mut self, id: &str, error: anyhow::Error) -> anyhow::Result<()> {
        let is_its_own =
            [StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].map(|status| is_refused(&error, status));
        if !is_its_own.contains(&true) {
            return Err(error);
        }
        println!("{id}: {error}");
        self.failed += 1;
        Ok(())
    }
}
