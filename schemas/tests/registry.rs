//! Against a real schema registry, at `LONJA_REGISTRY`. Each test has subjects of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::Deref;

use lonja_schemas::registry::Registry;
use lonja_schemas::registry::apply::{LEVEL, SchemasError, apply, check};
use lonja_schemas::registry::subject;
use lonja_schemas::topics::{ALL, ORDER, ORDER_PLACED, RecordType, TERM_STARTED, Topic};
use lonja_schemas::{Codec, CodecError, Term, wire};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use serde_json::{Value, json};
use uuid::Uuid;

fn url() -> String {
    std::env::var("LONJA_REGISTRY").expect("LONJA_REGISTRY names the schema registry to test with")
}

/// Subjects of a test's own; they go with it.
struct Prefix(String);

fn prefix() -> Prefix {
    Prefix(format!("t{}.", Uuid::new_v4().simple()))
}

impl Deref for Prefix {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let subjects: Vec<String> =
            ALL.iter().flat_map(|topic| topic.records.iter().map(|record| subject(self, topic, record))).collect();
        // A runtime cannot be waited for on a thread of another one.
        let deleting = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                for (subject, permanent) in subjects.iter().flat_map(|subject| [(subject, false), (subject, true)]) {
                    let url = format!("{}/subjects/{subject}?permanent={permanent}", url());
                    reqwest::Client::new().delete(url).send().await.unwrap();
                }
            });
        });
        assert!(deleting.join().is_ok() || std::thread::panicking(), "deleting the subjects of a test failed");
    }
}

/// Registers a schema as somebody else did, before us.
async fn register(prefix: &str, topic: &Topic, record: &RecordType, schema: &Value) -> u32 {
    let url = format!("{}/subjects/{}/versions", url(), subject(prefix, topic, record));
    let answer = reqwest::Client::new().post(url).json(&json!({ "schema": schema.to_string() })).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    u32::try_from(answer["id"].as_u64().unwrap()).unwrap()
}

/// Our schema of an order, changed.
fn older(change: impl FnOnce(&mut Vec<Value>)) -> Value {
    let mut schema: Value = serde_json::from_str(ORDER_PLACED.schema).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema
}

fn field<'f>(fields: &'f mut [Value], name: &str) -> &'f mut Value {
    fields.iter_mut().find(|field| field["name"] == name).unwrap()
}

