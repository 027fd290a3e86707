//! Those who ask. Each command has a client that asks until it has an answer, sometimes at two nodes at once, and sometimes
//! again afterwards.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use commands::{Aggregate, CommandRequest, Router, SendError};
use domain::order::Order;
use domain::stock::StockItem;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::judge::Judge;
use crate::random::Random;
use crate::shop::{Given, Request};

/// Commands that are under way at once.
const AT_ONCE_MAX: usize = 12;

type Heard = Arc<Mutex<Vec<(u64, Result<Given, SendError>)>>>;
pub(crate) type Routers = (Arc<Router<Order>>, Arc<Router<StockItem>>);

pub(crate) struct Clients {
    requests: Vec<Request>,
    /// How many of `requests` were ever sent.
    begun: usize,
    attempts: Vec<Attempt>,
    attempts_begun: u64,
    heard: Heard,
}

struct Attempt {
    number: u64,
    command: usize,
    node: usize,
    handle: AbortHandle,
}

impl Clients {
    pub fn new(requests: Vec<Request>) -> Self {
        Self { requests, begun: 0, attempts: Vec::new(), attempts_begun: 0, heard: Heard::default() }
    }

    pub fn id(&self, command: usize) -> Uuid {
        self.requests[command].id()
    }

    /// The next command to ask for, if any: mostly one without an answer.
    pub fn choose(&mut self, random: &Random, judge: &Judge) -> Option<usize> {
        let open = |command: &usize| !judge.is_answered(self.id(*command));
        let open: Vec<usize> = (0..self.begun).filter(open).collect();
        let command = match random.within(0..10) {
            0 if self.begun > 0 => random.index(self.begun),
            0..6 if !open.is_empty() || self.begun == self.requests.len() => *random.pick(&open)?,
            _ if self.begun < self.requests.len() => self.begun,
            _ => return None,
        };
        let under_way = self.attempts.iter().filter(|attempt| attempt.command == command).count();
        if self.attempts.len() >= AT_ONCE_MAX || under_way > usize::from(random.per_mille(300)) {
            return None;
        }
        self.begun = self.begun.max(command + 1);
        Some(command)
    }

    pub fn send(&mut self, command: usize, node: usize, routers: &Routers, patience: Duration) {
        self.begun = self.begun.max(command + 1);
        self.attempts_begun += 1;
        let number = self.attempts_begun;
        let handle = match &self.requests[command] {
            Request::Order(request) => self.ask(number, &routers.0, request, patience),
            Request::Stock(request) => self.ask(number, &routers.1, request, patience),
        };
        self.attempts.push(Attempt { number, command, node, handle });
    }

    fn ask<A: Aggregate<Event: Debug>>(
        &self,
        number: u64,
        router: &Arc<Router<A>>,
        request: &CommandRequest<A>,
        patience: Duration,
    ) -> AbortHandle {
        let (router, request, heard) = (Arc::clone(router), request.clone(), Arc::clone(&self.heard));
        let deadline = Instant::now() + patience;
        let asking = async move {
            let answer = router.send(request, deadline).await.map(|decided| Given::of(&decided));
            heard.lock().push((number, answer));
        };
        tokio::spawn(asking).abort_handle()
    }

    /// What came in since the last time, by command id.
    pub fn heard(&mut self) -> Vec<(Uuid, Result<Given, SendError>)> {
        let heard = std::mem::take(&mut *self.heard.lock());
        let mut answers = Vec::new();
        for (number, answer) in heard {
            if let Some(at) = self.attempts.iter().position(|attempt| attempt.number == number) {
                answers.push((self.id(self.attempts[at].command), answer));
                self.attempts.remove(at);
            }
        }
        answers
    }

    /// The node has crashed: whoever asked it hears nothing.
    pub fn hang_up(&mut self, node: usize) {
        self.attempts.retain(|attempt| {
            if attempt.node == node {
                attempt.handle.abort();
            }
            attempt.node != node
        });
    }

    /// Commands of which none is under way.
    pub fn quiet(&self) -> Vec<usize> {
        let busy = |command: &usize| self.attempts.iter().any(|attempt| attempt.command == *command);
        (0..self.requests.len()).filter(|command| !busy(command)).collect()
    }

    pub fn all_quiet(&self) -> bool {
        self.attempts.is_empty()
    }
}
