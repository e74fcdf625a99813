//! `run --dry-run`: every step and replay that a run would go through, in order.

use std::io::Write;

use serde_json::{Value, json};

use super::choose::history;
use super::output::{Ended, Failure, stdout};
use crate::config::{Config, Harness};
use crate::domain::exit::Exit;
use crate::domain::hook::{Hook, Step};
use crate::domain::run::Seconds;
use crate::domain::scope::Protection;
use crate::harness::Request;
use crate::replay::{Policy, Rounds, Timeouts};
use crate::report::{SCHEMA_VERSION, json_line, json_replay};
use crate::text::sanitize::sanitize_plain;

/// One line of the answer.
struct Act {
    what: &'static str,
    detail: String,
    /// Of its JSON object.
    fields: Value,
}

/// Writes what the request comes to; nothing is run, and the engine is not asked.
pub(super) fn write(config: &Config, request: &Request, json: bool) -> Result<Ended, Failure> {
    let mut stdout = stdout(json);
    for act in acts(config, request) {
        if json {
            let mut object = json!({ "v": SCHEMA_VERSION, "would": act.what });
            if let (Value::Object(object), Value::Object(fields)) = (&mut object, act.fields) {
                object.extend(fields);
            }
            writeln!(stdout, "{}", json_line(&object))?;
        } else {
            let line = format!("{:<8}  {}", act.what, sanitize_plain(&act.detail));
            writeln!(stdout, "{}", line.trim_end())?;
        }
    }
    stdout.flush()?;
    Ok(Ended::with(Exit::Ok))
}

fn acts(config: &Config, request: &Request) -> Vec<Act> {
    let mut acts = Vec::new();
    if let Some(harness) = &config.harness {
        if request.up {
            acts.push(hook(Step::Up, harness.up.as_ref()));
            acts.push(ready(harness));
        }
        if request.seed {
            acts.push(hook(Step::Seed, harness.seed.as_ref()));
        }
    }
    acts.extend(how(&request.policy));
    let timeouts = Timeouts::new(&config.replays, || history(config));
    for replay in &request.replays {
        let timeout = timeouts.of(replay);
        acts.push(Act {
            what: "replay",
            detail: replay.name.to_string(),
            fields: json!({
                "replay": json_replay(replay),
                "timeout": timeout.as_secs_f64(),
            }),
        });
    }
    if let Some(harness) = &config.harness
        && request.teardown.is_regular()
    {
        if let Some(down) = &harness.down {
            acts.push(hook(Step::Down, Some(down)));
        }
        for name in harness.stacks.iter().rev() {
            let stack = config.scope.stack(name);
            let protected = stack.is_some_and(|it| it.protection == Protection::Protected);
            let refused = "is protected, so this run would be refused";
            acts.push(Act {
                what: Step::Teardown.word(),
                detail: if protected {
                    format!("{name} {refused}")
                } else {
                    name.to_string()
                },
                fields: json!({ "stack": &**name, "protected": protected }),
            });
        }
    }
    acts
}

fn hook(step: Step, hook: Option<&Hook>) -> Act {
    let Some(hook) = hook else {
        return Act {
            what: step.word(),
            detail: format!("nothing: [harness] has no `{}` hook", step.word()),
            fields: json!({ "command": null }),
        };
    };
    let mut command = vec![hook.program.to_string_lossy().into_owned()];
    command.extend(hook.args.iter().cloned());
    Act {
        what: step.word(),
        detail: command.join(" "),
        fields: json!({ "command": command }),
    }
}

fn ready(harness: &Harness) -> Act {
    let ready = &harness.ready;
    let mut waits = Vec::new();
    if ready.healthy && !harness.stacks.is_empty() {
        let names: Vec<&str> = harness.stacks.iter().map(|name| &**name).collect();
        waits.push(format!("{} healthy", names.join(", ")));
    }
    waits.extend(ready.http.clone());
    if waits.is_empty() {
        waits.push("nothing to wait for".to_owned());
    } else {
        waits.push(format!("within {}", Seconds(ready.timeout)));
    }
    Act {
        what: Step::Ready.word(),
        detail: waits.join(", "),
        fields: json!({
            "healthy": ready.healthy,
            "http": ready.http,
            "timeout": ready.timeout.as_secs_f64(),
        }),
    }
}

/// How the replays would be run, where that is not once and one after another.
fn how(policy: &Policy) -> Option<Act> {
    let mut words = Vec::new();
    match policy.rounds {
        Rounds::Endless => words.push("again and again".to_owned()),
        Rounds::Count(rounds) if rounds.get() > 1 => words.push(format!("{rounds} times each")),
        Rounds::Count(_) => {}
    }
    if policy.jobs.get() > 1 {
        words.push(format!("{} at once, of those with @parallel", policy.jobs));
    }
    if policy.retries > 0 {
        words.push(format!("{} more times where one fails", policy.retries));
    }
    if let Some(max) = policy.max_fail {
        words.push(format!("until {max} did not pass"));
    }
    if words.is_empty() {
        return None;
    }
    let rounds = match policy.rounds {
        Rounds::Endless => None,
        Rounds::Count(rounds) => Some(rounds.get()),
    };
    Some(Act {
        what: "replays",
        detail: words.join("; "),
        fields: json!({
            "rounds": rounds,
            "jobs": policy.jobs,
            "retries": policy.retries,
            "max_fail": policy.max_fail,
        }),
    })
}
