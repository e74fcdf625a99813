//! An inspect without the secrets that are in it.

use serde_json::Value;

use crate::domain::secret::{MASK, is_secret_name, mask, mask_words};
use crate::engine::Inspect;

/// Shorter values are too common as parts of other words.
const SCRUBBED: usize = 4;

/// Masks what looks like a secret in an inspect, also in the engine's whole answer. Labels that
/// `is_plain` knows keep their values: a selector has to match them later.
#[must_use]
pub fn masked(mut inspect: Inspect, is_plain: &dyn Fn(&str) -> bool) -> Inspect {
    let mut secrets: Vec<String> = Vec::new();
    for (name, value) in &mut inspect.env {
        if let Some(value) = value {
            let safe = mask(name, value);
            if safe != *value {
                if is_secret_name(name) && value.len() >= SCRUBBED {
                    secrets.push(value.clone());
                }
                *value = safe.into_owned();
            }
        }
    }
    // A secret that holds another one goes first.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let masker = Masker { secrets, is_plain };
    for value in inspect
        .env
        .iter_mut()
        .filter_map(|(_, value)| value.as_mut())
    {
        *value = masker.scrub(value);
    }
    inspect.command = masker.words(&inspect.command);
    inspect.entrypoint = masker.words(&inspect.entrypoint);
    let container = &mut inspect.container;
    for (key, value) in &mut container.labels {
        *value = masker.text(key, value);
    }
    container.status = masker.scrub(&container.status);
    if let Some(detail) = &mut container.detail {
        for text in [&mut detail.health_output, &mut detail.error] {
            *text = text.as_deref().map(|text| masker.speech(text));
        }
    }
    masker.value("", &mut inspect.raw);
    inspect
}

struct Masker<'a> {
    /// Values of environment variables that appear in commands and messages.
    secrets: Vec<String>,
    is_plain: &'a dyn Fn(&str) -> bool,
}

impl Masker<'_> {
    fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }

    /// What a program has said.
    fn speech(&self, text: &str) -> String {
        let lines = text.split('\n').map(|line| self.scrub(&mask("", line)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn words(&self, words: &[String]) -> Vec<String> {
        let masked = mask_words(words.iter().map(String::as_str));
        masked.iter().map(|word| self.scrub(word)).collect()
    }

    fn text(&self, key: &str, text: &str) -> String {
        if (self.is_plain)(key) {
            text.to_owned()
        } else {
            self.scrub(&mask(key, text))
        }
    }

    fn value(&self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) if matches!(key, "Output" | "Error") => *text = self.speech(text),
            Value::String(text) if matches!(key, "Cmd" | "Entrypoint" | "Path") => {
                *text = self.scrub(&mask("", text));
            }
            Value::String(text) => *text = self.text(key, text),
            Value::Array(items) => self.items(key, items),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    self.value(key, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn items(&self, key: &str, items: &mut [Value]) {
        if matches!(key, "Cmd" | "Entrypoint" | "Args" | "Test" | "OnBuild") {
            // What is no text among them stands where it stands.
            let words = items.iter().map(|item| item.as_str().unwrap_or_default());
            let words: Vec<String> = mask_words(words);
            for (item, word) in items.iter_mut().zip(words) {
                if let Value::String(text) = item {
                    *text = self.scrub(&word);
                }
            }
            return;
        }
        for item in items {
            match item {
                // `Env`, and whatever else is written like it.
                Value::String(text) => {
                    let safe = match text.split_once('=') {
                        Some((name, value)) => format!("{name}={}", mask(name, value)),
                        None => mask("", text).into_owned(),
                    };
                    *text = self.scrub(&safe);
                }
                item => self.value(key, item),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::container::{Container, Detail};

    fn inspect() -> Inspect {
        let mut container = Container::bare("c1");
        container.labels = [
            ("family.key", "1"),
            ("my.token", "S3CR3T"),
            ("com.docker.compose.project", "shop"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        container.detail = Some(Detail {
            health_output: Some("hunter2 is wrong\nat http://u:S3CR3T@h/".to_owned()),
            ..Detail::default()
        });
        Inspect {
            env: vec![
                ("DB_PASSWORD".to_owned(), Some("hunter2".to_owned())),
                ("URL".to_owned(), Some("db://u:S3CR3T@db/x".to_owned())),
                ("LEVEL".to_owned(), Some("info".to_owned())),
                ("CONN".to_owned(), Some("app/hunter2@//db/x".to_owned())),
                ("API_KEY".to_owned(), None),
            ],
            command: vec!["sh".to_owned(), "-c".to_owned(), "login hunter2".to_owned()],
            entrypoint: vec!["run".to_owned(), "--token=S3CR3T".to_owned()],
            networks: std::collections::BTreeMap::new(),
            restart_policy: "no".to_owned(),
            raw: json!({
                "Id": "c1",
                "Args": ["--password", "S3CR3T", 7],
                "State": {"Health": {"Log": [{"Output": "login hunter2 failed"}]}},
                "Config": {
                    "Env": ["DB_PASSWORD=hunter2", "URL=db://u:S3CR3T@db/x", "LEVEL=info", "A", "CONN=app/hunter2@//db/x"],
                    "Cmd": ["sh", "-c", "login hunter2"],
                    "Healthcheck": {"Test": ["CMD-SHELL", "PGPASSWORD=S3CR3T psql"]},
                    "Labels": {"family.key": "1", "my.token": "S3CR3T"},
                    "Image": "shop:dev",
                },
                "HostConfig": {"LogConfig": {"Config": {"splunk-token": "S3CR3T"}}, "Memory": 5},
                "NetworkSettings": {"SandboxKey": "/var/run/docker/netns/1"},
            }),
            container,
        }
    }

    #[test]
    fn no_secret_is_left_and_the_rest_is() {
        let masked = masked(inspect(), &|key| key == "family.key");
        let all = format!("{masked:?}");
        for secret in ["hunter2", "S3CR3T"] {
            assert!(!all.contains(secret), "{all}");
        }
        let labels = &masked.container.labels;
        assert_eq!(labels["family.key"], "1");
        assert_eq!(labels["com.docker.compose.project"], "shop");
        assert_eq!(masked.env[2].1.as_deref(), Some("info"));
        assert_eq!(masked.env[4].1, None);
        let raw = &masked.raw;
        assert_eq!(raw["Config"]["Env"][2], "LEVEL=info");
        assert_eq!(raw["Config"]["Env"][1], "URL=db://***@db/x");
        assert_eq!(raw["Config"]["Image"], "shop:dev");
        assert_eq!(raw["Config"]["Labels"]["family.key"], "1");
        assert_eq!(raw["HostConfig"]["Memory"], 5);
        assert_eq!(raw["Args"], json!(["--password", "***", 7]));
        assert_eq!(
            raw["NetworkSettings"]["SandboxKey"],
            "/var/run/docker/netns/1"
        );
    }
}
