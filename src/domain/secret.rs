//! What may be a secret, by its name or by its form, and what is shown in its place.
//!
//! Where it is not certain, it is one: a masked value that was none costs a look, a secret on a
//! disk costs a new secret.

use std::borrow::Cow;

/// Stands for a value that is kept back.
pub const MASK: &str = "***";

/// What the name of a secret contains, in capitals.
const NAMES: [&str; 9] = [
    "PASS",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "DSN",
    "PRIVATE",
    "COOKIE",
];

/// Names that contain one of those and name no secret.
const HARMLESS: [&str; 4] = ["AUTHORS", "AUTHOR", "SANDBOXKEY", "BYPASS"];

/// How tokens begin that their issuers made to be recognised.
const TOKENS: [&str; 12] = [
    "-----BEGIN",
    "AKIA",
    "ASIA",
    "AIza",
    "eyJ",
    "ghp_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "npm_",
    "sk-",
    "xox",
];

/// Whether what has this name is a secret: an environment variable, a label, an option.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // A label's last part names it: `org.opencontainers.image.authors`.
    let last = name.rsplit(['.', '/']).next().unwrap_or_default();
    if HARMLESS.contains(&last) {
        return false;
    }
    NAMES.iter().any(|part| name.contains(part)) || name == "PWD_HASH" || name.ends_with("_PWD")
}

/// As a shell has them, roughly.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '&' | '|' | '(' | ')'))
}

/// A token, or `A_KEY=x`.
fn is_secret_word(word: &str) -> bool {
    let is_token = |text: &str| TOKENS.iter().any(|token| text.starts_with(token));
    let (name, value) = word.split_once('=').unwrap_or(("", word));
    is_token(word) || is_token(value) || (!value.is_empty() && is_secret_name(name))
}

/// The value of an HTTP header: RFC 9110, section 11.6.2.
fn has_authorization(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    ["bearer ", "basic "].iter().any(|scheme| {
        let mut places = memchr::memmem::find_iter(lower.as_bytes(), scheme);
        places.any(|at| {
            let before = lower.get(..at).unwrap_or_default().trim_end();
            before.is_empty() || before.ends_with([':', '"', '\'', '='])
        })
    })
}

/// A value with what is secret about it masked; `None` where nothing is.
fn masked(name: &str, value: &str) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    if is_secret_name(name) || words(value).any(is_secret_word) || has_authorization(value) {
        return Some(MASK.to_owned());
    }
    // `host=db password=x`, as libpq and ODBC have it; also in the query of a URL.
    let lower = value.to_ascii_lowercase();
    if [
        "password=",
        "passwd=",
        "pwd=",
        "secret=",
        "token=",
        "apikey=",
        "api_key=",
    ]
    .iter()
    .any(|part| lower.contains(part))
    {
        return Some(MASK.to_owned());
    }
    let mut rest = value;
    let mut safe = String::new();
    while let Some(start) = rest.find("://") {
        let (scheme, authority) = rest.split_at(start + 3);
        safe.push_str(scheme);
        let is_end = |c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace();
        let end = authority.find(is_end).unwrap_or(authority.len());
        rest = authority;
        if let Some(at) = authority[..end].rfind('@') {
            safe.push_str(MASK);
            rest = &authority[at..];
        }
    }
    safe.push_str(rest);
    (safe != value).then_some(safe)
}

/// The value of an environment variable or label as it may be kept and shown.
pub fn mask<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    masked(name, value).map_or(Cow::Borrowed(value), Cow::Owned)
}

/// The words of a command as they may be kept and shown: `--password=x`, `--password x`, `A_KEY=x`.
pub fn mask_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut named = false;
    words
        .into_iter()
        .map(|word| {
            let is_value = std::mem::take(&mut named);
            if let Some((name, value)) = word.split_once('=') {
                let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if name.chars().all(is_name) {
                    return format!("{name}={}", mask(name, value));
                }
            }
            named = word.starts_with('-') && is_secret_name(word);
            let name = if is_value && !named { "SECRET" } else { "" };
            mask(name, word).into_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name() {
        for name in [
            "POSTGRES_PASSWORD",
            "DB_PASS",
            "api.token",
            "STRIPE_API_KEY",
            "traefik.http.middlewares.x.basicauth.users",
            "SENTRY_DSN",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "MYSQL_PWD",
        ] {
            assert!(is_secret_name(name), "{name}");
            assert_eq!(mask(name, "hunter2"), MASK, "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "LOG_LEVEL",
            "com.docker.compose.project",
            "org.opencontainers.image.authors",
            "SandboxKey",
        ] {
            assert!(!is_secret_name(name), "{name}");
            assert_eq!(mask(name, "info"), "info", "{name}");
        }
        assert_eq!(mask("TOKEN", ""), "");
    }

    #[test]
    fn a_secret_is_known_by_its_form() {
        for (value, wanted) in [
            ("postgres://u:p@db:5432/x", "postgres://***@db:5432/x"),
            ("redis://:p@ss@cache", "redis://***@cache"),
            (
                "amqp://a:b@one,amqp://c:d@two/v?x=1",
                "amqp://***@one,amqp://***@two/v?x=1",
            ),
            ("http://db/a@b", "http://db/a@b"),
            ("http://é://u:p@é", "http://é://***@é"),
            ("://a@b://c@d", "://***@b://***@d"),
            ("host=db password=x", MASK),
            ("http://x/?token=abc", MASK),
            ("ghp_0123", MASK),
            ("sh -c 'cd /app && STRIPE_KEY=abc ./run'", MASK),
            ("curl -H \"Authorization: Bearer abc\" http://x", MASK),
            ("Basic dTpw", MASK),
            ("use ghp_0123 now", MASK),
            ("a basic thing", "a basic thing"),
            ("KEY=", "KEY="),
            ("-----BEGIN RSA PRIVATE KEY-----", MASK),
            ("eyJhbGciOi.e30.x", MASK),
            ("a@b", "a@b"),
            ("tenant", "tenant"),
        ] {
            assert_eq!(mask("URL", value), wanted, "{value}");
        }
    }

    #[test]
    fn words_of_a_command_are_masked_where_an_option_says_so() {
        let words = [
            "serve",
            "--password",
            "x",
            "--token=y",
            "--level=info",
            "--db",
            "http://u:p@h",
            "A_KEY=z",
            "sh -c 'a=b'",
        ];
        assert_eq!(
            mask_words(words),
            [
                "serve",
                "--password",
                MASK,
                "--token=***",
                "--level=info",
                "--db",
                "http://***@h",
                "A_KEY=***",
                "sh -c 'a=b'",
            ]
        );
    }

    proptest! {
        #[test]
        fn userinfo_never_survives(
            before in "[ -~é]{0,8}", secret in "[a-z0-9]{6}Q", after in "[ -~é]{0,12}"
        ) {
            let value = format!("{before} x://u:{secret}@h{after}");
            let masked = mask("A", &value);
            prop_assert!(!masked.contains(&secret), "{}", masked);
            let again = mask("A", &masked);
            prop_assert_eq!(&again, &masked);
        }
    }
}
