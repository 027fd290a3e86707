//! The one table of topics.

/// One kind of record that may stand on a topic.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordType {
    /// Full Avro name; also the record's `ce_type`.
    pub name: &'static str,
    /// The schema with which it is written.
    pub schema: &'static str,
}

macro_rules! record_type {
    ($(#[$doc:meta])* $constant:ident, $name:literal) => {
        $(#[$doc])*
        pub const $constant: RecordType =
            RecordType { name: $name, schema: include_str!(concat!("../avro/", $name, ".avsc")) };
    };
}

record_type!(/// A claim of an owner.
    TERM_STARTED, "lonja.log.TermStarted");
record_type!(/// A recorded "no".
    COMMAND_REFUSED, "lonja.log.CommandRefused");
record_type!(/// A recorded "so already".
    COMMAND_UNCHANGED, "lonja.log.CommandUnchanged");
record_type!(/// An order was placed.
    ORDER_PLACED, "lonja.order.OrderPlaced");
record_type!(/// An order was cancelled.
    ORDER_CANCELLED, "lonja.order.OrderCancelled");
record_type!(/// Units arrived.
    STOCK_RECEIVED, "lonja.stock.StockReceived");
record_type!(/// Units are held.
    STOCK_RESERVED, "lonja.stock.StockReserved");
record_type!(/// A hold was given up.
    RESERVATION_RELEASED, "lonja.stock.ReservationReleased");

/// A topic and what must be so about it.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// The aggregate type; the first part of every `ce_subject`.
    pub aggregate: &'static str,
    /// What the record's key is.
    pub key: &'static str,
    /// How many partitions. Part of the data: it never changes.
    pub partitions: u32,
    /// What may stand on it.
    pub records: &'static [RecordType],
    /// Its settings, as Kafka names them; checked at each start.
    pub settings: &'static [(&'static str, &'static str)],
}

/// By name, which is unique among [`ALL`]: partitions are compared for every record, and their schemas are long.
impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.name == other.name
    }
}

impl Eq for Topic {}

/// Settings of a log that is the truth: nothing is ever deleted or compacted, and the broker stamps the time, because a
/// client's clock must not decide when the broker forgets a producer.
pub const EVENTS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", "1048588"),
];

/// Events of orders.
pub static ORDER: Topic = Topic {
    name: "order.events",
    aggregate: "order",
    key: "order id (UUID)",
    partitions: 12,
    records: &[ORDER_PLACED, ORDER_CANCELLED, COMMAND_REFUSED, COMMAND_UNCHANGED, TERM_STARTED],
    settings: EVENTS,
};

/// Events of stock items.
pub static STOCK: Topic = Topic {
    name: "stock.events",
    aggregate: "stock",
    key: "SKU",
    partitions: 12,
    records: &[STOCK_RECEIVED, STOCK_RESERVED, RESERVATION_RELEASED, COMMAND_REFUSED, COMMAND_UNCHANGED, TERM_STARTED],
    settings: EVENTS,
};

/// Where owners say at which address they are: JSON, the latest word of each partition. A hint; nothing depends on it but
/// the way that a command takes.
pub static OWNERS: Topic = Topic {
    name: "lonja.owners",
    aggregate: "owner",
    key: "topic/partition that is owned",
    partitions: 1,
    records: &[],
    settings: &[("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")],
};

/// What operators did, each on record before it took effect: JSON, one entry a record. No topic of events: its records are
/// decided by nobody, so they carry no term, and each of them counts.
pub static AUDIT: Topic =
    Topic { name: "lonja.audit", aggregate: "audit", key: "operator", partitions: 1, records: &[], settings: EVENTS };

/// Every topic of events.
pub static ALL: &[&Topic] = &[&ORDER, &STOCK];

/// Every topic on the brokers.
pub fn every() -> impl Iterator<Item = &'static Topic> {
    ALL.iter().copied().chain([&OWNERS, &AUDIT])
}

/// Every topic of an embedded log, whose one process owns everything.
pub static EMBEDDED: &[&Topic] = &[&ORDER, &STOCK, &AUDIT];

/// The topic of events called `name`.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Topic> {
    ALL.iter().copied().find(|topic| topic.name == name)
}

impl Topic {
    /// The partition of `key`: Kafka's default partitioner (murmur2), so that any client finds the same one.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        (murmur2(key) & 0x7fff_ffff) % self.partitions
    }

    /// The registry's subject of one record type here (`TopicRecordNameStrategy`).
    #[must_use]
    pub fn subject(&self, record: &RecordType) -> String {
        format!("{}-{}", self.name, record.name)
    }
}

/// Murmur2 as `org.apache.kafka.common.utils.Utils.murmur2` has it, seed included.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    #[allow(clippy::cast_possible_truncation, reason = "keys are far below 4 GiB")]
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn a_schema_file_says_the_name_that_it_stands_under() {
        for record in ALL.iter().flat_map(|topic| topic.records) {
            let schema = apache_avro::Schema::parse_str(record.schema).unwrap();
            assert_eq!(schema.name().unwrap().fullname(None), record.name);
        }
    }
}
