//! Connections: pages of nodes, with GitHub's rules of how to ask for them.

use async_graphql::{Error, SimpleObject};

use super::refusal::refuse;

/// Nodes of one page at most.
const MOST: i32 = 100;

/// Where a page lies.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PageInfo {
    end_cursor: Option<String>,
    has_next_page: bool,
    has_previous_page: bool,
    start_cursor: Option<String>,
}

/// The arguments that every connection takes.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) first: Option<i32>,
    pub(crate) last: Option<i32>,
}

/// The part of `all` that is asked for.
pub(crate) fn cut<T>(name: &str, all: Vec<T>, page: &Page) -> Result<(Vec<Option<T>>, PageInfo, i32), Error> {
    let total = all.len();
    let start = page.after.as_deref().map_or(Ok(0), |cursor| position(cursor).map(|at| at + 1))?;
    let end = page.before.as_deref().map_or(Ok(total), position)?.min(total);
    let (start, end) = (start.min(total), end.max(start.min(total)));
    let (start, end) = match (page.first, page.last) {
        (Some(first), None) => (start, end.min(start + count(name, "first", first)?)),
        (None, Some(last)) => (start.max(end.saturating_sub(count(name, "last", last)?)), end),
        (None, None) => {
            let message = format!(
                "You must provide a `first` or `last` value to properly paginate the `{name}` connection."
            );
            return Err(refuse("MISSING_PAGINATION_BOUNDARIES", message));
        }
        (Some(_), Some(_)) => {
            let message = format!(
                "Passing both `first` and `last` to paginate the `{name}` connection is not supported."
            );
            return Err(refuse("INVALID_PAGINATION_ARGUMENTS", message));
        }
    };
    let nodes: Vec<_> = all.into_iter().skip(start).take(end - start).map(Some).collect();
    let info = PageInfo {
        end_cursor: (end > start).then(|| cursor(end - 1)),
        has_next_page: end < total,
        has_previous_page: start > 0,
        start_cursor: (end > start).then(|| cursor(start)),
    };
    Ok((nodes, info, i32::try_from(total).unwrap_or(i32::MAX)))
}

fn count(name: &str, argument: &str, wanted: i32) -> Result<usize, Error> {
    if wanted > MOST {
        let message = format!(
            "Requesting {wanted} records on the `{name}` connection exceeds the `{argument}` limit of {MOST} records."
        );
        return Err(refuse("EXCESSIVE_PAGINATION", message));
    }
    usize::try_from(wanted).map_err(|_| {
        let message = format!("`{argument}` on the `{name}` connection cannot be less than zero.");
        refuse("INVALID_PAGINATION_ARGUMENTS", message)
    })
}

/// Opaque to clients; what is in it is nobody's business but ours.
fn cursor(position: usize) -> String {
    format!("Y3Vyc29yOnYy{:08X}==", position + 1)
}

fn position(cursor: &str) -> Result<usize, Error> {
    let inner = cursor.strip_prefix("Y3Vyc29yOnYy").and_then(|rest| rest.strip_suffix("=="));
    let number = inner.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    number.and_then(|number| number.checked_sub(1)).ok_or_else(|| {
        refuse("INVALID_CURSOR_ARGUMENTS", format!("`{cursor}` does not appear to be a valid cursor."))
    })
}

/// A connection type of GitHub's name.
macro_rules! connection {
    ($name:ident of $node:ty) => {
        #[derive(async_graphql::SimpleObject)]
        pub(crate) struct $name {
            nodes: Option<Vec<Option<$node>>>,
            page_info: $crate::github::graphql::connection::PageInfo,
            total_count: i32,
        }

        impl $name {
            pub(crate) fn of(
                name: &str,
                all: Vec<$node>,
                page: &$crate::github::graphql::connection::Page,
            ) -> async_graphql::Result<Self> {
                let (nodes, page_info, total_count) =
                    $crate::github::graphql::connection::cut(name, all, page)?;
                Ok(Self { nodes: Some(nodes), page_info, total_count })
            }
        }
    };
}
pub(super) use connection;
