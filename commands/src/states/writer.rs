//! Writes folds of running owners, on a thread of its own. Each time that fjall has a memtable to flush it syncs its journal to
//! disk, and whoever commits meanwhile waits. Beside databases that write to the same disk a sync takes up to 50 ms, in which
//! commands would wait behind their lane.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::StoreError;
use super::tables::{Batch, Tables};

/// The thread, which ends with this.
pub(super) struct Writer(Option<Sender<Job>>);

/// A commit that goes on elsewhere, or did.
pub(crate) struct Writing(Receiver<Result<(), StoreError>>);

struct Job {
    tables: Arc<Tables>,
    batch: Batch,
    done: Sender<Result<(), StoreError>>,
}

impl Writer {
    pub fn start() -> Result<Self, StoreError> {
        // An owner hands over one at a time.
        let (jobs, queue) = crossbeam_channel::unbounded();
        let work = move || queue.into_iter().for_each(Job::run);
        thread::Builder::new().name("state-writer".to_owned()).spawn(work)?;
        Ok(Self(Some(jobs)))
    }

    /// For tables in memory, which keep nobody waiting: who hands over writes.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn write(&self, tables: &Arc<Tables>, batch: Batch) -> Writing {
        let (done, told) = crossbeam_channel::bounded(1);
        let job = Job { tables: Arc::clone(tables), batch, done };
        match &self.0 {
            // One that has ended leaves it to us.
            Some(jobs) => jobs.send(job).unwrap_or_else(|unsent| unsent.0.run()),
            None => job.run(),
        }
        Writing(told)
    }
}

impl Job {
    fn run(self) {
        let Self { tables, batch, done } = self;
        let written = tables.commit(batch).map_err(StoreError::from);
        // Who hears of it may close the store and open it again.
        drop(tables);
        if done.send(written).is_err() {
            tracing::debug!("nobody waits for a fold any more");
        }
    }
}

impl Writing {
    /// What came of it, where that is known.
    pub fn poll(&self) -> Option<Result<(), StoreError>> {
        match self.0.try_recv() {
            Ok(written) => Some(written),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(StoreError::Writer)),
        }
    }

    /// Waits for what comes of it.
    pub fn wait(&self) -> Result<(), StoreError> {
        self.0.recv().unwrap_or(Err(StoreError::Writer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::Table;
    use super::*;

    #[test]
    fn what_a_writer_that_has_ended_does_not_take_is_written_all_the_same() {
        let (jobs, queue) = crossbeam_channel::unbounded();
        drop(queue);
        let tables = Arc::new(Tables::in_memory());
        let mut batch = Batch::default();
        batch.insert(Table::Checkpoints, "a", vec![1]);
        Writer(Some(jobs)).write(&tables, batch).wait().unwrap();
        assert_eq!(tables.get(Table::Checkpoints, b"a").unwrap().as_deref(), Some(&[1][..]));
    }

    #[test]
    fn a_fold_that_ends_with_its_writer_has_failed() {
        let (done, told) = crossbeam_channel::bounded(1);
        let writing = Writing(told);
        assert!(writing.poll().is_none());
        drop(done);
        assert!(matches!(writing.poll(), Some(Err(StoreError::Writer))));
        assert!(matches!(writing.wait(), Err(StoreError::Writer)));
    }
}
