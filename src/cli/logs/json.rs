//! Lines and marks for programs: one JSON object each.

use serde_json::{Map, Value, json};

use crate::domain::line::{Channel, Mark};
use crate::logs::LogEvent;
use crate::report::SCHEMA_VERSION;
use crate::text::level::Level;

/// Which container an event is of.
pub(super) struct Of<'a> {
    /// Its name, which stays when it is created anew.
    pub(super) container: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) stack: Option<&'a str>,
}

/// A line as it was logged, escape sequences too; invalid UTF-8 is replaced, and `lossy` says so.
pub(super) fn object(event: &LogEvent, level: Option<Level>, of: &Of<'_>) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("v", json!(SCHEMA_VERSION));
    put("time", json!(event.at().to_string()));
    put("container", json!(of.container));
    put("title", json!(of.title));
    put("stack", json!(of.stack));
    match event {
        LogEvent::Line { line, .. } => {
            let channel = match line.channel {
                Channel::Out => "stdout",
                Channel::Err => "stderr",
            };
            let text = String::from_utf8_lossy(&line.bytes);
            put("channel", json!(channel));
            put("level", json!(level.map(Level::word)));
            if std::str::from_utf8(&line.bytes).is_err() {
                put("lossy", json!(true));
            }
            put("text", json!(text));
        }
        LogEvent::Mark { mark, .. } => {
            let (name, fields) = parts(mark);
            put("mark", json!(name));
            if let Value::Object(fields) = fields {
                object.extend(fields);
            }
        }
    }
    Value::Object(object)
}

fn parts(mark: &Mark) -> (&'static str, Value) {
    match mark {
        Mark::Exited { code, oom } => ("exited", json!({ "code": code, "oom": oom })),
        Mark::Restarted => ("restarted", Value::Null),
        Mark::Recreated => ("recreated", Value::Null),
        Mark::Removed => ("removed", Value::Null),
        Mark::Interrupted { cause } => ("interrupted", json!({ "cause": cause })),
        Mark::Resumed => ("resumed", Value::Null),
        Mark::Gap { from, to } => (
            "gap",
            json!({ "from": from.to_string(), "to": to.to_string() }),
        ),
        Mark::Unreadable { cause } => ("unreadable", json!({ "cause": cause })),
    }
}
