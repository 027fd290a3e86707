//! Writes random histories as owners would: claims, events, refusals, decisions that changed nothing, and what zombies
//! leave behind. Everything follows from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use domain::decider::Decider;
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use domain::money::{Currency, Money};
use domain::order::{Line, Lines, Order, OrderCommand, OrderEvent, UnitPrice};
use domain::stock::{StockCommand, StockEvent, StockItem};
use eventlog::{Admitted, Partition, Record};
use lonja_projections::parking::{Cause, ParkedEvent, ParkedKey};
use schemas::topics::{COMMAND_REFUSED, ORDER, STOCK, TERM_STARTED};
use schemas::wire::log::{encode_claim, encode_refusal, encode_unchanged};
use schemas::{Codec, Contract, Encoded, Envelope, Refusal, Term};
use uuid::Uuid;

use crate::log::MemoryLog;

/// Milliseconds since 1970 at which every history begins.
const START: i64 = 1_700_000_000_000;
/// Customers, and SKUs, of a history.
const NAMES: u64 = 5;

/// Numbers that follow from a seed.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// A history in the making.
pub struct History {
    pub log: MemoryLog,
    pub codec: Arc<Codec>,
    pub random: Random,
    now: i64,
    terms: BTreeMap<Partition, (Term, u64)>,
    orders: BTreeMap<Uuid, (Order, u64)>,
    items: BTreeMap<String, (StockItem, u64)>,
}

