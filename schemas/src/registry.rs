//! Where schemas have their ids from: a schema registry, or this build itself.

pub mod apply;
pub mod compatibility;

use std::collections::HashMap;

use apache_avro::Schema;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, get_schema_by_subject_and_version,
};
use schema_registry_converter::error::SRCError;
use sha2::{Digest, Sha256};

use crate::topics::{self, RecordType, Topic};

/// Gives the schema that belongs to an id.
pub enum Registry {
    /// The schemas of this build, by the id that [`Registry::local_id`] gives.
    Local(HashMap<u32, &'static str>),
    /// A schema registry.
    Remote(SrSettings),
}

/// Ids of schemas in a registry, by topic and record name.
pub type Ids = HashMap<(&'static str, &'static str), u32>;

/// The registry's subject of a record type on a topic whose name on the brokers has this prefix.
#[must_use]
pub fn subject(prefix: &str, topic: &Topic, record: &RecordType) -> String {
    format!("{prefix}{}", topic.subject(record))
}

/// Why a schema cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No schema of this build has this id, and there is no registry to ask.
    #[error("no schema of this build has the id")]
    Unknown,
    /// The registry did not give it.
    #[error("asking the schema registry about {what} failed")]
    Remote {
        /// An id or a subject.
        what: String,
        /// Why.
        #[source]
        source: SRCError,
    },
    /// What is registered is not a schema.
    #[error("what is registered as {subject} cannot be used: {detail}")]
    Unusable {
        /// The subject.
        subject: String,
        /// Why not.
        detail: String,
    },
    /// A schema of this build is not registered.
    #[error("schema {0} of this build is not registered; run `lonja schemas apply`")]
    NotRegistered(String),
}

impl RegistryError {
    /// Whether asking again may help: always, unless the registry says that it has no such schema. Whatever else it answers
    /// (500, 401 after its password was changed), the schema may well be there. (The client says in words alone what was
    /// answered.)
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Remote { source, .. } => !source.error.contains("status 404"),
            Self::Unknown | Self::Unusable { .. } | Self::NotRegistered(_) => false,
        }
    }
}

impl Registry {
    /// The registry that this build is for itself.
    #[must_use]
    pub fn local() -> Self {
        let schemas = topics::ALL
            .iter()
            .flat_map(|topic| topic.records.iter().map(|record| (Self::local_id(topic, record), record.schema)));
        Self::Local(schemas.collect())
    }

    /// The id of a schema where no registry gives one: the first four bytes of the SHA-256 of its canonical form, so
    /// that it depends on nothing but the schema.
    ///
    /// # Panics
    /// Never: the schemas of this build are tested.
    #[must_use]
    pub fn local_id(_topic: &Topic, record: &RecordType) -> u32 {
        let schema = Schema::parse_str(record.schema).expect("a schema of this build parses");
        let digest = Sha256::digest(schema.canonical_form());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    /// The registry at `url`, and the id there of each schema of this build, by topic and record name. `prefix` stands
    /// before the name of each topic, as it does on the brokers.
    ///
    /// # Errors
    /// When it does not answer, or a schema is not registered.
    pub async fn connect(url: &str, prefix: &str) -> Result<(Self, Ids), RegistryError> {
        let url = url.trim_end_matches('/');
        let settings = SrSettings::new(url.to_owned());
        let client = reqwest::Client::new();
        let mut ids = Ids::new();
        for topic in topics::ALL {
            for record in topic.records {
                let id = find(&client, url, &settings, &subject(prefix, topic, record), record).await?;
                ids.insert((topic.name, record.name), id);
            }
        }
        Ok((Self::Remote(settings), ids))
    }

    /// The text of the schema with this id. Blocks while a registry is asked, which happens once per id.
    ///
    /// # Errors
    /// When there is none, or the registry does not answer.
    pub fn schema(&self, id: u32) -> Result<String, RegistryError> {
        match self {
            Self::Local(schemas) => schemas.get(&id).map(|text| (*text).to_owned()).ok_or(RegistryError::Unknown),
            Self::Remote(settings) => fetch(settings.clone(), id),
        }
    }
}

async fn find(
    client: &reqwest::Client,
    url: &str,
    settings: &SrSettings,
    subject: &str,
    record: &RecordType,
) -> Result<u32, RegistryError> {
    let canonical = |text: &str| Schema::parse_str(text).map(|schema| schema.canonical_form()).ok();
    let ours = canonical(record.schema);
    for version in versions(client, url, subject).await?.into_iter().rev() {
        let found = get_schema_by_subject_and_version(settings, subject, Some(version)).await;
        let found = found.map_err(|source| RegistryError::Remote { what: subject.to_owned(), source })?;
        if canonical(&found.schema) == ours {
            return Ok(found.id);
        }
    }
    Err(RegistryError::NotRegistered(subject.to_owned()))
}

/// The versions of a subject, the oldest first; none where there is no such subject. (`schema_registry_converter` does
/// not tell that from other refusals.)
async fn versions(client: &reqwest::Client, url: &str, subject: &str) -> Result<Vec<u32>, RegistryError> {
    let failed = |error| remote(subject, "asking for its versions", &error);
    let answer = client.get(format!("{url}/subjects/{subject}/versions")).send().await.map_err(failed)?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    // Some registries say `null` for an empty list.
    let versions: Option<Vec<u32>> = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
    let mut versions = versions.unwrap_or_default();
    versions.sort_unstable();
    Ok(versions)
}

fn remote(subject: &str, doing: &str, error: &reqwest::Error) -> RegistryError {
    let source = SRCError::new(&format!("{doing} failed"), Some(describe(error)), true);
    RegistryError::Remote { what: subject.to_owned(), source }
}

/// With the causes, of which `reqwest` shows none by itself.
fn describe(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Asks on a thread of its own: callers are lanes without a runtime as well as tasks inside one.
fn fetch(settings: SrSettings, id: u32) -> Result<String, RegistryError> {
    let failed = |source| RegistryError::Remote { what: format!("id {id}"), source };
    let asked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SRCError::new("starting a runtime failed", Some(error.to_string()), true))?;
        runtime.block_on(get_schema_by_id(id, &settings))
    });
    match asked.join() {
        Ok(Ok(found)) => Ok(found.schema),
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(failed(SRCError::new("the asking thread panicked", None, true))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_ids_are_unique() {
        let names: std::collections::BTreeSet<_> =
            topics::ALL.iter().flat_map(|topic| topic.records).map(|record| record.name).collect();
        let Registry::Local(schemas) = Registry::local() else { unreachable!() };
        assert_eq!(schemas.len(), names.len());
    }
}
