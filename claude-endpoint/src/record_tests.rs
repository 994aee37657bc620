use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;
use crate::desk::Desk;
use crate::desk::tests::{Scripted, desk_of, errand, question, reply, terms};

fn redact(text: &str) -> Cow<'_, str> {
    match text.contains("s3cret") {
        true => text.replace("s3cret", "<redacted:test>").replace("\nBEGIN\nEND\n", "<redacted:key>").into(),
        false => text.into(),
    }
}

fn desk(folder: &Path) -> Desk {
    let usual = Arc::new(Scripted::new("anthropic", "claude-sonnet-5-5"));
    desk_of(usual, terms()).with_recorder(Some(Recorder::new(folder.to_owned(), redact)))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn questions_and_answers_are_kept_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("new");
    let desk = desk(&recordings);
    let refused =
        Failed { error: ReviewError::NoReview("s3cret".into()), paid: Some(Box::new(reply("half"))) };
    let away = ReviewError::unreachable("no s3cret").into();
    let reviewer = Scripted::new("anthropic", "claude-sonnet-5-5").answering(vec![
        Ok(reply("the s3cret answer")),
        Err(refused),
        Err(away),
    ]);
    let schema = json!({"type": "object"});
    let asked = Question { user: "has s3cret", ..question(&schema) };
    let looking = Errand { purpose: Purpose::SecondLook, ..errand("d1") };
    let _ = desk.ask(&errand("d1"), &reviewer, &asked).await;
    let _ = desk.ask(&looking, &reviewer, &asked).await;
    let _ = desk.ask(&errand("d1"), &reviewer, &asked).await;
    desk.record("d1", "input", &json!({"s3cret": ["s3cret"], "n": 1})).await;
    let event = recordings.join("d1");
    assert_eq!(names(&event), ["01-review.json", "02-second_look.json", "03-review.json", "input.json"]);
    assert_eq!((mode(&event), mode(&event.join("input.json"))), (0o700, 0o600));
    let recorded: Vec<Recorded> = questions(&event)
        .unwrap()
        .iter()
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    let [first, second, third] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!((first.user.as_str(), &first.schema), ("has <redacted:test>", &schema));
    assert_eq!(first.reply.as_ref().unwrap().text, "the <redacted:test> answer");
    assert_eq!(second.error, Some(ReviewError::NoReview("<redacted:test>".into())));
    assert_eq!(second.reply.as_ref().unwrap().text, "half");
    assert_eq!((third.purpose, third.reply.is_none(), third.error.is_some()), (Purpose::Review, true, true));
    let input = fs::read_to_string(event.join("input.json")).unwrap();
    assert!(!input.contains("s3cret"), "{input}");
}

#[tokio::test]
async fn a_secret_behind_the_escapes_of_an_answer_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let reviewer = Scripted::new("anthropic", "m")
        .answering(vec![Ok(reply(&json!({"a": [{"b": "s3cret\nBEGIN\nEND\n"}]}).to_string()))]);
    desk(folder.path()).ask(&errand("d1"), &reviewer, &question(&json!({}))).await.unwrap();
    let file = fs::read(folder.path().join("d1/01-review.json")).unwrap();
    let recorded: Recorded = serde_json::from_slice(&file).unwrap();
    assert_eq!(recorded.reply.unwrap().text, r#"{"a":[{"b":"<redacted:test><redacted:key>"}]}"#);
}

#[tokio::test]
async fn a_later_attempt_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    for count in 1..=12 {
        let desk = desk(folder.path());
        let reviewer = Scripted::new("anthropic", "claude-sonnet-5-5");
        desk.ask(&errand("d1"), &reviewer, &question(&json!({}))).await.unwrap();
        assert_eq!(questions(&folder.path().join("d1")).unwrap().len(), count);
    }
    fs::rename(folder.path().join("d1/12-review.json"), folder.path().join("d1/112-review.json")).unwrap();
    assert!(questions(&folder.path().join("d1")).unwrap().last().unwrap().ends_with("112-review.json"));
}

#[tokio::test]
async fn a_name_from_outside_stays_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("recordings");
    let recorder = Recorder::new(recordings.clone(), redact);
    let long = "x".repeat(5_000);
    for hostile in ["../../up", "/etc", "..", "", "a\0b", "a/b", &long] {
        recorder.record(hostile, hostile, &1).await;
    }
    assert_eq!(names(folder.path()), ["recordings"]);
    assert_eq!(names(&recordings), ["_", "_.._up", "_etc", "a_b", &long[..100]]);
}

/// What cannot be recorded costs the recording, nothing else.
#[tokio::test]
async fn a_folder_that_cannot_be_written_stands_in_nobodys_way() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let desk = desk(file.path());
    let reviewer = Scripted::new("anthropic", "claude-sonnet-5-5");
    for _ in 0..2 {
        assert!(desk.ask(&errand("d1"), &reviewer, &question(&json!({}))).await.is_ok());
    }
    desk.record("d1", "input", &"x").await;
}

#[tokio::test]
async fn a_recording_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::new(folder.path().to_owned(), redact);
    recorder.record("d1", "large", &"x".repeat(LARGEST_FILE)).await;
    assert!(!folder.path().join("d1").exists());
    fs::create_dir(folder.path().join("d0")).unwrap();
    fs::File::create(folder.path().join("d0/sparse")).unwrap().set_len(LARGEST_FOLDER - 10).unwrap();
    let recorder = Recorder::new(folder.path().to_owned(), redact);
    recorder.record("d1", "small", &1).await;
    recorder.record("d1", "more", &"a dozen letters").await;
    assert_eq!(names(&folder.path().join("d1")), ["small.json"]);
}
