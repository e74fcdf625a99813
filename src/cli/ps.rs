//! `ps`: the containers of the family, by stack.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;

use super::args::{Color, Ps};
use super::output::{Ended, Failure, mention_missing_file, palette};
use crate::bootstrap::{Context, Options};
use crate::domain::container::{Container, Health, State};
use crate::domain::exit::Exit;
use crate::domain::scope::{Placement, Protection, Scope};
use crate::engine::{Engine, EngineError, list_any};
use crate::report::{Paint, Palette, json_line};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{pad, width};

pub(super) async fn ps(options: &Options, color: Color, args: &Ps) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    context.engine.info().await?;
    let scope = &context.config.scope;
    let groups = groups(&*context.engine, scope).await?;
    let mut stdout = io::stdout().lock();
    if args.json {
        for (group, containers) in &groups {
            for container in containers {
                writeln!(stdout, "{}", json_line(&json(group, container, scope)))?;
            }
        }
    } else {
        table(
            &mut stdout,
            &groups,
            scope,
            palette(color, &io::stdout()),
            Timestamp::now(),
        )?;
    }
    stdout.flush()?;
    Ok(Ended::with(Exit::Ok))
}

/// By group: declared stacks in the order of the file, then the others by name.
type Groups = Vec<(String, Vec<Container>)>;

async fn groups(engine: &dyn Engine, scope: &Scope) -> Result<Groups, EngineError> {
    let all = list_any(engine, &scope.queries()).await?;
    let mut groups: Groups = scope
        .stacks
        .iter()
        .map(|stack| (stack.name.to_string(), Vec::new()))
        .collect();
    for container in all.into_values() {
        let placement = scope.place(&container.labels);
        let Some(group) = placement.group() else {
            continue;
        };
        match groups.iter_mut().find(|(name, _)| name == group) {
            Some((_, containers)) => containers.push(container),
            None => groups.push((group.to_owned(), vec![container])),
        }
    }
    let declared = scope.stacks.len();
    groups[declared..].sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, containers) in &mut groups {
        containers.sort_by(|a, b| a.title().cmp(b.title()).then_with(|| a.name.cmp(&b.name)));
    }
    Ok(groups)
}

fn standing(group: &str, scope: &Scope) -> &'static str {
    match scope.stack(group).map(|stack| stack.protection) {
        Some(Protection::Removable) => "may be removed",
        Some(Protection::Protected) => "protected",
        None if group == "unclaimed" => "in no stack",
        None => "protected",
    }
}

fn table(
    out: &mut dyn Write,
    groups: &Groups,
    scope: &Scope,
    palette: Palette,
    now: Timestamp,
) -> io::Result<()> {
    if groups.is_empty() {
        let families: Vec<String> = scope.families.iter().map(ToString::to_string).collect();
        return writeln!(out, "no container matches {}", families.join(" or "));
    }
    let cells = |container: &Container| {
        [
            sanitize_plain(container.title()).into_owned(),
            container.word(),
            age(container, now),
            ports(container),
            sanitize_plain(&container.image).into_owned(),
        ]
    };
    let mut widths = [0; 5];
    for container in groups.iter().flat_map(|(_, containers)| containers) {
        for (column, cell) in widths.iter_mut().zip(cells(container)) {
            *column = (*column).max(width(&cell));
        }
    }
    for (group, containers) in groups {
        let up = containers
            .iter()
            .filter(|container| container.state.is_alive())
            .count();
        let name = palette.paint(Paint::Strong, sanitize_plain(group));
        let rest = format!("{} · {up} up", standing(group, scope));
        writeln!(out, "{name}  {}", palette.paint(Paint::Quiet, rest))?;
        for container in containers {
            let cells = cells(container);
            let mut line = String::new();
            for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
                let cell = pad(cell, width);
                let painted = if index == 1 {
                    palette.paint(paint(container), cell)
                } else {
                    cell
                };
                line.push_str("  ");
                line.push_str(&painted);
            }
            if let Placement::Several(names) = scope.place(&container.labels) {
                let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                line.push_str(&format!("  two stacks: {}", names.join(", ")));
            }
            writeln!(
                out,
                "{} {}",
                container.symbol(),
                line.trim_start().trim_end()
            )?;
        }
    }
    Ok(())
}

fn paint(container: &Container) -> Paint {
    match (container.state, container.health) {
        (State::Running, Some(Health::Unhealthy)) | (State::Dead | State::Restarting, _) => {
            Paint::Bad
        }
        (State::Exited, _) if container.exit_code() != Some(0) => Paint::Bad,
        (State::Running, Some(Health::Starting)) | (State::Paused, _) => Paint::Warning,
        (State::Running, _) => Paint::Good,
        _ => Paint::Quiet,
    }
}

fn age(container: &Container, now: Timestamp) -> String {
    let seconds = now.duration_since(container.created).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn ports(container: &Container) -> String {
    let ports: Vec<String> = container
        .published_ports()
        .into_iter()
        .map(|port| format!(":{port}"))
        .collect();
    ports.join(" ")
}

fn json(group: &str, container: &Container, scope: &Scope) -> serde_json::Value {
    let ports: Vec<_> = container
        .ports
        .iter()
        .map(|port| {
            json!({
                "private": port.private,
                "public": port.public,
                "address": port.address,
                "protocol": port.protocol,
            })
        })
        .collect();
    json!({
        "stack": group,
        "standing": standing(group, scope),
        "id": container.id.as_str(),
        "name": container.name,
        "title": container.title(),
        "image": container.image,
        "image_id": container.image_id,
        "state": container.state.word(),
        "health": container.health.map(Health::word),
        "status": container.status,
        "created": container.created.to_string(),
        "ports": ports,
        "labels": container.labels,
    })
}
