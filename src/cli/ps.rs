//! `ps`: the containers of the family, by stack.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;

use super::args::{Color, Ps};
use super::output::{Ended, Failure, mention_missing_file, palette, stdout};
use super::recorded::{self, find};
use crate::bootstrap::{Context, Options};
use crate::domain::badge::{Badge, badges};
use crate::domain::container::{Container, Health, State};
use crate::domain::exit::Exit;
use crate::domain::origins::Renamed;
use crate::domain::scope::{Placement, Protection, Scope};
use crate::engine::{Engine, EngineError, complete, list_any};
use crate::report::{Paint, Palette, json_line};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{pad, truncate, width};

/// Columns of the health check's own words; all of them are in the JSON.
const CHECK: usize = 60;

pub(super) async fn ps(options: &Options, color: Color, args: &Ps) -> Result<Ended, Failure> {
    if let Some(run) = &args.run {
        let found = find(options, run).await?;
        return found
            .during(async |directory| {
                show(&recorded::context(options, directory)?, color, args).await
            })
            .await;
    }
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    context.engine.info().await?;
    show(&context, color, args).await
}

async fn show(context: &Context, color: Color, args: &Ps) -> Result<Ended, Failure> {
    let scope = &context.config.scope;
    let groups = groups(&*context.engine, scope).await?;
    let now = context.now();
    let mut stdout = stdout(args.json);
    if args.json {
        for (group, containers) in &groups {
            for container in containers {
                writeln!(stdout, "{}", json_line(&json(group, container, scope, now)))?;
            }
        }
    } else {
        table(
            &mut stdout,
            &groups,
            scope,
            palette(color, &io::stdout()),
            now,
        )?;
    }
    stdout.flush()?;
    Ok(Ended::with(Exit::Ok))
}

/// By group: declared stacks in the order of the file, then the others by name.
type Groups = Vec<(String, Vec<Container>)>;

async fn groups(engine: &dyn Engine, scope: &Scope) -> Result<Groups, EngineError> {
    let mut all = list_any(engine, &scope.queries()).await?;
    complete(engine, &mut all).await;
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
            sanitize_plain(container.image_name()).into_owned(),
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
            for note in notes(container, scope, now) {
                line.push_str("  ");
                line.push_str(&palette.paint(Paint::Warning, sanitize_plain(&note)));
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

/// What is wrong with it, with what is known of the cause.
fn notes(container: &Container, scope: &Scope, now: Timestamp) -> Vec<String> {
    let placement = scope.place(&container.labels);
    let badges = badges(container, &placement, false, now);
    let mut notes: Vec<String> = badges
        .into_iter()
        .map(|badge| match (badge, &placement) {
            (Badge::Stacks(_), Placement::Several(names)) => {
                format!("{badge}: {}", names.join(", "))
            }
            (Badge::BindSourceGone, _) => format!("{badge}: {}", container.origins.gone.join(", ")),
            _ => badge.to_string(),
        })
        .collect();
    let unhealthy = container.health == Some(Health::Unhealthy);
    let check = container
        .detail
        .as_ref()
        .and_then(|detail| detail.health_output.as_deref())
        .and_then(|output| output.lines().next())
        .filter(|_| unhealthy);
    if let Some(words) = check {
        notes.push(format!("health check: {}", truncate(words, CHECK)));
    }
    notes
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

fn json(group: &str, container: &Container, scope: &Scope, now: Timestamp) -> serde_json::Value {
    let placement = scope.place(&container.labels);
    let badges: Vec<String> = badges(container, &placement, false, now)
        .iter()
        .map(ToString::to_string)
        .collect();
    let detail = container.detail.as_ref();
    let image_now = container.origins.image.as_ref().and_then(|now| match now {
        Renamed::To(id) => Some(id),
        Renamed::Nothing => None,
    });
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
        "image_name": detail.and_then(|detail| detail.image_name.as_deref()),
        "image_id_now": image_now,
        "state": container.state.word(),
        "health": container.health.map(Health::word),
        "status": container.status,
        "health_output": detail.and_then(|detail| detail.health_output.as_deref()),
        "exit_code": container.exit_code(),
        "restart_count": detail.map(|detail| detail.restart_count),
        "badges": badges,
        "missing_sources": container.origins.gone,
        "created": container.created.to_string(),
        "ports": ports,
        "labels": container.labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::MountKind;
    use crate::domain::scope::Stack;
    use crate::engine::fake::{FakeContainer, FakeEngine};

    fn scope() -> Scope {
        let stack = |name: &str| Stack {
            name: name.into(),
            claims: selector(&format!("{name}=1")).into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Removable,
            compose_project: None,
            run_guard: None,
        };
        Scope {
            families: vec![selector("family=1")],
            stacks: vec![stack("web"), stack("db")],
            group_by: None,
        }
    }

    fn selector(condition: &str) -> crate::domain::selector::Selector {
        let condition = condition.parse().unwrap();
        crate::domain::selector::Selector::from_conditions([condition]).unwrap()
    }

    /// One of each kind of trouble.
    fn troubled() -> FakeEngine {
        let engine = FakeEngine::new();
        let member = |name: &str| {
            FakeContainer::new(name)
                .label("family", "1")
                .label("web", "1")
        };
        engine.run(member("both").label("db", "1"));
        let gone = member("gone").mount(MountKind::Bind, "/tmp/state", "/state");
        let gone = engine.run(gone);
        engine.die(&gone, 1);
        engine.lose("/tmp/state");
        engine.run_out_of_memory(&engine.run(member("hungry")));
        let looping = engine.run(member("looping"));
        engine.restart(&looping, 1);
        engine.restart(&looping, 1);
        let sick = engine.run(member("sick"));
        engine.set_health(&sick, Health::Unhealthy, "curl: (7) refused\nmore");
        engine.run(member("stale").image("engine:dev", "sha256:1111111111111111"));
        engine.tag("engine:dev", "sha256:2222222222222222");
        engine.run(member("well"));
        engine
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_says_what_is_wrong_without_colour() {
        let engine = troubled();
        let groups = groups(&engine, &scope()).await.unwrap();
        let mut text = Vec::new();
        let plain = Palette { colour: false };
        table(&mut text, &groups, &scope(), plain, engine.now()).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn the_json_has_every_badge_and_its_cause() {
        let engine = troubled();
        let groups = groups(&engine, &scope()).await.unwrap();
        let rows: Vec<serde_json::Value> = groups
            .iter()
            .flat_map(|(group, containers)| {
                containers
                    .iter()
                    .map(|container| json(group, container, &scope(), engine.now()))
            })
            .collect();
        let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row("well")["badges"], json!([]));
        assert_eq!(row("both")["badges"], json!(["two stacks"]));
        assert_eq!(row("gone")["badges"], json!(["bind source gone"]));
        assert_eq!(row("gone")["missing_sources"], json!(["/tmp/state"]));
        assert_eq!(row("gone")["exit_code"], 1);
        assert_eq!(row("hungry")["badges"], json!(["OOM"]));
        assert_eq!(row("looping")["badges"], json!(["restart loop"]));
        assert_eq!(row("looping")["restart_count"], 2);
        assert_eq!(row("sick")["health_output"], "curl: (7) refused\nmore");
        let stale = row("stale");
        assert_eq!(stale["badges"], json!(["stale image"]));
        assert_eq!(stale["image_name"], "engine:dev");
        assert_eq!(stale["image_id"], "sha256:1111111111111111");
        assert_eq!(stale["image_id_now"], "sha256:2222222222222222");
    }
}
