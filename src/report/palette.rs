//! Colour, where it is wanted. Nothing needs it to be understood.

use std::fmt::Display;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    pub colour: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Bad,
    Warning,
    Quiet,
    Strong,
}

impl Palette {
    pub fn paint(self, paint: Paint, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match paint {
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Warning => "33",
            Paint::Quiet => "2",
            Paint::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// The order is: what the command line says, then `NO_COLOR`, `CLICOLOR_FORCE` and
    /// `FORCE_COLOR`, `CLICOLOR=0`, and at last whether it is a terminal that can show colour.
    ///
    /// `get` looks up the environment.
    pub fn decide(
        flag: Option<bool>,
        get: impl Fn(&str) -> Option<String>,
        is_terminal: bool,
    ) -> Self {
        let set = |name| get(name).filter(|value| !value.is_empty());
        let forced = |name| set(name).is_some_and(|value| value != "0");
        let colour = if let Some(flag) = flag {
            flag
        } else if set("NO_COLOR").is_some() {
            false
        } else if forced("CLICOLOR_FORCE") || forced("FORCE_COLOR") {
            true
        } else if get("CLICOLOR").as_deref() == Some("0") {
            false
        } else {
            is_terminal && get("TERM").as_deref() != Some("dumb")
        };
        Self { colour }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(flag: Option<bool>, env: &[(&str, &str)], is_terminal: bool) -> bool {
        let get = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Palette::decide(flag, get, is_terminal).colour
    }

    #[test]
    fn colour_is_decided_in_the_order_of_the_convention() {
        assert!(decide(None, &[], true));
        assert!(!decide(None, &[], false));
        assert!(!decide(None, &[("TERM", "dumb")], true));
        assert!(!decide(None, &[("NO_COLOR", "1")], true));
        assert!(decide(None, &[("NO_COLOR", "")], true));
        assert!(decide(None, &[("FORCE_COLOR", "1")], false));
        assert!(!decide(None, &[("FORCE_COLOR", "0")], false));
        assert!(!decide(
            None,
            &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")],
            true
        ));
        assert!(!decide(None, &[("CLICOLOR", "0")], true));
        assert!(decide(Some(true), &[("NO_COLOR", "1")], false));
        assert!(!decide(Some(false), &[("FORCE_COLOR", "1")], true));
    }
}
