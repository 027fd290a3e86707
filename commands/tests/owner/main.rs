//! The owner's protocol against a log whose acknowledgements and assignments the test decides.

mod log;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::ids::{DeliveredQuantity, Quantity, ReservationId, Sku, Text};
use domain::stock::{StockCommand, StockEvent, StockItem};
use eventlog::shared::Tap;
use eventlog::{EventLog, Partition, Record, Tail};
use log::TestLog;
use lonja_commands::peers::Alone;
use lonja_commands::{CommandRequest, Commands, Decided, Decision, Lookup, Options, Router, SendError};
use schemas::{Codec, Envelope, Term, topics};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

const SKU: &str = "tea";

struct Node {
    name: &'static str,
    commands: Commands,
    router: Arc<Router<StockItem>>,
    _dir: Option<TempDir>,
}

fn partition() -> Partition {
    Partition::of(&topics::STOCK, SKU.as_bytes())
}

fn start(log: &TestLog, name: &'static str, dir: &std::path::Path) -> Node {
    let node = unassigned(log, name, dir, false);
    log.assign(name, &[partition()]);
    node
}

fn unassigned(log: &TestLog, name: &'static str, dir: &std::path::Path, warm_copies: bool) -> Node {
    let options = Options {
        state_dir: dir.to_owned(),
        node: name.to_owned(),
        lanes: 1,
        queue_max: 64,
        states_bytes_max: 1 << 20,
        warm_copies,
        tap: Tap::default(),
    };
    let mut commands =
        Commands::open(Arc::new(log.clone()), Arc::new(Codec::local()), Arc::new(Alone), options).unwrap();
    let router = commands.serve::<StockItem>().unwrap();
    commands.join("owners").unwrap();
    Node { name, commands, router, _dir: None }
}

fn node(log: &TestLog, name: &'static str) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(log, name, dir.path());
    node._dir = Some(dir);
    node
}

fn request(id: u128, command: StockCommand) -> CommandRequest<StockItem> {
    let command_id = Uuid::from_u128(id);
    CommandRequest {
        key: SKU.to_owned(),
        command_id,
        fingerprint: id,
        expected_version: None,
        causation_id: command_id,
        correlation_id: command_id,
        traceparent: None,
        command: Arc::new(command),
    }
}

fn receive(id: u128, units: u64) -> CommandRequest<StockItem> {
    request(
        id,
        StockCommand::ReceiveStock {
            sku: Sku::parse(SKU).unwrap(),
            quantity: DeliveredQuantity::new(units).unwrap(),
            reference: Text::parse(&format!("delivery {id}")).unwrap(),
        },
    )
}

fn reserve(id: u128, units: u64) -> CommandRequest<StockItem> {
    request(
        id,
        StockCommand::ReserveStock {
            sku: Sku::parse(SKU).unwrap(),
            reservation_id: ReservationId::parse(&format!("r{id}")).unwrap(),
            quantity: Quantity::new(units).unwrap(),
        },
    )
}

impl Node {
    async fn send(&self, request: CommandRequest<StockItem>) -> Result<Decided<StockEvent>, SendError> {
        self.router.send(request, Instant::now() + Duration::from_secs(5)).await
    }

    fn spawn(
        &self,
        request: CommandRequest<StockItem>,
    ) -> tokio::task::JoinHandle<Result<Decided<StockEvent>, SendError>> {
        let router = Arc::clone(&self.router);
        tokio::spawn(async move { router.send(request, Instant::now() + Duration::from_secs(5)).await })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.commands.stop();
    }
}

/// Everything that counts, read from the start by the rule.
fn valid(log: &TestLog) -> Vec<eventlog::Admitted> {
    let mut tail = Tail::open(log, &[(partition(), None)]).unwrap();
    let end = log.end(partition()).unwrap();
    let mut all = Vec::new();
    while tail.next(partition()) < end {
        all.extend(tail.poll(1_000, Duration::from_millis(10)).unwrap());
    }
    all
}

