use std::path::Path;

use lonja_workload::faults::place::{Place, Tools, text};
use serde_json::Value;

use crate::FromEnvironment;

/// A short run of `cargo xtask sell`.
#[test]
fn real_baskets_are_the_same_in_the_log_the_stores_and_the_input() {
    const BASKETS: u64 = 500;
    let stack = FromEnvironment::stack();
    let tools = Tools::beside(Path::new(env!("CARGO_BIN_EXE_workload")), stack.clone()).unwrap();
    let place = Place::new(&tools, stack, 1).unwrap();
    let json = place.dir.path().join("sold.json");
    let mut sell = place.command("workload");
    sell.args(["sell", "--baskets", &BASKETS.to_string(), "--json"]).arg(&json);
    for name in ["LONJA_CACHE", "LONJA_PYTHON"] {
        sell.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let done = sell.output().unwrap();
    assert!(done.status.success(), "{}", text(&done));
    let sold: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&sold["orders_sold"], &sold["orders_in_log"]), (&BASKETS.into(), &BASKETS.into()), "{sold:#}");
    assert_eq!(sold["differences"], serde_json::json!([]), "{sold:#}");
    for view in ["order_detail", "order_list", "activity_feed"] {
        let rows = &sold["rows"][view];
        assert_eq!((&rows["expected"], &rows["equal"]), (&BASKETS.into(), &BASKETS.into()), "{view}: {sold:#}");
    }
    let days = sold["days"].as_array().unwrap();
    assert!(!days.is_empty(), "{sold:#}");
}
