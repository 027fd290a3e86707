//! The columns, as whoever opens a file sees them.

use std::collections::BTreeSet;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Codec;
use schemas::topics::ALL;

use crate::script::{append, history, open, partition};
use crate::{export, rows};

/// Name, type and whether it may be absent, of each column.
fn columns(file: &std::path::Path) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let fields = reader.schema().fields().iter();
    fields
        .map(|field| format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "?" } else { "" }))
        .collect()
}

#[test]
fn columns_have_the_types_of_the_schema() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(0), &history(&codec));
    export(&log, to.path()).unwrap();
    let of = |dataset: &str| {
        let files = rows::files(to.path());
        columns(files.iter().find(|file| file.to_str().unwrap().contains(&format!("/{dataset}/"))).unwrap())
    };
    let (every, own) = (of("OrderPlaced"), of("OrderPlaced").split_off(9));
    assert_eq!(
        every[..9],
        [
            "offset Int64",
            "appended_at Timestamp(ms, \"UTC\")",
            "event_id Utf8",
            "aggregate_key Utf8",
            "version Int64",
            "time Timestamp(ms, \"UTC\")",
            "causation_id Utf8",
            "correlation_id Utf8",
            "traceparent Utf8?",
        ]
    );
    assert_eq!(own[..4], ["order_id Utf8", "customer_id Utf8", "currency Utf8", "total Int64"]);
    assert!(own[4].starts_with("lines List(") && own[4].contains("\"unit_price\": non-null Int64"), "{}", own[4]);
    assert_eq!(own[5], "placed_at Timestamp(ms, \"UTC\")");
    assert!(of("CommandRefused").last().unwrap().starts_with("facts Map("), "{:?}", of("CommandRefused"));
}

/// For every topic of events that there is: a new type needs nothing here.
#[test]
fn every_type_that_counts_has_a_dataset_of_its_own() {
    let codec = Codec::local();
    for topic in ALL {
        let columns = lonja_export::columns::Columns::new(topic, &codec).unwrap();
        let datasets: BTreeSet<_> = columns.schemas().into_keys().collect();
        assert_eq!(datasets.len(), topic.records.len() - 1, "two types of {} have one dataset", topic.name);
        for (dataset, schema) in columns.schemas() {
            let names: BTreeSet<_> = schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(names.len(), schema.fields().len(), "two columns of {dataset} have one name");
        }
    }
}
