//! A reviewer without a model: it reads the diff out of the prompt it is given and reports the added lines that
//! match a few patterns, in the project's review JSON. So a stand-in's answer depends on what was really asked.

use serde_json::{Value, json};

use crate::shown::{self, Shown};

/// What it knows to look for.
struct Rule {
    pattern: &'static str,
    name: &'static str,
    severity: &'static str,
    category: &'static str,
    title: &'static str,
}

/// Pattern, name, severity, category, title.
const fn rule([pattern, name, severity, category, title]: [&'static str; 5]) -> Rule {
    Rule { pattern, name, severity, category, title }
}

const RULES: &[Rule] = &[
    rule(["format!(\"SELECT", "sql-injection", "blocker", "security", "User input is pasted into SQL"]),
    rule(["password", "hardcoded-secret", "blocker", "security", "A password in the code"]),
    rule(["eval(", "code-injection", "blocker", "security", "Input is run as code"]),
    rule(["innerHTML", "cross-site-scripting", "major", "security", "Text becomes HTML without escaping"]),
    rule([".unwrap()", "unchecked-unwrap", "major", "bug", "Panics when there is no value"]),
    rule(["<= items.length", "off-by-one", "major", "bug", "The loop runs one past the end"]),
    rule(["TODO", "left-to-do", "nit", "design", "Left to do"]),
];

/// Looks at the added lines of the prompt's diff and answers with a review.
pub fn review(prompt: &str) -> Value {
    let mut findings = Vec::new();
    for line in shown::lines(prompt).filter(|line| line.sign == '+' && line.in_focus) {
        if let Some(rule) = RULES.iter().find(|rule| line.text.contains(rule.pattern)) {
            findings.push(finding(line, rule));
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

fn finding(line: Shown<'_>, rule: &Rule) -> Value {
    let Rule { pattern, name, severity, category, title } = rule;
    json!({
        "path": line.path, "line": line.number, "end_line": line.number, "side": "RIGHT", "quote": line.text,
        "severity": severity, "category": category, "rule": name, "title": title,
        "body": format!("`{pattern}` on this line: an empty or hostile value gets through."), "suggestion": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_from_the_added_lines_of_the_prompt() {
        let prompt =
            "| 1+password\n=== src/a.rs (was b.rs)\n@@ fn a\n1 x.unwrap()\n2-eval(x)\n2+    x.unwrap() + 1\n";
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
