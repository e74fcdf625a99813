//! Environment files: what hooks write for the steps after them.

use std::collections::BTreeMap;

/// Reads `NAME=value` lines. Blank lines and comments are skipped, an `export ` before the name
/// and quotes around the value are dropped; nothing is expanded. Lines that are none of these are
/// left out, because the file belongs to scripts of other people.
pub fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    // No process can be given a NUL, and one bad line must not keep every later hook from starting.
    if line.starts_with('#') || line.contains('\0') {
        return None;
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let valid = name
        .chars()
        .enumerate()
        .all(|(index, c)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()));
    if name.is_empty() || !valid {
        return None;
    }
    let value = value.trim();
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some((name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

/// Replaces `${NAME}` by its value.
///
/// # Errors
///
/// Gives the first name that has no value.
pub fn expand(text: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            expanded.push_str("${");
            rest = after;
            continue;
        };
        match env.get(name) {
            Some(value) => expanded.push_str(value),
            None => return Err(name.to_owned()),
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_read_as_shells_write_it() {
        let text = "# c\n\nA=1\nexport B=\"two words\"\nC='3'\nD=a=b\nE=\n1F=no\nnot an entry\nG H=1\nN=a\0b\n";
        let got = parse(text);
        let want = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "3"),
            ("D", "a=b"),
            ("E", ""),
        ];
        let want: Vec<(String, String)> = want
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn names_are_replaced_and_an_unknown_one_is_told() {
        let env = BTreeMap::from([("BASE".to_owned(), "http://x:1".to_owned())]);
        assert_eq!(
            expand("${BASE}/health", &env).as_deref(),
            Ok("http://x:1/health")
        );
        assert_eq!(expand("a ${b", &env).as_deref(), Ok("a ${b"));
        assert_eq!(expand("${BASE}${NO}", &env), Err("NO".to_owned()));
    }
}
