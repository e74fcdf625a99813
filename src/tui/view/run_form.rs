//! The dialog that asks how replays are to be run.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Row, dialog};
use crate::text::sanitize::sanitize_plain;
use crate::tui::state::State;
use crate::tui::state::run_form::{Field, RunForm};
use crate::tui::theme::Role;

const LABEL: usize = 18;
const VALUE: usize = 10;

pub(super) fn draw(state: &State, form: &RunForm, area: Rect, inner: Rect, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    let title = match form.names.as_slice() {
        [one] => format!("Run {}", sanitize_plain(one.as_str())),
        names => format!("Run {} replays", names.len()),
    };
    dialog(buffer, area, &title, theme);
    let mut rows = Vec::new();
    for stays in [false, true] {
        rows.push(None);
        rows.extend(
            Field::ALL
                .map(Some)
                .into_iter()
                .filter(|f| f.is_some_and(|f| f.stays() == stays)),
        );
    }
    let selected = Some(form.field());
    let at = rows.iter().position(|row| *row == selected).unwrap_or(0);
    let top = (at + 1).saturating_sub(usize::from(inner.height));
    let count = rows.len();
    for (index, row) in rows.into_iter().enumerate().skip(top) {
        let mut line = Row::new(buffer, inner, index - top);
        let Some(field) = row else {
            let text = if index == 0 {
                "this time"
            } else {
                "from now on"
            };
            line.text(text, theme.style(Role::Strong));
            continue;
        };
        let (label, value, hint) = words(form, field);
        line.text(
            if index == at { "› " } else { "  " },
            theme.style(Role::Strong),
        )
        .cell(label, LABEL, theme.style(Role::Text))
        .cell(&value, VALUE, theme.style(Role::Strong))
        .text(hint, theme.style(Role::Muted));
        if index == at {
            let whole = Rect {
                y: inner.y + u16::try_from(index - top).unwrap_or(u16::MAX),
                height: 1,
                ..inner
            };
            buffer.set_style(whole.intersection(inner), theme.style(Role::Cursor));
        }
    }
    let last = usize::from(inner.height).saturating_sub(1);
    if last > count {
        let name = match form.names.as_slice() {
            [one] => sanitize_plain(one.as_str()).into_owned(),
            _ => "…".to_owned(),
        };
        let flags = form.flags(&state.setup.policy);
        Row::new(buffer, inner, last).text(
            &format!("tackroom run {name}{flags}"),
            theme.style(Role::Muted),
        );
    }
}

/// What a row says: its name, its value, and what that means.
fn words(form: &RunForm, field: Field) -> (&'static str, String, &'static str) {
    let switch = |on: bool| if on { "yes" } else { "no" }.to_owned();
    match field {
        Field::Repeat => {
            let value = match form.repeat {
                1 if form.until_fail => "no end".to_owned(),
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            ("how often", value, "a number, or ← →")
        }
        Field::UntilFail => (
            "until one fails",
            switch(form.until_fail),
            "x stops it before that",
        ),
        Field::MaxFail => {
            let value = match form.max_fail {
                0 if form.until_fail => "1".to_owned(),
                0 => "no".to_owned(),
                failures => failures.to_string(),
            };
            ("failures at most", value, "then no more is begun")
        }
        Field::Jobs => (
            "jobs",
            form.jobs.to_string(),
            "at once, of those that say @parallel",
        ),
        Field::Retries => ("retries", form.retries.to_string(), "of what fails"),
        Field::FailOnFlaky => (
            "flaky fails",
            switch(form.fail_on_flaky),
            "what passes only after a retry",
        ),
    }
}
