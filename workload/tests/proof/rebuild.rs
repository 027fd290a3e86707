use std::path::Path;

use lonja_workload::faults::place::{Place, Tools, text};
use serde_json::Value;

use crate::FromEnvironment;

/// A short run of `cargo xtask bench rebuild`. What is judged is that each page shows what was written before it, and that rows
/// are what the log says; how fast it was is a figure.
#[test]
fn views_are_rebuilt_beside_live_traffic() {
    const EVENTS: u64 = 200_000;
    let stack = FromEnvironment::stack();
    let tools = Tools::beside(Path::new(env!("CARGO_BIN_EXE_workload")), stack.clone()).unwrap();
    let place = Place::new(&tools, stack, 1).unwrap();
    let json = place.dir.path().join("rebuilt.json");
    let mut bench = place.command("workload");
    bench.args([
        "bench",
        "rebuild",
        "--events",
        &EVENTS.to_string(),
        "--live-rate",
        "100",
        "--rounds",
        "2",
        "--round-seconds",
        "2",
        "--settle-seconds",
        "0",
        "--rate",
        "20000",
    ]);
    bench.arg("--json").arg(&json);
    for name in ["LONJA_CACHE", "LONJA_PYTHON"] {
        bench.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let done = bench.output().unwrap();
    assert!(done.status.success(), "{}", text(&done));
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let views = report[0]["views"].as_array().unwrap();
    let folded: Vec<_> = views
        .iter()
        .map(|rebuilt| &rebuilt["replay"])
        .map(|replay| (replay["view"].as_str().unwrap(), replay["records_in_all"].as_u64().unwrap()))
        .collect();
    for (view, at_least) in [("order_detail", EVENTS / 2), ("stock_level", EVENTS / 2), ("activity_feed", EVENTS)] {
        let (_, records) = folded.iter().find(|(name, _)| *name == view).unwrap();
        assert!(*records > at_least, "{view}: {report:#}");
    }
    for rebuilt in views {
        let replay = &rebuilt["replay"];
        assert!(replay["differences"] == 0 && replay["rows"].as_u64() > Some(0), "{report:#}");
        assert!(rebuilt["pace"].as_f64() > Some(0.0), "{report:#}");
        for (traffic, beside) in [("rounds", "nothing"), ("rounds", "replay"), ("live", "comparison")] {
            let live = &rebuilt[traffic];
            assert_eq!(live["wrong"], 0, "{report:#}");
            let felt = &live["felt"][beside];
            assert!(felt["commands"]["count"].as_u64() > Some(0), "{beside}: {report:#}");
            assert_eq!(felt["visible"].as_object().unwrap().len(), 4, "{beside}: {report:#}");
        }
    }
}
