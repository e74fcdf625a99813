//! The clap tree.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use super::report::{Format, Target, target};
use crate::domain::exit::Exit;
use crate::domain::id::RunId;
use crate::replay::{Order, Shard, TagExpr};
use crate::text::level::Level;
use crate::text::matcher::Matcher;

/// See, follow, replay and take down a Docker test harness.
///
/// Without a command: the dashboard.
#[derive(Debug, Parser)]
#[command(name = "tackroom", version, after_long_help = exit_codes())]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    /// MiB of log lines that the dashboard holds [default: the configuration, 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..65_536))]
    pub(super) log_budget: Option<u64>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Global {
    /// Use this file [default: tackroom.toml, looked for upward from here]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The engine's address [default: the configuration, DOCKER_HOST, the docker context]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) host: Option<String>,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot the harness, seed it, run replays, take it down
    Run(Run),
    /// Run replays, and again when a script, a hook or the image of a container changes
    Watch(Watch),
    /// Boot the harness and wait until it is ready
    Up(Lifecycle),
    /// Fill the harness with data
    Seed(Seed),
    /// Take the harness down
    Down(Down),
    /// The replays that there are
    List(List),
    /// The containers of the family, by stack
    Ps(Ps),
    /// Containers' logs, merged in the order of time
    // Boxed, as it is much larger than the others.
    Logs(Box<Logs>),
    /// The runs that are kept, the newest first
    Runs(Runs),
    /// One replay of a kept run with everything that was logged meanwhile, in the order of time
    Incident(Incident),
    /// Write reports of a kept run
    Report(Report),
    /// Look at a kept run in the dashboard, without an engine
    Open(Open),
    /// Write a kept run to one file, for somebody else
    Pack(Pack),
    /// Remove one stack: prints the plan, and acts on it when confirmed
    Teardown(Teardown),
    /// Write a commented tackroom.toml
    Init(Init),
    /// Ends a run whose process has died; started by each run itself
    #[command(hide = true)]
    Guard(Guard),
}

/// Which replays, and in which order.
#[derive(Debug, clap::Args)]
pub(super) struct Selecting {
    /// Part of a replay's name or file, a glob, or an issue that it closes; all without one
    #[arg(value_name = "PATTERN")]
    pub(super) patterns: Vec<String>,
    /// Only the replays of a suite; can be given several times
    #[arg(long = "suite", value_name = "NAME")]
    pub(super) suites: Vec<String>,
    /// Only replays whose tags match: net, "net and not slow", "(net || db) && !slow"
    #[arg(long = "tag", value_name = "EXPR")]
    pub(super) tags: Option<TagExpr>,
    /// Only the part K of N: 1/4 by name, slice:1/4 in turn
    #[arg(long, value_name = "K/N")]
    pub(super) shard: Option<Shard>,
    /// Only what failed when it last ran, was not reached then, or is new
    #[arg(long)]
    pub(super) last_failed: bool,
    /// found, name, failed-first or slow-first
    #[arg(long, value_name = "ORDER", default_value_t)]
    pub(super) order: Order,
}

/// How replays are run.
#[derive(Debug, clap::Args)]
pub(super) struct Running {
    /// Run so many at once, of the replays that say @parallel [default: the configuration, 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) jobs: Option<u32>,
    /// Go through the replays so many times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) repeat: Option<u32>,
    /// Go through the replays until one does not pass, or --repeat is reached; implies --retries 0
    #[arg(long)]
    pub(super) until_fail: bool,
    /// Try a replay that fails again, so many times [default: the configuration, 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) retries: Option<u32>,
    /// Fail although a replay passed, where it did so only after a retry
    #[arg(long)]
    pub(super) fail_on_flaky: bool,
    /// Start no more replays after so many that did not pass
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_fail: Option<u32>,
    /// Stop after the first replay that does not pass: --max-fail 1
    #[arg(long, conflicts_with = "max_fail")]
    pub(super) fail_fast: bool,
}

