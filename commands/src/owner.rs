//! The protocol of one partition while this node believes that it owns it (DESIGN D3).
//!
//! Decisions are made on tentative state: confirmed plus own unconfirmed records. A report for the oldest outstanding
//! record at exactly the expected offset proves that no newer claim came before it, because nobody else writes here. At
//! a higher offset somebody else's record lies between, and the reader's rule decides; anything else ends the term.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::fault::{crash_point, mutant};
use eventlog::shared::{Flow, Tap};
use eventlog::tail::identity;
use eventlog::{
    Admitted, Appended, Appender, Checkpoint, Decoded, EventLog, Partition, Record, Report, Stored, Tail, Terms,
};
use foldhash::{HashMap, HashMapExt};
use schemas::{Codec, CodecError, Envelope, Term};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::decide::decide;
use crate::ledger::Ledger;
use crate::metrics::{APPEND_SECONDS, UNHEARD_ANSWERS};
use crate::outside::Outside;
use crate::peers::Peers;
use crate::states::{Folded, Outcome, States, StoreError};
use crate::working_set::{Held, WorkingSet};
use crate::{Aggregate, CommandRequest, Decided, Decision, Position};

/// Most unconfirmed records of one partition; far below the producer's own queue.
const PENDING_MAX: usize = 2_048;
/// Confirmed records are folded into the store when there are so many …
const UNFOLDED_MAX: usize = 512;
/// … or when the oldest has waited so long.
pub(crate) const FOLD_AFTER: Duration = Duration::from_millis(50);
/// Where the store cannot keep up, commands wait for it from so many on.
const WAITING_MAX: usize = 8 * UNFOLDED_MAX;
/// How long the owner looks for what lies between before it gives the term up.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// What a caller inside the process gets.
pub(crate) type Reply<A> = oneshot::Sender<Result<Decided<<A as domain::Decider>::Event>, Failure>>;

