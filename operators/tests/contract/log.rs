//! Looking at the log.

use std::time::Duration;

use eventlog::{EventLog, Partition};
use lonja_operators::log::Surveys;
use schemas::topics::{AUDIT, ORDER};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::homes::{Cluster, Home};
use crate::records::{append, claim, decision, foreign, garbled, term};

const P: Partition = Partition { topic: &ORDER, number: 3 };

/// A partition with all that can be in one.
fn write(log: &dyn EventLog) {
    let (old, new) = (term(1), term(2));
    let records = [
        decision("a", old, 1), // 0: before any claim
        claim(old),
        decision("a", old, 1),
        decision("a", old, 1), // 3: a duplicate
        garbled("a", old, 2),
        foreign(), // 5
        claim(new),
        decision("a", old, 3), // 7: a zombie's
        decision("a", new, 1),
        claim(old), // 9: a late copy
    ];
    append(log, P, &records);
}

const VERDICTS: [&str; 10] = [
    "void other_term",
    "claim",
    "valid",
    "void out_of_sequence",
    "valid",
    "void unmarked",
    "claim",
    "void other_term",
    "valid",
    "void stale_claim",
];

/// Offset and verdict of each record.
fn verdicts(page: &Value) -> Vec<(u64, String)> {
    let verdict = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        (record["offset"].as_u64().unwrap(), format!("{} {}", text("verdict"), text("reason")).trim().to_owned())
    };
    page["data"].as_array().unwrap().iter().map(verdict).collect()
}

fn expected(offsets: std::ops::Range<usize>) -> Vec<(u64, String)> {
    offsets.map(|at| (at as u64, VERDICTS[at].to_owned())).collect()
}

pub fn each_record_is_shown_with_what_the_rule_says(home: &impl Home) {
    let log = home.open();
    write(&*log);
    let desk = Desk::on(&log);
    let page = desk.good("/v1/log/order.events?partition=3&from=0");
    assert_eq!(verdicts(&page), expected(0..10));
    assert_eq!((&page["next"], &page["has_more"]), (&json!("3@10"), &json!(false)));
    let record = &page["data"][2];
    let payload = json!({"command": "PlaceOrder", "code": "refused", "detail": "no", "facts": {"n": 3}});
    assert_eq!((&record["payload"], &record["key"], &record["term"]), (&payload, &json!("a"), &json!(1)));
    assert_eq!((&record["type"], &record["sequence"]), (&json!("lonja.log.CommandRefused"), &json!(1)));
    let garbled = &page["data"][4];
    assert_eq!((&garbled["payload"], &garbled["payload_base64"]), (&Value::Null, &json!("/2dhcmJsZWQ=")));
    assert!(garbled["error"].as_str().unwrap().contains("not framed Avro"), "{garbled}");
    assert_eq!(page["data"][5]["headers"], json!({"other": "/w=="}));
    desk.close(&log);
}

/// Whatever was read before: the rule is applied from the start.
pub fn a_page_begins_anywhere_and_judges_alike(home: &impl Home) {
    let log = home.open();
    write(&*log);
    for warm in [false, true] {
        let desk = Desk::on(&log);
        if warm {
            desk.good("/v1/log/order.events/stats");
        }
        for from in 0..=10 {
            let page = desk.good(&format!("/v1/log/order.events?partition=3&from={from}&limit=3"));
            let to = (from + 3).min(10);
            assert_eq!(verdicts(&page), expected(from..to), "from {from}, warm {warm}");
            assert_eq!((&page["next"], &page["has_more"]), (&json!(format!("3@{to}")), &json!(to < 10)));
        }
        let newest = desk.good("/v1/log/order.events?partition=3&limit=4");
        assert_eq!(verdicts(&newest), expected(6..10));
        let all = desk.good("/v1/log/order.events?partition=3&since=2020-01-01T00:00:00Z");
        assert_eq!(verdicts(&all), expected(0..10));
        let none = desk.good("/v1/log/order.events?partition=3&since=2999-01-01T00:00:00Z");
        assert_eq!((verdicts(&none), &none["next"]), (vec![], &json!("3@10")));
        let since = all["data"][6]["time"].as_str().unwrap();
        let some = verdicts(&desk.good(&format!("/v1/log/order.events?partition=3&since={since}")));
        assert!(some.len() >= 4 && some == expected(10 - some.len()..10), "{some:?}");
        desk.close(&log);
    }
}

