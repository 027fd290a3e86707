use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
    lines: Vec<Object<Line>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    quantity: i64,
}

/// Everything that is wrong with `body`, as `code pointer: detail`.
fn wrong(body: &[u8]) -> String {
    let Err(problem) = parse::<Order>(body) else { panic!("{body:?} was accepted") };
    let text = format!("{problem:?}");
    assert!(text.contains("malformed_request"), "{text}");
    let error = &problem.errors()[0];
    format!("{} {}: {}", error.code, error.pointer, error.detail)
}

#[test]
fn what_is_not_the_expected_json_is_told_with_its_place() {
    for (body, expected) in [
        ("", "syntax : EOF while parsing a value at line 1 column 0"),
        ("{", "syntax : EOF while parsing an object at line 1 column 1"),
        ("{'name':1}", "syntax : key must be a string at line 1 column 2"),
        ("null", "wrong_type : invalid type: null, expected an object at line 1 column 4"),
        ("[]", "wrong_type : invalid type: sequence, expected an object at line 1 column 0"),
        (r#"["a",[]]"#, "wrong_type : invalid type: sequence, expected an object at line 1 column 0"),
        ("{}", "missing_field : missing field `name` at line 1 column 2"),
        (r#"{"name":"a","lines":[]} x"#, "trailing_data : trailing characters at line 1 column 25"),
        (r#"{"name":"a","lines":[]}{}"#, "trailing_data : trailing characters at line 1 column 24"),
        (
            r#"{"name":1,"lines":[]}"#,
            "wrong_type /name: invalid type: integer `1`, expected a string at line 1 column 9",
        ),
        (r#"{"name":"a","name":"b","lines":[]}"#, "duplicate_field : duplicate field `name` at line 1 column 18"),
        (
            r#"{"name":"a","lines":[{"quantity":1},{"quantity":1,"price":2}]}"#,
            "unknown_field /lines/1/price: unknown field `price`, expected `quantity` at line 1 column 57",
        ),
        (
            r#"{"name":"a","lines":[{"quantity":1.5}]}"#,
            "wrong_type /lines/0/quantity: invalid type: floating point `1.5`, expected i64 at line 1 column 36",
        ),
        (
            r#"{"name":"a","lines":[{"quantity":99999999999999999999}]}"#,
            "wrong_type /lines/0/quantity: invalid type: floating point `1e+20`, expected i64 at line 1 column 53",
        ),
        (
            r#"{"name":"a","lines":[{"quantity":1e999}]}"#,
            "number_out_of_range /lines/0/quantity: number out of range at line 1 column 38",
        ),
        (
            r#"{"name":"a","lines":[[1]]}"#,
            "wrong_type /lines/0: invalid type: sequence, expected an object at line 1 column 21",
        ),
        (
            "{\"name\":\"a\u{0}\"}",
            "syntax /name: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 11",
        ),
        (r#"{"name":"\ud800"}"#, "syntax /name: unexpected end of hex escape at line 1 column 16"),
        ("\u{feff}{}", "syntax : expected value at line 1 column 1"),
    ] {
        assert_eq!(wrong(body.as_bytes()), expected, "{body}");
    }
    assert_eq!(wrong(b"{\"name\":\"\xff\"}"), "invalid_utf8 : the body is not UTF-8 after byte 9");
}

#[test]
fn nesting_is_refused_and_never_followed() {
    let deep = "[".repeat(100_000);
    assert!(wrong(deep.as_bytes()).starts_with("wrong_type : "));
    let inside = format!(r#"{{"name":{}"#, "{\"a\":".repeat(100_000));
    assert!(wrong(inside.as_bytes()).starts_with("wrong_type /name: "));
    let unknown = format!(r#"{{"x":{deep}"#);
    assert!(wrong(unknown.as_bytes()).starts_with("unknown_field /x: "));
}

#[test]
fn what_a_caller_sends_is_not_repeated_at_length() {
    let long = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
    assert!(wrong(long.as_bytes()).len() < 700);
}

#[test]
fn well_formed_json_is_read() {
    let order = parse::<Order>(br#" {"lines":[{"quantity":2}],"name":"caf\u00e9"} "#).unwrap();
    assert_eq!(order, Order { name: "café".into(), lines: vec![Object(Line { quantity: 2 })] });
}

#[test]
fn only_json_is_read() {
    let accepts = |value: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.extend(value.map(|value| (CONTENT_TYPE, axum::http::HeaderValue::from_static(value))));
        check_media_type(&headers).is_ok()
    };
    assert!(accepts(Some("application/json")) && accepts(Some("Application/JSON; charset=UTF-8")));
    for bad in [None, Some("text/json"), Some("application/json; charset=latin1"), Some("application/jsonx"), Some("")]
    {
        assert!(!accepts(bad), "{bad:?}");
    }
}
