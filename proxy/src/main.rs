//! The `risefall` binary.

use std::process::ExitCode;

use risefall_proxy::cli;

/// Connections come and go by the million, each with a few small allocations, all freed on the
/// thread that made them: what mimalloc is best at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Arguments::of_process())
}
