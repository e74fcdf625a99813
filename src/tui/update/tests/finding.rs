//! Filters, levels, errors, bookmarks and times.

use super::*;
use crate::domain::line::Mark;
use crate::domain::output::OutputLines;
use crate::logs::store::Content;
use crate::text::level::Level;

const TENANT: &str = "tenant_tenant_1";

/// A hundred lines, of which every tenth is an error with a stack trace and every fifth a warning.
fn mixed(width: u16, height: u16) -> State {
    let mut state = connected(width, height);
    opened(&mut state, true);
    let lines = (0..100)
        .map(|n| {
            let text = match n % 10 {
                0 => format!("ERROR line {n} broke"),
                1 => format!("    at trace {n}"),
                5 => format!("WARN line {n}"),
                _ => format!("INFO line {n}"),
            };
            line(TENANT, 1000 - n, &text)
        })
        .collect();
    send(&mut state, Msg::Logs(lines));
    press(&mut state, "2");
    state
}

/// The lines that pass through the pane from its start to its end.
fn shown(state: &State) -> Vec<String> {
    let (pane, store) = match state.focus {
        Pane::Output => (&state.output_pane, &state.outputs),
        _ => (&state.log_pane, &state.logs),
    };
    let mut lines: Vec<String> = pane
        .lines(store)
        .backward_from_end()
        .map(|entry| match entry.content {
            Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
            Content::Mark(mark) => format!("{mark:?}"),
        })
        .collect();
    lines.reverse();
    lines
}

fn title(state: &State) -> String {
    screen(state).lines().nth(1).unwrap().to_owned()
}

/// The first row of the pane.
fn top(state: &State) -> String {
    screen(state).lines().nth(2).unwrap().to_owned()
}

fn current(state: &State) -> String {
    let size = super::super::current_layout(state).size(Pane::Logs);
    let line = state.log_pane.current_line(&state.logs, size).unwrap();
    match state.logs.get(line).unwrap().content {
        Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Content::Mark(mark) => format!("{mark:?}"),
    }
}

#[test]
fn filters_and_how_many_lines_they_let_through() {
    for (keys, count, first, words) in [
        ("", 100, "ERROR line 0 broke", ""),
        (
            "&broke<enter>",
            10,
            "ERROR line 0 broke",
            "&broke 10 of 100",
        ),
        ("&broke", 10, "ERROR line 0 broke", "&broke 10 of 100"),
        ("&!line<enter>", 10, "    at trace 1", "&!line 10 of 100"),
        ("&!<enter>", 100, "ERROR line 0 broke", ""),
        ("&line 3<enter>", 10, "INFO line 3", "&line 3 10 of 100"),
        ("&Line 3<enter>", 0, "", "&Line 3 0 of 100"),
        ("&(<enter>", 0, "", "&( (literal) 0 of 100"),
        ("&broke<esc>", 100, "ERROR line 0 broke", ""),
        (
            "&broke<enter>&warn<esc>",
            10,
            "ERROR line 0 broke",
            "&broke",
        ),
        ("&broke<enter>&warn<enter>", 10, "WARN line 5", "&warn"),
        ("&broke<enter>&<enter>", 100, "ERROR line 0 broke", ""),
        (
            "&broke<enter>&x<backspace><enter>",
            100,
            "ERROR line 0 broke",
            "",
        ),
        ("&broke<enter><esc>", 100, "ERROR line 0 broke", ""),
        // Esc ends the search first.
        (
            "&broke<enter>/9<enter><esc>",
            10,
            "ERROR line 0 broke",
            "&broke",
        ),
        (
            "&broke<enter>/9<enter><esc><esc>",
            100,
            "ERROR line 0 broke",
            "",
        ),
        // Levels; lines of a trace belong to their error, and those before the first level to none.
        ("L", 100, "ERROR line 0 broke", "≥ debug 100 of 100"),
        ("LLL", 30, "ERROR line 0 broke", "≥ warn 30 of 100"),
        ("LLLL", 20, "ERROR line 0 broke", "≥ error 20 of 100"),
        ("LLLLL", 100, "ERROR line 0 broke", ""),
        ("LLLL<esc>", 100, "ERROR line 0 broke", ""),
        (
            "LLLL&trace<enter>",
            10,
            "    at trace 1",
            "&trace ≥ error 10",
        ),
        (
            "&trace<enter>LLLL",
            10,
            "    at trace 1",
            "&trace ≥ error 10",
        ),
        (
            "&line<enter>LLLL&<enter>",
            20,
            "ERROR line 0 broke",
            "≥ error 20",
        ),
        ("&line<enter>LLLLL", 90, "ERROR line 0 broke", "&line 90"),
        // Lines around what passes.
        (
            "&line 43<enter>C",
            3,
            "INFO line 42",
            "&line 43 1 of 100 ±1",
        ),
        ("&line 43<enter>CC", 7, "ERROR line 40 broke", "±3"),
        ("&line 43<enter>CCC", 21, "INFO line 33", "±10"),
        (
            "&line 43<enter>CCCC",
            1,
            "INFO line 43",
            "&line 43 1 of 100",
        ),
    ] {
        let mut state = mixed(120, 40);
        press(&mut state, keys);
        let lines = shown(&state);
        assert_eq!(lines.len(), count, "{keys:?}");
        assert_eq!(lines.first().map_or("", |line| line), first, "{keys:?}");
        let title = title(&state);
        assert!(title.contains(words), "{keys:?}: {title}");
        assert_eq!(words.is_empty(), !title.contains(" of 100"), "{title}");
    }
}

