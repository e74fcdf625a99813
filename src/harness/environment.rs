//! What hooks and replays find in their environment.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, expand, parse_env_file};
use crate::domain::id::RunId;
use crate::process::GUARD;

/// Builds the environment of each step anew, because a hook may have written to an env file.
#[derive(Clone, Debug)]
pub struct Environment {
    fixed: BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
    files: Vec<std::path::PathBuf>,
}

impl Environment {
    /// A later source wins: configuration, env files, then what tackroom says itself. The compose
    /// project is ours to say: it is what the stack's selector looks for.
    pub fn new(config: &Config, run: &RunId, keep_up: bool, rebuild: bool) -> Self {
        let harness = config.harness.as_ref();
        let mut ours = BTreeMap::from([
            ("TACKROOM".to_owned(), "1".to_owned()),
            (RunId::VARIABLE.to_owned(), run.to_string()),
        ]);
        // A guard runs hooks, and they are none.
        if std::env::var_os(GUARD.0).is_some() {
            ours.insert(GUARD.0.to_owned(), String::new());
        }
        // A replay can run tackroom itself, and gets the one that runs it.
        if let Some(exe) = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.into_os_string().into_string().ok())
        {
            ours.insert("TACKROOM_EXE".to_owned(), exe);
        }
        let stacks = harness.map_or(&[][..], |harness| &harness.stacks);
        let projects: BTreeSet<&str> = stacks
            .iter()
            .filter_map(|name| config.scope.stack(name)?.compose_project.as_ref())
            .map(|project| project.name.as_str())
            .collect();
        // One name cannot stand for several projects: their hooks say which they mean.
        if let (1, Some(project)) = (projects.len(), projects.first()) {
            ours.insert("COMPOSE_PROJECT_NAME".to_owned(), (*project).to_owned());
        }
        // Said either way: a KEEP_UP of our own environment must not reach a `down` that was meant.
        for (name, wanted) in [("KEEP_UP", keep_up), ("REBUILD", rebuild)] {
            let value = if wanted { "1" } else { "" };
            ours.insert(name.to_owned(), value.to_owned());
        }
        Self {
            fixed: harness
                .map(|h| h.env.iter().cloned().collect())
                .unwrap_or_default(),
            ours,
            files: harness.map(|h| h.env_files.clone()).unwrap_or_default(),
        }
    }

    /// As of now. An env file that is not there yet is no mistake.
    pub fn now(&self) -> BTreeMap<String, String> {
        let mut env = self.fixed.clone();
        for file in &self.files {
            if let Ok(bytes) = std::fs::read(file) {
                env.extend(parse_env_file(&String::from_utf8_lossy(&bytes)));
            }
        }
        env.extend(self.ours.clone());
        env
    }

    /// # Errors
    ///
    /// Gives the first name that has no value, neither here nor in our own environment.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        env.extend(self.now());
        expand(text, &env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compose_project_is_said_where_there_is_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tackroom.toml");
        std::fs::write(dir.path().join("compose.yaml"), "").unwrap();
        let project = |stacks: &str| {
            let text = format!(
                "stack = [{{ name = 's', compose = 'compose.yaml', project = 'p' }},\n\
                 {{ name = 't', compose = 'compose.yaml', project = 'q' }},\n\
                 {{ name = 'u', labels = ['a=1'] }}]\n[harness]\nstack = {stacks}\n"
            );
            std::fs::write(&path, text).unwrap();
            let config = crate::config::load(&path).unwrap();
            let run = RunId::new(jiff::Timestamp::UNIX_EPOCH, 1);
            let env = Environment::new(&config, &run, false, false).now();
            env.get("COMPOSE_PROJECT_NAME").cloned()
        };
        assert_eq!(project("['u', 't']").as_deref(), Some("q"));
        assert_eq!(project("['s', 't']"), None);
        assert_eq!(project("'u'"), None);
    }

    #[test]
    fn later_sources_win_and_files_are_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tackroom.toml");
        std::fs::write(dir.path().join("compose.yaml"), "").unwrap();
        std::fs::write(
            &path,
            "stack = [{ name = 's', compose = 'compose.yaml', project = 'p' }]\n\
             [harness]\nstack = 's'\nenv_files = '.env'\n\
             env = { A = 'config', B = 'config', COMPOSE_PROJECT_NAME = 'other' }\n",
        )
        .unwrap();
        let config = crate::config::load(&path).unwrap();
        let run = RunId::new(jiff::Timestamp::UNIX_EPOCH, 1);
        let environment = Environment::new(&config, &run, false, true);
        assert_eq!(
            environment.now().get("B").map(String::as_str),
            Some("config")
        );
        std::fs::write(dir.path().join(".env"), "B=file\nTACKROOM=no\n").unwrap();
        let env = environment.now();
        let get = |name: &str| env.get(name).map(String::as_str);
        assert_eq!((get("A"), get("B")), (Some("config"), Some("file")));
        assert_eq!(
            (get("TACKROOM"), get("REBUILD"), get("KEEP_UP")),
            (Some("1"), Some("1"), Some(""))
        );
        assert_eq!(get("COMPOSE_PROJECT_NAME"), Some("p"));
        assert_eq!(environment.expand("${B}/x").as_deref(), Ok("file/x"));
        assert!(environment.expand("${NO_SUCH_NAME_HERE}").is_err());
    }
}
