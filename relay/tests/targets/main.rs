//! Targets as they are in life: extra ones that know Standard Webhooks only, and what becomes of a lane whose target is
//! away, frozen, or somebody else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

mod extra;
mod lanes;
mod receiver;
mod running;
