//! What differs between two results of one review. Pure.

use serde::Serialize;
use serde_json::Value;

use super::unified;
use crate::examine::Examined;
use crate::verdict::{Finding, Side};

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was not there then.
    New,
    /// It is not there now.
    Gone,
    /// It stands elsewhere.
    Moved,
    /// It says something else.
    Changed,
}

/// A finding that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingChange {
    /// In which way.
    pub kind: Kind,
    /// Its title.
    pub title: String,
    /// Where it stood.
    pub then: Option<String>,
    /// Where it stands.
    pub now: Option<String>,
    /// What else differs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// Something else that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// `second_look.checked`.
    pub name: String,
    /// What it was.
    pub then: Value,
    /// What it is.
    pub now: Value,
}

/// Not those of the review: they say how it went that day. Findings are compared one by one.
const NOT_COMPARED: [&str; 3] = ["anchored", "milliseconds", "label"];

pub(super) fn compare(
    then: &Examined,
    now: &Examined,
) -> serde_json::Result<(Vec<FindingChange>, Vec<FieldChange>)> {
    let findings = findings(&placed(then), &placed(now))?;
    let (mut old, mut new) = (serde_json::to_value(then)?, serde_json::to_value(now)?);
    for value in [&mut old, &mut new] {
        let Some(fields) = value.as_object_mut() else { continue };
        fields.retain(|name, _| !NOT_COMPARED.contains(&name.as_str()));
        if !findings.is_empty() {
            // the same once more
            fields.remove("told");
        }
        if fields["second_look"]["checked"] == 0 {
            // who would have been asked
            fields["second_look"]["model"].take();
        }
    }
    let mut fields = Vec::new();
    walk("", &old, &new, &mut fields);
    Ok((findings, fields))
}

/// A finding in its place.
struct Placed<'a> {
    finding: &'a Finding,
    place: String,
    committable: bool,
}

impl Placed<'_> {
    fn is_same(&self, other: &Self) -> bool {
        (self.finding, &self.place, self.committable) == (other.finding, &other.place, other.committable)
    }

    fn is_alike(&self, other: &Self) -> bool {
        (&self.finding.title, &self.finding.path) == (&other.finding.title, &other.finding.path)
    }
}

fn placed(examined: &Examined) -> Vec<Placed<'_>> {
    let anchored = &examined.anchored;
    let inline = anchored.inline.iter().map(|comment| {
        let side = if comment.side == Side::Left { " (old)" } else { "" };
        let first = comment.start_line.map(|first| format!("{first}-")).unwrap_or_default();
        let place = format!("{}:{first}{}{side}", comment.path, comment.line);
        Placed { finding: &comment.finding, place, committable: comment.committable }
    });
    let kept = |kept, place: String| Placed { finding: kept, place, committable: false };
    let files = anchored.file.iter().map(|it| kept(&it.finding, format!("{} (file)", it.finding.path)));
    let body = anchored.body.iter().map(|it| kept(&it.finding, format!("{} (body)", it.finding.path)));
    inline.chain(files).chain(body).collect()
}

fn findings(then: &[Placed<'_>], now: &[Placed<'_>]) -> serde_json::Result<Vec<FindingChange>> {
    let mut left: Vec<&Placed<'_>> = now.iter().collect();
    let mut others: Vec<&Placed<'_>> = Vec::new();
    for old in then {
        match left.iter().position(|new| new.is_same(old)) {
            Some(at) => drop(left.remove(at)),
            None => others.push(old),
        }
    }
    let mut changes = Vec::new();
    for old in others {
        let title = old.finding.title.clone();
        let Some(at) = left.iter().position(|new| new.is_alike(old)) else {
            let (kind, then) = (Kind::Gone, Some(old.place.clone()));
            changes.push(FindingChange { kind, title, then, now: None, diff: String::new() });
            continue;
        };
        let new = left.remove(at);
        let kind = if new.place == old.place { Kind::Changed } else { Kind::Moved };
        let diff = unified(&pretty(old)?, &pretty(new)?);
        let (then, now) = (Some(old.place.clone()), Some(new.place.clone()));
        changes.push(FindingChange { kind, title, then, now, diff });
    }
    changes.extend(left.into_iter().map(|new| {
        let (title, now) = (new.finding.title.clone(), Some(new.place.clone()));
        FindingChange { kind: Kind::New, title, then: None, now, diff: String::new() }
    }));
    Ok(changes)
}

fn pretty(placed: &Placed<'_>) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(placed.finding)?;
    value["committable"] = placed.committable.into();
    serde_json::to_string_pretty(&value)
}

fn walk(name: &str, then: &Value, now: &Value, changes: &mut Vec<FieldChange>) {
    let (Some(old), Some(new)) = (then.as_object(), now.as_object()) else {
        if then != now {
            changes.push(FieldChange { name: name.to_owned(), then: then.clone(), now: now.clone() });
        }
        return;
    };
    let more = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(more) {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
        walk(&name, &of(old), &of(new), changes);
    }
}