/// Why the owner gives no decision. A term that ends drops its replies: then it may have been decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The queue is full; nothing was begun.
    Busy,
    /// Nobody owns the partition here; nothing was begun.
    NotOwner,
    /// The id names another request.
    KeyReused,
    /// The aggregate is set aside.
    Parked(String),
}

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SteppedDown {
    #[error("the log did not take or confirm a record: {detail}")]
    Append { detail: String, fatal: bool },
    #[error("a report came out of order: token {token}, oldest outstanding {oldest:?}")]
    OutOfOrder { token: u64, oldest: Option<u64> },
    #[error("a record was confirmed at {offset:?}, expected was {expected}")]
    Offset { offset: Option<u64>, expected: u64 },
    #[error("a newer claim deposed this owner")]
    Deposed,
    #[error("the log lost the claim, or what was confirmed before {confirmed}")]
    Lost { confirmed: u64 },
    #[error("nobody waits for the claim any more")]
    Abandoned,
    #[error("the records between could not be read: {0}")]
    CatchUp(String),
    #[error("the state store failed")]
    Store(#[from] StoreError),
}

/// What an owner starts from: its claim is in the log, valid, and everything up to it is folded.
pub(crate) struct Started<A> {
    pub states: States<A>,
    pub checkpoint: Checkpoint,
    pub term: Term,
}

/// What every owner of a lane shares.
pub(crate) struct Context {
    pub log: Arc<dyn EventLog>,
    pub codec: Arc<Codec>,
    pub outside: Arc<dyn Outside>,
    pub peers: Arc<dyn Peers>,
    pub ledger: Arc<Ledger>,
    pub tap: Tap,
}

pub(crate) struct Owner<A: Aggregate> {
    partition: Partition,
    term: Term,
    memory: WorkingSet<A>,
    /// What it started from.
    base: Checkpoint,
    /// Of everything confirmed.
    confirmed: Checkpoint,
    /// Sequence number of the latest record handed to the log.
    sequence: u64,
    /// Tokens are the term's first token plus the sequence number: reports of earlier terms are recognised by them.
    first_token: u64,
    pending: VecDeque<Pending<A>>,
    /// Sequence numbers of `pending`, by command id.
    pending_ids: HashMap<Uuid, u64>,
    append_seconds: ::metrics::Histogram,
    /// For views of this process.
    flow: Flow,
}

/// A record handed to the log and not confirmed.
struct Pending<A: Aggregate> {
    sequence: u64,
    envelope: Envelope,
    record: Record,
    decision: Decision<A::Event>,
    handed_over: Instant,
    first: Reply<A>,
    /// Callers who asked again meanwhile.
    repeats: Vec<Reply<A>>,
}

impl<A: Aggregate> Owner<A> {
    pub fn new(context: &Context, partition: Partition, started: Started<A>, first_token: u64) -> Self {
        let Started { states, checkpoint, term } = started;
        Self {
            partition,
            term,
            memory: WorkingSet::new(states),
            base: checkpoint,
            confirmed: checkpoint,
            sequence: 0,
            first_token,
            pending: VecDeque::new(),
            pending_ids: HashMap::new(),
            append_seconds: ::metrics::histogram!(APPEND_SECONDS, "topic" => A::TOPIC.name),
            flow: context.tap.open(partition, checkpoint.next),
        }
    }

    /// Decides, and hands the record to the log. The reply is given when the log has confirmed it.
    pub fn handle(
        &mut self,
        context: &Context,
        appender: &dyn Appender,
        request: &CommandRequest<A>,
        reply: Reply<A>,
    ) -> Result<(), SteppedDown> {
        let Some(reply) = self.answer_known(context, request, reply)? else { return Ok(()) };
        if self.pending.len() >= PENDING_MAX {
            answer::<A>(reply, Err(Failure::Busy));
            return Ok(());
        }
        let key = Bytes::copy_from_slice(request.key.as_bytes());
        let mut held = self.memory.take(&key)?;
        let now = context.outside.now();
        let decided = match &held.slot.parked {
            Some(reason) => Err(Failure::Parked(reason.clone())),
            None => decide(&context.codec, request, &held.slot, now).map_err(|error| unreadable(&error)),
        };
        let (decision, encoded) = match decided {
            Ok(decided) => decided,
            Err(failure) => {
                self.memory.put(key, held);
                answer::<A>(reply, Err(failure));
                return Ok(());
            }
        };
        if mutant("no-record") && !matches!(decision, Decision::Accepted(_)) {
            let position = Position { partition: self.partition, offset: self.confirmed.next.saturating_sub(1) };
            let version = held.slot.version;
            self.memory.put(key, held);
            answer::<A>(reply, Ok(Decided { position, version, replayed: false, decision }));
            return Ok(());
        }
        if let Decision::Accepted(event) = &decision {
            held.slot.state = std::mem::take(&mut held.slot.state).evolve(event);
            held.slot.version += 1;
        }
        self.sequence += 1;
        let version = held.slot.version;
        self.memory.put(key.clone(), Held { last: self.sequence, ..held });
        let envelope = self.envelope(request, encoded.record_type.name, version, now);
        self.append(appender, key, envelope, encoded.payload, decision, reply)
    }

    /// Answers a repeat: at once if the first answer is confirmed, with it otherwise.
    fn answer_known(
        &mut self,
        context: &Context,
        request: &CommandRequest<A>,
        reply: Reply<A>,
    ) -> Result<Option<Reply<A>>, SteppedDown> {
        let id = request.command_id;
        if mutant("no-dedup") {
            return Ok(Some(reply));
        }
        if let Some(sequence) = self.pending_ids.get(&id) {
            if mutant("repeat-waits") {
                return Ok(self.answer_unconfirmed(*sequence, reply));
            }
            let oldest = self.pending.front().map_or(0, |pending| pending.sequence);
            let at = usize::try_from(sequence - oldest).unwrap_or(usize::MAX);
            match self.pending.get_mut(at) {
                Some(first) if first.envelope.fingerprint == request.fingerprint => first.repeats.push(reply),
                _ => answer::<A>(reply, Err(Failure::KeyReused)),
            }
            return Ok(None);
        }
        let Some(outcome) = self.memory.outcome(id)? else { return Ok(Some(reply)) };
        let here = outcome.topic == A::TOPIC.name && outcome.partition == self.partition.number;
        let again = if here && outcome.fingerprint == request.fingerprint {
            outcome.decided::<A>(&context.codec).map_err(|error| unreadable(&error))
        } else {
            Err(Failure::KeyReused)
        };
        answer::<A>(reply, again);
        Ok(None)
    }

    /// What no owner may do, for the mutant.
    fn answer_unconfirmed(&self, sequence: u64, reply: Reply<A>) -> Option<Reply<A>> {
        let ahead = self.pending.iter().position(|pending| pending.sequence == sequence);
        let Some((pending, ahead)) = ahead.and_then(|at| Some((self.pending.get(at)?, at as u64))) else {
            return Some(reply);
        };
        let position = Position { partition: self.partition, offset: self.confirmed.next + ahead };
        let (version, decision) = (pending.envelope.version, pending.decision.clone());
        answer::<A>(reply, Ok(Decided { position, version, replayed: true, decision }));
        None
    }

    fn envelope(&self, request: &CommandRequest<A>, record: &'static str, version: u64, now: Timestamp) -> Envelope {
        Envelope {
            id: request.command_id,
            record_type: Cow::Borrowed(record),
            subject: format!("{}/{}", A::TOPIC.aggregate, request.key),
            time: now,
            term: self.term,
            sequence: self.sequence,
            version,
            fingerprint: request.fingerprint,
            causation_id: request.causation_id,
            correlation_id: request.correlation_id,
            traceparent: request.traceparent.clone(),
        }
    }

    fn append(
        &mut self,
        appender: &dyn Appender,
        key: Bytes,
        envelope: Envelope,
        payload: Bytes,
        decision: Decision<A::Event>,
        reply: Reply<A>,
    ) -> Result<(), SteppedDown> {
        let record = Record { key, headers: Arc::new(envelope.to_headers(A::TOPIC.aggregate)), payload };
        let sequence = self.sequence;
        crash_point("before-append");
        appender
            .append(self.partition, &record, self.first_token + sequence)
            .map_err(|error| SteppedDown::Append { detail: error.detail, fatal: error.fatal })?;
        self.pending_ids.insert(envelope.id, sequence);
        self.pending.push_back(Pending {
            sequence,
            envelope,
            record,
            decision,
            handed_over: Instant::now(),
            first: reply,
            repeats: Vec::new(),
        });
        Ok(())
    }

    /// Whether this is about the oldest outstanding record, and that stands where it should; or of an earlier term.
    pub fn expects(&self, report: &Report) -> bool {
        let oldest = self.pending.front().map(|pending| self.first_token + pending.sequence);
        let stands = matches!(report.outcome, Ok(Appended { offset, .. }) if offset == Some(self.confirmed.next));
        report.token <= self.first_token || (stands && oldest == Some(report.token))
    }

    /// Takes what the log says of a record of this partition. Reports of earlier terms are ignored.
    pub fn confirm(&mut self, context: &Context, report: Report) -> Result<(), SteppedDown> {
        if report.token <= self.first_token {
            return Ok(());
        }
        let appended =
            report.outcome.map_err(|error| SteppedDown::Append { detail: error.detail, fatal: error.fatal })?;
        let oldest = self.pending.front().map(|pending| self.first_token + pending.sequence);
        if oldest != Some(report.token) && !mutant("confirm-order") {
            return Err(SteppedDown::OutOfOrder { token: report.token, oldest });
        }
        crash_point("after-append");
        match appended.offset {
            Some(offset) if offset == self.confirmed.next || mutant("confirm-offset") => self.settle(offset, appended),
            Some(offset) if offset > self.confirmed.next => {
                self.catch_up(context, offset)?;
                self.settle(offset, appended);
            }
            offset => return Err(SteppedDown::Offset { offset, expected: self.confirmed.next }),
        }
        Ok(())
    }

    /// Somebody else's records lie before `offset`: reads them, and ours there, by the rule that every reader follows.
    fn catch_up(&mut self, context: &Context, offset: u64) -> Result<(), SteppedDown> {
        let failed = |error: eventlog::TailError| SteppedDown::CatchUp(error.to_string());
        let ours = self.pending.front().map(|pending| pending.envelope.id);
        let begin = Instant::now();
        let from = [(self.partition, Some(self.checkpoint()))];
        let mut tail = Tail::open(context.log.as_ref(), &from).map_err(failed)?;
        while begin.elapsed() < CATCH_UP_MAX {
            let admitted = tail.poll(PENDING_MAX, Duration::from_millis(100)).map_err(failed)?;
            if let Some(found) = admitted.first() {
                let valid = found.offset == offset && Some(found.envelope.id) == ours;
                return if valid { Ok(()) } else { Err(SteppedDown::Deposed) };
            }
            if tail.next(self.partition) > offset {
                return Err(SteppedDown::Deposed);
            }
        }
        Err(SteppedDown::CatchUp(format!("nothing at {offset} within {} s", CATCH_UP_MAX.as_secs())))
    }

    /// The oldest outstanding record stands at `offset` and counts.
    fn settle(&mut self, offset: u64, appended: Appended) {
        let Some(pending) = self.pending.pop_front() else { return };
        self.pending_ids.remove(&pending.envelope.id);
        self.append_seconds.record(pending.handed_over.elapsed());
        self.confirmed = Checkpoint {
            next: offset + 1,
            terms: Terms { current: Some(self.term), sequence: pending.sequence },
            topic_id: self.confirmed.topic_id,
            last_record: self.confirmed.last_record,
        };
        let position = Position { partition: self.partition, offset };
        let version = pending.envelope.version;
        let event = match &pending.decision {
            Decision::Accepted(event) if self.flow.is_drawn() => Some(Decoded::new(event.clone())),
            _ => None,
        };
        let decided = Decided { position, version, replayed: false, decision: pending.decision };
        for repeat in pending.repeats {
            answer::<A>(repeat, Ok(Decided { replayed: true, ..decided.clone() }));
        }
        answer::<A>(pending.first, Ok(decided));
        crash_point("after-answer");
        let (partition, timestamp) = (self.partition, appended.timestamp);
        let (envelope, record) = (Arc::new(pending.envelope), pending.record);
        let stored = Stored {
            partition,
            offset,
            timestamp,
            record: record.clone(),
            envelope: Some(Arc::clone(&envelope)),
            event,
        };
        self.flow.tell(stored);
        self.memory.confirm(Admitted { partition, offset, timestamp, envelope, record, event: None });
    }

    /// Since when confirmed records wait for the store, if it is time to fold them.
    pub fn wants_fold(&self) -> Option<Instant> {
        let waiting = self.memory.waiting();
        let may = self.memory.may_fold() || waiting >= WAITING_MAX;
        let is_due = |since: &Instant| waiting >= UNFOLDED_MAX || since.elapsed() >= FOLD_AFTER;
        self.memory.waiting_since().filter(|since| may && is_due(since))
    }

    /// Begins to fold everything confirmed into the store, or waits where that cannot keep up.
    pub fn begin_fold(&mut self, context: &Context) -> Result<(), SteppedDown> {
        self.confirmed = self.checkpoint();
        Ok(self.memory.begin_fold(&context.codec, Folded { checkpoint: self.confirmed, base: self.base })?)
    }

    /// Takes note of a fold that has ended.
    pub fn end_fold(&mut self) -> Result<(), SteppedDown> {
        Ok(self.memory.end_fold()?)
    }

    /// Folds everything confirmed into the store.
    pub fn fold(&mut self, context: &Context) -> Result<(), SteppedDown> {
        self.begin_fold(context)?;
        Ok(self.memory.await_fold()?)
    }

    /// The checkpoint of everything confirmed; the digest of its last record is worked out only here.
    fn checkpoint(&self) -> Checkpoint {
        let last_record =
            self.memory.last().map_or(self.confirmed.last_record, |last| identity(last.timestamp, &last.record));
        Checkpoint { last_record, ..self.confirmed }
    }

    /// Everything confirmed, and what it stands on.
    pub fn folded(&self) -> Folded {
        Folded { checkpoint: self.checkpoint(), base: self.base }
    }

    /// What is known of a command here: `Some(None)` while it is not confirmed.
    pub fn lookup(&self, command_id: Uuid) -> Option<Option<Outcome>> {
        if self.pending_ids.contains_key(&command_id) {
            return Some(None);
        }
        self.memory.recent(command_id).map(|record| Some(Outcome::of(record)))
    }

    /// The number of the term, and the offset after the last confirmed record.
    pub fn standing(&self) -> (u64, u64) {
        (self.term.number, self.confirmed.next)
    }

    /// Nothing is outstanding.
    pub fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Gives an answer; a caller that stopped waiting asks again with the same id.
pub(crate) fn answer<A: Aggregate>(reply: Reply<A>, with: Result<Decided<A::Event>, Failure>) {
    if reply.send(with).is_err() {
        ::metrics::counter!(UNHEARD_ANSWERS, "topic" => A::TOPIC.name).increment(1);
    }
}

fn unreadable(error: &CodecError) -> Failure {
    Failure::Parked(error.in_full())
}
