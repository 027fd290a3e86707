//! What is in the files, as the parquet crate's own reader of rows has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parquet::file::reader::SerializedFileReader;
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

/// The rows of each dataset.
pub type Rows = BTreeMap<String, Vec<Value>>;

/// Every finished file of `order.events` below `dir`, by name.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![dir.join("order.events")]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => found.extend(Some(path).filter(|path| path.extension().is_some_and(|end| end == "parquet"))),
            }
        }
    }
    found.sort();
    found
}

/// All rows, in the order of partitions and offsets: files sort by name, and a file holds its rows in the log's order.
/// The reason why a record cannot be read is left out; it is only asserted to be there.
pub fn all(dir: &Path) -> Rows {
    let mut rows = Rows::new();
    for file in files(dir) {
        let partition =
            file.parent().unwrap().file_name().unwrap().to_str().unwrap().strip_prefix("partition=").unwrap();
        let dataset = file.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap();
        let (first, last) = file.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap();
        let range = first.parse::<u64>().unwrap()..=last.parse().unwrap();
        for row in SerializedFileReader::try_from(file.as_path()).unwrap() {
            let mut row = json(row.unwrap());
            let fields = row.as_object_mut().unwrap();
            assert!(range.contains(&fields["offset"].as_u64().unwrap()), "{}", file.display());
            if dataset == "_unreadable" {
                assert!(fields.remove("reason").is_some_and(|reason| reason != ""));
            }
            fields.insert("partition".to_owned(), partition.parse::<u32>().unwrap().into());
            rows.entry(dataset.to_owned()).or_default().push(row);
        }
    }
    rows
}

fn json(row: Row) -> Value {
    Value::Object(row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect())
}

fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Int(number) => number.into(),
        Field::Long(number) | Field::TimestampMillis(number) => number.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => bytes.data().to_vec().into(),
        Field::Group(row) => json(row),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().cloned();
            Value::Object(entries.map(|(name, field)| (text(name), value(field))).collect::<Map<_, _>>())
        }
        other => panic!("no column is {other:?}"),
    }
}

fn text(field: Field) -> String {
    match field {
        Field::Str(text) => text,
        other => panic!("no key is {other:?}"),
    }
}
