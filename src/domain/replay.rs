//! A replay: a script that reproduces one production bug and asserts its fix.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::suite::SuiteName;

/// A replay's name: its file name without the extension, preceded by as many parent folders as
/// it takes to be the only one of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayName(Arc<str>);

impl ReplayName {
    /// The variable that each process of a replay finds it in.
    pub const VARIABLE: &'static str = "TACKROOM_REPLAY";

    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As one component of a path, so that what is kept of a run stays inside of the run.
    pub fn as_path_component(&self) -> String {
        path_component(&self.0)
    }
}

/// A name as one component of a path: it may hold `..` or begin with `/`. Every byte but ASCII
/// letters, digits, `_`, `-` and inner dots is percent-encoded (RFC 3986, section 2.1), so no two
/// names share a path.
pub fn path_component(name: &str) -> String {
    use fmt::Write;
    let mut encoded = String::new();
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if position > 0 => encoded.push('.'),
            b'_' | b'-' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

impl ReplayName {
    /// Where an attempt leaves what is kept of it, in the directory of its run. A later one has a
    /// directory of its own in that of the first.
    pub fn attempt_directory(&self, number: u32) -> PathBuf {
        let directory = PathBuf::from("replays").join(self.as_path_component());
        if number > 1 {
            directory.join(format!("attempt-{number}"))
        } else {
            directory
        }
    }
}

impl fmt::Display for ReplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A discovered replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub name: ReplayName,
    pub suite: SuiteName,
    /// Absolute.
    pub path: PathBuf,
    /// Relative to the configuration's directory, with `/`; what reports and editors want.
    pub file: String,
    pub header: Header,
}

/// What the leading comment block of a script says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its first sentence.
    pub description: Option<String>,
    /// `@closes`: issue numbers or links, as written.
    pub closes: Vec<String>,
    /// `@timeout`: replaces the configured one.
    pub timeout: Option<Duration>,
    pub tags: Vec<String>,
    /// `@needs`: programs that must be on `PATH`.
    pub needs: Vec<String>,
    /// `@parallel`: it may run beside others that say so too; without it a replay runs alone.
    pub parallel: bool,
    /// `@group`: it never runs beside another one of any of these.
    pub groups: Vec<String>,
    /// Tags that cannot be read, in the words of a message.
    pub problems: Vec<String>,
}

/// The tags of a header that mean something here.
const KNOWN: [&str; 6] = ["closes", "group", "needs", "parallel", "tags", "timeout"];

impl Header {
    /// Reads the comment lines at the start of a script, past the shebang. Prose comes before the
    /// first tag; a tag is a line `# @name value`. Unknown tags are left alone, because the
    /// scripts belong to other people, but for those that look like a typing mistake.
    pub fn parse(text: &str) -> Self {
        let mut header = Self::default();
        let mut prose = String::new();
        let mut prose_ended = false;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if index == 0 && line.trim_start_matches('\u{feff}').starts_with("#!") {
                continue;
            }
            let Some(comment) = line.strip_prefix('#') else {
                if line.is_empty() && prose.is_empty() {
                    continue;
                }
                break;
            };
            let comment = comment.trim_start_matches('#').trim();
            if let Some(tag) = comment.strip_prefix('@') {
                prose_ended = true;
                header.tag(tag);
            } else if comment.is_empty() {
                prose_ended |= !prose.is_empty();
            } else if !prose_ended {
                if !prose.is_empty() {
                    prose.push(' ');
                }
                prose.push_str(comment);
            }
        }
        header.description = first_sentence(&prose);
        header
    }

    fn tag(&mut self, tag: &str) {
        let (name, value) = match tag.split_once(char::is_whitespace) {
            Some((name, value)) => (name, value.trim()),
            None => (tag, ""),
        };
        let words = || {
            value
                .split([' ', ',', '\t'])
                .filter(|word| !word.is_empty())
        };
        match name {
            "closes" => self.closes.extend(words().map(str::to_owned)),
            "tags" => self.tags.extend(words().map(str::to_owned)),
            "needs" => self.needs.extend(words().map(str::to_owned)),
            "group" if value.is_empty() => self
                .problems
                .push("@group: name what it must not run beside".to_owned()),
            "group" => self.groups.extend(words().map(str::to_owned)),
            // A replay that runs alone is never wrong.
            "parallel" if !value.is_empty() => self
                .problems
                .push(format!("@parallel {value}: it takes no value")),
            "parallel" => self.parallel = true,
            "timeout" => match parse_duration(value) {
                Some(timeout) if timeout.is_zero() => self
                    .problems
                    .push(format!("@timeout {value}: nothing could be done in time")),
                Some(timeout) => self.timeout = Some(timeout),
                None => self
                    .problems
                    .push(format!("@timeout {value}: write 20s, 1m30s or 500ms")),
            },
            _ => {
                if let Some(meant) = meant(name) {
                    self.problems
                        .push(format!("@{name}: did you mean @{meant}?"));
                }
            }
        }
    }
}

/// The tag that an unknown one was probably meant to be.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches(':').to_lowercase();
    KNOWN.into_iter().find(|known| {
        let mistakes = if known.len() > 6 { 2 } else { 1 };
        strsim::damerau_levenshtein(&name, known) <= mistakes
    })
}

