//! Made-up sessions, for the tests of updating and of drawing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Rect, Size};

use super::effect::Effect;
use super::layout::layout;
use super::msg::Msg;
use super::state::incident::{Loaded, Stage};
use super::state::{Setup, State};
use super::update::update;
use super::view::view;
use crate::domain::container::{Container, Detail, Health, Mount, MountKind, Port, State as Run};
use crate::domain::fingerprint::{Change, ClockDifference, Subject, Value};
use crate::domain::id::{ContainerId, RunId};
use crate::domain::incident::{
    Attempt, Clarity, Entry, Head, Mark as Marks, Since, Source, SourceKind, What, Window,
};
use crate::domain::label::{COMPOSE_PROJECT, COMPOSE_SERVICE, Condition};
use crate::domain::line::{Channel, LineBatch, Mark, SourceId};
use crate::domain::link::{EngineInfo, Link};
use crate::domain::origins::{Origins, Renamed};
use crate::domain::output::OutputLines;
use crate::domain::plan::{Item, ItemKind, SpareReason, Spared, TeardownPlan};
use crate::domain::replay::{Header, Replay, ReplayName};
use crate::domain::run::{Ending, Flaky, Output, ReplayResult, RunEvent, RunEventKind, Verdict};
use crate::domain::scope::{Protection, Scope, Stack};
use crate::domain::selector::Selector;
use crate::domain::stats::Sample;
use crate::logs::FollowEvent;
use crate::record::{Course, Courses, Outcome};

pub(super) const NOW: &str = "2026-11-21T12:03:44Z";

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(super) fn ago(seconds: u64) -> Timestamp {
    now().checked_sub(Duration::from_secs(seconds)).unwrap()
}

pub(super) fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    Container {
        id: ContainerId::new(format!("{name}-0123456789abcdef")),
        name: name.to_owned(),
        image: format!("registry/{name}:latest"),
        image_id: "sha256:feed".to_owned(),
        state: Run::Running,
        health: None,
        status: "Up 2 minutes".to_owned(),
        created: ago(120),
        labels: labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ports: Vec::new(),
        mounts: Vec::new(),
        detail: None,
        origins: Origins::default(),
    }
}

pub(super) fn selector(conditions: &[&str]) -> Selector {
    let conditions = conditions.iter().map(|c| c.parse::<Condition>().unwrap());
    Selector::from_conditions(conditions).unwrap()
}

pub(super) fn scope() -> Scope {
    let stack = |name: &str, conditions: &[&str], protection| Stack {
        name: name.into(),
        claims: selector(conditions).into(),
        spawner: None,
        state_dirs: Vec::new(),
        protection,
        compose_project: None,
        run_guard: None,
    };
    Scope {
        families: vec![selector(&["galaxy.backend=1"])],
        stacks: vec![
            stack(
                "integration",
                &["galaxy.backend=1", "galaxy.stack=integration"],
                Protection::Removable,
            ),
            stack(
                "dev-deploy",
                &["galaxy.backend=1", "galaxy.stack=dev-deploy"],
                Protection::Protected,
            ),
            stack(
                "tenant",
                &["com.docker.compose.project=tenant"],
                Protection::Removable,
            ),
        ],
        group_by: None,
    }
}

pub(super) fn service(name: &str, health: Option<Health>) -> Container {
    let labels = [(COMPOSE_PROJECT, "tenant"), (COMPOSE_SERVICE, name)];
    Container {
        health,
        ..container(&format!("tenant_{name}_1"), &labels)
    }
}

