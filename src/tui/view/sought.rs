//! What is sought in a pane, as words for its title.

use super::lines::grouped;
use crate::logs::index::{Index, Sieve};
use crate::logs::store::LogStore;
use crate::text::matcher::Matcher;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::truncate;
use crate::tui::state::pager::Pager;

/// `&timed out ≥ warn 1,234 of 56,789 40 % ±3`
pub(super) fn filter(pager: &Pager, store: &LogStore) -> Option<String> {
    let filter = pager.filtering()?;
    let Sieve {
        matcher,
        inverted,
        level,
        ..
    } = filter.sieve();
    let mut words = Vec::new();
    if let Some(matcher) = matcher {
        let sign = if *inverted { "&!" } else { "&" };
        words.push(format!("{sign}{}", pattern(matcher)));
    }
    if let Some(level) = level {
        words.push(format!("≥ {level}"));
    }
    words.push(passed(pager, filter, store));
    if pager.context > 0 {
        words.push(format!("±{}", pager.context));
    }
    Some(words.join(" "))
}

/// `1,234 of 56,789 held 40 %`. Only what is held is looked through, and a filter hides the rows
/// that say that there is more.
pub(super) fn passed(pager: &Pager, filter: &Index, store: &LogStore) -> String {
    let lines = pager.lines(store);
    let merged = lines.merged();
    let held = match merged.is_whole() {
        true => "",
        false => " held",
    };
    let counts = format!(
        "{} of {}{held}",
        grouped(filter.count() as u64),
        grouped(merged.len() as u64)
    );
    match filter.is_done() {
        true => counts,
        false => format!("{counts} {} %", filter.percent()),
    }
}

/// `/timed out 3 of 17`
pub(super) fn search(pager: &Pager) -> Option<String> {
    let search = pager.search.as_ref()?;
    let pattern = search.sieve().matcher.as_ref().map(pattern);
    let open = if search.is_done() { "" } else { "…" };
    let count = match search.current {
        Some(current) => format!("{} of {}", search.number(current), search.count()),
        None => search.count().to_string(),
    };
    Some(format!("/{} {count}{open}", pattern.unwrap_or_default()))
}

fn pattern(matcher: &Matcher) -> String {
    let pattern = sanitize_plain(matcher.pattern());
    let mut pattern = truncate(&pattern, 20).into_owned();
    if matcher.problem().is_some() {
        pattern.push_str(" (literal)");
    }
    pattern
}

/// Why a filtered pane has nothing to show.
pub(super) fn nothing_passes(pager: &Pager) -> Option<String> {
    let filter = pager.filtering()?;
    Some(match filter.is_done() {
        true => "no line passes the filter · esc ends it".to_owned(),
        false => format!("looking through what is held · {} %", filter.percent()),
    })
}
