use http::StatusCode;
use secrecy::SecretString;
use shared::github::AppKey;
use testkit::control::{Fault, get, post};
use testkit::github::{APP_ID, CheckRun, GitHub, app_key};
use testkit::scenario::{REVIEWER_TOKEN, Scenario};

use super::*;
use crate::config::GithubSettings;
use crate::status::{Came, Open, Threshold};

const REPO: &str = "acme/shop";
const CONTEXT: &str = "AI review & more";

struct World {
    stand_in: GitHub,
    head: String,
    settings: GithubSettings,
    installation: u64,
}

async fn world() -> World {
    let (stand_in, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&stand_in);
    stand_in.add_app().unwrap();
    let installation = stand_in.install_app(&[REPO]);
    let settings = GithubSettings {
        url: stand_in.url(),
        status_context: Some(CONTEXT.to_owned()),
        ..GithubSettings::default()
    };
    World { stand_in, head: scenario.head_sha, settings, installation }
}

impl World {
    fn by_token(&self, token: &str) -> Github {
        Github::new(&GithubSettings { token: Some(token.into()), ..self.settings.clone() }).unwrap()
    }

    fn by_app(&self) -> Github {
        let app = AppKey::new(APP_ID, &SecretString::from(app_key())).unwrap();
        Github::new(&GithubSettings { app: Some(app), ..self.settings.clone() }).unwrap()
    }

    async fn set(&self, github: &Github, status: &Status) -> Result<Told> {
        github.set_status(REPO, &self.head, status).await
    }

    fn runs(&self) -> Vec<CheckRun> {
        self.stand_in.check_runs(REPO, &self.head)
    }

    fn writes(&self) -> usize {
        self.stand_in.calls().iter().filter(|call| call.method != Method::GET).count()
    }
}

fn success() -> Status {
    let came = Came::Reviewed { open: Open::default(), gaps: 0, lacking: vec![] };
    Status::of(&came, Threshold::Major).linked(Some("https://github.com/acme/shop/pull/7".to_owned()))
}

fn failure() -> Status {
    let open = Open { major: 1, ..Open::default() };
    Status::of(&Came::Reviewed { open, gaps: 0, lacking: vec![] }, Threshold::Major)
}

fn skipped() -> Status {
    Status::of(&Came::Skipped("it is a draft".to_owned()), Threshold::Major)
}

#[tokio::test]
async fn a_token_sets_commit_statuses() {
    let world = world().await;
    let github = world.by_token(REVIEWER_TOKEN);
    for status in [Status::pending(), success(), failure(), skipped()] {
        assert_eq!(world.set(&github, &status).await.unwrap(), Told::Set);
        assert_eq!(world.set(&github, &status).await.unwrap(), Told::Unchanged);
    }
    let set = world.stand_in.statuses(REPO, &world.head);
    let states: Vec<&str> = set.iter().rev().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["pending", "success", "failure", "error"]);
    assert!(set.iter().all(|status| status.context == CONTEXT));
    assert_eq!(set[0].description.as_deref(), Some("Skipped: it is a draft"));
    assert_eq!(set[2].target_url.as_deref(), Some("https://github.com/acme/shop/pull/7"));
    assert_eq!(world.stand_in.calls().len(), 4, "one call each");
}

#[tokio::test]
async fn an_app_writes_one_check_run() {
    let world = world().await;
    let github = world.by_app();
    for status in [Status::pending(), success()] {
        assert_eq!(world.set(&github, &status).await.unwrap(), Told::Set);
        assert_eq!(world.set(&github, &status).await.unwrap(), Told::Unchanged);
    }
    let [run] = world.runs().try_into().unwrap();
    assert_eq!(
        (run.name.as_str(), run.status.as_str(), run.conclusion.as_deref()),
        (CONTEXT, "completed", Some("success"))
    );
    assert_eq!(run.title.as_deref(), Some("Reviewed: no findings"));
    assert_eq!(run.details_url.as_deref(), Some("https://github.com/acme/shop/pull/7"));
    assert!(run.external_id.ends_with(&world.head));
    assert_eq!(world.stand_in.count(&get("/repos/acme/shop/commits/")), 1, "looked for once, then known");
    world.set(&github, &failure()).await.unwrap();
    assert_eq!(world.runs()[0].conclusion.as_deref(), Some("failure"));
}

#[tokio::test]
async fn what_has_no_whole_review_is_no_check_that_lets_a_merge_through() {
    let world = world().await;
    let github = world.by_app();
    let partial = Came::Reviewed { open: Open::default(), gaps: 1, lacking: vec![] };
    for came in [
        Came::Skipped("s".into()),
        partial,
        Came::Failed("f".into()),
        Came::Superseded("1234567".into()),
        Came::Stopped("t".into()),
    ] {
        world.set(&github, &Status::of(&came, Threshold::Never)).await.unwrap();
        let [run] = world.runs().try_into().unwrap();
        assert_eq!(run.conclusion.as_deref(), Some("action_required"), "{came:?}");
        assert!(run.summary.unwrap().ends_with(NOT_WHOLE));
    }
}