pub(super) fn containers() -> Vec<Container> {
    let integration = [("galaxy.backend", "1"), ("galaxy.stack", "integration")];
    let deploy = [("galaxy.backend", "1"), ("galaxy.stack", "dev-deploy")];
    let port = |public| Port {
        private: 8080,
        public: Some(public),
        address: Some("127.0.0.1".to_owned()),
        protocol: "tcp".to_owned(),
    };
    let mut proxy = service("cf-proxy", Some(Health::Healthy));
    proxy.ports = vec![port(8080), port(8443)];
    let mut tenant = service("tenant", Some(Health::Unhealthy));
    tenant.detail = Some(Detail {
        started: Some(ago(95)),
        restart_count: 2,
        health_output: Some("curl: (7) Failed to connect to localhost port 3000".to_owned()),
        ..Detail::default()
    });
    let mut redis = service("redis", None);
    redis.state = Run::Exited;
    redis.status = "Exited (137) 40 seconds ago".to_owned();
    redis.detail = Some(Detail {
        finished: Some(ago(40)),
        exit_code: Some(137),
        oom_killed: true,
        ..Detail::default()
    });
    let postgres = service("postgres", Some(Health::Starting));
    let mut old = container("engine-80f3", &deploy);
    old.created = ago(9 * 86_400);
    old.image = "sha256:0ld0ld0ld0ld0ld0".to_owned();
    old.image_id = old.image.clone();
    old.detail = Some(Detail {
        image_name: Some("registry/engine:dev".to_owned()),
        ..Detail::default()
    });
    old.origins.image = Some(Renamed::To("sha256:feedfeedfeedfeed".to_owned()));
    let mut both = container("engine-both", &integration);
    both.labels
        .insert(COMPOSE_PROJECT.to_owned(), "tenant".to_owned());
    let mut paused = container("engine-1f0c", &integration);
    paused.state = Run::Paused;
    let bind = |source: &str, target: &str| Mount {
        kind: MountKind::Bind,
        source: source.to_owned(),
        target: target.to_owned(),
    };
    paused.mounts = vec![
        bind("/builds/galaxy/geoip.mmdb", "/geoip.mmdb"),
        bind("/tmp/galaxy-state-1f0c", "/state"),
    ];
    paused.origins.gone = vec!["/tmp/galaxy-state-1f0c".to_owned()];
    vec![
        proxy,
        tenant,
        redis,
        postgres,
        paused,
        both,
        old,
        container("engine-日本-with-a-rather-long-name-for-a-row", &deploy),
        container("engine-lost", &[("galaxy.backend", "1")]),
    ]
}

pub(super) fn replay(name: &str, closes: &str, description: &str) -> Arc<Replay> {
    Arc::new(Replay {
        name: ReplayName::new(name),
        suite: crate::domain::suite::SuiteName::default(),
        path: format!("/h/replays/{name}.sh").into(),
        file: format!("replays/{name}.sh"),
        header: Header {
            description: Some(description.to_owned()),
            closes: vec![closes.to_owned()],
            ..Header::default()
        },
    })
}

pub(super) fn replays() -> Vec<Arc<Replay>> {
    vec![
        replay(
            "peer-discovery-404",
            "#2397",
            "tool_list_peers surfaces the actual reason.",
        ),
        replay(
            "buildinfo-stale-image",
            "#2395",
            "The build info names the running image.",
        ),
        replay(
            "cp-proxy-501",
            "#2410",
            "The proxy passes the reason of a 501 on.",
        ),
        replay("seed-twice", "#2411", "Seeding twice changes nothing."),
        replay("needs-jq", "#2412", "The list is valid JSON."),
        replay("not-run-yet", "#2413", "Nobody has run this one."),
    ]
}

/// What ten earlier runs say: the first replay fails now and then, the second is flaky, and the last
/// one has never been run.
pub(super) fn courses() -> Arc<Courses> {
    let seconds = Duration::from_millis;
    let course = |ends: &str| Course {
        runs: ends
            .chars()
            .map(|end| {
                let verdict = match end {
                    '.' | '~' => Verdict::Passed,
                    'x' => Verdict::Failed(Ending::Code(1)),
                    _ => return None,
                };
                Some(Outcome {
                    ok: verdict.is_ok(),
                    verdict,
                    took: seconds(1_200),
                    flaky: end == '~',
                })
            })
            .collect(),
    };
    Arc::new(Courses::from([
        (ReplayName::new("peer-discovery-404"), course("..x...x..x")),
        (
            ReplayName::new("buildinfo-stale-image"),
            course("....~....."),
        ),
        (ReplayName::new("cp-proxy-501"), course("..........")),
        (ReplayName::new("seed-twice"), course(".......-")),
        (ReplayName::new("needs-jq"), course("xx")),
    ]))
}

pub(super) fn event(kind: RunEventKind) -> Msg {
    event_at(2, kind)
}

pub(super) fn event_at(seconds: u64, kind: RunEventKind) -> Msg {
    Msg::Run(RunEvent {
        at: ago(seconds),
        offset: Duration::from_secs(3),
        kind,
    })
}

pub(super) fn finished(name: &str, verdict: Verdict) -> RunEventKind {
    RunEventKind::ReplayFinished(ReplayResult {
        replay: ReplayName::new(name),
        verdict,
        started: ago(10),
        took: Duration::from_millis(1200),
        attempt: 1,
        output: Output::default(),
        tap: None,
        slow: false,
        leaky: false,
        retried: false,
        flaky: Flaky::No,
        survivors: Vec::new(),
    })
}

