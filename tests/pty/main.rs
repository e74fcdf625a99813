//! The real binary on a pseudo terminal.
#![cfg(feature = "tui")]
// The helpers are tests too, although clippy only knows functions with the attribute.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod progress;
mod session;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use session::Session;
use tackroom::tui::terminal::Guard;

const BINARY: &str = env!("CARGO_BIN_EXE_tackroom");

/// A directory with a configuration and two replays. There is no engine: the dashboard has to be
/// of use without one.
fn project() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = "name = \"pty\"\n[replays]\npaths = [\"replays/*.sh\"]\n";
    std::fs::write(directory.path().join("tackroom.toml"), config).unwrap();
    std::fs::create_dir(directory.path().join("replays")).unwrap();
    script(directory.path(), "good", "echo all is well");
    script(directory.path(), "bad", "echo 'not at all'; exit 3");
    directory
}

fn script(directory: &Path, name: &str, body: &str) {
    let path = directory.join(format!("replays/{name}.sh"));
    let text = format!("#!/bin/sh\n# This one is {name}.\n{body}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn dashboard(directory: &Path, columns: u16, rows: u16) -> Session {
    dashboard_with(directory, columns, rows, &[])
}

fn dashboard_with(
    directory: &Path,
    columns: u16,
    rows: u16,
    variables: &[(&str, &str)],
) -> Session {
    Session::start(command(directory, variables), columns, rows)
}

fn command(directory: &Path, variables: &[(&str, &str)]) -> CommandBuilder {
    let mut command = CommandBuilder::new(BINARY);
    command.cwd(directory);
    command.args(["--host", "unix:///nowhere/engine.sock"]);
    command.env("TERM", "xterm-256color");
    command.env("TZ", "UTC");
    command.env("HOME", directory);
    command.env("XDG_STATE_HOME", directory.join("state"));
    command.env_remove("NO_COLOR");
    command.env_remove("CI");
    for (name, value) in variables {
        command.env(name, value);
    }
    command
}

fn pid(session: &Session) -> Pid {
    Pid::from_raw(i32::try_from(session.process).unwrap()).unwrap()
}

#[test]
fn keys_resizes_and_a_clean_end() {
    let project = project();
    let mut session = dashboard(project.path(), 80, 24);
    session.until_text("lost, retry in");
    session.until_text("? help");
    assert!(session.screen().alternate_screen());
    session.press("?");
    session.until_text("Help: Containers");
    session.press("\x1b");
    session.until("no help", |screen| !screen.contents().contains("Help:"));
    session.press("6");
    session.until_text("the engine is lost");
    session.press("3");
    session.until_text("This one is bad.");
    session.press("\x1b[B");
    session.until_text("This one is good.");
    session.resize(130, 40);
    session.until("a footer in the last row", |screen| {
        let last = screen.rows(0, 130).nth(39).unwrap_or_default();
        last.contains("? help")
    });
    session.resize(10, 3);
    session.until_text("window to");
    session.resize(80, 24);
    session.until_text("This one is good.");
    session.press("\x0c");
    session.press("?");
    session.until_text("Help: Replays");
    session.press("\x1b");
    session.until("no help", |screen| !screen.contents().contains("Help:"));
    session.press("q");
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

/// The dashboard of [`project`] without an engine, after its replays have run.
fn both_have_run(project: &Path, width: u16, height: u16) -> Session {
    let mut session = dashboard(project, width, height);
    session.until_text("lost, retry in");
    session.press("3");
    session.until_text("This one is bad.");
    session.press("a");
    session.until_text("1 of 2 replays did not pass");
    session
}

#[test]
fn replays_run_and_their_verdicts_are_the_exit_code() {
    let project = project();
    let mut session = both_have_run(project.path(), 100, 30);
    session.until_text("exit 3");
    session.until_text("not at all");
    session.press("q");
    assert_eq!(session.end().exit_code(), 1);
    assert!(session.is_given_back());
}

#[test]
fn earlier_runs_are_told_and_what_failed_in_them_runs_again() {
    let project = project();
    let mut session = both_have_run(project.path(), 100, 30);
    session.until_text("failed 1/1");
    session.press("q");
    assert_eq!(session.end().exit_code(), 1);
    let mut session = dashboard(project.path(), 130, 30);
    session.press("3");
    session.until_text("failed 1/1");
    session.until_text("not run in this session");
    session.press("\r");
    session.until_text("Incident: bad");
    session.until_text("✘ failed: exit 3");
    session.press("\x1b");
    session.until_text("not run in this session");
    // It did not fail in the run that ends now, so nobody is taken to it.
    session.press("jr");
    session.until_text("no replay failed, 1 ran");
    assert!(session.text().contains("› ✔ good"), "{}", session.text());
    session.press("f");
    session.until_text("1 of 1 replays did not pass");
    session.until_text("failed 2/2");
    session.press("/is:failed\r");
    session.until_text("/is:failed 1 of 2");
    session.press("q");
    assert_eq!(session.end().exit_code(), 1);
}

#[test]
fn a_recording_is_opened_from_an_archive_and_leaves_nothing_behind() {
    let project = project();
    for args in [&["run"][..], &["pack", "-o", "bundle.tar.zst"]] {
        let done = Command::new(BINARY)
            .args(args)
            .current_dir(project.path())
            .env("HOME", project.path())
            .env("XDG_STATE_HOME", project.path().join("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.code().is_some(), "{done:?}");
    }
    let temporary = project.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let left = || std::fs::read_dir(&temporary).unwrap().count();
    let open = || {
        let mut command = command(project.path(), &[("TMPDIR", temporary.to_str().unwrap())]);
        command.args(["open", "bundle.tar.zst"]);
        Session::start(command, 100, 30)
    };
    let mut session = open();
    session.until_text("recording 20");
    session.until_text("of pty");
    session.until_text("the run has recorded no container");
    session.press("3");
    session.until_text("not at all");
    session.until_text("exit 3");
    session.press("r");
    session.until_text("this is a recording");
    session.press("j");
    session.until_text("all is well");
    assert_eq!(left(), 1);
    session.press("q");
    // That the run had failed is no failure of looking at it.
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
    assert_eq!(left(), 0);

    let mut session = open();
    session.until_text("recording 20");
    kill_process(pid(&session), Signal::TERM).unwrap();
    let status = session.end();
    assert_eq!(status.signal(), Some("Terminated"), "{status:?}");
    assert_eq!(left(), 0);
}

#[test]
fn a_termination_gives_the_terminal_back_and_kills_by_its_signal() {
    let project = project();
    let mut session = dashboard(project.path(), 80, 24);
    session.until_text("lost, retry in");
    kill_process(pid(&session), Signal::TERM).unwrap();
    let status = session.end();
    assert_eq!(status.signal(), Some("Terminated"), "{status:?}");
    assert!(session.is_given_back());
}

#[test]
fn a_termination_ends_what_runs() {
    let project = project();
    script(project.path(), "endless", "echo begun; exec sleep 1000");
    let mut session = dashboard(project.path(), 80, 24);
    session.until_text("lost, retry in");
    session.press("3");
    session.until_text("Replays ─ 3");
    session.press("j");
    session.until_text("This one is endless.");
    session.press("r");
    session.until_text("begun");
    kill_process(pid(&session), Signal::TERM).unwrap();
    let status = session.end();
    assert_eq!(status.signal(), Some("Terminated"), "{status:?}");
    assert!(session.is_given_back());
    let left = sleeping_in(project.path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_closed_window_lets_a_hook_end_in_order_and_kills_by_its_signal() {
    let project = project();
    script(
        project.path(),
        "../up",
        "trap 'sleep 0.3; echo in order > ended; exit 1' HUP INT
         trap '' TERM
         sleep 1000 & echo begun; wait",
    );
    let config = project.path().join("tackroom.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[harness]\nup = \"./up.sh\"\n")).unwrap();
    let mut session = dashboard(project.path(), 120, 40);
    session.until_text("lost, retry in");
    session.press("u");
    session.until_text("begun");
    let status = session.hang_up();
    assert_eq!(status.signal(), Some("Hangup"), "{status:?}");
    let ended = std::fs::read_to_string(project.path().join("ended"));
    assert_eq!(ended.unwrap(), "in order\n");
    let left = sleeping_in(project.path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_window_that_closes_without_a_signal_ends_it_as_well() {
    let project = project();
    let mut command = command(project.path(), &[]);
    command.set_controlling_tty(false);
    let mut session = Session::start(command, 120, 40);
    session.until_text("lost, retry in");
    let status = session.hang_up();
    assert_eq!(status.signal(), Some("Hangup"), "{status:?}");
}

/// Processes that still work in a directory.
fn sleeping_in(directory: &Path) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn ctrl_z_goes_to_the_shell_and_comes_back() {
    let project = project();
    let mut session = dashboard(project.path(), 80, 24);
    session.until_text("lost, retry in");
    session.press("\x1a");
    let (_, status) = waitpid(Some(pid(&session)), WaitOptions::UNTRACED)
        .unwrap()
        .unwrap();
    assert!(status.stopped(), "{status:?}");
    session.until("the shell's screen", |screen| !screen.alternate_screen());
    assert!(session.is_given_back());
    kill_process(pid(&session), Signal::CONT).unwrap();
    session.until("the dashboard", vt100::Screen::alternate_screen);
    session.until_text("? help");
    session.press("?");
    session.until_text("Help: Containers");
    session.press("\x1b");
    session.until("no help", |screen| !screen.contents().contains("Help:"));
    session.press("q");
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

/// A dashboard that shows the output of a replay that has run.
fn with_output(directory: &Path, pager: &str) -> Session {
    let temporary = directory.join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let temporary = temporary.to_str().unwrap();
    let variables = [("PAGER", pager), ("TMPDIR", temporary)];
    let mut session = dashboard_with(directory, 100, 30, &variables);
    session.until_text("lost, retry in");
    session.press("3");
    session.until_text("This one is bad.");
    session.press("j");
    session.until_text("This one is good.");
    session.press("r");
    session.until_text("all is well");
    session.until_text("✔ passed");
    // Whoever quits before the run is over is asked.
    session.until_text("no replay failed, 1 ran");
    session.press("\t");
    session
}

fn only_archive(directory: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let mut files = files.map(|file| file.path()).filter(|file| {
        let name = file.file_name().unwrap_or_default();
        name.to_string_lossy().ends_with(".tar.zst")
    });
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

#[test]
fn enter_on_a_replay_that_has_run_shows_its_incident() {
    let project = project();
    let mut session = both_have_run(project.path(), 120, 30);
    session.press("\r");
    session.until_text("Incident: bad");
    session.until_text("no run before this one is kept that had it");
    session.until_text("▶ attempt 1 begins");
    session.until_text("✘ failed: exit 3");
    session.until_text("output not at all");
    session.press("o");
    session.until_text("[x] output");
    session.press("o");
    session.until("the runner alone", |screen| {
        screen.contents().contains("[ ] output") && !screen.contents().contains("not at all")
    });
    session.press("\x1b");
    session.until("no list", |screen| {
        !screen.contents().contains("[ ] output")
    });
    session.until_text("1 source off");
    session.press("\x1b");
    session.until_text("Replays ─ 2 ─ 1 ✔ ─ 1 ✘");
    // What is opened elsewhere has it as well.
    session.press("\r");
    session.until_text("▶ attempt 1 begins");
    session.press("b");
    session.until_text("the run is saved as");
    let archive = only_archive(project.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = command(elsewhere.path(), &[]);
    command.args(["open", archive.to_str().unwrap()]);
    let mut opened = Session::start(command, 120, 30);
    opened.until_text("recording");
    opened.press("3");
    opened.until_text("Replays ─ 2");
    opened.press("\r");
    opened.until_text("the runs before this one are not here to compare with");
    opened.until_text("output not at all");
    opened.press("q");
    assert_eq!(opened.end().exit_code(), 0);
    session.press("\x1b");
    session.until_text("Replays ─ 2 ─ 1 ✔ ─ 1 ✘");
    // It is read again, with the run before.
    session.press("r");
    session.until_text("1 of 1 replays did not pass");
    session.press("\r");
    session.until_text("it did not pass in the one run before that is kept");
    session.press("q");
    assert_eq!(session.end().exit_code(), 1);
    assert!(session.is_given_back());
}

#[test]
fn a_pager_gets_the_terminal_and_gives_it_back() {
    let project = project();
    script(
        project.path(),
        "../pager",
        "trap 'echo interrupted' INT
         echo \"$1 says: $(cat \"$2\")\"
         until [ \"$key\" = q ]; do read key; done",
    );
    let pager = format!("{} MYPAGER", project.path().join("pager.sh").display());
    let mut session = with_output(project.path(), &pager);
    session.press("|");
    session.until_text("MYPAGER says: all is well");
    assert!(session.is_given_back());
    // It is for the pager.
    session.press("\x03");
    session.until_text("interrupted");
    session.press("q\n");
    session.until("the dashboard", vt100::Screen::alternate_screen);
    session.until_text("all is well");
    let left = std::fs::read_dir(project.path().join("temporary")).unwrap();
    assert_eq!(left.count(), 0);
    session.press("?");
    session.until_text("Help: Output");
    session.press("\x1b");
    session.until("no help", |screen| !screen.contents().contains("Help:"));
    session.press("q");
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

#[test]
fn a_pager_that_is_not_there_is_named() {
    let project = project();
    let mut session = with_output(project.path(), "no-such-pager -x");
    session.press("|");
    session.until_text("there is no pager no-such-pager -x");
    session.press("q");
    assert_eq!(session.end().exit_code(), 0);
}

#[test]
fn an_output_is_saved_and_nothing_is_written_over_unasked() {
    let project = project();
    let path = project.path().join("mine.log");
    std::fs::write(&path, "mine").unwrap();
    let mut session = with_output(project.path(), "true");
    session.press("S");
    session.until_text("enter saves");
    session.press("\x15mine.log\r");
    session.until_text("enter writes over it");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    session.press("\r");
    session.until_text("1 line saved to mine.log");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "all is well\n");
    session.press("q");
    assert_eq!(session.end().exit_code(), 0);
}

#[test]
fn without_a_terminal_there_is_a_hint() {
    let project = project();
    let output = Command::new(BINARY)
        .current_dir(project.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(
        hint.contains("needs a terminal") && hint.contains("--help"),
        "{hint}"
    );
}

/// Runs a test of this file again, alone and on a pseudo terminal, as [`is_child`].
fn again(test: &str) -> Session {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("TERM", "xterm-256color");
    command.env(CHILD, "1");
    Session::start(command, 80, 24)
}

const CHILD: &str = "TACKROOM_TEST_ON_TERMINAL";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn wait_for_key() {
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_exact(&mut [0]).unwrap();
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if is_child() {
        let _guard = Guard::take().unwrap();
        print!("the dashboard");
        wait_for_key();
        panic!("something is wrong");
    }
    let mut session = again("a_panic_gives_the_terminal_back_before_it_speaks");
    session.until_text("the dashboard");
    assert!(session.screen().alternate_screen());
    session.press("x");
    let status = session.end();
    assert!(!status.success());
    session.until_text("something is wrong");
    assert!(session.is_given_back());
    assert!(!session.text().contains("the dashboard"));
}

#[test]
fn a_panic_of_another_thread_leaves_the_terminal_alone() {
    if is_child() {
        let _guard = Guard::take().unwrap();
        let failed = std::thread::spawn(|| panic!("not mine")).join();
        assert!(failed.is_err());
        print!("still here");
        wait_for_key();
        return;
    }
    let mut session = again("a_panic_of_another_thread_leaves_the_terminal_alone");
    session.until_text("still here");
    assert!(session.screen().alternate_screen());
    assert!(!session.text().contains("not mine"));
    session.press("x");
    assert!(session.end().success());
    assert!(session.is_given_back());
}
