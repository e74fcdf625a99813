//! A structured log line as something to read: one line of text, or a table of its fields.
//!
//! For showing only, row by row: what is searched, filtered and saved is the line as it came.
//! Every text that comes out is safe to draw, since a JSON string can hold what its line cannot.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::level::{Level, is_level_key, level, of_value};
use super::sanitize::{sanitize, sanitize_plain};

/// Objects and arrays inside of each other that are taken apart; what is deeper stays as written.
const DEPTH: usize = 16;

/// Bytes that [`Structured::one_line`] writes before it breaks off: a row, not a page.
const ONE_LINE: usize = 64 << 10;

/// Bytes and rows that [`Structured::expanded`] makes before it breaks off.
const EXPANDED: usize = 4 << 20;
const ROWS: usize = 10_000;

/// Stands for a line break where there is one line.
const BREAK: &str = "⏎";

/// The keys of the message and of the time, the first one first.
const MESSAGE: [&str; 4] = ["msg", "message", "event", "text"];
const TIME: [&str; 5] = ["time", "ts", "timestamp", "@timestamp", "t"];

/// A line that consists of fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structured {
    pub level: Option<Level>,
    pub time: Option<String>,
    pub message: Option<String>,
    /// The other fields, in the order of the line. Nothing in them is safe to show.
    pub fields: Vec<(String, Value)>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    /// A number, `true`, `false` or `null`, as it is written: a long number is not rounded.
    Literal(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// The fields of a JSON object or of logfmt; `None` for any other line.
///
/// Text is taken for logfmt only where it consists of pairs, two at least, and one of them is a
/// level or a message.
pub fn parse(line: &[u8]) -> Option<Structured> {
    let line = line.trim_ascii();
    let text = String::from_utf8_lossy(line);
    let fields = if line.starts_with(b"{") {
        object(&text, DEPTH)?
    } else {
        logfmt(&text)?
    };
    let mut parsed = Structured {
        level: level(line),
        fields,
        ..Structured::default()
    };
    parsed.lift();
    Some(parsed)
}

impl Structured {
    /// Takes the level, the time and the message out of the fields.
    fn lift(&mut self) {
        let is_level = |(key, value): &(String, Value)| match value {
            Value::Text(value) | Value::Literal(value) => {
                is_level_key(key.as_bytes()) && of_value(key.as_bytes(), value.as_bytes()).is_some()
            }
            _ => false,
        };
        if let Some(at) = self.fields.iter().position(is_level) {
            self.fields.remove(at);
        }
        self.time = TIME.iter().find_map(|wanted| {
            self.take(wanted, |value| match value {
                Value::Text(time) | Value::Literal(time) if time != "null" => Some(time.clone()),
                // MongoDB's.
                Value::Object(inner) => match &**inner {
                    [(key, Value::Text(time))] if key == "$date" => Some(time.clone()),
                    _ => None,
                },
                _ => None,
            })
        });
        self.message = MESSAGE.iter().find_map(|wanted| {
            self.take(wanted, |value| match value {
                Value::Text(message) => Some(message.clone()),
                _ => None,
            })
        });
    }

    fn take(&mut self, wanted: &str, read: impl Fn(&Value) -> Option<String>) -> Option<String> {
        let at = self.fields.iter().position(|(key, _)| key == wanted)?;
        let (_, value) = self.fields.get(at)?;
        let read = read(value)?;
        self.fields.remove(at);
        Some(read)
    }

    /// `message  key=value key="two words"`, safe to show. Objects are taken apart
    /// (`request.path=/x`), arrays are JSON, and a line break is `⏎`. Level and time are left out:
    /// they have a place of their own.
    ///
    /// With `chosen` only those fields are shown, in that order; one can be named by its path.
    pub fn one_line(&self, chosen: Option<&[String]>) -> String {
        let mut row = Row::default();
        if let Some(message) = &self.message {
            row.out.push_str(&on_one_line(message));
        }
        let start = row.out.len();
        match chosen {
            None => flatten(&self.fields, "", false, &mut |path, value| {
                row.field(start, path, value)
            }),
            Some(chosen) => chosen.iter().all(|wanted| {
                flatten(&self.fields, "", false, &mut |path, value| {
                    let rest = path.strip_prefix(wanted.as_str());
                    let meant = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                    !meant || row.field(start, path, value)
                })
            }),
        };
        row.out
    }

    /// Every field with its path, safe to show: time, level and message first. A value may have
    /// several lines.
    pub fn expanded(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        let lifted = [
            ("time", self.time.as_deref()),
            ("level", self.level.map(Level::word)),
            ("message", self.message.as_deref()),
        ];
        for (key, value) in lifted {
            if let Some(value) = value {
                rows.push((key.to_owned(), line_by_line(value)));
            }
        }
        let mut size = 0;
        let whole = flatten(&self.fields, "", true, &mut |path, value| {
            let value = match value {
                Value::Text(text) => line_by_line(text),
                other => line_by_line(&other.json()),
            };
            size += path.len() + value.len();
            rows.push((sanitize_plain(path).into_owned(), value));
            size < EXPANDED && rows.len() < ROWS
        });
        if !whole {
            rows.push(("…".to_owned(), "there is more".to_owned()));
        }
        rows
    }
}

#[derive(Default)]
struct Row {
    out: String,
}

impl Row {
    /// Returns whether there is room for more.
    fn field(&mut self, start: usize, path: &str, value: &Value) -> bool {
        if self.out.len() > ONE_LINE {
            self.out.push_str(" …");
            return false;
        }
        let first = self.out.len() == start;
        self.out.push_str(match (first, start) {
            (true, 0) => "",
            (true, _) => "  ",
            (false, _) => " ",
        });
        self.out.push_str(&quoted(&on_one_line(path)));
        self.out.push('=');
        match value {
            Value::Text(text) => self.out.push_str(&quoted(&on_one_line(text))),
            other => self.out.push_str(&on_one_line(&other.json())),
        }
        true
    }
}

/// Calls `see` with every leaf and its path, until it returns false; returns whether it never did.
/// `deep`: an array that holds more than plain values is taken apart too.
fn flatten(
    fields: &[(String, Value)],
    prefix: &str,
    deep: bool,
    see: &mut impl FnMut(&str, &Value) -> bool,
) -> bool {
    let is_nested = |value: &Value| matches!(value, Value::Array(_) | Value::Object(_));
    fields.iter().all(|(key, value)| {
        let path = if prefix.is_empty() {
            Cow::Borrowed(&**key)
        } else {
            Cow::Owned(format!("{prefix}.{key}"))
        };
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(inner, &path, deep, see),
            Value::Array(inner) if deep && inner.iter().any(is_nested) => {
                inner.iter().enumerate().all(|(index, value)| {
                    let item = [(format!("{path}[{index}]"), value.clone())];
                    flatten(&item, "", deep, see)
                })
            }
            leaf => see(&path, leaf),
        }
    })
}

fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\"{}\"", text.replace('"', "\\\"")))
}

/// One safe line. Each text is made safe by itself, or two of them could hide what is between.
fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\r']) {
        return sanitize_plain(text);
    }
    let lines: Vec<Cow<'_, str>> = lines(text).map(sanitize_plain).collect();
    Cow::Owned(lines.join(BREAK))
}

fn line_by_line(text: &str) -> String {
    let lines: Vec<String> = lines(text)
        .map(|line| sanitize(line.as_bytes()).text)
        .collect();
    lines.join("\n")
}

/// The lines of a text, without the empty one at its end. A carriage return ends one too: here it
/// cannot start a line over.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim_end_matches(['\r', '\n']);
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

impl Value {
    /// As JSON, without blanks.
    fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            // Text can always be written; there is nothing better than nothing if not.
            Self::Text(text) => out.push_str(&serde_json::to_string(text).unwrap_or_default()),
            Self::Literal(literal) => out.push_str(literal),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::to_string(key).unwrap_or_default());
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    fn of(raw: &RawValue, depth: usize) -> Self {
        let text = raw.get();
        let inner = depth.checked_sub(1);
        let read = match (text.as_bytes().first(), inner) {
            (Some(b'"'), _) => serde_json::from_str(text).ok().map(Self::Text),
            (Some(b'{'), Some(depth)) => object(text, depth).map(Self::Object),
            (Some(b'['), Some(depth)) => array(text, depth).map(Self::Array),
            _ => None,
        };
        read.unwrap_or_else(|| Self::Literal(text.to_owned()))
    }
}

fn object(text: &str, depth: usize) -> Option<Vec<(String, Value)>> {
    let Entries(entries) = serde_json::from_str(text).ok()?;
    let field = |(key, raw): (String, &RawValue)| (key, Value::of(raw, depth));
    Some(entries.into_iter().map(field).collect())
}

fn array(text: &str, depth: usize) -> Option<Vec<Value>> {
    let Items(items) = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(|raw| Value::of(raw, depth)).collect())
}

/// The fields of an object in their order, the values unread: a map would sort them, and numbers
/// would lose what does not fit.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

struct Items<'a>(Vec<&'a RawValue>);

