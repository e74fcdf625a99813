//! The first process of the tenant's image: starts the API and its user interface, and ends with either of them. A
//! tenant without its interface would look healthy to everybody but its users.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::canvas;
use crate::http::terminated;

/// How long the two may take to stop when they are told to; then they are killed.
const GRACE: Duration = Duration::from_secs(2);
const CANVAS_URL: &str = "CANVAS_PROXY_URL";

#[derive(Debug, thiserror::Error)]
pub enum EntrypointError {
    #[error("the {name} ended: {status}")]
    Ended {
        name: &'static str,
        status: ExitStatus,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs both until told to stop.
///
/// # Errors
/// One of them ended by itself; the other one is gone by then.
pub async fn run() -> Result<(), EntrypointError> {
    let mut api = command("tenant")?;
    if std::env::var_os(CANVAS_URL).is_none() {
        api.env(CANVAS_URL, format!("http://127.0.0.1:{}", canvas::PORT));
    }
    let mut ui = command("canvas")?;
    ui.env("PORT", canvas::PORT.to_string());
    supervise(api.spawn()?, ui.spawn()?).await
}

fn command(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).kill_on_drop(true);
    Ok(command)
}

async fn supervise(mut api: Child, mut ui: Child) -> Result<(), EntrypointError> {
    let (name, status) = tokio::select! {
        status = api.wait() => ("API", status?),
        status = ui.wait() => ("user interface", status?),
        stopped = terminated() => {
            stopped?;
            return stop(api, ui).await;
        }
    };
    api.kill().await?;
    ui.kill().await?;
    Err(EntrypointError::Ended { name, status })
}

async fn stop(mut api: Child, mut ui: Child) -> Result<(), EntrypointError> {
    for child in [&api, &ui] {
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        }
    }
    // Who is left when time is up is killed when it is dropped.
    let both = async { tokio::try_join!(api.wait(), ui.wait()) };
    match tokio::time::timeout(GRACE, both).await {
        Ok(ended) => ended.map(|_| ()).map_err(EntrypointError::from),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).kill_on_drop(true);
        command.spawn().unwrap()
    }

    #[tokio::test]
    async fn whichever_ends_takes_the_other_one_with_it() {
        for (api, ui, expected) in [
            ("exit 3", "exec sleep 600", ("API", Some(3))),
            ("exec sleep 600", "exit 0", ("user interface", Some(0))),
        ] {
            let (api, ui) = (shell(api), shell(ui));
            let pids = [api.id().unwrap(), ui.id().unwrap()];
            match supervise(api, ui).await {
                Err(EntrypointError::Ended { name, status }) => {
                    assert_eq!((name, status.code()), expected);
                }
                other => panic!("{other:?}"),
            }
            for pid in pids {
                assert!(
                    !std::path::Path::new(&format!("/proc/{pid}")).exists(),
                    "{pid}"
                );
            }
        }
    }
}