#[tokio::test]
async fn after_a_crash_the_same_check_run_is_found() {
    let world = world().await;
    world.stand_in.fail_next(post("/repos/acme/shop/check-runs"), Fault::LoseAnswer);
    let lost = world.set(&world.by_app(), &Status::pending()).await;
    assert!(matches!(lost, Err(GithubError::Unavailable(_))));
    assert_eq!(world.set(&world.by_app(), &Status::pending()).await.unwrap(), Told::Unchanged);
    assert_eq!(world.set(&world.by_app(), &success()).await.unwrap(), Told::Set);
    let before = world.writes();
    assert_eq!(world.set(&world.by_app(), &success()).await.unwrap(), Told::Unchanged);
    assert_eq!(world.writes(), before + 1, "a token, and nothing that is to be seen");
    let [run] = world.runs().try_into().unwrap();
    assert_eq!((run.conclusion.as_deref(), run.updates), (Some("success"), 1));
}

#[tokio::test]
async fn a_lost_answer_is_not_taken_for_set() {
    let world = world().await;
    let (github, path) = (world.by_token(REVIEWER_TOKEN), "/repos/acme/shop/statuses/");
    world.stand_in.fail_next(post(path), Fault::Cut);
    assert!(world.set(&github, &success()).await.is_err());
    assert_eq!(world.set(&github, &success()).await.unwrap(), Told::Set);
    world.stand_in.fail_next(post(path), Fault::LoseAnswer);
    assert!(world.set(&github, &failure()).await.is_err());
    assert_eq!(world.set(&github, &success()).await.unwrap(), Told::Set, "what stands there is the failure");
    assert_eq!(world.stand_in.statuses(REPO, &world.head)[0].state, "success");
}

#[tokio::test]
async fn a_review_that_is_made_again_has_a_check_run_that_is_open_again() {
    let world = world().await;
    let github = world.by_app();
    world.set(&github, &skipped()).await.unwrap();
    for github in [&github, &world.by_app()] {
        world.set(github, &Status::pending()).await.unwrap();
    }
    world.set(&github, &success()).await.unwrap();
    let states: Vec<_> = world.runs().into_iter().map(|run| run.conclusion.unwrap()).collect();
    assert_eq!(
        states,
        ["action_required", "success"],
        "GitHub opens no completed one; of a name the newest counts"
    );
}

#[tokio::test]
async fn anothers_check_run_of_the_same_name_is_left_alone() {
    let world = world().await;
    world.stand_in.add_check_run(CheckRun {
        repository: REPO.to_owned(),
        head_sha: world.head.clone(),
        name: CONTEXT.to_owned(),
        app: "other".to_owned(),
        status: "completed".to_owned(),
        external_id: external_id(&world.head),
        ..CheckRun::default()
    });
    assert_eq!(world.set(&world.by_app(), &success()).await.unwrap(), Told::Set);
    assert_eq!(world.set(&world.by_app(), &success()).await.unwrap(), Told::Unchanged);
    let runs = world.runs();
    assert_eq!((runs.len(), runs[0].updates, runs[0].title.as_deref()), (2, 0, None));
}

#[tokio::test]
async fn many_at_once_make_one_check_run() {
    let world = world().await;
    let github = world.by_app();
    let set = futures_util::future::join_all((0..8).map(|i| {
        let status = if i % 2 == 0 { success() } else { failure() };
        let (world, github) = (&world, &github);
        async move { world.set(github, &status).await.unwrap() }
    }))
    .await;
    assert_eq!((set.len(), world.runs().len()), (8, 1));
}

#[tokio::test]
async fn who_may_not_is_told_what_to_do() {
    let world = world().await;
    let unpermitted = |told: Result<Told>, advice: &str| {
        let told = told.unwrap();
        assert!(matches!(&told, Told::Unpermitted(text) if text.contains(advice)), "{told:?}");
    };
    world.stand_in.permit_app(world.installation, "checks", Some("read"));
    unpermitted(world.set(&world.by_app(), &success()).await, "Checks: read and write");
    world.stand_in.permit_app(world.installation, "checks", None);
    unpermitted(world.set(&world.by_app(), &success()).await, "Checks: read and write");
    world.stand_in.add_user("reader", "somebody");
    unpermitted(world.set(&world.by_token("reader"), &success()).await, "repo:status");
    world
        .stand_in
        .fail_next(post("/repos/acme/shop/statuses/"), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    unpermitted(world.set(&world.by_token(REVIEWER_TOKEN), &success()).await, "STATUS=off");
    let limit = Fault::RateLimited { retry_after: 60 };
    world.stand_in.fail_next(post("/repos/acme/shop/statuses/"), limit);
    let limited = world.set(&world.by_token(REVIEWER_TOKEN), &success()).await;
    assert!(matches!(limited, Err(GithubError::RateLimited { .. })));
}

#[tokio::test]
async fn without_a_name_or_somebody_to_set_it_there_is_none() {
    let world = world().await;
    let settings = GithubSettings { status_context: None, token: Some("t".into()), ..world.settings.clone() };
    for github in [Github::new(&settings).unwrap(), Github::new(&world.settings).unwrap()] {
        assert_eq!(world.set(&github, &success()).await.unwrap(), Told::Off);
    }
    assert!(world.stand_in.calls().is_empty());
    assert!(world.by_token(REVIEWER_TOKEN).set_status(REPO, "../x", &success()).await.is_err());
}
