//! Errors in GitHub's words: most come with status 200, beside what could be read.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{Error, ErrorExtensions, Pos, Response, ServerError, ServerResult};
use serde_json::{Map, Value, json};

use super::Asking;

/// An error of a kind that GitHub names beside the message.
pub(crate) fn refuse(kind: &str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("type", kind))
}

/// Makes the fields fail that a test wants to.
pub(crate) struct Failing;

impl ExtensionFactory for Failing {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Failing {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<async_graphql::Value>> {
        let field = format!("{}.{}", info.parent_type, info.name);
        let failing = ctx.data::<Asking>().ok().and_then(|asking| {
            let state = asking.site.state();
            state.graphql.failing.iter().find(|(name, ..)| *name == field).cloned()
        });
        let (path, is_nullable) = (path_of(&info), !info.return_type.ends_with('!'));
        let answer = match failing {
            None => next.run(ctx, info).await,
            Some((_, kind, message)) => Err(refuse(&kind, message).into_server_error(Pos::default())),
        };
        answer.map_err(|error| {
            let mut error = if error.path.is_empty() { error.with_path(path) } else { error };
            let extensions = error.extensions.get_or_insert_default();
            if extensions.get(NULLABLE).is_none() {
                extensions.set(NULLABLE, is_nullable);
            }
            error
        })
    }
}

/// Whether the field that failed may be null; for [`in_githubs_words`] alone.
const NULLABLE: &str = "nullable";

fn path_of(info: &ResolveInfo<'_>) -> Vec<async_graphql::PathSegment> {
    use async_graphql::{PathSegment, QueryPathSegment};
    let mut path: Vec<_> = std::iter::successors(Some(info.path_node), |node| node.parent)
        .map(|node| match node.segment {
            QueryPathSegment::Index(index) => PathSegment::Index(index),
            QueryPathSegment::Name(name) => PathSegment::Field(name.to_owned()),
        })
        .collect();
    path.reverse();
    path
}

pub(crate) fn syntax(error: &async_graphql::parser::Error) -> Value {
    let place = error.positions().next();
    let locations: Vec<_> = place.iter().map(|at| json!({"line": at.line, "column": at.column})).collect();
    let at = place.map(|at| format!(" at [{}, {}]", at.line, at.column)).unwrap_or_default();
    json!({"errors": [{"message": format!("Parse error on the query{at}"), "locations": locations}]})
}

pub(crate) fn too_many_nodes(nodes: usize, most: usize) -> Value {
    let message = format!(
        "This query requests up to {nodes} possible nodes which exceeds the maximum limit of {most}."
    );
    json!({"errors": [{"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message}]})
}

/// The whole answer. A query that does not fit the schema gets no `data` at all.
pub(crate) fn in_githubs_words(answer: &Response) -> Value {
    let mut data = serde_json::to_value(&answer.data).unwrap_or_default();
    let mut errors: Vec<Value> = answer.errors.iter().map(error).collect();
    if errors.is_empty() {
        return json!({"data": data});
    }
    if data.is_null() && answer.errors.iter().all(|error| error.path.is_empty()) {
        return json!({"errors": errors});
    }
    for error in &mut errors {
        let nullable = error.as_object_mut().and_then(|fields| fields.remove(NULLABLE));
        let path = error["path"].as_array().map(Vec::as_slice).unwrap_or_default();
        give_up(&mut data, path, nullable != Some(Value::Bool(false)));
    }
    json!({"data": data, "errors": errors})
}

fn error(error: &ServerError) -> Value {
    let mut shown = serde_json::to_value(error).unwrap_or_default();
    let extensions = shown.get_mut("extensions").and_then(Value::as_object_mut).map(std::mem::take);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("extensions");
        fields.extend(extensions.unwrap_or_default());
    }
    if let Some((message, extensions)) = violation(&error.message) {
        shown["message"] = json!(message);
        shown["extensions"] = Value::Object(extensions);
    }
    shown
}

/// What does not fit the schema, as GitHub says it.
fn violation(message: &str) -> Option<(String, Map<String, Value>)> {
    let parts: Vec<&str> = message.split('"').collect();
    let (text, extensions) = match parts.as_slice() {
        ["Unknown field ", field, " on type ", kind, ..] => (
            format!("Field '{field}' doesn't exist on type '{kind}'"),
            json!({"code": "undefinedField", "typeName": kind, "fieldName": field}),
        ),
        ["Unknown argument ", argument, " on field ", field, ..] => (
            format!("Field '{field}' doesn't accept argument '{argument}'"),
            json!({"code": "argumentNotAccepted", "name": field, "typeName": "Field", "argumentName": argument}),
        ),
        ["Field ", field, " argument ", argument, ..] if message.ends_with("required but not provided") => (
            format!("Field '{field}' is missing required arguments: {argument}"),
            json!({"code": "missingRequiredArguments", "className": "Field", "name": field, "arguments": argument}),
        ),
        ["Variable ", variable, " is not used"] => (
            format!("Variable {variable} is declared by anonymous query but not used"),
            json!({"code": "variableNotUsed", "variableName": variable.trim_start_matches('$')}),
        ),
        _ => return None,
    };
    extensions.as_object().cloned().map(|extensions| (text, extensions))
}

/// A field that fails is null, or takes its parent with it if it may not be; the library leaves it out instead.
fn give_up(data: &mut Value, path: &[Value], is_nullable: bool) {
    let Some((field, parents)) = path.split_last() else { return };
    let mut parent = data;
    for step in parents {
        let next = match step {
            Value::String(name) => parent.get_mut(name),
            index => parent.get_mut(index.as_u64().map_or(usize::MAX, |index| index as usize)),
        };
        let Some(next) = next else { return };
        parent = next;
    }
    let Some(name) = field.as_str() else { return };
    match parent {
        Value::Object(fields) if is_nullable => {
            fields.insert(name.to_owned(), Value::Null);
        }
        _ => *parent = Value::Null,
    }
}
