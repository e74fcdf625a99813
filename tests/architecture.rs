//! Holds the layers that the crate's documentation draws.
//!
//! The sources are read as tokens, not as text: comments and strings cannot be taken for code,
//! and what stands inside of macros is seen too.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Crates that one module alone may name, and why it is that one.
const CONFINED: [(&str, &[&str]); 5] = [
    // Everything else speaks to the port, so it works on a recording and a fake as well.
    ("bollard", &["docker"]),
    // Without the feature `tui` these are not there.
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("tui_logger", &["tui"]),
    ("tui_input", &["tui"]),
];

/// `#[macro_export]` lifts a macro to the crate's root; it stays its module's.
const EXPORTED_MACROS: [(&str, &str); 1] = [("engine_contract", "engine")];

/// Modules that may write to the terminal: one prints results, the other draws.
const PRINTERS: [&str; 2] = ["cli", "tui"];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.what)
    }
}

/// The rows of the table in a crate's documentation: module to row.
///
/// A row is a number, the names of its modules, and words for people. The names end where a word
/// is none of the declared modules.
fn rows(lib: &str) -> BTreeMap<String, u32> {
    let declared = declared_modules(lib);
    let table = lib
        .split("//! ```text\n")
        .nth(1)
        .and_then(|rest| rest.split("//! ```").next())
        .expect("src/lib.rs documents its rows in a text block");
    let mut rows = BTreeMap::new();
    for line in table.lines() {
        let mut words = line.trim_start_matches("//!").split_whitespace();
        let number = words.next().expect("a row is not empty");
        let number: u32 = number.parse().expect("a row begins with its number");
        for module in words.take_while(|word| *word == "main" || declared.contains(*word)) {
            let earlier = rows.insert(module.to_owned(), number);
            assert_eq!(earlier, None, "{module} stands in two rows");
        }
    }
    rows
}

/// What `mod NAME;` declares.
fn declared_modules(lib: &str) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = parse(lib).into_iter().collect();
    tokens
        .windows(3)
        .filter_map(|three| match three {
            [
                TokenTree::Ident(keyword),
                TokenTree::Ident(name),
                TokenTree::Punct(end),
            ] if keyword == "mod" && end.as_char() == ';' => Some(name.to_string()),
            _ => None,
        })
        .collect()
}

fn parse(source: &str) -> TokenStream {
    source.parse().expect("the source is Rust")
}

/// The module that a file below `src/` is: `["replay", "select"]`; empty for the crate's root.
fn module_of(file: &str) -> Vec<String> {
    let mut path: Vec<String> = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if path.last().is_some_and(|last| last == "mod") || file == "lib.rs" {
        path.pop();
    }
    path
}

/// Looks at one file.
struct Checker<'a> {
    rows: &'a BTreeMap<String, u32>,
    file: &'a str,
    /// The top-level module that the file belongs to; `None` in the crate's root.
    home: Option<String>,
    violations: Vec<Violation>,
}

fn check(rows: &BTreeMap<String, u32>, file: &str, source: &str) -> Vec<Violation> {
    let module = module_of(file);
    let mut checker = Checker {
        rows,
        file,
        home: module.first().cloned(),
        violations: Vec::new(),
    };
    if !source.starts_with("//! ") {
        checker.report(1, "the file does not begin by saying what it is (//!)");
    }
    let tokens: Vec<TokenTree> = parse(source).into_iter().collect();
    checker.walk(&tokens, &module);
    checker.violations
}

