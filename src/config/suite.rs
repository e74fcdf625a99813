//! Reads `[replays]` and `[[suite]]`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::reader::Table;
use super::schema::{Keep, MEBIBYTE, Replays, RunIn, Suite};
use crate::domain::suite::{ExpectedFailure, Kind, Marker, Rules, Said, SuiteName};

/// Seconds.
const DAY: u64 = 24 * 60 * 60;

/// What an exit code can be.
const CODES: std::ops::Range<i32> = 0..256;

/// What tackroom says itself to every replay.
const OURS: &str = "TACKROOM";

pub(super) fn replays(
    table: Option<Table<'_>>,
    suites: Vec<Table<'_>>,
    defaults: Replays,
    root: &Path,
) -> Replays {
    let mut replays = defaults;
    if let Some(table) = table {
        replays.default = suite(&table, replays.default, root);
        replays.grace = replays.default.grace;
        if let Some(jobs) = table.integer("jobs", 1..1_025) {
            let jobs = usize::try_from(jobs).ok().and_then(NonZeroUsize::new);
            replays.jobs = jobs.unwrap_or(replays.jobs);
        }
        if let Some(retries) = table.integer("retries", 0..101) {
            replays.retries = u32::try_from(retries).unwrap_or(replays.retries);
        }
        replays.keep = keep(&table, replays.keep);
        table.finish();
    }
    for table in suites {
        let name = name(&table, &replays);
        if !table.has("paths") {
            table.missing("paths");
        }
        let inherited = Suite {
            name: name.clone().unwrap_or_default(),
            ..replays.default.clone()
        };
        let suite = suite(&table, inherited, root);
        table.finish();
        replays.others.extend(name.map(|_| suite));
    }
    replays
}

fn keep(table: &Table<'_>, defaults: Keep) -> Keep {
    let whole = |key, range| {
        table
            .integer(key, range)
            .and_then(|count| u64::try_from(count).ok())
    };
    let runs = whole("keep_runs", 1..100_000).and_then(|runs| usize::try_from(runs).ok());
    let days = whole("keep_days", 1..36_501);
    let mebibytes = whole("keep_mib", 1..1_000_000_000);
    Keep {
        runs: runs.unwrap_or(defaults.runs),
        age: days
            .map(|days| Duration::from_secs(days * DAY))
            .or(defaults.age),
        bytes: mebibytes.map(|count| count * MEBIBYTE).or(defaults.bytes),
    }
}

fn name(table: &Table<'_>, known: &Replays) -> Option<SuiteName> {
    let Some(name) = table.string("name") else {
        if !table.has("name") {
            table.missing("name");
        }
        return None;
    };
    if known.suites().any(|suite| *suite.name == *name) {
        let why = match &*name {
            SuiteName::DEFAULT => format!("{name} is the suite of [replays]"),
            _ => format!("another suite is called {name} already"),
        };
        table.reject("name", why);
    }
    Some(SuiteName::from(&*name))
}

/// What is not said is as it was.
fn suite(table: &Table<'_>, before: Suite, root: &Path) -> Suite {
    let globs = |key, before| {
        let globs: Vec<String> = table.strings(key).unwrap_or(before);
        for glob in &globs {
            if let Err(error) = glob::Pattern::new(glob) {
                table.reject(key, format!("{glob:?}: {error}"));
            }
        }
        globs
    };
    let paths = globs("paths", before.paths);
    let suite = Suite {
        exclude: globs("exclude", before.exclude),
        executable: table.bool("executable").unwrap_or(before.executable),
        dir: match table.word("dir", &DIRS) {
            Some(Dir::Config) => RunIn::Directory(root.to_owned()),
            Some(Dir::Suite) => RunIn::Directory(common_directory(root, &paths)),
            Some(Dir::Script) => RunIn::ScriptsOwn,
            None => before.dir,
        },
        paths,
        wrapper: wrapper(table, root).unwrap_or(before.wrapper),
        script_on_stdin: table
            .bool("script_on_stdin")
            .unwrap_or(before.script_on_stdin),
        env: env(table, before.env),
        needs: table.strings("needs").unwrap_or(before.needs),
        tags: table.strings("tags").unwrap_or(before.tags),
        parallel: table.bool("parallel").unwrap_or(before.parallel),
        groups: table.strings("group").unwrap_or(before.groups),
        timeout: table.limit("timeout").unwrap_or(before.timeout),
        timeout_factor: match table.integer("timeout_factor", 1..1_001) {
            Some(factor) => u32::try_from(factor).ok().and_then(NonZeroU32::new),
            None => before.timeout_factor,
        },
        slow: table.duration("slow").unwrap_or(before.slow),
        grace: table.duration("grace").unwrap_or(before.grace),
        rules: rules(table, before.rules),
        name: before.name,
    };
    if suite.script_on_stdin && suite.wrapper.is_empty() {
        let why = "needs a `wrapper`, which reads the script";
        table.reject("script_on_stdin", why);
    }
    suite
}

#[derive(Clone, Copy)]
enum Dir {
    Config,
    Suite,
    Script,
}

const DIRS: [(&str, Dir); 3] = [
    ("config", Dir::Config),
    ("suite", Dir::Suite),
    ("script", Dir::Script),
];

