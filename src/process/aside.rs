//! A program that is asked something beside a run: it belongs to nobody's script.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::subreaper::{self, Own, Role};

const KILLED_LOOKS: u32 = 50;
const KILLED_PAUSE: Duration = Duration::from_millis(1);

/// Runs a program that reads nothing and gives the first `most` bytes of what it prints. It is killed
/// when it prints more, takes longer, or the future is dropped.
///
/// # Errors
///
/// Fails where it cannot be started, takes longer, or does not succeed.
pub async fn ask(command: &mut Command, limit: Duration, most: u64) -> io::Result<Vec<u8>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let (child, own) = subreaper::start(Role::Apart, || command.spawn(), Child::id)?;
    let mut aside = Aside { child, _own: own };
    let child = &mut aside.child;
    let answer = async {
        let mut printed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(most);
            stdout.read_to_end(&mut printed).await?;
            if stdout.limit() == 0 {
                child.start_kill()?;
                child.wait().await?;
                return Ok(printed);
            }
        }
        let status = child.wait().await?;
        if status.success() {
            Ok(printed)
        } else {
            Err(io::Error::other(status.to_string()))
        }
    };
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// It is ours until it has gone: who looks for what a run has left must not find it at its end.
struct Aside {
    child: Child,
    _own: Option<Own>,
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // What was killed goes at once, but for what the kernel itself holds.
        for _ in 0..KILLED_LOOKS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(KILLED_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(script: &str, limit: Duration) -> io::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let answer = ask(&mut command, limit, 10).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_length_and_time() {
        let long = Duration::from_secs(60);
        assert_eq!(asked("echo one; cat", long).await.unwrap(), "one\n");
        assert_eq!(asked("yes", long).await.unwrap(), "y\ny\ny\ny\ny\n");
        assert!(asked("echo one; exit 3", long).await.is_err());
        let error = asked("sleep 600", Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = ask(&mut Command::new("/no/such/program"), long, 1).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
