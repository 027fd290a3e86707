//! Which part of the log a generation is folded from: all of it, as a rule.

use domain::Timestamp;
use eventlog::{Admitted, Partition};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::view::View;

/// Which part of the log a generation is folded from. Two things are sound: some partitions, because all events of a row stand
/// in one; and, for a view whose rows are each made by one record, whatever begins later. No other part of a log folds to rows
/// that mean anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// These partitions alone; every one of the view if there is none here.
    #[serde(default, serialize_with = "as_texts", deserialize_with = "of_texts")]
    pub partitions: Vec<Partition>,
    /// From here on; from the start of the log without it.
    #[serde(default)]
    pub from: Option<Begin>,
}

/// Where a fold begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begin {
    /// At this offset.
    Offset(u64),
    /// At the first record that the log appended then or later, in milliseconds since 1970.
    Time(i64),
}

impl Scope {
    /// The partitions of `V` that are folded.
    #[must_use]
    pub fn partitions<V: View>(&self) -> Vec<Partition> {
        if self.partitions.is_empty() { V::partitions() } else { self.partitions.clone() }
    }

    /// Whether a row of `V` is folded, if there is one.
    #[must_use]
    pub fn has<V: View>(&self, key: &V::Key) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&V::home(key))
    }

    /// Whether a record comes before the beginning. It is read all the same, because what counts after it depends on it.
    pub(crate) fn leaves_out(&self, record: &Admitted) -> bool {
        match self.from {
            None => false,
            Some(Begin::Offset(offset)) => record.offset < offset,
            Some(Begin::Time(time)) => record.timestamp < Timestamp(time),
        }
    }
}

fn as_texts<S: Serializer>(partitions: &[Partition], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(partitions.iter().map(ToString::to_string))
}

fn of_texts<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<Partition>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