/// Where everything is that the globs can match: what they have in common before the first part
/// that is none of a plain directory.
pub(super) fn common_directory(root: &Path, globs: &[String]) -> PathBuf {
    let plain = |glob: &String| -> Vec<String> {
        let mut parts: Vec<String> = glob.split('/').map(str::to_owned).collect();
        parts.pop();
        let is_plain = |part: &String| !part.contains(['*', '?', '[']);
        parts.into_iter().take_while(is_plain).collect()
    };
    let mut common: Option<Vec<String>> = None;
    for parts in globs.iter().map(plain) {
        common = Some(match common {
            None => parts,
            Some(before) => {
                let same = before.into_iter().zip(parts).take_while(|(a, b)| a == b);
                same.map(|(part, _)| part).collect()
            }
        });
    }
    let below = common.unwrap_or_default().join("/");
    // The parts of an absolute path begin with an empty one.
    let below = match below.is_empty() && globs.iter().all(|glob| glob.starts_with('/')) {
        true if !globs.is_empty() => "/".to_owned(),
        _ => below,
    };
    let directory = root.join(below);
    directory
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

fn wrapper(table: &Table<'_>, root: &Path) -> Option<Vec<String>> {
    let mut words = table.strings("wrapper")?;
    match words.first_mut() {
        Some(program) if program.trim().is_empty() => {
            table.reject("wrapper", "must begin with a program");
        }
        // It is found from wherever the replays run.
        Some(program) if program.contains('/') => {
            let path: PathBuf = root.join(&*program).components().collect();
            *program = path.to_string_lossy().into_owned();
        }
        _ => {}
    }
    Some(words)
}

fn env(table: &Table<'_>, before: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut env = before;
    for (name, value) in table.entries("env") {
        if name.starts_with(OURS) {
            let why = format!("{name} is tackroom's own to say");
            table.reject("env", why);
        }
        env.retain(|(known, _)| *known != name);
        env.push((name, value));
    }
    env
}

/// A `kind` stands for its own codes, also where other ones are inherited.
fn rules(table: &Table<'_>, before: Rules) -> Rules {
    let kinds = Kind::ALL.map(|kind| (kind.word(), kind));
    let mut rules = match table.word("kind", &kinds) {
        Some(kind) => Rules {
            skip_marker: before.skip_marker,
            expected_failure: before.expected_failure,
            ..Rules::of(kind)
        },
        None => before,
    };
    let skip_codes = match (
        table.integers("skip_codes", CODES),
        table.integers("skip_exit_code", CODES),
    ) {
        (Some(_), Some(_)) => {
            let why = "is the same as `skip_codes`: say one of them";
            table.reject("skip_exit_code", why);
            None
        }
        (codes, code) => codes.or(code),
    };
    let said = [
        ("pass_codes", table.integers("pass_codes", CODES)),
        ("skip_codes", skip_codes),
        ("error_codes", table.integers("error_codes", CODES)),
    ];
    for (at, (key, codes)) in said.iter().enumerate() {
        for code in codes.iter().flatten() {
            let mut earlier = said[..at].iter();
            let twice = earlier.find(|(_, codes)| codes.iter().flatten().any(|it| it == code));
            if let Some((other, _)) = twice {
                table.reject(key, format!("{code} stands in `{other}` already"));
            }
        }
    }
    let is_said = |code: &i32| {
        said.iter()
            .any(|(_, codes)| codes.iter().flatten().any(|it| it == code))
    };
    let [pass, skip, error] = [&said[0].1, &said[1].1, &said[2].1];
    for (codes, new) in [
        (&mut rules.pass_codes, pass),
        (&mut rules.skip_codes, skip),
        (&mut rules.error_codes, error),
    ] {
        match new {
            Some(new) => codes.clone_from(new),
            // What is said elsewhere means that there.
            None => codes.retain(|code| !is_said(code)),
        }
    }
    if let Some(marker) = marker(table, "skip_marker") {
        rules.skip_marker = Some(marker);
    }
    let words = [("before", Said::Before), ("after", Said::After)];
    let said = table.word("expected_failure_said", &words);
    if let Some(marker) = marker(table, "expected_failure_marker") {
        let said = said.unwrap_or_default();
        rules.expected_failure = Some(ExpectedFailure { marker, said });
    } else if let (Some(said), Some(expected)) = (said, &mut rules.expected_failure) {
        expected.said = said;
    } else if said.is_some() && !table.has("expected_failure_marker") {
        let why = "needs `expected_failure_marker`, the line that says it";
        table.reject("expected_failure_said", why);
    }
    rules
}

fn marker(table: &Table<'_>, key: &'static str) -> Option<Marker> {
    let regex = table.string(key)?;
    match Marker::new(&regex) {
        Ok(marker) => Some(marker),
        Err(error) => {
            // Its last line says what is wrong; those before draw where.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim().to_owned();
            table.reject(key, format!("{regex:?} is no regular expression: {why}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_suite_holds_all_that_it_can_find() {
        let directory = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            common_directory(Path::new("/work"), &globs)
        };
        assert_eq!(directory(&["tests/e2e/*.sh"]), Path::new("/work/tests/e2e"));
        assert_eq!(directory(&["./t/**/*.t", "t/x/*"]), Path::new("/work"));
        assert_eq!(directory(&["t/**/*.t", "t/x/*"]), Path::new("/work/t"));
        assert_eq!(directory(&["*"]), Path::new("/work"));
        assert_eq!(directory(&[]), Path::new("/work"));
        assert_eq!(directory(&["/opt/e2e/*"]), Path::new("/opt/e2e"));
        assert_eq!(directory(&["/*"]), Path::new("/"));
        assert_eq!(directory(&["../other/t/*"]), Path::new("/work/../other/t"));
    }
}
