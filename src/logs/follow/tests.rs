//! The follower on the fake engine, on paused time.
//!
//! The fake loses the unterminated last line of every followed log, as real engines do in half
//! of the cases.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::follow;
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, Mark, Part, SourceId};
use crate::domain::selector::Selector;
use crate::engine::fake::{Call, FakeContainer, FakeEngine, Operation, Step};
use crate::engine::{Engine, EngineError, ErrorKind, Stream as EngineStream, Tail};
use crate::logs::{FollowEvent, FollowInput, FollowOptions, LogEvent, singly};

/// A follower with a watcher of the simplest kind: the tests say when it looks.
struct Bench {
    engine: FakeEngine,
    inputs: Option<mpsc::Sender<FollowInput>>,
    events: EngineStream<EngineEvent>,
    told: Pin<Box<dyn Stream<Item = LogEvent> + Send>>,
}

const EVERYTHING: FollowOptions = FollowOptions {
    tail: Tail::All,
    whole_groups: false,
    new_from_start: false,
    since: None,
    follow: true,
};

fn source(name: &str) -> SourceId {
    SourceId(name.into())
}

fn member(name: &str) -> FakeContainer {
    FakeContainer::new(name).label("family", "1")
}

impl Bench {
    async fn new(engine: &FakeEngine, options: FollowOptions) -> Self {
        let (inputs, received) = mpsc::channel(64);
        let bench = Self {
            engine: engine.clone(),
            inputs: Some(inputs),
            events: engine.events().await.unwrap(),
            told: Box::pin(singly(follow(Arc::new(engine.clone()), received, options))),
        };
        bench.look().await;
        bench
    }

    /// With one source, selected from the start.
    async fn following(engine: &FakeEngine, name: &str) -> Self {
        let bench = Self::new(engine, EVERYTHING).await;
        bench.select(&[name]).await;
        bench
    }

    async fn input(&self, input: FollowInput) {
        self.inputs.as_ref().unwrap().send(input).await.unwrap();
    }

    async fn select(&self, names: &[&str]) {
        let sources: BTreeSet<SourceId> = names.iter().map(|name| source(name)).collect();
        self.input(FollowInput::Select(sources)).await;
    }

    /// Tells the follower what the engine lists, and leaves events out.
    async fn look(&self) {
        let all = Selector::from_conditions(["family=1".parse().unwrap()]).unwrap();
        if let Ok(listed) = self.engine.list(&all).await {
            self.input(FollowInput::Containers(listed.into())).await;
        }
    }

    /// Tells the follower everything that happened.
    async fn watch(&mut self) {
        while let Ok(Some(Ok(event))) = timeout(Duration::ZERO, self.events.next()).await {
            self.input(FollowInput::Event(event)).await;
        }
        self.look().await;
    }

    async fn next_event(&mut self) -> LogEvent {
        timeout(Duration::from_secs(120), self.told.next())
            .await
            .expect("nothing is told any more")
            .expect("the stream ended")
    }

    async fn next(&mut self) -> String {
        text(&self.next_event().await)
    }

    async fn expect(&mut self, wanted: &[&str]) {
        for wanted in wanted {
            assert_eq!(self.next().await, *wanted);
        }
    }

    /// As [`Self::expect`], and each at its place in the engine's time.
    async fn expect_in_order(&mut self, wanted: &[&str]) {
        let mut last = None;
        for wanted in wanted {
            let event = self.next_event().await;
            assert_eq!(text(&event), *wanted);
            let at = event.at();
            assert!(
                Some(at) >= last && at <= self.engine.now(),
                "{wanted}: {at}"
            );
            last = Some(at);
        }
    }

    async fn quiet(&mut self) {
        if let Ok(event) = timeout(Duration::from_secs(300), self.told.next()).await {
            panic!("told without need: {event:?}");
        }
    }

    /// Closes the inputs and returns what is told up to the end.
    async fn close(mut self) -> Vec<String> {
        self.inputs = None;
        let rest = self.told.map(|event| text(&event)).collect();
        timeout(Duration::from_secs(120), rest)
            .await
            .expect("the stream does not end")
    }
}

