//! `logs`: one container's log, or several merged in the order of time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use self::json::{Of, object};
use self::sieve::{Passed, Sieve, Wanted};
use super::args::{Color, Logs};
use super::output::{Defused, Ended, Failure, complain, mention_missing_file, palette};
use super::recorded::{self, find};
use crate::bootstrap::{Context, Options};
use crate::domain::container::Container;
use crate::domain::exit::Exit;
use crate::domain::line::{Line, Mark, SourceId};
use crate::domain::link::Link;
use crate::domain::moment::{MOMENT_HELP, parse_moment};
use crate::domain::scope::Scope;
use crate::engine::{Tail, list_any};
use crate::logs::{
    FollowInput, FollowOptions, LogEvent, REORDER_WINDOW, dump, follow, reorder, singly,
};
use crate::report::{Paint, Palette, json_line};
use crate::text::ansi::to_ansi;
use crate::text::commands::Notation;
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::{pad, width};
use crate::watch::{WatchEvent, WatchOptions, watch};

mod json;
mod sieve;

pub(super) async fn logs(options: &Options, color: Color, args: &Logs) -> Result<Ended, Failure> {
    if let Some(run) = &args.run {
        let found = find(options, run).await?;
        return found
            .during(async |directory| {
                print(&recorded::context(options, directory)?, color, args).await
            })
            .await;
    }
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    print(&context, color, args).await
}

async fn print(context: &Context, color: Color, args: &Logs) -> Result<Ended, Failure> {
    let since = args.since.as_deref();
    let wanted = FollowOptions {
        tail: tail(&args.tail)?,
        whole_groups: false,
        new_from_start: true,
        since: since
            .map(|text| since_when(text, context.now()))
            .transpose()?,
        follow: args.follow,
    };
    context.engine.info().await?;
    let containers = in_scope(context).await?;
    let selection = Selection::new(args);
    selection.check(&containers, &context.config.scope)?;
    let mut sieve = Sieve::new(Wanted {
        filter: args.filter.clone(),
        exclude: args.exclude.clone(),
        level: args.level,
        context: args.context,
    });
    let mut printer = Printer::new(color, args);
    printer.know(
        &selection.of(&containers, &context.config.scope),
        &context.config.scope,
    );
    if args.follow {
        follow_all(context, &selection, wanted, &mut sieve, &mut printer).await
    } else {
        let chosen = selection.of(&containers, &context.config.scope);
        let mut events = std::pin::pin!(dump(&context.engine, &chosen, wanted));
        let mut exit = Exit::Ok;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => sieve.sift(event, |passed| printer.print(&passed))?,
                Err(error) if error.is_outage() => return Err(error.into()),
                Err(error) => {
                    complain(&error);
                    exit = Exit::Internal;
                }
            }
        }
        printer.out.flush()?;
        Ok(Ended::with(exit))
    }
}

async fn in_scope(context: &Context) -> Result<Vec<Container>, Failure> {
    let all = list_any(&*context.engine, &context.config.scope.queries()).await?;
    Ok(all.into_values().collect())
}

async fn follow_all(
    context: &Context,
    selection: &Selection,
    wanted: FollowOptions,
    sieve: &mut Sieve,
    printer: &mut Printer<Defused<Stdout>>,
) -> Result<Ended, Failure> {
    let scope = Arc::new(context.config.scope.clone());
    let (inputs, received) = mpsc::channel(64);
    let mut watched = std::pin::pin!(watch(
        context.engine.clone(),
        scope.clone(),
        WatchOptions::default()
    ));
    let followed = follow(context.engine.clone(), received, wanted);
    let mut events = std::pin::pin!(reorder(singly(followed), REORDER_WINDOW));
    // One queue, so that the follower can be told things while it waits for us to take its lines.
    let mut pending: VecDeque<FollowInput> = VecDeque::new();
    let mut chosen = Chosen::default();
    loop {
        tokio::select! {
            permit = inputs.reserve(), if !pending.is_empty() => {
                if let (Ok(permit), Some(input)) = (permit, pending.pop_front()) {
                    permit.send(input);
                }
            }
            event = watched.next() => match event {
                Some(WatchEvent::Containers(containers)) => {
                    let meant = selection.of(&containers, &scope);
                    printer.know(&meant, &scope);
                    pending.push_back(FollowInput::Containers(containers));
                    pending.push_back(chosen.with(&meant));
                }
                Some(WatchEvent::Engine(event)) => pending.push_back(FollowInput::Event(event)),
                Some(WatchEvent::Link(Link::Lost { cause, retry_in, .. })) => {
                    complain(format_args!(
                        "the engine is gone: {cause}; trying again in {:.0} s",
                        retry_in.as_secs_f64().max(1.0)
                    ));
                }
                Some(WatchEvent::Link(_)) => {}
                None => return Ok(Ended::with(Exit::Ok)),
            },
            event = events.next() => match event {
                Some(event) => {
                    sieve.sift(event, |passed| printer.print(&passed))?;
                    // What is there already goes out in one write.
                    while let Some(Some(event)) = events.next().now_or_never() {
                        sieve.sift(event, |passed| printer.print(&passed))?;
                    }
                    printer.out.flush()?;
                }
                None => return Ok(Ended::with(Exit::Ok)),
            },
        }
    }
}

