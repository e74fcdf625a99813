//! `init`: a commented configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use super::args::Init;
use super::output::{Ended, Failure, complain};
use crate::config::TEMPLATE;
use crate::domain::exit::Exit;

pub(super) fn init(args: &Init) -> Result<Ended, Failure> {
    let file = args.file.display();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .and_then(|mut opened| opened.write_all(TEMPLATE.as_bytes()));
    match written {
        Ok(()) => {
            complain(format_args!(
                "wrote {file}; every key in it is a comment with its default"
            ));
            Ok(Ended::with(Exit::Ok))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::new(
            Exit::Refused,
            format!("{file} exists already, and was left as it is"),
        )),
        Err(error) => Err(Failure::usage(format!("cannot write {file}: {error}"))),
    }
}
