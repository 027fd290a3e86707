//! What an operator does before the first start on real servers, by what the binary itself says.

use std::time::{Duration, Instant};

use crate::own;
use crate::process::{Process, Run, lonja_in, order, place};

/// Each refusal names the command that helps; following them leads to a sale.
#[tokio::test]
async fn a_start_refuses_what_is_not_prepared_and_names_the_step() {
    let settings = own::settings().await;
    let run = |arguments: &str| -> Run { lonja_in(&settings, arguments) };
    for step in ["topics", "schemas", "views"] {
        let check = run(&format!("{step} check"));
        assert_eq!(check.code, Some(3), "{step}: {}", check.stderr);
        let refused = run("serve --listen 127.0.0.1:0 --operators-listen 127.0.0.1:0 --data /nonexistent");
        assert_eq!(refused.code, Some(3), "{step}: {}", refused.stderr);
        let (_, named) = refused.stderr.split_once("\nrun: lonja ").unwrap();
        let named = named.trim().replace('\'', "");
        assert!(named.starts_with(&format!("{step} apply ")), "{named}");
        // With nothing but what it says: no environment.
        let applied = lonja_in(&[], &named);
        assert_eq!(applied.code, Some(0), "{named}: {}", applied.stderr);
        let again = run(&format!("{step} apply"));
        assert_eq!(again.code, Some(0), "{step}: {}", again.stderr);
        let check = run(&format!("{step} check"));
        assert_eq!(check.code, Some(0), "{step}: {}", check.stderr);
    }
    let mut shop = Process::start_in(&settings, &[]);
    for expected in ["log       Kafka at ", "orders    PostgreSQL, ", "stock     MySQL, ", "activity  MongoDB, "] {
        assert!(shop.said().contains(expected), "{}", shop.said());
    }
    let sold = place(&shop, "a", &order("ann")).await;
    assert_eq!(sold.0, 201, "{sold:?}");
    // Owners announce themselves a moment after they begin.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let owners = run("owners --json");
        assert_eq!(owners.code, Some(0), "{}", owners.stderr);
        let rows: serde_json::Value = serde_json::from_str(&owners.stdout).unwrap();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 24, "{}", owners.stdout);
        if rows.iter().all(|row| row["state"] == "running" && row["lag"] == 0 && row["term"] == 1) {
            break;
        }
        assert!(Instant::now() < deadline, "{}", owners.stdout);
    }
    assert_eq!(tokio::task::spawn_blocking(move || shop.stop("-TERM")).await.unwrap(), Some(0));
}

#[test]
fn a_role_of_its_own_needs_kafka() {
    for role in ["gateway", "commands", "projections"] {
        let refused = lonja_in(&[], role);
        assert_eq!(refused.code, Some(2), "{role}: {}", refused.stderr);
        assert!(refused.stderr.contains(&format!("`lonja {role}` needs --kafka")), "{}", refused.stderr);
    }
}

#[test]
fn views_are_kept_in_stores_that_are_named() {
    let log = "--kafka 127.0.0.1:1 --registry http://127.0.0.1:1";
    for stores in ["", "--store mysql --postgres postgres://lonja@127.0.0.1:1/lonja"] {
        let refused = lonja_in(&[], &format!("projections {log} {stores}"));
        assert!(refused.code == Some(2) && refused.stderr.contains("name the stores"), "{}", refused.stderr);
    }
}

#[test]
fn a_step_without_its_server_is_a_usage_error() {
    for arguments in ["topics apply", "topics check", "schemas apply", "schemas check"] {
        assert_eq!(lonja_in(&[], arguments).code, Some(2), "{arguments}");
    }
    let views = lonja_in(&[], "views apply");
    assert!(views.code == Some(1) && views.stderr.contains("name a store"), "{}", views.stderr);
    let nobody = lonja_in(&[], "topics check --kafka 127.0.0.1:1");
    assert!(nobody.code == Some(1) && nobody.stderr.contains("connecting to 127.0.0.1:1"), "{}", nobody.stderr);
}
