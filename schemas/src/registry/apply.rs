//! Registering the schemas of this build: a step, never a side effect of a start.

use std::fmt;

use apache_avro::Schema;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_subject_and_version, post_schema,
};
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
use serde::{Deserialize, Serialize};

use super::compatibility::{self, Incompatibility};
use super::{RegistryError, remote, subject, versions};
use crate::topics::{self, RecordType};

/// What a new schema of any of our subjects must be able to do: read every record that was ever written there.
pub const LEVEL: &str = "BACKWARD_TRANSITIVE";

/// What became of each subject, in the order of the topics table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemasReport {
    /// One for each record type of each topic.
    pub subjects: Vec<SubjectReport>,
}

/// What became of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectReport {
    /// Its name in the registry.
    pub subject: String,
    /// The id of this build's schema there.
    pub id: u32,
    /// The schema was not there before.
    pub registered: bool,
    /// The compatibility level was another one before.
    pub level_set: bool,
}

impl fmt::Display for SchemasReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SubjectReport { subject, id, registered, level_set } in &self.subjects {
            let schema = if *registered { "registered" } else { "unchanged" };
            let level = if *level_set { format!(", level set to {LEVEL}") } else { String::new() };
            writeln!(f, "{subject}: {schema} (id {id}){level}")?;
        }
        Ok(())
    }
}

/// Why the schemas are not, or cannot be, registered.
#[derive(Debug, thiserror::Error)]
pub enum SchemasError {
    /// The registry did not answer, or not in a way that can be used.
    #[error("using the schema registry failed")]
    Registry(#[from] RegistryError),
    /// Records that were written with registered schemas could not be read any more. Nothing was changed.
    #[error("schemas are not compatible: {}", list(.0))]
    Incompatible(Vec<Incompatibility>),
    /// Something is still to be applied.
    #[error("run `lonja schemas apply`: {}", list(.0))]
    NotApplied(Vec<Gap>),
}

/// Something that is still to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The registry's subject.
    pub subject: String,
    /// What is missing there.
    pub missing: &'static str,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lacks {}", self.subject, self.missing)
    }
}

fn list(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Registers the schemas that the registry at `url` does not have, and sets the level of each subject. Subjects have the
/// topics' names on the brokers: `prefix` (normally empty) and the name. A second time it changes nothing.
///
/// # Errors
/// When the registry does not answer or refuses, or a schema could not read what was written with a registered one.
pub async fn apply(url: &str, prefix: &str) -> Result<SchemasReport, SchemasError> {
    let registry = Connection::new(url);
    let mut subjects = Vec::new();
    for found in registry.inspect_all(prefix).await? {
        if !found.level_set {
            registry.set_level(&found.subject).await?;
        }
        let id = match found.id {
            Some(id) => id,
            None => registry.register(&found).await?,
        };
        let (registered, level_set) = (found.id.is_none(), !found.level_set);
        subjects.push(SubjectReport { subject: found.subject, id, registered, level_set });
    }
    Ok(SchemasReport { subjects })
}

/// Whether everything that [`apply`] does is done. Changes nothing.
///
/// # Errors
/// When the registry does not answer, or something is missing or not compatible.
pub async fn check(url: &str, prefix: &str) -> Result<SchemasReport, SchemasError> {
    let mut gaps = Vec::new();
    let mut subjects = Vec::new();
    for found in Connection::new(url).inspect_all(prefix).await? {
        let mut gap = |missing| gaps.push(Gap { subject: found.subject.clone(), missing });
        if !found.level_set {
            gap("its compatibility level");
        }
        match found.id {
            Some(id) => {
                subjects.push(SubjectReport { subject: found.subject, id, registered: false, level_set: false });
            }
            None => gap("the schema of this build"),
        }
    }
    if gaps.is_empty() { Ok(SchemasReport { subjects }) } else { Err(SchemasError::NotApplied(gaps)) }
}

/// A subject as it was found.
struct Found {
    subject: String,
    record: &'static RecordType,
    /// Of this build's schema, if it is there.
    id: Option<u32>,
    level_set: bool,
    incompatibilities: Vec<Incompatibility>,
}

struct Connection {
    url: String,
    settings: SrSettings,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Level {
    #[serde(rename = "compatibilityLevel")]
    level: String,
}

impl Connection {
    fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { settings: SrSettings::new(url.clone()), url, client: reqwest::Client::new() }
    }

    /// Every subject of this build; nothing of it is to be changed when anything is not compatible.
    async fn inspect_all(&self, prefix: &str) -> Result<Vec<Found>, SchemasError> {
        let mut all = Vec::new();
        for topic in topics::ALL {
            for record in topic.records {
                all.push(self.inspect(subject(prefix, topic, record), record).await?);
            }
        }
        let incompatibilities: Vec<_> = all.iter().flat_map(|found| found.incompatibilities.clone()).collect();
        if incompatibilities.is_empty() { Ok(all) } else { Err(SchemasError::Incompatible(incompatibilities)) }
    }

    async fn inspect(&self, subject: String, record: &'static RecordType) -> Result<Found, RegistryError> {
        let ours = Schema::parse_str(record.schema).map_err(|error| unusable(&subject, &error))?;
        let mut found =
            Found { level_set: self.has_level(&subject).await?, subject, record, id: None, incompatibilities: vec![] };
        for version in versions(&self.client, &self.url, &found.subject).await? {
            let theirs = get_schema_by_subject_and_version(&self.settings, &found.subject, Some(version)).await;
            let theirs = theirs.map_err(|source| RegistryError::Remote { what: found.subject.clone(), source })?;
            if is_same(&theirs.schema, record.schema) {
                found.id = Some(theirs.id);
            }
            let written = Schema::parse_str(&theirs.schema).map_err(|error| unusable(&found.subject, &error))?;
            if let Some(reason) = compatibility::obstacle(&written, &ours) {
                let subject = found.subject.clone();
                found.incompatibilities.push(Incompatibility { subject, version, reason });
            }
        }
        Ok(found)
    }

    async fn has_level(&self, subject: &str) -> Result<bool, RegistryError> {
        let failed = |error| remote(subject, "asking for its level", &error);
        let answer = self.client.get(self.level_url(subject)).send().await.map_err(failed)?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let level: Level = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
        Ok(level.level == LEVEL)
    }

    async fn set_level(&self, subject: &str) -> Result<(), RegistryError> {
        let failed = |error| remote(subject, "setting its level", &error);
        let body = serde_json::json!({ "compatibility": LEVEL });
        let answer = self.client.put(self.level_url(subject)).json(&body).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?;
        Ok(())
    }

    async fn register(&self, found: &Found) -> Result<u32, RegistryError> {
        let Found { subject, record, .. } = found;
        let schema = SuppliedSchema::new(Some(record.name.to_owned()), SchemaType::Avro, record.schema.to_owned());
        let registered = post_schema(&self.settings, subject.clone(), schema).await;
        let registered = registered.map_err(|source| RegistryError::Remote { what: subject.clone(), source })?;
        Ok(registered.id)
    }

    fn level_url(&self, subject: &str) -> String {
        format!("{}/config/{subject}", self.url)
    }
}

/// Whether two texts are one schema, also in what does not change its bytes, such as documentation and defaults.
fn is_same(theirs: &str, ours: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(theirs).is_some_and(|schema| Some(schema) == parse(ours))
}

fn unusable(subject: &str, error: &apache_avro::Error) -> RegistryError {
    RegistryError::Unusable { subject: subject.to_owned(), detail: error.to_string() }
}
