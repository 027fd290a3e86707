//! Warm copies: what others own is folded here, too, so that a partition that is taken over need not be read from its start.
//! A copy is in the store of this node as an owner's state is, behind the same checkpoint, and whoever restores the partition
//! here takes it over: the copy's right to fold ends as soon as somebody wants it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use eventlog::{Partition, Tail};
use tokio::time::Instant;

use crate::Aggregate;
use crate::outside::{Next, Work};
use crate::owner::Context;
use crate::restore::{RestoreError, begin, fold, wipe_if_diverged};
use crate::states::{States, Store};

/// How often it is looked which partitions nobody folds here, and whether the log still reaches as far as the copies do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For so long no partition is taken after one was wanted, so that those who want it find it free.
const STAND_BACK: Duration = Duration::from_secs(2);
/// What comes meanwhile is folded together: a copy may lag, and folds of few records cost the most.
const REST: Duration = Duration::from_millis(100);
/// Where so many came at once there may be more.
const MANY: usize = 512;

/// Keeps the copies of one aggregate type.
pub(crate) struct Warm<A: Aggregate> {
    context: Arc<Context>,
    store: Arc<Store>,
    /// It ends with its node.
    node: Weak<()>,
    copies: BTreeMap<Partition, States<A>>,
    /// Of the copies; opened anew when there are others.
    tail: Option<Tail>,
    look_at: Instant,
    take_at: Instant,
}

impl<A: Aggregate> Warm<A> {
    pub fn new(context: Arc<Context>, store: Arc<Store>, node: Weak<()>) -> Self {
        let now = Instant::now();
        // A node that starts gets partitions first.
        let take_at = now + STAND_BACK;
        Self { context, store, node, copies: BTreeMap::new(), tail: None, look_at: now, take_at }
    }

    fn go_on(&mut self, patience: Duration) -> Result<usize, RestoreError> {
        let held = self.copies.len();
        self.copies.retain(|_, states| !states.is_wanted());
        if self.copies.len() < held {
            self.take_at = Instant::now() + STAND_BACK;
            self.tail = None;
        }
        if self.look_at <= Instant::now() {
            self.look_at = Instant::now() + LOOK_EVERY;
            self.look()?;
        }
        let Some(tail) = &mut self.tail else { return Ok(0) };
        fold(&self.context, tail, patience.min(REST), |partition| self.copies.get(&partition))
    }

    fn look(&mut self) -> Result<(), RestoreError> {
        if self.take_at <= Instant::now() {
            let spare = |partition| Some((partition, self.store.lease_spare(partition)?));
            let taken: Vec<_> = Partition::all(A::TOPIC).filter_map(spare).collect();
            if !taken.is_empty() {
                self.tail = None;
                self.copies.extend(taken);
            }
        }
        if let Some(tail) = &self.tail {
            for &partition in self.copies.keys() {
                if self.context.log.end(partition)? < tail.next(partition) {
                    return Err(RestoreError::Lost(partition));
                }
            }
        } else if !self.copies.is_empty() {
            let from: Result<Vec<_>, RestoreError> = (self.copies.iter())
                .map(|(partition, states)| Ok((*partition, begin(&self.context, *partition, states)?)))
                .collect();
            match Tail::open(self.context.log.as_ref(), &from?) {
                Ok(tail) => self.tail = Some(tail),
                Err(error) => return Err(wipe_if_diverged(error, |partition| self.copies.get(&partition))?),
            }
        }
        Ok(())
    }
}

impl<A: Aggregate> Work for Warm<A> {
    fn step(&mut self, patience: Duration) -> Next {
        if self.node.strong_count() == 0 {
            return Next::Done;
        }
        match self.go_on(patience) {
            Ok(folded) if folded >= MANY => Next::Now,
            Ok(_) => Next::After(REST),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "keeping copies failed; trying again");
                self.tail = None;
                Next::After(REST)
            }
        }
    }
}
