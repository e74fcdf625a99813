//! From lines to points.

use super::{Outcome, Point, Tap};

/// Points that are held of one script, whatever they say.
const KEPT: usize = 200;

/// And so many more, of those that are not simply ok.
const KEPT_BAD: usize = 200;

/// Bytes of a description or a reason.
const LONGEST: usize = 240;

/// Subtests within subtests; what is deeper is not looked at.
const DEEPEST: usize = 8;

/// Reads TAP line by line. Lines that are none of it are passed over, as the specification wants.
#[derive(Debug, Default)]
pub struct Reader {
    tap: Tap,
    /// Of subtests whose point has not come yet, with how deep each is.
    open: Vec<(usize, Point)>,
    /// The number of the last point, at each depth.
    numbers: [u64; DEEPEST],
    /// The last point's depth: what may follow it is a block of YAML.
    after_point: Option<usize>,
    /// The depth of the point that the block of YAML belongs to.
    yaml: Option<usize>,
    /// There is a number that no plan can have.
    out_of_range: Option<u64>,
    highest: u64,
    kept_bad: usize,
    plan_ended: bool,
}

impl Reader {
    /// One line without its newline.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let text = line.trim_start_matches(' ');
        let spaces = line.len() - text.len();
        if let Some(depth) = self.yaml {
            if text.is_empty() || spaces >= depth * 4 + 2 {
                if text == "..." && spaces == depth * 4 + 2 {
                    self.yaml = None;
                }
                return;
            }
            // It was cut short: a point must not get lost in it.
            self.yaml = None;
        }
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        if text == "---"
            && self
                .after_point
                .is_some_and(|depth| spaces == depth * 4 + 2)
        {
            self.yaml = self.after_point.take();
            return;
        }
        let depth = spaces / 4;
        if !spaces.is_multiple_of(4) || depth >= DEEPEST {
            return;
        }
        if let Some(reason) = bail_out(text) {
            self.tap.bail_out.get_or_insert_with(|| cut(reason));
        } else if let Some((number, point)) = point(text) {
            self.point(depth, number, point);
        } else if let Some((planned, reason)) = plan(text)
            && depth == 0
        {
            self.plan(planned, reason);
        }
    }

    fn plan(&mut self, planned: u64, reason: &str) {
        if self.tap.planned.is_some() {
            self.fault("its plan came twice");
            return;
        }
        self.tap.planned = Some(planned);
        self.plan_ended = self.tap.seen > 0;
        if planned == 0 {
            let reason = match directive(reason) {
                Some((Directive::Skip, reason)) => reason,
                _ => reason,
            };
            let reason = match reason {
                "" => "all of it is skipped",
                reason => reason,
            };
            self.tap.skip_all = Some(cut(reason));
        }
    }

    fn point(&mut self, depth: usize, number: Option<u64>, mut point: Point) {
        self.after_point = Some(depth);
        let next = self.numbers[depth].saturating_add(1);
        let number = number.unwrap_or(next);
        self.numbers[depth] = number;
        point.number = number;
        for inner in &mut self.numbers[depth + 1..] {
            *inner = 0;
        }
        for (level, inner) in self.open.iter_mut().filter(|(level, _)| *level > depth) {
            inner.within.insert(0, point.description.clone());
            // The next one at this depth sums up others.
            *level = depth;
        }
        if depth > 0 {
            if self.has_room(&point) {
                self.open.push((depth, point));
            }
            return;
        }
        self.tap
            .points
            .extend(self.open.drain(..).map(|(_, it)| it));
        if self.plan_ended {
            self.fault("points came after its plan");
        }
        if number == 0 {
            self.out_of_range = Some(0);
        }
        self.highest = self.highest.max(number);
        self.tap.seen += 1;
        match point.outcome {
            Outcome::NotOk => self.tap.failed += 1,
            Outcome::Skipped => self.tap.skipped += 1,
            Outcome::Todo => self.tap.todo += 1,
            Outcome::Ok | Outcome::TodoPassed => {}
        }
        if self.has_room(&point) {
            self.tap.points.push(point);
        }
    }

    /// Whether a point is held; it counts as left out where it is not.
    fn has_room(&mut self, point: &Point) -> bool {
        let held = self.tap.points.len() + self.open.len();
        if held - self.kept_bad < KEPT {
            return true;
        }
        if point.outcome != Outcome::Ok && self.kept_bad < KEPT_BAD {
            self.kept_bad += 1;
            return true;
        }
        self.tap.left_out += 1;
        false
    }

    fn fault(&mut self, what: &str) {
        self.tap.fault.get_or_insert_with(|| what.to_owned());
    }

    /// What it comes to where nothing follows.
    pub fn finish(mut self) -> Tap {
        self.tap
            .points
            .extend(self.open.drain(..).map(|(_, it)| it));
        let (seen, planned) = (self.tap.seen, self.tap.planned);
        let beyond = planned.filter(|planned| self.highest > *planned);
        let beyond = beyond.map(|_| self.highest).or(self.out_of_range);
        match planned {
            None if seen == 0 => self.fault("it printed no TAP"),
            None => self.fault("it printed no plan, so nobody knows whether points are missing"),
            Some(planned) if planned != seen => {
                let points = if planned == 1 { "point" } else { "points" };
                self.fault(&format!("planned {planned} {points}, and {seen} came"));
            }
            Some(planned) => {
                if let Some(number) = beyond {
                    self.fault(&format!("point {number} is not in the plan 1..{planned}"));
                }
            }
        }
        self.tap
    }
}

