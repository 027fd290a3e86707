//! A log on Kafka that grows by orders.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use domain::Timestamp;
use domain::order::Order;
use eventlog::EventLog;
use eventlog::kafka::{KafkaLog, Settings};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::topics::ORDER;
use schemas::{Codec, Contract};

use crate::bench::fill::{FIRST_MS, Owner};
use crate::order_body::{order_id, placed};
use crate::stack::Stack;

/// How many terms the nodes may begin between two times that the log grows.
const TERMS_BETWEEN: u64 = 1_000_000;

pub struct Grown {
    stack: Stack,
    log: Arc<dyn EventLog>,
    events: u64,
    claims: u64,
}

impl Grown {
    pub fn new(stack: &Stack) -> Result<Self> {
        let settings = Settings { prefix: stack.topic_prefix.clone(), ..Settings::default() };
        let log = Arc::new(KafkaLog::connect(stack.kafka()?, settings).context("connecting to Kafka")?);
        Ok(Self { stack: stack.clone(), log, events: 0, claims: 0 })
    }

    /// Appends orders until there are so many. No node may run meanwhile: this takes its partitions away.
    pub fn grow(&mut self, events: u64) -> Result<()> {
        let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
        let codec = runtime.block_on(Codec::connect(self.stack.registry()?, &self.stack.topic_prefix))?;
        self.claims += 1;
        let mut owner = Owner::claim(Arc::clone(&self.log), codec, &ORDER, self.claims * TERMS_BETWEEN)?;
        let (added, started) = (events.saturating_sub(self.events), Instant::now());
        let bar = ProgressBar::new(added);
        bar.set_style(
            ProgressStyle::with_template("filling {bar:30} {pos}/{len} {per_sec} {eta}").context("progress bar")?,
        );
        for number in self.events..events {
            let id = order_id(number);
            let at = Timestamp(FIRST_MS + i64::try_from(number)?);
            let event = placed(number, id, at).context("making an order")?;
            let encoded = Order::encode(owner.codec(), &event)?;
            owner.append(id.to_string(), &encoded, number, 1)?;
            bar.inc(1);
        }
        owner.finish()?;
        bar.finish_and_clear();
        self.events = self.events.max(events);
        println!("appended {added} events in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }
}
