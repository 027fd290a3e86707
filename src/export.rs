//! `lonja export`: the log as Parquet files for analysts.

use std::io::Write;
use std::path::PathBuf;

use ::export::{Limits, Step, Summary};
use eventlog::LogError;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};
use runtime::Telemetry;
use runtime::config::{LogConfig, NodeConfig, TelemetryConfig};
use serde_json::json;

use crate::Failure;
use crate::cli::records::Export;
use crate::log::{self, Opened, blocking};

/// How far it is, how fast, and when it will be done.
const BAR: &str = "  {wide_bar} {human_pos}/{human_len} records, {rate}, {eta} left";

/// Why there is no log to read on this disk.
#[derive(Debug, thiserror::Error)]
pub enum NoLog {
    /// The shop runs.
    #[error(
        "another process has the log in {0} open, and an embedded log is one process's at a time: stop that process, \
         export, and start it again"
    )]
    InUse(String),
    /// Nobody has sold anything there. An export makes no log.
    #[error("there is no log in {}: name the shop's --data, or --kafka and --registry", .0.display())]
    Missing(PathBuf),
}

/// Exports up to the end that the log has now.
///
/// # Errors
/// When the settings do not fit together, the log cannot be opened, or the export fails: see [`::export::ExportError`].
pub fn run(args: &Export, telemetry: &TelemetryConfig) -> Result<(), Failure> {
    args.node.validate().and_then(|()| args.log.validate()).map_err(Failure::Config)?;
    let telemetry = Telemetry::init(telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exported = runtime.block_on(export(args));
    telemetry.flush();
    let summary = exported?;
    say(&if args.json { json!({ "summary": summary }).to_string() } else { in_words(&summary) });
    Ok(())
}

async fn export(args: &Export) -> Result<Summary, Failure> {
    let Opened { log, codec } = open(&args.node, &args.log).await?;
    let (topic, partition, to) = (args.topic, args.partition, args.to.clone());
    let work = ::export::Export { topic, partition, to, limits: Limits::default() };
    let mut watcher = Watcher { json: args.json, bar: ProgressBar::hidden() };
    blocking(move || {
        let done = work.run(&*log, &codec, &mut |step| watcher.watch(step));
        watcher.bar.finish_and_clear();
        done
    })
    .await
}

async fn open(node: &NodeConfig, config: &LogConfig) -> Result<Opened, Failure> {
    let dir = node.data.join("log");
    if config.kafka.is_none() && !dir.is_dir() {
        return Err(NoLog::Missing(dir).into());
    }
    log::open(node, config).await.map_err(|failure| match failure {
        Failure::Other(error) => match error.downcast() {
            Ok(LogError::InUse(dir)) => NoLog::InUse(dir).into(),
            Ok(error) => error.into(),
            Err(error) => Failure::Other(error),
        },
        failure => failure,
    })
}

/// Shows how far it is to whoever looks, and each file to programs.
struct Watcher {
    json: bool,
    bar: ProgressBar,
}

impl Watcher {
    fn watch(&mut self, step: &Step) {
        match step {
            // It shows nothing where standard error is not a terminal.
            Step::Began { records } => self.bar = ProgressBar::new(*records).with_style(style()),
            Step::Read { records } => self.bar.inc(*records),
            Step::Named(_) => {}
            Step::Kept(files) => {
                for file in files.iter().filter(|_| self.json) {
                    self.bar.suspend(|| say(&json!({ "file": file }).to_string()));
                }
            }
        }
    }
}

fn style() -> ProgressStyle {
    // A test shows that it is a template; a bar without it is a bar all the same.
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // A bar that cannot be written is not worth an end.
        let _ = write!(to, "{}/s", HumanCount(state.per_sec().round() as u64));
    })
}

fn in_words(summary: &Summary) -> String {
    let Summary { topic, partitions, read, exported, unreadable, void, files, bytes } = summary;
    let mut text = format!(
        "{topic}: {} records exported into {} files ({}), of {} read in {partitions} partitions; {} were void",
        HumanCount(*exported),
        HumanCount(*files),
        HumanBytes(*bytes),
        HumanCount(*read),
        HumanCount(*void),
    );
    if *unreadable > 0 {
        text += &format!(
            "\n{} of the exported records cannot be read: {topic}/_unreadable has their bytes and the reasons",
            HumanCount(*unreadable)
        );
    }
    text
}

/// Tells whoever started it. Nobody may be listening any more: what is exported is exported all the same.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_a_template() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut summary = Summary {
            topic: "order.events",
            partitions: 12,
            read: 20_000,
            exported: 12_345,
            unreadable: 0,
            void: 3,
            files: 24,
            bytes: 1 << 20,
        };
        let all = "order.events: 12,345 records exported into 24 files (1.00 MiB), of 20,000 read in 12 partitions; 3 were void";
        assert_eq!(in_words(&summary), all);
        summary.unreadable = 2;
        let lost = "2 of the exported records cannot be read: order.events/_unreadable has their bytes and the reasons";
        assert_eq!(in_words(&summary), format!("{all}\n{lost}"));
    }
}