/// Within a bound, on a character's border.
fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match end < text.len() {
        true => format!("{}…", &text[..end]),
        false => text.to_owned(),
    }
}

fn bail_out(text: &str) -> Option<&str> {
    let words = text.get(..9)?;
    words
        .eq_ignore_ascii_case("bail out!")
        .then(|| text[9..].trim())
}

/// `1..N`, and what stands behind its `#`.
fn plan(text: &str) -> Option<(u64, &str)> {
    let rest = text.strip_prefix("1..")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let planned = rest[..end].parse().ok()?;
    let rest = rest[end..].trim_start();
    match rest.strip_prefix('#') {
        Some(reason) => Some((planned, reason.trim_start())),
        None => rest.is_empty().then_some((planned, "")),
    }
}

fn point(text: &str) -> Option<(Option<u64>, Point)> {
    let (ok, rest) = match text.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok")?),
    };
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let rest = rest.trim_start();
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, rest) = rest.split_at(digits);
    let (number, rest) = match number.parse() {
        Ok(number) if rest.is_empty() || rest.starts_with([' ', '\t']) => (Some(number), rest),
        _ => (None, &text[text.len() - rest.len() - digits..]),
    };
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('-') {
        Some(description) if description.is_empty() || description.starts_with(' ') => description,
        _ => rest,
    };
    let (description, directive) = described(rest);
    let (outcome, reason) = match (directive, ok) {
        (Some((Directive::Skip, reason)), _) => (Outcome::Skipped, reason),
        (Some((Directive::Todo, reason)), false) => (Outcome::Todo, reason),
        (Some((Directive::Todo, reason)), true) => (Outcome::TodoPassed, reason),
        (None, true) => (Outcome::Ok, ""),
        (None, false) => (Outcome::NotOk, ""),
    };
    let point = Point {
        number: 0,
        outcome,
        description: cut(&unescaped(description)),
        reason: cut(reason),
        within: Vec::new(),
    };
    Some((number, point))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    Skip,
    Todo,
}

/// The description, and the directive behind the first `#` that begins one.
fn described(text: &str) -> (&str, Option<(Directive, &str)>) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '#'
            && !escaped
            && let Some(directive) = directive(&text[at + 1..])
        {
            return (text[..at].trim(), Some(directive));
        }
        escaped = c == '\\' && !escaped;
    }
    (text.trim(), None)
}

/// `skip` may go on (`skipped:`), as it does in old producers; `todo` is a word.
fn directive(text: &str) -> Option<(Directive, &str)> {
    let text = text.trim_start();
    let word = text.get(..4)?;
    let rest = &text[4..];
    if word.eq_ignore_ascii_case("skip") {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        return Some((Directive::Skip, rest[end..].trim()));
    }
    let is_word = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (word.eq_ignore_ascii_case("todo") && is_word)
        .then(|| (Directive::Todo, rest.trim_start_matches(':').trim()))
}

