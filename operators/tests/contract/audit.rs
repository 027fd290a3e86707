//! Recording and reading.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, PAYLOAD_BYTES_MAX, Partition, Record};
use lonja_operators::audit::{AuditError, Deed, Entry};
use lonja_operators::{Audit, Operator};
use schemas::topics::AUDIT;
use serde_json::json;

use crate::homes::Home;

const HOME: Partition = Partition { topic: &AUDIT, number: 0 };

fn deed(target: &str) -> Deed {
    let (verb, reason) = ("parked discard".into(), "a test order".into());
    Deed { verb, target: target.into(), reason, before: json!({"parked": 2}), after: json!({"parked": 0}) }
}

fn record(audit: &Audit, target: &str) -> Result<Entry, AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(audit.record(&Operator::named("ann@desk").unwrap(), deed(target)))
}

fn append(log: &dyn EventLog, payload: &'static [u8]) {
    let (tell, told) = mpsc::channel();
    let sink = Arc::new(move |report: eventlog::Report| tell.send(report).unwrap());
    let record = Record { key: Bytes::new(), headers: Arc::default(), payload: Bytes::from_static(payload) };
    let appender = log.appender(sink).unwrap();
    appender.append(HOME, &record, 0).unwrap();
    told.recv_timeout(Duration::from_secs(20)).unwrap().outcome.unwrap();
}

pub fn what_is_recorded_is_read_again(home: &impl Home) {
    let audit = Audit::new(home.open());
    assert_eq!(audit.page(None, 10).unwrap().entries, []);
    let entry = record(&audit, "order_list").unwrap();
    assert_eq!((entry.operator.as_str(), &entry.deed), ("ann@desk", &deed("order_list")));
    drop(audit);
    let audit = Audit::new(home.open());
    let page = audit.page(None, 10).unwrap();
    let [found] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((found.offset, found.entry.as_ref(), page.next), (0, Ok(&entry), None));
    assert!(found.time.0 > 1_700_000_000_000, "it is the log's time, in milliseconds");
}

pub fn pages_lead_from_the_newest_to_the_oldest(home: &impl Home) {
    let audit = Audit::new(home.open());
    for target in ["a", "b", "c", "d", "e"] {
        record(&audit, target).unwrap();
    }
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = audit.page(before, 2).unwrap();
        pages.push(page.entries.iter().map(|e| e.entry.clone().unwrap().deed.target).collect::<Vec<_>>().concat());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["ed", "cb", "a"]);
    assert_eq!(audit.page(Some(99), 1).unwrap().entries[0].offset, 4);
}

pub fn what_is_no_entry_is_shown_as_such(home: &impl Home) {
    let log = home.open();
    append(&*log, b"{\"operator\":");
    let audit = Audit::new(log);
    record(&audit, "order_list").unwrap();
    let page = audit.page(None, 10).unwrap();
    assert!(page.entries[0].entry.is_ok() && page.entries[1].entry.is_err(), "{page:?}");
}

pub fn an_entry_that_does_not_fit_is_refused(home: &impl Home) {
    let audit = Audit::new(home.open());
    let refused = record(&audit, &"x".repeat(PAYLOAD_BYTES_MAX)).unwrap_err();
    assert!(matches!(refused, AuditError::TooLarge(_)), "{refused}");
    assert_eq!(audit.page(None, 10).unwrap().entries, []);
}