#[tokio::test]
async fn applying_twice_changes_nothing_the_second_time() {
    let (url, prefix) = (url(), prefix());
    let Err(SchemasError::NotApplied(gaps)) = check(&url, &prefix).await else { panic!("nothing is there yet") };
    let subjects: usize = ALL.iter().map(|topic| topic.records.len()).sum();
    assert_eq!(gaps.len(), 2 * subjects, "each lacks its schema and its level");
    assert!(matches!(Codec::connect(&url, &prefix).await, Err(CodecError::Schema { .. })), "a start registers nothing");

    let first = apply(&url, &prefix).await.unwrap();
    assert_eq!(first.subjects.len(), subjects);
    assert!(first.subjects.iter().all(|subject| subject.registered && subject.level_set));
    let second = apply(&url, &prefix).await.unwrap();
    assert!(second.subjects.iter().all(|subject| !subject.registered && !subject.level_set));
    assert_eq!(check(&url, &prefix).await.unwrap(), second);
    let ids = |report: &lonja_schemas::registry::apply::SchemasReport| {
        report.subjects.iter().map(|subject| subject.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ids(&second));

    let level: Value = reqwest::get(format!("{url}/config/{}", subject(&prefix, &ORDER, &ORDER_PLACED)))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(level["compatibilityLevel"], LEVEL);
    let line = second.to_string();
    assert!(line.starts_with(&format!("{}order.events-lonja.order.OrderPlaced: unchanged (id ", &*prefix)), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_writes_with_the_ids_of_the_registry() {
    let (url, prefix) = (url(), prefix());
    let report = apply(&url, &prefix).await.unwrap();
    let codec = Codec::connect(&url, &prefix).await.unwrap();
    let claim = wire::log::encode_claim(&codec, &ORDER, Term { number: 1, nonce: 2 }, "node").unwrap();
    let subject = subject(&prefix, &ORDER, &TERM_STARTED);
    let id = report.subjects.iter().find(|report| report.subject == subject).unwrap().id;
    assert_eq!(claim[..5], [&[0], &id.to_be_bytes()[..]].concat());
    let read: TermStarted = codec.decode(&TERM_STARTED, &claim).unwrap();
    assert_eq!((read.number, read.node.as_str()), (1, "node"));
}

#[derive(serde::Deserialize)]
struct TermStarted {
    number: i64,
    node: String,
}

#[tokio::test]
async fn a_field_without_a_default_may_go() {
    let (url, prefix) = (url(), prefix());
    let more = older(|fields| fields.push(json!({ "name": "channel", "type": "string" })));
    register(&prefix, &ORDER, &ORDER_PLACED, &more).await;
    let report = apply(&url, &prefix).await.unwrap();
    assert!(report.subjects[0].registered, "{:?}", report.subjects[0]);
    check(&url, &prefix).await.unwrap();
}

/// Says which field is refused, and that nothing was changed.
async fn refused(earlier: &[Value]) -> String {
    let (url, prefix) = (url(), prefix());
    for schema in earlier {
        register(&prefix, &ORDER, &ORDER_PLACED, schema).await;
    }
    let error = apply(&url, &prefix).await.unwrap_err();
    assert!(matches!(error, SchemasError::Incompatible(_)), "{error}");
    assert_eq!(check(&url, &prefix).await.unwrap_err().to_string(), error.to_string());
    let stock = subject(&prefix, ALL[1], &ALL[1].records[0]);
    let untouched = reqwest::get(format!("{url}/subjects/{stock}/versions")).await.unwrap();
    assert_eq!(untouched.status(), 404, "nothing is registered when anything is refused");
    error.to_string().replace(&*prefix, "")
}

#[tokio::test]
async fn a_new_field_without_a_default_is_refused() {
    let fewer = older(|fields| fields.retain(|field| field["name"] != "placed_at"));
    assert_eq!(
        refused(&[fewer]).await,
        "schemas are not compatible: order.events-lonja.order.OrderPlaced version 1: field placed_at: \
         it is new and has no default"
    );
}

#[tokio::test]
async fn another_type_is_refused_even_if_only_the_first_version_had_it() {
    let first = older(|fields| field(fields, "total")["type"] = json!(["string", "long"]));
    let second = older(|fields| field(fields, "total")["type"] = json!(["string", "long", "null"]));
    let message = refused(&[first, second]).await;
    assert!(message.contains("OrderPlaced version 1: field total: not every value that could be written"), "{message}");
    assert!(message.contains("OrderPlaced version 2: field total: not every value that could be written"), "{message}");
}

#[tokio::test]
async fn a_field_of_a_line_is_named_with_its_path() {
    let fewer = older(|fields| {
        let line = field(fields, "lines")["type"]["items"]["fields"].as_array_mut().unwrap();
        line.retain(|field| field["name"] != "unit_price");
    });
    let message = refused(&[fewer]).await;
    assert!(message.ends_with("field lines.unit_price: it is new and has no default"), "{message}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_not_taken_for_an_empty_one() {
    let error = check("http://127.0.0.1:1", "").await.unwrap_err();
    assert!(matches!(&error, SchemasError::Registry(registry) if registry.is_transient()), "{error:?}");
}

/// A registry that answers everything with this status.
fn registry_answering(status: &'static str) -> Registry {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
        let body = r#"{"error_code":1,"message":"no"}"#;
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes()).unwrap();
    });
    Registry::Remote(SrSettings::new(url))
}

#[test]
fn only_a_registry_that_says_that_it_has_no_such_schema_is_believed() {
    for (status, transient) in [
        ("404 Not Found", false),
        ("401 Unauthorized", true),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
    ] {
        let error = registry_answering(status).schema(7).unwrap_err();
        assert_eq!(error.is_transient(), transient, "{status}: {error:?}");
    }
}
