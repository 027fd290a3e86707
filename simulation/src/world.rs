//! The world of one seed: what there is, and every kind of step.

mod faults;

use std::sync::atomic::Ordering;
use std::time::Duration;

use commands::SendError;
use domain::ids::{OrderId, Sku};
use eventlog::simulated::{Fate, Line, SimulatedLog, Word};
use eventlog::{Assignment, Partition};
use projections::views::{Activity, OrderDetail, StockLevel};
use schemas::topics;
use uuid::Uuid;

use crate::clients::Clients;
use crate::judge::Judge;
use crate::network::Network;
use crate::node::{Clock, Node};
use crate::plan::Plan;
use crate::random::Random;
use crate::shop::Request;
use crate::trace::Trace;
use crate::views::{Place, Watch, Watched};

pub(crate) struct World {
    pub random: Random,
    pub plan: Plan,
    pub log: SimulatedLog,
    pub nodes: Vec<Node>,
    pub clients: Clients,
    pub judge: Judge,
    pub views: Vec<Box<dyn Watched>>,
    pub trace: Trace,
    network: Network,
    clock: Clock,
    /// Where our keys live, and which nodes were told that they own it.
    partitions: Vec<(Partition, Vec<usize>)>,
    /// Appends of which nobody hears while faults last: appender and token.
    never: Vec<(Line, u64)>,
    outage: bool,
    losses_left: u64,
    /// Partitions that lost acknowledged records.
    pub lost: Vec<Partition>,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> Self {
        let random = Random::new(seed);
        let plan = Plan::of(&random);
        let clock = Clock::start();
        let ids = topics::ALL.iter().map(|topic| (*topic, Uuid::from_u128(random.wide()))).collect::<Vec<_>>();
        let log = SimulatedLog::new(&ids, move || clock.log_time());
        log.set_batch_max(plan.batch_max);
        let skus: Vec<Sku> =
            ["tea", "cup", "pot"].iter().filter_map(|sku| Sku::parse(sku).ok()).take(plan.skus).collect();
        let orders: Vec<_> = (0..plan.orders).map(|_| OrderId(Uuid::from_u128(random.wide()))).collect();
        let mut judge = Judge::new();
        let requests: Vec<_> = (0..plan.commands).map(|number| Request::any(&random, &skus, &orders, number)).collect();
        requests.iter().for_each(|request| judge.expect(request));
        let used = judge.partitions();
        let partitions = used.iter().map(|partition| (*partition, Vec::new())).collect();
        let views: Vec<Box<dyn Watched>> = vec![
            Box::new(Watch::<StockLevel>::new(&log, &random, &plan, &used)),
            Box::new(Watch::<OrderDetail>::new(&log, &random, &plan, &used)),
            Box::new(Watch::<Activity>::new(&log, &random, &plan, &used)),
        ];
        let skew = |random: &Random| if plan.skewed { random.within(0..172_800_000) as i64 - 86_400_000 } else { 0 };
        let nodes = (0..plan.nodes).map(|number| Node::new(format!("node-{number}"), skew(&random))).collect();
        let mut world = Self {
            network: Network::new(random.clone(), plan.lost_messages),
            clients: Clients::new(requests),
            trace: Trace::new(verbose),
            never: Vec::new(),
            outage: false,
            losses_left: plan.losses,
            lost: Vec::new(),
            random,
            plan,
            log,
            nodes,
            judge,
            views,
            clock,
            partitions,
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        (0..world.partitions.len()).for_each(|at| world.assign(at));
        (0..world.views.len()).for_each(|view| world.toggle(view, 0));
        world
    }

    /// One thing happens.
    pub async fn step(&mut self) -> Result<(), String> {
        if let Some(fault) = self.any_fault() {
            self.fault(fault)?;
        }
        match self.random.within(0..20) {
            0..3 => self.land(),
            3..5 => self.replicate(),
            5..8 => self.report(),
            8..14 => {
                let node = self.random.index(self.nodes.len());
                self.trace.note(|| format!("step node {node}"));
                self.nodes[node].step(&self.random);
            }
            14..17 => self.ask(),
            _ => {
                let most = if self.random.per_mille(30) { 2_000 } else { 8 };
                self.pass(self.random.within(0..most)).await;
            }
        }
        self.settle().await;
        self.check()
    }

    /// Time passes.
    pub async fn pass(&mut self, ms: u64) {
        self.trace.note(|| format!("{ms} ms pass"));
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    /// Tasks that can go on do.
    pub async fn settle(&self) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }

    /// What has to be so always.
    pub fn check(&mut self) -> Result<(), String> {
        for stored in self.judge.read(&self.log)? {
            self.trace.record(&stored);
        }
        for (id, outcome) in self.clients.heard() {
            self.trace.note(|| format!("{id} answered: {outcome:?}"));
            match outcome {
                Ok(given) => self.judge.answered(id, &given, &self.log)?,
                Err(SendError::Unknown | SendError::Busy | SendError::NotReady) => {}
                Err(error) => return Err(format!("{id} was answered {error}")),
            }
        }
        for view in &self.views {
            if let Some(reason) = view.stopped()
                && !self.lost.iter().any(|partition| view.folds(*partition))
            {
                return Err(format!("stopped though the log lost nothing: {reason}"));
            }
        }
        Ok(())
    }

    fn start(&mut self, node: usize) {
        self.trace.note(|| format!("node {node} starts"));
        self.nodes[node].start(&self.log, &self.network, self.clock, &self.random);
    }

    fn crash(&mut self, node: usize) {
        self.trace.note(|| format!("node {node} crashes"));
        self.clients.hang_up(node);
        self.nodes[node].crash(&self.network, &self.random);
        self.views.iter_mut().for_each(|view| view.die_with(node));
        self.partitions.iter_mut().for_each(|(_, believers)| believers.retain(|believer| *believer != node));
    }

    /// A projector is killed, or starts, in the process of any node if that is where it lives.
    fn toggle(&mut self, view: usize, seat: usize) {
        let place = self.any_place();
        self.trace.note(|| format!("projector {seat} of view {view}"));
        if let Some(place) = place {
            self.views[view].toggle(seat, &place);
        }
    }

    fn any_place(&self) -> Option<Place> {
        let places = self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.shared()?)));
        self.random.pick(&places.collect::<Vec<_>>()).cloned()
    }

    /// An operator builds a view anew that has stopped.
    pub fn rebuild(&mut self, view: usize) {
        if let Some(place) = self.any_place() {
            self.views[view].rebuild(&place);
        }
    }

    /// How many records views had from owners of their process.
    pub fn told(&self) -> u64 {
        self.nodes.iter().map(|node| node.told.load(Ordering::Relaxed)).sum()
    }

    /// A node is told that it owns a partition; the others that they do not, unless ownership is split.
    fn assign(&mut self, at: usize) {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_alive()).collect();
        let Some(&node) = self.random.pick(&alive) else { return };
        let split = self.plan.splits && self.random.per_mille(500);
        self.give(at, node, split);
    }

    fn give(&mut self, at: usize, node: usize, split: bool) {
        let (partition, believers) = &mut self.partitions[at];
        let partition = *partition;
        self.trace.note(|| format!("{partition} to node {node}, split: {split}"));
        if !split {
            for believer in believers.drain(..).filter(|believer| *believer != node) {
                self.log.tell(&self.nodes[believer].name, Assignment::Revoked(vec![partition]));
            }
        }
        believers.retain(|believer| *believer != node);
        believers.push(node);
        self.log.tell(&self.nodes[node].name, Assignment::Assigned(vec![partition]));
    }

    fn ask(&mut self) {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_alive()).collect();
        let Some(&node) = self.random.pick(&alive) else { return };
        let Some(command) = self.clients.choose(&self.random, &self.judge) else { return };
        self.send(command, node, self.random.within(100..3_000));
    }

    fn send(&mut self, command: usize, node: usize, patience_ms: u64) {
        let Some(routers) = self.nodes[node].routers() else { return };
        self.trace.note(|| format!("command {command} to node {node}"));
        self.clients.send(command, node, &routers, Duration::from_millis(patience_ms));
    }

    fn land(&mut self) {
        let lines = self.log.lines();
        let Some(&line) = self.random.pick(&lines) else { return };
        if !self.log.is_alive(line) && self.random.per_mille(300) {
            self.trace.note(|| format!("{line:?} forgets one"));
            return self.log.forget(line);
        }
        let roll = self.random.within(0..1_000);
        let Plan { fails, holes, twice, .. } = self.plan;
        let fate = match roll {
            roll if roll < fails => Fate::Fails,
            roll if roll < fails + holes => Fate::LeavesAHole,
            roll if roll < fails + holes + twice => Fate::Lands(2),
            _ => Fate::Lands(1),
        };
        self.trace.note(|| format!("{line:?} {fate:?}"));
        self.log.land(line, fate);
    }

    fn replicate(&mut self) {
        let behind = |(partition, _): &(Partition, Vec<usize>)| {
            let (end, replicated) = self.log.ends(*partition);
            (end > replicated).then_some((*partition, replicated, end))
        };
        let behind: Vec<_> = self.partitions.iter().filter_map(behind).collect();
        let Some(&(partition, replicated, end)) = self.random.pick(&behind) else { return };
        let until = self.random.within(replicated + 1..end + 1);
        self.trace.note(|| format!("{partition} is replicated until {until}"));
        self.log.replicate(partition, until);
    }

    fn report(&mut self) {
        let unheard = self.log.unheard();
        let tellable = |at: &usize| {
            let one = unheard[*at];
            (one.lost || one.replicated) && !self.never.contains(&(one.line, one.token))
        };
        let tellable: Vec<usize> = (0..unheard.len()).filter(tellable).collect();
        let Some(&any) = self.random.pick(&tellable) else { return };
        let one = unheard[any];
        let Plan { never, out_of_order, no_offset, failed_though_there, .. } = self.plan;
        if self.random.per_mille(never) {
            self.trace.note(|| format!("{:?} {} will not be heard of", one.line, one.token));
            return self.never.push((one.line, one.token));
        }
        let first = tellable.iter().copied().find(|at| unheard[*at].line == one.line).unwrap_or(any);
        let at = if self.random.per_mille(out_of_order) { any } else { first };
        let roll = self.random.within(0..1_000);
        let word = match roll {
            roll if roll < no_offset => Word::NoOffset,
            roll if roll < no_offset + failed_though_there => Word::Failed { fatal: self.random.per_mille(300) },
            _ => Word::InFull,
        };
        self.trace.note(|| format!("{:?} {} hears {word:?}", unheard[at].line, unheard[at].token));
        self.log.report(at, word);
    }

    /// Everything that can go on does, without faults; then some time passes.
    pub async fn calm_step(&mut self) -> Result<(), String> {
        for line in self.log.lines() {
            while self.log.lines().contains(&line) {
                self.log.land(line, Fate::Lands(1));
            }
        }
        for (partition, _) in &self.partitions {
            self.log.replicate(*partition, u64::MAX);
        }
        while !self.log.unheard().is_empty() {
            self.log.report(0, Word::InFull);
        }
        (0..6).for_each(|_| self.nodes.iter_mut().for_each(Node::step_all));
        self.settle().await;
        self.pass(5).await;
        self.settle().await;
        self.check()
    }

    /// Asks again whatever has no answer, or everything.
    pub fn ask_for_all(&mut self, again: bool) {
        for command in self.clients.quiet() {
            if again || !self.judge.is_answered(self.clients.id(command)) {
                let node = self.random.index(self.nodes.len());
                self.send(command, node, 2_000);
            }
        }
    }

    pub fn views_are_at_the_end(&self) -> bool {
        self.views.iter().all(|view| view.is_at(&self.log) || view.stopped().is_some())
    }

    pub fn ms(&self) -> u64 {
        self.clock.ms()
    }
}
