//! Finds the owner of a key, here or on another node, and waits for a definite answer.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::TrySendError;
use eventlog::Partition;
use schemas::Codec;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::lane::{Queued, Shared, Status};
use crate::ledger::Ledger;
use crate::owner::Failure;
use crate::peers::{Forwarded, Peers, Trouble};
use crate::{Aggregate, CommandRequest, Decided, SendError};

/// How long to wait before asking again where nobody owned the partition, or a term ended.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The way to the owners of one aggregate type.
pub struct Router<A: Aggregate> {
    lanes: Vec<Way<A>>,
    ledger: Arc<Ledger>,
    codec: Arc<Codec>,
    peers: Arc<dyn Peers>,
}

/// The way to a lane of this node.
pub(crate) struct Way<A: Aggregate> {
    pub lane: Arc<Shared<A>>,
    pub status: Arc<Status>,
}

impl<A: Aggregate> Clone for Way<A> {
    fn clone(&self) -> Self {
        Self { lane: Arc::clone(&self.lane), status: Arc::clone(&self.status) }
    }
}

impl<A: Aggregate> Router<A> {
    pub(crate) fn new(lanes: Vec<Way<A>>, ledger: Arc<Ledger>, codec: Arc<Codec>, peers: Arc<dyn Peers>) -> Self {
        Self { lanes, ledger, codec, peers }
    }

    /// A router of a node that owns nothing itself.
    #[must_use]
    pub fn to_peers(codec: Arc<Codec>, peers: Arc<dyn Peers>) -> Self {
        Self::new(Vec::new(), Arc::default(), codec, peers)
    }

    /// Sends a command and waits for its definite answer. Where a term ends meanwhile, or the owner moves, it asks again
    /// with the same id.
    ///
    /// # Errors
    /// See [`SendError`]; after [`SendError::Unknown`] asking again with the same id is safe.
    pub async fn send(&self, request: CommandRequest<A>, deadline: Instant) -> Result<Decided<A::Event>, SendError> {
        if !self.ledger.note(request.command_id, request.fingerprint) {
            return Err(SendError::KeyReused);
        }
        let partition = Partition::of(A::TOPIC, request.key.as_bytes());
        let mut begun = false;
        loop {
            match self.attempt(partition, &request, deadline).await {
                Ok(decided) => return Ok(decided),
                Err(Trouble::KeyReused) => return Err(SendError::KeyReused),
                Err(Trouble::Parked(reason)) => return Err(SendError::Parked(reason)),
                Err(Trouble::Busy) if !begun => return Err(SendError::Busy),
                Err(Trouble::Stopping) if !begun => return Err(SendError::NotReady),
                Err(Trouble::Busy | Trouble::NotOwner | Trouble::Stopping) => {}
                Err(Trouble::Unknown) => begun = true,
            }
            if Instant::now() + ASK_AGAIN_AFTER >= deadline {
                return Err(if begun { SendError::Unknown } else { SendError::NotReady });
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    async fn attempt(
        &self,
        partition: Partition,
        request: &CommandRequest<A>,
        deadline: Instant,
    ) -> Result<Decided<A::Event>, Trouble> {
        let lane = way_to(&self.lanes, partition);
        match lane {
            Some(lane) if lane.status.runs(partition) => return ask(lane, partition, request.clone(), deadline).await,
            _ => {}
        }
        match (self.peers.owner(partition), lane) {
            (Some(address), _) => self.forward(partition, &address, request, deadline).await,
            // It may be about to run.
            (None, Some(lane)) => ask(lane, partition, request.clone(), deadline).await,
            (None, None) => Err(Trouble::NotOwner),
        }
    }

    /// Has the node at `address` decide. It is not waited for longer than it is the owner: a node that stands still answers
    /// nobody.
    async fn forward(
        &self,
        partition: Partition,
        address: &str,
        request: &CommandRequest<A>,
        deadline: Instant,
    ) -> Result<Decided<A::Event>, Trouble> {
        let failed = |error: &schemas::CodecError| {
            tracing::error!(error = error as &dyn std::error::Error, %partition, "a forwarded command or its answer");
            Trouble::Unknown
        };
        let command = Forwarded::of(request).map_err(|error| failed(&error))?;
        let answer = tokio::select! {
            biased;
            answer = self.peers.forward(address, command, deadline) => answer?,
            () = self.peers.moved(partition, address) => return Err(Trouble::Unknown),
        };
        answer.decided::<A>(&self.codec).map_err(|error| failed(&error))
    }
}

/// The lane of `partition`, if this node has lanes.
pub(crate) fn way_to<A: Aggregate>(lanes: &[Way<A>], partition: Partition) -> Option<&Way<A>> {
    lanes.get((partition.number as usize).checked_rem(lanes.len())?)
}

/// One attempt at a lane of this node.
pub(crate) async fn ask<A: Aggregate>(
    lane: &Way<A>,
    partition: Partition,
    request: CommandRequest<A>,
    deadline: Instant,
) -> Result<Decided<A::Event>, Trouble> {
    let (reply, answer) = oneshot::channel();
    match lane.lane.command(Queued { partition, request, reply }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => return Err(Trouble::Busy),
        Err(TrySendError::Disconnected(_)) => return Err(Trouble::Stopping),
    }
    match timeout_at(deadline, answer).await {
        Ok(Ok(Ok(decided))) => Ok(decided),
        Ok(Ok(Err(Failure::KeyReused))) => Err(Trouble::KeyReused),
        Ok(Ok(Err(Failure::Parked(reason)))) => Err(Trouble::Parked(reason)),
        Ok(Ok(Err(Failure::Busy))) => Err(Trouble::Busy),
        Ok(Ok(Err(Failure::NotOwner))) => Err(Trouble::NotOwner),
        // The owner dropped the reply because its term ended, or the deadline passed.
        Ok(Err(_)) | Err(_) => Err(Trouble::Unknown),
    }
}
