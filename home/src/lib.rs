//! The machine at home: [`tunnel`] joins it to the VPS, [`services`] has its system keep everything running.

pub mod cli;
pub mod services;
pub mod tunnel;