pub(super) fn line(source: &str, seconds: u64, text: &str) -> FollowEvent {
    let mut batch = LineBatch::default();
    batch.push(ago(seconds), Channel::Out, text.as_bytes());
    FollowEvent::Lines {
        source: SourceId(source.into()),
        batch,
    }
}

pub(super) fn fresh(width: u16, height: u16) -> State {
    let setup = Setup {
        harness: vec!["tenant".into()],
        has_hooks: true,
        ..setup()
    };
    State::new(setup, Size { width, height }, now())
}

/// The same scope, without a harness.
pub(super) fn setup() -> Setup {
    Setup {
        name: "tenant-harness".to_owned(),
        scope: scope(),
        ..Setup::default()
    }
}

pub(super) fn info() -> EngineInfo {
    EngineInfo {
        product: "docker".to_owned(),
        version: "20.10.24".to_owned(),
        api_version: "1.41".to_owned(),
        endpoint: "unix:///var/run/docker.sock".to_owned(),
    }
}

/// A session in full swing: containers in all states, logs, replays done, running and waiting.
pub(super) fn busy(width: u16, height: u16) -> State {
    let mut state = connected(width, height);
    let logs = vec![
        line("tenant_tenant_1", 5, "INFO  POST /cp/workspaces/provision"),
        line(
            "tenant_postgres_1",
            4,
            "\x1b[33mWARN\x1b[0m  no route: POST /cp/workspaces/provision from 172.18.0.5:41234",
        ),
        line(
            "tenant_tenant_1",
            3,
            "\x1b[31mERROR\x1b[0m upstream answered 501 reason=\"日本\" after 12 ms\x1b[2J",
        ),
        FollowEvent::Mark {
            source: SourceId("tenant_redis_1".into()),
            at: ago(2),
            mark: Mark::Exited {
                code: Some(137),
                oom: true,
            },
        },
        line("tenant_tenant_1", 1, "INFO  retrying\tin 5 s"),
    ];
    send(&mut state, Msg::Logs(logs));
    send(&mut state, key("3"));
    send(&mut state, key("a"));
    send(&mut state, key("1"));
    send(&mut state, key("shift-tab"));
    send(
        &mut state,
        event(RunEventKind::Started {
            run: RunId::new(now(), 1),
            replays: replays()[..5].to_vec(),
            stacks: vec!["tenant".into()],
        }),
    );
    let name = ReplayName::new("peer-discovery-404");
    send(
        &mut state,
        event(RunEventKind::ReplayStarted {
            replay: name.clone(),
            attempt: 1,
            timeout: None,
        }),
    );
    for text in [
        "GET /registry/peers → 404",
        "✘ expected the reason in the message, got \"may be isolated\"",
    ] {
        send(
            &mut state,
            event(RunEventKind::ReplayOutput {
                replay: name.clone(),
                lines: OutputLines::new(text.as_bytes()),
            }),
        );
    }
    send(
        &mut state,
        event(finished(
            "peer-discovery-404",
            Verdict::Failed(Ending::Code(1)),
        )),
    );
    send(
        &mut state,
        event(finished("buildinfo-stale-image", Verdict::Passed)),
    );
    let reason = "jq is not on PATH".to_owned();
    send(
        &mut state,
        event(finished("needs-jq", Verdict::CouldNotStart { reason })),
    );
    send(
        &mut state,
        event_at(
            3,
            RunEventKind::ReplayStarted {
                replay: ReplayName::new("cp-proxy-501"),
                attempt: 1,
                timeout: Some(Duration::from_secs(30)),
            },
        ),
    );
    press(&mut state, "<tab>g<shift-tab>");
    state
}

pub(super) fn connected(width: u16, height: u16) -> State {
    let mut state = fresh(width, height);
    send(&mut state, Msg::Link(Link::Up(info())));
    send(&mut state, Msg::Containers(containers().into()));
    send(&mut state, Msg::Replays(Ok(replays())));
    let sample = Sample {
        cpu_percent: Some(1.24),
        memory: 38 << 20,
        memory_limit: None,
    };
    for name in ["tenant_cf-proxy_1", "tenant_tenant_1"] {
        let id = ContainerId::new(format!("{name}-0123456789abcdef"));
        send(&mut state, Msg::Stats(vec![(id, Some(sample))]));
    }
    state
}

pub(super) fn key(text: &str) -> Msg {
    Msg::Key(text.parse().unwrap())
}

