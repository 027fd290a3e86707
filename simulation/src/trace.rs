//! What happened, as a hash, and in words where somebody wants to read it.

use eventlog::Stored;

/// How many of the latest notes are kept.
const NOTES_MAX: usize = 20_000;

pub(crate) struct Trace {
    hash: u64,
    pub steps: u64,
    pub records: u64,
    /// Kept where somebody wants them.
    pub notes: Option<Vec<String>>,
}

impl Trace {
    pub fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, records: 0, notes: verbose.then(Vec::new) }
    }

    /// FNV-1a.
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        self.mix(what.as_bytes());
        let step = self.steps;
        if let Some(notes) = &mut self.notes {
            if notes.len() >= NOTES_MAX {
                notes.drain(..NOTES_MAX / 2);
            }
            notes.push(format!("{step}: {what}"));
        }
    }

    /// A record that is replicated.
    pub fn record(&mut self, stored: &Stored) {
        self.records += 1;
        self.mix(&stored.timestamp.0.to_be_bytes());
        for (_, value) in stored.record.headers.iter() {
            self.mix(value);
        }
        self.mix(&stored.record.payload);
        let step = self.steps;
        if let Some(notes) = &mut self.notes {
            let header = |name| stored.record.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            let shown = ["ce_type", "lonja_term", "lonja_sequence", "lonja_version", "ce_id"].map(header);
            notes.push(format!("{step}:   {}@{} {shown:?}", stored.partition, stored.offset));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}
