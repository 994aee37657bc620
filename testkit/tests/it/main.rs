//! Whole journeys: in one process, through the real binaries, through a real sshd, through `kill -9`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml's exemption for tests does not reach the helper functions of an integration test"
)]

#[allow(unreachable_pub, reason = "a test has no outside")]
mod support;

mod bad_input;
mod clients;
mod crash;
mod deploy;
#[cfg(target_os = "linux")]
mod disk;
mod docs;
mod doctor;
mod embedding;
mod install;
#[allow(unreachable_pub, reason = "a test has no outside")]
mod journey;
mod keeping;
mod manual;
mod mcp;
mod missed;
mod observability;
mod proxies;
mod quickstart;
mod reviewers;
mod rotation;
#[allow(unreachable_pub, reason = "a test has no outside")]
mod secrets;
#[cfg(target_os = "linux")]
mod services;
mod tidy;
mod tunnel;
mod version;
mod workflows;