// What `run` and `watch` do before the first replay.
#[derive(Debug, clap::Args)]
pub(super) struct Booting {
    /// Build images again before booting
    #[arg(long, env = "REBUILD", value_parser = FalseyValueParser::new())]
    pub(super) rebuild: bool,
    /// Only run replays, against what is up: no boot, no seed, no teardown
    // No conflict with --keep-up and --rebuild: a variable of the environment would be one too.
    #[arg(long)]
    pub(super) no_up: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) selecting: Selecting,
    /// Leave the harness up at the end; with failed, only if the run failed
    #[arg(long, env = "KEEP_UP", value_name = "WHEN", value_parser = keep_up)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub(super) keep_up: Option<KeepUp>,
    #[command(flatten)]
    pub(super) booting: Booting,
    #[command(flatten)]
    pub(super) running: Running,
    /// List the replays that would run, and run nothing
    #[arg(long)]
    pub(super) list: bool,
    /// Show every step and replay that would run, in order, and run nothing
    #[arg(long, conflicts_with = "list")]
    pub(super) dry_run: bool,
    /// Write a report when the run ends: text, junit, tap, markdown or github, to a file or to `-`,
    /// which is stdout; can be given several times
    #[arg(long, value_name = "FORMAT=FILE", value_parser = target)]
    pub(super) report: Vec<Target>,
    /// Short for --report junit=FILE
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write events to stdout, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    pub(super) selecting: Selecting,
    /// Leave the harness up at the end; with failed, only if something has not passed by then
    #[arg(long, env = "KEEP_UP", value_name = "WHEN", value_parser = keep_up)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub(super) keep_up: Option<KeepUp>,
    #[command(flatten)]
    pub(super) booting: Booting,
    #[command(flatten)]
    pub(super) running: Running,
    /// Write events to stdout, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Lifecycle {
    /// Build images again before booting
    #[arg(long, env = "REBUILD", value_parser = FalseyValueParser::new())]
    pub(super) rebuild: bool,
    /// Write events to stdout, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Seed {
    /// Write events to stdout, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Down {
    /// Take also what another run has made within its stack's `min_age`
    #[arg(long)]
    pub(super) any_age: bool,
    /// Write events to stdout, one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) selecting: Selecting,
    /// One JSON object a line
    #[arg(long, conflicts_with = "markdown")]
    pub(super) json: bool,
    /// A table for a README
    #[arg(long)]
    pub(super) markdown: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ps {
    /// Those that a kept run has seen, as it saw them last, instead of the engine's: RUN as for open
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Runs {
    /// How each replay ended in them, the oldest first
    #[arg(long)]
    pub(super) replays: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "tackroom incident [OPTIONS] [RUN] [REPLAY]")]
pub(super) struct Incident {
    /// The replay, or a part of its name, with a run before it as `report` takes it. Without a run:
    /// the last one that had the replay. Without a replay: the only one that failed in the last run,
    /// or in the run that is named by a path
    #[arg(value_name = "RUN] [REPLAY", num_args = 0..=2)]
    pub(super) of: Vec<String>,
    /// An attempt of several [default: the last one that did not pass, else the last one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) attempt: Option<u32>,
    /// Only this source: output, engine, runner, container, or the name of a container; can be given
    /// several times
    #[arg(long = "source", value_name = "SOURCE")]
    pub(super) sources: Vec<String>,
    /// No logs of containers
    #[arg(long)]
    pub(super) no_containers: bool,
    /// Lines of all sources that are shown, or all. Of a source that has too many, its first, its
    /// last and those around what is marked are
    #[arg(short = 'n', long, default_value = "100000", value_name = "N")]
    pub(super) lines: Lines,
    /// One JSON object a line: what the incident is about, then its entries
    #[arg(long)]
    pub(super) json: bool,
}

/// How many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines(pub(super) u64);

