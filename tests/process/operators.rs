//! The verbs of operators, as they type them.

use crate::process::{Process, lonja_in};

#[test]
fn a_verb_asks_the_process_that_is_named() {
    let shop = Process::start(&[]);
    let there = [("LONJA_OPERATORS", shop.operators().to_owned())];
    let none = lonja_in(&there, "audit");
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "nobody has changed anything yet\n"), "{}", none.stderr);
    let json = lonja_in(&there, "audit --json --limit 5");
    assert_eq!((json.code, json.stdout.as_str()), (Some(0), "[]\n"), "{}", json.stderr);
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let nobody = lonja_in(&[], "audit --operators http://127.0.0.1:1");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("nobody answers at http://127.0.0.1:1"), "{}", nobody.stderr);
    let shop = Process::start(&[]);
    let other = lonja_in(&[], &format!("audit --operators http://{}", shop.address()));
    assert!(other.code == Some(1) && other.stderr.contains("route_not_found"), "{}", other.stderr);
}
