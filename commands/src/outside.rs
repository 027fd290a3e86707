//! What a node takes from outside, beside the log and its peers: the time of day, chance, and threads. A simulation gives it
//! its own and steps the [`Work`] itself. How much time has passed is tokio's clock, which is the system's unless the runtime
//! is paused.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use eventlog::fault::clock_skew_ms;

/// Something that runs beside everything else.
pub trait Work: Send {
    /// Goes on a little. Where there is nothing to do it waits for that, at most so long as `patience`.
    fn step(&mut self, patience: Duration) -> Next;
}

/// When to step next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// After a pause.
    After(Duration),
    /// Never: it has ended.
    Done,
}

/// See the module.
pub trait Outside: Send + Sync + 'static {
    /// The node's clock. A decision that depends on time says in its event which time it was.
    fn now(&self) -> Timestamp;

    /// 128 random bits.
    ///
    /// # Errors
    /// When there are none.
    fn random(&self) -> io::Result<u128>;

    /// Whether a caller may go on with a lane that nobody else is at. A simulation also leaves commands in the queue.
    fn helps(&self) -> bool {
        true
    }

    /// Runs `work` to its end.
    ///
    /// # Errors
    /// When it cannot begin.
    fn run(&self, name: String, work: Box<dyn Work>) -> io::Result<Option<JoinHandle<()>>>;
}

/// The system's clock and random numbers, and a thread for each work.
pub struct System;

impl Outside for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(clock_skew_ms()))
    }

    fn random(&self) -> io::Result<u128> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(u128::from_be_bytes(bytes))
    }

    fn run(&self, name: String, mut work: Box<dyn Work>) -> io::Result<Option<JoinHandle<()>>> {
        let run = move || {
            loop {
                match work.step(Duration::MAX) {
                    Next::Now => {}
                    Next::After(pause) => std::thread::sleep(pause),
                    Next::Done => return,
                }
            }
        };
        std::thread::Builder::new().name(name).spawn(run).map(Some)
    }
}
