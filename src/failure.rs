//! Why the process ends without having done its work, and what its exit code says.

use std::fmt;
use std::process::ExitCode;

use runtime::config::{ConfigError, EXIT_CONFIG};

/// Exit code: topics, schemas or views are not as they must be; the message has the command that prepares them.
const EXIT_NOT_PREPARED: u8 = 3;

/// Why the process ends.
#[derive(Debug)]
pub enum Failure {
    /// The settings do not fit together. Nothing was started. Exit code 2, as for an unknown flag.
    Config(ConfigError),
    /// Something was not prepared. Exit code 3.
    NotPrepared {
        /// What is missing.
        error: anyhow::Error,
        /// The command that prepares it.
        run: String,
    },
    /// Anything else. Exit code 1.
    Other(anyhow::Error),
}

impl Failure {
    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(EXIT_CONFIG),
            Self::NotPrepared { .. } => ExitCode::from(EXIT_NOT_PREPARED),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// With the whole chain of causes.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::NotPrepared { error, run } => write!(f, "{error:#}\nrun: {run}"),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
