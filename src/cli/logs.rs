//! `logs`: one container's log, or several merged in the order of time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;

use super::args::{Color, Logs};
use super::output::{Ended, Failure, complain, mention_missing_file, palette};
use crate::bootstrap::{Context, Options};
use crate::domain::container::Container;
use crate::domain::exit::Exit;
use crate::domain::line::{Mark, SourceId};
use crate::domain::link::Link;
use crate::domain::replay::parse_duration;
use crate::domain::scope::Scope;
use crate::engine::{Tail, list_any};
use crate::logs::{
    FollowInput, FollowOptions, LogEvent, REORDER_WINDOW, dump, follow, reorder, singly,
};
use crate::report::{Paint, Palette};
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::{pad, width};
use crate::watch::{WatchEvent, WatchOptions, watch};

pub(super) async fn logs(options: &Options, color: Color, args: &Logs) -> Result<Ended, Failure> {
    let wanted = FollowOptions {
        tail: tail(&args.tail)?,
        whole_groups: false,
        since: args.since.as_deref().map(since).transpose()?,
        follow: args.follow,
    };
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    context.engine.info().await?;
    let containers = in_scope(&context).await?;
    let selection = Selection::new(&args.containers);
    selection.check(&containers, &context.config.scope)?;
    let mut printer = Printer::new(color, args.timestamps);
    printer.know(&selection.of(&containers, &context.config.scope));
    if args.follow {
        follow_all(&context, &selection, wanted, &mut printer).await
    } else {
        let chosen = selection.of(&containers, &context.config.scope);
        let mut events = std::pin::pin!(dump(&context.engine, &chosen, wanted));
        let mut exit = Exit::Ok;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => printer.print(&event)?,
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
    printer: &mut Printer,
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
                    printer.know(&meant);
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
                    printer.print(&event)?;
                    // What is there already goes out in one write.
                    while let Some(Some(event)) = events.next().now_or_never() {
                        printer.print(&event)?;
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
}

impl Selection {
    fn new(words: &[String]) -> Self {
        Self {
            words: words.to_vec(),
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
        let in_stack =
            |container: &&Container| scope.place(&container.labels).group() == Some(word);
        containers.iter().filter(in_stack).collect()
    }

    fn of(&self, containers: &[Container], scope: &Scope) -> Vec<Container> {
        if self.words.is_empty() {
            return containers.to_vec();
        }
        let meant: BTreeMap<&str, &Container> = self
            .words
            .iter()
            .flat_map(|word| Self::meant(word, containers, scope))
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
        if containers.is_empty() {
            let families: Vec<String> = scope.queries().iter().map(ToString::to_string).collect();
            return Err(Failure::new(
                Exit::NothingMatched,
                format!("no container matches {}", families.join(" or ")),
            ));
        }
        Ok(())
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

/// `10m` ago, `12:03` today, or a date and time with or without an offset.
fn since(text: &str) -> Result<Timestamp, Failure> {
    let now = Zoned::now();
    let point = if let Some(ago) = parse_duration(text) {
        now.timestamp().checked_sub(ago).ok()
    } else if let Ok(point) = text.parse::<Timestamp>() {
        Some(point)
    } else if let Ok(time) = text.parse::<jiff::civil::Time>() {
        let today = now
            .date()
            .to_datetime(time)
            .to_zoned(now.time_zone().clone());
        today.ok().map(|zoned| zoned.timestamp())
    } else if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        local
            .to_zoned(now.time_zone().clone())
            .ok()
            .map(|zoned| zoned.timestamp())
    } else {
        None
    };
    point.ok_or_else(|| {
        Failure::usage(format!(
            "--since {text}: write 10m, 12:03 or 2026-11-21T12:03:00Z"
        ))
    })
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

/// Lines to stdout, marks to stderr.
struct Printer {
    out: io::BufWriter<io::Stdout>,
    to_terminal: bool,
    timestamps: bool,
    palette: Palette,
    titles: BTreeMap<SourceId, String>,
    widest: usize,
}

impl Printer {
    fn new(color: Color, timestamps: bool) -> Self {
        Self {
            out: io::BufWriter::new(io::stdout()),
            to_terminal: io::stdout().is_terminal(),
            timestamps,
            palette: palette(color, &io::stdout()),
            titles: BTreeMap::new(),
            widest: 0,
        }
    }

    /// Titles are kept after their container has gone: its last lines may still come.
    fn know(&mut self, containers: &[Container]) {
        for container in containers {
            let title = sanitize_plain(container.title()).into_owned();
            self.widest = self.widest.max(width(&title));
            self.titles
                .insert(SourceId(container.name.as_str().into()), title);
        }
    }

    fn title(&self, source: &SourceId) -> String {
        self.titles
            .get(source)
            .cloned()
            .unwrap_or_else(|| sanitize_plain(&source.0).into_owned())
    }

    fn print(&mut self, event: &LogEvent) -> io::Result<()> {
        let title = self.title(event.source());
        let (at, line) = match event {
            LogEvent::Line { line, .. } => (line.at, line),
            LogEvent::Mark { at, mark, .. } => {
                self.out.flush()?;
                let clock = at
                    .to_zoned(jiff::tz::TimeZone::system())
                    .strftime("%H:%M:%S");
                let text = format!("── {title} {} · {clock} ──", words(mark));
                // Whoever reads the lines need not read the marks.
                let _ = writeln!(io::stderr(), "{}", self.palette.paint(Paint::Warning, text));
                return Ok(());
            }
        };
        if self.titles.len() > 1 {
            let name = pad(&title, self.widest);
            write!(self.out, "{} │ ", self.palette.paint(Paint::Quiet, name))?;
        }
        if self.timestamps {
            write!(self.out, "{} ", self.palette.paint(Paint::Quiet, at))?;
        }
        if self.to_terminal {
            writeln!(self.out, "{}", sanitize(&line.bytes).text)
        } else {
            // A program gets what was logged.
            self.out.write_all(&line.bytes)?;
            self.out.write_all(b"\n")
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
    use crate::engine::fake::{FakeContainer, FakeEngine};

    #[test]
    fn since_is_a_duration_a_time_or_a_date() {
        let at = |text: &str| since(text).map_err(|_| ());
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

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!(tail("all").map_err(|_| ()), Ok(Tail::All));
        assert_eq!(tail("20").map_err(|_| ()), Ok(Tail::Last(20)));
        assert!(tail("-1").is_err());
    }
}