#[test]
fn a_filter_keeps_the_place() {
    let mut state = mixed(80, 24);
    press(&mut state, "<pgup><pgup>");
    let before = top(&state);
    assert!(before.contains("INFO line 42"), "{before}");
    press(&mut state, "&broke<enter>");
    // So few that the pane could follow; the place is kept for when they are more.
    assert!(!state.log_pane.is_following());
    press(&mut state, "kjk<esc>");
    assert_eq!(top(&state), before);
    press(&mut state, "&line<enter>");
    assert_eq!(top(&state), before);
    // Where its line is hidden it is at the next one that is shown.
    press(&mut state, "&!line 4[0-4]<enter>");
    assert!(top(&state).contains("WARN line 45"), "{}", top(&state));
    press(&mut state, "<esc>");
    assert_eq!(top(&state), before);
    // One that follows follows on.
    let mut state = mixed(80, 24);
    press(&mut state, "&broke<enter>");
    assert!(state.log_pane.is_following());
    press(&mut state, "<esc>");
    assert!(state.log_pane.is_following());
}

#[test]
fn what_comes_and_goes_passes_the_filter_or_does_not() {
    let mut state = mixed(80, 24);
    press(&mut state, "LLLL");
    let exited = FollowEvent::Mark {
        source: SourceId(TENANT.into()),
        at: ago(1),
        mark: Mark::Exited {
            code: Some(1),
            oom: false,
        },
    };
    let lines = vec![
        line(TENANT, 3, "ERROR a new one"),
        line(TENANT, 2, "INFO nothing"),
        exited,
    ];
    send(&mut state, Msg::Logs(lines));
    let lines = shown(&state);
    assert_eq!(lines.len(), 22, "{lines:?}");
    assert!(lines[21].starts_with("Exited"), "marks always pass");
    // Other sources are looked through anew.
    press(&mut state, "1<shift-tab><shift-tab>gjj2");
    assert_eq!(shown(&state), Vec::<String>::new());
    assert!(screen(&state).contains("no line passes the filter"));
}

#[test]
fn a_filter_takes_over_when_something_of_it_is_known() {
    let mut state = mixed(80, 24);
    press(&mut state, "&broke<enter>");
    let mut scans = Vec::new();
    for key in keys("&warn") {
        scans.extend(update(&mut state, key));
    }
    let before = shown(&state);
    assert_eq!((before.len(), &*before[0]), (10, "ERROR line 0 broke"));
    assert!(
        title(&state).contains("&warn 0 of 100 0 %"),
        "{}",
        title(&state)
    );
    for effect in scans {
        if let Effect::Scan(job) = effect {
            job.run(|found| {
                update(&mut state, Msg::Found(found));
                ControlFlow::Continue(())
            });
        }
    }
    assert_eq!(shown(&state)[0], "WARN line 5");
    // A search beside it leaves it alone.
    for key in keys("<enter>/line 1") {
        update(&mut state, key);
    }
    assert_eq!(shown(&state).len(), 10);
}

