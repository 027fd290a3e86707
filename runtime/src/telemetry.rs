//! Logs, metrics and traces of the process: one initialisation.

mod trace;

use std::io::IsTerminal;
use std::time::Duration;

pub use metrics_exporter_prometheus::PrometheusHandle;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryConfig};

pub use trace::{adopt, is_traceparent, trace_id, traceparent};

/// Upper bounds of the buckets of every histogram of seconds: 50 µs to 10 s.
const SECONDS_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often the samples of histograms are folded into their buckets, so that memory stays bounded between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The telemetry of this process. Keep it until the end and call [`Telemetry::flush`] last.
pub struct Telemetry {
    /// Renders every metric in Prometheus' text format.
    pub metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

/// Why telemetry could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives of `--log` cannot be read.
    #[error("reading the log directives {0:?} failed")]
    Directives(String, #[source] tracing_subscriber::filter::ParseError),
    /// Somebody set a subscriber before.
    #[error("installing the log of the process failed")]
    Log(#[source] tracing_subscriber::util::TryInitError),
    /// The recorder could not be made, or somebody set one before.
    #[error("installing the recorder of metrics failed")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The exporter of traces could not be made.
    #[error("making the exporter of traces to {0:?} failed")]
    Traces(String, #[source] opentelemetry_otlp::ExporterBuildError),
}

impl Telemetry {
    /// Begins, once per process.
    ///
    /// # Errors
    /// Names the part that could not begin.
    pub fn init(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let traces = config.otlp.as_deref().map(|url| exporter(url, config.trace_ratio)).transpose()?;
        let filter =
            EnvFilter::try_new(&config.log).map_err(|source| TelemetryError::Directives(config.log.clone(), source))?;
        // Only our own spans are exported: the exporter's HTTP client has spans too.
        let spans = traces.as_ref().map(|provider| {
            let ours = Targets::new().with_target("lonja", LevelFilter::INFO);
            tracing_opentelemetry::layer().with_tracer(provider.tracer("lonja")).with_filter(ours)
        });
        tracing_subscriber::registry()
            .with(spans)
            .with(lines(config.log_format).with_filter(filter))
            .try_init()
            .map_err(TelemetryError::Log)?;
        if traces.is_some() {
            trace::set_exporting();
        }
        Ok(Self { metrics: recorder()?, traces })
    }

    /// Whether traces are exported.
    #[must_use]
    pub fn traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends what is not sent yet. Blocks up to some seconds; call it outside the runtime.
    pub fn flush(&self) {
        if let Some(provider) = &self.traces
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "sending the last traces failed");
        }
    }
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Human => Box::new(lines.with_ansi(std::io::stderr().is_terminal()).compact()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    }
}

fn recorder() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(TelemetryError::Metrics)?;
    let upkeep = handle.clone();
    // For the life of the process, like the recorder.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(UPKEEP_INTERVAL);
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn exporter(url: &str, ratio: f64) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(traces_endpoint(url))
        .build()
        .map_err(|source| TelemetryError::Traces(url.to_owned(), source))?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(Resource::builder().with_service_name("lonja").build())
        .build())
}

/// A collector is named by its address; the path is OTLP's.
fn traces_endpoint(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/v1/traces") { url.to_owned() } else { format!("{url}/v1/traces") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_otlp_is_added_once() {
        for url in ["http://h:4318", "http://h:4318/", "http://h:4318/v1/traces"] {
            assert_eq!(traces_endpoint(url), "http://h:4318/v1/traces");
        }
    }
}