impl History {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            log: MemoryLog::default(),
            codec: Arc::new(Codec::local()),
            random: Random::new(seed),
            now: START,
            terms: BTreeMap::new(),
            orders: BTreeMap::new(),
            items: BTreeMap::new(),
        }
    }

    /// Appends the outcome of `count` random commands, with takeovers and zombies between them.
    pub fn go_on(&mut self, count: usize) {
        for _ in 0..count {
            self.now += i64::try_from(self.random.below(3)).unwrap();
            match self.random.below(20) {
                0..=8 => self.place(),
                9..=11 => self.cancel(),
                12 => self.take_over(),
                13 => self.haunt(),
                _ => self.stock(),
            }
        }
    }

    fn place(&mut self) {
        let id = self.random.uuid();
        let lines = (0..=self.random.below(3)).map(|_| Line {
            sku: Sku::parse(&format!("sku{}", self.random.below(NAMES))).unwrap(),
            quantity: Quantity::new(1 + self.random.below(9)).unwrap(),
            unit_price: UnitPrice::new(i64::try_from(self.random.below(10_000)).unwrap()).unwrap(),
        });
        let lines = Lines::new(lines.collect()).unwrap();
        let customer = self.random.below(NAMES);
        self.place_for(id, customer, lines);
    }

    /// Places an order of `customer`.
    pub fn place_for(&mut self, id: Uuid, customer: u64, lines: Lines) -> (Partition, u64) {
        self.order(
            id,
            &OrderCommand::PlaceOrder {
                order_id: OrderId(id),
                customer_id: CustomerId::parse(&format!("customer{customer}")).unwrap(),
                currency: if customer == 0 { Currency::JPY } else { Currency::EUR },
                lines,
            },
        )
    }

    fn cancel(&mut self) {
        let at = usize::try_from(self.random.below(1 + self.orders.len() as u64)).unwrap();
        let id = self.orders.keys().nth(at).copied().unwrap_or_default();
        let reason = Text::parse("changed my “mind” ✓ \\ '").unwrap();
        self.order(id, &OrderCommand::CancelOrder { order_id: OrderId(id), reason });
    }

    fn stock(&mut self) {
        let sku = Sku::parse(&format!("Sku{}", self.random.below(3 * NAMES))).unwrap();
        let reservation_id = ReservationId::parse(&format!("r{}", self.random.below(9))).unwrap();
        let command = match self.random.below(5) {
            0 => StockCommand::ReceiveStock {
                sku: sku.clone(),
                quantity: DeliveredQuantity::new(1 + self.random.below(20)).unwrap(),
                reference: Text::parse(&format!("d{}", self.random.below(30))).unwrap(),
            },
            1 | 2 => StockCommand::ReleaseReservation { sku: sku.clone(), reservation_id },
            _ => StockCommand::ReserveStock {
                sku: sku.clone(),
                reservation_id,
                quantity: Quantity::new(1 + self.random.below(5)).unwrap(),
            },
        };
        let (item, version) = self.items.remove(sku.as_str()).unwrap_or_default();
        let (item, version, _) = self.decide(item, version, sku.as_str(), &command);
        self.items.insert(sku.as_str().to_owned(), (item, version));
    }

    fn order(&mut self, id: Uuid, command: &OrderCommand) -> (Partition, u64) {
        let (order, version) = self.orders.remove(&id).unwrap_or_default();
        let (order, version, position) = self.decide(order, version, &id.to_string(), command);
        self.orders.insert(id, (order, version));
        position
    }

    fn decide<A: Contract>(
        &mut self,
        state: A,
        version: u64,
        key: &str,
        command: &A::Command,
    ) -> (A, u64, (Partition, u64)) {
        let partition = Partition::of(A::TOPIC, key.as_bytes());
        let name = A::command_name(command);
        let decision = Decider::decide(&state, command, Timestamp(self.now));
        let encoded = match &decision {
            Ok(Some(event)) => A::encode(&self.codec, event).unwrap(),
            Ok(None) => encode_unchanged(&self.codec, A::TOPIC, name).unwrap(),
            Err(rejection) => encode_refusal(&self.codec, A::TOPIC, &Refusal::new(name, rejection)).unwrap(),
        };
        let (state, version) = match &decision {
            Ok(Some(event)) => (state.evolve(event), version + 1),
            _ => (state, version),
        };
        let offset = self.append(partition, key, version, encoded);
        (state, version, (partition, offset))
    }

    /// Appends a decision by the partition's owner.
    pub fn append(&mut self, partition: Partition, key: &str, version: u64, encoded: Encoded) -> u64 {
        if !self.terms.contains_key(&partition) {
            self.claim(partition);
        }
        let (term, sequence) = self.terms.get_mut(&partition).unwrap();
        *sequence += 1;
        let (term, sequence) = (*term, *sequence);
        let record = self.record(partition, key, version, term, sequence, encoded);
        self.log.append(partition, record)
    }

    /// Lines of one unit of tea.
    pub fn tea() -> Lines {
        let quantity = Quantity::new(1).unwrap();
        let line = Line { sku: Sku::parse("tea").unwrap(), quantity, unit_price: UnitPrice::new(5).unwrap() };
        Lines::new(vec![line]).unwrap()
    }

    /// Appends that the order was cancelled, whatever the domain knows of it.
    pub fn cancel_of(&mut self, id: Uuid, version: u64) {
        let event = OrderEvent::OrderCancelled {
            order_id: OrderId(id),
            reason: Text::parse("late").unwrap(),
            total: Money { amount: 5, currency: Currency::EUR },
            cancelled_at: Timestamp(self.now),
        };
        self.event::<Order>(&id.to_string(), version, &event);
    }

    /// Appends that units of `sku` are held, and so many are left.
    pub fn reserve_of(&mut self, sku: &str, version: u64, available_after: u64) {
        let event = StockEvent::StockReserved {
            sku: Sku::parse(sku).unwrap(),
            reservation_id: ReservationId::parse("r").unwrap(),
            quantity: Quantity::new(1).unwrap(),
            available_after,
        };
        self.event::<StockItem>(sku, version, &event);
    }

    /// Appends that units of `sku` arrived, the first ones.
    pub fn receive_of(&mut self, sku: &str, version: u64, quantity: u64) {
        self.event::<StockItem>(sku, version, &received(sku, quantity));
    }

    /// What would be written if so many units of `sku` arrived, the first ones.
    pub fn received_payload(&self, sku: &str, quantity: u64) -> Bytes {
        StockItem::encode(&self.codec, &received(sku, quantity)).unwrap().payload
    }

    fn event<A: Contract>(&mut self, key: &str, version: u64, event: &A::Event) {
        let encoded = A::encode(&self.codec, event).unwrap();
        self.append(Partition::of(A::TOPIC, key.as_bytes()), key, version, encoded);
    }

    /// The first two events of each key, parked.
    pub fn parked_by_hand(&self, keys: &[ParkedKey]) -> Vec<ParkedEvent> {
        let of = |key: &ParkedKey| {
            let records = self.log.records(key.partition).into_iter().filter(|stored| stored.record.key == key.key);
            let parked = records.map(|stored| {
                let envelope = Envelope::from_headers(&stored.record.headers).unwrap().into();
                let eventlog::Stored { partition, offset, timestamp, record, .. } = stored;
                let admitted = Admitted { partition, offset, timestamp, envelope, record, event: None };
                ParkedEvent::of(&admitted, Cause::Behind)
            });
            parked.take(2).collect::<Vec<_>>()
        };
        keys.iter().flat_map(of).collect()
    }

    fn claim(&mut self, partition: Partition) {
        let number = self.terms.get(&partition).map_or(1, |(term, _)| term.number + 1);
        let term = Term { number, nonce: self.random.uuid().as_u128() };
        let payload = encode_claim(&self.codec, partition.topic, term, "node").unwrap();
        let key = format!("{}/{}", partition.topic.aggregate, partition.number);
        let encoded = Encoded { record_type: &TERM_STARTED, payload };
        let record = self.record(partition, &key, 0, term, 0, encoded);
        self.log.append(partition, record);
        self.terms.insert(partition, (term, 0));
    }

    fn some_partition(&mut self) -> Partition {
        let topic = if self.random.below(2) == 0 { &ORDER } else { &STOCK };
        let number = u32::try_from(self.random.below(topic.partitions.into())).unwrap();
        Partition { topic, number }
    }

    fn take_over(&mut self) {
        let partition = self.some_partition();
        self.claim(partition);
    }

    /// A record that does not count: of a term that nobody opened, or out of its sequence.
    fn haunt(&mut self) {
        let partition = self.some_partition();
        let Some((mut term, sequence)) = self.terms.get(&partition).copied() else { return };
        if self.random.below(2) == 0 {
            term.nonce ^= 1;
        }
        let refusal = Refusal { command: "Haunt".into(), code: "x".into(), detail: "x".into(), facts: BTreeMap::new() };
        let encoded = encode_refusal(&self.codec, partition.topic, &refusal).unwrap();
        let record = self.record(partition, "ghost", 1, term, sequence + 2, encoded);
        self.log.append(partition, record);
    }

    /// Appends what the domain could not read, as an owner.
    pub fn append_garbage(&mut self, partition: Partition) -> u64 {
        let record_type = &partition.topic.records[0];
        assert_ne!(record_type, &COMMAND_REFUSED);
        self.append(partition, "garbage", 1, Encoded { record_type, payload: Bytes::from_static(b"\0\0\0\0\x07?") })
    }

    fn record(
        &mut self,
        partition: Partition,
        key: &str,
        version: u64,
        term: Term,
        sequence: u64,
        encoded: Encoded,
    ) -> Record {
        let id = self.random.uuid();
        let envelope = Envelope {
            id,
            record_type: encoded.record_type.name.into(),
            subject: format!("{}/{key}", partition.topic.aggregate),
            time: Timestamp(self.now),
            term,
            sequence,
            version,
            fingerprint: 1,
            causation_id: id,
            correlation_id: id,
            traceparent: None,
        };
        let headers = envelope.to_headers(partition.topic.aggregate);
        Record { key: Bytes::copy_from_slice(key.as_bytes()), headers: headers.into(), payload: encoded.payload }
    }
}

fn received(sku: &str, quantity: u64) -> StockEvent {
    StockEvent::StockReceived {
        sku: Sku::parse(sku).unwrap(),
        quantity: DeliveredQuantity::new(quantity).unwrap(),
        reference: Text::parse("d").unwrap(),
        on_hand_after: quantity,
        available_after: quantity,
    }
}