#[test]
fn hits_and_errors_are_walked_among_what_is_shown() {
    for (keys, expected) in [
        // Following, the walk begins at the end.
        ("[", "ERROR line 90 broke"),
        ("[[", "ERROR line 80 broke"),
        ("[[]", "ERROR line 90 broke"),
        ("]", "INFO line 99"),
        ("g]", "ERROR line 10 broke"),
        ("g]]", "ERROR line 20 broke"),
        ("[[[[[[[[[[[[", "ERROR line 0 broke"),
        ("&!line [1-8]0<enter>[[", "ERROR line 0 broke"),
        ("&line .5<enter>[", "WARN line 95"),
        // 9, 19, 29 …; the filter hides all but 15 and 95.
        ("/line .5<enter>", "WARN line 95"),
        ("/line .5<enter>N", "WARN line 85"),
        ("&line [19]5<enter>/line .5<enter>", "WARN line 95"),
        ("&line [19]5<enter>/line .5<enter>N", "WARN line 15"),
        ("&line [19]5<enter>/line .5<enter>NN", "WARN line 95"),
        ("&line [19]5<enter>/line .5<enter>n", "WARN line 15"),
    ] {
        let mut state = mixed(80, 24);
        press(&mut state, keys);
        assert_eq!(current(&state), expected, "{keys:?}");
    }
    let mut state = mixed(80, 24);
    press(&mut state, "]");
    assert!(screen(&state).contains("no error behind this line"));
    press(&mut state, "&line .5<enter>/broke<enter>");
    assert!(screen(&state).contains("no line matches yet"));
    press(&mut state, "n");
    assert!(screen(&state).contains("no line that is shown matches"));
}

#[test]
fn bookmarks_are_set_walked_and_taken_away() {
    // At the last line, at two errors.
    let set = "m[m[[m";
    for (keys, expected, count) in [
        ("m", "INFO line 99", 1),
        ("mm", "INFO line 99", 0),
        ("gm", "ERROR line 0 broke", 1),
        ("/line 17<enter>m", "INFO line 17", 1),
        (set, "ERROR line 70 broke", 3),
        ("m[m[[m'", "ERROR line 90 broke", 3),
        ("m[m[[m''", "INFO line 99", 3),
        ("m[m[[m'''", "ERROR line 70 broke", 3),
        ("m[m[[m\"", "INFO line 99", 3),
        ("m[m[[m\"\"", "ERROR line 90 broke", 3),
        ("m[m[[m'm", "ERROR line 90 broke", 2),
        // One that is hidden is passed over.
        ("m[m[[mLLLL''", "ERROR line 70 broke", 3),
    ] {
        let mut state = mixed(80, 24);
        press(&mut state, keys);
        assert_eq!(current(&state), expected, "{keys:?}");
        let sources = state.log_pane.sources();
        assert_eq!(state.log_pane.bookmarks.count(sources), count, "{keys:?}");
        let sign = format!("◆ {count}");
        assert_eq!(title(&state).contains(&sign), count > 0, "{keys:?}");
    }
    let mut state = mixed(80, 24);
    press(&mut state, "'");
    assert!(screen(&state).contains("no bookmark here"));
    // They are of a source: others do not show them, and they are there again with it.
    press(&mut state, "m1<shift-tab><shift-tab>jj");
    assert!(!screen(&state).contains("◆"));
    press(&mut state, "g2");
    assert!(title(&state).contains("◆ 1"), "{}", title(&state));
}

#[test]
fn a_bookmark_of_what_is_held_no_longer_is_read_again() {
    let mut state = connected(80, 24);
    state.logs = crate::logs::store::LogStore::new(64 << 10);
    opened(&mut state, true);
    printed(&mut state, 100);
    press(&mut state, "2gm");
    press(&mut state, "G");
    let later = (0..3000).map(|n| {
        let at = 800_000 - n;
        let at = ago(1) + Duration::from_nanos(1_000_000 - at);
        (at, n)
    });
    let mut new = LineBatch::default();
    for (at, n) in later {
        new.push(at, Channel::Out, format!("later {n}").as_bytes());
    }
    let source = SourceId(TENANT.into());
    send(
        &mut state,
        Msg::Logs(vec![FollowEvent::Lines { source, batch: new }]),
    );
    assert!(title(&state).contains("◆ 1"));
    let effects = all_effects(&mut state, "'");
    let request = pages(&effects)[0].clone();
    assert!(
        matches!(request.piece, Piece::Forward { after, before: Some(_), .. } if after == ago(1000)),
        "{request:?}"
    );
    let lines = PageEvent::Lines(batch(0..100));
    send(&mut state, Msg::Paged(request.ticket, Ok(lines)));
    let end = PageEvent::End {
        reached_start: true,
        reached_before: false,
    };
    send(&mut state, Msg::Paged(request.ticket, Ok(end)));
    assert_eq!(current(&state), "line 0");
    assert!(screen(&state).contains("◆ "), "{}", screen(&state));
}