/// `\#` and `\\` stand for themselves.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next @ ('#' | '\\'))) => {
                plain.push(*next);
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Tap {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish()
    }

    fn points(text: &str) -> Vec<String> {
        let told = |point: &Point| {
            let reason = &point.reason;
            format!(
                "{} {} | {} | {reason}",
                point.number,
                point.outcome.word(),
                point.title()
            )
        };
        read(text).points.iter().map(told).collect()
    }

    fn problem(text: &str) -> String {
        read(text).problem().unwrap_or_else(|| "none".to_owned())
    }

    #[test]
    fn a_point_is_read_as_the_specification_writes_it() {
        let text = "TAP version 14\n1..14\n\
            ok 1 - opened\n\
            ok 2 this is fine\n\
            not ok\n\
            ok - 4 dashes\n\
            ok 5 # skip\n\
            not ok 6 - mung # SKIPPED: later on\n\
            not ok 7 - bend # TODO space and time\n\
            ok 8 # toDo: done\n\
            ok 9 - \\# no # directive \\# skip\n\
            ok 10 - a#skip b\n\
            not ok 11 - # todoist\n\
            ok 12\r\n\
            ok 13 - back\\\\slash # SKIP\n\
            ok\n";
        assert_eq!(
            points(text),
            [
                "1 ok | opened | ",
                "2 ok | this is fine | ",
                "3 not ok | point 3 | ",
                "4 ok | 4 dashes | ",
                "5 skip | point 5 | ",
                "6 skip | mung | later on",
                "7 todo | bend | space and time",
                "8 todo passed | point 8 | done",
                "9 ok | # no # directive # skip | ",
                "10 skip | a | b",
                "11 not ok | # todoist | ",
                "12 ok | point 12 | ",
                "13 skip | back\\slash | ",
                "14 ok | point 14 | ",
            ]
        );
        let tap = read(text);
        assert_eq!((tap.seen, tap.failed, tap.skipped, tap.todo), (14, 2, 4, 1));
        assert_eq!(tap.tally(), "14 points, 2 failed, 4 skipped, 1 TODO");
    }

    #[test]
    fn what_is_no_tap_is_passed_over() {
        let text = "okay\nnot okay\nnot  ok 1\nOK 1\n1..x\n1..3 and more\n  ok 1\n not ok 1\n\
            # ok 1\nBailing out\nxBail out!\n2..3\nok1\n\t\nok 1\n1..1\n";
        assert_eq!(points(text), ["1 ok | point 1 | "]);
        assert_eq!(problem(text), "none");
    }

    #[test]
    fn points_in_diagnostics_are_no_points() {
        let text = "1..2\nnot ok 1 - a # TODO x\n  ---\n  ok 1\n    not ok 2\n\n  ....\n  ...\n\
            ok 2 - b\n  ---\n  cut: short\nnot ok 3\n";
        let told = points(text);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(
            problem(text),
            "1 of 3 points failed: point 3; planned 2 points, and 3 came"
        );
    }

    #[test]
    fn a_subtest_is_named_by_the_point_behind_it() {
        let text = "1..2\n# Subtest: outer\n    # Subtest: inner\n        ok 1 - deep\n        \
            not ok 2 - deeper\n        1..2\n    not ok 1 - inner\n    ok 2 - beside\n    1..2\n\
            not ok 1 - outer\nok 2 - last\n";
        assert_eq!(
            points(text),
            [
                "1 ok | outer › inner › deep | ",
                "2 not ok | outer › inner › deeper | ",
                "1 not ok | outer › inner | ",
                "2 ok | outer › beside | ",
                "1 not ok | outer | ",
                "2 ok | last | ",
            ]
        );
        let tap = read(text);
        assert_eq!((tap.seen, tap.failed), (2, 1));
        assert_eq!(
            tap.problem().as_deref(),
            Some("1 of 2 points failed: outer › inner › deeper")
        );
        // Who numbers nothing is counted in each subtest anew.
        let unnumbered = "    ok\n    ok\nok\n    ok\nok\n1..2\n";
        let numbers: Vec<u64> = read(unnumbered).points.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [1, 2, 1, 1, 2]);
    }

    #[test]
    fn a_plan_that_is_not_kept_is_a_failure() {
        for (text, wanted) in [
            ("1..2\nok\nok\n", "none"),
            ("ok\nok\n1..2\n", "none"),
            ("1..3\nok 2\nok 3\nok 1\n", "none"),
            ("1..3\nok\nok\n", "planned 3 points, and 2 came"),
            ("1..1\nok\nok\n", "planned 1 point, and 2 came"),
            (
                "1..3\nok 2\nok 4\nok 1\n",
                "point 4 is not in the plan 1..3",
            ),
            ("1..1\nok 0\n", "point 0 is not in the plan 1..1"),
            ("1..1\n1..1\nok\n", "its plan came twice"),
            ("ok\n1..2\nok\n", "points came after its plan"),
            (
                "ok\n",
                "it printed no plan, so nobody knows whether points are missing",
            ),
            ("hello\n", "it printed no TAP"),
            ("", "it printed no TAP"),
            (
                "1..9\nok\nbail OUT!  no database \nok\n",
                "bailed out: no database",
            ),
            ("    Bail out!\n", "bailed out"),
            ("1..1\nnot ok 1 - a # TODO later\n", "none"),
            ("1..1\nnot ok 1 - a # SKIP later\n", "none"),
            ("1..0 # SKIP no perl\n", "none"),
        ] {
            assert_eq!(problem(text), wanted, "{text}");
        }
        let skipped = |text| read(text).skip_all;
        assert_eq!(skipped("1..0 # SKIP no perl\n").as_deref(), Some("no perl"));
        assert_eq!(
            skipped("1..0 # Skipped: no perl").as_deref(),
            Some("no perl")
        );
        assert_eq!(skipped("1..0 # no perl").as_deref(), Some("no perl"));
        assert_eq!(skipped("1..0").as_deref(), Some("all of it is skipped"));
        assert_eq!(skipped("1..1\nok\n"), None);
    }

    #[test]
    fn some_failures_are_named_and_the_others_counted() {
        let text = "1..6\nok\nnot ok - a\nnot ok - b\nnot ok - c\nnot ok - d\nnot ok\n";
        assert_eq!(problem(text), "5 of 6 points failed: a; b; c and 2 more");
    }

    #[test]
    fn a_million_points_take_no_more_room_than_some() {
        let mut reader = Reader::default();
        for _ in 0..3 * KEPT {
            reader.line(&format!("ok - {}", "é".repeat(LONGEST)));
            reader.line("    ok");
        }
        for _ in 0..3 * KEPT_BAD {
            reader.line("not ok");
        }
        let tap = reader.finish();
        assert_eq!(tap.points.len(), KEPT + KEPT_BAD);
        let all = 6 * KEPT + 3 * KEPT_BAD;
        assert_eq!(tap.left_out, (all - KEPT - KEPT_BAD) as u64);
        assert_eq!(tap.seen, (3 * KEPT + 3 * KEPT_BAD) as u64);
        assert_eq!(tap.failures().count(), KEPT_BAD);
        let longest = tap.points.iter().map(|point| point.description.len()).max();
        assert!(longest <= Some(LONGEST + '…'.len_utf8()), "{longest:?}");
    }

    /// A line that is, or nearly is, one of TAP.
    fn line() -> impl Strategy<Value = String> {
        let word = "(not )?ok|1\\.\\.|---|\\.\\.\\.|Bail out!|#|# SKIP|# TODO|-|\\\\|[0-9]{1,25}|[ é#a]{0,3}";
        let words = proptest::collection::vec((word, prop_oneof![Just(""), Just(" ")]), 0..6);
        (
            prop_oneof![Just(0), Just(2), Just(4), Just(8), 0..40usize],
            words,
        )
            .prop_map(|(indent, words)| {
                let text: String = words
                    .into_iter()
                    .flat_map(|(word, gap)| [word, gap.to_owned()])
                    .collect();
                format!("{}{text}", " ".repeat(indent))
            })
    }

    proptest! {
        #[test]
        fn garbage_is_read_without_harm(lines in proptest::collection::vec(line(), 0..60)) {
            let tap = read(&lines.join("\n"));
            let top = tap.points.iter().filter(|point| point.within.is_empty()).count() as u64;
            prop_assert!(tap.failed + tap.skipped + tap.todo <= tap.seen);
            prop_assert!(top <= tap.seen + 60);
            // Whatever else is in it, a failing point at the end is seen, but for YAML.
            let mut text = lines.join("\n");
            text.push_str("\n#\nx\nnot ok - at the end\n");
            let failed = read(&text);
            prop_assert_eq!(failed.failed, tap.failed + 1);
            prop_assert!(failed.problem().is_some());
        }

        #[test]
        fn what_is_written_is_read(
            written in proptest::collection::vec(("[a-z #\\\\]{0,12}", 0usize..5), 1..30),
        ) {
            let mut text = format!("1..{}\n", written.len());
            for (description, outcome) in &written {
                let escaped = description.replace('\\', "\\\\").replace('#', "\\#");
                text.push_str(&match Outcome::ALL[*outcome] {
                    Outcome::Ok => format!("ok - {escaped}\n"),
                    Outcome::NotOk => format!("not ok - {escaped}\n"),
                    Outcome::Skipped => format!("ok - {escaped} # SKIP why\n"),
                    Outcome::Todo => format!("not ok - {escaped} # TODO why\n"),
                    Outcome::TodoPassed => format!("ok - {escaped} # TODO why\n"),
                });
            }
            let tap = read(&text);
            let got: Vec<(String, Outcome)> = tap.points.iter().map(|it| (it.description.clone(), it.outcome)).collect();
            let want: Vec<(String, Outcome)> = written.iter().map(|(it, outcome)| (it.trim().to_owned(), Outcome::ALL[*outcome])).collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(tap.fault, None);
        }
    }
}
