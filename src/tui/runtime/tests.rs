//! The whole loop with a made-up terminal, on tokio's paused clock: no test waits for real.

mod recorded;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use ratatui::layout::Size;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Ask, Back, FRAME, Front, run};
use crate::bootstrap::Context;
use crate::config::Config;
use crate::domain::link::Link;
use crate::domain::run::Signal;
use crate::domain::scope::{Asker, Scope};
use crate::engine::fake::{Call, FakeContainer, FakeEngine, Operation, Step};
use crate::engine::{EngineError, ErrorKind};
use crate::process::Controller;
use crate::tui::effect::{Effect, Target};
use crate::tui::fixtures::{connected, fresh, info, keys, line, now, scope, screen, setup};
use crate::tui::msg::{Msg, Taken};
use crate::tui::perform::Performer;
use crate::tui::state::State;

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Frame(Instant, String),
    Suspended,
    Copied(String),
    Lent(PathBuf),
}

/// How long the pager of the tests is open.
const PAGED: Duration = Duration::from_secs(60);

/// Keys come from a channel; frames are kept.
struct Screen {
    keys: mpsc::UnboundedReceiver<Msg>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Nothing can be drawn any more.
    broken: Arc<AtomicBool>,
}

impl Front for Screen {
    async fn next(&mut self) -> Option<io::Result<Msg>> {
        self.keys.recv().await.map(Ok)
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("the terminal has gone"));
        }
        let frame = Seen::Frame(Instant::now(), screen(state));
        self.seen.lock().unwrap().push(frame);
        Ok(())
    }

    fn redraw(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn let_go(&mut self) {}

    fn copy(&mut self, text: &str) -> io::Result<()> {
        self.seen
            .lock()
            .unwrap()
            .push(Seen::Copied(text.to_owned()));
        Ok(())
    }

    fn set_mouse(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn lend(&mut self, file: PathBuf) -> BoxFuture<'static, Result<(), String>> {
        self.seen.lock().unwrap().push(Seen::Lent(file));
        sleep(PAGED).map(|()| Err("no pager".to_owned())).boxed()
    }

    fn take_back(&mut self) -> io::Result<Size> {
        Ok(Size {
            width: 70,
            height: 20,
        })
    }

    fn suspend(&mut self) -> io::Result<Size> {
        self.seen.lock().unwrap().push(Seen::Suspended);
        Ok(Size {
            width: 60,
            height: 20,
        })
    }
}

/// Keeps the effects and does nothing.
#[derive(Default)]
struct Notes {
    effects: Vec<Effect>,
    pauses: usize,
}

