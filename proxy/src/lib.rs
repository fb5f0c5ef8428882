//! A full proxy on the risefall health registry.
//!
//! The binary `risefall` is a thin front of this library. [`runtime::start`] runs a
//! [`plan::Plan`] in process, so that tests and benches start the same proxy on ports that the
//! system chooses:
//!
//! ```no_run
//! use std::sync::Arc;
//! use risefall::{Policy, Registry};
//! use risefall_proxy::plan::{Draft, ForwardDraft};
//! use risefall_proxy::runtime::{self, Services};
//!
//! let forward = ForwardDraft::on(vec!["127.0.0.1:0".parse().unwrap()]);
//! let draft = Draft { forwards: vec![forward], admin: None, ..Draft::default() };
//! let plan = draft.resolve().unwrap();
//! let registry = Arc::new(Registry::new(Policy::default()));
//! let running = runtime::start(plan, Services::new(registry)).unwrap();
//! println!("proxy on {}", running.forward_addresses()[0]);
//! ```

#![forbid(unsafe_code)]
// The macros panic when nobody reads any more; `cli::say` goes on.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod admin;
pub mod bounds;
pub mod cli;
pub mod config;
pub mod error;
pub mod forward;
pub mod net;
pub mod plan;
pub mod proto;
pub mod runtime;
pub mod serve;
pub mod site;
pub mod telemetry;
pub mod units;
pub mod upstream;
