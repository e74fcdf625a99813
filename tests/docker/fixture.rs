//! The program in the test containers. Compiled by itself and statically: the image holds
//! nothing else, since there is no registry to take a base image from.
//!
//! Each argument is a step: `out:TEXT`, `err:TEXT`, `term` (wait until asked to stop), `exit:CODE`,
//! `gate` (wait for a writer of the pipe /gate/gate), `many:COUNT` (numbered lines), `eat` (a child
//! uses up memory until it dies), `eat:oneself`, `burn` (use a core until asked to stop).

use std::io::Write;

const SIGTERM: i32 = 15;
const SIG_BLOCK: i32 = 0;

#[repr(C)]
struct SignalSet([u64; 16]);

unsafe extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> i32;
    fn sigaddset(set: *mut SignalSet, signal: i32) -> i32;
    fn sigprocmask(how: i32, set: *const SignalSet, old: *mut SignalSet) -> i32;
    fn sigwait(set: *const SignalSet, signal: *mut i32) -> i32;
    fn sigpending(set: *mut SignalSet) -> i32;
    fn sigismember(set: *const SignalSet, signal: i32) -> i32;
}

fn main() {
    // Blocked from the start: a request to stop that comes early waits for its step.
    let mut term = SignalSet([0; 16]);
    unsafe {
        sigemptyset(&mut term);
        sigaddset(&mut term, SIGTERM);
        sigprocmask(SIG_BLOCK, &term, std::ptr::null_mut());
    }
    for step in std::env::args().skip(1) {
        let (verb, rest) = step.split_once(':').unwrap_or((&step, ""));
        match verb {
            "out" => write(&mut std::io::stdout(), rest.as_bytes()),
            "err" => write(&mut std::io::stderr(), rest.as_bytes()),
            "term" => {
                let mut signal = 0;
                unsafe { sigwait(&term, &mut signal) };
            }
            "exit" => std::process::exit(rest.parse().unwrap_or(99)),
            "many" => {
                let count: u64 = rest.parse().unwrap_or(0);
                let mut text = Vec::new();
                for number in 0..count {
                    writeln!(text, "{number}").ok();
                }
                write(&mut std::io::stdout(), &text);
            }
            // To its end: who opens it once more waits for us to be there again.
            "gate" => drop(std::fs::read("/gate/gate")),
            "burn" => while !asked_to_stop() {},
            // The container has to outlive its victim: with cgroups of version 1 the engine may never
            // hear of a lack of memory in a group that has gone with its last process.
            "eat" if rest.is_empty() => {
                let child = std::process::Command::new("/fixture").arg("eat:oneself").status();
                assert!(!child.expect("the fixture starts itself").success());
            }
            "eat" => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![1_u8; 1 << 20]);
                }
            }
            _ => std::process::exit(98),
        }
    }
}

fn asked_to_stop() -> bool {
    let mut pending = SignalSet([0; 16]);
    unsafe {
        sigpending(&mut pending);
        sigismember(&pending, SIGTERM) == 1
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) {
    to.write_all(bytes).ok();
    to.flush().ok();
}
