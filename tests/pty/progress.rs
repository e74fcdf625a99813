//! The live lines of a run on a terminal, and its keys.

use portable_pty::CommandBuilder;
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use super::session::Session;
use super::{command, pid, project, script};

/// The edge of the bar, which nothing else prints.
const BAR: &str = "▕";

/// A replay that ends when there is a file `go`, and one behind it.
fn waiting() -> tempfile::TempDir {
    let project = project();
    std::fs::remove_file(project.path().join("replays/bad.sh")).unwrap();
    let body = "echo begun; until [ -e go ]; do sleep 0.01; done; echo ended";
    script(project.path(), "a", body);
    project
}

fn run(project: &tempfile::TempDir, variables: &[(&str, &str)], flags: &[&str]) -> Session {
    let mut command: CommandBuilder = command(project.path(), variables);
    command.arg("run");
    command.args(flags);
    Session::start(command, 80, 24)
}

fn go(project: &tempfile::TempDir) {
    std::fs::write(project.path().join("go"), "").unwrap();
}

/// Waits until the first replay has said something and the bar stands below that.
fn until_begun(session: &mut Session) {
    session.until("an output above the bar", |screen| {
        let text = screen.contents();
        let (output, bar) = (text.find("begun"), text.find(BAR));
        output.is_some() && output < bar
    });
}

fn bars(session: &Session) -> usize {
    session.text().matches(BAR).count()
}

#[test]
fn how_far_it_is_stands_below_what_is_printed_and_goes_with_the_end() {
    let project = waiting();
    let mut session = run(&project, &[], &[]);
    until_begun(&mut session);
    session.until_text("0/2");
    session.until_text("\n ▶ a  ");
    go(&project);
    assert_eq!(session.end().exit_code(), 0);
    session.until_text("2 passed");
    assert_eq!(bars(&session), 0, "{}", session.text());
    for line in ["✔ a", "✔ good", "ended", "all is well"] {
        assert!(session.text().contains(line), "{}", session.text());
    }
    assert!(session.is_given_back());
}

#[test]
fn a_key_shows_what_was_printed_so_far() {
    let project = waiting();
    let mut session = run(&project, &[], &["--json"]);
    until_begun(&mut session);
    session.press("?");
    session.until_text("ctrl-c: stop");
    session.press("\r");
    session.until_text("output of a so far");
    session.until("it again", |screen| {
        screen.contents().matches("│ begun").count() == 2
    });
    session.until_text(BAR);
    go(&project);
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

#[test]
fn a_smaller_window_gets_a_shorter_line() {
    let project = waiting();
    let mut session = run(&project, &[], &[]);
    session.until_text("0/2");
    session.resize(20, 24);
    session.press("?");
    session.until_text("enter, o");
    session.until_text("0/2");
    assert_eq!(bars(&session), 1, "{}", session.text());
    session.resize(100, 4);
    session.press("?");
    session.until_text("ctrl-z: pause");
    session.until_text("0/2");
    assert_eq!(bars(&session), 1, "{}", session.text());
    go(&project);
    assert_eq!(session.end().exit_code(), 0);
    session.until_text("2 passed");
    assert_eq!(bars(&session), 0, "{}", session.text());
    assert!(session.is_given_back());
}

#[test]
fn a_pause_gives_the_terminal_to_the_shell_and_takes_it_again() {
    let project = waiting();
    let mut session = run(&project, &[], &[]);
    until_begun(&mut session);
    session.press("\x1a");
    let (_, status) = waitpid(Some(pid(&session)), WaitOptions::UNTRACED)
        .unwrap()
        .unwrap();
    assert!(status.stopped(), "{status:?}");
    session.until("nothing of ours", |screen| !screen.contents().contains(BAR));
    assert!(session.is_given_back());
    kill_process(pid(&session), Signal::CONT).unwrap();
    session.until_text(BAR);
    session.press("o");
    session.until_text("output of a so far");
    go(&project);
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

#[test]
fn a_termination_gives_the_terminal_back() {
    for (signal, name) in [
        (Signal::TERM, "Terminated"),
        (Signal::INT, "Interrupt"),
        (Signal::HUP, "Hangup"),
    ] {
        let project = waiting();
        let mut session = run(&project, &[], &[]);
        until_begun(&mut session);
        kill_process(pid(&session), signal).unwrap();
        let status = session.end();
        assert_eq!(status.signal(), Some(name), "{status:?}");
        session.until_text("1 aborted");
        assert_eq!(bars(&session), 0, "{}", session.text());
        assert!(session.is_given_back(), "{name}");
    }
}

#[test]
fn who_cannot_see_it_does_not_get_it() {
    for (variables, flags) in [(&[("CI", "1")][..], &[][..]), (&[("TERM", "dumb")], &[])] {
        let project = waiting();
        let mut session = run(&project, variables, flags);
        session.until_text("begun");
        assert!(session.is_given_back());
        go(&project);
        assert_eq!(session.end().exit_code(), 0);
        session.until_text("2 passed");
        assert!(!session.has_shown(BAR));
    }
}

/// A shell with job control on the terminal, which does this with `run`.
fn by_shell(project: &tempfile::TempDir, script: &str) -> Session {
    let own = command(project.path(), &[]);
    let argv: Vec<String> = own
        .get_argv()
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut command = own;
    let text = format!("set -m; run() {{ {} run; }}\n{script}", argv.join(" "));
    *command.get_argv_mut() = ["bash", "-c", &text].map(Into::into).into();
    Session::start(command, 80, 24)
}

#[test]
fn a_run_in_the_background_leaves_the_terminal_alone() {
    let project = waiting();
    // Longer than it takes to draw for the first time.
    let body = "for i in $(seq 40); do echo \"line $i\"; sleep 0.01; done; until [ -e go ]; do sleep 0.01; done";
    script(project.path(), "a", body);
    let mut session = by_shell(
        &project,
        "run & until [ -e go ]; do sleep 0.01; done; wait; echo over",
    );
    session.until_text("line 40");
    assert!(session.is_given_back());
    go(&project);
    session.until_text("over");
    assert_eq!(session.end().exit_code(), 0);
    assert!(!session.has_shown(BAR));
}

#[test]
fn a_run_that_comes_to_the_foreground_takes_it() {
    let project = waiting();
    let mut session = by_shell(
        &project,
        "run & until [ -e fg ]; do sleep 0.01; done; fg; echo over",
    );
    session.until_text("begun");
    assert!(!session.has_shown(BAR));
    std::fs::write(project.path().join("fg"), "").unwrap();
    session.until_text(BAR);
    session.press("o");
    session.until_text("output of a so far");
    go(&project);
    session.until_text("over");
    assert_eq!(session.end().exit_code(), 0);
    assert!(session.is_given_back());
}

#[test]
fn a_replay_has_no_terminal_to_ask_on() {
    let project = waiting();
    let asks = "if (echo password >/dev/tty; read -r answer </dev/tty); then exit 3; fi\n\
                sleep 600 & echo alone";
    script(project.path(), "a", asks);
    let mut session = run(&project, &[], &[]);
    assert_eq!(session.end().exit_code(), 0);
    session.until_text("2 passed");
    session.until_text("alone");
    // Its session is no way out of the run.
    session.until_text("sleep 600");
    assert!(session.text().contains("/dev/tty: "), "{}", session.text());
}