impl std::str::FromStr for Lines {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        match typed {
            "all" => Ok(Self(u64::MAX)),
            number => number
                .parse()
                .map(Self)
                .map_err(|_| "write a number, or all"),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Open {
    /// A run's id or a unique part of it, its directory, a .tar.zst, .tar.gz, .tar or .zip of that, or
    /// `latest`: the last one that had replays
    #[arg(default_value = "latest", value_name = "RUN")]
    pub(super) run: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Pack {
    /// A run's id or a unique part of it, its directory, a .tar.zst, .tar.gz, .tar or .zip of that, or
    /// `latest`: the last one that had replays
    #[arg(default_value = "latest", value_name = "RUN")]
    pub(super) run: String,
    /// Write to this file, which ends in .tar.zst or .tar.gz [default: RUN.tar.zst, here]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Write over a file that is there already
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Report {
    /// A run's id or a unique part of it, its directory, a .tar.zst, .tar.gz, .tar or .zip of that, or
    /// `latest`: the last one that had replays
    #[arg(default_value = "latest", value_name = "RUN")]
    pub(super) run: String,
    /// Write this to stdout [default: text, where no other report is asked for]
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub(super) format: Option<Format>,
    /// Write a report: text, junit, tap, markdown or github, to a file or to `-`, which is stdout;
    /// can be given several times
    #[arg(long, value_name = "FORMAT=FILE", value_parser = target)]
    pub(super) report: Vec<Target>,
    /// Short for --report junit=FILE
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    /// A container's title, name or id, or a stack; all of the family without one
    #[arg(value_name = "CONTAINER")]
    pub(super) containers: Vec<String>,
    /// The containers of a stack; can be given several times
    #[arg(long = "stack", value_name = "STACK")]
    pub(super) stacks: Vec<String>,
    /// The logs that a kept run has recorded, instead of the engine's: RUN as for open
    #[arg(long, value_name = "RUN", conflicts_with = "follow")]
    pub(super) run: Option<String>,
    /// Go on with new lines, across restarts and re-creations
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Lines of each container to begin with: a number, or all. A line over 16 KiB counts as several
    #[arg(short = 'n', long, default_value = "all", value_name = "N")]
    pub(super) tail: String,
    /// Nothing older than: 10m (ago), 12:03 (today), 2026-11-21T12:03:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Show the engine's timestamp of each line
    #[arg(short, long)]
    pub(super) timestamps: bool,
    /// Only lines that match: a regular expression, in either case unless it has a capital
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    pub(super) filter: Option<Matcher>,
    /// No lines that match
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    pub(super) exclude: Option<Matcher>,
    /// Only lines of this level and above: trace, debug, info, warn, error or fatal. A line that
    /// names none belongs to the one before it
    #[arg(long, value_name = "LEVEL")]
    pub(super) level: Option<Level>,
    /// Also this many lines before and after each of those
    #[arg(
        short = 'C',
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "N"
    )]
    pub(super) context: usize,
    /// One JSON object a line, also for what happens to a container
    #[arg(long, conflicts_with = "timestamps")]
    pub(super) json: bool,
}

/// Whether the harness outlives a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepUp {
    Never,
    Failed,
    Always,
}

/// A variable of the environment may also say no, in the words that [`FalseyValueParser`] takes.
fn keep_up(typed: &str) -> Result<KeepUp, String> {
    match typed.to_ascii_lowercase().as_str() {
        "" | "0" | "n" | "no" | "f" | "false" | "off" | "never" => Ok(KeepUp::Never),
        "failed" => Ok(KeepUp::Failed),
        "1" | "y" | "yes" | "t" | "true" | "on" | "always" => Ok(KeepUp::Always),
        _ => Err("say always, failed or never".to_owned()),
    }
}

fn pattern(typed: &str) -> Result<Matcher, String> {
    let matcher = Matcher::new(typed).ok_or("an empty pattern matches nothing")?;
    // The dashboard takes it literally; a script must hear of its mistake.
    match matcher.problem() {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(matcher),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Teardown {
    /// A stack of tackroom.toml
    #[arg(value_name = "STACK")]
    pub(super) stack: String,
    /// Act without asking, on the plan that is printed and on what appears meanwhile
    #[arg(long)]
    pub(super) yes: bool,
    /// Act only if the plan is still the one with this fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    pub(super) fingerprint: Option<String>,
    /// Take also what another run has made within its stack's `min_age`
    #[arg(long)]
    pub(super) any_age: bool,
    /// Write the plan, and the events of carrying it out, to stdout as JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Guard {
    /// Whose processes are ended
    #[arg(long, value_name = "RUN")]
    pub(super) run: RunId,
    /// Take the harness down as well
    #[arg(long)]
    pub(super) take_down: bool,
    #[arg(long)]
    pub(super) any_age: bool,
    /// Where to say what is done
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Where to write it
    #[arg(default_value = crate::config::FILE_NAME, value_name = "FILE")]
    pub(super) file: PathBuf,
}

fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
    }
    text.push_str(
        "  A run that is interrupted is taken down first and then dies of the same signal\n  \
         (a shell sees 130, 143, 129 or 131).\n",
    );
    text
}
