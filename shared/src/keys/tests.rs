use super::*;
use crate::signature::Tokens;

const NEW: &str = "the-new-token-is-long";
const OLD: &str = "the-old-token-is-long";

fn tokens(list: &str) -> Tokens {
    Tokens::parse(&list.into()).unwrap()
}

fn book(folder: &Path, tokens: &Tokens) -> KeyBook {
    KeyBook::open(folder, vec![Ring::new("TOKEN", tokens.keys())])
}

/// Position and number of uses of each key.
fn known(book: &KeyBook) -> Vec<(usize, u64)> {
    let times = |entry: &KeyEntry| entry.uses.iter().map(|one| one.times).sum();
    book.report().keys.iter().map(|entry| (entry.position, times(entry))).collect()
}

async fn written_down(book: &KeyBook) {
    book.write(&mut false).await;
}

#[tokio::test]
async fn what_a_key_was_used_for_is_known_after_a_restart_and_at_another_position() {
    let folder = tempfile::tempdir().unwrap();
    let before = book(folder.path(), &tokens(OLD));
    let old = tokens(OLD).find(OLD).unwrap();
    before.used("TOKEN", old, "GET /x", "curl/8");
    before.used("TOKEN", old, "GET /x", "curl/8");
    before.used("OTHER", old, "GET /x", "curl/8");
    written_down(&before).await;
    let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
    assert!(!text.contains("token-is-long"), "{text}");

    let both = book(folder.path(), &tokens(&format!("{NEW},{OLD}")));
    assert_eq!(known(&both), [(1, 0), (2, 2)]);
    both.used("TOKEN", tokens(NEW).find(NEW).unwrap(), "GET /x", "curl/8");
    written_down(&both).await;
    assert_eq!(written(folder.path()).unwrap().keys, both.report().keys);
    let after = book(folder.path(), &tokens(NEW));
    assert_eq!(known(&after), [(1, 1)], "what is not set any more is forgotten");
}

#[tokio::test]
async fn nothing_new_is_not_written_and_what_cannot_be_read_is_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    assert!(written(folder.path()).unwrap_err().to_string().contains("DATA_DIR"));
    fs::write(&path, "{").unwrap();
    let book = book(folder.path(), &tokens(NEW));
    assert_eq!(known(&book), [(1, 0)]);
    written_down(&book).await;
    fs::remove_file(&path).unwrap();
    written_down(&book).await;
    assert!(!path.exists());
    book.used("TOKEN", tokens(NEW).find(NEW).unwrap(), "GET /x", "curl/8");
    written_down(&book).await;
    assert!(path.exists());
}

#[test]
fn a_key_s_uses_have_a_limit_and_the_oldest_goes() {
    let mut uses = Vec::new();
    for nth in 0..100 {
        note(&mut uses, "GET /x", &format!("agent-{nth}"), Timestamp::from_second(nth).unwrap());
    }
    assert_eq!(uses.len(), MOST_USES);
    assert_eq!(uses.iter().map(|one| one.last.as_second()).min(), Some(100 - 32));
}

#[test]
fn keys_that_come_from_a_file_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, held) = (folder.path().join("token"), tokens(OLD));
    fs::write(&file, format!("{NEW},{OLD}\n")).unwrap();
    let path = file.clone();
    let again: Again = Box::new(move || {
        let text = fs::read_to_string(&path)?;
        Ok(Tokens::parse(&text.trim().into())?.keys().clone())
    });
    let ring = Ring::new("TOKEN", held.keys()).read_by(Some(again));
    let book = KeyBook::open(folder.path(), vec![ring]);
    assert_eq!((held.find(NEW), known(&book).len()), (None, 1));
    book.read_again();
    assert!(held.find(NEW).is_some() && held.find(OLD).is_some());
    assert_eq!(known(&book), [(1, 0), (2, 0)]);
    fs::write(&file, "short").unwrap();
    book.read_again();
    assert!(held.find(NEW).is_some(), "a file that cannot be used changes nothing");
}

#[test]
fn a_caller_is_named_in_one_plain_word() {
    let named =
        |agent: &str| caller(&HeaderMap::from_iter([(http::header::USER_AGENT, agent.parse().unwrap())]));
    assert_eq!(named("claude-code/2.1.197 (external, cli)"), "claude-code/2.1.197");
    assert_eq!(named(&"x".repeat(500)).len(), LONGEST_NAME);
    assert_eq!(named("<b>\"evil\""), "bevil/b".replace("/b", ""));
    assert_eq!(caller(&HeaderMap::new()), "a caller without a name");
}

#[test]
fn a_table_tells_which_key_can_go() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let use_of = |what: &str, by: &str, last, times| KeyUse {
        what: what.into(),
        by: by.into(),
        last: at(last),
        times,
    };
    let entry = |setting: &str, position, id: &str, uses| KeyEntry {
        setting: setting.into(),
        position,
        id: id.into(),
        since: at(0),
        uses,
    };
    let keys = vec![
        entry(
            "GITHUB_WEBHOOK_SECRET",
            1,
            "3f2a9c01",
            vec![use_of("webhooks", "hook 1 of repository 7", 400_000, 1)],
        ),
        entry(
            "GITHUB_WEBHOOK_SECRET",
            2,
            "77aa01b2",
            vec![
                use_of("webhooks", "hook 1 of repository 7", 10, 900),
                use_of("webhooks", "hook 2 of organization 8", 399_990, 12),
            ],
        ),
        entry("RELAY_ADMIN_TOKEN", 1, "00ff00ff", vec![]),
    ];
    let report = KeyReport { at: at(400_000), keys };
    insta::assert_snapshot!(table(&report, at(400_012)), @r"
    as it was 12 s ago

    GITHUB_WEBHOOK_SECRET
      1. 3f2a9c01  last used 12 s ago
           12 s ago       webhooks                     hook 1 of repository 7 (once)
      2. 77aa01b2  last used 22 s ago
           22 s ago       webhooks                     hook 2 of organization 8 (12 times)
           4 days ago     webhooks                     hook 1 of repository 7 (900 times)

    RELAY_ADMIN_TOKEN
      1. 00ff00ff  not used since it was set, 4 days ago
    ");
}