pub(super) fn send(state: &mut State, msg: Msg) {
    tell(state, msg);
}

/// What comes of it, but for what is sought: that is found at once, as if by another thread.
pub(super) fn tell(state: &mut State, msg: Msg) -> Vec<Effect> {
    let (scans, rest) = update(state, msg)
        .into_iter()
        .partition::<Vec<_>, _>(|effect| matches!(effect, Effect::Scan(_)));
    for scan in scans {
        if let Effect::Scan(job) = scan {
            job.run(|found| {
                update(state, Msg::Found(found));
                ControlFlow::Continue(())
            });
        }
    }
    rest
}

/// Keys as text, each a character or a name in angle brackets: `jj<enter>`.
pub(super) fn keys(text: &str) -> Vec<Msg> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|r| r.split_once('>'));
        let name = match named {
            Some((name, after)) => {
                rest = after;
                name.to_owned()
            }
            None => {
                rest = &rest[first.len_utf8()..];
                if first == ' ' {
                    "space".to_owned()
                } else {
                    first.to_string()
                }
            }
        };
        keys.push(key(&name));
    }
    keys
}

pub(super) fn press(state: &mut State, text: &str) {
    for key in keys(text) {
        send(state, key);
    }
}

/// A run of `peer-discovery-404` that failed, and its incident opened, which is yet to be read.
pub(super) fn reading(width: u16, height: u16) -> State {
    let mut state = connected(width, height);
    press(&mut state, "3a");
    let started = RunEventKind::Started {
        run: RunId::recorded("20261121-120334.000-1"),
        replays: replays()[..2].to_vec(),
        stacks: vec!["tenant".into()],
    };
    send(&mut state, event(started));
    let failed = Verdict::Failed(Ending::Code(1));
    send(&mut state, event(finished("peer-discovery-404", failed)));
    send(
        &mut state,
        event(finished("buildinfo-stale-image", Verdict::Passed)),
    );
    send(&mut state, Msg::RunEnded { problem: None });
    press(&mut state, "g<enter>");
    state.notice = None;
    assert!(matches!(state.incident.stage, Stage::Reading));
    state
}

pub(super) fn incident(width: u16, height: u16) -> State {
    let mut state = reading(width, height);
    let ticket = state.incident.ticket;
    send(&mut state, Msg::Incident(ticket, Ok(Box::new(timeline()))));
    state
}

