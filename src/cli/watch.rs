//! `watch`: a run that goes on, and runs again what a change concerns.

use super::args::{Color, Watch};
use super::choose::{choose, policy, selection};
use super::output::{Ended, Failure, mention_missing_file};
use super::run::{Stdout, complain_of_headers, lifecycle_of, session};
use crate::bootstrap::{Context, Options};
use crate::domain::exit::Exit;
use crate::harness::Request;
use crate::replay::Chosen;

pub(super) async fn watch(options: &Options, color: Color, args: Watch) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    let selection = selection(args.selecting);
    let replays = match choose(&context.config, &selection)? {
        Chosen::Replays(replays) => replays,
        // There may be something to do later.
        Chosen::Nothing(_) => Vec::new(),
    };
    complain_of_headers(&replays);
    let request = Request {
        replays,
        policy: policy(&context.config, &args.running),
        again: Some(selection),
        ..lifecycle_of(args.keep_up, &args.booting)
    };
    let summary = session(&context, request, color, Stdout::of(args.json)).await?;
    Ok(Ended {
        exit: Exit::of(&summary),
        signal: context.controller.signal(),
    })
}
