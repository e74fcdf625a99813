//! Putting text on the screen so that what is cut shows it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use crate::text::width::{pad, pad_start, truncate, width};
use crate::tui::layout::PaneArea;
use crate::tui::theme::{Role, Theme};

/// Writes one row from left to right.
pub(super) struct Row<'a> {
    buffer: &'a mut Buffer,
    x: u16,
    y: u16,
    end: u16,
    /// What `end` is while nothing is held back.
    limit: u16,
}

impl<'a> Row<'a> {
    /// The `index`th row of an area; outside of it nothing is written.
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, index: usize) -> Self {
        let area = area.intersection(buffer.area);
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let inside = index < area.height;
        let end = if inside { area.right() } else { area.x };
        Self {
            buffer,
            x: area.x,
            y: area.y.saturating_add(if inside { index } else { 0 }),
            end,
            limit: end,
        }
    }

    /// Columns that are left.
    pub(super) fn room(&self) -> usize {
        usize::from(self.end.saturating_sub(self.x))
    }

    /// Text, cut with `…` where the row ends.
    pub(super) fn text(&mut self, text: &str, style: Style) -> &mut Self {
        let text = truncate(text, self.room());
        self.put(&text, style);
        self
    }

    /// Text in exactly so many columns.
    pub(super) fn cell(&mut self, text: &str, columns: usize, style: Style) -> &mut Self {
        let columns = columns.min(self.room());
        let text = pad(text, columns);
        self.put(&text, style);
        self
    }

    /// The same, to the right.
    pub(super) fn number(&mut self, text: &str, columns: usize, style: Style) -> &mut Self {
        let columns = columns.min(self.room());
        let text = pad_start(text, columns);
        self.put(&text, style);
        self
    }

    pub(super) fn skip(&mut self, columns: usize) -> &mut Self {
        let columns = u16::try_from(columns.min(self.room())).unwrap_or(0);
        self.x += columns;
        self
    }

    /// Writes nothing into the last columns, until they are released.
    pub(super) fn hold_back(&mut self, columns: usize) -> &mut Self {
        let columns = u16::try_from(columns).unwrap_or(u16::MAX);
        self.end = self.end.saturating_sub(columns).max(self.x);
        self
    }

    /// As many as were held back and were there.
    pub(super) fn release(&mut self, columns: usize) -> &mut Self {
        let columns = u16::try_from(columns).unwrap_or(u16::MAX);
        self.end = self.end.saturating_add(columns).min(self.limit);
        self
    }

    /// The same character up to the end.
    pub(super) fn fill(&mut self, with: &str, style: Style) {
        let text = with.repeat(self.room());
        self.put(&text, style);
    }

    fn put(&mut self, text: &str, style: Style) {
        if text.is_empty() || self.room() == 0 {
            return;
        }
        // Nothing of what was drawn here before shows through: neither a border's style, nor a
        // program's.
        let style = Style::reset().patch(style);
        let (x, _) = self
            .buffer
            .set_stringn(self.x, self.y, text, self.room(), style);
        self.x = x;
    }
}

/// The border or the title line of a pane.
pub(super) fn pane(
    buffer: &mut Buffer,
    area: &PaneArea,
    title: &Title<'_>,
    focused: bool,
    theme: Theme,
) {
    let border = theme.style(if focused {
        Role::FocusedBorder
    } else {
        Role::Border
    });
    let line = if area.compact {
        let line = Rect {
            height: 1,
            ..area.area
        };
        Row::new(buffer, line, 0).fill("─", border);
        line
    } else {
        Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(border)
            .render(area.area, buffer);
        Rect {
            x: area.area.x + 2,
            width: area.area.width.saturating_sub(4),
            height: 1,
            ..area.area
        }
    };
    let name = theme.style(if focused {
        Role::FocusedTitle
    } else {
        Role::Title
    });
    let mut row = Row::new(buffer, line, 0);
    row.text(&format!(" {} ", title.name), name);
    for (part, role) in &title.parts {
        if row.room() < 6 {
            break;
        }
        row.text("─", border)
            .text(&format!(" {part} "), theme.style(*role));
    }
}

/// What stands in a border: the pane's name, then what matters most first.
pub(super) struct Title<'a> {
    pub(super) name: &'a str,
    pub(super) parts: Vec<(String, Role)>,
}

/// Clears the place of a dialog and draws its border. Returns its inside.
pub(super) fn dialog(buffer: &mut Buffer, area: Rect, title: &str, theme: Theme) {
    let area = area.intersection(buffer.area);
    Clear.render(area, buffer);
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.style(Role::FocusedBorder))
        .render(area, buffer);
    let line = Rect {
        x: area.x + 2.min(area.width),
        width: area.width.saturating_sub(4),
        height: area.height.min(1),
        ..area
    };
    Row::new(buffer, line, 0).text(&format!(" {title} "), theme.style(Role::FocusedTitle));
}

/// `41 MiB`, `512 KiB`, `17 B`.
pub(super) fn bytes(n: usize) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{} KiB", n / 1024),
        _ => format!("{} MiB", n / 1_048_576),
    }
}

/// A memory column: `38M`, `1.2G`.
pub(super) fn memory(n: u64) -> String {
    let mebibytes = n as f64 / 1_048_576.0;
    if mebibytes < 0.95 {
        format!("{}K", n / 1024)
    } else if mebibytes < 999.5 {
        format!("{mebibytes:.0}M")
    } else {
        format!("{:.1}G", mebibytes / 1024.0)
    }
}

/// How long ago, in one unit: `5s`, `2m`, `3h`, `9d`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Time that has passed; nothing where clocks disagree.
pub(super) fn elapsed(now: Timestamp, since: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Whole seconds, for what still counts: `7 s`, `1 m 07 s`.
pub(super) fn counting(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    }
}

pub(super) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// Prose in rows, broken between words.
pub(super) fn prose(text: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split_whitespace() {
        let used = rows.last().map_or(0, |row| width(row));
        if used > 0 && used + 1 + width(word) > columns {
            rows.push(String::new());
        }
        if let Some(row) = rows.last_mut() {
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(41 << 20), "41 MiB");
        assert_eq!(memory(38 << 20), "38M");
        assert_eq!(memory(1 << 30), "1.0G");
        assert_eq!(memory(300 << 10), "300K");
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(age(at(59), at(0)), "59s");
        assert_eq!(age(at(7200), at(0)), "2h");
        assert_eq!(age(at(86_400 * 9), at(0)), "9d");
        assert_eq!(age(at(0), at(5)), "0s");
        assert_eq!(counting(Duration::from_secs(67)), "1 m 07 s");
    }

    #[test]
    fn prose_breaks_between_words() {
        assert_eq!(prose("one two three", 8), ["one two", "three"]);
        assert_eq!(prose("", 8), [""]);
    }
}
