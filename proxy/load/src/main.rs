//! A small load generator for proxies.
//!
//! It exists so that every number the project claims can be had again with one command. It knows
//! which targets answer and which do not, and keeps the two apart in all it reports: what a dead
//! server costs the clients of the live ones is the question.
//!
//! It speaks HTTP and SOCKS by hand, in messages made once, and only as far as a well-behaved
//! client needs: a client library would spend on generality the time that is being measured.

mod args;
mod body;
mod client;
mod error;
mod hold;
mod limits;
mod message;
mod origin;
mod outcome;
mod pace;
mod report;
mod run;
mod socks;
mod stage;
mod tally;
mod targets;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use serde::Serialize;

use crate::{
    args::{Args, Command, OriginPlan},
    error::{Failure, RunError},
};

fn main() -> ExitCode {
    match perform(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "risefall-load: {failure}");
            failure.exit_code()
        }
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => {
            let plan = args.check()?;
            let report = run::run(&plan)?;
            show(&report, plan.json)?;
            Ok(report.verdict()?)
        }
        Command::Hold(args) => {
            let plan = args.check()?;
            let report = hold::hold(&plan)?;
            show(&report, plan.json)?;
            Ok(report.verdict()?)
        }
        Command::Origin(args) => Ok(serve_origin(&args.check()?)?),
    }
}

fn serve_origin(plan: &OriginPlan) -> Result<(), RunError> {
    limits::raise_open_files();
    let listener = origin::listen(plan.listen)?;
    let address = listener.local_addr().map_err(RunError::Runtime)?;
    print(&format!("listening on {address}\n"))?;
    match origin::serve(listener, plan.size)? {}
}

fn show<R: Display + Serialize>(report: &R, as_json: bool) -> Result<(), RunError> {
    if as_json {
        let json = serde_json::to_string_pretty(report).map_err(io::Error::from);
        return print(&(json.map_err(RunError::Output)? + "\n"));
    }
    print(&report.to_string())
}

fn print(text: &str) -> Result<(), RunError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(RunError::Output)
}
