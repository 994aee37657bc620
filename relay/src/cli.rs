//! The operator's commands. They talk to the running relay's admin routes, so that they see what it sees; only backup and
//! restore work on the store itself.

use std::path::PathBuf;

use clap::Subcommand;
use shared::service::Verb;

use crate::{config::RelayArgs, doctor::Doctor};

mod admin;
mod bulk;
mod filter;
mod inspect;
mod keep;
mod test_event;
mod watch;

use admin::Admin;
use bulk::{Action, Bulk};

/// What the relay's program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What every service can.
    #[command(flatten)]
    Service(Verb),
    /// Look at each hop of the journey and name what is broken, and what mends it; exits with 1 if anything is, with 2 if
    /// it cannot look
    Doctor(Doctor),
    /// What is done with a running relay, or with its store.
    #[command(flatten)]
    Operator(Operator),
}

/// The operator's commands.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Look at deliveries, send them again, or give them up
    #[command(subcommand)]
    Deliveries(DeliveriesVerb),
    /// Send a test event through the whole journey and wait for its outcomes
    SendTest(test_event::SendTest),
    /// Copy the store into a file, beside a running relay
    Backup {
        /// The file to make; must not exist
        file: PathBuf,
    },
    /// Put a backup in the store's place; the relay must not run
    Restore {
        /// A file that `relay backup` made
        file: PathBuf,
        /// Move the present store aside
        #[arg(long)]
        replace: bool,
    },
}

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub enum DeliveriesVerb {
    /// The newest deliveries, as a table
    List(inspect::List),
    /// One delivery's journey, as a timeline
    Show(inspect::Show),
    /// Deliveries as they change, one line each, until Ctrl-C
    Watch(watch::Watch),
    /// Send finished or dead deliveries again, by id or by filter (by default the dead ones)
    Redeliver(Bulk),
    /// End unfinished or dead deliveries for good, by id or by filter
    Discard(Bulk),
}

/// Carries out one of the operator's commands.
///
/// # Errors
/// The relay does not answer, or refuses, or the store cannot be copied; the text says what to do.
pub async fn run(command: Operator, args: &RelayArgs) -> anyhow::Result<()> {
    match command {
        Operator::Deliveries(verb) => deliveries(verb, &Admin::new(args)?).await,
        Operator::SendTest(options) => test_event::run(&options, &Admin::new(args)?).await,
        Operator::Backup { file } => keep::backup(&args.service.queue_url(), &file).await,
        Operator::Restore { file, replace } => keep::restore(&args.service.queue_url(), &file, replace).await,
    }
}

async fn deliveries(verb: DeliveriesVerb, admin: &Admin) -> anyhow::Result<()> {
    match verb {
        DeliveriesVerb::List(list) => inspect::list(&list, admin).await,
        DeliveriesVerb::Show(show) => inspect::show(&show, admin).await,
        DeliveriesVerb::Watch(watch) => watch::run(&watch, admin).await,
        DeliveriesVerb::Redeliver(bulk) => bulk::run(Action::Redeliver, &bulk, admin).await,
        DeliveriesVerb::Discard(bulk) => bulk::run(Action::Discard, &bulk, admin).await,
    }
}
