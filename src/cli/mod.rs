//! The command line: what is asked for, what goes to stdout, and the exit code.
//!
//! One file per command. Results go to stdout, progress and problems to stderr. Nothing above
//! this layer prints, and nothing here decides what a run does.

mod args;
mod choose;
mod dry_run;
mod guard;
mod heartbeat;
mod incident;
mod init;
mod list;
mod live;
mod logs;
mod output;
mod pack;
mod ps;
mod recorded;
mod report;
mod run;
mod runs;
mod teardown;
mod watch;

use std::process::ExitCode;
#[cfg(feature = "tui")]
use std::sync::Arc;

use clap::Parser;

#[cfg(feature = "tui")]
use crate::bootstrap::Context;
use crate::bootstrap::{BootstrapError, Options};
use crate::domain::exit::Exit;
use crate::process::{Parting, die_of, stand_guard};
#[cfg(feature = "tui")]
use crate::tui;
use args::{Args, Command};
use output::{Ended, Failure, complain};

/// Parses the command line, does what it says, and gives the exit code. Does not return where
/// the process has to die of a signal.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap writes help to stdout and mistakes to stderr. A closed pipe is no mistake.
            let _ = error.print();
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return ExitCode::from(code.code());
        }
    };
    // Nothing is started for a guard as long as there is nothing to do.
    let mut configuration = None;
    if matches!(args.command, Some(Command::Guard(_))) {
        let Ok(Parting::Died { told }) = stand_guard() else {
            return ExitCode::from(Exit::Ok.code());
        };
        configuration = told.and_then(|told| String::from_utf8(told).ok());
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return ExitCode::from(Exit::Internal.code());
        }
    };
    let ended = guarded(|| runtime.block_on(command(args, configuration)));
    // What still runs in the background has nothing left to say.
    runtime.shutdown_background();
    let exit = match ended {
        Ok(Ended { exit, signal: None }) => exit,
        Ok(Ended {
            exit,
            signal: Some(signal),
        }) => {
            die_of(signal);
            exit
        }
        Err(failure) => {
            failure.explain();
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

/// A panic is a fault of our own and ends like one; its message was printed by the panic itself.
fn guarded(work: impl FnOnce() -> Result<Ended, Failure>) -> Result<Ended, Failure> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or(Ok(Ended::with(Exit::Internal)))
}

/// `configuration` is what stands in the file, where that is known.
async fn command(args: Args, configuration: Option<String>) -> Result<Ended, Failure> {
    let options = Options {
        config: args.global.config.clone(),
        config_text: configuration,
        host: args.global.host.clone(),
        log_budget: args.log_budget.map(|mebibytes| mebibytes << 20),
    };
    let colour = args.global.color;
    match args.command {
        None => dashboard(&options, colour).await,
        Some(Command::Run(run)) => run::run(&options, colour, run).await,
        Some(Command::Watch(watch)) => watch::watch(&options, colour, watch).await,
        Some(Command::Up(up)) => run::up(&options, colour, &up).await,
        Some(Command::Seed(seed)) => run::seed(&options, colour, &seed).await,
        Some(Command::Down(down)) => run::down(&options, colour, &down).await,
        Some(Command::List(list)) => list::list(&options, colour, list),
        Some(Command::Ps(ps)) => ps::ps(&options, colour, &ps).await,
        Some(Command::Logs(logs)) => logs::logs(&options, colour, &logs).await,
        Some(Command::Runs(runs)) => runs::runs(&options, colour, &runs),
        Some(Command::Incident(args)) => incident::incident(&options, colour, args).await,
        Some(Command::Report(report)) => report::report(&options, colour, &report).await,
        Some(Command::Open(open)) => open_run(&options, colour, &open).await,
        Some(Command::Pack(pack)) => pack::pack(&options, &pack).await,
        Some(Command::Teardown(teardown)) => teardown::teardown(&options, colour, &teardown).await,
        Some(Command::Init(init)) => init::init(&init),
        Some(Command::Guard(guard)) => guard::take_over(&options, &guard).await,
    }
}

#[cfg(feature = "tui")]
async fn dashboard(options: &Options, colour: args::Color) -> Result<Ended, Failure> {
    terminal()?;
    show(Context::open(options)?, colour).await
}

/// What is unpacked for it goes with the end of this, also where a signal asks for the end.
#[cfg(feature = "tui")]
async fn open_run(
    options: &Options,
    colour: args::Color,
    open: &args::Open,
) -> Result<Ended, Failure> {
    terminal()?;
    let found = recorded::find(options, &open.run).await?;
    let context = recorded::context(options, found.directory())?;
    let _found = found.unless_asked_to_end()?;
    show(context, colour).await
}

#[cfg(feature = "tui")]
fn terminal() -> Result<(), Failure> {
    use std::io::IsTerminal;

    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "the dashboard needs a terminal; without one there are `tackroom ps`, \
             `tackroom run` and more: see tackroom --help",
        ));
    }
    Ok(())
}

#[cfg(feature = "tui")]
async fn show(context: Context, colour: args::Color) -> Result<Ended, Failure> {
    let context = Arc::new(context);
    let colour = output::palette(colour, &std::io::stdout()).colour;
    let ended = tui::run(context.clone(), colour).await;
    // A terminal that was closed takes its output along: what counts is the signal that said so.
    let signal = context.controller.signal();
    match ended {
        Ok(exit) => Ok(Ended { exit, signal }),
        Err(_) if signal.is_some() => Ok(Ended {
            exit: Exit::Internal,
            signal,
        }),
        Err(error) => Err(Failure::new(Exit::Internal, error.to_string())),
    }
}

#[cfg(not(feature = "tui"))]
async fn dashboard(_: &Options, _: args::Color) -> Result<Ended, Failure> {
    Err(without_dashboard())
}

#[cfg(not(feature = "tui"))]
async fn open_run(_: &Options, _: args::Color, _: &args::Open) -> Result<Ended, Failure> {
    Err(without_dashboard())
}

#[cfg(not(feature = "tui"))]
fn without_dashboard() -> Failure {
    Failure::usage(
        "this build has no dashboard (feature `tui`); see tackroom --help for the commands",
    )
}

impl From<BootstrapError> for Failure {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Engine(error) => error.into(),
            error => Self::new(Exit::Usage, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error() {
        let Ok(ended) = guarded(|| panic!("something is wrong")) else {
            panic!("it has nothing more to explain");
        };
        assert_eq!(ended.exit, Exit::Internal);
        assert_eq!(ended.signal, None);
    }
}
