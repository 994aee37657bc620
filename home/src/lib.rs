//! The machine at home: [`tunnel`] joins it to the VPS, [`services`] has its system keep everything running.

pub mod cli;
mod commands;
pub mod services;
pub mod tunnel;
