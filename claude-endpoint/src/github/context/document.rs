//! The texts of the queries. What a query is about travels in variables only: names and paths are strangers' words.

/// Reviews in pages from the newest backwards: ours is among the newest when it matters.
macro_rules! reviews {
    ($arguments:literal) => {
        concat!(
            "reviews(",
            $arguments,
            ") {
        pageInfo { hasPreviousPage startCursor }
        nodes { fullDatabaseId viewerDidAuthor body url submittedAt commit { oid } }
      }"
        )
    };
}

macro_rules! threads {
    ($arguments:literal) => {
        concat!(
            "reviewThreads(",
            $arguments,
            ") {
        pageInfo { hasNextPage endCursor }
        nodes {
          id isResolved isOutdated path line
          resolvedBy { login }
          root: comments(first: 1) {
            nodes {
              ...comment
              reactions(content: THUMBS_DOWN, first: 1) { totalCount viewerHasReacted }
            }
          }
          latest: comments(last: 20) { nodes { ...comment } }
        }
      }"
        )
    };
}

macro_rules! comment {
    () => {
        "fragment comment on PullRequestReviewComment {
  fullDatabaseId viewerDidAuthor body url author { __typename login }
}"
    };
}

/// What is read of a pull request's own fields.
macro_rules! pull {
    () => {
        "state isDraft title body url headRefOid headRefName baseRefOid changedFiles updatedAt isCrossRepository
      author { __typename login }"
    };
}

/// The pages that did not fit into the first answer.
pub(super) const MORE: &str = concat!(
    "query More($owner: String!, $name: String!, $number: Int!, $before: String, $after: String,
  $reviews: Boolean!, $threads: Boolean!) {
  repository(owner: $owner, name: $name) {
    pull: pullRequest(number: $number) @include(if: $reviews) {
      ",
    reviews!("last: 100, before: $before"),
    "
    }
    threads: pullRequest(number: $number) @include(if: $threads) {
      ",
    threads!("first: 100, after: $after"),
    "
    }
  }
}
",
    comment!()
);

/// The pull request as it stands now, and a page of reviews.
pub(in crate::github) const RECHECK: &str = concat!(
    "query Recheck($owner: String!, $name: String!, $number: Int!, $before: String) {
  repository(owner: $owner, name: $name) {
    pull: pullRequest(number: $number) {
      ",
    pull!(),
    "
      ",
    reviews!("last: 100, before: $before"),
    "
    }
  }
}"
);

/// The name of the variable and of the field of an object.
pub(super) fn object(i: usize) -> String {
    format!("o{i}")
}

/// Everything at once, with so many texts.
pub(super) fn context(objects: usize) -> String {
    let declared: String = (0..objects).map(|i| format!(", ${}: String!", object(i))).collect();
    let texts: String = (0..objects)
        .map(object)
        .map(|o| format!("    {o}: object(expression: ${o}) {{ ...text }}\n"))
        .collect();
    let text = match objects {
        0 => "",
        _ => "\nfragment text on Blob { text byteSize isBinary isTruncated }",
    };
    format!(
        "query Context($owner: String!, $name: String!, $number: Int!{declared}) {{
  viewer {{ login }}
  repository(owner: $owner, name: $name) {{
    nameWithOwner
    pull: pullRequest(number: $number) {{
      {}
      {}
    }}
    commits: pullRequest(number: $number) {{ commits(last: 50) {{ nodes {{ commit {{ oid message }} }} }} }}
    issues: pullRequest(number: $number) {{
      closingIssuesReferences(first: 10) {{
        nodes {{ number title body state url author {{ __typename login }} repository {{ nameWithOwner }} }}
      }}
    }}
    threads: pullRequest(number: $number) {{
      {}
    }}
{texts}  }}
}}
{}{text}",
        pull!(),
        reviews!("last: 100"),
        threads!("first: 100"),
        comment!(),
    )
}
