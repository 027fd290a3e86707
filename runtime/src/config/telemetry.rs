/// The libraries' notes of level info (every setting of a client, every file of a store) tell an operator nothing; nor does it
/// that a producer was dropped without being closed, which is how appenders end on purpose.
const LOG: &str = "info,confluent_kafka=warn,confluent_kafka::producer::kafka_producer=error,fjall=warn,lsm_tree=warn";

/// Logs and traces.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryConfig {
    /// How the log of the process is written to standard error.
    #[arg(long, env = "LONJA_LOG_FORMAT", value_name = "FORMAT", default_value = "human", global = true)]
    pub log_format: LogFormat,
    /// What is logged: a level, or `tracing` directives such as `info,lonja_commands=debug`.
    #[arg(
        long,
        env = "LONJA_LOG",
        value_name = "DIRECTIVES",
        default_value = LOG,
        global = true
    )]
    pub log: String,
    /// Where traces are sent by OTLP over HTTP, for example `http://127.0.0.1:4318`; without it there are none.
    #[arg(long = "otlp-endpoint", env = "LONJA_OTLP", value_name = "URL", global = true)]
    pub otlp: Option<String>,
    /// Share of the requests that are traced, unless the caller decided.
    #[arg(long, env = "LONJA_TRACE_RATIO", value_name = "0.0-1.0", default_value = "1.0", value_parser = ratio,
        global = true)]
    pub trace_ratio: f64,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people, coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("a number from 0.0 to 1.0".into()),
    }
}
