//! `relay deliveries list` and `show`.

use clap::Args;
use http::Method;
use jiff::Timestamp;

use super::{admin::Admin, filter::FilterArgs};
use crate::{admin::ListAnswer, table};

/// What to list.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many, at most 500
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// The next page: the number that the last one ended with
    #[arg(long)]
    before: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The delivery id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(list: &List, admin: &Admin) -> anyhow::Result<()> {
    let answer = page(admin, &list.filter, list.limit.into(), list.before).await?;
    if list.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    print!("{}", table::list(&answer.deliveries));
    if let Some(next) = answer.next {
        // Not part of the table that a script may read.
        eprintln!("there is more: the same with --before {next}");
    }
    Ok(())
}

/// One page of the list, newest first.
pub(super) async fn page(
    admin: &Admin,
    filter: &FilterArgs,
    limit: usize,
    before: Option<u64>,
) -> anyhow::Result<ListAnswer> {
    let mut url = admin.url("/api/deliveries")?;
    filter.add_to(&mut url);
    url.query_pairs_mut().append_pair("limit", &limit.to_string());
    url.query_pairs_mut().extend_pairs(before.map(|before| ("before", before.to_string())));
    admin.call(Method::GET, url).await
}

pub(super) async fn show(show: &Show, admin: &Admin) -> anyhow::Result<()> {
    let delivery = admin.show(&show.id).await?;
    match show.json {
        true => println!("{}", serde_json::to_string_pretty(&delivery)?),
        false => print!("{}", table::timeline(&delivery, Timestamp::now())),
    }
    Ok(())
}
