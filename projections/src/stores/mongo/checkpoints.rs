//! Checkpoints as documents: numbers as 64 bits, 128-bit values in hexadecimal.

use eventlog::{Checkpoint, Partition, Terms};
use mongodb::bson::{Bson, Document, doc};
use schemas::Term;
use uuid::Uuid;

use super::ReadError;
use crate::store::{Checkpoints, Move, Source};
use crate::stores::checkpoint_of;
use crate::view::View;

/// All checkpoints of a view and generation.
pub(super) fn filter<V: View>(generation: u32) -> Document {
    doc! { "view": V::NAME, "generation": i64::from(generation) }
}

/// The checkpoint of one partition.
pub(super) fn key<V: View>(generation: u32, partition: Partition) -> Document {
    doc! { "_id": id::<V>(generation, partition) }
}

fn id<V: View>(generation: u32, partition: Partition) -> String {
    format!("{}/{partition}", V::table(generation))
}

/// An update that makes the checkpoint of `partition` at 0 if it is missing: so moving one is always an update of one
/// document.
pub(super) fn seed<V: View>(generation: u32, partition: Partition) -> Document {
    let mut fields = filter::<V>(generation);
    fields
        .extend(doc! { "topic": partition.topic.name, "partition": i64::from(partition.number), "next_offset": 0_i64 });
    doc! { "q": { "_id": id::<V>(generation, partition) }, "u": { "$setOnInsert": fields }, "upsert": true }
}

/// An update that moves a checkpoint if it is where it is expected.
pub(super) fn step<V: View>(generation: u32, &Move { partition, expected, to }: &Move) -> Document {
    let term = to.terms.current;
    let fields = doc! {
        "next_offset": to.next.cast_signed(),
        "term_number": term.map(|term| term.number.cast_signed()),
        "term_nonce": term.map(|term| hex(term.nonce)),
        "sequence": to.terms.sequence.cast_signed(),
        "topic_id": hex(to.topic_id.as_u128()),
        "last_record": hex(to.last_record),
    };
    doc! { "q": { "_id": id::<V>(generation, partition), "next_offset": expected.cast_signed() }, "u": { "$set": fields } }
}

/// Those checkpoints that were ever moved.
pub(super) fn read_all<V: View>(documents: &[Document]) -> Result<Checkpoints, Source> {
    let moved = documents.iter().filter(|document| document.contains_key("topic_id"));
    let read = moved.map(read::<V>).collect::<Result<Vec<_>, _>>()?;
    Ok(read.into_iter().flatten().collect())
}

fn read<V: View>(document: &Document) -> Result<Option<(Partition, Checkpoint)>, ReadError> {
    let number = |field| document.get_i64(field).map(i64::cast_unsigned);
    let unhex = |field| u128::from_str_radix(document.get_str(field)?, 16).map_err(|_| ReadError::Value(field));
    let current = match document.get("term_number") {
        None | Some(Bson::Null) => None,
        Some(_) => Some(Term { number: number("term_number")?, nonce: unhex("term_nonce")? }),
    };
    let checkpoint = Checkpoint {
        next: number("next_offset")?,
        terms: Terms { current, sequence: number("sequence")? },
        topic_id: Uuid::from_u128(unhex("topic_id")?),
        last_record: unhex("last_record")?,
    };
    let partition = i32::try_from(document.get_i64("partition")?).map_err(|_| ReadError::Value("partition"))?;
    Ok(checkpoint_of::<V>(document.get_str("topic")?, partition, checkpoint))
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}
