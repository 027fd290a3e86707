//! Says on the topic of announcements what this node owns, until the log has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use eventlog::{Appender, EventLog, LogError, Partition, Record, Report, ReportSink};

use crate::directory::{Entry, HOME, Heard};

/// Pause before what the log did not take is said again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

enum Event {
    /// This node has begun a term.
    Owns(Partition, u64),
    /// Another node says that it owns this.
    Heard(Partition, u64),
    Report(Report),
    Stop,
}

/// The thread that announces.
pub(crate) struct Announcer {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    pub(crate) fn start(log: Arc<dyn EventLog>, node: &str, address: &str) -> Result<Self, LogError> {
        let (events, incoming) = crossbeam_channel::unbounded();
        let mut work = Work {
            log,
            node: node.to_owned(),
            address: address.into(),
            owned: BTreeMap::new(),
            unsaid: Vec::new(),
            events: events.clone(),
        };
        let thread = std::thread::Builder::new().name("announce".into()).spawn(move || work.run(&incoming));
        let thread = thread
            .map_err(|error| LogError::Unavailable { doing: "starting a thread".into(), detail: error.to_string() })?;
        Ok(Self { events, thread: Some(thread) })
    }

    pub(crate) fn announce(&self, partition: Partition, term: u64) {
        tell(&self.events, Event::Owns(partition, term));
    }

    /// For the directory: a word of another node that is older than ours is contradicted, or a late one of a deposed owner
    /// would stand for ever.
    pub(crate) fn heard(&self) -> Heard {
        let events = self.events.clone();
        Box::new(move |partition, entry| tell(&events, Event::Heard(partition, entry.term)))
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        tell(&self.events, Event::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the announcer panicked");
        }
    }
}

fn tell(events: &Sender<Event>, event: Event) {
    if events.send(event).is_err() {
        tracing::debug!("the announcer has ended");
    }
}

struct Work {
    log: Arc<dyn EventLog>,
    node: String,
    address: Arc<str>,
    /// What this node said it owns, by number of the term, while nobody else said it of a later one.
    owned: BTreeMap<Partition, u64>,
    /// Not acknowledged yet.
    unsaid: Vec<Partition>,
    events: Sender<Event>,
}

impl Work {
    fn run(&mut self, incoming: &Receiver<Event>) {
        let mut appender = None;
        loop {
            let event = if self.unsaid.is_empty() {
                incoming.recv().ok()
            } else {
                // Asked again also when no report comes: then the appender was dropped, or the broker is away.
                match incoming.recv_timeout(AGAIN_AFTER) {
                    Ok(event) => Some(event),
                    Err(error) if error.is_timeout() => {
                        self.say_all(&mut appender);
                        continue;
                    }
                    Err(_) => None,
                }
            };
            match event {
                Some(Event::Owns(partition, term)) => {
                    self.owned.insert(partition, term);
                    self.say(&mut appender, partition);
                }
                Some(Event::Heard(partition, theirs)) => match self.owned.get(&partition) {
                    Some(ours) if *ours > theirs => self.say(&mut appender, partition),
                    _ => drop(self.owned.remove(&partition)),
                },
                Some(Event::Report(report)) => match report.outcome {
                    Ok(_) => self.unsaid.retain(|partition| token(*partition) != report.token),
                    Err(error) => {
                        tracing::debug!(%error, "an announcement was not taken; it is made again");
                        appender = None;
                    }
                },
                Some(Event::Stop) | None => return,
            }
        }
    }

    fn say_all(&mut self, appender: &mut Option<Box<dyn Appender>>) {
        for partition in std::mem::take(&mut self.unsaid) {
            self.say(appender, partition);
        }
    }

    fn say(&mut self, appender: &mut Option<Box<dyn Appender>>, partition: Partition) {
        let Some(&term) = self.owned.get(&partition) else { return };
        if !self.unsaid.contains(&partition) {
            self.unsaid.push(partition);
        }
        if let Err(error) = self.append(appender, partition, term) {
            tracing::debug!(error, "an announcement cannot be made now");
            *appender = None;
        }
    }

    fn append(&self, appender: &mut Option<Box<dyn Appender>>, partition: Partition, term: u64) -> Result<(), String> {
        if appender.is_none() {
            let events = self.events.clone();
            let sink: ReportSink = Arc::new(move |report| tell(&events, Event::Report(report)));
            *appender = Some(self.log.appender(sink).map_err(|error| error.to_string())?);
        }
        let entry = Entry { node: self.node.clone(), address: Arc::clone(&self.address), term };
        let payload = serde_json::to_vec(&entry).map_err(|error| error.to_string())?;
        let key = Bytes::from(partition.to_string());
        let record = Record { key, headers: Arc::default(), payload: payload.into() };
        match appender {
            Some(appender) => appender.append(HOME, &record, token(partition)).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// Tells the announcements of partitions apart in reports.
fn token(partition: Partition) -> u64 {
    let topic = schemas::topics::ALL.iter().position(|topic| *topic == partition.topic).unwrap_or_default();
    (topic as u64) << 32 | u64::from(partition.number)
}
