//! `list`: the replays that there are.

use std::io::{self, Write};
use std::sync::Arc;

use super::args::{Color, List};
use super::choose::{choose, selection};
use super::output::{Ended, Failure, mention_missing_file, palette, stdout};
use crate::bootstrap::{Options, configuration};
use crate::domain::exit::Exit;
use crate::domain::replay::Replay;
use crate::replay::Chosen;
use crate::report::{Paint, json_line, json_replay, replay_table};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{pad, width};

pub(super) fn list(options: &Options, color: Color, args: List) -> Result<Ended, Failure> {
    let config = configuration(options)?;
    mention_missing_file(&config);
    let Chosen::Replays(replays) = choose(&config, &selection(args.selecting))? else {
        return Ok(Ended::with(Exit::Ok));
    };
    if args.markdown {
        let mut stdout = stdout(false);
        stdout.write_all(replay_table(&replays).as_bytes())?;
        stdout.flush()?;
        return Ok(Ended::with(Exit::Ok));
    }
    write(&replays, color, args.json)
}

/// Writes one line for each replay.
pub(super) fn write(replays: &[Arc<Replay>], color: Color, json: bool) -> Result<Ended, Failure> {
    let palette = palette(color, &io::stdout());
    // A line each would be a write each.
    let mut stdout = io::BufWriter::new(stdout(json));
    let column = |of: &dyn Fn(&Replay) -> String| -> usize {
        replays
            .iter()
            .map(|replay| width(&of(replay)))
            .max()
            .unwrap_or(0)
    };
    let name = |replay: &Replay| sanitize_plain(replay.name.as_str()).into_owned();
    let closes = |replay: &Replay| sanitize_plain(&replay.header.closes.join(" ")).into_owned();
    // Where all are of one suite it says nothing.
    let several = replays
        .iter()
        .any(|replay| replay.suite != replays[0].suite);
    let suite = |replay: &Replay| match several {
        true => format!("{}  ", sanitize_plain(&replay.suite)),
        false => String::new(),
    };
    let (names, issues, suites) = (column(&name), column(&closes), column(&suite));
    for replay in replays {
        if json {
            writeln!(stdout, "{}", json_line(&json_replay(replay)))?;
            continue;
        }
        let description = replay.header.description.as_deref().unwrap_or_default();
        let line = format!(
            "{}  {}{}  {}",
            pad(&name(replay), names),
            palette.paint(Paint::Quiet, pad(&suite(replay), suites)),
            palette.paint(Paint::Quiet, pad(&closes(replay), issues)),
            sanitize_plain(description)
        );
        writeln!(stdout, "{}", line.trim_end())?;
        for problem in &replay.header.problems {
            let problem = palette.paint(Paint::Warning, sanitize_plain(problem));
            writeln!(stdout, "  {problem}")?;
        }
    }
    stdout.flush()?;
    Ok(Ended::with(Exit::Ok))
}
