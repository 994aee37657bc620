//! A reviewer without a model: it reads the diff out of the prompt it is given and reports the added lines that
//! match a few patterns, in the project's review JSON. So a stand-in's answer depends on what was really asked.

use serde_json::{Value, json};

/// Pattern, severity, category, title.
type Rule = (&'static str, &'static str, &'static str, &'static str);

const RULES: &[Rule] = &[
    ("format!(\"SELECT", "blocker", "security", "User input is pasted into SQL"),
    ("password", "blocker", "security", "A password in the code"),
    ("eval(", "blocker", "security", "Input is run as code"),
    ("innerHTML", "major", "security", "Text becomes HTML without escaping"),
    (".unwrap()", "major", "bug", "Panics when there is no value"),
    ("<= items.length", "major", "bug", "The loop runs one past the end"),
    ("TODO", "nit", "design", "Left to do"),
];

/// Reads `=== path`, then `12+added` lines, and answers with a review.
pub fn review(prompt: &str) -> Value {
    let mut path = "";
    let mut findings = Vec::new();
    for line in prompt.lines() {
        if let Some(header) = line.strip_prefix("=== ") {
            path = bare_path(header);
        } else if let Some((number, text)) = added(line)
            && let Some(rule) = RULES.iter().find(|(pattern, ..)| text.contains(pattern))
        {
            findings.push(finding(path, number, text, rule));
        }
    }
    let worst = |severity: &str| findings.iter().any(|finding| finding["severity"] == severity);
    let verdict = match () {
        () if worst("blocker") || worst("major") => "request_changes",
        () if findings.is_empty() => "approve",
        () => "comment",
    };
    let remember: &[&str] = if worst("blocker") {
        &["User input is bound as a parameter, never put into SQL or code."]
    } else {
        &[]
    };
    json!({
        "summary": format!("{} of the added lines need a look.", findings.len()),
        "verdict": verdict, "findings": findings, "remember": remember,
    })
}

fn finding(path: &str, number: u64, text: &str, (pattern, severity, category, title): &Rule) -> Value {
    json!({
        "path": path, "line": number, "end_line": number, "side": "RIGHT", "quote": text, "severity": severity,
        "category": category, "title": title,
        "body": format!("`{pattern}` on this line: an empty or hostile value gets through."), "suggestion": null,
    })
}

/// The path without `(new)`, `(deleted)` or `(was …)`.
fn bare_path(header: &str) -> &str {
    let marked = [" (new)", " (deleted)", " (was "].iter().find_map(|mark| header.find(mark));
    marked.map_or(header, |at| &header[..at])
}

/// Number and text of `12+text`.
fn added(line: &str) -> Option<(u64, &str)> {
    let (number, text) = line.split_once('+')?;
    Some((number.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_from_the_added_lines_of_the_prompt() {
        let prompt = "| 1+password\n=== src/a.rs (was b.rs)\n@@ fn a\n1 x.unwrap()\n-2 eval(x)\n2+    x.unwrap() + 1\n";
        let review = review(prompt);
        assert_eq!(review["findings"].as_array().unwrap().len(), 1);
        let finding = &review["findings"][0];
        assert_eq!((&finding["path"], &finding["line"]), (&json!("src/a.rs"), &json!(2)));
        assert_eq!(finding["quote"], "    x.unwrap() + 1");
        assert_eq!(review["verdict"], "request_changes");
    }

    #[test]
    fn nothing_found_is_an_approval() {
        assert_eq!(review("=== a\n@@\n1+fn a() {}\n")["verdict"], "approve");
    }
}
