//! A long-running child that we watch, and end with everything it started when it is no longer wanted.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(100);
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long an unwanted child may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `command` to its end and tells whether it succeeded. Its output goes through as it comes, and each line to `read`.
/// As soon as `check` fails the child and its children are ended, and that is the answer.
pub fn run(command: &mut Command, mut read: impl FnMut(&str), check: &dyn Fn() -> Result<()>) -> Result<bool> {
    check()?;
    // A group of its own: it can be ended as a whole. Ctrl-C in the terminal then reaches us alone, and we pass it on.
    let mut child =
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting cargo")?;
    let lines = child.stdout.take().map(lines_of).context("its output was asked for")?;
    let mut checked = Instant::now();
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                println!("{line}");
                read(&line);
            }
            // Closed: it ends now.
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?.success()),
            // Ended, but a process it left behind holds its output open.
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status.success());
                }
            }
        }
        if checked.elapsed() >= CHECK_EVERY {
            checked = Instant::now();
            if let Err(reason) = check() {
                end(&mut child)?;
                return Err(reason);
            }
        }
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn end(child: &mut Child) -> Result<()> {
    let group = Pid::from_raw(i32::try_from(child.id())?);
    // The group may be gone already; then there is nobody to end.
    let _ = killpg(group, Signal::SIGTERM);
    let started = Instant::now();
    while child.try_wait()?.is_none() && started.elapsed() < GRACE {
        thread::sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    child.wait().map(drop).context("waiting for its end")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn every_line_is_read_and_the_result_is_known() {
        let mut seen = Vec::new();
        let passed =
            run(&mut shell("echo a; printf b; exit 1"), |line| seen.push(line.to_owned()), &|| Ok(())).unwrap();
        assert!(!passed);
        assert_eq!(seen, ["a", "b"]);
        assert!(run(&mut shell("exit 0"), |_| (), &|| Ok(())).unwrap());
    }

    #[test]
    fn a_failed_check_ends_the_child_and_its_children() {
        let checks = Cell::new(0);
        let check = || {
            checks.set(checks.get() + 1);
            if checks.get() > 1 { bail!("a server died") } else { Ok(()) }
        };
        let started = Instant::now();
        let error = run(&mut shell("sleep 60 & sleep 60"), |_| (), &check).unwrap_err();
        assert_eq!(error.to_string(), "a server died");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
