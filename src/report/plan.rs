//! A teardown plan for people.

use std::io::{self, Write};

use jiff::Timestamp;

use super::palette::{Paint, Palette};
use crate::domain::plan::{Item, TeardownPlan};
use crate::domain::run::Seconds;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::pad;

/// Writes what goes, what stays and why, and the fingerprint that confirms it.
///
/// # Errors
///
/// Fails where the writer does.
pub fn write_plan(
    out: &mut dyn Write,
    plan: &TeardownPlan,
    palette: Palette,
    now: Timestamp,
) -> io::Result<()> {
    let selector = plan.claims.to_string();
    let title = format!("teardown of {}", plan.stack);
    writeln!(
        out,
        "{}  {}",
        palette.paint(Paint::Strong, title),
        palette.paint(Paint::Quiet, sanitize_plain(&selector))
    )?;
    if let Some(hook) = &plan.hook {
        writeln!(out, "  runs     {}", sanitize_plain(hook))?;
    }
    let width = plan
        .remove
        .iter()
        .chain(plan.spare.iter().map(|spared| &spared.item))
        .map(|item| crate::text::width::width(&sanitize_plain(&item.name)))
        .max()
        .unwrap_or(0)
        .min(48);
    if plan.remove.is_empty() {
        let why = match plan.left_to_others().next() {
            Some(_) => "all is left to other runs",
            None => "nothing matches",
        };
        writeln!(out, "  {why}: there is nothing to remove")?;
    }
    for item in &plan.remove {
        let what = palette.paint(Paint::Bad, "removes");
        writeln!(out, "  {what}  {}", describe(item, width, now))?;
    }
    if let Some(warning) = plan.warning() {
        let what = palette.paint(Paint::Warning, "warning");
        writeln!(out, "  {what}  {warning}")?;
    }
    for spared in &plan.spare {
        let what = palette.paint(Paint::Good, "spares ");
        let reason = spared.reason.to_string();
        writeln!(
            out,
            "  {what}  {}  {}",
            describe(&spared.item, width, now),
            palette.paint(Paint::Quiet, sanitize_plain(&reason))
        )?;
    }
    writeln!(out, "  fingerprint {}", plan.fingerprint())
}

fn describe(item: &Item, width: usize, now: Timestamp) -> String {
    let mut text = format!(
        "{:<9}  {}",
        item.kind.word(),
        pad(&sanitize_plain(&item.name), width)
    );
    if let Some(state) = &item.state {
        text.push_str(&format!("  {}", sanitize_plain(state)));
    }
    if let Some(age) = item.created.and_then(|created| age(created, now)) {
        text.push_str(&format!("  {age} old"));
    }
    if let Some(image) = &item.image {
        text.push_str(&format!("  {}", sanitize_plain(image)));
    }
    text.trim_end().to_owned()
}

fn age(created: Timestamp, now: Timestamp) -> Option<String> {
    let age = std::time::Duration::try_from(now.duration_since(created)).ok()?;
    let hours = age.as_secs() / 3600;
    Some(match hours {
        0 => Seconds(age).to_string(),
        1..48 => format!("{hours} h"),
        _ => format!("{} d", hours / 24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::label::{Condition, Labels};
    use crate::domain::plan::{ItemKind, SpareReason, Spared};
    use crate::domain::selector::Selector;

    #[test]
    fn people_are_told_what_runs_and_what_is_left_to_others() {
        let now = Timestamp::UNIX_EPOCH;
        let item = Item {
            kind: ItemKind::Container,
            name: "engine".to_owned(),
            id: "1".to_owned(),
            created: Some(now),
            labels: Labels::new(),
            image: None,
            state: Some("running".to_owned()),
        };
        let mut plan = TeardownPlan {
            stack: "integration".into(),
            claims: Selector::new(Condition::equals("a", "1"), []).into(),
            spawner: None,
            hook: None,
            remove: vec![item.clone()],
            spare: Vec::new(),
        };
        let text = |plan: &TeardownPlan| {
            let mut out = Vec::new();
            write_plan(&mut out, plan, Palette { colour: false }, now).unwrap();
            String::from_utf8(out).unwrap()
        };
        let removing = text(&plan);
        assert!(
            removing.contains("  warning  the container is running\n"),
            "{removing}"
        );
        plan.remove.clear();
        let nothing = text(&plan);
        assert!(
            nothing.contains("nothing matches: there is nothing"),
            "{nothing}"
        );
        plan.spare.push(Spared {
            item,
            reason: SpareReason::InUseByOtherRun {
                by: "other".to_owned(),
            },
        });
        let others = text(&plan);
        assert!(
            others.contains("all is left to other runs: there is nothing"),
            "{others}"
        );
        assert!(!others.contains("warning"), "{others}");
    }
}