impl Back for Notes {
    fn perform(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn pause(&mut self, meanwhile: &mut dyn FnMut()) {
        self.pauses += 1;
        meanwhile();
    }
}

/// What a test does while the loop runs.
struct Hands {
    keys: mpsc::UnboundedSender<Msg>,
    messages: mpsc::Sender<Msg>,
    asks: mpsc::UnboundedSender<Ask>,
    seen: Arc<Mutex<Vec<Seen>>>,
    broken: Arc<AtomicBool>,
}

impl Hands {
    fn break_terminal(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn ask(&self, signal: Signal) {
        self.asks.send(Ask::End(signal)).unwrap();
    }

    async fn end_run(&self) {
        let ended = Msg::RunEnded { problem: None };
        self.messages.send(ended).await.unwrap();
    }

    fn press(&self, text: &str) {
        for key in keys(text) {
            self.keys.send(key).unwrap();
        }
    }

    fn frames(&self) -> Vec<(Instant, String)> {
        let seen = self.seen.lock().unwrap();
        let frames = seen.iter().filter_map(|seen| match seen {
            Seen::Frame(at, text) => Some((*at, text.clone())),
            _ => None,
        });
        frames.collect()
    }

    fn last(&self) -> String {
        self.frames()
            .pop()
            .map(|(_, text)| text)
            .unwrap_or_default()
    }

    /// Waits on the paused clock until a frame says something.
    async fn until(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.last().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in\n{}", self.last());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Runs the loop beside what the test does; the loop must end, or the test must end first.
async fn with_loop<B: Back, T>(
    state: &mut State,
    back: &mut B,
    channel: (mpsc::Sender<Msg>, &mut mpsc::Receiver<Msg>),
    test: impl AsyncFnOnce(&Hands) -> T,
) -> Option<T> {
    match race(state, back, channel, test).await {
        Ok(result) => Some(result),
        Err(ended) => {
            ended.unwrap();
            None
        }
    }
}

/// What the test gives; the loop's end, if that comes first.
async fn race<B: Back, T>(
    state: &mut State,
    back: &mut B,
    channel: (mpsc::Sender<Msg>, &mut mpsc::Receiver<Msg>),
    test: impl AsyncFnOnce(&Hands) -> T,
) -> Result<T, io::Result<()>> {
    let (keys, pressed) = mpsc::unbounded_channel();
    let (asks, asked) = mpsc::unbounded_channel();
    let seen = Arc::default();
    let broken = Arc::default();
    let mut front = Screen {
        keys: pressed,
        seen: Arc::clone(&seen),
        broken: Arc::clone(&broken),
    };
    let hands = Hands {
        keys,
        messages: channel.0,
        asks,
        seen,
        broken,
    };
    let start = Instant::now();
    let clock = move || now().checked_add(start.elapsed()).unwrap();
    let asked = Box::pin(stream::unfold(asked, |mut asked| async move {
        asked.recv().await.map(|ask| (ask, asked))
    }));
    let running = run(state, &mut front, back, channel.1, asked, clock);
    tokio::select! {
        biased;
        ended = running => Err(ended),
        result = test(&hands) => Ok(result),
    }
}

async fn alone<T>(
    state: &mut State,
    back: &mut Notes,
    test: impl AsyncFnOnce(&Hands) -> T,
) -> Option<T> {
    let (messages, mut received) = mpsc::channel(64);
    with_loop(state, back, (messages, &mut received), test).await
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_drawn_thirty_times_a_second() {
    let mut state = connected(80, 24);
    let frames = alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        for n in 0..2000 {
            let record = line("tenant_tenant_1", 5000 - n, "x");
            hands.messages.send(Msg::Logs(vec![record])).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        hands.frames()
    })
    .await
    .unwrap();
    assert!((55..=70).contains(&frames.len()), "{}", frames.len());
    // But for the first ones, which may run ahead.
    for pair in frames[5..].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= FRAME);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_pause_is_drawn_at_once() {
    let mut state = connected(80, 24);
    alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        for n in 0..10 {
            sleep(Duration::from_millis(150)).await;
            for text in ["first", "second"] {
                let told = Instant::now();
                let text = format!("{text} {n}");
                let record = line("tenant_tenant_1", 5000 - n, &text);
                hands.messages.send(Msg::Logs(vec![record])).await.unwrap();
                hands.until(&text).await;
                let frames = hands.frames();
                let (drawn, _) = frames.iter().find(|(_, all)| all.contains(&text)).unwrap();
                assert!(*drawn - told < FRAME / 4, "{:?}", *drawn - told);
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_is_drawn_at_once_also_in_a_flood() {
    let mut state = connected(80, 24);
    alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        for n in 0..20 {
            // Between two frames, with more messages waiting than fit into the channel.
            sleep(Duration::from_millis(7)).await;
            let record = line("tenant_tenant_1", 5000 - n, "x");
            while hands
                .messages
                .try_send(Msg::Logs(vec![record.clone()]))
                .is_ok()
            {}
            let pressed = Instant::now();
            hands.press(if n % 2 == 0 { "?" } else { "<esc>" });
            tokio::task::yield_now().await;
            let (at, text) = hands.frames().pop().unwrap();
            assert_eq!(at, pressed);
            assert_eq!(text.contains("Help: "), n % 2 == 0, "{text}");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_keys_is_one_frame() {
    let mut state = connected(80, 24);
    alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        sleep(Duration::from_millis(100)).await;
        let before = hands.frames().len();
        hands.press(&"j".repeat(40));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(hands.frames().len(), before + 1);
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_nothing_happens_only_the_clock_is_drawn() {
    let mut state = connected(80, 24);
    let frames = alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        sleep(Duration::from_secs(10)).await;
        hands.frames()
    })
    .await
    .unwrap();
    assert!((10..=12).contains(&frames.len()), "{}", frames.len());
    for (second, (_, text)) in frames.iter().enumerate() {
        assert!(text.contains(&format!("12:03:{}", 44 + second)), "{text}");
    }
}

/// Finds what is sought, and takes a while to tell.
struct Seeker {
    messages: mpsc::Sender<Msg>,
}

impl Back for Seeker {
    fn perform(&mut self, effect: Effect) {
        let Effect::Scan(job) = effect else { return };
        let messages = self.messages.clone();
        let mut answers = Vec::new();
        job.run(|found| {
            answers.push(found);
            ControlFlow::Continue(())
        });
        tokio::spawn(async move {
            for found in answers {
                sleep(Duration::from_millis(500)).await;
                messages.send(Msg::Found(found)).await.unwrap();
            }
        });
    }

    fn pause(&mut self, meanwhile: &mut dyn FnMut()) {
        meanwhile();
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_through_much_does_not_keep_a_key_waiting() {
    let mut state = connected(80, 24);
    let lines = (0..70_000)
        .map(|n| line("tenant_tenant_1", 100_000 - n, "needle"))
        .collect();
    crate::tui::update::update(&mut state, Msg::Logs(lines));
    let (messages, mut received) = mpsc::channel(64);
    let mut seeker = Seeker {
        messages: messages.clone(),
    };
    let channel = (messages, &mut received);
    with_loop(&mut state, &mut seeker, channel, async |hands: &Hands| {
        hands.press("2/needl");
        hands.until("0… lines match").await;
        let typed = Instant::now();
        hands.press("e");
        hands.until("/needle").await;
        assert!(typed.elapsed() < FRAME);
        hands.until("70000 lines match").await;
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_a_pager_has_the_terminal_everything_else_goes_on() {
    let mut state = connected(80, 24);
    alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        sleep(Duration::from_millis(100)).await;
        let path = PathBuf::from("/nowhere/x.log");
        let done = Taken::Done {
            path: path.clone(),
            lines: 1,
        };
        hands
            .messages
            .send(Msg::Taken(Target::Pager, done))
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(hands.seen.lock().unwrap().contains(&Seen::Lent(path)));
        let before = hands.frames().len();
        // More than the channel holds: they are taken in, and nothing is drawn over the pager.
        for n in 0..500 {
            let record = line("tenant_tenant_1", 5000 - n, "meanwhile");
            hands.messages.send(Msg::Logs(vec![record])).await.unwrap();
        }
        hands.press("2");
        sleep(PAGED / 2).await;
        assert_eq!(hands.frames().len(), before);
        hands.until("no pager").await;
        hands.until("meanwhile").await;
        assert_eq!(hands.last().lines().next().unwrap().chars().count(), 72);
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn quitting_ends_the_loop() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    let ended = alone(&mut state, &mut notes, async |hands: &Hands| {
        hands.press("q");
        sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(ended.await, None);
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_what_runs_first() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    let ended = alone(&mut state, &mut notes, async |hands: &Hands| {
        hands.press("u");
        sleep(Duration::from_millis(1)).await;
        hands.ask(Signal::Terminate);
        sleep(Duration::from_millis(50)).await;
        hands.end_run().await;
        sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(ended.await, None);
    let started = |effect: &Effect| matches!(effect, Effect::Start(_));
    assert!(notes.effects.iter().any(started));
    assert_eq!(notes.effects.last(), Some(&Effect::Hurry));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_hurries_what_runs_and_waits_for_it() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    let (messages, mut received) = mpsc::channel(64);
    let channel = (messages, &mut received);
    with_loop(&mut state, &mut notes, channel, async |hands: &Hands| {
        hands.press("u");
        sleep(Duration::from_millis(1)).await;
        hands.ask(Signal::Hangup);
        hands.ask(Signal::Hangup);
        sleep(Duration::from_secs(600)).await;
    })
    .await
    .unwrap();
    notes
        .effects
        .retain(|effect| matches!(effect, Effect::Hurry | Effect::Kill | Effect::Cancel));
    assert_eq!(notes.effects, [Effect::Hurry, Effect::Hurry]);
}

/// A window that is closed: the signal comes, and from then on every frame fails.
#[tokio::test(start_paused = true)]
async fn a_hang_up_brings_what_runs_to_its_end() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    let (messages, mut received) = mpsc::channel(64);
    let mut waited = false;
    let channel = (messages, &mut received);
    let ended = race(&mut state, &mut notes, channel, async |hands: &Hands| {
        hands.press("u");
        sleep(Duration::from_millis(1)).await;
        hands.break_terminal();
        hands.ask(Signal::Hangup);
        sleep(Duration::from_secs(600)).await;
        waited = true;
        hands.end_run().await;
        sleep(Duration::from_secs(5)).await;
    })
    .await;
    assert!(waited, "the loop ended before the run did");
    assert!(matches!(ended, Err(Ok(()))), "{ended:?}");
    assert!(notes.effects.contains(&Effect::Hurry));
    assert!(!notes.effects.contains(&Effect::Kill));
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_breaks_is_an_error_after_what_runs_has_ended() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    let (messages, mut received) = mpsc::channel(64);
    let mut waited = false;
    let channel = (messages, &mut received);
    let ended = race(&mut state, &mut notes, channel, async |hands: &Hands| {
        hands.press("u");
        sleep(Duration::from_millis(1)).await;
        hands.break_terminal();
        sleep(Duration::from_secs(600)).await;
        waited = true;
        hands.end_run().await;
        sleep(Duration::from_secs(5)).await;
    })
    .await;
    assert!(waited, "the loop ended before the run did");
    assert!(matches!(ended, Err(Err(_))), "{ended:?}");
    assert!(notes.effects.contains(&Effect::Hurry));
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_has_gone_ends_the_loop() {
    let mut state = connected(80, 24);
    let (keys, pressed) = mpsc::unbounded_channel();
    drop(keys);
    let mut front = Screen {
        keys: pressed,
        seen: Arc::default(),
        broken: Arc::default(),
    };
    let (_messages, mut received) = mpsc::channel(1);
    let mut notes = Notes::default();
    let asks = stream::pending();
    let ended = run(&mut state, &mut front, &mut notes, &mut received, asks, now).await;
    assert!(ended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_suspension_pauses_what_runs_and_comes_back_in_the_new_size() {
    let mut state = connected(80, 24);
    let mut notes = Notes::default();
    alone(&mut state, &mut notes, async |hands: &Hands| {
        hands.press("<ctrl-z>");
        sleep(Duration::from_millis(1)).await;
        hands.asks.send(Ask::Suspend).unwrap();
        sleep(Duration::from_millis(100)).await;
        let seen = hands.seen.lock().unwrap();
        assert_eq!(
            seen.iter().filter(|seen| **seen == Seen::Suspended).count(),
            2
        );
    })
    .await
    .unwrap();
    assert_eq!(notes.pauses, 2);
    assert_eq!(
        state.area,
        Size {
            width: 60,
            height: 20
        }
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_copied_reaches_the_terminal() {
    let mut state = connected(80, 24);
    alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
        hands.press("y");
        sleep(Duration::from_millis(1)).await;
        let seen = hands.seen.lock().unwrap();
        assert!(seen.contains(&Seen::Copied("tenant".to_owned())));
    })
    .await
    .unwrap();
}

// With the fake engine.

fn context(engine: &FakeEngine, directory: &std::path::Path, scope: Scope) -> Arc<Context> {
    let mut config = Config::without_file(directory);
    config.scope = scope;
    Arc::new(Context {
        guard: None,
        config: Arc::new(config),
        engine: Arc::new(engine.clone()),
        controller: Controller::default(),
        recording: None,
    })
}

fn integration(name: &str) -> FakeContainer {
    FakeContainer::new(name)
        .label("galaxy.backend", "1")
        .label("galaxy.stack", "integration")
        .script([Step::out("hello\n"), Step::UntilStopped])
}

async fn with_engine(engine: &FakeEngine, test: impl AsyncFnOnce(&Hands)) {
    let directory = tempfile::tempdir().unwrap();
    let context = context(engine, directory.path(), scope());
    let size = Size {
        width: 120,
        height: 40,
    };
    let mut state = State::new(setup(), size, now());
    let (mut performer, mut received) = Performer::start(context);
    let (unused, _) = mpsc::channel(1);
    with_loop(&mut state, &mut performer, (unused, &mut received), test)
        .await
        .unwrap();
    performer.finish(stream::pending()).await;
}

#[tokio::test(start_paused = true)]
async fn containers_and_their_logs_arrive() {
    let engine = FakeEngine::new();
    let first = engine.run(integration("engine-a"));
    engine.run(FakeContainer::new("somebody-elses"));
    with_engine(&engine, async |hands: &Hands| {
        hands.until("engine-a").await;
        hands.until("hello").await;
        assert!(!hands.last().contains("somebody-elses"));
        engine.line(&first, "GET /health 200");
        hands.until("GET /health 200").await;
        engine.run(integration("engine-b"));
        hands.until("engine-b").await;
        engine.die(&first, 137);
        hands.until("exit 137").await;
        hands.until("exited · code 137").await;
    })
    .await;
    let usage = |call: &Call| matches!(call, Call::Usage(id) if *id == first);
    assert!(engine.calls().iter().any(usage));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_shown_and_heals() {
    let engine = FakeEngine::new();
    let id = engine.run(integration("engine-a"));
    with_engine(&engine, async |hands: &Hands| {
        hands.until("hello").await;
        engine.break_down(EngineError::new(ErrorKind::Unreachable, "nothing answers"));
        hands.until("lost, retry in").await;
        let text = hands.last();
        assert!(
            text.contains("nothing answers") && text.contains("stale: as of"),
            "{text}"
        );
        assert!(
            text.contains("engine-a"),
            "the last known list stays\n{text}"
        );
        engine.heal();
        engine.line(&id, "after the outage");
        hands.until("after the outage").await;
        hands.until("● ").await;
        assert!(!hands.last().contains("stale"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_line_of_a_burst_is_lost() {
    let engine = FakeEngine::new();
    let id = engine.run(integration("engine-a"));
    with_engine(&engine, async |hands: &Hands| {
        hands.until("hello").await;
        for n in 0..20_000 {
            engine.line(&id, &format!("number {n}"));
        }
        hands.until("number 19999").await;
        hands.press("2/number [0-9]+$");
        hands.until("20000 lines match").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_changed_unseen_is_refused() {
    let engine = FakeEngine::new();
    engine.run(integration("engine-a"));
    with_engine(&engine, async |hands: &Hands| {
        hands.until("engine-a").await;
        hands.press("T");
        hands.until("type integration to confirm").await;
        // Nobody tells the watcher, so the dialog still shows what was.
        engine.swallow_next_event();
        engine.create(integration("engine-b"));
        hands.press("integration<enter>");
        hands.until("the plan changed").await;
    })
    .await;
    let removed = |call: &Call| matches!(call, Call::RemoveContainer(_) | Call::Stop(..));
    assert!(!engine.calls().iter().any(removed));
}

#[tokio::test(start_paused = true)]
async fn a_protected_stack_is_refused_without_asking_the_engine() {
    let engine = FakeEngine::new();
    engine.run(
        FakeContainer::new("engine-d")
            .label("galaxy.backend", "1")
            .label("galaxy.stack", "dev-deploy"),
    );
    with_engine(&engine, async |hands: &Hands| {
        hands.until("engine-d").await;
        hands.press("jjT");
        hands.until("Nothing will be removed").await;
        assert!(hands.last().contains("It is protected"), "{}", hands.last());
    })
    .await;
    let planned = |call: &Call| matches!(call, Call::Networks(_) | Call::Volumes(_));
    assert!(!engine.calls().iter().any(planned));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_never_up_says_why() {
    let engine = FakeEngine::new();
    engine.break_down(
        EngineError::new(ErrorKind::Denied, "permission denied").hinted("join the docker group"),
    );
    with_engine(&engine, async |hands: &Hands| {
        hands
            .until("permission denied; join the docker group")
            .await;
    })
    .await;
    let mut state = fresh(80, 24);
    crate::tui::update::update(&mut state, Msg::Link(Link::Up(info())));
    assert!(!screen(&state).contains("permission"));
}

/// What is drawn depends on the messages alone.
#[tokio::test(start_paused = true)]
async fn equal_sessions_look_equal() {
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let mut state = connected(80, 24);
        let seen = alone(&mut state, &mut Notes::default(), async |hands: &Hands| {
            hands.press("jj ");
            sleep(Duration::from_secs(3)).await;
            hands.frames()
        })
        .await
        .unwrap();
        let texts: Vec<String> = seen.into_iter().map(|(_, text)| text).collect();
        sessions.push(texts);
    }
    assert_eq!(sessions[0], sessions[1]);
}

/// The engine takes longer for one removal than anybody would wait for a child.
#[tokio::test(start_paused = true)]
async fn a_teardown_that_is_under_way_is_waited_for() {
    let engine = FakeEngine::new();
    engine.run(integration("engine-a"));
    let directory = tempfile::tempdir().unwrap();
    let context = context(&engine, directory.path(), scope());
    let plan = context
        .harness()
        .plan(
            "integration",
            &Asker::by_hand(jiff::Timestamp::now(), false),
        )
        .await
        .unwrap();
    let (mut performer, mut received) = Performer::start(context);
    engine.hang(Operation::RemoveContainer);
    performer.perform(Effect::Teardown {
        stack: "integration".into(),
        fingerprint: plan.fingerprint(),
    });
    let removing = |call: &Call| matches!(call, Call::RemoveContainer(_));
    while !engine.calls().iter().any(removing) {
        sleep(Duration::from_millis(5)).await;
    }
    performer.finish(stream::pending()).await;
    let mut ended = false;
    while let Ok(message) = received.try_recv() {
        ended |= matches!(message, Msg::RunEnded { .. });
    }
    assert!(ended, "it was left under way");
}
