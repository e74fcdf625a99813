//! `report`: a kept run in any format; and the reports that `run` writes when it ends.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::{Color, Report};
use super::output::{Defused, Ended, Failure, complain, palette};
use super::recorded::find;
use crate::bootstrap::Options;
use crate::domain::exit::Exit;
use crate::domain::run::Summary;
use crate::domain::window::Windows;
use crate::record::{self, End, write_atomically};
use crate::report::{Palette, Results, github, junit, markdown, tap, text};
use crate::text::commands::Notation;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// What `run` prints
    Text,
    /// JUnit XML
    Junit,
    /// TAP 14
    Tap,
    /// Markdown, for a comment on a pull request
    Markdown,
    /// Workflow commands of GitHub Actions, and the step summary
    Github,
}

impl Format {
    fn render(self, results: &Results, palette: Palette) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Text => text(&mut bytes, results, palette)?,
            Self::Junit => junit(&mut bytes, results)?,
            Self::Tap => tap(&mut bytes, results)?,
            Self::Markdown => markdown(&mut bytes, results)?,
            Self::Github => {
                let workspace = variable("GITHUB_WORKSPACE").map(PathBuf::from);
                github(&mut bytes, results, workspace.as_deref())?;
            }
        }
        Ok(bytes)
    }

    /// What a CI server must not read in it as commands. GitHub's own are meant to be.
    fn notation(self) -> Notation {
        match self {
            Self::Text | Self::Tap | Self::Github => Notation::Text,
            Self::Junit => Notation::Xml,
            Self::Markdown => Notation::Verbatim,
        }
    }
}

/// One report, as `FORMAT=FILE` asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    format: Format,
    /// `None`: stdout.
    file: Option<PathBuf>,
}

/// Reads `FORMAT=FILE`.
pub(super) fn target(typed: &str) -> Result<Target, String> {
    let (format, file) = typed
        .split_once('=')
        .ok_or("write FORMAT=FILE, such as junit=report.xml")?;
    let format = Format::from_str(format, false)
        .map_err(|_| format!("there is no format {format:?}: {}", formats()))?;
    if file.is_empty() {
        return Err("the file is missing; `-` is stdout".to_owned());
    }
    Ok(Target::new(format, Path::new(file)))
}

impl Target {
    fn new(format: Format, file: &Path) -> Self {
        let file = (file != Path::new("-")).then(|| file.to_owned());
        Self { format, file }
    }
}

fn formats() -> String {
    let formats = Format::value_variants().iter();
    let names: Vec<String> = formats
        .filter_map(Format::to_possible_value)
        .map(|value| value.get_name().to_owned())
        .collect();
    names.join(", ")
}