/// One valid record per command, versions without a gap, and never more reserved than received.
fn check_history(log: &TestLog) {
    let mut seen = BTreeMap::new();
    let (mut version, mut received, mut reserved) = (0, 0, 0);
    for record in valid(log) {
        assert!(seen.insert(record.envelope.id, record.offset).is_none(), "{} counts twice", record.envelope.id);
        let record_type = &record.envelope.record_type;
        if !record_type.starts_with("lonja.stock.") {
            continue;
        }
        version += 1;
        assert_eq!(record.envelope.version, version);
        match <StockItem as schemas::Contract>::decode(&Codec::local(), record_type, &record.record.payload).unwrap() {
            StockEvent::StockReceived { quantity, .. } => received += quantity.get(),
            StockEvent::StockReserved { quantity, .. } => reserved += quantity.get(),
            StockEvent::ReservationReleased { quantity, .. } => reserved -= quantity.get(),
        }
        assert!(reserved <= received, "oversold at {}", record.offset);
    }
}

fn record_of(term: Term, claim: bool, sequence: u64) -> Record {
    let envelope = Envelope {
        id: Uuid::new_v4(),
        record_type: Cow::Borrowed(if claim { "lonja.log.TermStarted" } else { "lonja.log.CommandUnchanged" }),
        subject: "stock/tea".into(),
        time: Timestamp(0),
        term,
        sequence,
        version: 0,
        fingerprint: 0,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    };
    Record { key: Bytes::from_static(b"tea"), headers: Arc::new(envelope.to_headers("stock")), payload: Bytes::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_records_and_repeats_are_first_answers() {
    let log = TestLog::default();
    let dir = tempfile::tempdir().unwrap();
    let node = start(&log, "a", dir.path());
    let received = node.send(receive(1, 10)).await.unwrap();
    assert_eq!((received.version, received.position.offset, received.replayed), (1, 1, false));
    let refused = node.send(reserve(2, 11)).await.unwrap();
    let Decision::Refused(refusal) = &refused.decision else { panic!("{refused:?}") };
    assert_eq!((refusal.code.as_str(), refusal.facts["available"]), ("out_of_stock", 10));
    let reserved = node.send(reserve(3, 10)).await.unwrap();
    assert_eq!((reserved.version, reserved.position.offset), (2, 3));

    let firsts = [(receive(1, 10), received), (reserve(2, 11), refused), (reserve(3, 10), reserved)];
    for (request, first) in &firsts {
        assert_eq!(node.send(request.clone()).await, Ok(Decided { replayed: true, ..first.clone() }));
    }
    assert_eq!(log.records(partition()).len(), 4, "a repeat appends nothing");
    drop(node);

    for dir in [dir, tempfile::tempdir().unwrap()] {
        let node = start(&log, "a", dir.path());
        for (request, first) in &firsts {
            assert_eq!(node.send(request.clone()).await, Ok(Decided { replayed: true, ..first.clone() }));
        }
    }
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_decides_is_folded_here_and_taken_over() {
    let log = TestLog::default();
    let (owner, dir) = (node(&log, "owner"), tempfile::tempdir().unwrap());
    let heir = unassigned(&log, "heir", dir.path(), true);
    let first = owner.send(receive(1, 10)).await.unwrap();
    let known = async {
        while heir.commands.local().lookup(Uuid::from_u128(1)).await == Lookup::Absent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), known).await.expect("the heir has a copy");
    drop(owner);
    log.assign(heir.name, &[partition()]);
    assert_eq!(heir.send(receive(1, 10)).await, Ok(Decided { replayed: true, ..first }));
    assert_eq!(heir.send(reserve(2, 10)).await.unwrap().version, 2);
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_id_stands_for_one_request() {
    let log = TestLog::default();
    let dir = tempfile::tempdir().unwrap();
    let node = start(&log, "a", dir.path());
    node.send(receive(1, 10)).await.unwrap();
    let other = CommandRequest { fingerprint: 99, ..receive(1, 11) };
    assert_eq!(node.send(other.clone()).await, Err(SendError::KeyReused));
    drop(node);
    let node = start(&log, "a", dir.path());
    assert_eq!(node.send(other).await, Err(SendError::KeyReused), "also when only the store remembers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_back_for_another_aggregate_waits_for_all_that_a_node_restores() {
    const OTHER: &str = "coffee";
    let other = Partition::of(&topics::STOCK, OTHER.as_bytes());
    assert_ne!(other, partition());
    let log = TestLog::default();
    node(&log, "a").send(receive(1, 10)).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let node = unassigned(&log, "a", dir.path(), false);
    log.hold_acknowledgements(partition());
    log.assign(node.name, &[partition(), other]);
    let runs = async {
        while !node.commands.local().owned().await.iter().any(|owned| owned.running.is_some()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), runs).await.expect("the other partition has an owner");
    let elsewhere = node.spawn(CommandRequest { key: OTHER.into(), fingerprint: 99, ..receive(1, 10) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!elsewhere.is_finished(), "what the id stands for is not known yet");
    log.release_acknowledgements();
    assert_eq!(elsewhere.await.unwrap(), Err(SendError::KeyReused));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_wait_for_their_original() {
    let log = TestLog::default();
    let node = node(&log, "a");
    node.send(receive(1, 10)).await.unwrap();
    log.hold_acknowledgements(partition());
    let asked: Vec<_> = (0..50).map(|_| node.spawn(reserve(2, 1))).collect();
    log.wait_for(partition(), 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(asked.iter().all(|answer| !answer.is_finished()), "nothing is answered before it is confirmed");
    assert_eq!(node.commands.local().lookup(Uuid::from_u128(2)).await, Lookup::Pending);
    log.release_acknowledgements();
    let mut firsts = 0;
    for answer in asked {
        let decided = answer.await.unwrap().unwrap();
        assert_eq!((decided.position.offset, decided.version), (2, 2));
        firsts += usize::from(!decided.replayed);
    }
    assert_eq!((firsts, log.records(partition()).len()), (1, 3));
    assert!(matches!(node.commands.local().lookup(Uuid::from_u128(2)).await, Lookup::Decided { version: 2, .. }));
    assert_eq!(node.commands.local().lookup(Uuid::from_u128(3)).await, Lookup::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_version_is_insisted_on() {
    let log = TestLog::default();
    let node = node(&log, "a");
    node.send(receive(1, 10)).await.unwrap();
    let stale = node.send(CommandRequest { expected_version: Some(0), ..reserve(2, 1) }).await.unwrap();
    let Decision::Refused(refusal) = stale.decision else { panic!("accepted") };
    assert_eq!((refusal.code.as_str(), refusal.facts["current_version"]), ("version_conflict", 1));
    let fresh = node.send(CommandRequest { expected_version: Some(1), ..reserve(3, 1) }).await.unwrap();
    assert_eq!(fresh.version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_owner_answers_nothing_that_does_not_count() {
    let log = TestLog::default();
    let old = node(&log, "old");
    old.send(receive(1, 1)).await.unwrap();
    log.hold_acknowledgements(partition());
    let new = node(&log, "new");
    // The new owner's claim is in the log; the old one does not know and decides on.
    log.wait_for(partition(), 3);
    let zombie = old.spawn(reserve(2, 1));
    log.wait_for(partition(), 4);
    log.revoke(old.name, partition());
    log.assign(old.name, &[partition()]);
    log.release_acknowledgements();
    let (zombies, news) = (zombie.await.unwrap(), new.send(reserve(3, 1)).await);
    let accepted =
        [zombies, news].into_iter().flatten().filter(|d| matches!(d.decision, Decision::Accepted(_))).count();
    assert!(accepted <= 1, "one unit was sold {accepted} times");
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_believers_sell_each_unit_once() {
    let log = TestLog::default();
    let (a, b) = (node(&log, "a"), node(&log, "b"));
    a.send(receive(1, 10)).await.unwrap();
    let asked: Vec<_> =
        (10..60).map(|id| if id % 2 == 0 { a.spawn(reserve(id, 1)) } else { b.spawn(reserve(id, 1)) }).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    log.revoke(b.name, partition());
    let mut accepted = Vec::new();
    for answer in asked {
        match answer.await.unwrap() {
            Ok(Decided { decision: Decision::Accepted(_), position, .. }) => accepted.push(position.offset),
            Ok(_) | Err(SendError::Unknown | SendError::NotReady) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let counted: Vec<u64> = valid(&log).iter().map(|record| record.offset).collect();
    assert!(accepted.iter().all(|offset| counted.contains(offset)), "an answer stands for a void record");
    assert!(accepted.len() <= 10);
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_ends_the_term_and_the_command_runs_once() {
    let log = TestLog::default();
    let node = node(&log, "a");
    node.send(receive(1, 10)).await.unwrap();
    log.lose_acknowledgements(1);
    let decided = node.send(reserve(2, 4)).await.unwrap();
    assert_eq!((decided.version, decided.replayed, decided.position.offset), (2, true, 2));
    assert_eq!(valid(&log).len(), 2);
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_others_that_do_not_count_are_passed() {
    let log = TestLog::default();
    let node = node(&log, "a");
    node.send(receive(1, 10)).await.unwrap();
    let stale = Term { number: 1, nonce: 5 };
    log.plant(partition(), record_of(stale, true, 0));
    log.plant(partition(), record_of(stale, false, 1));
    log.plant(partition(), Record { key: Bytes::new(), headers: Arc::default(), payload: Bytes::new() });
    let decided = node.send(reserve(2, 4)).await.unwrap();
    assert_eq!((decided.version, decided.position.offset, decided.replayed), (2, 5, false), "same term, no new claim");
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_claim_deposes() {
    let log = TestLog::default();
    let node = node(&log, "a");
    node.send(receive(1, 10)).await.unwrap();
    log.plant(partition(), record_of(Term { number: 7, nonce: 5 }, true, 0));
    let decided = node.send(reserve(2, 4)).await.unwrap();
    let claims: Vec<_> = log
        .records(partition())
        .iter()
        .filter_map(|stored| Envelope::from_headers(&stored.record.headers).ok())
        .filter(Envelope::is_claim)
        .map(|claim| claim.term.number)
        .collect();
    assert_eq!(claims, [1, 7, 8]);
    assert_eq!(decided.version, 2);
    check_history(&log);
}

/// An owner's claim and one decision are lost, and the log grows to the same length: what the owner appends stands where it
/// expects it, and counts for nobody.
async fn deceived(dir: &std::path::Path) -> (TestLog, Node) {
    let log = TestLog::default();
    let node = start(&log, "a", dir);
    node.send(receive(1, 10)).await.unwrap();
    log.lose(partition());
    let other = Term { number: 1, nonce: 5 };
    log.plant(partition(), record_of(other, true, 0));
    log.plant(partition(), record_of(other, false, 1));
    let decided = node.send(reserve(2, 4)).await.unwrap();
    assert_eq!((decided.position.offset, decided.version), (2, 2));
    assert_eq!(valid(&log).len(), 1);
    (log, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_notices_that_its_claim_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (log, node) = deceived(dir.path()).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while valid(&log).len() == 1 {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(node.send(reserve(2, 4)).await);
    }
    let decided = node.send(receive(1, 10)).await.unwrap();
    assert_eq!((decided.version, decided.replayed), (1, false));
    check_history(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_folded_without_its_claim_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (log, node) = deceived(dir.path()).await;
    // Stopping folds what is confirmed.
    drop(node);
    let node = start(&log, "a", dir.path());
    let decided = node.send(reserve(3, 1)).await.unwrap();
    assert!(matches!(decided.decision, Decision::Refused(_)), "{decided:?}");
    check_history(&log);
}
