//! What has to be so after every step, by the log alone and in words of its own: nothing here is shared with the code that is
//! judged but the domain and the codec.

use std::collections::{BTreeMap, BTreeSet};

use commands::Position;
use eventlog::simulated::SimulatedLog;
use eventlog::{Partition, Stored};
use schemas::{Codec, Envelope, Term};
use uuid::Uuid;

use crate::shop::{Given, Request, State, Word};

/// What the log says, as far as it is replicated.
pub(crate) struct Judge {
    codec: Codec,
    books: BTreeMap<Partition, Book>,
    /// By command id.
    requests: BTreeMap<Uuid, Request>,
    firsts: BTreeMap<Uuid, Given>,
}

#[derive(Default)]
struct Book {
    term: Option<Term>,
    last: u64,
    /// By offset: what counts.
    entries: Vec<Option<Entry>>,
    places: BTreeMap<Uuid, u64>,
    aggregates: BTreeMap<Vec<u8>, (u64, State)>,
    /// Terms that were known when the log lost acknowledged records: their owners may not know it yet.
    deceived: BTreeSet<(u64, u128)>,
}

struct Entry {
    id: Uuid,
    version: u64,
    word: Word,
    stored: Stored,
}

impl Judge {
    pub fn new() -> Self {
        Self { codec: Codec::local(), books: BTreeMap::new(), requests: BTreeMap::new(), firsts: BTreeMap::new() }
    }

    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The command is about to be sent.
    pub fn expect(&mut self, request: &Request) {
        self.requests.insert(request.id(), request.clone());
        self.books.entry(request.partition()).or_default();
    }

    /// Reads on. Returns the bytes that are new, for the trace.
    pub fn read(&mut self, log: &SimulatedLog) -> Result<Vec<Stored>, String> {
        let mut new = Vec::new();
        for (partition, book) in &mut self.books {
            for stored in log.replicated(*partition, book.entries.len() as u64) {
                let place = format!("{partition}@{}", stored.offset);
                book.read(&self.codec, &self.requests, &stored).map_err(|what| format!("{place}: {what}"))?;
                new.push(stored);
            }
        }
        Ok(new)
    }

    /// A client got this answer for the command.
    pub fn answered(&mut self, id: Uuid, given: &Given, log: &SimulatedLog) -> Result<(), String> {
        let Position { partition, offset } = given.position;
        let book = self.books.get(&partition).ok_or("an answer for an unknown partition")?;
        let entry = usize::try_from(offset).ok().and_then(|offset| book.entries.get(offset)).and_then(Option::as_ref);
        let right =
            entry.is_some_and(|entry| entry.id == id && entry.version == given.version && entry.word == given.word);
        if !right && book.is_deceived(id, &log.history(partition)) {
            return Ok(());
        }
        if !right {
            let there = entry.map(|entry| (entry.id, entry.version, &entry.word));
            return Err(format!("{id} was answered {given:?}, but what counts there is {there:?}"));
        }
        match self.firsts.get(&id) {
            Some(first) if first != given => Err(format!("{id} was answered {first:?} first, and now {given:?}")),
            _ => {
                self.firsts.insert(id, given.clone());
                Ok(())
            }
        }
    }

    pub fn is_answered(&self, id: Uuid) -> bool {
        self.firsts.contains_key(&id)
    }

    /// The log is about to forget `partition` from `end` on.
    pub fn truncated(&mut self, partition: Partition, end: u64, log: &SimulatedLog) -> Result<(), String> {
        let Some(book) = self.books.get_mut(&partition) else { return Ok(()) };
        if end >= book.entries.len() as u64 {
            return Ok(());
        }
        let terms = log.history(partition);
        let terms = terms.iter().filter_map(|record| Envelope::from_headers(&record.headers).ok());
        let mut fresh = Book { deceived: std::mem::take(&mut book.deceived), ..Book::default() };
        fresh.deceived.extend(terms.map(|envelope| (envelope.term.number, envelope.term.nonce)));
        for stored in log.replicated(partition, 0).iter().take_while(|stored| stored.offset < end) {
            fresh.read(&self.codec, &self.requests, stored)?;
        }
        *book = fresh;
        self.firsts.retain(|_, given| given.position.partition != partition || given.position.offset < end);
        Ok(())
    }

    /// Every owner has had the time to notice that the log lost something.
    pub fn nobody_is_deceived(&mut self) {
        self.books.values_mut().for_each(|book| book.deceived.clear());
    }

    /// Everything in `partition` that counts.
    pub fn valid(&self, partition: Partition) -> impl Iterator<Item = &Stored> {
        self.books.get(&partition).into_iter().flat_map(|book| &book.entries).flatten().map(|entry| &entry.stored)
    }

    pub fn partitions(&self) -> Vec<Partition> {
        self.books.keys().copied().collect()
    }
}

impl Book {
    fn read(&mut self, codec: &Codec, requests: &BTreeMap<Uuid, Request>, stored: &Stored) -> Result<(), String> {
        let entry = match Envelope::from_headers(&stored.record.headers) {
            Ok(envelope) if self.counts(&envelope) => Some(self.check(codec, requests, &envelope, stored)?),
            _ => None,
        };
        self.entries.push(entry);
        Ok(())
    }

    /// The reader's rule.
    fn counts(&mut self, envelope: &Envelope) -> bool {
        let Term { number, nonce } = envelope.term;
        if envelope.is_claim() {
            if self.term.is_none_or(|open| number > open.number) {
                (self.term, self.last) = (Some(envelope.term), 0);
            }
            return false;
        }
        let next = self.term.is_some_and(|open| (open.number, open.nonce) == (number, nonce))
            && envelope.sequence == self.last + 1;
        self.last += u64::from(next);
        next
    }

    /// A decision that counts: the only one of its command, made on exactly what counts before it, with the next version.
    fn check(
        &mut self,
        codec: &Codec,
        requests: &BTreeMap<Uuid, Request>,
        envelope: &Envelope,
        stored: &Stored,
    ) -> Result<Entry, String> {
        let id = envelope.id;
        if let Some(before) = self.places.insert(id, stored.offset) {
            return Err(format!("command {id} counts already at {before}"));
        }
        let request = requests.get(&id).ok_or_else(|| format!("nobody sent command {id}"))?;
        let (version, state) =
            self.aggregates.entry(stored.record.key.to_vec()).or_insert_with(|| (0, State::new(stored.partition)));
        let right = request.right_word(*version, state, envelope.time);
        let word = state.read(codec, envelope, stored)?;
        *version += u64::from(matches!(word, Word::Accepted(_)));
        if envelope.version != *version {
            return Err(format!("version {} where {version} is due", envelope.version));
        }
        if word != right {
            return Err(format!("decided {word:?} where the log before it makes {right:?}"));
        }
        Ok(Entry { id, version: *version, word, stored: stored.clone() })
    }

    /// Whether the command was decided under a term whose owner may not know that acknowledged records are lost.
    fn is_deceived(&self, id: Uuid, history: &[eventlog::Record]) -> bool {
        let mut envelopes = history.iter().filter_map(|record| Envelope::from_headers(&record.headers).ok());
        envelopes
            .any(|envelope| envelope.id == id && self.deceived.contains(&(envelope.term.number, envelope.term.nonce)))
    }
}
