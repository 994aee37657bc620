use jiff::Timestamp;
use proptest::prelude::*;
use shared::memory::Source;

use super::*;

fn day(day: i64) -> Timestamp {
    Timestamp::from_second(1_795_341_600 + day * 86_400).unwrap()
}

fn memory(kind: &str, paths: &[&str], commits: &[&str]) -> Draft {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let source = Source {
        pull_request: Some(7),
        paths: strings(paths),
        commits: strings(commits),
        ..Source::default()
    };
    let (repository, kind, text) = ("o/r".to_owned(), kind.to_owned(), "It is so.".to_owned());
    Draft { repository, kind, text, created_at: day(0), source, indexed: true }
}

fn touch(commit: &str, on: i64, what: Touched) -> Touch {
    Touch { commit: commit.repeat(40), at: day(on), pull_request: None, what }
}

fn changed(commit: &str, on: i64, path: &str) -> Touch {
    touch(commit, on, Touched::Changed(path.into()))
}

fn removed(commit: &str, on: i64, path: &str) -> Touch {
    touch(commit, on, Touched::Removed(path.into()))
}

fn reverts(commit: &str, on: i64, target: &str) -> Touch {
    touch(commit, on, Touched::Reverted(target.repeat(40)))
}

fn told(memory: &Draft, touches: &[Touch]) -> Option<(Level, String)> {
    standing(memory, touches).map(|stale| (stale.level, stale.reason))
}

#[test]
fn later_commits_make_a_memory_stale_and_the_reason_says_which() {
    let decision = memory("decision", &["src/a.rs", "src/b.rs"], &[]);
    let told = |touches: &[Touch]| told(&decision, touches);
    let is = |level, reason: &str| Some((level, reason.to_owned()));
    assert_eq!(
        told(&[changed("a", 1, "src/a.rs")]),
        is(Level::Changed, "src/a.rs changed in aaaaaaa (2026-11-23)")
    );
    let thrice = [changed("c", 3, "src/a.rs"), changed("a", 1, "src/a.rs"), changed("b", 2, "src/a.rs")];
    assert_eq!(
        told(&thrice),
        is(Level::Changed, "src/a.rs changed in ccccccc (2026-11-25), 3 commits since")
    );
    assert_eq!(
        told(&[removed("a", 1, "src/a.rs"), changed("b", 2, "src/b.rs")]),
        is(Level::Thinned, "1 of the 2 files it speaks of are gone, src/a.rs in aaaaaaa (2026-11-23)")
    );
    assert_eq!(
        told(&[removed("a", 1, "src/a.rs"), removed("b", 2, "src/b.rs")]),
        is(Level::Gone, "all 2 files it speaks of are gone, src/b.rs in bbbbbbb (2026-11-24)")
    );
    assert_eq!(
        told(&[removed("a", 1, "src/a.rs"), changed("b", 2, "src/a.rs")]),
        is(Level::Changed, "src/a.rs changed in bbbbbbb (2026-11-24), 2 commits since"),
        "it is there again"
    );
}

#[test]
fn what_does_not_count() {
    let decision = memory("decision", &["src/a.rs", "mod.rs"], &[&"c".repeat(40)]);
    let own_pull = Touch { pull_request: Some(7), ..changed("a", 1, "src/a.rs") };
    for touch in [
        changed("a", 0, "src/a.rs"),
        changed("a", -1, "src/a.rs"),
        changed("c", 1, "src/a.rs"),
        own_pull,
        changed("a", 1, "other/src/b.rs"),
        changed("a", 1, "src/mod.rs"),
        changed("a", 1, "xsrc/a.rs"),
    ] {
        assert_eq!(standing(&decision, std::slice::from_ref(&touch)), None, "{touch:?}");
    }
    assert!(
        standing(&decision, &[changed("a", 1, "core/src/a.rs")]).is_some(),
        "the end of a path is enough"
    );
    for kind in ["change", "release", "discussion"] {
        let history = memory(kind, &["src/a.rs"], &[]);
        assert_eq!(standing(&history, &[changed("a", 1, "src/a.rs")]), None);
        assert_eq!(standing(&history, &[removed("a", 1, "src/a.rs")]).unwrap().level, Level::Gone);
    }
}

#[test]
fn a_reverted_commit_weighs_most_until_the_revert_is_reverted() {
    let change = memory("change", &["src/a.rs"], &["ccccccc"]);
    let reverted = [reverts("a", 1, "c"), removed("b", 2, "src/a.rs")];
    let reason = "its commit ccccccc was reverted in aaaaaaa (2026-11-23)".to_owned();
    assert_eq!(told(&change, &reverted), Some((Level::Reverted, reason)));
    assert_eq!(told(&change, &[reverts("a", 1, "c"), reverts("b", 2, "a")]), None);
    let again = [reverts("a", 1, "c"), reverts("b", 2, "a"), reverts("d", 3, "b")];
    assert_eq!(told(&change, &again).unwrap().0, Level::Reverted);
    assert_eq!(told(&change, &[reverts("a", 1, "e")]), None);
}

fn any_touch() -> impl Strategy<Value = Touch> {
    let path = || prop::sample::select(vec!["src/a.rs", "src/b.rs", "x/src/a.rs", "mod.rs"]);
    let commit = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let what = prop_oneof![
        path().prop_map(|path| Touched::Changed(path.into())),
        path().prop_map(|path| Touched::Removed(path.into())),
        commit().prop_map(|target| Touched::Reverted(target.repeat(40))),
    ];
    let pull = prop::option::of(6_u64..8);
    (commit(), -1_i64..4, pull, what)
        .prop_map(|(commit, on, pull_request, what)| Touch { pull_request, ..touch(commit, on, what) })
}

proptest! {
    #[test]
    fn the_order_of_the_touches_does_not_matter(
        (touches, shuffled) in prop::collection::vec(any_touch(), 0..12)
            .prop_flat_map(|touches| (Just(touches.clone()), Just(touches).prop_shuffle())),
        kind in prop::sample::select(vec!["change", "decision"]),
    ) {
        let memory = memory(kind, &["src/a.rs", "src/b.rs"], &[&"c".repeat(40)]);
        let once = standing(&memory, &touches);
        prop_assert_eq!(&once, &standing(&memory, &shuffled));
        let twice: Vec<Touch> = touches.iter().chain(&shuffled).cloned().collect();
        prop_assert_eq!(&once, &standing(&memory, &twice), "nor does a push that is told again");
        if let Some(stale) = once {
            prop_assert!(!stale.reason.contains('\n'));
        }
    }
}
