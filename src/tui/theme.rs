//! How things look. The 16 colours of the terminal's own palette, so that every colour scheme
//! fits; without colours, attributes. Nothing is told by a colour alone.

use ratatui::style::{Color, Modifier, Style};

use crate::text::sanitize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    color: bool,
}

/// What a piece of text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Text,
    /// There if one looks for it.
    Muted,
    Strong,
    Border,
    FocusedBorder,
    Title,
    FocusedTitle,
    /// The row under the cursor, in the focused pane and in another one.
    Cursor,
    IdleCursor,
    /// A line of a picked range.
    Picked,
    Good,
    Bad,
    Warning,
    Busy,
    /// A key in the footer or the help.
    Key,
    Match,
    CurrentMatch,
    /// A line of ours between lines of a log.
    Separator,
}

/// Tell sources apart; the order keeps neighbours different.
const SOURCES: [Color; 6] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::Blue,
    Color::Red,
];

impl Theme {
    /// `color` is what `NO_COLOR` and the terminal allow.
    pub fn new(color: bool) -> Self {
        Self { color }
    }

    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let (color, modifier) = match role {
            Role::Text => (None, Modifier::empty()),
            Role::Muted | Role::Border => (None, Modifier::DIM),
            Role::Strong | Role::Title => (None, Modifier::BOLD),
            Role::FocusedBorder => (Some(Color::Cyan), Modifier::BOLD),
            Role::FocusedTitle => (Some(Color::Cyan), Modifier::BOLD | Modifier::REVERSED),
            // Of one colour, whatever the row's parts have.
            Role::Cursor => return Style::reset().add_modifier(Modifier::REVERSED),
            Role::IdleCursor => (None, Modifier::BOLD),
            Role::Picked if self.color => return Style::reset().fg(Color::White).bg(Color::Blue),
            Role::Picked => return Style::reset().add_modifier(Modifier::UNDERLINED),
            Role::Good => (Some(Color::Green), Modifier::empty()),
            Role::Bad => (Some(Color::Red), Modifier::BOLD),
            Role::Warning => (Some(Color::Yellow), Modifier::empty()),
            Role::Busy => (Some(Color::Cyan), Modifier::empty()),
            Role::Key => (Some(Color::Cyan), Modifier::BOLD),
            Role::Separator => (Some(Color::Blue), Modifier::BOLD),
            Role::Match if self.color => {
                return plain.fg(Color::Black).bg(Color::Yellow);
            }
            Role::Match => (None, Modifier::UNDERLINED),
            Role::CurrentMatch if self.color => {
                return plain
                    .fg(Color::Black)
                    .bg(Color::LightGreen)
                    .add_modifier(Modifier::BOLD);
            }
            Role::CurrentMatch => (None, Modifier::REVERSED.union(Modifier::BOLD)),
        };
        let style = plain.add_modifier(modifier);
        match color.filter(|_| self.color) {
            Some(color) => style.fg(color),
            None => style,
        }
    }

    /// The colour of the `n`th source of a merged log.
    pub fn source(self, n: usize) -> Style {
        if self.color {
            Style::new().fg(SOURCES[n % SOURCES.len()])
        } else {
            Style::new()
        }
    }

    /// What a program wanted its text to look like.
    pub fn paint(self, style: sanitize::Style) -> Style {
        let mut modifier = Modifier::empty();
        for (on, bit) in [
            (style.bold, Modifier::BOLD),
            (style.dim, Modifier::DIM),
            (style.italic, Modifier::ITALIC),
            (style.underline, Modifier::UNDERLINED),
            (style.reverse, Modifier::REVERSED),
            (style.strike, Modifier::CROSSED_OUT),
        ] {
            modifier.set(bit, on);
        }
        let mut painted = Style::new().add_modifier(modifier);
        if self.color {
            painted.fg = style.foreground.map(color);
            painted.bg = style.background.map(color);
        }
        painted
    }
}

fn color(color: sanitize::Color) -> Color {
    match color {
        sanitize::Color::Base(n) | sanitize::Color::Indexed(n) => match n {
            0 => Color::Black,
            1 => Color::Red,
            2 => Color::Green,
            3 => Color::Yellow,
            4 => Color::Blue,
            5 => Color::Magenta,
            6 => Color::Cyan,
            7 => Color::Gray,
            8 => Color::DarkGray,
            9 => Color::LightRed,
            10 => Color::LightGreen,
            11 => Color::LightYellow,
            12 => Color::LightBlue,
            13 => Color::LightMagenta,
            14 => Color::LightCyan,
            15 => Color::White,
            n => Color::Indexed(n),
        },
        sanitize::Color::Rgb(r, g, b) => Color::Rgb(r, g, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_no_style_has_one() {
        let theme = Theme::new(false);
        let loud = sanitize::sanitize(b"\x1b[1;31;42mx").spans[0].style;
        let mut styles = vec![theme.paint(loud), theme.source(3)];
        for role in [
            Role::Text,
            Role::Muted,
            Role::Strong,
            Role::Border,
            Role::FocusedBorder,
            Role::Title,
            Role::FocusedTitle,
            Role::Cursor,
            Role::IdleCursor,
            Role::Picked,
            Role::Good,
            Role::Bad,
            Role::Warning,
            Role::Busy,
            Role::Key,
            Role::Match,
            Role::CurrentMatch,
            Role::Separator,
        ] {
            styles.push(theme.style(role));
        }
        for style in styles {
            for color in [style.fg, style.bg] {
                assert!(matches!(color, None | Some(Color::Reset)), "{style:?}");
            }
        }
        assert_ne!(theme.style(Role::Match), theme.style(Role::Text));
        assert_ne!(theme.style(Role::Match), theme.style(Role::CurrentMatch));
        assert_ne!(theme.style(Role::Cursor), theme.style(Role::IdleCursor));
    }

    #[test]
    fn colours_of_programs_are_kept() {
        let loud = sanitize::sanitize(b"\x1b[1;38;5;208;44mx").spans[0].style;
        let painted = Theme::new(true).paint(loud);
        assert_eq!(painted.fg, Some(Color::Indexed(208)));
        assert_eq!(painted.bg, Some(Color::Blue));
        assert!(painted.add_modifier.contains(Modifier::BOLD));
    }
}
