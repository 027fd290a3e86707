//! Whether each part of the process can do its work.

use std::collections::BTreeMap;

use serde::Serialize;

/// Says `Ok` when its part is ready, else why not, in words for operators. It must not block.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The parts of the process.
#[derive(Default)]
pub struct Health {
    parts: BTreeMap<String, Check>,
}

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every part is ready.
    pub ready: bool,
    /// Each part by name.
    pub parts: BTreeMap<String, Part>,
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Whether it can do its work.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Health {
    /// Adds a part.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, check: Check) -> Self {
        self.parts.insert(name.into(), check);
        self
    }

    /// Asks every part.
    #[must_use]
    pub fn report(&self) -> Report {
        let parts: BTreeMap<_, _> = self.parts.iter().map(|(name, check)| (name.clone(), Part::of(check()))).collect();
        Report { ready: parts.values().all(|part| part.ready), parts }
    }
}

impl Part {
    fn of(state: Result<(), String>) -> Self {
        Self { ready: state.is_ok(), reason: state.err() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_ready_when_every_part_is() {
        let good = Health::default().with("a", Box::new(|| Ok(())));
        assert!(good.report().ready);
        let bad = good.with("b", Box::new(|| Err("no owner of order.events/3".into())));
        let report = serde_json::to_value(bad.report()).unwrap();
        let expected = serde_json::json!({"ready": false, "parts": {
            "a": {"ready": true}, "b": {"ready": false, "reason": "no owner of order.events/3"}}});
        assert_eq!(report, expected);
    }
}
