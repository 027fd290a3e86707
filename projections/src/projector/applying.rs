//! Applying a batch: its rows are loaded, folded and committed. Where more of the log waits, the next batch is loaded and folded
//! while the store commits this one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventlog::fault::mutant;
use futures::future;
use tokio::time::{Instant, sleep};

use super::reader::Batch;
use super::sorting::caught;
use super::{End, Failed, Labels, Projector, trace};
use crate::fold::{Folded, Folding};
use crate::metrics::{BATCH_SECONDS, EVENT_AGE_SECONDS, EVENTS, NEXT_OFFSET};
use crate::pace::Pace;
use crate::parking::{Cause, Changes};
use crate::store::{Checkpoints, Commit, Store};
use crate::view::View;

impl<V: View, S: Store<V>> Projector<V, S> {
    /// Makes the batch visible; `folded` is what was folded of it ahead. Gives the same of the batch that comes `next`, where
    /// there is one and nothing is in the way.
    pub(super) async fn apply(
        &self,
        batch: &Batch<V>,
        mut folded: Option<Folded<V>>,
        next: Option<&Batch<V>>,
        at: &mut Checkpoints,
    ) -> Result<Option<Folded<V>>, End> {
        let spans: Vec<_> = batch.traces.iter().map(|parent| trace::span(V::NAME, parent)).collect();
        // A generation with a rate is to burden the machine less, not more.
        let next = next.filter(|_| self.context.pace == Pace::Unbounded);
        let started = Instant::now();
        // Folded anew each other time: after an error nobody knows what the store holds.
        let ahead = self.retry(|| self.attempt(batch, folded.take(), next)).await?;
        drop(spans);
        at.extend(batch.moves.iter().map(|step| (step.partition, step.to)));
        let positions = batch.moves.iter().map(|step| (step.partition, step.to.next));
        self.course.publish(positions);
        let took = started.elapsed();
        measure(batch, took, &self.labels);
        if let Some(rest) = self.context.pace.rest_after(took, batch.full) {
            self.context.shutdown.run_until_cancelled(sleep(rest)).await;
        }
        Ok(ahead)
    }

    async fn attempt(
        &self,
        batch: &Batch<V>,
        folded: Option<Folded<V>>,
        next: Option<&Batch<V>>,
    ) -> Result<Option<Folded<V>>, Failed> {
        let folded = match folded {
            Some(folded) => folded,
            None => self.fold(&batch.events, &Folded::default()).await?,
        };
        // What the next batch finds of this one's rows, before they are given away.
        let begun = next.and_then(|next| self.begin_fold(&next.events, &folded).ok());
        // What nobody waits for need not wait for the disk.
        let behind = batch.full || !self.context.pace.is_awaited();
        let parking = Changes { park: batch.parked.clone(), ..Changes::default() };
        let Folded { upserts, deletes } = folded;
        let commit = self.store.commit(Commit { upserts, deletes, moves: batch.moves.clone(), parking, behind });
        let Some(begun) = begun else {
            commit.await?;
            return Ok(None);
        };
        let (committed, ahead) = future::join(commit, self.finish_fold(begun)).await;
        committed?;
        // Where that failed, it is tried again at its turn, and fails there or does not.
        Ok(ahead.ok())
    }

    /// Folds events into the rows that the store will have after `before`.
    pub(super) async fn fold(&self, events: &[V::Event], before: &Folded<V>) -> Result<Folded<V>, Failed> {
        self.finish_fold(self.begin_fold(events, before)?).await
    }

    fn begin_fold<'e>(&self, events: &'e [V::Event], before: &Folded<V>) -> Result<Begun<'e, V>, Failed> {
        let forgets = mutant("whole-fold") && self.store.generation() != V::GENERATION;
        let events = if forgets { &events[..events.len().saturating_sub(1)] } else { events };
        caught(|| {
            let folding = Folding::of(events);
            let (found, missing) = folding.wanted(before);
            Begun { folding, found, missing }
        })
        .map_err(panicked)
    }

    async fn finish_fold(&self, begun: Begun<'_, V>) -> Result<Folded<V>, Failed> {
        let Begun { folding, mut found, missing } = begun;
        if !missing.is_empty() {
            found.extend(self.store.load(&missing).await?);
        }
        caught(|| folding.changes(found)).map_err(panicked)
    }
}

/// A fold before its rows are loaded.
struct Begun<'e, V: View> {
    folding: Folding<'e, V>,
    /// Rows that it depends on and that are known,
    found: Vec<V>,
    /// and keys of those that the store has to tell.
    missing: Vec<V::Key>,
}

fn panicked(detail: String) -> Failed {
    Failed::Unfit(Cause::FoldPanicked { detail })
}

fn measure<V: View>(batch: &Batch<V>, took: Duration, labels: &Labels) {
    ::metrics::counter!(EVENTS, labels).increment(batch.events.len() as u64);
    ::metrics::histogram!(BATCH_SECONDS, labels).record(took);
    for step in &batch.moves {
        let ([view, generation], partition) = (labels.clone(), step.partition);
        let place = [("topic", partition.topic.name.to_owned()), ("partition", partition.number.to_string())];
        let [topic, number] = place;
        ::metrics::gauge!(NEXT_OFFSET, &[view, generation, topic, number]).set(step.to.next as f64);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(appended) = batch.oldest.and_then(|oldest| u64::try_from(oldest.0).ok()) {
        let age = now.saturating_sub(Duration::from_millis(appended));
        ::metrics::histogram!(EVENT_AGE_SECONDS, labels).record(age);
    }
}