/// Up to the first full stop that ends a word; the whole text where there is none.
fn first_sentence(prose: &str) -> Option<String> {
    let end = prose
        .match_indices(['.', '!', '?'])
        .find(|(at, _)| {
            prose[at + 1..]
                .chars()
                .next()
                .is_none_or(char::is_whitespace)
        })
        .map_or(prose.len(), |(at, mark)| at + mark.len());
    let sentence = prose[..end].trim();
    (!sentence.is_empty()).then(|| sentence.to_owned())
}

/// A duration as people write it: `500ms`, `20s`, `1m30s`, `2h`. No sign, no bare numbers: a
/// number without a unit is a mistake that nobody would see.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(rest.len());
        let one = match &rest[..unit] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(u32::try_from(number).ok()?)?)?;
        rest = rest[unit..].trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_time_nothing_can_be_done() {
        let header = Header::parse("# @timeout 0s\n");
        assert_eq!(header.timeout, None);
        assert_eq!(
            header.problems,
            ["@timeout 0s: nothing could be done in time"]
        );
    }

    #[test]
    fn the_header_is_description_and_tags() {
        let header = Header::parse(
            "#!/usr/bin/env bash\n\
             # tool_list_peers surfaces the actual reason instead of \"may be\n\
             # isolated\". More prose.\n\
             # @closes #2397\n\
             # @timeout 20s\n\
             # @tags discovery, net\n\
             # @needs curl jq\n\
             # @owner somebody\n\
             set -e\n\
             # @tags not-a-header\n",
        );
        assert_eq!(
            header,
            Header {
                description: Some(
                    "tool_list_peers surfaces the actual reason instead of \"may be isolated\"."
                        .to_owned()
                ),
                closes: vec!["#2397".to_owned()],
                timeout: Some(Duration::from_secs(20)),
                tags: vec!["discovery".to_owned(), "net".to_owned()],
                needs: vec!["curl".to_owned(), "jq".to_owned()],
                parallel: false,
                groups: Vec::new(),
                problems: Vec::new(),
            }
        );
    }

    #[test]
    fn odd_headers_are_read_as_far_as_they_go() {
        assert_eq!(Header::parse(""), Header::default());
        assert_eq!(
            Header::parse("\u{feff}#!/bin/sh\r\n# Hi\r\n")
                .description
                .as_deref(),
            Some("Hi")
        );
        let bad = Header::parse("# @timeout soon\n");
        assert_eq!(bad.timeout, None);
        assert_eq!(bad.problems.len(), 1);
        let version = Header::parse("# Node v1.2 boots. Then more.");
        assert_eq!(version.description.as_deref(), Some("Node v1.2 boots."));
        let paragraphs = Header::parse("#!/bin/sh\n#\n# First\n#\n# second\n");
        assert_eq!(paragraphs.description.as_deref(), Some("First"));
    }

    #[test]
    fn what_may_run_beside_others_says_so() {
        let header = Header::parse("# @parallel\n# @group postgres, redis\n");
        assert!(header.parallel);
        assert_eq!(header.groups, ["postgres", "redis"]);
        assert_eq!(header.problems, [""; 0]);
        let alone = Header::parse("# @parallel no\n# @group\n");
        assert!(!alone.parallel);
        assert_eq!(
            alone.problems,
            [
                "@parallel no: it takes no value",
                "@group: name what it must not run beside"
            ]
        );
    }

    #[test]
    fn a_typing_mistake_is_named_and_other_peoples_tags_are_not() {
        for (typed, meant) in [
            ("paralel", "parallel"),
            ("Parallel", "parallel"),
            ("timeuot", "timeout"),
            ("tag", "tags"),
            ("groups", "group"),
            ("need", "needs"),
            ("closes:", "closes"),
        ] {
            let header = Header::parse(&format!("# @{typed} x\n"));
            let wanted = format!("@{typed}: did you mean @{meant}?");
            assert_eq!(header.problems, [wanted]);
        }
        for name in [
            "owner", "author", "param", "see", "todo", "since", "test", "@",
        ] {
            let header = Header::parse(&format!("# @{name} x\n"));
            assert_eq!(header.problems, [""; 0], "{name}");
        }
    }

    #[test]
    fn what_is_kept_of_a_replay_stays_inside_of_the_run() {
        let encoded = |name: &str| ReplayName::new(name).as_path_component();
        assert_eq!(encoded("404-a_b.sh"), "404-a_b.sh");
        assert_eq!(encoded("../../replays/a"), "%2E.%2F..%2Freplays%2Fa");
        assert_eq!(encoded("/etc"), "%2Fetc");
        assert_eq!(encoded(".."), "%2E.");
        assert_eq!(encoded("50% é"), "50%25%20%C3%A9");
        for name in ["..", ".", "/", "//work/a", "a/../..", "a/.."] {
            let path = PathBuf::from(encoded(name));
            let parts: Vec<_> = path.components().collect();
            assert!(matches!(parts[..], [std::path::Component::Normal(_)]));
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        for bad in [
            "",
            "20",
            "s",
            "-1s",
            "1x",
            "1.5s",
            "99999999999999999999s",
            "4294967295h s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }
}
