//! Stateful stand-ins for GitHub, Anthropic and Ollama, and the journeys and crashes that use them.
//!
//! Each stand-in listens on loopback, keeps state as the original does and refuses what the original
//! refuses. All share one [`control`]: faults, gates, a call log and waiting without sleeping.

pub mod anthropic;
pub mod bench;
pub mod chaos;
pub mod check_anchors;
pub mod cli;
pub mod control;
pub mod crash;
pub mod embedding;
mod family;
pub mod github;
mod instance;
pub mod journey;
pub mod ollama;
mod operation;
mod place;
pub mod port;
pub mod python;
pub mod reviewer;
pub mod scenario;
mod server;
mod shape;
pub mod shown;
pub mod slow_clients;
pub mod sshd;
#[cfg(target_os = "linux")]
pub mod systemd;
#[cfg(target_os = "linux")]
pub mod vps;
pub mod webhook;