/// Which containers are meant: by title, name, id or stack; all without one.
struct Selection {
    words: Vec<String>,
    /// Those that can only be stacks.
    stacks: Vec<String>,
    /// New containers are waited for.
    follow: bool,
}

impl Selection {
    fn new(args: &Logs) -> Self {
        Self {
            words: args.containers.clone(),
            stacks: args.stacks.clone(),
            follow: args.follow,
        }
    }

    /// The containers that one word means. A container's own name comes first: a stack may be
    /// called like one of its services.
    fn meant<'a>(word: &str, containers: &'a [Container], scope: &Scope) -> Vec<&'a Container> {
        let named: Vec<&Container> = containers
            .iter()
            .filter(|container| {
                let by_id = word.len() >= 4 && container.id.as_str().starts_with(word);
                container.title() == word || container.name == word || by_id
            })
            .collect();
        if !named.is_empty() {
            return named;
        }
        Self::in_stack(word, containers, scope)
    }

    fn in_stack<'a>(name: &str, containers: &'a [Container], scope: &Scope) -> Vec<&'a Container> {
        let is_in = |container: &&Container| scope.place(&container.labels).group() == Some(name);
        containers.iter().filter(is_in).collect()
    }

    fn of(&self, containers: &[Container], scope: &Scope) -> Vec<Container> {
        if self.words.is_empty() && self.stacks.is_empty() {
            return containers.to_vec();
        }
        let words = self.words.iter();
        let named = words.flat_map(|word| Self::meant(word, containers, scope));
        let stacks = self.stacks.iter();
        let meant: BTreeMap<&str, &Container> = named
            .chain(stacks.flat_map(|stack| Self::in_stack(stack, containers, scope)))
            .map(|container| (container.id.as_str(), container))
            .collect();
        meant.into_values().cloned().collect()
    }

    /// A name that matches nothing is a mistake, even while following: nobody would notice.
    fn check(&self, containers: &[Container], scope: &Scope) -> Result<(), Failure> {
        let idle = self
            .words
            .iter()
            .find(|word| Self::meant(word, containers, scope).is_empty());
        if let Some(word) = idle {
            let titles: Vec<&str> = containers.iter().map(Container::title).collect();
            let there = if titles.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are: {}", titles.join(", "))
            };
            return Err(Failure::new(
                Exit::NothingMatched,
                format!("no container or stack in the family is called {word}; {there}"),
            ));
        }
        for stack in &self.stacks {
            self.check_stack(stack, containers, scope)?;
        }
        if containers.is_empty() && self.stacks.is_empty() {
            let families: Vec<String> = scope.queries().iter().map(ToString::to_string).collect();
            return Err(Failure::new(
                Exit::NothingMatched,
                format!("no container matches {}", families.join(" or ")),
            ));
        }
        Ok(())
    }

    /// A declared stack may be empty while following: it will be filled.
    fn check_stack(
        &self,
        stack: &str,
        containers: &[Container],
        scope: &Scope,
    ) -> Result<(), Failure> {
        let declared = scope.stack(stack).is_some();
        if !Self::in_stack(stack, containers, scope).is_empty() || (declared && self.follow) {
            return Ok(());
        }
        let message = if declared {
            format!("the stack {stack} has no container")
        } else {
            let declared = scope.stacks.iter().map(|stack| stack.name.to_string());
            let groups = containers.iter().filter_map(|container| {
                let placement = scope.place(&container.labels);
                placement.group().map(str::to_owned)
            });
            let names: BTreeSet<String> = declared.chain(groups).collect();
            let there = if names.is_empty() {
                "there is none".to_owned()
            } else {
                let names: Vec<String> = names.into_iter().collect();
                format!("there are: {}", names.join(", "))
            };
            format!("no stack is called {stack}; {there}")
        };
        Err(Failure::new(Exit::NothingMatched, message))
    }
}

