//! Promises between files that no compiler keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use schemas::topics;

/// Asked when the test runs: a target directory that is kept may hold programs that were compiled in another clone.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo runs the tests")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `folder`.
fn sources(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Names in the `[dependencies]` table of a crate.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = read(format!("{folder}/Cargo.toml"));
    let table = manifest.split("\n[").find_map(|table| table.strip_prefix("dependencies]")).unwrap_or_default();
    let names = table.lines().filter(|line| !line.starts_with('#') && line.contains('='));
    names.map(|line| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("domain", &[][..]),
        ("schemas", &["domain"]),
        ("eventlog", &["domain", "schemas"]),
        ("commands", &["domain", "schemas", "eventlog"]),
        ("cluster", &["domain", "schemas", "eventlog", "commands"]),
        ("projections", &["domain", "schemas", "eventlog", "runtime"]),
        ("gateway", &["domain", "schemas", "eventlog", "commands", "projections", "runtime"]),
        ("operators", &["domain", "schemas", "eventlog", "projections"]),
        ("export", &["domain", "schemas", "eventlog"]),
        ("runtime", &[]),
        ("model", &["domain", "schemas", "eventlog"]),
    ]
    .into();
    for (folder, may) in &allowed {
        let ours: Vec<_> =
            dependencies(folder).into_iter().filter(|name| allowed.contains_key(name.as_str())).collect();
        for name in ours {
            assert!(may.contains(&name.as_str()), "{folder} must not depend on {name}");
        }
    }
}

#[test]
fn the_domain_depends_on_nothing_that_could_act() {
    let expected = ["iso_currency", "serde", "thiserror", "uuid"].map(str::to_owned).into();
    assert_eq!(dependencies("domain"), expected);
}

#[test]
fn only_schemas_knows_avro() {
    let folders =
        ["domain", "eventlog", "commands", "cluster", "projections", "gateway", "operators", "export", "runtime"];
    for folder in folders {
        assert!(!dependencies(folder).contains("apache-avro"), "{folder} depends on apache-avro");
    }
}

/// Who builds something else on a crate of ours does not compile them.
#[test]
fn only_the_export_knows_arrow_and_parquet() {
    let folders =
        ["domain", "schemas", "eventlog", "commands", "cluster", "projections", "gateway", "operators", "runtime"];
    for folder in folders {
        let known = dependencies(folder);
        let odd = known.iter().find(|name| name.starts_with("arrow") || *name == "parquet" || *name == "export");
        assert_eq!(odd, None, "a dependency of {folder}");
    }
}

#[test]
fn the_engine_knows_no_shop() {
    for folder in ["eventlog/src", "commands/src", "cluster/src"] {
        for path in sources(folder).into_iter().filter(|path| !path.ends_with("tests.rs")) {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in ["domain::order", "domain::stock", "topics::ORDER", "topics::STOCK"] {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn only_one_file_knows_status_codes_of_errors() {
    for path in sources("gateway/src").into_iter().chain(sources("operators/src")) {
        if path.ends_with("problem.rs") || path.ends_with("problem/status.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for code in ["BAD_REQUEST", "CONFLICT", "UNPROCESSABLE", "NOT_FOUND", "GATEWAY_TIMEOUT", "PRECONDITION"] {
            assert!(!text.contains(&format!("StatusCode::{code}")), "{} knows {code}", path.display());
        }
    }
}

#[test]
fn each_error_has_a_page_and_each_page_an_error() {
    let pages = fs::read_dir(root().join("docs/errors")).unwrap();
    let pages: BTreeSet<String> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    let public = gateway::problem::KINDS.iter().map(|kind| kind.code);
    let codes = public.chain(operators::problem::KINDS.iter().map(|kind| kind.code));
    assert_eq!(pages, codes.map(|code| format!("{code}.md")).collect());
}

#[test]
fn the_topics_in_the_readme_are_the_table() {
    let readme = read("README.md");
    let rows: BTreeSet<&str> =
        readme.lines().filter(|line| line.starts_with("| `") && line.contains(".events`")).collect();
    let table: Vec<String> = topics::ALL
        .iter()
        .map(|topic| format!("| `{}` | {} | {} | for ever |", topic.name, topic.key, topic.partitions))
        .collect();
    assert_eq!(rows, table.iter().map(String::as_str).collect());
}

#[test]
fn every_schema_file_is_in_the_topics_table() {
    let files = fs::read_dir(root().join("schemas/avro")).unwrap();
    let files: BTreeSet<String> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names = topics::ALL.iter().flat_map(|topic| topic.records).map(|record| format!("{}.avsc", record.name));
    assert_eq!(files, names.collect());
}

#[test]
fn files_named_in_the_architecture_exist() {
    let text = read("ARCHITECTURE.md");
    let named = text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") && name.contains('/'));
    let mut checked = 0;
    for name in named.filter(|name| !name.contains('*') && !name.contains("NAME")) {
        assert!(root().join(name).exists(), "ARCHITECTURE.md names {name}, which is not there");
        checked += 1;
    }
    assert!(checked > 10, "only {checked} names were found");
}
