//! One binary for all of the harness's own containers, so that they share one image.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use harness_services::bugs::{self, Bug, Bugs};
use harness_services::config::TenantConfig;
use harness_services::cp_stub::StubConfig;
use harness_services::http::fetch;
use harness_services::{buildinfo, canvas, cp_stub, entrypoint, galaxy, peers_tool, tenant};
use lexopt::{Arg, ValueExt as _};

const USAGE: &str = "\
usage: harness-services entrypoint        the tenant's image: tenant and canvas
       harness-services tenant
       harness-services canvas
       harness-services cp-stub
       harness-services bugs [known | check LIST | set LIST]
       harness-services healthcheck URL
       harness-services tool list-peers --platform URL --workspace ID [--token TOKEN]
";

/// The commit that this binary was built from.
const GIT_SHA: &str = match option_env!("GIT_SHA") {
    Some(sha) => sha,
    None => buildinfo::UNKNOWN,
};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an unhealthy answer that are shown; the engine keeps 4096.
const EXCERPT: usize = 500;

type Failure = Box<dyn std::error::Error>;

#[derive(Debug)]
enum Command {
    Entrypoint,
    Tenant,
    Canvas,
    CpStub,
    ShowBugs,
    KnownBugs,
    CheckBugs { list: String },
    SwitchBugs { list: String },
    Healthcheck { url: String },
    ListPeers(peers_tool::Query),
    Galaxy(galaxy::Command),
}

fn parse() -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut words = Vec::new();
    let mut query = peers_tool::Query {
        org_id: variable("MOLECULE_ORG_ID"),
        ..peers_tool::Query::default()
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("platform") => query.platform = parser.value()?.string()?,
            Arg::Long("workspace") => query.workspace = parser.value()?.string()?,
            Arg::Long("token") => query.token = Some(parser.value()?.string()?),
            Arg::Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["entrypoint"] => Ok(Command::Entrypoint),
        ["tenant"] => Ok(Command::Tenant),
        ["canvas"] => Ok(Command::Canvas),
        ["bugs"] => Ok(Command::ShowBugs),
        ["bugs", "known"] => Ok(Command::KnownBugs),
        ["bugs", "check", list] => Ok(Command::CheckBugs {
            list: list.to_owned(),
        }),
        ["bugs", "set", list] => Ok(Command::SwitchBugs {
            list: list.to_owned(),
        }),
        ["cp-stub"] => Ok(Command::CpStub),
        ["healthcheck", url] => Ok(Command::Healthcheck {
            url: url.to_owned(),
        }),
        ["tool", "list-peers"] if query.platform.is_empty() || query.workspace.is_empty() => {
            Err("list-peers needs --platform and --workspace".into())
        }
        ["tool", "list-peers"] => Ok(Command::ListPeers(query)),
        ["galaxy", ref words @ ..] => Ok(Command::Galaxy(galaxy::Command::parse(words)?)),
        _ => Err(format!("unknown command: {}", words.join(" ")).into()),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = match parse() {
        Ok(command) => command,
        Err(error) => {
            // Nowhere to report that standard error is gone.
            let _ = write!(io::stderr(), "{error}\n\n{USAGE}{}", galaxy::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A service says it where the rest of its log is.
            if tracing::dispatcher::has_been_set() {
                tracing::error!("{error}");
            } else {
                let _ = writeln!(io::stderr(), "harness-services: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Entrypoint => {
            log_to_stdout();
            Ok(entrypoint::run().await?)
        }
        Command::Tenant => {
            log_to_stdout();
            tracing::info!(git_sha = GIT_SHA, "tenant");
            Ok(tenant::run(tenant_config().await?, GIT_SHA).await?)
        }
        Command::Canvas => {
            log_to_stdout();
            let port = variable("PORT").map_or(Ok(canvas::PORT), |port| port.parse())?;
            Ok(canvas::run(port).await?)
        }
        Command::CpStub => {
            log_to_stdout();
            let config = StubConfig::read(variable)?;
            tracing::info!(git_sha = GIT_SHA, "control-plane stub");
            Ok(cp_stub::run(config).await?)
        }
        Command::ShowBugs => print(bugs().iter()),
        Command::KnownBugs => print(Bug::ALL),
        Command::CheckBugs { list } => Ok(bugs::parse(&list).map(drop)?),
        Command::SwitchBugs { list } => Ok(bugs().switch(bugs::parse(&list)?)?),
        Command::Healthcheck { url } => healthcheck(&url).await,
        Command::Galaxy(command) => galaxy::run(command, variable).await,
        Command::ListPeers(query) => {
            let answer = peers_tool::answer(&query, &bugs()).await;
            Ok(writeln!(io::stdout(), "{answer}")?)
        }
    }
}

fn print(bugs: impl IntoIterator<Item = Bug>) -> Result<(), Failure> {
    for bug in bugs {
        writeln!(io::stdout(), "{bug}")?;
    }
    Ok(())
}

fn bugs() -> Bugs {
    Bugs::in_directory(bugs::DIRECTORY)
}

/// The environment, and over it what the control plane keeps for this tenant. Without the control plane the environment
/// must do.
async fn tenant_config() -> Result<TenantConfig, Failure> {
    let config = TenantConfig::read(variable, bugs())?;
    if !config.is_hosted() {
        return Ok(config);
    }
    match config.control_plane.tenant_config().await {
        Ok(kept) => {
            let names: Vec<&str> = kept.keys().map(String::as_str).collect();
            tracing::info!(
                names = names.join(" "),
                "configuration from the control plane"
            );
            let over = |name: &str| kept.get(name).cloned().or_else(|| variable(name));
            Ok(TenantConfig::read(over, bugs())?)
        }
        Err(error) => {
            tracing::warn!(%error, "no configuration from the control plane");
            Ok(config)
        }
    }
}

/// Lines of time, level and words: what a log viewer needs to find both.
fn log_to_stdout() {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .init();
}

async fn healthcheck(url: &str) -> Result<(), Failure> {
    let (status, body) = fetch(Request::get(url).body(Body::empty())?, HEALTH_TIMEOUT).await?;
    if status.is_success() {
        return Ok(());
    }
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]).into_owned();
    Err(format!("{url} answered {status}: {excerpt}").into())
}