fn tail(text: &str) -> Result<Tail, Failure> {
    if text == "all" {
        return Ok(Tail::All);
    }
    text.parse()
        .map(Tail::Last)
        .map_err(|_| Failure::usage(format!("--tail {text}: write a number of lines, or all")))
}

fn since_when(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let point = parse_moment(text, &now.to_zoned(TimeZone::system()));
    point.ok_or_else(|| Failure::usage(format!("--since {text}: {MOMENT_HELP}")))
}

/// The sources that are followed: all that were ever meant. One whose container has left the
/// list still has last lines and an end to tell, and goes on if its name comes back.
#[derive(Default)]
struct Chosen(BTreeSet<SourceId>);

impl Chosen {
    fn with(&mut self, meant: &[Container]) -> FollowInput {
        let names = meant.iter().map(|container| container.name.as_str());
        self.0.extend(names.map(|name| SourceId(name.into())));
        FollowInput::Select(self.0.clone())
    }
}

/// Lines to stdout, marks to stderr; both to stdout as JSON.
struct Printer<W: Write> {
    out: io::BufWriter<W>,
    form: Form,
    timestamps: bool,
    palette: Palette,
    /// Of stderr.
    marks: Palette,
    known: BTreeMap<SourceId, Known>,
    widest: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Safe to see: of escape sequences, only colours and attributes are left.
    Shown,
    /// Every byte as it was logged: what a program reads.
    Raw,
    Json,
}

/// What a source is called.
struct Known {
    title: String,
    /// The title, safe to show.
    shown: String,
    stack: Option<String>,
}

impl Printer<Defused<Stdout>> {
    fn new(color: Color, args: &Logs) -> Self {
        let stdout = io::stdout();
        let form = match (args.json, stdout.is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Shown,
            (false, false) => Form::Raw,
        };
        let lines = palette(color, &stdout);
        let marks = palette(color, &io::stderr());
        let out = match form {
            Form::Shown => Defused::new(stdout, Notation::Verbatim),
            Form::Raw => Defused::as_it_is(stdout),
            Form::Json => Defused::new(stdout, Notation::Json),
        };
        Self::to(out, form, args.timestamps, lines, marks)
    }
}

impl<W: Write> Printer<W> {
    fn to(out: W, form: Form, timestamps: bool, palette: Palette, marks: Palette) -> Self {
        Self {
            out: io::BufWriter::new(out),
            form,
            timestamps,
            palette,
            marks,
            known: BTreeMap::new(),
            widest: 0,
        }
    }

    /// Names are kept after their container has gone: its last lines may still come.
    fn know(&mut self, containers: &[Container], scope: &Scope) {
        for container in containers {
            let title = container.title().to_owned();
            let shown = sanitize_plain(&title).into_owned();
            self.widest = self.widest.max(width(&shown));
            let known = Known {
                title,
                shown,
                stack: scope.place(&container.labels).group().map(str::to_owned),
            };
            self.known
                .insert(SourceId(container.name.as_str().into()), known);
        }
    }

    fn title(&self, source: &SourceId) -> String {
        match self.known.get(source) {
            Some(known) => known.shown.clone(),
            None => sanitize_plain(&source.0).into_owned(),
        }
    }

    fn print(&mut self, passed: &Passed) -> io::Result<()> {
        let (event, level) = match passed {
            Passed::Event(event, level) => (event, *level),
            Passed::Break if self.form == Form::Json => return Ok(()),
            Passed::Break => return writeln!(self.out, "--"),
        };
        if self.form == Form::Json {
            let known = self.known.get(event.source());
            let of = Of {
                container: &event.source().0,
                title: known.map(|known| &*known.title),
                stack: known.and_then(|known| known.stack.as_deref()),
            };
            return writeln!(self.out, "{}", json_line(&object(event, level, &of)));
        }
        match event {
            LogEvent::Line { source, line } => self.line(source, line),
            LogEvent::Mark { source, at, mark } => self.mark(source, *at, mark),
        }
    }

