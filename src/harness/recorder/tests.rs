//! What a recorder says and waits for, with an engine that does as it is told and a clock that stands.

use super::*;
use crate::domain::line::{Channel, Part};
use crate::domain::run::{RunEventKind, Signal};
use crate::engine::ErrorKind;
use crate::engine::fake::{Call, FakeContainer, FakeEngine, Operation, Step};
use crate::harness::sink;
use crate::process::{Controller, Phase};

struct Bench {
    place: tempfile::TempDir,
    engine: FakeEngine,
    sink: sink::Sink,
    events: sink::RunEvents,
    controller: Controller,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("tackroom.toml");
        std::fs::write(file, "[family]\nlabels = ['a']\n").unwrap();
        let (sink, events) = sink::channel();
        Self {
            place,
            engine: FakeEngine::new(),
            sink,
            events,
            controller: Controller::default(),
        }
    }

    fn control(&self) -> Control {
        self.controller.control(Phase::Work)
    }

    async fn start(&self) -> Recorder {
        let file = self.place.path().join("tackroom.toml");
        let harness = Harness {
            config: Arc::new(crate::config::load(&file).unwrap()),
            engine: Arc::new(self.engine.clone()),
            store: None,
            guard: None,
        };
        let notes = self.sink.notes();
        Recorder::start(&harness, self.place.path(), notes, &self.control()).await
    }

    /// Paused time goes on when nobody has anything left to do.
    async fn settle(&self) {
        sleep(Duration::from_secs(1)).await;
    }

    /// What is said from here to the end.
    async fn notes(self) -> Vec<String> {
        let Self {
            sink, mut events, ..
        } = self;
        sink.finish();
        let mut notes = Vec::new();
        while let Some(event) = events.next().await {
            if let RunEventKind::Note(note) = event.kind {
                notes.push(note);
            }
        }
        notes
    }

    async fn note(&mut self) -> String {
        match self.events.next().await.unwrap().kind {
            RunEventKind::Note(note) => note,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_holds_nothing_up() {
    let mut bench = Bench::new();
    for operation in [Operation::Host, Operation::Events, Operation::List] {
        bench.engine.hang(operation);
    }
    let began = Instant::now();
    let recorder = bench.start().await;
    assert!(began.elapsed() <= BEGINNING);
    recorder.finish(&bench.control()).await;
    assert!(began.elapsed() <= BEGINNING + LAST_WORDS + WRITING);
    assert!(bench.note().await.contains("it does not answer"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting_for_an_engine_that_hangs() {
    let bench = Bench::new();
    for operation in [Operation::Host, Operation::Events, Operation::List] {
        bench.engine.hang(operation);
    }
    let control = bench.control();
    bench.controller.press(Signal::Interrupt);
    let began = Instant::now();
    let recorder = bench.start().await;
    recorder.finish(&control).await;
    assert!(began.elapsed() <= WRITING, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_by_the_opening_of_a_log_is_said() {
    let mut bench = Bench::new();
    let loud = bench.engine.run(FakeContainer::new("loud").label("a", "1"));
    let late = EngineError::new(ErrorKind::Unreachable, "not yet");
    bench.engine.fail_once(Operation::Logs, late);
    let recorder = bench.start().await;
    let line = |number: u32| Part {
        at: bench.engine.now(),
        channel: Channel::Out,
        bytes: format!("{number}\n").into_bytes(),
    };
    let lines: Vec<Part> = (0..OPENED_WITH + 500).map(line).collect();
    bench.engine.record(&loud, lines);
    assert_eq!(
        bench.note().await,
        "the log of loud is not whole: it wrote more than 1000 lines before its log was opened"
    );
    recorder.finish(&bench.control()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_engine_went_is_whole() {
    let bench = Bench::new();
    let ended = |name: &str| {
        let script = [Step::out("up\n"), Step::Exit(0)];
        FakeContainer::new(name).label("a", "1").script(script)
    };
    let removed = bench.engine.run(ended("removed"));
    bench.engine.run(ended("stopped"));
    let recorder = bench.start().await;
    bench.settle().await;
    bench.engine.destroy(&removed);
    bench.settle().await;
    bench
        .engine
        .break_down(EngineError::new(ErrorKind::Unreachable, "gone"));
    bench.settle().await;
    recorder.finish(&bench.control()).await;
    let notes = bench.notes().await;
    let torn = notes.iter().find(|note| note.contains("not whole"));
    assert_eq!(torn, None);
}

#[tokio::test(start_paused = true)]
async fn what_an_unknown_clock_leaves_out_is_said() {
    let mut bench = Bench::new();
    bench
        .engine
        .run(FakeContainer::new("early").label("a", "1"));
    bench
        .engine
        .create(FakeContainer::new("made").label("a", "1"));
    bench.engine.hang(Operation::Host);
    let recorder = bench.start().await;
    assert_eq!(
        bench.note().await,
        "the log of early is not whole: what it wrote before its log was opened is not \
         recorded: the engine's clock was not known"
    );
    recorder.finish(&bench.control()).await;
    assert_eq!(bench.notes().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_asked_for_no_more_often_than_it_is_measured() {
    let bench = Bench::new();
    let mut recorder = bench.start().await;
    let measured = recorder.measured.wait_for(Option::is_some).await;
    assert!(measured.is_ok_and(|measured| measured.is_some()));
    let calls = bench.engine.calls();
    let asked = calls.iter().filter(|call| matches!(call, Call::Host));
    assert_eq!(asked.count(), crate::harness::clock::SAMPLES);
    recorder.finish(&bench.control()).await;
}