fn text(event: &LogEvent) -> String {
    match event {
        LogEvent::Line { line, .. } => {
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            match line.channel {
                Channel::Out => text,
                Channel::Err => format!("err {text}"),
            }
        }
        LogEvent::Mark { mark, .. } => match mark {
            Mark::Exited { code, oom } => {
                let code = code.map_or("?".to_owned(), |code| code.to_string());
                format!("-- exited {code}{}", if *oom { " oom" } else { "" })
            }
            Mark::Restarted => "-- restarted".to_owned(),
            Mark::Recreated => "-- recreated".to_owned(),
            Mark::Removed => "-- removed".to_owned(),
            Mark::Interrupted { cause } => format!("-- interrupted: {cause}"),
            Mark::Resumed => "-- resumed".to_owned(),
            Mark::Gap { from, to } => format!("-- gap of {}", to.duration_since(*from)),
            Mark::Unreadable { cause } => format!("-- unreadable: {cause}"),
        },
    }
}

fn refused() -> EngineError {
    EngineError::new(ErrorKind::Unreachable, "refused")
}

fn tails(engine: &FakeEngine) -> Vec<Tail> {
    let calls = engine.calls();
    calls
        .iter()
        .filter_map(|call| match call {
            // Comparing a silent stream with its log is none of it.
            Call::Logs(_, request) if request.follow || request.tail != Tail::Last(1) => {
                Some(request.tail)
            }
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn old_lines_come_first_and_new_ones_as_they_are_written() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "old");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["old"]).await;
    engine.line(&id, "new");
    engine.write(&id, Channel::Err, b"bad\n");
    bench.expect(&["new", "err bad"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_is_selected_is_read() {
    let engine = FakeEngine::new();
    let a = engine.run(member("a"));
    let b = engine.run(member("b"));
    engine.line(&a, "from a");
    engine.line(&b, "from b");
    let mut bench = Bench::following(&engine, "b").await;
    bench.expect(&["from b"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn the_tail_is_what_is_read_first() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    for number in 0..9 {
        engine.line(&id, &number.to_string());
    }
    let options = FollowOptions {
        tail: Tail::Last(2),
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a"]).await;
    bench.expect(&["7", "8"]).await;
    engine.line(&id, "9");
    bench.expect(&["9"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_tail_of_none_begins_with_the_next_line() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let empty = engine.run(member("empty"));
    engine.write(&id, Channel::Err, b"old\n");
    engine.line(&id, "old");
    let options = FollowOptions {
        tail: Tail::Last(0),
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a", "empty"]).await;
    bench.quiet().await;
    engine.line(&id, "new");
    bench.expect(&["new"]).await;
    engine.line(&empty, "first");
    bench.expect(&["first"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_an_empty_log_is_new() {
    let engine = FakeEngine::new();
    let id = engine.create(member("a").script([Step::out("up\n"), Step::UntilStopped]));
    let options = FollowOptions {
        tail: Tail::Last(0),
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a"]).await;
    bench.quiet().await;
    engine.start(&id);
    bench.watch().await;
    bench.expect(&["up"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_new_is_read_from_its_beginning() {
    let engine = FakeEngine::new();
    let old = engine.run(member("old"));
    engine.line(&old, "before");
    let options = FollowOptions {
        tail: Tail::Last(0),
        new_from_start: true,
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.look().await;
    bench.select(&["old"]).await;
    bench.quiet().await;
    let new = engine.run(member("new"));
    engine.line(&new, "first");
    bench.watch().await;
    bench.select(&["old", "new"]).await;
    bench.expect(&["first"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_made_before_the_other_ended_is_marked_after_it() {
    let engine = FakeEngine::new();
    let script = || [Step::out("up\n"), Step::UntilStopped];
    let old = engine.run(member("a").script(script()));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    // As compose does it: made under another name, and renamed when the old one has gone.
    let new = engine.create(member("next_a").script(script()));
    engine.advance(Duration::from_secs(10));
    engine.line(&old, "last words");
    engine.destroy(&old);
    engine.rename(&new, "a");
    engine.start(&new);
    bench.watch().await;
    bench
        .expect_in_order(&[
            "last words",
            "-- exited 137",
            "-- removed",
            "-- recreated",
            "up",
        ])
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_before_since_is_read() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "before, in the same second");
    let since = engine.now();
    engine.line(&id, "after");
    let options = FollowOptions {
        since: Some(since + jiff::SignedDuration::from_micros(1)),
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a"]).await;
    bench.expect(&["after"]).await;
    engine.line(&id, "later");
    bench.expect(&["later"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_line_is_one_line() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    let long = "x".repeat(40_000);
    engine.line(&id, &long);
    engine.line(&id, "short");
    bench.expect(&[&long, "short"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_unterminated_last_line_is_not_lost() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "whole");
    bench.expect(&["whole"]).await;
    engine.write(&id, Channel::Out, b"torn");
    engine.die(&id, 1);
    bench.watch().await;
    bench.expect(&["torn", "-- exited 1"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_marked_between_the_lines_of_both_runs() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    engine.write(&id, Channel::Out, b"torn");
    engine.restart(&id, 137);
    bench.watch().await;
    bench
        .expect(&["torn", "-- exited 137", "-- restarted", "up"])
        .await;
    engine.line(&id, "on");
    bench.expect(&["on"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn the_exit_code_is_waited_for_and_not_for_long() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "x");
    bench.expect(&["x"]).await;
    engine.restart(&id, 137);
    // Nobody tells the follower of the death.
    let began = Instant::now();
    bench.expect(&["-- exited ?", "-- restarted"]).await;
    assert!(began.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_death_by_lack_of_memory_is_marked_so() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.run_out_of_memory(&id);
    // The engine forgets it with the next start; the event does not.
    engine.start(&id);
    bench.watch().await;
    bench.expect(&["-- exited 137 oom", "-- restarted"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_is_read_and_waited_for() {
    let engine = FakeEngine::new();
    let script = [Step::out("run\n"), Step::Exit(3)];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["run", "-- exited 3"]).await;
    bench.quiet().await;
    engine.start(&id);
    bench.watch().await;
    bench.expect(&["-- restarted", "run", "-- exited 3"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_created_container_has_not_ended() {
    let engine = FakeEngine::new();
    let id = engine.create(member("a").script([Step::out("up\n"), Step::UntilStopped]));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.start(&id);
    bench.watch().await;
    bench.expect(&["up"]).await;
}

#[tokio::test(start_paused = true)]
async fn another_container_of_the_name_is_read_from_its_beginning() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let options = FollowOptions {
        tail: Tail::Last(0),
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a"]).await;
    bench.quiet().await;
    let new = engine.recreate(&id).unwrap();
    bench.watch().await;
    bench
        .expect(&["-- exited 137", "-- removed", "-- recreated", "up"])
        .await;
    engine.line(&new, "on");
    bench.expect(&["on"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn marks_stand_among_the_lines_by_the_engine_s_clock() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    engine.recreate(&id).unwrap();
    bench.watch().await;
    bench
        .expect_in_order(&["-- exited 137", "-- removed", "-- recreated", "up"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_container_is_marked_once() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.destroy(&id);
    bench.watch().await;
    bench.expect(&["-- exited 137", "-- removed"]).await;
    bench.look().await;
    bench.quiet().await;
    engine.run(member("a").script([Step::out("new\n"), Step::UntilStopped]));
    bench.watch().await;
    bench.expect(&["-- recreated", "new"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_container_wrote_before_it_was_removed_is_read_to_the_end() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "up");
    bench.expect(&["up"]).await;
    // More than the reader can hand over while nobody takes it.
    for number in 0..5_000 {
        engine.line(&id, &number.to_string());
    }
    engine.die(&id, 3);
    engine.destroy(&id);
    bench.watch().await;
    for number in 0..5_000 {
        bench.expect(&[&number.to_string()]).await;
    }
    bench.expect(&["-- exited 3", "-- removed"]).await;
    bench.quiet().await;
}

const CUT_OFF: &str = "-- interrupted: it was removed before its log had been read to the end";

#[tokio::test(start_paused = true)]
async fn what_ran_only_between_two_looks_is_marked_as_missing() {
    let engine = FakeEngine::new();
    let id = engine.create(member("a").script([Step::out("unseen\n"), Step::Exit(0)]));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.start(&id);
    engine.destroy(&id);
    bench.watch().await;
    bench.expect(&[CUT_OFF, "-- removed"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_is_not_taken_for_the_look_before_its_start() {
    let engine = FakeEngine::new();
    let id = engine.create(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.fail(
        Operation::Logs,
        EngineError::new(ErrorKind::NotFound, "it went"),
    );
    engine.start(&id);
    bench.watch().await;
    bench.quiet().await;
    engine.destroy(&id);
    bench.watch().await;
    bench
        .expect(&["-- exited 137", CUT_OFF, "-- removed"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_between_two_looks_is_missing_in_what_was_read() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    engine.restart(&id, 137);
    engine.destroy(&id);
    bench.watch().await;
    bench
        .expect(&["-- exited 137", CUT_OFF, "-- removed"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_unterminated_last_line_goes_with_its_container_and_is_told() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "up");
    engine.write(&id, Channel::Out, b"panicked");
    bench.expect(&["up"]).await;
    bench.quiet().await;
    engine.die(&id, 3);
    engine.destroy(&id);
    bench.watch().await;
    bench
        .expect(&["panicked", "-- exited 3", "-- removed"])
        .await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_gone_is_asked_for_no_more() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.destroy(&id);
    bench.watch().await;
    bench.expect(&["-- exited 137", "-- removed"]).await;
    engine.break_down(refused());
    assert!(bench.close().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_container_of_the_name_does_not_cut_off_the_one_before() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    for number in 0..5_000 {
        engine.line(&id, &number.to_string());
    }
    engine.recreate(&id).unwrap();
    bench.watch().await;
    for number in 0..5_000 {
        bench.expect(&[&number.to_string()]).await;
    }
    bench
        .expect(&["-- exited 137", "-- removed", "-- recreated", "up"])
        .await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_loses_and_repeats_nothing() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "1");
    engine.line(&id, "2");
    bench.expect(&["1", "2"]).await;
    for _ in 0..3 {
        engine.break_down(refused());
        bench.expect(&["-- interrupted: refused"]).await;
        engine.line(&id, "meanwhile");
        bench.quiet().await;
        engine.heal();
        bench.expect(&["-- resumed", "meanwhile"]).await;
        engine.line(&id, "after");
        bench.expect(&["after"]).await;
    }
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_restarted_during_an_outage_is_marked() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["up"]).await;
    engine.break_down(refused());
    bench.expect(&["-- interrupted: refused"]).await;
    engine.write(&id, Channel::Out, b"torn");
    engine.restart(&id, 1);
    engine.heal();
    bench.look().await;
    bench
        .expect(&["-- resumed", "torn", "-- exited ?", "-- restarted", "up"])
        .await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_larger_than_the_window_is_still_read_whole() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "before");
    engine.line(&id, "last");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["before", "last"]).await;
    engine.break_down(refused());
    bench.expect(&["-- interrupted: refused"]).await;
    for number in 0..1_500 {
        engine.line(&id, &number.to_string());
    }
    engine.heal();
    bench.expect(&["-- resumed"]).await;
    for number in 0..1_500 {
        bench.expect(&[&number.to_string()]).await;
    }
    bench.quiet().await;
    assert_eq!(
        tails(&engine).last_chunk(),
        Some(&[Tail::Last(1_000), Tail::Last(50_000)])
    );
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_log_is_said_once_and_its_container_still_marked() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a").unreadable());
    let mut bench = Bench::following(&engine, "a").await;
    bench
        .expect(&["-- unreadable: configured logging driver does not support reading"])
        .await;
    bench.quiet().await;
    engine.restart(&id, 2);
    bench.watch().await;
    bench.expect(&["-- exited 2", "-- restarted"]).await;
    bench.quiet().await;
    assert_eq!(tails(&engine).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_is_tried_again_with_patience() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "x");
    let odd = EngineError::new(ErrorKind::Engine, "odd");
    engine.fail(Operation::Logs, odd);
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["-- interrupted: odd"]).await;
    bench.quiet().await;
    // 0.5, 1, 2, 4, 8 and then 10 s apart.
    let tried = tails(&engine).len();
    assert!((30..=36).contains(&tried), "{tried}");
    engine.heal();
    bench.expect(&["-- resumed", "x"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_selected_again_goes_on_where_it_was() {
    let engine = FakeEngine::new();
    let a = engine.run(member("a"));
    let b = engine.run(member("b"));
    engine.line(&a, "1");
    engine.line(&a, "2");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["1", "2"]).await;
    bench.select(&["b"]).await;
    engine.line(&b, "b is read");
    bench.expect(&["b is read"]).await;
    engine.line(&a, "3");
    bench.quiet().await;
    bench.select(&["a", "b"]).await;
    bench.expect(&["3"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn closing_reads_to_the_present_end() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "1");
    bench.expect(&["1"]).await;
    engine.line(&id, "2");
    engine.write(&id, Channel::Out, b"being written");
    assert_eq!(bench.close().await, ["2", "being written"]);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_during_an_outage() {
    let engine = FakeEngine::new();
    engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.break_down(refused());
    bench.expect(&["-- interrupted: refused"]).await;
    assert_eq!(bench.close().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_following_the_log_is_read_once() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "1");
    let options = FollowOptions {
        follow: false,
        ..EVERYTHING
    };
    let mut bench = Bench::new(&engine, options).await;
    bench.select(&["a"]).await;
    bench.expect(&["1"]).await;
    engine.line(&id, "2");
    bench.watch().await;
    bench.quiet().await;
    assert_eq!(bench.close().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_nobody_listens_to_waits_and_drops_nothing() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    for number in 0..5_000 {
        engine.line(&id, &number.to_string());
    }
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["0"]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    for number in 1..5_000 {
        bench.expect(&[&number.to_string()]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_ends_its_readers() {
    let engine = FakeEngine::new();
    engine.run(member("a"));
    let bench = Bench::following(&engine, "a").await;
    let inputs = bench.inputs.clone().unwrap();
    drop(bench);
    inputs.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_exist_yet_is_waited_for() {
    let engine = FakeEngine::new();
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    let id: ContainerId = engine.run(member("a"));
    engine.line(&id, "here");
    bench.watch().await;
    bench.expect(&["here"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_listed_before_it_can_be_inspected_is_not_gone() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "here");
    let gone = EngineError::new(ErrorKind::NotFound, "no such container");
    engine.fail_once(Operation::Inspect, gone);
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["here"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_rotated_away_before_it_was_read_is_marked() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    engine.line(&id, "1");
    engine.line(&id, "2");
    bench.expect(&["1", "2"]).await;
    engine.break_down(refused());
    bench.expect(&["-- interrupted: refused"]).await;
    // What was read may go.
    engine.rotate(&id, 1);
    engine.line(&id, "3");
    engine.heal();
    bench.expect(&["-- resumed", "3"]).await;
    engine.break_down(refused());
    bench.expect(&["-- interrupted: refused"]).await;
    for text in ["lost", "lost", "4", "5"] {
        engine.line(&id, text);
    }
    engine.rotate(&id, 4);
    engine.heal();
    bench
        .expect(&["-- resumed", "-- gap of PT0.003S", "4", "5"])
        .await;
    engine.line(&id, "6");
    bench.expect(&["6"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_keeps_a_line_from_us_is_opened_again() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "1");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["1"]).await;
    engine.line(&id, "2");
    bench.expect(&["2"]).await;
    engine.stall(&id);
    engine.line(&id, "3");
    let began = Instant::now();
    bench
        .expect(&[
            "-- interrupted: the engine no longer sent what the container wrote",
            "-- resumed",
            "3",
        ])
        .await;
    assert!(began.elapsed() <= Duration::from_secs(40));
    engine.line(&id, "4");
    bench.expect(&["4"]).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_by_right_is_compared_more_and_more_rarely() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "1");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["1"]).await;
    let compared = || {
        let calls = engine.calls();
        let last = |call: &&Call| matches!(call, Call::Logs(_, request) if !request.follow && request.tail == Tail::Last(1));
        calls.iter().filter(last).count()
    };
    bench.quiet().await;
    // After 30, 90 and 210 s; the next one is at 450.
    assert_eq!(compared(), 3);
    engine.line(&id, "2");
    bench.expect(&["2"]).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(compared(), 4);
    bench.select(&[]).await;
    bench.quiet().await;
    assert_eq!(compared(), 4, "nobody looks at it");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_whose_engine_does_not_answer_is_an_outage() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.line(&id, "1");
    let mut bench = Bench::following(&engine, "a").await;
    bench.expect(&["1"]).await;
    engine.stall(&id);
    engine.hang(Operation::Logs);
    let told = bench.next().await;
    assert!(told.starts_with("-- interrupted: no answer"), "{told}");
    engine.line(&id, "2");
    engine.heal();
    bench.expect(&["-- resumed", "2"]).await;
}

/// What a viewer is told of source `a`: where its log is opened, and its lines.
struct Viewer {
    inputs: mpsc::Sender<FollowInput>,
    told: Pin<Box<dyn Stream<Item = FollowEvent> + Send>>,
}

impl Viewer {
    async fn new(engine: &FakeEngine, tail: u32) -> Self {
        let (inputs, received) = mpsc::channel(64);
        let options = FollowOptions {
            tail: Tail::Last(tail),
            whole_groups: true,
            new_from_start: false,
            ..EVERYTHING
        };
        let told = Box::pin(follow(Arc::new(engine.clone()), received, options));
        let viewer = Self { inputs, told };
        viewer.look(engine).await;
        let sources = BTreeSet::from([source("a")]);
        viewer
            .inputs
            .send(FollowInput::Select(sources))
            .await
            .unwrap();
        viewer
    }

    async fn look(&self, engine: &FakeEngine) {
        let all = Selector::from_conditions(["family=1".parse().unwrap()]).unwrap();
        let listed = engine.list(&all).await.unwrap().into();
        let input = FollowInput::Containers(listed);
        self.inputs.send(input).await.unwrap();
    }

    async fn expect(&mut self, wanted: &[&str]) {
        let mut told = Vec::new();
        while told.len() < wanted.len() {
            let event = timeout(Duration::from_secs(120), self.told.next());
            match event.await.expect("nothing is told any more").unwrap() {
                FollowEvent::Opened {
                    container,
                    reached_start,
                    ..
                } => {
                    let number = container.as_str().trim_start_matches('0');
                    let from = if reached_start { "its start" } else { "within" };
                    told.push(format!("-- opened {number} from {from}"));
                }
                FollowEvent::Lines { batch, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    told.extend(batch.iter().map(|(.., bytes)| text(bytes)));
                }
                FollowEvent::Mark { source, at, mark } => {
                    told.push(text(&LogEvent::Mark { source, at, mark }));
                }
            }
        }
        assert_eq!(told, wanted);
    }
}

/// Lines of that many milliseconds since the engine's beginning.
fn record(engine: &FakeEngine, id: &ContainerId, lines: &[(i64, &str)]) {
    let begin = engine.now();
    engine.record(
        id,
        lines.iter().map(|(time, text)| Part {
            at: begin + jiff::SignedDuration::from_millis(*time),
            channel: Channel::Out,
            bytes: text.as_bytes().to_vec(),
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn a_viewer_s_first_window_begins_with_whole_lines_and_whole_groups() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let lines = [
        (1, "1\n"),
        (2, "2 "),
        (2, "long\n"),
        (2, "2\n"),
        (3, "3\n"),
        (3, "3 again\n"),
    ];
    record(&engine, &id, &lines);
    for tail in [3, 4, 5] {
        let mut viewer = Viewer::new(&engine, tail).await;
        viewer
            .expect(&["-- opened 1 from within", "3", "3 again"])
            .await;
    }
    let mut viewer = Viewer::new(&engine, 7).await;
    let all = [
        "-- opened 1 from its start",
        "1",
        "2 long",
        "2",
        "3",
        "3 again",
    ];
    viewer.expect(&all).await;
    // Six of six may be all or not; what is left out is not lost.
    let mut viewer = Viewer::new(&engine, 6).await;
    viewer
        .expect(&["-- opened 1 from within", "2 long", "2", "3", "3 again"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_window_that_holds_no_whole_group_is_enlarged() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut lines = vec![(1, "before\n")];
    lines.extend([(2, "x"); 5_000]);
    record(&engine, &id, &lines);
    record(&engine, &id, &[(2, "\n")]);
    let mut viewer = Viewer::new(&engine, 2).await;
    let long = "x".repeat(5_000);
    viewer
        .expect(&["-- opened 1 from its start", "before", &long])
        .await;
}

#[tokio::test(start_paused = true)]
async fn each_container_s_log_is_opened_once() {
    let engine = FakeEngine::new();
    let script = [Step::out("up\n"), Step::UntilStopped];
    let id = engine.run(member("a").script(script));
    let mut viewer = Viewer::new(&engine, 100).await;
    viewer.expect(&["-- opened 1 from its start", "up"]).await;
    engine.break_down(refused());
    viewer.expect(&["-- interrupted: refused"]).await;
    engine.heal();
    viewer.expect(&["-- resumed"]).await;
    engine.line(&id, "on");
    viewer.expect(&["on"]).await;
    engine.recreate(&id).unwrap();
    viewer.look(&engine).await;
    viewer
        .expect(&[
            "-- exited ?",
            "-- removed",
            "-- recreated",
            "-- opened 2 from its start",
            "up",
        ])
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_is_opened_at_its_start() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut viewer = Viewer::new(&engine, 100).await;
    viewer.expect(&["-- opened 1 from its start"]).await;
    engine.line(&id, "first");
    viewer.expect(&["first"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_sends_again_is_not_told_again() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    for number in 0..20 {
        engine.line(&id, &number.to_string());
        engine.write(&id, Channel::Err, format!("{number}\n").as_bytes());
        bench
            .expect(&[&number.to_string(), &format!("err {number}")])
            .await;
    }
    for back in [3, 7, 30] {
        engine.jolt(&id, -back);
        engine.line(&id, "on");
        engine.line(&id, "and on");
        bench.expect(&["on", "and on"]).await;
    }
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_hides_no_line() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    bench.quiet().await;
    engine.advance(Duration::from_secs(60));
    engine.line(&id, "later");
    bench.expect(&["later"]).await;
    record(&engine, &id, &[(-50_000, "1\n"), (-49_999, "2\n")]);
    bench.expect(&["1", "2"]).await;
    record(&engine, &id, &[(-49_998, "3\n")]);
    bench.expect(&["3"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_leaves_out_is_fetched() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut bench = Bench::following(&engine, "a").await;
    let long = "x".repeat(10_000);
    for _ in 0..110 {
        engine.line(&id, &long);
        bench.expect(&[&long]).await;
    }
    let before = tails(&engine).len();
    engine.jolt(&id, 2);
    for text in ["left out", "left out too"] {
        engine.line(&id, text);
    }
    engine.advance(Duration::from_secs(1));
    engine.line(&id, "on");
    bench.expect(&["left out", "left out too", "on"]).await;
    assert_eq!(tails(&engine).len(), before + 1);
    engine.advance(Duration::from_secs(1));
    engine.line(&id, "after a while");
    bench.expect(&["after a while"]).await;
    assert_eq!(tails(&engine).len(), before + 1, "little came since");
}
