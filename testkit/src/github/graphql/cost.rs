//! How many nodes a query may bring, counted before it runs, as GitHub counts them.

use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};
use serde_json::Value;

/// All nodes that the connections of a query may bring.
pub(crate) fn nodes(document: &ExecutableDocument, variables: &Value) -> usize {
    let operations = document.operations.iter();
    operations.map(|(_, operation)| below(document, variables, &operation.node.selection_set.node, 1)).sum()
}

fn below(document: &ExecutableDocument, variables: &Value, set: &SelectionSet, times: usize) -> usize {
    let of = |set: &SelectionSet, times: usize| below(document, variables, set, times);
    let selection = |item: &Selection| match item {
        Selection::Field(field) => match asked(&field.node, variables) {
            Some(count) => {
                let nodes = times.saturating_mul(count);
                nodes.saturating_add(of(&field.node.selection_set.node, nodes))
            }
            None => of(&field.node.selection_set.node, times),
        },
        Selection::InlineFragment(fragment) => of(&fragment.node.selection_set.node, times),
        Selection::FragmentSpread(spread) => document
            .fragments
            .get(&spread.node.fragment_name.node)
            .map_or(0, |fragment| of(&fragment.node.selection_set.node, times)),
    };
    set.items.iter().map(|item| selection(&item.node)).fold(0, usize::saturating_add)
}

/// The size of the page that a field asks for, if it is a connection.
fn asked(field: &Field, variables: &Value) -> Option<usize> {
    let (_, value) = field.arguments.iter().find(|(name, _)| name.node == "first" || name.node == "last")?;
    let value = value.node.clone().into_const_with(|name| {
        let value = variables.get(name.as_str()).cloned().unwrap_or_default();
        async_graphql::Value::from_json(value)
    });
    value.ok()?.into_json().ok()?.as_u64().and_then(|count| usize::try_from(count).ok())
}
