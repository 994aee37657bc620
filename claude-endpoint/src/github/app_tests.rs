use secrecy::SecretString;
use testkit::control::{Fault, get, post};
use testkit::github::{APP_ID, APP_SLUG, GitHub, app_key, strangers_key};
use testkit::scenario::Scenario;

use super::*;
use crate::config::GithubSettings;
use crate::github::Github;

const SHOP: &str = "acme/shop";
const TILL: &str = "umbrella/till";

struct World {
    stand_in: GitHub,
    client: Github,
    installation: u64,
}

fn key(id: &str, pem: &str) -> AppKey {
    AppKey::new(id, &SecretString::from(pem)).unwrap()
}

fn client(stand_in: &GitHub, key: AppKey) -> Github {
    let url = stand_in.url();
    Github::new(&GithubSettings { url, app: Some(key), ..GithubSettings::default() }).unwrap()
}

/// An app that is installed for the shop.
async fn world() -> World {
    let stand_in = GitHub::start().await.unwrap();
    Scenario::default().load_into(&stand_in);
    stand_in.add_app().unwrap();
    let installation = stand_in.install_app(&[SHOP]);
    World { client: client(&stand_in, key(APP_ID, &app_key())), stand_in, installation }
}

impl World {
    async fn read(&self) -> Result<()> {
        self.client.pull(SHOP, 7).await.map(drop)
    }

    async fn error(&self) -> String {
        self.read().await.unwrap_err().to_string()
    }

    fn tokens(&self) -> usize {
        self.stand_in.count(&post("/app/installations/").ending("/access_tokens"))
    }

    fn lookups(&self) -> usize {
        self.stand_in.count(&get("/repos/").ending("/installation"))
    }
}

#[tokio::test]
async fn what_an_app_posts_is_its_bots_and_found_again() {
    let world = world().await;
    assert!(world.client.can_post());
    world.client.probe().await.unwrap();
    assert_eq!(world.client.login().await.unwrap(), Some("ai-relay[bot]"));
    let head = Scenario::default().head_sha;
    let url = world.client.create_review(SHOP, 7, &head, "Hm.", &[]).await.unwrap();
    let review = &world.stand_in.reviews(SHOP, 7)[0];
    assert_eq!(
        (review.user.login.as_str(), &review.html_url),
        (format!("{APP_SLUG}[bot]").as_str(), &url.url)
    );
    assert_eq!((world.tokens(), world.lookups()), (1, 1), "asked once, kept for the next call");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let world = world().await;
    world.stand_in.set_token_lifetime(SignedDuration::from_mins(4));
    world.read().await.unwrap();
    world.stand_in.set_token_lifetime(SignedDuration::from_mins(60));
    world.read().await.unwrap();
    assert_eq!(world.tokens(), 2, "four minutes are too few for another call");
    world.read().await.unwrap();
    assert_eq!((world.tokens(), world.lookups()), (2, 1));
    assert!(
        !world.stand_in.calls().iter().any(|call| call.status == Some(401)),
        "no call was refused for it"
    );
}

