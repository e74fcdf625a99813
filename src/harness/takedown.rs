//! Taking the harness down: plan, hook, what the hook left, and the check.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::session::{Consent, Harness};
use super::sink::Sink;
use crate::domain::container::State;
use crate::domain::hook::Step;
use crate::domain::plan::{
    ConfirmedPlan, Item, ItemKind, ItemOutcome, SpareReason, Spared, TeardownPlan,
};
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::domain::scope::{Asker, Protection, StackName, joined_name};
use crate::engine::Backoff;
use crate::lifecycle::{HookSettings, run_hook};
use crate::process::Control;
use crate::teardown::{self, PlanError};

/// How often what appeared meanwhile is planned and removed again. A stack that keeps growing has
/// a spawner that is still alive, and that is to be said instead of being chased for ever.
const ROUNDS: usize = 3;

/// How long an engine that cannot be used is waited for before a teardown is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often, and how long apart, the engine is asked again while it is still removing something.
const SETTLING: usize = 50;
const SETTLING_PAUSE: Duration = Duration::from_millis(100);

/// What a container gets between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);

impl Harness {
    /// The hook that takes the harness down, as people would type it.
    fn down_hook(&self) -> Option<String> {
        let hook = self.config.harness.as_ref()?.down.as_ref()?;
        let program = hook
            .program
            .strip_prefix(&self.config.root)
            .unwrap_or(&hook.program)
            .display()
            .to_string();
        Some(
            std::iter::once(program)
                .chain(hook.args.iter().cloned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// What taking one stack down would do. The hook is part of it where the stack is all that the
    /// harness has: one that takes down more would take what this plan does not show.
    ///
    /// # Errors
    ///
    /// Fails for a stack that does not exist or is protected, and where the engine cannot be asked.
    pub async fn plan(&self, stack: &str, asker: &Asker) -> Result<TeardownPlan, PlanError> {
        let mut plan = self.plan_objects(stack, asker).await?;
        if let [only] = self.stacks()[..]
            && only.name == plan.stack
        {
            self.hook_first(std::slice::from_mut(&mut plan));
        }
        Ok(plan)
    }

    /// What taking the harness down would do: a plan for each of its stacks, the last booted first.
    /// The hook stands in the first.
    ///
    /// # Errors
    ///
    /// As [`Self::plan`].
    pub async fn plan_all(&self, asker: &Asker) -> Result<Vec<TeardownPlan>, PlanError> {
        let mut plans = Vec::new();
        for stack in self.stacks().into_iter().rev() {
            plans.push(self.plan_objects(&stack.name, asker).await?);
        }
        self.hook_first(&mut plans);
        Ok(plans)
    }

    /// What [`Self::plan`] or, for the name of all that the harness has, [`Self::plan_all`] gives:
    /// as one plan to be looked at, and as those that it is made of.
    ///
    /// # Errors
    ///
    /// As [`Self::plan`].
    pub async fn preview(
        &self,
        name: &str,
        asker: &Asker,
    ) -> Result<(TeardownPlan, Vec<TeardownPlan>), PlanError> {
        let harness = self.config.harness.as_ref();
        let all = harness.and_then(|harness| joined_name(&harness.stacks));
        let is_all = |all: &StackName| &**all == name && self.config.scope.stack(name).is_none();
        if let Some(all) = all.filter(is_all) {
            let plans = self.plan_all(asker).await?;
            if let Some(joined) = TeardownPlan::joined(all, &plans) {
                return Ok((joined, plans));
            }
        }
        let plan = self.plan(name, asker).await?;
        Ok((plan.clone(), vec![plan]))
    }

    /// A hook takes down what it finds. It must not find a protected stack, nor one of which nobody
    /// knows what is another run's.
    pub(super) fn may_run_hook(&self, unplanned: &[(StackName, PlanError)]) -> bool {
        let stacks = self.stacks();
        stacks
            .iter()
            .all(|stack| stack.protection == Protection::Removable)
            && (unplanned.is_empty() || stacks.iter().all(|stack| stack.run_guard.is_none()))
    }

    /// A hook takes down what it finds. Where something is left to another run it must not run.
    fn hook_first(&self, plans: &mut [TeardownPlan]) {
        let is_shared = plans.iter().any(spares_other_run);
        if let Some(first) = plans.first_mut().filter(|_| !is_shared) {
            first.hook = self.down_hook();
        }
    }

    async fn plan_objects(&self, stack: &str, asker: &Asker) -> Result<TeardownPlan, PlanError> {
        let asker = Asker {
            now: Timestamp::now(),
            ..asker.clone()
        };
        teardown::build(&*self.engine, &self.config.scope, stack, None, &asker).await
    }

    /// Carries out confirmed plans: the hook of one of them, then what is left of each, then the
    /// check.
    pub(super) async fn take_down(
        &self,
        confirmed: &[ConfirmedPlan],
        consent: Consent,
        asker: &Asker,
        hook_settings: &HookSettings,
        control: &Control,
        sink: &mut Sink,
    ) {
        let is_planned = confirmed.iter().any(|plan| plan.plan().hook.is_some());
        let hook = self
            .config
            .harness
            .as_ref()
            .and_then(|harness| harness.down.as_ref());
        // Whether the hook would have been asked to take down just this.
        let is_whole = confirmed.len() == self.stacks().len()
            && confirmed.iter().all(|plan| {
                self.stacks()
                    .iter()
                    .any(|own| own.name == plan.plan().stack)
            });
        if hook.is_some() && is_whole && confirmed.iter().any(|plan| spares_other_run(plan.plan()))
        {
            sink.emit(RunEventKind::Note(
                "the `down` hook does not run: it would take down what another run has just made"
                    .to_owned(),
            ));
        }
        let hook = hook.filter(|_| is_planned);
        if let Some(hook) = hook {
            sink.emit(RunEventKind::StepStarted { step: Step::Down });
            let began = Instant::now();
            let (outcome, output) =
                run_hook(Step::Down, hook, hook_settings, control, &mut |kind| {
                    sink.emit(kind);
                })
                .await;
            sink.emit(RunEventKind::StepFinished {
                step: Step::Down,
                outcome,
                took: began.elapsed(),
                output,
            });
        }
        sink.emit(RunEventKind::StepStarted {
            step: Step::Teardown,
        });
        let began = Instant::now();
        let outcome = self.sweep(confirmed, consent, asker, control, sink).await;
        sink.emit(RunEventKind::StepFinished {
            step: Step::Teardown,
            outcome,
            took: began.elapsed(),
            output: Output::default(),
        });
    }

    /// As [`Self::plan_all`], but what cannot be planned does not keep the others from it.
    pub(super) async fn plan_all_patiently(
        &self,
        asker: &Asker,
        control: &Control,
    ) -> (Vec<TeardownPlan>, Vec<(StackName, PlanError)>) {
        let mut plans = Vec::new();
        let mut unplanned = Vec::new();
        for stack in self.stacks().into_iter().rev() {
            match self.plan_patiently(&stack.name, asker, control).await {
                Ok(plan) => plans.push(plan),
                Err(error) => unplanned.push((stack.name.clone(), error)),
            }
        }
        if self.may_run_hook(&unplanned) {
            self.hook_first(&mut plans);
        }
        (plans, unplanned)
    }

    /// The plan without a hook. An engine that cannot be used right now is waited for: one slow
    /// answer at the end of a run must not leave a whole stack behind.
    async fn plan_patiently(
        &self,
        stack: &str,
        asker: &Asker,
        control: &Control,
    ) -> Result<TeardownPlan, PlanError> {
        let mut backoff = Backoff::default();
        let mut waited = Duration::ZERO;
        loop {
            match self.plan_objects(stack, asker).await {
                Err(PlanError::Engine(error))
                    if error.is_outage() && waited < PATIENCE && !control.gives_up() =>
                {
                    let wait = backoff.step();
                    waited += wait;
                    tokio::time::sleep(wait).await;
                }
                planned => return planned,
            }
        }
    }

    /// The plan, after the engine has finished the removals that it has begun: a container that
    /// removes itself at its end is still listed for a moment.
    async fn plan_when_settled(
        &self,
        stack: &str,
        asker: &Asker,
        control: &Control,
    ) -> Result<TeardownPlan, PlanError> {
        let mut plan = self.plan_patiently(stack, asker, control).await?;
        for _ in 0..SETTLING {
            let is_settled = !plan.remove.iter().any(|item| item.is(State::Removing));
            if is_settled || control.gives_up() {
                break;
            }
            tokio::time::sleep(SETTLING_PAUSE).await;
            plan = self.plan_patiently(stack, asker, control).await?;
        }
        Ok(plan)
    }

    async fn sweep(
        &self,
        confirmed: &[ConfirmedPlan],
        consent: Consent,
        asker: &Asker,
        control: &Control,
        sink: &mut Sink,
    ) -> StepOutcome {
        let mut tally = Tally::default();
        let mut round = confirmed.to_vec();
        let mut number = 1;
        loop {
            for plan in &round {
                self.remove_round(plan, control, sink, &mut tally).await;
            }
            // All of them, and only now: what one stack holds of another is free when both are gone.
            let mut left = Vec::new();
            for plan in confirmed {
                match self
                    .plan_when_settled(&plan.plan().stack, asker, control)
                    .await
                {
                    Ok(plan) => left.push(plan),
                    Err(error) => {
                        let reason = format!("cannot check what is left: {error}");
                        sink.emit(RunEventKind::LeftBehind(tally.open));
                        return StepOutcome::Failed { reason };
                    }
                }
            }
            let more: usize = left.iter().map(|plan| plan.remove.len()).sum();
            if consent == Consent::Stack && number < ROUNDS && more > 0 && !control.gives_up() {
                sink.emit(RunEventKind::Note(format!(
                    "{more} more appeared or stayed, taking them down as well"
                )));
                round.clear();
                for plan in left.into_iter().filter(|plan| !plan.is_empty()) {
                    sink.emit(RunEventKind::Planned(plan.clone()));
                    let fingerprint = plan.fingerprint();
                    round.extend(plan.confirm(&fingerprint));
                }
                number += 1;
                continue;
            }
            return conclude(&tally, confirmed, left, sink);
        }
    }

    async fn remove_round(
        &self,
        round: &ConfirmedPlan,
        control: &Control,
        sink: &mut Sink,
        tally: &mut Tally,
    ) {
        tally.begin(round.plan());
        let grace = control.grace(GRACE);
        let (engine, scope) = (&*self.engine, &self.config.scope);
        teardown::execute(
            engine,
            scope,
            round,
            grace,
            &|| control.gives_up(),
            &mut |item, outcome| {
                tally.end(&item, &outcome);
                sink.emit(RunEventKind::ItemFinished { item, outcome });
            },
        )
        .await;
    }
}

/// Names what is left, with the reasons; nothing is.
fn conclude(
    tally: &Tally,
    confirmed: &[ConfirmedPlan],
    left: Vec<TeardownPlan>,
    sink: &mut Sink,
) -> StepOutcome {
    let held = held(confirmed, &left);
    let others: Vec<Spared> = left
        .iter()
        .flat_map(TeardownPlan::left_to_others)
        .cloned()
        .collect();
    if !others.is_empty() {
        sink.emit(RunEventKind::LeftToOthers(others));
    }
    // Without its containers a network or a volume may not look like the stack's own any more: one
    // that is spared now is still there.
    let is_there = |item: &Item| {
        !is_found_again(item)
            || left.iter().any(|plan| {
                let spared = plan.spare.iter().map(|spared| &spared.item);
                plan.remove
                    .iter()
                    .chain(spared)
                    .any(|other| same(other, item))
            })
    };
    let why = |item: &Item| {
        let failed = tally.failed.iter().find(|(other, _)| same(other, item));
        failed.map_or_else(|| "not begun".to_owned(), |(_, why)| why.clone())
    };
    let failed: Vec<(Item, String)> = tally
        .open
        .iter()
        .filter(|item| is_there(item))
        .map(|item| (item.clone(), why(item)))
        .collect();
    let mut items: Vec<Item> = left.into_iter().flat_map(|plan| plan.remove).collect();
    for item in failed
        .iter()
        .map(|(item, _)| item)
        .chain(held.iter().map(|(item, _)| item))
    {
        if !items.iter().any(|other| same(other, item)) {
            items.push(item.clone());
        }
    }
    if items.is_empty() {
        return StepOutcome::Done;
    }
    let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    let mut reason = format!("left behind: {}", names.join(", "));
    for (item, why) in failed.iter().chain(&tally.changed).chain(&held) {
        reason.push_str(&format!("; {} {}: {why}", item.kind.word(), item.name));
    }
    sink.emit(RunEventKind::LeftBehind(items));
    StepOutcome::Failed { reason }
}

/// The networks and volumes that are a stack's own and stay because somebody else uses them: spared
/// for a good reason, and left all the same. One that only its users made the stack's own does not
/// look like it any more when they are gone; the plan knew.
fn held(confirmed: &[ConfirmedPlan], left: &[TeardownPlan]) -> Vec<(Item, String)> {
    fn in_use(plan: &TeardownPlan) -> impl Iterator<Item = &Spared> {
        plan.spare.iter().filter(|spared| {
            matches!(spared.item.kind, ItemKind::Network | ItemKind::Volume)
                && matches!(spared.reason, SpareReason::InUse { .. })
        })
    }
    let stays = |item: &Item| {
        left.iter()
            .flat_map(|plan| &plan.spare)
            .any(|spared| same(&spared.item, item) && spared.reason == SpareReason::ProjectNameOnly)
    };
    let before = confirmed
        .iter()
        .flat_map(|plan| in_use(plan.plan()))
        .filter(|spared| stays(&spared.item));
    left.iter()
        .flat_map(in_use)
        .chain(before)
        .map(|spared| (spared.item.clone(), spared.reason.to_string()))
        .collect()
}

fn spares_other_run(plan: &TeardownPlan) -> bool {
    plan.left_to_others().next().is_some()
}

fn same(a: &Item, b: &Item) -> bool {
    (a.kind, &a.id) == (b.kind, &b.id)
}

/// Whether the check would see it. No label finds a directory, nor a volume without a name.
fn is_found_again(item: &Item) -> bool {
    item.kind != ItemKind::StateDir && !item.labels.is_empty()
}

/// What the removals came to so far.
#[derive(Default)]
struct Tally {
    /// What was planned and has not been dealt with.
    open: Vec<Item>,
    failed: Vec<(Item, String)>,
    changed: Vec<(Item, String)>,
}

impl Tally {
    fn begin(&mut self, plan: &TeardownPlan) {
        for item in &plan.remove {
            self.forget(item);
            self.open.push(item.clone());
        }
    }

    fn end(&mut self, item: &Item, outcome: &ItemOutcome) {
        match outcome {
            ItemOutcome::Removed | ItemOutcome::Gone => self.forget(item),
            ItemOutcome::Changed { why } => {
                self.forget(item);
                self.changed.push((item.clone(), why.clone()));
            }
            ItemOutcome::Failed { why } => self.failed.push((item.clone(), why.clone())),
        }
    }

    fn forget(&mut self, item: &Item) {
        self.open.retain(|other| !same(other, item));
        for problems in [&mut self.failed, &mut self.changed] {
            problems.retain(|(other, _)| !same(other, item));
        }
    }
}
