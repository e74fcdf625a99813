//! What is known of one container.

use super::containers::{badges, symbol};
use super::draw::prose;
use crate::domain::container::Container;
use crate::domain::line::SourceId;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::rows;
use crate::tui::state::State;

/// Columns of the labels on the left.
pub(crate) const LABEL: usize = 14;

/// Label and value; a long value goes on in rows without a label.
pub(crate) fn lines(state: &State, source: &SourceId, columns: usize) -> Vec<(String, String)> {
    let Some(container) = state.tree.container(source) else {
        return vec![(String::new(), "the container is gone".to_owned())];
    };
    let columns = columns.saturating_sub(LABEL).max(10);
    let mut lines = Vec::new();
    let mut add = |label: &str, value: &str| {
        let value = sanitize_plain(value);
        for (index, row) in rows(&value, columns).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            lines.push((label.to_owned(), value[row].to_owned()));
        }
    };
    facts(state, container, &mut add);
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

fn facts(state: &State, container: &Container, add: &mut impl FnMut(&str, &str)) {
    add("name", &container.name);
    add("id", container.id.short());
    let (symbol, _) = symbol(container);
    add(
        "state",
        &format!("{symbol} {} ({})", container.word(), container.status),
    );
    let badges = badges(state, container);
    if !badges.is_empty() {
        add("mind", &badges.join(", "));
    }
    add("image", &container.image);
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
            for (index, line) in prose(error, 200).iter().enumerate() {
                add(if index == 0 { "start failed" } else { "" }, line);
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
}
