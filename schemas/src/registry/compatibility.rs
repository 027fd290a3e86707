//! Whether one schema can read what was written with another, and if not, because of which field.

use std::fmt;

use apache_avro::Schema;
use apache_avro::error::CompatibilityError;
use apache_avro::schema::RecordSchema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde::Serialize;

/// A schema of this build could not read records that were written with a registered one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incompatibility {
    /// The registry's subject.
    pub subject: String,
    /// The registered version.
    pub version: u32,
    /// Why not.
    pub reason: Obstacle,
}

/// What stands in the way of reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The field, as `lines.quantity`; empty for the record as a whole.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, version, reason: Obstacle { field, detail } } = self;
        match field.as_str() {
            "" => write!(f, "{subject} version {version}: {detail}"),
            field => write!(f, "{subject} version {version}: field {field}: {detail}"),
        }
    }
}

/// Why not all that is written with `written` can be read with `ours`, if so.
pub(super) fn obstacle(written: &Schema, ours: &Schema) -> Option<Obstacle> {
    match SchemaCompatibility::can_read(written, ours) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => {
            let detail = "not every value that could be written can be read".to_owned();
            Some(Obstacle { field: doubtful_field(written, ours).join("."), detail })
        }
        Err(error) => {
            let mut path = Vec::new();
            let detail = descend(&error, &mut path);
            Some(Obstacle { field: path.join("."), detail })
        }
    }
}

/// Collects the names of the fields that lead to the innermost error, which it describes.
fn descend(error: &CompatibilityError, path: &mut Vec<String>) -> String {
    match error {
        CompatibilityError::FieldTypeMismatch(field, inner) => {
            path.push(field.clone());
            descend(inner, path)
        }
        CompatibilityError::MissingDefaultValue(field) => {
            path.push(field.clone());
            "it is new and has no default".to_owned()
        }
        CompatibilityError::WrongType { writer_schema_type, reader_schema_type } => {
            format!("it was {writer_schema_type} and is {reader_schema_type}")
        }
        other => other.to_string(),
    }
}

/// The names of the fields that lead to where reading is possible only for some values.
fn doubtful_field(written: &Schema, ours: &Schema) -> Vec<String> {
    let (Some(written), Some(ours)) = (record_in(written), record_in(ours)) else { return Vec::new() };
    let pairs = ours.fields.iter().filter_map(|our_field| {
        let known = |name: &String| *name == our_field.name || our_field.aliases.contains(name);
        let written_field = written.fields.iter().find(|field| known(&field.name))?;
        Some((our_field, written_field))
    });
    for (our_field, written_field) in pairs {
        if SchemaCompatibility::can_read(&written_field.schema, &our_field.schema) == Ok(Compatibility::Partial) {
            let inner = doubtful_field(&written_field.schema, &our_field.schema);
            return std::iter::once(our_field.name.clone()).chain(inner).collect();
        }
    }
    Vec::new()
}

fn record_in(schema: &Schema) -> Option<&RecordSchema> {
    match schema {
        Schema::Record(record) => Some(record),
        Schema::Array(array) => record_in(&array.items),
        Schema::Map(map) => record_in(&map.types),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(fields: &Value) -> Schema {
        Schema::parse(&json!({ "type": "record", "name": "R", "fields": fields })).unwrap()
    }

    #[track_caller]
    fn check(written: &Value, ours: &Value, expected: Option<(&str, &str)>) {
        let found = obstacle(&record(written), &record(ours));
        let found = found.as_ref().map(|obstacle| (obstacle.field.as_str(), obstacle.detail.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_may_go_and_come_with_a_default() {
        let (a, b) = (json!({ "name": "a", "type": "int" }), json!({ "name": "b", "type": "int", "default": 7 }));
        check(&json!([a, b]), &json!([a]), None);
        check(&json!([a]), &json!([a, b]), None);
        check(&json!([b]), &json!([b, a]), Some(("a", "it is new and has no default")));
    }

    #[test]
    fn a_type_may_only_widen() {
        let field = |of: &str| json!([{ "name": "a", "type": of }]);
        check(&field("int"), &field("long"), None);
        check(&field("long"), &field("int"), Some(("a", "it was Long and is Int")));
        check(&field("string"), &field("long"), Some(("a", "it was String and is Long")));
    }

    #[test]
    fn a_nested_field_is_named_with_its_path() {
        let lines = |fields: Value| {
            let line = json!({ "type": "record", "name": "Line", "fields": fields });
            json!([{ "name": "lines", "type": { "type": "array", "items": line } }])
        };
        let (sku, units) = (json!({ "name": "sku", "type": "string" }), json!({ "name": "units", "type": "int" }));
        check(&lines(json!([sku])), &lines(json!([sku, units])), Some(("lines.units", "it is new and has no default")));
        let either = json!({ "name": "units", "type": ["int", "string"] });
        let doubt = "not every value that could be written can be read";
        check(&lines(json!([sku, either])), &lines(json!([sku, units])), Some(("lines.units", doubt)));
    }

    #[test]
    fn an_enum_may_only_grow() {
        let symbols = |of: &[&str]| json!([{ "name": "a", "type": { "type": "enum", "name": "E", "symbols": of } }]);
        check(&symbols(&["X"]), &symbols(&["X", "Y"]), None);
        let doubt = "not every value that could be written can be read";
        check(&symbols(&["X", "Y"]), &symbols(&["X"]), Some(("a", doubt)));
    }
}