pub fn several_partitions_are_one_story(home: &impl Home) {
    let log = home.open();
    let place = |key: &str| Partition::of(&ORDER, key.as_bytes());
    let (a, b) = ("a", ["b", "c", "d"].into_iter().find(|key| place(key) != place("a")).unwrap());
    for key in [a, b] {
        append(&*log, place(key), &[claim(term(1))]);
    }
    for sequence in 1..=5 {
        append(&*log, place(a), &[decision(a, term(1), sequence)]);
        append(&*log, place(b), &[decision(b, term(1), sequence)]);
        // Records of one millisecond have no order between partitions.
        std::thread::sleep(Duration::from_millis(5));
    }
    let desk = Desk::on(&log);
    let history = desk.good(&format!("/v1/log/order.events?key={b}"));
    assert!(history["data"].as_array().unwrap().iter().all(|record| record["key"] == b), "{history}");
    assert_eq!(history["data"].as_array().unwrap().len(), 5);
    let newest = desk.good("/v1/log/order.events?limit=4");
    let offsets = verdicts(&newest).into_iter().map(|(offset, _)| offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [4, 4, 5, 5]);
    // Page by page, nothing is left out and nothing comes twice.
    let (mut from, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = desk.good(&format!("/v1/log/order.events?from={from}&limit=5"));
        let data = page["data"].as_array().unwrap();
        seen.extend(data.iter().map(|record| (record["partition"].as_u64(), record["offset"].as_u64())));
        from = page["next"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), 12);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 12);
    // And what comes later follows.
    append(&*log, place(a), &[decision(a, term(1), 6)]);
    let page = desk.good(&format!("/v1/log/order.events?from={from}"));
    assert_eq!(verdicts(&page), [(6, "valid".to_owned())]);
    desk.close(&log);
}

pub fn stats_count_what_counts(home: &impl Home) {
    let log = home.open();
    let desk = Desk::on(&log);
    let row = |desk: &Desk| desk.good("/v1/log/order.events/stats?partition=3")["partitions"][0].clone();
    assert_eq!((&row(&desk)["records"], &row(&desk)["first"]), (&json!(0), &Value::Null));
    write(&*log);
    // A look at the middle first: it must not be counted twice.
    desk.good("/v1/log/order.events?partition=3&from=4&limit=2");
    for _ in 0..2 {
        let row = row(&desk);
        let void = json!({"other_term": 2, "out_of_sequence": 1, "unmarked": 1, "stale_claim": 1});
        for (name, value) in [("records", 10), ("valid", 3), ("claims", 2), ("term", 2), ("end", 10), ("read_to", 10)] {
            assert_eq!(row[name], value, "{name} in {row}");
        }
        assert_eq!(row["void"], void);
        assert!(row["bytes"].as_u64() > Some(1_000) && row["first"].as_str() <= row["last"].as_str(), "{row}");
    }
    append(&*log, P, &[decision("a", term(2), 2)]);
    assert_eq!((&row(&desk)["records"], &row(&desk)["valid"]), (&json!(11), &json!(4)));
    let whole = desk.good("/v1/log/order.events/stats");
    assert_eq!((whole["partitions"].as_array().unwrap().len(), &whole["complete"]), (12, &json!(true)));
    // A topic without terms has none.
    append(&*log, Partition { topic: &AUDIT, number: 0 }, &[foreign()]);
    let audit = desk.good("/v1/log/lonja.audit/stats")["partitions"][0].clone();
    assert_eq!((&audit["records"], audit.get("valid")), (&json!(1), None));
    let page = desk.good("/v1/log/lonja.audit");
    assert_eq!((&page["data"][0]["payload"], &page["data"][0]["verdict"]), (&json!({}), &Value::Null));
    desk.close(&log);
}

