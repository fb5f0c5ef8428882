//! A small load generator for proxies.
//!
//! It exists so that every number the project claims can be had again with one command. It knows
//! which targets answer and which do not, and keeps the two apart in all it reports: what a dead
//! server costs the clients of the live ones is the question.
//!
//! It speaks HTTP and SOCKS by hand, in messages made once, and only as far as a well-behaved
//! client needs: a client library would spend on generality the time that is being measured.

mod args;
mod bare;
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
    net::{SocketAddr, TcpListener},
    process::ExitCode,
};

use clap::Parser;
use serde::Serialize;

use crate::{
    args::{Args, BarePlan, Command, OriginPlan},
    error::{Failure, RunError},
};

/// The proxy's, so that `bare` differs from it by its work alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        Command::Bare(args) => Ok(serve_bare(&args.check()?)?),
    }
}

fn serve_origin(plan: &OriginPlan) -> Result<(), RunError> {
    limits::raise_open_files();
    let listener = listen(plan.listen)?;
    match origin::serve(listener, plan.size)? {}
}

fn serve_bare(plan: &BarePlan) -> Result<(), RunError> {
    limits::raise_open_files();
    let tls = match &plan.cert_and_key {
        Some((cert, key)) => Some(bare::tls(cert, key)?),
        None => None,
    };
    let listener = listen(plan.listen)?;
    match bare::serve(listener, plan.to, tls.as_ref())? {}
}

/// Opens a port and tells which.
fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    let listener = origin::listen(address)?;
    let address = listener.local_addr().map_err(RunError::Runtime)?;
    print(&format!("listening on {address}\n"))?;
    Ok(listener)
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
