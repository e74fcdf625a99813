//! `teardown`: a plan, a confirmation, and its execution.

use std::io::{self, BufRead, IsTerminal, Write};

use jiff::Timestamp;

use super::args::{Color, Teardown};
use super::output::{
    Ended, Failure, Outlet, complain, is_ci, mention_missing_file, notation, palette,
};
use super::run::{Stdout, session};
use crate::bootstrap::{Context, Options};
use crate::domain::exit::Exit;
use crate::domain::plan::{Fingerprint, TeardownPlan};
use crate::domain::scope::Asker;
use crate::harness::{Consent, Request, Teardown as When};
use crate::report::{json_line, json_plan, write_plan};
use crate::teardown::PlanError;

pub(super) async fn teardown(
    options: &Options,
    color: Color,
    args: &Teardown,
) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    let asker = Asker::by_hand(Timestamp::now(), args.any_age);
    let plan = context.harness().plan(&args.stack, &asker).await?;
    // Who confirmed by flag need not stay for the plan.
    let mut stdout = Outlet::new(io::stdout(), notation(args.json));
    if args.json {
        writeln!(stdout, "{}", json_line(&json_plan(&plan)))?;
    } else {
        write_plan(
            &mut stdout,
            &plan,
            palette(color, &io::stdout()),
            Timestamp::now(),
        )?;
    }
    stdout.flush()?;
    if plan.is_empty() && plan.hook.is_none() {
        let why = match plan.left_to_others().count() {
            0 => format!("nothing matches {}", plan.claims),
            count => format!("{count} left to other runs, which --any-age overrides"),
        };
        return Err(Failure::new(
            Exit::NothingMatched,
            format!("{why}: nothing was removed"),
        ));
    }
    let Some((seen, consent)) = confirmation(&plan, args)? else {
        complain(format_args!(
            "nothing was removed; confirm with --yes --fingerprint {}",
            plan.fingerprint()
        ));
        return Ok(Ended::with(Exit::Ok));
    };
    let empty = plan.is_empty();
    let confirmed = plan
        .confirm(&seen)
        .map_err(|changed| Failure::new(Exit::Refused, changed.to_string()))?;
    let request = Request {
        teardown: When::Confirmed(vec![confirmed], consent),
        any_age: args.any_age,
        ..Request::nothing()
    };
    let summary = session(&context, request, color, Stdout::of(args.json)).await?;
    let mut exit = Exit::of(&summary);
    if exit == Exit::Ok && empty {
        complain("the hook ran, but no container, network or volume matched");
        exit = Exit::NothingMatched;
    }
    Ok(Ended {
        exit,
        signal: context.controller.signal(),
    })
}

/// The fingerprint that was confirmed, by flag or by a person at the terminal, and how far that
/// goes; `None` where only the plan was asked for. Who has seen a plan confirms that plan; `--yes`
/// alone is said before there is one, so it is about the stack.
fn confirmation(
    plan: &TeardownPlan,
    args: &Teardown,
) -> Result<Option<(Fingerprint, Consent)>, Failure> {
    if let Some(typed) = &args.fingerprint {
        return Ok(Some((Fingerprint::typed(typed), Consent::Plan)));
    }
    if args.yes {
        return Ok(Some((plan.fingerprint(), Consent::Stack)));
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() || args.json || is_ci() {
        return Ok(None);
    }
    let mut stderr = io::stderr().lock();
    write!(
        stderr,
        "type the stack's name to remove this, or press Enter to leave: "
    )?;
    stderr.flush()?;
    drop(stderr);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == &*plan.stack {
        Ok(Some((plan.fingerprint(), Consent::Plan)))
    } else {
        Err(Failure::new(
            Exit::Refused,
            "not confirmed: nothing was removed",
        ))
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let exit = match &error {
            PlanError::UnknownStack { .. } => Exit::NothingMatched,
            PlanError::Protected { .. } => Exit::Refused,
            PlanError::Engine(error) => return error.clone().into(),
        };
        Self::new(exit, error.to_string())
    }
}
