//! What a seed makes happen, and how often. Each seed has some kinds of faults and lacks others: with all of them at once the
//! interesting ones would hide each other.

use crate::random::Random;

/// Rates are per mille: of the appends, reports or steps concerned.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub nodes: usize,
    pub steps: u64,
    pub commands: usize,
    pub skus: usize,
    pub orders: usize,
    /// Of appends.
    pub fails: u64,
    pub holes: u64,
    pub twice: u64,
    /// Of reports.
    pub no_offset: u64,
    pub failed_though_there: u64,
    pub never: u64,
    pub out_of_order: u64,
    /// Of steps.
    pub copies: u64,
    pub crashes: u64,
    pub moves: u64,
    pub truncations: u64,
    pub outages: u64,
    pub projector_crashes: u64,
    /// Of operations of a view's store.
    pub store_errors: u64,
    /// Of requests and answers between nodes.
    pub lost_messages: u64,
    /// Two nodes may be assigned the same partition.
    pub splits: bool,
    /// The log loses acknowledged records, so many times.
    pub losses: u64,
    /// Clocks of nodes are wrong by up to a day.
    pub skewed: bool,
    /// Records of one read at most.
    pub batch_max: usize,
    /// Nobody folds who does not live in a node's process.
    pub inside: bool,
}

impl Plan {
    pub fn of(random: &Random) -> Self {
        // Present in two of three seeds, at a rate that varies.
        let some = |most: u64| if random.per_mille(667) { random.within(1..most + 1) } else { 0 };
        Self {
            nodes: random.within(1..4) as usize,
            steps: random.within(600..2_200),
            commands: random.within(20..90) as usize,
            skus: random.within(1..4) as usize,
            orders: random.within(1..5) as usize,
            fails: some(60),
            holes: some(60),
            twice: some(60),
            no_offset: some(60),
            failed_though_there: some(60),
            never: some(30),
            out_of_order: some(60),
            copies: some(20),
            crashes: some(8),
            moves: some(12),
            truncations: some(10),
            outages: some(4),
            projector_crashes: some(10),
            store_errors: some(80),
            lost_messages: some(80),
            splits: random.per_mille(667),
            losses: if random.per_mille(200) { random.within(1..3) } else { 0 },
            skewed: random.per_mille(333),
            batch_max: random.within(1..40) as usize,
            inside: random.per_mille(500),
        }
    }
}