    fn mark(&mut self, source: &SourceId, at: Timestamp, mark: &Mark) -> io::Result<()> {
        self.out.flush()?;
        let title = self.title(source);
        let clock = at
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%H:%M:%S");
        let text = format!("── {title} {} · {clock} ──", words(mark));
        // Whoever reads the lines need not read the marks.
        let _ = writeln!(io::stderr(), "{}", self.marks.paint(Paint::Warning, text));
        Ok(())
    }

    fn line(&mut self, source: &SourceId, line: &Line) -> io::Result<()> {
        if self.known.len() > 1 {
            let name = pad(&self.title(source), self.widest);
            write!(self.out, "{} │ ", self.palette.paint(Paint::Quiet, name))?;
        }
        if self.timestamps {
            write!(self.out, "{} ", self.palette.paint(Paint::Quiet, line.at))?;
        }
        if self.form == Form::Raw {
            self.out.write_all(&line.bytes)?;
            return self.out.write_all(b"\n");
        }
        let styled = sanitize(&line.bytes);
        if self.palette.colour {
            writeln!(self.out, "{}", to_ansi(&styled))
        } else {
            writeln!(self.out, "{}", styled.text)
        }
    }
}

fn words(mark: &Mark) -> String {
    match mark {
        Mark::Exited { code, oom } => {
            let code = code.map_or_else(|| "exited".to_owned(), |code| format!("exit {code}"));
            let oom = if *oom { " · out of memory" } else { "" };
            format!("{code}{oom}")
        }
        Mark::Restarted => "restarted".to_owned(),
        Mark::Recreated => "created anew".to_owned(),
        Mark::Removed => "removed".to_owned(),
        Mark::Interrupted { cause } => format!("interrupted: {}", sanitize_plain(cause)),
        Mark::Resumed => "resumed".to_owned(),
        Mark::Gap { from, to } => {
            let span = to.duration_since(*from).as_secs_f64();
            format!("{span:.1} s of the log were rotated away before they were read")
        }
        Mark::Unreadable { cause } => format!("cannot be read: {}", sanitize_plain(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::label::Condition;
    use crate::domain::line::Channel;
    use crate::domain::scope::{Protection, Stack};
    use crate::domain::selector::Selector;
    use crate::engine::fake::{FakeContainer, FakeEngine};
    use crate::text::level::Level;

    #[test]
    fn since_is_a_duration_a_time_or_a_date() {
        let at = |text: &str| since_when(text, Timestamp::now()).map_err(|_| ());
        assert_eq!(
            at("2026-11-21T12:03:00Z"),
            Ok("2026-11-21T12:03:00Z".parse().unwrap())
        );
        assert!(at("10m").unwrap() < Timestamp::now());
        assert!(at("12:03").is_ok());
        assert!(at("2026-11-21T12:03:00").is_ok());
        assert_eq!(at("yesterday"), Err(()));
    }

    #[test]
    fn what_was_meant_once_stays_chosen() {
        let engine = FakeEngine::new();
        let listed = |name: &str| {
            let id = engine.create(FakeContainer::new(name));
            engine.container(&id).unwrap()
        };
        let (a, b) = (listed("a"), listed("b"));
        let sources = |input: FollowInput| match input {
            FollowInput::Select(sources) => sources.into_iter().map(|source| source.0).collect(),
            other => panic!("{other:?}"),
        };
        let mut chosen = Chosen::default();
        let told: Vec<_> = sources(chosen.with(&[a]));
        assert_eq!(told, ["a".into()]);
        let told: Vec<_> = sources(chosen.with(&[b]));
        assert_eq!(told, ["a".into(), "b".into()]);
        let told: Vec<_> = sources(chosen.with(&[]));
        assert_eq!(told, ["a".into(), "b".into()]);
    }

    /// What is printed of one line and one mark.
    fn printed(form: Form, colour: bool, bytes: &[u8]) -> String {
        let engine = FakeEngine::new();
        let container = FakeContainer::new("shop-web-1")
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", "w\u{202e}eb");
        let id = engine.create(container);
        let container = engine.container(&id).unwrap();
        let mut printer = Printer::to(
            Vec::new(),
            form,
            true,
            Palette { colour },
            Palette { colour },
        );
        printer.know(&[container], &Scope::compose_projects());
        let source = SourceId("shop-web-1".into());
        let line = Line {
            at: Timestamp::UNIX_EPOCH,
            channel: Channel::Err,
            bytes: bytes.into(),
        };
        let line = LogEvent::Line {
            source: source.clone(),
            line,
        };
        let mark = LogEvent::Mark {
            source,
            at: Timestamp::UNIX_EPOCH,
            mark: Mark::Exited {
                code: Some(137),
                oom: true,
            },
        };
        let passed = [
            Passed::Event(line, Some(Level::Warn)),
            Passed::Break,
            Passed::Event(mark, None),
        ];
        for passed in passed {
            printer.print(&passed).unwrap();
        }
        String::from_utf8(printer.out.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_else_to_obey() {
        let bytes = b"\x1b]0;title\x07a \x1b[31mred\x1b[2J";
        let shown = printed(Form::Shown, true, bytes);
        assert_eq!(
            shown,
            "\x1b[2m1970-01-01T00:00:00Z\x1b[0m a \x1b[31mred\x1b[0m\n--\n"
        );
        let shown = printed(Form::Shown, false, bytes);
        assert_eq!(shown, "1970-01-01T00:00:00Z a red\n--\n");
    }

    #[test]
    fn a_program_gets_what_was_logged() {
        let raw = printed(Form::Raw, false, b"\x1b]0;title\x07\ta");
        assert_eq!(raw, "1970-01-01T00:00:00Z \x1b]0;title\x07\ta\n--\n");
    }

    #[test]
    fn json_has_lines_and_marks_in_one_stream() {
        let text = printed(Form::Json, false, b"\x1b[31m\xff \"x\"");
        let objects: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        let of = |fields: serde_json::Value| {
            let mut object = serde_json::json!({
                "v": 1,
                "time": "1970-01-01T00:00:00Z",
                "container": "shop-web-1",
                "title": "w\u{202e}eb",
                "stack": "shop",
            });
            let into = object.as_object_mut().unwrap();
            into.extend(fields.as_object().unwrap().clone());
            object
        };
        assert_eq!(
            objects,
            [
                of(serde_json::json!({
                    "channel": "stderr",
                    "level": "warn",
                    "lossy": true,
                    "text": "\u{1b}[31m\u{fffd} \"x\"",
                })),
                of(serde_json::json!({ "mark": "exited", "code": 137, "oom": true })),
            ]
        );
        let text = printed(Form::Json, false, "naïve".as_bytes());
        assert!(
            text.contains("\"text\":\"naïve\"") && !text.contains("lossy"),
            "{text}"
        );
    }

    #[test]
    fn a_stack_is_one_that_is_declared_or_has_a_container() {
        let engine = FakeEngine::new();
        let project = "com.docker.compose.project";
        let id = engine.create(FakeContainer::new("web").label(project, "shop"));
        let containers = [engine.container(&id).unwrap()];
        let mut scope = Scope::compose_projects();
        scope.stacks.push(Stack {
            name: "empty".into(),
            claims: Selector::new(Condition::present("no.such.label"), []).into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Protected,
            compose_project: None,
            run_guard: None,
        });
        let check = |stack: &str, follow: bool| {
            let selection = Selection {
                words: Vec::new(),
                stacks: vec![stack.to_owned()],
                follow,
            };
            let checked = selection.check(&containers, &scope);
            let meant = selection.of(&containers, &scope).len();
            checked.map(|()| meant).map_err(|failure| failure.exit())
        };
        assert_eq!(check("shop", false), Ok(1));
        assert_eq!(check("empty", false), Err(Exit::NothingMatched));
        assert_eq!(check("empty", true), Ok(0));
        assert_eq!(check("shpo", true), Err(Exit::NothingMatched));
        // A container is not a stack.
        assert_eq!(check("web", false), Err(Exit::NothingMatched));
    }

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!(tail("all").map_err(|_| ()), Ok(Tail::All));
        assert_eq!(tail("20").map_err(|_| ()), Ok(Tail::Last(20)));
        assert!(tail("-1").is_err());
    }
}
