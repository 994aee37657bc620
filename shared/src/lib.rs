//! What crosses a process boundary between the three services, and how a service is run.
//!
//! `event`, `memory`, `outcome` and `signature` are pure: no clock, no I/O, no runtime. The rest is what each
//! service would otherwise write again: its command line, its listener, its health, its logs.

pub mod event;
pub mod memory;
pub mod outcome;
pub mod signature;

pub mod client;
pub mod config;
pub mod doctor;
pub mod error;
pub mod github;
pub mod health;
pub mod keys;
pub mod manual;
pub mod server;
pub mod service;
pub mod telemetry;
pub mod terminal;
pub mod trace;
pub mod version;
