//! What goes wrong in the world, and its end.

use eventlog::Partition;

use super::World;

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Crash,
    Restart,
    FallBehind,
    Move,
    Adopt,
    Copy,
    Truncate,
    Lose,
    Outage,
    Projector,
}

impl World {
    pub(super) fn any_fault(&self) -> Option<Fault> {
        let plan = &self.plan;
        let rates = [
            (plan.crashes, Fault::Crash),
            (plan.crashes * 4, Fault::Restart),
            (plan.crashes * 2, Fault::FallBehind),
            (plan.moves, Fault::Move),
            (10, Fault::Adopt),
            (plan.copies, Fault::Copy),
            (plan.truncations, Fault::Truncate),
            (if self.losses_left > 0 { 3 } else { 0 }, Fault::Lose),
            (if self.outage { 60 } else { plan.outages }, Fault::Outage),
            (plan.projector_crashes + 2, Fault::Projector),
        ];
        let mut roll = self.random.within(0..1_000);
        for (rate, fault) in rates {
            if roll < rate {
                return Some(fault);
            }
            roll -= rate;
        }
        None
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), String> {
        let at = self.random.index(self.partitions.len());
        let node = self.random.index(self.nodes.len());
        let partition = self.partitions[at].0;
        match fault {
            Fault::Crash if self.nodes[node].is_alive() => self.crash(node),
            Fault::Restart if !self.nodes[node].is_alive() => self.start(node),
            Fault::Crash | Fault::Restart => {}
            Fault::FallBehind => self.nodes[node].fall_behind(),
            Fault::Move => self.assign(at),
            // A group notices that nobody owns a partition.
            Fault::Adopt => match self.partitions.iter().position(|(_, believers)| believers.is_empty()) {
                Some(at) => self.assign(at),
                None => {}
            },
            Fault::Copy => {
                let ever = self.log.history(partition).len();
                if ever > 0 {
                    let index = self.random.index(ever);
                    self.trace.note(|| format!("{partition}: a copy of the record written as number {index}"));
                    self.log.copy(partition, index);
                }
            }
            Fault::Truncate => {
                let (end, replicated) = self.log.ends(partition);
                if end > replicated {
                    self.truncate(partition, self.random.within(replicated..end))?;
                }
            }
            Fault::Lose => {
                let (end, replicated) = self.log.ends(partition);
                if replicated > 0 {
                    self.losses_left -= 1;
                    self.lost.push(partition);
                    let from = if self.random.per_mille(100) { 0 } else { replicated.saturating_sub(8) };
                    self.truncate(partition, self.random.within(from..end))?;
                }
            }
            Fault::Outage => {
                self.outage = !self.outage;
                self.trace.note(|| format!("outage: {}", self.outage));
                self.log.set_unavailable(self.outage);
            }
            Fault::Projector => {
                let (view, seat) = (self.random.index(self.views.len()), self.random.index(2));
                self.toggle(view, seat);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, partition: Partition, end: u64) -> Result<(), String> {
        self.trace.note(|| format!("{partition} is truncated to {end}"));
        self.judge.truncated(partition, end, &self.log)?;
        self.log.truncate(partition, end);
        Ok(())
    }

    /// Faults end: everybody runs, and each partition has one owner.
    pub fn heal(&mut self) {
        self.trace.note(|| "everything heals".to_owned());
        self.log.set_unavailable(false);
        self.never.clear();
        self.network.heal();
        for line in self.log.lines().into_iter().filter(|line| !self.log.is_alive(*line)) {
            if self.random.per_mille(500) {
                while self.log.lines().contains(&line) {
                    self.log.forget(line);
                }
            }
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_alive() {
                self.start(node);
            }
        }
        for at in 0..self.partitions.len() {
            let node = self.random.index(self.nodes.len());
            self.give(at, node, false);
        }
        for view in 0..self.views.len() {
            let place = self.any_place();
            place.iter().for_each(|place| self.views[view].heal(place));
        }
    }
}
