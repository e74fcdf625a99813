//! What is known of one container.

use std::collections::BTreeSet;

use super::containers::{badges, symbol};
use super::draw::prose;
use crate::domain::badge::Badge;
use crate::domain::container::{Container, short_id};
use crate::domain::line::SourceId;
use crate::domain::origins::{Renamed, bind_sources, is_transient};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::rows;
use crate::tui::state::State;

/// Columns of the labels on the left.
pub(crate) const LABEL: usize = 14;

/// Adds a value in as many rows as it takes, of which the first has the label.
pub(super) fn labelled(
    lines: &mut Vec<(String, String)>,
    columns: usize,
    label: &str,
    value: &str,
) {
    let value = sanitize_plain(value);
    for (index, row) in rows(&value, columns).into_iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        lines.push((label.to_owned(), value[row].to_owned()));
    }
}

/// Label and value; a long value goes on in rows without a label.
pub(crate) fn lines(state: &State, source: &SourceId, columns: usize) -> Vec<(String, String)> {
    let Some(container) = state.tree.container(source) else {
        return vec![(String::new(), "the container is gone".to_owned())];
    };
    let columns = columns.saturating_sub(LABEL).max(10);
    let mut lines = Vec::new();
    let mut add = |label: &str, value: &str| labelled(&mut lines, columns, label, value);
    facts(state, container, columns, &mut add);
    let output = container
        .detail
        .as_ref()
        .and_then(|detail| detail.health_output.as_deref());
    if let Some(output) = output {
        add("", "");
        for (index, line) in output.lines().enumerate() {
            add(if index == 0 { "health check" } else { "" }, line);
        }
    }
    if !container.labels.is_empty() {
        add("", "");
    }
    for (index, (key, value)) in container.labels.iter().enumerate() {
        add(
            if index == 0 { "labels" } else { "" },
            &format!("{key}={value}"),
        );
    }
    lines
}

fn facts(state: &State, container: &Container, columns: usize, add: &mut impl FnMut(&str, &str)) {
    add("name", &container.name);
    add("id", container.id.short());
    let (symbol, _) = symbol(container);
    add(
        "state",
        &format!("{symbol} {} ({})", container.word(), container.status),
    );
    for (index, note) in notes(state, container).iter().enumerate() {
        for (row, line) in prose(note, columns).iter().enumerate() {
            add(if index + row == 0 { "mind" } else { "" }, line);
        }
    }
    add("image", container.image_name());
    add("image id", &container.image_id);
    add("created", &container.created.to_string());
    if let Some(detail) = &container.detail {
        if let Some(at) = detail.started {
            add("started", &at.to_string());
        }
        if let Some(at) = detail.finished {
            add("finished", &at.to_string());
        }
        if let Some(error) = &detail.error {
            for (index, line) in prose(error, columns).iter().enumerate() {
                add(if index == 0 { "error" } else { "" }, line);
            }
        }
    }
    for (index, port) in container.ports.iter().enumerate() {
        let target = format!("{}/{}", port.private, port.protocol);
        let text = match (port.public, &port.address) {
            (Some(public), Some(address)) => format!("{address}:{public} → {target}"),
            (Some(public), None) => format!(":{public} → {target}"),
            (None, _) => format!("{target} (not published)"),
        };
        add(if index == 0 { "ports" } else { "" }, &text);
    }
    for (index, mount) in container.mounts.iter().enumerate() {
        let text = format!("{} → {}", mount.source, mount.target);
        add(if index == 0 { "mounts" } else { "" }, &text);
    }
    for source in transient(container) {
        let text = format!(
            "bind {source}: a transient path, a restart after a reboot may fail; recreate from a \
             persistent checkout or bake the file in"
        );
        for line in prose(&text, columns) {
            add("", &line);
        }
    }
}

/// What is wrong with it; where there is more to say than the badge, a sentence.
fn notes(state: &State, container: &Container) -> Vec<String> {
    let mut plain = Vec::new();
    let mut sentences = Vec::new();
    for badge in badges(state, container) {
        match badge {
            Badge::BindSourceGone => {
                sentences.extend(container.origins.gone.iter().map(|source| {
                    format!("{badge}: {source}; a restart fails, or begins with an empty directory")
                }));
            }
            Badge::StaleImage => sentences.push(format!("{badge}: {}", stale(container))),
            _ => plain.push(badge.to_string()),
        }
    }
    let plain = Some(plain.join(", ")).filter(|plain| !plain.is_empty());
    plain.into_iter().chain(sentences).collect()
}

fn stale(container: &Container) -> String {
    let name = container.image_name();
    let own = short_id(&container.image_id);
    match &container.origins.image {
        Some(Renamed::To(now)) => {
            format!(
                "{name} is {} now, this container is of {own}",
                short_id(now)
            )
        }
        _ => format!("no image is called {name} now, this container is of {own}"),
    }
}

/// The sources of its binds that are there and may not be for long, each once.
fn transient(container: &Container) -> BTreeSet<&str> {
    bind_sources(container)
        .filter(|source| is_transient(source))
        .filter(|source| !container.origins.gone.iter().any(|gone| gone == source))
        .collect()
}