#[test]
fn times_and_where_they_lead() {
    // The first line was written at 11:47:04, and one each second from then on.
    for (typed, expected) in [
        ("15m40s", "ERROR line 60 broke"),
        ("940s", "ERROR line 60 broke"),
        ("11:48", "INFO line 56"),
        ("11:48:04", "ERROR line 60 broke"),
        ("11:48:04.5", "    at trace 61"),
        ("2026-11-21T11:48:04Z", "ERROR line 60 broke"),
        ("2026-11-21T11:48:04", "ERROR line 60 broke"),
        // Before the first line, which is held.
        ("2h", "ERROR line 0 broke"),
        // Behind the last one.
        ("1s", "INFO line 99"),
        // The day before.
        ("12:04", "ERROR line 0 broke"),
    ] {
        let mut state = mixed(80, 24);
        assert_eq!(effects_of(&mut state, &format!("@{typed}<enter>")), []);
        assert_eq!(current(&state), expected, "{typed:?}");
        assert!(state.dialog.is_none());
    }
    let mut state = mixed(80, 24);
    press(&mut state, "&broke<enter>@11:48:05<enter>");
    assert_eq!(current(&state), "ERROR line 70 broke");
    press(&mut state, "@soon<enter>");
    assert!(screen(&state).contains("write 10m, 12:03 or"));
    assert!(state.dialog.is_some(), "it can be mended");
    press(&mut state, "<esc>@<enter>");
    assert!(state.dialog.is_none());
}

#[test]
fn a_time_before_what_is_held_is_read_first() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    let lines = batch(500..700);
    let source = SourceId(TENANT.into());
    send(
        &mut state,
        Msg::Logs(vec![FollowEvent::Lines {
            source,
            batch: lines,
        }]),
    );
    press(&mut state, "2&line<enter>/line 3<enter>");
    let effects = all_effects(&mut state, "@900s<enter>");
    let request = pages(&effects)[0].clone();
    assert_eq!(pages(&effects).len(), 1);
    let piece = Piece::Forward {
        after: ago(900),
        before: Some(ago(500)),
        limit: 16 << 20,
    };
    assert_eq!(request.piece, piece);
    assert!(screen(&state).contains("the lines of that time are being read"));
    assert_eq!(all_effects(&mut state, "").len(), 0);
    send(
        &mut state,
        Msg::Paged(request.ticket, Ok(PageEvent::Lines(batch(100..400)))),
    );
    let end = PageEvent::End {
        reached_start: false,
        reached_before: false,
    };
    let effects = tell(&mut state, Msg::Paged(request.ticket, Ok(end)));
    // What is before it is near now, and read as anywhere else.
    let older = pages(&effects)[0].ticket;
    assert_eq!(current(&state), "line 100");
    // What was read is found.
    assert!(
        title(&state).contains("&line 500 of 500 held"),
        "{}",
        title(&state)
    );
    assert_eq!(state.log_pane.search.as_ref().unwrap().count(), 100);
    // There is a gap on either side, and the held lines are not read again.
    for held in ["@880s<enter>", "@900s<enter>"] {
        assert_eq!(effects_of(&mut state, held), [], "{held}");
    }
    // One that reads elsewhere is stopped for it.
    let effects = all_effects(&mut state, "@950s<enter>");
    assert!(effects.contains(&Effect::StopPage(older)), "{effects:?}");
    let pieces: Vec<Piece> = pages(&effects).iter().map(|page| page.piece).collect();
    let piece = Piece::Forward {
        after: ago(950),
        before: Some(ago(900)),
        limit: 16 << 20,
    };
    assert_eq!(pieces, [piece]);
}

