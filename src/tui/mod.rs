//! The dashboard: a pure core in an async shell.
//!
//! [`update::update`] decides what a message means: it is synchronous, reads no clock and does no
//! I/O; what shall happen it returns as [`effect::Effect`]s. [`view::view`] draws the state and
//! changes nothing. [`layout::layout`] is shared by both, so that a click and a page mean what is
//! on the screen.

pub mod effect;
mod files;
#[cfg(test)]
mod fixtures;
mod input;
pub mod keymap;
pub mod layout;
pub mod msg;
mod outputs;
mod perform;
mod runtime;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Once};

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::perform::Performer;
use self::runtime::Ask;
use self::state::{Setup, State};
use self::terminal::Tty;
use self::theme::Theme;
use self::update::show_recording;
use crate::bootstrap::Context;
use crate::domain::exit::Exit;
use crate::domain::run::Signal;
use crate::replay::Policy;

/// The dashboard cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows the dashboard until the user or the system wants an end, and gives the exit code of the
/// session's last run. `color` is whether colours may be used.
///
/// A signal that ended it is left in the context's controller, for the process to die of.
///
/// # Errors
///
/// Fails where the terminal cannot be used, at the start or later.
pub async fn run(context: Arc<Context>, color: bool) -> Result<Exit, Error> {
    keep_diagnostics();
    let mut asks = asks(&context)?;
    let mut tty = Tty::open()?;
    // First: the engine answers while we look up the time zone.
    let (mut performer, mut messages) = Performer::start(context.clone());
    let clock = clock(&context);
    let mut state = State::new(setup(&context, color), tty.size(), clock());
    if let Some(opened) = &context.recording {
        show_recording(&mut state, opened.clone());
    }
    let ended = runtime::run(
        &mut state,
        &mut tty,
        &mut performer,
        &mut messages,
        &mut asks,
        clock,
    )
    .await;
    tty.close();
    // Nobody reads any more: what still runs must not wait for that.
    drop(messages);
    performer.finish(asks).await;
    if ended.as_ref().is_err_and(is_hang_up) {
        // Its signal may still be on the way.
        context.controller.request(Signal::Hangup);
    }
    ended?;
    Ok(state.exit())
}

/// In a recording the time goes on from the end of the run: `10m` ago is counted from there.
fn clock(context: &Context) -> impl Fn() -> Timestamp + use<> {
    let opened = Timestamp::now();
    let start = context.now();
    let is_recording = context.recording.is_some();
    move || {
        let now = Timestamp::now();
        if !is_recording {
            return now;
        }
        let passed = now.duration_since(opened);
        start.checked_add(passed).unwrap_or(start)
    }
}

/// What the kernel answers on a terminal that was closed.
fn is_hang_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn setup(context: &Context, color: bool) -> Setup {
    let config = &context.config;
    Setup {
        name: config.name.clone(),
        scope: config.scope.clone(),
        harness: match &context.recording {
            Some(opened) => opened.recording.harness.clone(),
            None => config.harness_stacks().to_vec(),
        },
        has_hooks: config.harness.is_some(),
        zone: TimeZone::system(),
        theme: Theme::new(color),
        policy: Policy::of(&config.replays),
        no_clipboard: terminal::has_no_clipboard(|name| std::env::var(name).ok()),
        log_budget: usize::try_from(config.log_budget).unwrap_or(usize::MAX),
    }
}

/// What the system asks of us, by signals. Ctrl-C and Ctrl-Z are keys while the terminal is ours.
fn asks(context: &Arc<Context>) -> io::Result<Pin<Box<dyn Stream<Item = Ask> + Send>>> {
    // Before anybody can hear of them.
    terminal::note_keys()?;
    let mut streams = Vec::new();
    for (kind, ask) in [
        (SignalKind::interrupt(), Some(Signal::Interrupt)),
        (SignalKind::terminate(), Some(Signal::Terminate)),
        (SignalKind::hangup(), Some(Signal::Hangup)),
        (SignalKind::quit(), Some(Signal::Quit)),
        (SignalKind::from_raw(signal_hook::consts::SIGTSTP), None),
    ] {
        let context = context.clone();
        let received = stream::unfold(signal(kind)?, |mut signal| async move {
            signal.recv().await.map(|()| ((), signal))
        });
        let received = received.filter(move |()| {
            let is_key = matches!(ask, Some(Signal::Interrupt | Signal::Quit));
            std::future::ready(!(is_key && terminal::is_pagers()))
        });
        streams.push(
            received
                .map(move |()| match ask {
                    Some(signal) => {
                        context.controller.request(signal);
                        Ask::End(signal)
                    }
                    None => Ask::Suspend,
                })
                .boxed(),
        );
    }
    Ok(stream::select_all(streams).boxed())
}

/// Our own log goes to the Diagnostics screen: there is no other place for it.
fn keep_diagnostics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without its `init_logger`, whose thread looks for news a hundred times a second: what is
        // new is taken over when a frame is drawn.
        tui_logger::set_default_level(tui_logger::LevelFilter::Info);
        // It fails only where somebody else logs already, and then that is where it goes.
        let layer = tui_logger::TuiTracingSubscriberLayer;
        let _ = tracing_subscriber::registry().with(layer).try_init();
    });
}