/// From half a second before the start of an attempt to a second behind its end.
pub(super) fn timeline() -> Loaded {
    let started = ago(10);
    let at = |milliseconds: i64| started + SignedDuration::from_millis(milliseconds);
    let line = |text: &str| What::Line {
        channel: Channel::Out,
        bytes: text.as_bytes().into(),
    };
    let event = |text: &str| What::Event(text.to_owned());
    let mut entries: Vec<(i64, usize, What, Option<Marks>)> = vec![
        (
            -500,
            1,
            event("◆ redis died, exit 137 (killed)"),
            Some(Marks::Death),
        ),
        (-480, 1, event("◆ redis started"), None),
        (0, 0, event("▶ attempt 1 begins"), None),
        (
            12,
            2,
            line("[replay] the registry's own 404 has a body"),
            None,
        ),
        (40, 3, line("INFO  GET /registry/0000/peers"), None),
        (41, 3, line("WARN  redis: connection reset"), None),
        (
            44,
            3,
            line("ERROR redis: dial tcp 172.18.0.3:6379: connection refused"),
            Some(Marks::Error),
        ),
        (
            45,
            4,
            line("LOG:  connection received: host=172.18.0.5"),
            None,
        ),
        (60, 2, line("PASS: an unregistered workspace: status"), None),
        (
            812,
            2,
            line("\x1b[31mFAIL: 404: the tool says why\x1b[0m"),
            Some(Marks::Assertion(Clarity::Assertion)),
        ),
        (813, 2, line("      expected: …is not registered…"), None),
        (
            814,
            2,
            line("      got:      No peers found. You may be isolated, 日本 \x1b[2J"),
            None,
        ),
    ];
    for n in 0..20 {
        let text = format!("INFO  retrying in {n} s");
        entries.push((820 + n, 3, line(&text), None));
    }
    entries.push((900, 4, What::Left(12_345), None));
    entries.push((1_200, 0, event("✘ failed: exit 1, after 1.2 s"), None));
    let kinds = [
        (SourceKind::Runner, "runner"),
        (SourceKind::Engine, "engine"),
        (SourceKind::Output, "output"),
        (SourceKind::Container, "tenant"),
        (SourceKind::Container, "postgres"),
    ];
    let sources = kinds
        .iter()
        .enumerate()
        .map(|(number, (kind, name))| Source {
            kind: *kind,
            name: (*name).to_owned(),
            entries: entries.iter().filter(|(_, of, ..)| *of == number).count() as u64
                + if number == 4 { 12_344 } else { 0 },
        });
    let text = |text: &str| Value::Text(text.to_owned());
    let change = |subject, what: &str, before, after| Change {
        subject,
        what: what.to_owned(),
        before,
        after,
    };
    let tenant = || Subject::Container("tenant/tenant".to_owned());
    let file = Subject::File("tackroom.toml".to_owned());
    let script = Subject::Replay("peer-discovery-404".to_owned());
    let images = (
        text("sha256:12ab34cd56ef0000"),
        text("sha256:98fe76dc54ba0000"),
    );
    let changes = vec![
        change(tenant(), "image id", images.0, images.1),
        change(
            tenant(),
            "env CP_UPSTREAM_URL",
            Value::Hashed,
            Value::Hashed,
        ),
        change(tenant(), "env FOO", Value::Absent, Value::Hashed),
        change(file, "", Value::Hashed, Value::Hashed),
        change(script, "", Value::Hashed, Value::Hashed),
        change(Subject::Head, "commit", text("a1b2c3d"), text("d4e5f6a")),
    ];
    let head = Head {
        run: RunId::recorded("20261121-120334.000-1"),
        attempt: Attempt {
            replay: ReplayName::new("peer-discovery-404"),
            number: 1,
            verdict: Verdict::Failed(Ending::Code(1)),
            started,
            ended: at(1_200),
        },
        window: Window::around(started, at(1_200), Duration::from_millis(1)),
        clock: Some(ClockDifference {
            engine_ahead: SignedDuration::from_micros(12_400),
            within: Duration::from_micros(800),
        }),
        sources: sources.collect(),
        since: Since::Passed {
            run: RunId::recorded("20261120-170000.000-9"),
            at: ago(68_000),
            changes,
        },
        marks: Vec::new(),
        missing: Vec::new(),
    };
    let entries = entries
        .into_iter()
        .map(|(offset, source, what, mark)| Entry {
            at: at(offset),
            source,
            what,
            mark,
        });
    Loaded::new(head, entries, &|| true).unwrap()
}

pub(super) fn plan() -> TeardownPlan {
    let item = |kind, name: &str, seconds| Item {
        kind,
        name: name.to_owned(),
        id: format!("{name}-0123456789abcdef"),
        created: Some(ago(seconds)),
        labels: Default::default(),
        image: (kind == ItemKind::Container).then(|| "registry/tenant:latest".to_owned()),
        state: (kind == ItemKind::Container).then(|| "running".to_owned()),
    };
    TeardownPlan {
        stack: "tenant".into(),
        claims: selector(&["com.docker.compose.project=tenant"]).into(),
        spawner: None,
        hook: Some("./down.sh".to_owned()),
        remove: vec![
            item(ItemKind::Container, "tenant_cf-proxy_1", 120),
            item(ItemKind::Container, "tenant_tenant_1", 120),
            item(ItemKind::Container, "tenant_redis_1", 120),
            item(ItemKind::Container, "tenant_postgres_1", 120),
            item(ItemKind::Network, "tenant_default", 130),
            item(ItemKind::Volume, "tenant_data", 7 * 86_400),
        ],
        spare: vec![Spared {
            item: item(ItemKind::Container, "engine-both", 90),
            reason: SpareReason::SeveralStacks(vec!["integration".into(), "tenant".into()]),
        }],
    }
}

pub(super) fn screen(state: &State) -> String {
    let Size { width, height } = state.area;
    if width == 0 || height == 0 {
        // The backend of the tests cannot print itself then; drawing is still tried.
        draw_without_backend(state);
        return String::new();
    }
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let layout = layout(frame.area(), state);
            view(state, &layout, frame);
        })
        .unwrap();
    terminal.backend().to_string()
}

pub(super) fn draw_without_backend(state: &State) {
    let mut terminal =
        Terminal::new(TestBackend::new(state.area.width, state.area.height)).unwrap();
    let drawn = layout(
        Rect::from((ratatui::layout::Position::ORIGIN, state.area)),
        state,
    );
    terminal.draw(|frame| view(state, &drawn, frame)).unwrap();
}