#[test]
fn a_filter_says_where_it_cannot_look_and_the_start_is_read_for_it() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    printed(&mut state, 200);
    press(&mut state, "2&line 19<enter>k");
    assert!(screen(&state).contains("older lines are not held; g reads"));
    let effects = all_effects(&mut state, "g");
    assert!(
        matches!(
            pages(&effects)[..],
            [PageRequest {
                piece: Piece::Whole { .. },
                ..
            }]
        ),
        "{effects:?}"
    );
    // Who has all of it is told nothing.
    let mut state = mixed(80, 24);
    press(&mut state, "&line 19<enter>k");
    assert!(state.notice.is_none());
}

#[test]
fn outputs_are_filtered_and_walked_too() {
    let mut state = connected(120, 40);
    press(&mut state, "a");
    for n in 0..60 {
        let line = match n % 20 {
            7 => format!("ERROR step {n}"),
            _ => format!("INFO step {n}"),
        };
        send(
            &mut state,
            event(RunEventKind::ReplayOutput {
                replay: ReplayName::new("peer-discovery-404"),
                lines: OutputLines::new(line.into_bytes()),
            }),
        );
    }
    press(&mut state, "3gg<enter>LLLL");
    assert_eq!(
        shown(&state),
        ["ERROR step 7", "ERROR step 27", "ERROR step 47"]
    );
    press(&mut state, "m");
    assert!(screen(&state).contains("◆ 1"));
    press(&mut state, "<esc>&step 4<enter>");
    assert_eq!(shown(&state).len(), 11);
    assert_eq!(state.output_pane.sieve().level, None::<Level>);
    // Another run of it begins with nothing, and its bookmarks are gone.
    send(&mut state, Msg::RunEnded { problem: None });
    press(&mut state, "r");
    send(
        &mut state,
        event(RunEventKind::ReplayStarted {
            replay: ReplayName::new("peer-discovery-404"),
            attempt: 1,
            timeout: None,
        }),
    );
    assert_eq!(shown(&state), Vec::<String>::new());
    assert!(!screen(&state).contains("◆"));
}

#[test]
fn a_mark_that_comes_back_with_its_lines_passes_the_filter() {
    let mut state = connected(80, 24);
    state.logs = crate::logs::store::LogStore::new(64 << 10);
    opened(&mut state, true);
    printed(&mut state, 100);
    let source = SourceId(TENANT.into());
    let mark = FollowEvent::Mark {
        source: source.clone(),
        at: ago(950),
        mark: Mark::Restarted,
    };
    send(&mut state, Msg::Logs(vec![mark]));
    press(&mut state, "2&nothing<enter>");
    assert_eq!(shown(&state), ["Restarted"]);
    let mut new = LineBatch::default();
    for n in 0..3000 {
        new.push(ago(1), Channel::Out, format!("later {n}").as_bytes());
    }
    send(
        &mut state,
        Msg::Logs(vec![FollowEvent::Lines { source, batch: new }]),
    );
    assert_eq!(shown(&state), Vec::<String>::new());
    let effects = all_effects(&mut state, "@1000s<enter>");
    let ticket = pages(&effects)[0].ticket;
    send(
        &mut state,
        Msg::Paged(ticket, Ok(PageEvent::Lines(batch(0..100)))),
    );
    let end = PageEvent::End {
        reached_start: true,
        reached_before: false,
    };
    send(&mut state, Msg::Paged(ticket, Ok(end)));
    assert_eq!(shown(&state), ["Restarted"]);
}

#[test]
fn scrolling_up_stops_at_what_is_not_read_yet() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    let source = SourceId(TENANT.into());
    let lines = |numbers| {
        vec![FollowEvent::Lines {
            source: source.clone(),
            batch: batch(numbers),
        }]
    };
    send(&mut state, Msg::Logs(lines(500..700)));
    press(&mut state, "2");
    let effects = all_effects(&mut state, "@900s<enter>");
    let request = pages(&effects)[0].clone();
    let read = Msg::Paged(request.ticket, Ok(PageEvent::Lines(batch(100..400))));
    send(&mut state, read);
    let end = PageEvent::End {
        reached_start: false,
        reached_before: false,
    };
    send(&mut state, Msg::Paged(request.ticket, Ok(end)));
    let later = state.now + jiff::SignedDuration::from_secs(60);
    send(&mut state, Msg::Tick(later));
    press(&mut state, "G");
    for _ in 0..20 {
        press(&mut state, "<pgup>");
    }
    // A hundred lines lie between: none of those beyond it is shown.
    assert!(top(&state).contains("being read"), "{}", top(&state));
    assert!(screen(&state).contains("line 500"));
}
