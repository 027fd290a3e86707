//! Where the real servers are, from flags or from the environment that `cargo xtask stack env` prints.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Addresses of the servers; which of them are needed depends on what is done.
#[derive(Debug, Clone, clap::Args)]
pub struct Stack {
    /// Kafka's bootstrap servers
    #[arg(long, env = "LONJA_KAFKA", value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Schema registry
    #[arg(long, env = "LONJA_REGISTRY", value_name = "URL")]
    registry: Option<String>,
    /// PostgreSQL
    #[arg(long, env = "LONJA_POSTGRES", value_name = "URL", hide_env_values = true)]
    postgres: Option<String>,
    /// MySQL or MariaDB
    #[arg(long, env = "LONJA_MYSQL", value_name = "URL", hide_env_values = true)]
    mysql: Option<String>,
    /// MongoDB
    #[arg(long, env = "LONJA_MONGO", value_name = "URL", hide_env_values = true)]
    mongo: Option<String>,
    /// Put before the name of each topic
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}

macro_rules! address {
    ($($name:ident, $flag:literal, $variable:literal;)*) => {$(
        #[doc = concat!("The address of `--", $flag, "`.\n\n# Errors\nWhen it was not given.")]
        pub fn $name(&self) -> Result<&str> {
            self.$name.as_deref().context(concat!("--", $flag, " (or ", $variable, ") is needed"))
        }
    )*};
}

impl Stack {
    address! {
        kafka, "kafka", "LONJA_KAFKA";
        registry, "registry", "LONJA_REGISTRY";
        postgres, "postgres", "LONJA_POSTGRES";
        mysql, "mysql", "LONJA_MYSQL";
        mongo, "mongo", "LONJA_MONGO";
    }
}

impl Stack {
    /// As the environment of `lonja`, everything on real servers.
    ///
    /// # Errors
    /// When an address was not given.
    pub fn settings(&self) -> Result<Vec<(&'static str, String)>> {
        let mut settings = self.log_settings()?;
        settings.extend([
            ("LONJA_POSTGRES", self.postgres()?.to_owned()),
            ("LONJA_MYSQL", self.mysql()?.to_owned()),
            ("LONJA_MONGO", self.mongo()?.to_owned()),
        ]);
        Ok(settings)
    }

    /// As the environment of `lonja`, the log alone on real servers, the views in memory.
    ///
    /// # Errors
    /// When an address was not given.
    pub fn log_settings(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("LONJA_KAFKA", self.kafka()?.to_owned()),
            ("LONJA_REGISTRY", self.registry()?.to_owned()),
            ("LONJA_TOPIC_PREFIX", self.topic_prefix.clone()),
        ])
    }

    /// As the environment has it, with topics that begin with `prefix`.
    #[must_use]
    pub fn from_environment(prefix: &str) -> Self {
        let variable = |name| std::env::var(name).ok();
        Self {
            kafka: variable("LONJA_KAFKA"),
            registry: variable("LONJA_REGISTRY"),
            postgres: variable("LONJA_POSTGRES"),
            mysql: variable("LONJA_MYSQL"),
            mongo: variable("LONJA_MONGO"),
            topic_prefix: prefix.to_owned(),
        }
    }

    /// The same servers but those that `environment` names, as `cargo xtask stack env` would.
    #[must_use]
    pub fn over(&self, environment: &BTreeMap<String, String>) -> Self {
        let or = |name: &str, own: &Option<String>| environment.get(name).or(own.as_ref()).cloned();
        Self {
            kafka: or("LONJA_KAFKA", &self.kafka),
            registry: or("LONJA_REGISTRY", &self.registry),
            postgres: or("LONJA_POSTGRES", &self.postgres),
            mysql: or("LONJA_MYSQL", &self.mysql),
            mongo: or("LONJA_MONGO", &self.mongo),
            topic_prefix: self.topic_prefix.clone(),
        }
    }

    /// The same servers, with topics and databases of its own, which `name` names: what runs there disturbs nothing and is
    /// disturbed by nothing. Topics and databases are not made by this.
    #[must_use]
    pub fn apart(&self, name: &str) -> Self {
        let database = |url: &Option<String>| url.as_ref().map(|url| with_database(url, &format!("lonja_{name}")));
        Self {
            kafka: self.kafka.clone(),
            registry: self.registry.clone(),
            postgres: database(&self.postgres),
            mysql: database(&self.mysql),
            mongo: database(&self.mongo),
            topic_prefix: format!("{name}."),
        }
    }
}

/// `url` with another database; what follows `?` stays.
fn with_database(url: &str, database: &str) -> String {
    let (place, query) =
        url.split_once('?').map_or((url, String::new()), |(place, query)| (place, format!("?{query}")));
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    let host = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{host}/{database}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_url_is_exchanged() {
        assert_eq!(with_database("postgres://u:p@h:1/db?host=/run/x", "n"), "postgres://u:p@h:1/n?host=/run/x");
        assert_eq!(
            with_database("mongodb://h:1,i:2/?directConnection=true", "n"),
            "mongodb://h:1,i:2/n?directConnection=true"
        );
        assert_eq!(with_database("mysql://u@h", "n"), "mysql://u@h/n");
    }
}
