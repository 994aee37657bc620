use super::*;
use proptest::prelude::*;

fn answer() -> Value {
    json!({"summary": " Adds a cache. ", "verdict": "comment", "remember": ["", "Errors are typed"], "findings": [{
        "path": "src/a.rs", "line": 3, "end_line": 3, "side": "RIGHT", "quote": "x", "severity": "major",
        "category": "bug", "rule": " Off by ONE_error", "title": "Off by one\nsecond line", "body": "b", "suggestion": null}]})
}

#[test]
fn an_answer_is_validated_and_cut_to_size() {
    let review = parse(&answer().to_string()).unwrap();
    assert_eq!((review.summary.as_str(), review.opinion), ("Adds a cache.", Opinion::Comment));
    assert_eq!(
        (review.findings[0].title.as_str(), review.findings[0].rule.as_str()),
        ("Off by one", "off-by-one-error")
    );
    assert_eq!(review.remember, ["Errors are typed"]);
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_the_reason() {
    for (pointer, value, reason) in [
        ("/verdict", json!("great"), "unknown variant `great`"),
        ("/findings/0/side", json!("right"), "unknown variant"),
        ("/findings/0/path", json!(null), "invalid type: null"),
        ("/summary", json!("  "), "no summary"),
    ] {
        let mut bad = answer();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(parse(&bad.to_string()).unwrap_err().contains(reason), "{pointer}");
    }
    assert!(parse("I think it is fine").is_err());
}

#[test]
fn a_line_that_cannot_be_costs_its_place_not_the_review() {
    let mut odd = answer();
    for (given, line) in [
        (json!(-4), 0),
        (json!(12), 12),
        (json!(12.0), 12),
        (json!(12.5), 0),
        (json!(1e300), 0),
        (json!(9_000_000_000_u64), 0),
    ] {
        *odd.pointer_mut("/findings/0/line").unwrap() = given;
        assert_eq!(parse(&odd.to_string()).unwrap().findings[0].line, line);
    }
}

#[test]
fn of_too_many_findings_the_most_severe_stay() {
    let mut many = answer();
    let findings = many["findings"].as_array_mut().unwrap();
    let mut nit = findings[0].clone();
    nit["severity"] = json!("nit");
    *findings = (0..70).map(|i| if i % 2 == 0 { nit.clone() } else { findings[0].clone() }).collect();
    let review = parse(&many.to_string()).unwrap();
    assert_eq!(review.findings.len(), MOST_FINDINGS);
    assert_eq!(review.findings.iter().filter(|f| f.severity == Severity::Major).count(), 35);
    assert!(review.summary.ends_with("(20 less severe findings were cut.)"));
}

#[test]
fn an_answer_without_rules_is_still_an_answer() {
    let mut old = answer();
    old["findings"][0].as_object_mut().unwrap().remove("rule");
    assert_eq!(parse(&old.to_string()).unwrap().findings[0].rule, "");
}

#[test]
fn the_quoted_line_is_the_first_that_says_something() {
    let quoted = |quote: &str| {
        let mut review = parse(&answer().to_string()).unwrap();
        review.findings[0].quote = quote.to_owned();
        review.findings[0].quoted_line().to_owned()
    };
    assert_eq!([quoted("\n  a\n b"), quoted(" \n"), quoted("")], ["  a", "", ""]);
}

fn part(summary: &str, opinion: Opinion, titles: &[&str], remember: &[&str]) -> Review {
    let mut review = parse(&answer().to_string()).unwrap();
    let findings =
        titles.iter().map(|title| Finding { title: (*title).into(), ..review.findings[0].clone() });
    review.findings = findings.collect();
    let remember = remember.iter().map(|memory| (*memory).to_owned()).collect();
    Review { summary: summary.into(), opinion, remember, ..review }
}

#[test]
fn parts_are_merged_and_nothing_is_said_twice() {
    let merged = merge(vec![
        part("One.", Opinion::Comment, &["a", "b"], &["x", "y"]),
        part("Two.", Opinion::RequestChanges, &["b", "c", "c"], &["y", "z"]),
        part("One.", Opinion::Approve, &[], &[]),
    ]);
    assert_eq!((merged.summary.as_str(), merged.opinion), ("One.\n\nTwo.", Opinion::RequestChanges));
    let titles: Vec<_> = merged.findings.iter().map(|finding| finding.title.as_str()).collect();
    assert_eq!(titles, ["a", "b", "c"]);
    assert_eq!(merged.remember, ["x", "y", "z"]);
    let one = part("One.", Opinion::Approve, &["a"], &["x"]);
    assert_eq!(merge(vec![one.clone()]), one);
}

#[test]
fn no_review_is_no_approval() {
    assert_eq!(merge(vec![]).opinion, Opinion::Comment);
}

#[test]
fn what_is_merged_keeps_its_bounds() {
    let many = |name: &str| {
        let titles: Vec<String> = (0..40).map(|n| format!("{name}{n}")).collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let mut part = part(&name.repeat(9_000), Opinion::Comment, &titles, &titles);
        part.findings.iter_mut().step_by(2).for_each(|finding| finding.severity = Severity::Nit);
        part
    };
    let merged = merge(vec![many("a"), many("b")]);
    assert_eq!((merged.findings.len(), merged.remember.len()), (MOST_FINDINGS, MOST_MEMORIES));
    let majors = merged.findings.iter().filter(|finding| finding.severity == Severity::Major).count();
    assert_eq!((majors, merged.findings[0].title.as_str()), (40, "a0"));
    assert!(merged.summary.chars().count() < LONGEST_SUMMARY + 100);
    assert!(merged.summary.contains("b") && merged.summary.ends_with("(30 less severe findings were cut.)"));
}

/// The rules of structured output: every object closed, all properties required, no bounds.
#[test]
fn the_schema_keeps_the_rules() {
    fn check(schema: &Value) {
        let Some(object) = schema.as_object() else { return };
        if object.get("type") == Some(&json!("object")) {
            assert_eq!(object["additionalProperties"], json!(false));
            let required: Vec<_> =
                object["required"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
            assert!(
                object["properties"].as_object().unwrap().keys().all(|key| required.contains(&key.as_str()))
            );
        }
        for bound in ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"] {
            assert!(!object.contains_key(bound));
        }
        object.values().for_each(check);
    }
    check(&schema());
    check(&schema()["properties"]["findings"]["items"]);
}

proptest! {
    #[test]
    fn any_text_is_an_answer_or_an_error(text in ".{0,200}") {
        prop_assert!(parse(&text).is_err());
    }
}
