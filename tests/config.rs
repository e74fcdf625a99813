//! Configuration files, good and bad, as folders of examples.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::path::Path;
use std::time::Duration;

use tackroom::config::{self, ConfigError, Keep};
use tackroom::domain::scope::{Placement, Protection};

/// Keeps the paths of this machine out of the snapshots.
fn redacted(text: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .canonicalize()
        .unwrap();
    text.replace(&*root.to_string_lossy(), "[ROOT]")
}

#[test]
fn every_mistake_is_told_with_line_key_and_a_way_out() {
    insta::glob!("config/invalid/*.toml", |path| {
        let path = Path::new("tests/config/invalid").join(path.file_name().unwrap());
        match config::load(&path) {
            Err(error @ ConfigError::Invalid(_)) => {
                insta::assert_snapshot!(redacted(&error.to_string()));
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    });
}

#[test]
fn stacks_are_protected_unless_they_say_otherwise() {
    let config = config::load(Path::new("tests/config/valid/galaxy.toml")).unwrap();
    let protection = |name| config.scope.stack(name).unwrap().protection;
    assert_eq!(protection("integration"), Protection::Removable);
    assert_eq!(protection("dev-deploy"), Protection::Protected);
    let unlabelled = [("galaxy.backend".to_owned(), "1".to_owned())].into();
    assert_eq!(config.scope.place(&unlabelled), Placement::Unclaimed);
}

#[test]
fn what_is_kept_of_runs_is_counted_in_runs_days_and_mebibytes() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join(config::FILE_NAME);
    let keep = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap();
        (config.replays.keep, config.log_cap >> 20)
    };
    assert_eq!(keep(""), (Keep::runs(20), 64));
    let all = "[replays]\nkeep_runs = 3\nkeep_days = 2\nkeep_mib = 5\n[logs]\nrecord_mib = 7\n";
    let wanted = Keep {
        runs: 3,
        age: Some(Duration::from_secs(2 * 86_400)),
        bytes: Some(5 << 20),
    };
    assert_eq!(keep(all), (wanted, 7));
}

#[test]
fn a_compose_stack_is_one_checkout_of_one_project() {
    let config = config::load(Path::new("tests/config/valid/compose.toml")).unwrap();
    let stack = config.scope.stack("tenant").unwrap();
    let project = stack.compose_project.clone().unwrap();
    assert!(project.unique);
    let project = project.name;
    assert!(
        project.starts_with("tenant-") && project.len() == "tenant-".len() + 8,
        "{project}"
    );
    let directory = Path::new("tests/config/valid/harness")
        .canonicalize()
        .unwrap();
    let labels = |directory: &Path| {
        [
            ("com.docker.compose.project".to_owned(), project.clone()),
            (
                "com.docker.compose.project.working_dir".to_owned(),
                directory.to_string_lossy().into_owned(),
            ),
        ]
        .into()
    };
    assert!(stack.claims.matches(&labels(&directory)));
    assert!(!stack.claims.matches(&labels(Path::new("/elsewhere"))));

    let harness = config.harness.unwrap();
    let up = harness.up.unwrap();
    assert_eq!(
        (up.program, up.args),
        (directory.join("./up.sh"), vec!["--wait".to_owned()])
    );
    assert_eq!(harness.down.unwrap().program, Path::new("make"));
    assert_eq!(harness.env_files, [directory.join(".up.env")]);
    assert!(
        harness
            .env
            .contains(&("PORT".to_owned(), "8080".to_owned()))
    );
    assert!(
        harness
            .env
            .contains(&("DEBUG".to_owned(), "true".to_owned()))
    );
    assert_eq!(harness.ready.timeout.as_secs(), 90);
    assert!(harness.ready.healthy);
}

#[test]
fn what_stood_in_a_file_means_the_same_when_what_it_names_has_gone() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("checkout/real")).unwrap();
    std::os::unix::fs::symlink("checkout", root.join("link")).unwrap();
    let compose = root.join("checkout/compose.yml");
    std::fs::write(&compose, "").unwrap();
    let file = root.join(config::FILE_NAME);
    let text = "[[stack]]\nname = 's'\ncompose = 'link/real/../compose.yml'\n\
                [harness]\nstack = 's'\ndir = 'link/real'\n";
    std::fs::write(&file, text).unwrap();
    let before = config::load(&file).unwrap();
    std::fs::remove_file(compose).unwrap();
    std::fs::remove_dir(root.join("checkout/real")).unwrap();
    std::fs::write(&file, "").unwrap();
    let after = config::read(&file, text).unwrap();
    assert_eq!(after.scope, before.scope);
    let dir = |config: &config::Config| config.harness.as_ref().unwrap().dir.clone();
    assert_eq!(dir(&after), dir(&before));
    std::fs::write(&file, text).unwrap();
    let mistakes = config::load(&file).unwrap_err().to_string();
    assert!(mistakes.contains("compose.yml does not exist"));
    assert!(mistakes.contains("link/real is not a directory"));
}

#[test]
fn a_run_label_guards_for_ten_minutes_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(config::FILE_NAME);
    let guard = |keys: &str| {
        let text = format!("[[stack]]\nname = 'a'\nlabels = ['x=1']\n{keys}\n");
        std::fs::write(&path, text).unwrap();
        let guard = config::load(&path).unwrap().scope.stacks[0]
            .run_guard
            .clone();
        guard.map(|guard| (guard.label, guard.min_age.as_secs()))
    };
    assert_eq!(guard(""), None);
    assert_eq!(guard("run_label = 'run'"), Some(("run".to_owned(), 600)));
    let both = "run_label = 'run'\nmin_age = '1m30s'";
    assert_eq!(guard(both), Some(("run".to_owned(), 90)));
}

#[test]
fn a_harness_has_one_stack_or_several() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(config::FILE_NAME);
    let stacks = "stack = [{ name = 'a', labels = ['x=1'] }, { name = 'b', labels = ['x=2'] }]\n";
    let stacks_of = |harness: &str| {
        std::fs::write(&path, format!("{stacks}[harness]\n{harness}")).unwrap();
        config::load(&path).unwrap().harness.unwrap().stacks
    };
    assert_eq!(stacks_of("stack = 'b'"), ["b".into()]);
    assert_eq!(stacks_of("stack = ['b', 'a']"), ["b".into(), "a".into()]);
    assert_eq!(stacks_of("up = './up'"), []);
}

/// The reference shows every key as a comment; taken out of its comment each must be valid.
#[test]
fn the_commented_template_is_a_valid_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("compose.yaml"), "services: {}").unwrap();
    let path = dir.path().join("tackroom.toml");
    std::fs::write(&path, config::TEMPLATE).unwrap();
    config::load(&path).unwrap();

    let is_toml =
        |line: &str| line.starts_with('[') || line.contains(" = ") || line.contains("  = ");
    let uncommented: String = config::TEMPLATE
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| is_toml(line) && !line.contains('`'))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, &uncommented).unwrap();
    let config = config::load(&path).unwrap();
    assert_eq!(config.scope.stacks.len(), 2, "{uncommented}");
    assert!(config.harness.is_some());
}

#[test]
fn the_file_is_found_upward() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let file = dir.path().join("a").join(config::FILE_NAME);
    std::fs::write(&file, "").unwrap();
    assert_eq!(config::discover(&deep), Some(file));
}
