//! The signals that we get ourselves.

use std::io;

use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::control::Controller;
use crate::domain::run::Signal;

/// Turns signals to this process into requests, until dropped with the runtime.
///
/// `interactive`: a person's terminal sends INT, so a second one is a second Ctrl-C. Elsewhere
/// a second INT comes from a program and only hurries.
///
/// `suspend` is given what stops this process as Ctrl-Z would, and returns when it is continued: a
/// terminal may have to be given back for that time.
///
/// # Errors
///
/// Fails where the handlers cannot be installed.
pub fn listen(
    controller: Controller,
    interactive: bool,
    suspend: impl Fn(fn()) + Send + Sync + 'static,
) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // nohup ignores it, and means it.
    let mut hangup = if is_ignored(signal_hook::consts::SIGHUP) {
        None
    } else {
        Some(signal(SignalKind::hangup())?)
    };
    let mut quit = signal(SignalKind::quit())?;
    let mut stop = signal(SignalKind::from_raw(signal_hook::consts::SIGTSTP))?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {
                    if interactive {
                        controller.press(Signal::Interrupt);
                    } else {
                        controller.request(Signal::Interrupt);
                    }
                }
                _ = terminate.recv() => controller.request(Signal::Terminate),
                _ = quit.recv() => controller.request(Signal::Quit),
                () = next(&mut hangup) => controller.request(Signal::Hangup),
                _ = stop.recv() => controller.pause(|| suspend(stop_here)),
            }
        }
    });
    Ok(())
}

/// Waits for a signal that asks this process to end. From the call on they end it no more by
/// themselves: whoever calls cleans up and dies of what this gives.
///
/// # Errors
///
/// Fails where the handlers cannot be installed.
pub fn end_asked() -> io::Result<impl Future<Output = Signal> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hangup = if is_ignored(signal_hook::consts::SIGHUP) {
        None
    } else {
        Some(signal(SignalKind::hangup())?)
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
            _ = quit.recv() => Signal::Quit,
            () = next(&mut hangup) => Signal::Hangup,
        }
    })
}

async fn next(stream: &mut Option<Signals>) {
    match stream {
        Some(stream) => {
            stream.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether whoever started us has a signal ignored. Where there is no `/proc` none is.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Stops this process as Ctrl-Z would, and returns when it is continued. The signal goes to this
/// thread: one that goes to the process may be taken by another thread, and this one would go on
/// for a moment.
fn stop_here() {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP);
}

/// Ends this process by the signal that it was asked to end by, so that a shell sees 130, 143,
/// 129 or 131 and stops its own script too. Returns only if that is impossible.
pub fn die_of(asked: Signal) {
    let number = match asked {
        Signal::Interrupt => signal_hook::consts::SIGINT,
        Signal::Terminate => signal_hook::consts::SIGTERM,
        Signal::Hangup => signal_hook::consts::SIGHUP,
        Signal::Quit => signal_hook::consts::SIGQUIT,
        Signal::Kill => signal_hook::consts::SIGKILL,
    };
    let _ = signal_hook::low_level::emulate_default_handler(number);
}
