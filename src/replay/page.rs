//! A comparison of generations as a page.

use std::fmt::Write;

use serde_json::Value;

const STYLE: &str = "body{font:14px system-ui;margin:2em}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;\
vertical-align:top}table{border-collapse:collapse}.from{background:#fdd}.to{background:#dfd}code{white-space:pre-wrap}";

/// The page.
pub fn render(diff: &Value) -> String {
    let text = |value: &Value| escape(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
    let view = text(&diff["view"]);
    let mut page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{view}: {to} against {from}</title><style>{STYLE}</style>\
<h1>{view}: generation {to} against {from}, which is live</h1>\
<p>{same} rows are the same, {added} added, {removed} removed, {changed} changed.</p>\
<table><tr><th>row</th><th>field</th><th>live</th><th>new</th></tr>",
        to = text(&diff["to"]),
        from = text(&diff["from"]),
        same = text(&diff["same"]),
        added = text(&diff["added"]),
        removed = text(&diff["removed"]),
        changed = text(&diff["changed"]),
    );
    for change in diff["samples"].as_array().into_iter().flatten() {
        for (field, from, to) in fields(&change["from"], &change["to"]) {
            // Writing to a string cannot fail.
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"from\"><code>{}</code></td><td class=\"to\"><code>{}</code></td></tr>",
                text(&change["key"]),
                escape(&field),
                escape(&from),
                escape(&to)
            );
        }
    }
    page + "</table>\n"
}

/// Fields that are not the same; the whole row where one of both is not there.
fn fields(from: &Value, to: &Value) -> Vec<(String, String, String)> {
    let show = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else {
        return vec![("(row)".to_owned(), show(from), show(to))];
    };
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let different = names.filter(|name| from[name.as_str()] != to[name.as_str()]);
    different.map(|name| (name.clone(), show(&from[name.as_str()]), show(&to[name.as_str()]))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_different_is_on_the_page_and_nothing_else() {
        let page = render(&json!({
            "view": "v", "from": 1, "to": 2, "same": 7, "added": 1, "removed": 0, "changed": 1,
            "samples": [
                {"key": "a", "from": {"x": 1, "y": "<b>"}, "to": {"x": 2, "y": "<b>"}},
                {"key": "b", "from": null, "to": {"x": "<i>"}},
            ],
        }));
        assert!(page.contains("<td>a</td><td>x</td><td class=\"from\"><code>1</code></td>"), "{page}");
        assert!(!page.contains("<td>y</td>") && !page.contains("<i>") && page.contains("&lt;i&gt;"), "{page}");
    }
}