pub fn what_cannot_be_asked_is_a_problem(home: &impl Home) {
    let log = home.open();
    write(&*log);
    let desk = Desk::on(&log);
    for (path, status, code) in [
        ("/v1/log/orders", 404, "topic_not_found"),
        ("/v1/log/orders/stats", 404, "topic_not_found"),
        ("/v1/log/order.events?partition=12", 400, "invalid_query"),
        ("/v1/log/order.events?from=7", 400, "invalid_query"),
        ("/v1/log/order.events?partition=3&from=x", 400, "invalid_query"),
        ("/v1/log/order.events?from=0@1,12@1", 400, "invalid_query"),
        ("/v1/log/order.events?partition=3&from=11", 404, "offset_out_of_range"),
        ("/v1/log/order.events?since=yesterday", 400, "invalid_query"),
        ("/v1/log/order.events?since=2026-01-01T00:00:00Z&from=0", 400, "invalid_query"),
        ("/v1/log/order.events?limit=0", 400, "invalid_query"),
        ("/v1/log/order.events?offset=0", 400, "invalid_query"),
    ] {
        let (found, body) = desk.get(path);
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
    }
    desk.close(&log);
}

/// Each request says how far the reading has come; the answer is the same as if it had been read at once.
pub fn a_long_log_is_read_in_pieces(home: &impl Home) {
    const MANY: u64 = 25_000;
    let log = home.open();
    let decisions = (1..MANY).map(|sequence| decision("a", term(1), sequence));
    let records: Vec<_> = std::iter::once(claim(term(1))).chain(decisions).collect();
    append(&*log, P, &records);
    // A zombie's last word: only who has read all knows that it is void.
    append(&*log, P, &[claim(term(2)), decision("a", term(1), MANY)]);
    let desk = Desk::with(&log, Surveys::reading_for(Duration::ZERO));
    let path = format!("/v1/log/order.events?partition=3&from={}", MANY - 1);
    let mut come = Vec::new();
    let page = loop {
        let (status, body) = desk.get(&path);
        if status == 200 {
            break body;
        }
        assert_eq!((status, &body["code"], &body["of"]), (503, &json!("still_reading"), &json!(MANY + 2)), "{body}");
        come.push(body["read_to"].as_u64().unwrap());
    };
    assert!(come.len() > 2 && come.is_sorted_by(|earlier, later| earlier < later), "{come:?}");
    let last = MANY - 1;
    let verdicts_there = [(last, "valid"), (last + 1, "claim"), (last + 2, "void other_term")];
    assert_eq!(verdicts(&page), verdicts_there.map(|(offset, verdict)| (offset, verdict.to_owned())));
    // What was read is remembered: a place in the middle is not far from one that is known.
    let middle = format!("/v1/log/order.events?partition=3&from={}&limit=1", MANY / 2);
    assert_eq!(verdicts(&desk.good(&middle)), [(MANY / 2, "valid".to_owned())]);
    desk.close(&log);
}

pub fn a_log_that_was_replaced_is_read_anew(cluster: &Cluster) {
    let log = cluster.open();
    let desk = Desk::on(&log);
    let count = || desk.good("/v1/log/order.events/stats?partition=3")["partitions"][0].clone();
    write(&*log);
    assert_eq!(count()["records"], 10);
    for others in [4, 12] {
        cluster.replace();
        // Its clients come to know it a moment later.
        let decisions = (1..others).map(|sequence| decision("z", term(9), sequence));
        let records: Vec<_> = std::iter::once(claim(term(9))).chain(decisions).collect();
        append(&*cluster.open(), P, &records);
        let row = count();
        assert_eq!(
            (&row["records"], &row["valid"], &row["term"]),
            (&json!(others), &json!(others - 1), &json!(9)),
            "{row}"
        );
        let page = desk.good("/v1/log/order.events?partition=3&limit=2");
        assert_eq!(verdicts(&page), [(others - 2, "valid".to_owned()), (others - 1, "valid".to_owned())]);
    }
    desk.close(&log);
}
