//! The teardown dialog: what goes, what stays and why, and what became of it.

use super::draw::{age, counting};
use crate::domain::plan::{Item, ItemOutcome, TeardownPlan};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::rows as wrapped;
use crate::tui::state::State;
use crate::tui::state::run::{Stage, Teardown};
use crate::tui::theme::Role;

/// Rows below the scrolled part: a gap, the question, and what is wrong with the answer.
pub(crate) const FIXED_ROWS: usize = 3;

/// The scrolled part, in rows of at most so many columns.
pub(crate) fn rows(state: &State, teardown: &Teardown, columns: usize) -> Vec<(String, Role)> {
    let mut out = Rows {
        rows: Vec::new(),
        columns: columns.max(8),
    };
    match &teardown.stage {
        Stage::Planning => out.add("", "asking the engine what is there", Role::Busy),
        Stage::Refused(reason) => {
            out.add("", "Nothing will be removed.", Role::Strong);
            out.add("", "", Role::Text);
            out.add("", reason, Role::Bad);
        }
        Stage::Review { plan, changed, .. } => {
            if *changed {
                out.add(
                    "",
                    "The plan has changed. This is what is there now.",
                    Role::Bad,
                );
                out.add("", "", Role::Text);
            }
            out.plan(state, plan, None);
        }
        Stage::Removing { plan, done } => out.plan(state, plan, Some(done)),
        Stage::Over {
            plan,
            done,
            left,
            problem,
            took,
        } => {
            if let Some(problem) = problem {
                out.add("✘ ", problem, Role::Bad);
            }
            // Where it was refused or broke off nobody has looked.
            if left.is_empty() && problem.is_none() {
                let nothing = match plan.left_to_others().next() {
                    Some(_) => "nothing else",
                    None => "nothing",
                };
                let text = format!(
                    "{nothing} of {} is left, after {}",
                    plan.stack,
                    counting(*took)
                );
                let role = if problem.is_none() {
                    Role::Good
                } else {
                    Role::Text
                };
                out.add(if problem.is_none() { "✔ " } else { "" }, &text, role);
            } else {
                out.add("✘ ", &format!("{} left behind:", left.len()), Role::Bad);
                for item in left {
                    out.add(
                        "    ",
                        &format!("{} {}", item.kind.word(), item.name),
                        Role::Bad,
                    );
                }
            }
            out.add("", "", Role::Text);
            out.plan(state, plan, Some(done));
        }
    }
    out.rows
}

struct Rows {
    rows: Vec<(String, Role)>,
    columns: usize,
}

impl Rows {
    /// Text behind a lead; it goes on in rows that are indented as far.
    fn add(&mut self, lead: &str, text: &str, role: Role) {
        let text = sanitize_plain(text);
        let indent = crate::text::width::width(lead);
        let columns = self.columns.saturating_sub(indent).max(4);
        for (index, row) in wrapped(&text, columns).into_iter().enumerate() {
            let lead = if index == 0 {
                lead.to_owned()
            } else {
                " ".repeat(indent)
            };
            self.rows.push((format!("{lead}{}", &text[row]), role));
        }
    }

    fn plan(
        &mut self,
        state: &State,
        plan: &TeardownPlan,
        done: Option<&Vec<(Item, ItemOutcome)>>,
    ) {
        self.add("selector  ", &plan.claims.to_string(), Role::Text);
        if let Some(hook) = &plan.hook {
            self.add("hook      ", &format!("{hook} runs first"), Role::Text);
        }
        self.add("", "", Role::Text);
        if plan.remove.is_empty() {
            let why = match plan.left_to_others().next() {
                Some(_) => "All of this stack is left to other runs.",
                None => "Nothing of this stack is there.",
            };
            self.add("", why, Role::Strong);
        } else {
            let title = match done {
                None => format!("{} to remove", plan.remove.len()),
                Some(done) => format!("{} of {} done", done.len(), plan.remove.len()),
            };
            self.add("", &title, Role::Strong);
            if let Some(warning) = plan.warning().filter(|_| done.is_none()) {
                self.add("  ! ", &warning, Role::Warning);
            }
        }
        for item in &plan.remove {
            let outcome = done.and_then(|done| {
                let same = |(other, _): &&(Item, ItemOutcome)| {
                    other.kind == item.kind && other.id == item.id
                };
                done.iter().find(same).map(|(_, outcome)| outcome)
            });
            self.item(state, item, outcome, done.is_some());
        }
        if !plan.spare.is_empty() {
            self.add("", "", Role::Text);
            let verb = if plan.spare.len() == 1 {
                "stays"
            } else {
                "stay"
            };
            self.add("", &format!("{} {verb}", plan.spare.len()), Role::Strong);
            for spared in &plan.spare {
                let text = format!(
                    "{} {}: {}",
                    spared.item.kind.word(),
                    spared.item.name,
                    spared.reason
                );
                self.add("  = ", &text, Role::Text);
            }
        }
        if plan.left_to_others().next().is_some() {
            let command = match state.setup.scope.stack(&plan.stack) {
                Some(_) => format!("teardown {}", plan.stack),
                None => "down".to_owned(),
            };
            let text = format!("`tackroom {command} --any-age` takes also what other runs made");
            self.add("    ", &text, Role::Text);
        }
    }

    fn item(&mut self, state: &State, item: &Item, outcome: Option<&ItemOutcome>, acting: bool) {
        let mut text = format!("{} {}", item.kind.word(), item.name);
        if !acting {
            text.push_str(&facts(state, item));
        }
        let (lead, note, role) = match outcome {
            None if acting => ("  · ", String::new(), Role::Muted),
            None => ("  − ", String::new(), Role::Text),
            Some(ItemOutcome::Removed) => ("  ✔ ", ": removed".to_owned(), Role::Good),
            Some(ItemOutcome::Gone) => ("  ✔ ", ": was gone".to_owned(), Role::Good),
            Some(ItemOutcome::Changed { why }) => {
                ("  ! ", format!(": left alone, {why}"), Role::Warning)
            }
            Some(ItemOutcome::Failed { why }) => ("  ✘ ", format!(": {why}"), Role::Bad),
        };
        self.add(lead, &format!("{text}{note}"), role);
    }
}

/// `  (2m, running, registry/tenant:latest)`
fn facts(state: &State, item: &Item) -> String {
    let facts: Vec<String> = item
        .created
        .map(|created| age(state.now, created))
        .into_iter()
        .chain(item.state.clone())
        .chain(item.image.clone())
        .collect();
    if facts.is_empty() {
        return String::new();
    }
    format!("  ({})", facts.join(", "))
}
