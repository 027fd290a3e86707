//! Partitions as a hostile day leaves them: owners deposed alive, records written twice, records missing.

use std::borrow::Cow;

use bytes::Bytes;
use domain::Timestamp;
use domain::ids::{CustomerId, OrderId, Quantity, Sku};
use domain::money::{Currency, Money};
use domain::order::{Line, Lines, Order, OrderEvent, UnitPrice};
use eventlog::Terms;
use schemas::topics::{ORDER, TERM_STARTED};
use schemas::wire::log::{encode_claim, encode_unchanged};
use schemas::{Codec, Contract, Encoded, Envelope, Headers, Term};
use uuid::Uuid;

/// 2025-06-01T00:00:00Z.
const FIRST_DAY_MS: i64 = 1_748_736_000_000;

/// A record to be written as it is.
#[derive(Clone)]
pub struct Planted {
    pub key: String,
    pub headers: Headers,
    pub payload: Bytes,
}

/// Writes one partition, record by record. The same seed gives the same partition.
pub struct Planter<'c> {
    codec: &'c Codec,
    random: u64,
    /// Where the rule stands, so that enough of what is written counts.
    rule: Terms,
    terms: Vec<Term>,
    written: Vec<Planted>,
}

impl<'c> Planter<'c> {
    pub fn new(codec: &'c Codec, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { codec, random, rule: Terms::default(), terms: Vec::new(), written: Vec::new() }
    }

    /// `count` records.
    pub fn plant(mut self, count: usize) -> Vec<Planted> {
        // Before the first claim nothing counts.
        self.order(Term { number: 1, nonce: 999 }, 1);
        self.claim(1);
        while self.written.len() < count {
            let current = self.rule.current.unwrap();
            let next = self.rule.sequence + 1;
            match self.below(100) {
                0..=54 => self.order(current, next),
                55..=61 => self.unchanged(current, next),
                62..=69 => self.claim(current.number + 1),
                // Somebody who claimed at the same time, and one who skipped numbers.
                70..=72 => self.claim(current.number),
                73..=74 => self.claim(current.number + 3),
                75..=82 => self.zombie(current),
                83..=85 => self.hole(current, next + 1),
                // A copy of anything, claims too.
                86..=95 => {
                    let index = self.index(self.written.len());
                    let copy = self.written[index].clone();
                    self.append(copy);
                }
                _ => self.stranger(current, next),
            }
        }
        self.written
    }

    /// Somebody who was deposed, or never was an owner, goes on.
    fn zombie(&mut self, current: Term) {
        let index = self.index(self.terms.len());
        let term = self.terms[index];
        if term != current {
            let sequence = 1 + self.below(20);
            self.order(term, sequence);
        }
    }

    /// A record is lost and those behind it are not: void, all of them, until the next claim. A lost record never comes
    /// later, because an idempotent producer writes in order or not at all; the SQL relies on that.
    fn hole(&mut self, term: Term, from: u64) {
        for sequence in from..from + 3 {
            self.order(term, sequence);
        }
        self.claim(term.number + 1);
    }

    fn claim(&mut self, number: u64) {
        let term = Term { number, nonce: u128::from(self.draw()) };
        self.terms.push(term);
        let payload = encode_claim(self.codec, &ORDER, term, "test").unwrap();
        let record = self.record(term, 0, Encoded { record_type: &TERM_STARTED, payload });
        self.append(record);
    }

    fn order(&mut self, term: Term, sequence: u64) {
        let event = self.event();
        let encoded = Order::encode(self.codec, &event).unwrap();
        let record = self.record(term, sequence, encoded);
        self.append(record);
    }

    fn unchanged(&mut self, term: Term, sequence: u64) {
        let encoded = encode_unchanged(self.codec, &ORDER, "CancelOrder").unwrap();
        let record = self.record(term, sequence, encoded);
        self.append(record);
    }

    /// A record of a producer that knows nothing of terms, or spells them in its own way.
    fn stranger(&mut self, term: Term, sequence: u64) {
        let event = self.event();
        let encoded = Order::encode(self.codec, &event).unwrap();
        let mut record = self.record(term, sequence, encoded);
        match self.below(4) {
            0 => record.headers.clear(),
            1 => record.headers.retain(|(name, _)| name != "lonja_fingerprint"),
            2 => set(&mut record.headers, "lonja_term", b"none"),
            _ => set(&mut record.headers, "lonja_sequence", b"\xff\xfe"),
        }
        self.append(record);
    }

    fn append(&mut self, record: Planted) {
        if let Ok(envelope) = Envelope::from_headers(&record.headers) {
            self.rule.admit(&envelope);
        }
        self.written.push(record);
    }

    fn event(&mut self) -> OrderEvent {
        let price = i64::try_from(1 + self.below(100_000)).unwrap();
        let at = FIRST_DAY_MS + i64::try_from(self.below(5 * 86_400_000)).unwrap();
        let line = Line {
            sku: Sku::parse("tea").unwrap(),
            quantity: Quantity::new(1).unwrap(),
            unit_price: UnitPrice::new(price).unwrap(),
        };
        OrderEvent::OrderPlaced {
            order_id: OrderId(Uuid::from_u128(u128::from(self.draw()))),
            customer_id: CustomerId::parse("ann").unwrap(),
            lines: Lines::new(vec![line]).unwrap(),
            total: Money { amount: price, currency: Currency::EUR },
            placed_at: Timestamp(at),
        }
    }

    fn record(&mut self, term: Term, sequence: u64, encoded: Encoded) -> Planted {
        let id = Uuid::from_u128(u128::from(self.draw()));
        let envelope = Envelope {
            id,
            record_type: Cow::Borrowed(encoded.record_type.name),
            subject: format!("order/{id}"),
            time: Timestamp(FIRST_DAY_MS),
            term,
            sequence,
            version: 1,
            fingerprint: 1,
            causation_id: id,
            correlation_id: id,
            traceparent: None,
        };
        Planted { key: id.to_string(), headers: envelope.to_headers(ORDER.aggregate), payload: encoded.payload }
    }

    fn draw(&mut self) -> u64 {
        // Marsaglia's xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

fn set(headers: &mut Headers, name: &str, value: &'static [u8]) {
    for (_, old) in headers.iter_mut().filter(|(header, _)| header == name) {
        *old = Bytes::from_static(value);
    }
}
