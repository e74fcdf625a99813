//! The engine's part of a recording, read back. Whatever of it is missing is no error: an older
//! run has none of it, and one that was cut off has some.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::shape::{Change, Event, Turn};
use super::write::segment;
use super::{
    BACK, CONTAINERS, ContainerChange, DIRECTORY, EVENTS, LOGS, LOST, LogState, Outage,
    RecordedContainer, RecordedLog, Seen, VERSION,
};
use crate::codec::DecodeError;
use crate::domain::container::{Container, State};
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::origins::Origins;
use crate::engine::Inspect;
use crate::record::files::{inside, open_inside, read_line};
use crate::record::read::ReadError;

/// What the engine told during a run, in its order.
///
/// # Errors
///
/// Fails where a file is there and cannot be read, or a newer tackroom wrote it.
pub fn engine_events(directory: &Path) -> Result<Vec<EngineEvent>, ReadError> {
    let events: Vec<Event> = lines(directory, EVENTS)?;
    Ok(events.into_iter().map(Event::event).collect())
}

/// When nothing of the engine was recorded, in the order of time.
///
/// # Errors
///
/// As [`engine_events`].
pub fn outages(directory: &Path) -> Result<Vec<Outage>, ReadError> {
    let turns: Vec<Turn> = lines(directory, EVENTS)?;
    let mut outages: Vec<Outage> = Vec::new();
    for turn in turns {
        match outages.last_mut().filter(|outage| outage.to.is_none()) {
            Some(open) if turn.engine == BACK => open.to = Some(turn.at),
            None if turn.engine == LOST => outages.push(Outage {
                from: turn.at,
                to: None,
                cause: turn.cause.unwrap_or_default(),
            }),
            _ => {}
        }
    }
    Ok(outages)
}

/// Every container of a run at every moment at which it was looked at.
///
/// # Errors
///
/// As [`engine_events`].
pub fn container_changes(directory: &Path) -> Result<Vec<ContainerChange>, ReadError> {
    let changes: Vec<Change> = lines(directory, CONTAINERS)?;
    Ok(changes.into_iter().filter_map(Change::change).collect())
}

/// The containers of a run as its end has left them, in the order in which they were first seen.
///
/// # Errors
///
/// As [`engine_events`].
pub fn containers(directory: &Path) -> Result<Vec<RecordedContainer>, ReadError> {
    let mut known: BTreeMap<ContainerId, Known> = BTreeMap::new();
    for (order, change) in container_changes(directory)?.into_iter().enumerate() {
        let known = known.entry(change.id.clone()).or_insert_with(|| Known {
            order,
            first_seen: change.at,
            inspect: None,
            removed: None,
            log: LogState::default(),
        });
        match change.what {
            Seen::Created(inspect) => {
                // Its log may have been opened a moment before.
                known.first_seen = change.at;
                known.inspect = Some(*inspect);
            }
            Seen::Changed(inspect) => known.inspect = Some(*inspect),
            Seen::Removed => known.removed = Some(change.at),
            Seen::Log(log) => {
                known.log = LogState {
                    file: log.file.or(known.log.file.take()),
                    ..log
                }
            }
        }
    }
    let logs = Path::new(DIRECTORY).join(LOGS);
    let mut known: Vec<(ContainerId, Known)> = known.into_iter().collect();
    known.sort_by_key(|(_, known)| known.order);
    let events = match known.iter().all(|(_, known)| known.inspect.is_some()) {
        true => Vec::new(),
        false => engine_events(directory)?,
    };
    let containers = known.into_iter().filter_map(|(id, known)| {
        let inspect = match known.inspect {
            Some(inspect) => inspect,
            // Of its log no more is known than that there is none.
            None if known.log.trouble.is_some() => unseen(&id, &events),
            None => return None,
        };
        let named = known.log.file.filter(|name| !name.contains('/'));
        // A run that was killed has not said what it called it.
        let name = named.unwrap_or_else(|| {
            let container = &inspect.container;
            super::write::log_name(&container.name, &container.id)
        });
        let files = [name.clone(), segment(&name, 1), segment(&name, 2)];
        let files = files.map(|name| inside(directory, logs.join(name)).ok().flatten());
        let files: Vec<PathBuf> = files.into_iter().flatten().collect();
        let log = (!files.is_empty()).then_some(RecordedLog(files));
        Some(RecordedContainer {
            inspect,
            first_seen: known.first_seen,
            removed: known.removed,
            log,
            cut: known.log.cut,
            trouble: known.log.trouble,
        })
    });
    Ok(containers.collect())
}

/// A container of which nobody has seen more than its events.
fn unseen(id: &ContainerId, events: &[EngineEvent]) -> Inspect {
    let of_it = |event: &&EngineEvent| event.container == *id;
    let first = events.iter().find(of_it);
    let last = events.iter().rfind(of_it);
    Inspect::of(
        Container {
            id: id.clone(),
            name: last.map_or_else(|| id.short().to_owned(), |event| event.name.clone()),
            image: String::new(),
            image_id: String::new(),
            state: State::Unknown,
            health: None,
            status: String::new(),
            created: first.map_or(Timestamp::UNIX_EPOCH, |event| event.at),
            labels: last.map(|event| event.labels.clone()).unwrap_or_default(),
            ports: Vec::new(),
            mounts: Vec::new(),
            detail: None,
            origins: Origins::default(),
        },
        serde_json::Value::Null,
    )
}

struct Known {
    order: usize,
    first_seen: Timestamp,
    inspect: Option<Inspect>,
    removed: Option<Timestamp>,
    log: LogState,
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// The lines of a file that are of this shape.
fn lines<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Vec<T>, ReadError> {
    let relative = Path::new(DIRECTORY).join(name);
    let wrap = |source| ReadError::Io {
        path: directory.join(&relative),
        source,
    };
    let Some((path, file)) = open_inside(directory, &relative).map_err(wrap)? else {
        return Ok(Vec::new());
    };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    let mut found = Vec::new();
    loop {
        if read_line(&mut file, &mut line).map_err(wrap)? == 0 {
            return Ok(found);
        }
        match serde_json::from_slice::<Version>(&line) {
            Ok(Version { v }) if v > u64::from(VERSION) => {
                return Err(ReadError::Newer {
                    path,
                    source: DecodeError::Newer(v),
                });
            }
            Ok(_) => {}
            // What was cut off, or is of no shape that is known, is left out.
            Err(_) => found.extend(serde_json::from_slice::<T>(&line)),
        }
    }
}
