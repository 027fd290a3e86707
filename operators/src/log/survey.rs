//! What is known of a partition: how far it was read from its start, what the reader's rule said of the records, and places
//! from which it can be read again without beginning at the start.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Timestamp;
use eventlog::tail::identity;
use eventlog::{EventLog, LogError, Partition, Stored, Terms, Verdict};
use parking_lot::Mutex;

use super::is_ruled;

/// How many records lie between two places.
const MARK_EVERY: u64 = 10_000;
/// How long one request may read.
const READING: Duration = Duration::from_secs(5);
/// Records of one poll.
const POLL_RECORDS: usize = 2_000;
/// How long a poll waits; records that were there once are there.
const POLL: Duration = Duration::from_millis(250);

/// After how long without any record the log counts as not answering.
const SILENCE: Duration = Duration::from_secs(3);

/// What is known of each partition.
pub struct Surveys {
    of: Mutex<HashMap<Partition, Arc<Mutex<Survey>>>>,
    reading: Duration,
}

impl Default for Surveys {
    fn default() -> Self {
        Self::reading_for(READING)
    }
}

impl Surveys {
    /// One request reads for so long, and at least one batch.
    #[must_use]
    pub fn reading_for(reading: Duration) -> Self {
        Self { of: Mutex::default(), reading }
    }

    /// When a request that begins now is to be answered.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.reading
    }

    /// What is known of `partition`. Locked while somebody reads on.
    pub(super) fn of(&self, partition: Partition) -> Arc<Mutex<Survey>> {
        Arc::clone(self.of.lock().entry(partition).or_default())
    }
}

/// What is known of one partition.
#[derive(Default)]
pub(super) struct Survey {
    /// How far it was read.
    front: Place,
    /// What stands before that.
    tally: Tally,
    /// Places before that, ascending.
    marks: Vec<Place>,
}

/// A place in the log, and what a reader who begins there must know.
#[derive(Debug, Clone, Copy)]
struct Place {
    next: u64,
    terms: Terms,
    /// Of the record before it.
    time: Timestamp,
    /// Of the record before it: tells whether the log still has the past that was read.
    identity: u128,
}

impl Default for Place {
    fn default() -> Self {
        Self { next: 0, terms: Terms::default(), time: Timestamp(i64::MIN), identity: 0 }
    }
}

/// What stands in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub records: u64,
    pub valid: u64,
    pub claims: u64,
    pub void: BTreeMap<&'static str, u64>,
    pub bytes: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// After the last record.
    pub terms: Terms,
}

/// From where records are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// From this offset on.
    Offset(u64),
    /// From the first one on that the log appended then or later.
    Since(Timestamp),
}

impl Start {
    fn is_after(self, place: &Place) -> bool {
        match self {
            Self::Offset(offset) => place.next <= offset,
            Self::Since(time) => place.time < time,
        }
    }

    fn wants(self, stored: &Stored) -> bool {
        match self {
            Self::Offset(offset) => stored.offset >= offset,
            Self::Since(time) => stored.timestamp >= time,
        }
    }
}

/// Sees each record that is wanted, with what the rule says of it where there is one, and may have enough.
pub(super) type Visit<'v> = &'v mut dyn FnMut(Stored, Option<Verdict>) -> ControlFlow<()>;

/// Where reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// Offset of the next record.
    pub next: u64,
    /// Some record was shown, or there is none any more that could be.
    pub begun: bool,
}

/// What is read: `to` is an end that the log had.
pub(super) struct Reading<'l> {
    pub log: &'l dyn EventLog,
    pub partition: Partition,
    pub to: u64,
    pub deadline: Instant,
}

impl Survey {
    /// Shows the records from `start` on, up to the end or the deadline.
    pub(super) fn show(&mut self, reading: &Reading<'_>, start: Start, visit: Visit<'_>) -> Result<Reached, LogError> {
        loop {
            let base = self.base(reading, start);
            if let Some(reached) = self.read(reading, base, start, visit)? {
                return Ok(reached);
            }
            tracing::warn!(partition = %reading.partition, "the log is not the one that was read; reading it from its start");
            *self = Self::default();
        }
    }