/// Two that name one regular file, of which the second would be written over the first.
fn twice(targets: &[Target]) -> Option<(&Path, &Path)> {
    let mut known: Vec<(PathBuf, &Path)> = Vec::new();
    for file in targets.iter().filter_map(|target| target.file.as_deref()) {
        let beside = || {
            Some(
                directory_of(file)
                    .canonicalize()
                    .ok()?
                    .join(file.file_name()?),
            )
        };
        let Some(real) = file.canonicalize().ok().or_else(beside) else {
            continue;
        };
        if let Some((_, earlier)) = known.iter().find(|(known, _)| *known == real) {
            return Some((earlier, file));
        }
        if !real.exists() || real.is_file() {
            known.push((real, file));
        }
    }
    None
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The reports of one run.
#[derive(Debug)]
pub(super) struct Targets {
    targets: Vec<Target>,
    /// On GitHub's runners annotations and the step summary come without being asked for.
    annotate: bool,
}

impl Targets {
    /// What `--report` and `--junit` ask for, on a stdout that may be taken already.
    ///
    /// Fails where a file could not be written, or two reports want the same one, or stdout.
    pub(super) fn new(
        targets: &[Target],
        junit: Option<&Path>,
        stdout_is_taken: bool,
    ) -> Result<Self, Failure> {
        let mut targets = targets.to_vec();
        targets.extend(junit.map(|file| Target::new(Format::Junit, file)));
        for file in targets.iter().filter_map(|target| target.file.as_ref()) {
            writable(file)?;
        }
        if let Some((first, second)) = twice(&targets) {
            return Err(Failure::usage(format!(
                "{} and {} are one file: give each report its own",
                first.display(),
                second.display()
            )));
        }
        let on_stdout = targets.iter().filter(|target| target.file.is_none());
        if on_stdout.count() + usize::from(stdout_is_taken) > 1 {
            return Err(Failure::usage(
                "only one thing can be written to stdout: give the other reports a file",
            ));
        }
        Ok(Self {
            targets,
            annotate: false,
        })
    }

    /// Also what the CI server that this runs on wants to have.
    pub(super) fn for_ci(mut self) -> Self {
        let is_asked_for = |target: &Target| target.format == Format::Github;
        self.annotate = variable("GITHUB_ACTIONS").as_deref() == Some("true")
            && !self.targets.iter().any(is_asked_for);
        self
    }

    /// Whether a report goes to stdout, so that nothing else may.
    pub(super) fn take_stdout(&self) -> bool {
        self.targets.iter().any(|target| target.file.is_none())
    }

    /// The logs of the failures of a run, where a report has a place for them.
    pub(super) fn windows(&self, directory: &Path, summary: &Summary) -> Windows {
        let shows_logs = |target: &Target| match target.format {
            Format::Junit | Format::Markdown | Format::Github => true,
            Format::Text | Format::Tap => false,
        };
        if self.annotate || self.targets.iter().any(shows_logs) {
            record::failure_windows(directory, summary)
        } else {
            Windows::new()
        }
    }

    /// Writes all of them and says what could not be written; gives whether all could.
    pub(super) fn write(&self, results: &Results, color: Color) -> bool {
        let mut all_written = true;
        for target in &self.targets {
            if let Err(error) = target.write(results, color) {
                let place = target
                    .file
                    .as_ref()
                    .map_or_else(|| "stdout".to_owned(), |file| file.display().to_string());
                complain(format_args!("cannot write {place}: {error}"));
                all_written = false;
            }
        }
        if self.annotate
            && let Err(error) = annotate(results)
        {
            complain(format_args!("cannot annotate: {error}"));
            all_written = false;
        }
        all_written
    }
}

impl Target {
    fn write(&self, results: &Results, color: Color) -> io::Result<()> {
        match &self.file {
            Some(file) => {
                let plain = Palette { colour: false };
                write_atomically(file, &self.format.render(results, plain)?)?;
            }
            None => {
                let palette = palette(color, &io::stdout());
                let report = self.format.render(results, palette)?;
                let mut stdout = Defused::new(io::stdout().lock(), self.format.notation());
                match stdout.write_all(&report).and_then(|()| stdout.flush()) {
                    // Whoever read it has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    written => written?,
                }
            }
        }
        if self.format == Format::Github {
            add_to_step_summary(results)?;
        }
        Ok(())
    }
}

/// Workflow commands are read from stderr as well, and stdout may be a report.
fn annotate(results: &Results) -> io::Result<()> {
    let commands = Format::Github.render(results, Palette { colour: false })?;
    let mut stderr = Defused::new(io::stderr().lock(), Format::Github.notation());
    stderr.write_all(&commands)?;
    add_to_step_summary(results)
}

fn add_to_step_summary(results: &Results) -> io::Result<()> {
    let Some(file) = variable("GITHUB_STEP_SUMMARY") else {
        return Ok(());
    };
    let mut summary = Format::Markdown.render(results, Palette { colour: false })?;
    summary.push(b'\n');
    let mut file = File::options().append(true).create(true).open(file)?;
    file.write_all(&summary)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn writable(file: &Path) -> Result<(), Failure> {
    let directory = directory_of(file);
    let why = if file.is_dir() || file.file_name().is_none() {
        "it is a directory".to_owned()
    } else if !directory.is_dir() {
        format!("{} is not a directory", directory.display())
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "cannot write {}: {why}",
        file.display()
    )))
}

pub(super) async fn report(
    options: &Options,
    color: Color,
    args: &Report,
) -> Result<Ended, Failure> {
    let mut targets = args.report.clone();
    let default = (targets.is_empty() && args.junit.is_none()).then_some(Format::Text);
    targets.extend(
        args.format
            .or(default)
            .map(|format| Target { format, file: None }),
    );
    let targets = Targets::new(&targets, args.junit.as_deref(), false)?;
    let found = find(options, &args.run).await?;
    found
        .during_blocking(move |directory| write(directory, &targets, color))
        .await
}

fn write(directory: &Path, targets: &Targets, color: Color) -> Result<Ended, Failure> {
    let recording = record::read(directory)?;
    if let End::UnderWay(_) = recording.end {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} is still under way", recording.directory.display()),
        ));
    }
    if recording.unreadable > 0 {
        let count = recording.unreadable;
        complain(format_args!(
            "{count} damaged lines of its event log are left out"
        ));
    }
    let recording = recording.with_outputs();
    let windows = targets.windows(&recording.directory, &recording.summary);
    let results = Results::new(&recording.name, &recording.summary, &recording.replays);
    let results = results.with_logs(windows);
    Ok(Ended::with(if targets.write(&results, color) {
        Exit::Ok
    } else {
        Exit::Internal
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_format_and_a_file() {
        let file = |typed: &str| target(typed).unwrap().file;
        assert_eq!(file("junit=a=b.xml"), Some(PathBuf::from("a=b.xml")));
        assert_eq!(file("tap=-"), None);
        assert_eq!(target("github=-").unwrap().format, Format::Github);
        for (typed, part) in [
            ("junit", "write FORMAT=FILE"),
            ("junit=", "the file is missing"),
            ("html=x", "text, junit, tap, markdown, github"),
        ] {
            let error = target(typed).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