struct InOrder;

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(InOrder).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn logfmt(text: &str) -> Option<Vec<(String, Value)>> {
    let mut fields = Vec::new();
    let mut told = false;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c <= ' ' || matches!(c, '=' | '"'))?;
        let (key, after) = rest.split_at(end);
        let after = after.strip_prefix('=').filter(|_| !key.is_empty())?;
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        rest = rest.trim_start();
        told |= match key {
            "msg" | "message" => true,
            key => {
                is_level_key(key.as_bytes()) && of_value(key.as_bytes(), value.as_bytes()).is_some()
            }
        };
        fields.push((key.to_owned(), Value::Text(value)));
    }
    (told && fields.len() > 1).then_some(fields)
}

/// What stands before the closing quote, and what comes after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sanitize::needs_care;
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn one_line(line: &str) -> String {
        parse(line.as_bytes()).expect("structured").one_line(None)
    }

    #[test]
    fn a_json_line_reads_like_a_sentence_with_fields() {
        let line = r#"{"level":30,"time":1700000000000,"z":1,"msg":"request done","a":"two words",
            "req":{"path":"/x","q":{"n":12345678901234567890123}},"tags":[1, "b", {"c": null}],
            "empty":"","none":{},"ok":true,"pi":3.10}"#;
        let parsed = parse(line.as_bytes()).expect("structured");
        assert_eq!(parsed.level, Some(Level::Info));
        assert_eq!(parsed.time.as_deref(), Some("1700000000000"));
        assert_eq!(parsed.message.as_deref(), Some("request done"));
        assert_eq!(
            parsed.one_line(None),
            "request done  z=1 a=\"two words\" req.path=/x req.q.n=12345678901234567890123 \
             tags=[1,\"b\",{\"c\":null}] empty=\"\" none={} ok=true pi=3.10"
        );
    }

    #[test]
    fn every_logger_s_keys_are_known() {
        for (line, time, message, rest) in [
            (
                r#"{"ts":1.5,"caller":"a.go:1","message":"x"}"#,
                "1.5",
                "x",
                "x  caller=a.go:1",
            ),
            (
                r#"{"@timestamp":"now","log.level":"WARN","message":"x"}"#,
                "now",
                "x",
                "x",
            ),
            (
                r#"{"timestamp":"now","event":"x","msg":"y"}"#,
                "now",
                "y",
                "y  event=x",
            ),
            (
                r#"{"event":{"id":1},"text":"x","time":"now"}"#,
                "now",
                "x",
                "x  event.id=1",
            ),
            (
                r#"{"t":{"$date":"now"},"s":"I","msg":"x"}"#,
                "now",
                "x",
                "x  s=I",
            ),
            (
                r#"{"time":null,"msg":7,"t":"now","message":"x"}"#,
                "now",
                "x",
                "x  time=null msg=7",
            ),
            (
                r#"time=now level=warn msg="x y" a=b"#,
                "now",
                "x y",
                "x y  a=b",
            ),
            (
                r#"{"level":400,"level_name":"ERROR","msg":"x","t":"now"}"#,
                "now",
                "x",
                "x  level=400",
            ),
        ] {
            let parsed = parse(line.as_bytes()).expect(line);
            assert_eq!(parsed.time.as_deref(), Some(time), "{line}");
            assert_eq!(parsed.message.as_deref(), Some(message), "{line}");
            assert_eq!(parsed.one_line(None), rest, "{line}");
        }
        assert_eq!(one_line(r#"{"a":1,"b":2}"#), "a=1 b=2");
        assert_eq!(one_line(r#"{"a":1,"a":2}"#), "a=1 a=2");
        assert_eq!(one_line("{}"), "");
    }

    #[test]
    fn logfmt_is_made_of_pairs_and_nothing_else() {
        assert_eq!(
            one_line(r#"level=info a="say \"hi\"\n\\ \q" b= c=x=y"#),
            r#"a="say \"hi\"⏎\ \q" b="" c="x=y""#
        );
        for text in [
            "",
            "level=info",
            "msg=x",
            "a=b c=d",
            "listening on a=b level=info",
            "level=info msg=two words",
            "level=info =b",
            "level=info \"a\"=b",
            "level=info a=\"open",
            "level=info a=\"b\"c",
            "level=high a=b",
            "[1,2]",
            "{\"a\":1",
            "{\"a\":1} and more",
            "{level=info}",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert!(parse(b"msg=x a=b").is_some());
    }

    #[test]
    fn chosen_fields_come_in_the_chosen_order() {
        let line = br#"{"msg":"m","a":1,"b":{"c":2,"d":3},"bc":4}"#;
        let parsed = parse(line).expect("structured");
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            parsed.one_line(Some(&names))
        };
        assert_eq!(chosen(&["b", "a"]), "m  b.c=2 b.d=3 a=1");
        assert_eq!(chosen(&["b.d", "nothing"]), "m  b.d=3");
        assert_eq!(chosen(&[]), "m");
    }

    #[test]
    fn a_stack_trace_stays_on_one_line_until_it_is_expanded() {
        let line = br#"{"level":"error","msg":"boom\n","time":"now",
            "err":{"stack":"Error: boom\r\n\tat a\n\tat b\n","codes":[1,2],
            "causes":[{"why":"x"},[3]]}}"#;
        let parsed = parse(line).expect("structured");
        assert_eq!(
            parsed.one_line(None),
            "boom  err.stack=\"Error: boom⏎ at a⏎ at b\" err.codes=[1,2] \
             err.causes=[{\"why\":\"x\"},[3]]"
        );
        let rows = parsed.expanded();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(
            rows,
            [
                ("time", "now"),
                ("level", "error"),
                ("message", "boom"),
                ("err.stack", "Error: boom\n        at a\n        at b"),
                ("err.codes", "[1,2]"),
                ("err.causes[0].why", "x"),
                ("err.causes[1]", "[3]"),
            ]
        );
    }

    #[test]
    fn an_escape_in_a_string_hides_nothing_and_reaches_nobody() {
        let line = r#"{"msg":"real\rfake \u001b]0;title","user":"kept","a\u001b[2Jb":"\u0007\u009b31m\u202e\u2028x",
            "list":["\u001b[31m\u000b\u0085"]}"#;
        let parsed = parse(line.as_bytes()).expect("structured");
        let text = parsed.one_line(None);
        assert_eq!(
            text,
            "real⏎fake 0;title  user=kept ab=x list=[\"\\u001b[31m\\u000b\"]"
        );
        assert_eq!(sanitize(text.as_bytes()).text, text);
        for (key, value) in parsed.expanded() {
            assert!(!key.contains(needs_care), "{key:?}");
            assert!(!value.replace('\n', "").contains(needs_care), "{value:?}");
        }
    }

    #[test]
    fn broken_text_inside_is_shown_as_it_is_written() {
        assert_eq!(one_line(r#"{"a":"\ud800"}"#), r#"a="\ud800""#);
        let parsed = parse(b"{\"a\":\"\xff\"}").expect("structured");
        assert_eq!(parsed.one_line(None), "a=\u{fffd}");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!(
            "{{\"a\":{}{},\"b\":1}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let text = one_line(&deep);
        assert!(text.ends_with(" b=1"), "{}", text.len());
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        let text = one_line(&deep);
        assert!(text.starts_with("a.a.a."), "{}", text.len());

        let key = "k".repeat(100_000);
        let many: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
        let wide = format!("{{\"{key}\":{{{}}}}}", many.join(","));
        let parsed = parse(wide.as_bytes()).expect("structured");
        let text = parsed.one_line(None);
        assert!(
            text.ends_with('…') && text.len() < 4 * ONE_LINE,
            "{}",
            text.len()
        );
        let size: usize = parsed
            .expanded()
            .iter()
            .map(|(a, b)| a.len() + b.len())
            .sum();
        assert!(size < 2 * EXPANDED, "{size}");

        let long = format!("{{\"msg\":\"{}\",\"a\":1}}", "x".repeat(1 << 20));
        assert!(one_line(&long).ends_with("xx …"));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let text =
            "[a-z\\x00-\\x1f\"\\\\\\x7f\\x{80}-\\x{9f}\\x{2028}\\x{202e}\\[\\]0-9;=é日]{0,12}";
        let leaf = prop_oneof![
            text.prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                proptest::collection::btree_map(text, inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_out_of_an_object(value in any_json()) {
            let line = format!("{{\"msg\":{value},\"a\":{value}}}");
            let parsed = parse(line.as_bytes()).expect("structured");
            let text = parsed.one_line(None);
            prop_assert!(!text.contains(needs_care), "{:?}", text);
            prop_assert_eq!(&sanitize(text.as_bytes()).text, &text);
            for (key, value) in parsed.expanded() {
                prop_assert!(!key.contains(needs_care), "{:?}", key);
                prop_assert!(!value.replace('\n', "").contains(needs_care), "{:?}", value);
            }
        }

        #[test]
        fn any_bytes_can_be_parsed(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,=\\ amsgle".to_vec())], 0..80)) {
            if let Some(parsed) = parse(&bytes) {
                let text = parsed.one_line(None);
                prop_assert!(!text.contains(needs_care), "{:?}", text);
            }
        }
    }
}
