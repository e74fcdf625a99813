//! Typed access to a TOML table that remembers which keys were asked for.
//!
//! The keys that a reader asks for are the keys that exist, so the list of valid keys cannot
//! drift from the code, and each mistake is reported with the line that it stands on.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::Problem;
use crate::domain::replay::parse_duration;

/// Whether what a file names has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    /// It was, when the file was read first.
    Past,
}

/// One file, and the mistakes found in it so far.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) presence: Presence,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl Source<'_> {
    pub(super) fn report(&self, span: Range<usize>, key: String, message: String) {
        let before = self.text.get(..span.start).unwrap_or_default();
        self.problems.borrow_mut().push(Problem {
            file: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            key,
            message,
        });
    }
}

/// One table of the file.
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    /// Where it stands, such as `harness.ready`; empty for the root.
    path: String,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    pub(super) fn root(source: &'a Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            source,
            table: table.get_ref(),
            path: String::new(),
            span: table.span(),
            known: RefCell::default(),
        }
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn wrong(&self, key: &str, value: Value<'_>, wanted: &str) {
        self.problem(
            key,
            value.span(),
            format!("expected {wanted}, found {}", value.get_ref().type_str()),
        );
    }

    fn problem(&self, key: &str, span: Range<usize>, message: String) {
        self.source.report(span, self.path(key), message);
    }

    /// Reports a mistake in the value of a key that was read before.
    pub(super) fn reject(&self, key: &str, message: impl Into<String>) {
        let span = self.table.get(key).map_or(self.span.clone(), Spanned::span);
        self.problem(key, span, message.into());
    }

    /// Reports a key that has to be there.
    pub(super) fn missing(&self, key: &str) {
        self.problem(key, self.span.clone(), "is missing".to_owned());
    }

    /// The path without links of what the value of a key names. `None`, and a mistake, where that is
    /// not as it has to be.
    pub(super) fn real(
        &self,
        key: &str,
        path: &Path,
        is_right: fn(&Path) -> bool,
        wrong: &str,
    ) -> Option<PathBuf> {
        if self.source.presence == Presence::Past {
            return Some(without_links(path));
        }
        let real = path.canonicalize().ok().filter(|real| is_right(real));
        if real.is_none() {
            self.reject(key, format!("{} {wrong}", path.display()));
        }
        real
    }

    pub(super) fn string(&self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            DeValue::String(_) => {
                self.reject(key, "must not be empty");
                None
            }
            _ => {
                self.wrong(key, value, "a string");
                None
            }
        }
    }

    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag
    }

    pub(super) fn integer(&self, key: &'static str, range: Range<i64>) -> Option<i64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => {
                self.wrong(key, value, "a whole number");
                return None;
            }
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.reject(
                key,
                format!("must be from {} to {}", range.start, range.end - 1),
            );
        }
        number
    }

    /// An array of whole numbers; a lone one is an array of one.
    pub(super) fn integers(&self, key: &'static str, range: Range<i32>) -> Option<Vec<i32>> {
        let value = self.get(key)?;
        let items: Vec<&DeValue<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(Spanned::get_ref).collect(),
            single => vec![single],
        };
        let number = |item: &DeValue<'_>| match item {
            DeValue::Integer(digits) => i32::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let numbers: Option<Vec<i32>> = items.into_iter().map(number).collect();
        let numbers = numbers.filter(|numbers| numbers.iter().all(|n| range.contains(n)));
        if numbers.is_none() {
            let last = range.end - 1;
            let why = format!("must be whole numbers from {} to {last}", range.start);
            self.reject(key, why);
        }
        numbers
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let why = format!("{text:?} is none of {}", words.join(", "));
            self.reject(key, why);
        }
        found.map(|(_, meant)| *meant)
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let text = self.string(key)?;
        let duration = parse_duration(&text);
        if duration.is_none() {
            self.reject(
                key,
                format!("{text:?} is not a duration: write 20s, 1m30s or 500ms"),
            );
        }
        duration
    }

    /// A duration in which something has to be done.
    pub(super) fn limit(&self, key: &'static str) -> Option<Duration> {
        let limit = self.duration(key)?;
        if limit.is_zero() {
            self.reject(key, "must not be zero: nothing could be done in time");
            return None;
        }
        Some(limit)
    }

    /// An array of strings; a lone string is an array of one.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => {
                let strings: Vec<String> = items
                    .iter()
                    .filter_map(|item| item.get_ref().as_str().map(str::to_owned))
                    .collect();
                if strings.len() == items.len() {
                    return Some(strings);
                }
                if let Some(item) = items.iter().find(|item| !item.get_ref().is_str()) {
                    self.wrong(key, item, "a string");
                }
                None
            }
            _ => {
                self.wrong(key, value, "an array of strings");
                None
            }
        }
    }

    /// An array of arrays of strings; nothing where the key is absent.
    pub(super) fn lists(&self, key: &'static str) -> Vec<Vec<String>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, value, "an array of arrays of strings");
            return Vec::new();
        };
        let mut lists = Vec::new();
        for item in items {
            let strings: Option<Vec<String>> = item.get_ref().as_array().and_then(|words| {
                words
                    .iter()
                    .map(|word| word.get_ref().as_str().map(str::to_owned))
                    .collect()
            });
            match strings {
                Some(strings) => lists.push(strings),
                None => self.wrong(key, item, "an array of strings"),
            }
        }
        lists
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let value = self.get(key)?;
        if let DeValue::Table(table) = value.get_ref() {
            return Some(self.child(self.path(key), table, value));
        }
        self.wrong(key, value, "a table");
        None
    }

    /// `[[key]]` tables, or one `[key]` table.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        match value.get_ref() {
            DeValue::Table(table) => vec![self.child(self.path(key), table, value)],
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    if let DeValue::Table(table) = item.get_ref() {
                        return Some(self.child(
                            self.path(&format!("{key}[{index}]")),
                            table,
                            item,
                        ));
                    }
                    self.wrong(key, item, "a table");
                    None
                })
                .collect(),
            _ => {
                self.wrong(key, value, "a table");
                Vec::new()
            }
        }
    }

    fn child(&self, path: String, table: &'a DeTable<'a>, value: Value<'_>) -> Table<'a> {
        Table {
            source: self.source,
            table,
            path,
            span: value.span(),
            known: RefCell::default(),
        }
    }

    /// A table whose keys are the user's own, such as environment variables.
    pub(super) fn entries(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (name, value) in table.table {
            match value.get_ref() {
                DeValue::String(text) => {
                    entries.push((name.get_ref().to_string(), text.to_string()));
                }
                DeValue::Integer(digits) => {
                    entries.push((name.get_ref().to_string(), digits.as_str().to_owned()));
                }
                DeValue::Boolean(flag) => {
                    entries.push((name.get_ref().to_string(), flag.to_string()));
                }
                _ => table.wrong(name.get_ref(), value, "a string"),
            }
        }
        entries
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table {
            if known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let nearest = known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(key.get_ref(), known), known))
                .min();
            let message = match nearest {
                Some((distance, nearest)) if distance <= 1 + nearest.len() / 3 => {
                    format!("unknown key; did you mean `{nearest}`?")
                }
                _ => format!("unknown key; the keys here are {}", known.join(", ")),
            };
            self.problem(key.get_ref(), key.span(), message);
        }
    }
}

/// As `canonicalize`, also of what is not there: nothing is a link that does not exist.
fn without_links(path: &Path) -> PathBuf {
    let there = path
        .ancestors()
        .find_map(|parent| Some((parent.canonicalize().ok()?, path.strip_prefix(parent).ok()?)));
    let Some((mut real, gone)) = there else {
        return path.to_owned();
    };
    for part in gone.components() {
        if part == Component::ParentDir {
            real.pop();
        } else {
            real.push(part);
        }
    }
    real
}