impl Checker<'_> {
    fn report(&mut self, line: usize, what: impl Into<String>) {
        self.violations.push(Violation {
            file: self.file.to_owned(),
            line,
            what: what.into(),
        });
    }

    fn walk(&mut self, tokens: &[TokenTree], module: &[String]) {
        for (index, token) in tokens.iter().enumerate() {
            let (before, rest) = (&tokens[..index], &tokens[index + 1..]);
            match token {
                TokenTree::Ident(ident) => {
                    self.names(ident, before, rest);
                    if !ends_with(before, "::") {
                        self.path(ident, rest, module);
                    }
                }
                TokenTree::Group(group) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    match (before, group.delimiter()) {
                        (
                            [.., TokenTree::Ident(keyword), TokenTree::Ident(name)],
                            Delimiter::Brace,
                        ) if keyword == "mod" => {
                            let mut inner = module.to_vec();
                            inner.push(name.to_string());
                            self.walk(&inside, &inner);
                        }
                        _ => self.walk(&inside, module),
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Crates and macros that are for some modules only.
    fn names(&mut self, ident: &Ident, before: &[TokenTree], rest: &[TokenTree]) {
        let line = ident.span().start().line;
        let is_home = |modules: &[&str]| {
            let home = self.home.as_deref().unwrap_or_default();
            modules.contains(&home)
        };
        for (name, modules) in CONFINED {
            if ident == name && !is_home(modules) {
                return self.report(line, format!("only {} names {name}", modules.join(", ")));
            }
        }
        let prints = ["print", "println", "eprint", "eprintln", "dbg"]
            .iter()
            .any(|name| ident == name)
            && starts_with(rest, "!");
        let stream = ["stdout", "stderr", "Stdout", "Stderr"]
            .iter()
            .any(|name| ident == name)
            && ends_with(before, "::");
        if (prints || stream) && !is_home(&PRINTERS) {
            self.report(
                line,
                format!("only {} uses {ident}", PRINTERS.join(" and ")),
            );
        }
    }

    /// A path that begins with this identifier, if it leads through the crate's root.
    fn path(&mut self, first: &Ident, rest: &[TokenTree], module: &[String]) {
        if !starts_with(rest, "::") {
            return;
        }
        let after = &rest[2..];
        if first == "crate" || (first == "tackroom" && self.file == "main.rs") {
            self.at(&[], after);
        } else if first == "self" {
            self.at(module, after);
        } else if first == "super" {
            let (_, parent) = module.split_last().unwrap_or((&String::new(), &[]));
            self.at(parent, after);
        }
    }

    /// What follows the `::` of a path that has come as far as `module`.
    fn at(&mut self, module: &[String], after: &[TokenTree]) {
        match after {
            [TokenTree::Ident(next), rest @ ..] if next == "super" => {
                let (_, parent) = module.split_last().unwrap_or((&String::new(), &[]));
                if starts_with(rest, "::") {
                    self.at(parent, &rest[2..]);
                }
            }
            [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                for element in inside.split(|token| is_punct(token, ',')) {
                    self.at(module, element);
                }
            }
            [TokenTree::Ident(target), ..] if module.is_empty() => self.edge(target),
            [star, ..] if module.is_empty() && is_punct(star, '*') => {
                let line = star.span().start().line;
                self.report(line, "imports everything of the crate's root");
            }
            _ => {}
        }
    }

    /// The file names a top-level module.
    fn edge(&mut self, target: &Ident) {
        let Some(home) = self.home.clone() else {
            return;
        };
        let target_name = target.to_string();
        let name = EXPORTED_MACROS
            .iter()
            .find(|(exported, _)| *exported == target_name)
            .map_or(target_name, |(_, module)| (*module).to_owned());
        if name == home {
            return;
        }
        let line = target.span().start().line;
        let row = |module: &str| self.rows.get(module).copied();
        match (row(&home), row(&name)) {
            (Some(ours), Some(theirs)) if theirs < ours => {}
            (Some(ours), Some(theirs)) => self.report(
                line,
                format!("{home} (row {ours}) imports from {name} (row {theirs})"),
            ),
            (None, _) => self.report(line, format!("{home} stands in no row")),
            (_, None) => self.report(line, format!("{name} stands in no row")),
        }
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn starts_with(tokens: &[TokenTree], wanted: &str) -> bool {
    let mut tokens = tokens.iter();
    wanted
        .chars()
        .all(|c| tokens.next().is_some_and(|token| is_punct(token, c)))
}

fn ends_with(tokens: &[TokenTree], wanted: &str) -> bool {
    let start = tokens.len().checked_sub(wanted.len());
    start.is_some_and(|start| starts_with(&tokens[start..], wanted))
}

/// Every source below a directory, as paths relative to it.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_module_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a source");
    let rows = rows(&read(&root.join("lib.rs")));
    let mut violations = Vec::new();
    for path in sources(&root) {
        let file = path.strip_prefix(&root).expect("below src");
        violations.extend(check(&rows, &file.to_string_lossy(), &read(&path)));
    }
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

#[test]
fn the_documented_rows_are_the_modules_that_there_are() {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let lib = std::fs::read_to_string(lib).expect("src/lib.rs");
    let documented: BTreeSet<String> = rows(&lib).into_keys().collect();
    let mut declared = declared_modules(&lib);
    declared.insert("main".to_owned());
    assert_eq!(documented, declared);
}

/// The checker itself, on sources that are small and wrong.
mod checker {
    use super::*;

    const LIB: &str = "\
//! ```text
//! 8  main
//! 7  cli      prints; unlike tui
//! 6  tui
//! 3  docker  logs
//! 1  domain   data
//! ```
pub mod cli;
#[cfg(feature = \"tui\")]
pub mod tui;
pub mod docker;
pub mod logs;
pub mod domain;
pub mod forgotten;
";

    fn found(file: &str, source: &str) -> Vec<String> {
        let violations = check(&rows(LIB), file, &format!("//! Doc.\n{source}"));
        violations.into_iter().map(|one| one.what).collect()
    }

    #[track_caller]
    fn clean(file: &str, source: &str) {
        assert_eq!(found(file, source), Vec::<String>::new(), "{source}");
    }

    #[track_caller]
    fn dirty(file: &str, source: &str, wanted: &[&str]) {
        let found = found(file, source);
        assert_eq!(found.len(), wanted.len(), "{source}: {found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.contains(wanted), "{source}: {found:?}");
        }
    }

    #[test]
    fn the_table_is_read_up_to_its_words() {
        let rows = rows(LIB);
        assert_eq!(rows.get("cli"), Some(&7));
        assert_eq!(rows.get("tui"), Some(&6), "not the word in cli's row");
        assert_eq!((rows.get("docker"), rows.get("logs")), (Some(&3), Some(&3)));
        assert_eq!(rows.get("forgotten"), None);
        assert!(declared_modules(LIB).contains("forgotten"));
    }

    #[test]
    fn down_is_allowed_and_so_is_home() {
        clean("cli/run.rs", "use crate::{docker::x, domain::{self, y}};");
        clean("logs/mod.rs", "use crate::logs::store; use super::domain;");
        clean("logs/store.rs", "use super::follow; use self::inner::x;");
        clean("main.rs", "fn main() { tackroom::cli::main() }");
        clean("lib.rs", "pub use crate::cli::main;");
    }

    #[test]
    fn up_and_sideways_are_not() {
        let up = &["docker (row 3) imports from cli (row 7)"];
        let sideways = &["docker (row 3) imports from logs (row 3)"];
        dirty("docker/mod.rs", "use crate::cli::Args;", up);
        dirty("docker.rs", "use crate::logs;", sideways);
        dirty("docker/a.rs", "use crate::{domain::x, logs::y};", sideways);
        dirty(
            "docker/a.rs",
            "use crate::{domain, {logs, cli}};",
            &[sideways[0], up[0]],
        );
        dirty("docker/a.rs", "use {crate::logs, std::fmt};", sideways);
        dirty(
            "domain/a.rs",
            "use crate::forgotten;",
            &["forgotten stands"],
        );
        dirty("forgotten.rs", "use crate::domain;", &["forgotten stands"]);
        dirty("docker/a.rs", "use crate::*;", &["everything"]);
    }

    #[test]
    fn a_path_without_use_is_seen_also_in_macros_and_tests() {
        let up = &["imports from cli"];
        dirty("docker/a.rs", "fn f() -> crate::cli::X { g!(1) }", up);
        dirty("docker/a.rs", "fn f() { vec![crate::cli::x()] }", up);
        dirty(
            "docker/a.rs",
            "#[arg(default = crate::cli::X)] struct A;",
            up,
        );
        dirty("docker/a.rs", "pub(in crate::cli) struct A;", up);
        dirty(
            "docker/a.rs",
            "macro_rules! m { () => { $crate::cli::x() } }",
            up,
        );
        dirty(
            "docker/a.rs",
            "#[cfg(test)] mod tests { use crate::cli; }",
            up,
        );
    }

    #[test]
    fn super_leads_out_of_a_module_too() {
        let up = &["imports from cli"];
        dirty("docker/mod.rs", "use super::cli;", up);
        dirty("docker/a.rs", "use super::super::cli::x;", up);
        dirty("docker/a.rs", "use super::{b, super::{cli, domain}};", up);
        dirty(
            "docker/a.rs",
            "mod tests { use super::super::super::cli; }",
            up,
        );
        clean("docker/a.rs", "mod tests { use super::super::cli; }");
        clean("docker/a.rs", "fn f() { super::cli(); }");
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        clean(
            "docker/a.rs",
            "//! see crate::cli\n// use crate::cli;\n/* crate::cli */\n/// [`crate::cli`]\n\
             const A: &str = \"crate::cli\"; const B: &str = r#\"use crate::cli;\"#;\n\
             fn lifetime<'crate_>() -> char { '\"' }",
        );
    }

    #[test]
    fn crates_stay_where_they_belong() {
        dirty(
            "logs/mod.rs",
            "use bollard::Docker;",
            &["docker names bollard"],
        );
        dirty("cli/run.rs", "fn f() { ::ratatui::init() }", &["tui names"]);
        dirty(
            "cli/run.rs",
            "use {crossterm, tui_logger};",
            &["tui", "tui"],
        );
        clean("docker/mod.rs", "use bollard::Docker;");
        clean("tui/mod.rs", "use {ratatui, crossterm, tui_logger};");
    }

    #[test]
    fn only_few_print() {
        let prints = &["only cli and tui uses"];
        dirty("logs/mod.rs", "fn f() { println!(\"x\") }", prints);
        dirty("logs/mod.rs", "fn f() { std::io::stderr().lock() }", prints);
        dirty(
            "docker/a.rs",
            "use std::io::{self}; fn f(x: io::Stdout) {}",
            prints,
        );
        clean("cli/a.rs", "fn f() { println!(\"x\"); std::io::stdout() }");
        clean("docker/a.rs", "fn f() { command.stdout(x).stderr(y) }");
    }

    #[test]
    fn a_file_says_what_it_is() {
        let silent = check(&rows(LIB), "logs/mod.rs", "use std::fmt;");
        assert_eq!(silent.len(), 1, "{silent:?}");
        let shown = silent[0].to_string();
        assert!(shown.starts_with("src/logs/mod.rs:1: "), "{shown}");
    }

    #[test]
    fn a_violation_names_its_line() {
        let source = "//! Doc.\n\nuse crate::domain;\nuse crate::{\n    cli,\n};\n";
        let found = check(&rows(LIB), "docker/a.rs", source);
        let lines: Vec<usize> = found.iter().map(|one| one.line).collect();
        assert_eq!(lines, [5]);
    }
}