#[test]
fn the_last_minutes_of_a_token_are_not_used() {
    let now = Timestamp::UNIX_EPOCH;
    let lasts =
        |minutes: i64| Token { token: "t".into(), expires_at: now + SignedDuration::from_mins(minutes) };
    assert!(lasts(6).is_fresh(now) && !lasts(5).is_fresh(now) && !lasts(-1).is_fresh(now));
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_call_repeated() {
    let world = world().await;
    world.read().await.unwrap();
    world.stand_in.expire_tokens();
    let head = Scenario::default().head_sha;
    world.client.create_review(SHOP, 7, &head, "Hm.", &[]).await.unwrap();
    assert_eq!((world.stand_in.reviews(SHOP, 7).len(), world.tokens()), (1, 2));
    for _ in 0..2 {
        world
            .stand_in
            .fail_next(get("/repos/acme/shop/pulls/7"), Fault::Status(StatusCode::UNAUTHORIZED, vec![]));
    }
    let error = world.read().await.unwrap_err();
    // nothing that pauses every review: the app itself is well
    assert!(matches!(&error, GithubError::Unexpected(text) if text.contains("just given")), "{error:?}");
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let world = world().await;
    let gate = world.stand_in.gate(post("/app/installations/"));
    let reads = async { futures_util::future::join_all((0..20).map(|_| world.read())).await };
    let release = async {
        gate.reached().await.unwrap();
        gate.release();
    };
    let (answers, ()) = tokio::join!(reads, release);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((world.lookups(), world.tokens()), (1, 1));
    world.stand_in.expire_tokens();
    let answers = futures_util::future::join_all((0..20).map(|_| world.read())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(world.tokens(), 2, "nor does a refusal of all of them ask more than once");
}

#[tokio::test]
async fn each_installation_has_its_own_token_and_its_own_limit() {
    let world = world().await;
    Scenario { repository: TILL.into(), ..Scenario::default() }.load_into(&world.stand_in);
    world.stand_in.install_app(&[TILL]);
    world.read().await.unwrap();
    world.client.pull(TILL, 7).await.unwrap();
    assert_eq!((world.tokens(), world.lookups()), (2, 2));
    world.stand_in.fail_next(get("/repos/acme/shop/pulls/7"), Fault::RateLimited { retry_after: 600 });
    assert!(matches!(world.read().await, Err(GithubError::RateLimited { .. })));
    assert!(matches!(world.read().await, Err(GithubError::RateLimited { .. })), "it is kept");
    world.client.pull(TILL, 7).await.unwrap();
}

#[tokio::test]
async fn repositories_of_one_installation_share_its_token() {
    let world = world().await;
    Scenario { repository: "acme/till".into(), ..Scenario::default() }.load_into(&world.stand_in);
    world.stand_in.uninstall_app(world.installation);
    world.stand_in.install_app(&[SHOP, "acme/till"]);
    world.read().await.unwrap();
    world.client.pull("acme/till", 7).await.unwrap();
    assert_eq!((world.tokens(), world.lookups()), (1, 2));
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_id_say_what_to_set() {
    let world = world().await;
    for (id, pem) in [(APP_ID, strangers_key()), ("12", app_key())] {
        let stranger = client(&world.stand_in, key(id, &pem));
        for refused in [stranger.pull(SHOP, 7).await.map(drop), stranger.probe().await] {
            let error = refused.unwrap_err();
            assert!(matches!(error, GithubError::BadToken(_)), "{error:?}");
            assert!(error.to_string().contains("GITHUB_APP_ID"), "{error}");
        }
    }
    assert_eq!(world.tokens(), 0);
}

#[tokio::test]
async fn an_app_that_is_not_there_any_more_says_what_to_do() {
    let world = world().await;
    world.read().await.unwrap();
    world.stand_in.uninstall_app(world.installation);
    for _ in 0..2 {
        let error = world.error().await;
        assert!(error.contains("install it there") && error.contains(SHOP), "{error}");
    }
    let again = world.stand_in.install_app(&[SHOP]);
    world.read().await.unwrap();
    world.stand_in.suspend_app(again, true);
    let error = world.read().await.unwrap_err();
    assert!(matches!(error, GithubError::Forbidden(_)) && error.to_string().contains("suspended"), "{error}");
    let restarted = client(&world.stand_in, key(APP_ID, &app_key()));
    let error = restarted.pull(SHOP, 7).await.unwrap_err().to_string();
    assert!(error.contains("suspended") && error.contains("settings"), "{error}");
    world.stand_in.suspend_app(again, false);
    restarted.pull(SHOP, 7).await.unwrap();
}

#[tokio::test]
async fn an_installation_that_was_made_anew_is_found_within_the_same_call() {
    let world = world().await;
    world.read().await.unwrap();
    world.stand_in.uninstall_app(world.installation);
    world.stand_in.install_app(&[SHOP]);
    world.read().await.unwrap();
    assert_eq!((world.lookups(), world.tokens()), (2, 3), "the old token, no new one for it, another place");
}

#[tokio::test]
async fn what_the_app_may_not_do_is_said() {
    let world = world().await;
    world.stand_in.permit_app(world.installation, "pull_requests", Some("read"));
    world.read().await.unwrap();
    let head = Scenario::default().head_sha;
    let error = world.client.create_review(SHOP, 7, &head, "Hm.", &[]).await.unwrap_err();
    assert!(matches!(error, GithubError::Forbidden(_)), "{error:?}");
    assert!(error.to_string().contains("Pull requests: read and write"), "{error}");
    Scenario { repository: TILL.into(), ..Scenario::default() }.load_into(&world.stand_in);
    let error = world.client.pull(TILL, 7).await.unwrap_err();
    assert!(matches!(error, GithubError::NotFound(_)) && error.to_string().contains(TILL), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_does_no_harm() {
    for ahead in [-45, 45, -3_600, 3_600, -86_400] {
        let world = world().await;
        // GitHub's is behind: this machine's is ahead
        world.stand_in.set_clock(SignedDuration::from_secs(ahead));
        world.read().await.unwrap();
        world.read().await.unwrap();
        assert_eq!(world.lookups(), if ahead.abs() < 60 { 1 } else { 2 }, "once refused, with {ahead}");
        assert_eq!(world.tokens(), 1, "with {ahead}");
    }
}

#[tokio::test]
async fn no_secret_is_shown() {
    let world = world().await;
    world.read().await.unwrap();
    world.stand_in.stop().await;
    let shown = format!("{:?} {:?} {}", world.client, world.read().await, world.error().await);
    assert!(!shown.contains("ghs_") && !shown.contains("eyJ"), "{shown}");
}

#[tokio::test]
async fn a_path_without_a_repository_is_not_asked_as_an_app() {
    let world = world().await;
    let body = serde_json::json!({"query": "{viewer{login}}"});
    let request = Request::new(&Method::POST, "/graphql", Some(&body));
    assert!(matches!(world.client.transport.call(request).await, Err(GithubError::Unexpected(_))));
    assert!(world.stand_in.calls().is_empty());
    let named = Request { repository: Some(SHOP), ..request };
    // whatever the stand-in makes of it: it was asked with the installation's token
    let _ = world.client.transport.call(named).await;
    assert_eq!((world.tokens(), world.stand_in.count(&post("/graphql"))), (1, 1));
}