    /// Reads on and says what stands before `next`.
    pub(super) fn tally(&mut self, reading: &Reading<'_>) -> Result<(Tally, u64), LogError> {
        let nobody = &mut |_, _| ControlFlow::Continue(());
        let reached = self.show(reading, Start::Offset(u64::MAX), nobody)?;
        Ok((Tally { terms: self.front.terms, ..self.tally.clone() }, reached.next))
    }

    /// The last place from which `start` can be reached. Without a rule every place is one.
    fn base(&self, reading: &Reading<'_>, start: Start) -> Place {
        match start {
            Start::Offset(next) if !is_ruled(reading.partition.topic) && next < self.front.next => {
                Place { next, ..Place::default() }
            }
            _ if start.is_after(&self.front) => self.front,
            _ => self.marks.iter().rev().find(|mark| start.is_after(mark)).copied().unwrap_or_default(),
        }
    }

    /// `None` where the log is another one than was read.
    fn read(
        &mut self,
        reading: &Reading<'_>,
        base: Place,
        start: Start,
        visit: Visit<'_>,
    ) -> Result<Option<Reached>, LogError> {
        let Reading { log, partition, to, deadline } = *reading;
        if base.next > to {
            return Ok(None);
        }
        let begun = |next: u64| next >= to || matches!(start, Start::Offset(offset) if next >= offset);
        if base.next == to {
            return Ok(Some(Reached { next: to, begun: true }));
        }
        let started = Instant::now();
        let mut place = base;
        let mut unverified = base.identity != 0;
        let mut reader = log.reader(&[(partition, base.next - u64::from(unverified))])?;
        let mut shown = false;
        let known = self.front.next;
        // The way from a remembered place is short, and would have to be gone again.
        let on_the_way = |next: u64, shown: bool| next < known && !shown && !begun(next);
        let goes_on = |next: u64, shown: bool| match next == base.next {
            true => started.elapsed() < SILENCE,
            false => next < to && (Instant::now() < deadline || on_the_way(next, shown)),
        };
        while goes_on(place.next, shown) {
            for stored in reader.poll(POLL_RECORDS, POLL)? {
                if std::mem::take(&mut unverified) {
                    if identity(stored.timestamp, &stored.record) != base.identity {
                        return Ok(None);
                    }
                    continue;
                }
                if stored.offset >= to {
                    place.next = to;
                    break;
                }
                let verdict = self.pass(&mut place, &stored);
                if start.wants(&stored) {
                    shown = true;
                    if visit(stored, verdict).is_break() {
                        return Ok(Some(Reached { next: place.next, begun: true }));
                    }
                }
            }
        }
        if place.next == base.next {
            let doing = format!("reading {partition} from {}", base.next);
            return Err(LogError::Unavailable { doing, detail: "nothing comes".to_owned() });
        }
        Ok(Some(Reached { next: place.next, begun: shown || begun(place.next) }))
    }

    /// Goes on by one record, and remembers it where nobody was before.
    fn pass(&mut self, place: &mut Place, stored: &Stored) -> Option<Verdict> {
        let verdict = is_ruled(stored.partition.topic).then(|| place.terms.read(&stored.envelope()));
        place.next = stored.offset + 1;
        place.time = stored.timestamp;
        if place.next > self.front.next {
            self.tally.count(stored, verdict);
            place.identity = identity(stored.timestamp, &stored.record);
            self.front = *place;
            if self.marks.last().map_or(0, |mark| mark.next) + MARK_EVERY <= place.next {
                self.marks.push(*place);
            }
        }
        verdict
    }
}

impl Tally {
    fn count(&mut self, stored: &Stored, verdict: Option<Verdict>) {
        let record = &stored.record;
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.records += 1;
        self.bytes += (record.key.len() + headers + record.payload.len()) as u64;
        self.first.get_or_insert(stored.timestamp);
        self.last = Some(stored.timestamp);
        match verdict {
            Some(Verdict::Valid) => self.valid += 1,
            Some(Verdict::Claim) => self.claims += 1,
            Some(Verdict::Void(reason)) => *self.void.entry(reason.as_str()).or_default() += 1,
            None => {}
        }
    }
}
