//! Scalars, accounts and objects of git.

use async_graphql::{ID, Interface, SimpleObject, scalar};
use serde::{Deserialize, Serialize};

use crate::shape::{self, WEB, id_of, node_id, sha_of};

/// RFC 3339.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DateTime(pub(crate) String);
scalar!(DateTime, "DateTime");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Uri(pub(crate) String);
scalar!(Uri, "URI");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GitObjectId(pub(crate) String);
scalar!(GitObjectId, "GitObjectID");

/// A number beyond 32 bits, as text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BigInt(String);
scalar!(BigInt, "BigInt");

impl From<u64> for BigInt {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

/// GraphQL's numbers have 32 bits; ids have outgrown them.
pub(crate) fn database_id(id: u64) -> Option<i32> {
    i32::try_from(id).ok()
}

pub(crate) fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// Who did something.
#[derive(Debug, Clone, Interface)]
#[graphql(field(name = "login", ty = "&String"), field(name = "url", ty = "&Uri"))]
pub(crate) enum Actor {
    User(User),
    Bot(Bot),
}

#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct User {
    id: ID,
    database_id: Option<i32>,
    login: String,
    url: Uri,
}

/// An app's account; its login comes without the `[bot]` that REST and webhooks show.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Bot {
    id: ID,
    database_id: Option<i32>,
    login: String,
    url: Uri,
}

impl User {
    pub(crate) fn of(user: &shape::User) -> Self {
        let id = id_of(&user.login);
        Self {
            id: node_id(if user.bot { "BOT" } else { "U" }, id).into(),
            database_id: database_id(id),
            login: user.login.clone(),
            url: Uri(format!("{WEB}/{}", user.login)),
        }
    }

    /// Where only people are shown.
    pub(crate) fn person(user: &shape::User) -> Option<Self> {
        (!user.bot).then(|| Self::of(user))
    }
}

impl Actor {
    /// `None` for the account that stands for deleted ones.
    pub(crate) fn of(user: &shape::User) -> Option<Self> {
        if user.login == "ghost" {
            return None;
        }
        if !user.bot {
            return Some(Self::User(User::of(user)));
        }
        let User { id, database_id, login, .. } = User::of(user);
        let login = login.trim_end_matches("[bot]").to_owned();
        Some(Self::Bot(Bot { id, database_id, url: Uri(format!("{WEB}/apps/{login}")), login }))
    }
}

/// Something that git keeps.
#[derive(Debug, Clone, Interface)]
#[graphql(field(name = "id", ty = "&ID"), field(name = "oid", ty = "&GitObjectId"))]
pub(crate) enum GitObject {
    Blob(Blob),
    Tree(Tree),
    Commit(Commit),
}

#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Blob {
    id: ID,
    oid: GitObjectId,
    byte_size: i32,
    is_binary: Option<bool>,
    is_truncated: bool,
    text: Option<String>,
}

#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Tree {
    id: ID,
    oid: GitObjectId,
}

#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Commit {
    id: ID,
    oid: GitObjectId,
    message: String,
    message_headline: String,
}

impl Blob {
    /// GitHub cuts longer texts.
    const MOST: usize = 512_000;

    pub(crate) fn of(contents: &[u8]) -> Self {
        let (id, oid) = named("B", &String::from_utf8_lossy(contents));
        let is_binary = contents.contains(&0);
        let shown = &contents[..contents.len().min(Self::MOST)];
        Self {
            id,
            oid,
            byte_size: int(contents.len()),
            is_binary: Some(is_binary),
            is_truncated: contents.len() > Self::MOST,
            text: (!is_binary).then(|| String::from_utf8_lossy(shown).into_owned()),
        }
    }
}

impl Tree {
    pub(crate) fn of(expression: &str) -> Self {
        let (id, oid) = named("T", expression);
        Self { id, oid }
    }
}

impl Commit {
    pub(crate) fn of(sha: &str, message: &str) -> Self {
        Self {
            id: format!("C_{sha}").into(),
            oid: GitObjectId(sha.to_owned()),
            message: message.to_owned(),
            message_headline: message.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

fn named(kind: &str, text: &str) -> (ID, GitObjectId) {
    let sha = sha_of(text);
    (format!("{kind}_{sha}").into(), GitObjectId(sha))
}
