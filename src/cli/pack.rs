//! `pack`: a kept run as one file, for somebody else.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::Pack;
use super::output::{Ended, Failure, complain};
use super::recorded::{find, left_out};
use crate::bootstrap::Options;
use crate::domain::exit::Exit;
use crate::process::{die_of, end_asked};
use crate::record::End;
use crate::record::archive::pack as write_bundle;

pub(super) async fn pack(options: &Options, args: &Pack) -> Result<Ended, Failure> {
    static STOP: AtomicBool = AtomicBool::new(false);
    // Before an archive is unpacked: from then on a signal does not end the process by itself.
    let asked = end_asked()?;
    let found = find(options, &args.run).await?;
    let recording = found.recording()?;
    if let End::UnderWay(_) = recording.end {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} is still under way", recording.directory.display()),
        ));
    }
    let name = recording.bundle_name();
    let file = match &args.output {
        Some(file) => file.clone(),
        None => PathBuf::from(format!("{name}.tar.zst")),
    };
    let (directory, to, replace) = (recording.directory, file.clone(), args.replace);
    let mut packing =
        tokio::task::spawn_blocking(move || write_bundle(&directory, &name, &to, replace, &STOP));
    let done = tokio::select! {
        done = &mut packing => done,
        signal = asked => {
            STOP.store(true, Ordering::Relaxed);
            drop(packing.await);
            drop(found);
            die_of(signal);
            return Ok(Ended { exit: Exit::Internal, signal: Some(signal) });
        }
    };
    let packed = done.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
    if packed.left_out > 0 {
        complain(left_out(packed.left_out));
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", file.display())?;
    stdout.flush()?;
    Ok(Ended::with(Exit::Ok))
}
