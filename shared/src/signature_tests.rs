use super::*;
use proptest::prelude::*;

fn keys(list: &str) -> SigningKeys {
    SigningKeys::parse(&list.into()).unwrap()
}

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// GitHub's documentation, "Validating webhook deliveries", test values.
#[test]
fn github_vector() {
    let secrets = GithubSecrets::parse(&"It's a Secret to Everybody".into()).unwrap();
    let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(secrets.sign(b"Hello, World!"), header);
    assert!(secrets.verify(Some(header), Bytes::from("Hello, World!")).is_ok());
    assert_eq!(
        secrets.verify(Some(header), Bytes::from("Hello, World?")).unwrap_err(),
        SignatureError::Mismatch
    );
    assert_eq!(secrets.verify(None, Bytes::new()).unwrap_err(), SignatureError::Missing);
    assert_eq!(secrets.verify(Some("sha1=00"), Bytes::new()).unwrap_err(), SignatureError::Malformed);
}

/// The worked example that the Standard Webhooks libraries share.
#[test]
fn standard_webhooks_vector() {
    let body = Bytes::from(r#"{"test": 2432232314}"#);
    let headers = keys(KEY).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, &body);
    assert_eq!(headers.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert!(keys(KEY).verify(&headers, 1_614_265_330, body).is_ok());
}

#[test]
fn every_secret_of_a_rotation_is_valid() {
    let secrets = GithubSecrets::parse(&"the-new-secret-is-long, the-old-secret-is-long".into()).unwrap();
    let old = GithubSecrets::parse(&"the-old-secret-is-long".into()).unwrap();
    assert!(secrets.verify(Some(&old.sign(b"x")), Bytes::from("x")).is_ok());
    assert!(old.verify(Some(&secrets.sign(b"x")), Bytes::from("x")).is_err());
}

#[test]
fn while_a_signing_key_is_replaced_it_does_not_matter_who_learns_of_it_first() {
    const OLD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let (old, new) = (keys(OLD), keys(KEY));
    let both = [keys(&format!("{KEY},{OLD}")), keys(&format!("{OLD},{KEY}"))];
    for both in &both {
        for other in [&old, &new, both] {
            for (from, to) in [(both, other), (other, both)] {
                let verified = to.verify(&from.sign("m", 1, b"x"), 1, Bytes::from("x")).unwrap();
                assert!(from.keys().ids().contains(&verified.key()));
                assert!(
                    to.verify_answer(Some(&from.sign_answer("m", 200, b"x")), "m", 200, Bytes::from("x"))
                        .is_ok()
                );
            }
        }
    }
    // Only who has nothing but the old one still uses it.
    let [new_id, old_id] = [&new, &old].map(|keys| keys.keys().ids()[0]);
    let used =
        |from: &SigningKeys| both[0].verify(&from.sign("m", 1, b"x"), 1, Bytes::from("x")).unwrap().key();
    assert_eq!([used(&both[0]), used(&both[1]), used(&new), used(&old)], [new_id, new_id, new_id, old_id]);
    assert!(new.verify(&old.sign("m", 1, b"x"), 1, Bytes::from("x")).is_err());
}

#[test]
fn one_right_signature_among_many_claims_is_enough() {
    let (keys, body) = (keys(KEY), Bytes::from_static(b"{}"));
    let right = keys.sign("id", 1000, &body).signature;
    let verify = |signature: String| {
        keys.verify(&Headers { id: "id".into(), timestamp: 1000, signature }, 1000, body.clone()).map(drop)
    };
    let wrong = "v1,AAAA v1, v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(verify(format!("{wrong} {right}")), Ok(()));
    assert_eq!(verify(wrong.to_owned()), Err(SignatureError::Mismatch));
}

#[test]
fn a_token_is_found_among_several_and_the_first_is_sent() {
    let tokens = Tokens::parse(&"the-new-token-is-long, the-old-token-is-long".into()).unwrap();
    let [new, old] = tokens.keys().ids()[..] else { panic!("two") };
    assert_eq!(
        (tokens.find("the-new-token-is-long"), tokens.find("the-old-token-is-long")),
        (Some(new), Some(old))
    );
    assert_eq!(tokens.first().expose_secret(), "the-new-token-is-long");
    for other in
        ["", "the-new-token-is-lon", "the-new-token-is-long, the-old-token-is-long", "the-new-token-is-long "]
    {
        assert_eq!(tokens.find(other), None, "{other}");
    }
    assert_eq!(Tokens::parse(&"the-new-token-is-long,short".into()).unwrap_err(), KeyError::Short(2, 16));
    let many = ["a-long-enough-token"; 9].join(",");
    assert_eq!(Tokens::parse(&many.into()).unwrap_err(), KeyError::TooMany(9));
    assert!(!format!("{tokens:?}").contains("long"));
}

#[test]
fn all_that_hold_keys_see_them_replaced() {
    let held = GithubSecrets::parse(&"the-old-secret-is-long".into()).unwrap();
    let (other, new) = (held.clone(), GithubSecrets::parse(&"the-new-secret-is-long".into()).unwrap());
    held.keys().replace(new.keys());
    assert!(other.verify(Some(&new.sign(b"x")), Bytes::from("x")).is_ok());
    assert_eq!(other.keys().ids(), new.keys().ids());
}

#[test]
fn a_key_s_name_is_the_same_everywhere_and_another_for_each() {
    let id = |key: &str| keys(key).keys().ids()[0].to_string();
    assert_eq!(id(KEY), id(KEY));
    assert!(id(KEY).len() == 8 && id(KEY) != id("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}

#[test]
fn weak_secrets_are_refused_without_being_shown() {
    let error = |list: &str| GithubSecrets::parse(&list.into()).unwrap_err();
    assert_eq!(error(" , "), KeyError::Empty);
    assert_eq!(error("long-enough-secret-1,short"), KeyError::Short(2, 16));
    assert_eq!(error("change-me-change-me-change-me"), KeyError::Placeholder(1));
    let text = SigningKeys::parse(&"whsec_hunter2".into()).unwrap_err().to_string();
    assert!(!text.contains("hunter2"));
    assert!(!format!("{:?}", keys(KEY)).contains("MfKQ"));
}

#[test]
fn a_stale_timestamp_is_refused_in_both_directions() {
    let headers = keys(KEY).sign("m", 1_000_000, b"x");
    let at = |now| keys(KEY).verify(&headers, now, Bytes::from("x"));
    assert!(at(1_000_300).is_ok() && at(999_700).is_ok());
    assert_eq!(at(1_000_301).unwrap_err(), SignatureError::Stale);
    assert_eq!(at(999_699).unwrap_err(), SignatureError::Stale);
    let far = Headers { timestamp: i64::MIN, ..headers };
    assert_eq!(keys(KEY).verify(&far, i64::MAX, Bytes::new()).unwrap_err(), SignatureError::Stale);
}

#[test]
fn an_answer_is_bound_to_its_request_and_status() {
    let keys = keys(KEY);
    let header = keys.sign_answer("m1", 202, b"{}");
    assert!(keys.verify_answer(Some(&header), "m1", 202, Bytes::from("{}")).is_ok());
    assert!(keys.verify_answer(Some(&header), "m2", 202, Bytes::from("{}")).is_err());
    assert!(keys.verify_answer(Some(&header), "m1", 200, Bytes::from("{}")).is_err());
    assert_eq!(keys.verify_answer(None, "m1", 202, Bytes::new()).unwrap_err(), SignatureError::Missing);
}

#[test]
fn a_request_without_a_body_is_good_for_one_route_of_one_service() {
    let id = bound_id("GET", "claude-endpoint", "/readyz", "n1");
    let elsewhere = |method, service, path| is_bound_elsewhere(&id, method, service, path);
    assert!(!elsewhere("GET", "claude-endpoint", "/readyz"));
    assert!(elsewhere("DELETE", "claude-endpoint", "/readyz"));
    assert!(elsewhere("GET", "ollama-endpoint", "/readyz"));
    assert!(elsewhere("GET", "claude-endpoint", "/memory/search"));
    assert!(!is_bound_elsewhere("a-plain-id", "GET", "claude-endpoint", "/readyz"));
}

proptest! {
    #[test]
    fn any_header_is_an_answer_never_a_panic(header in ".*", id in ".*", at in any::<i64>(), body in any::<Vec<u8>>()) {
        let secrets = GithubSecrets::parse(&"a-long-enough-secret".into()).unwrap();
        prop_assert!(secrets.verify(Some(&header), Bytes::from(body.clone())).is_err());
        let headers = Headers { id, timestamp: at, signature: header };
        prop_assert!(keys(KEY).verify(&headers, at, Bytes::from(body)).is_err());
    }

    #[test]
    fn one_changed_byte_breaks_a_signature(mut body in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>()) {
        let headers = keys(KEY).sign("m", 1, &body);
        let index = at.index(body.len());
        body[index] ^= 1;
        let verified = keys(KEY).verify(&headers, 1, Bytes::from(body));
        prop_assert_eq!(verified.unwrap_err(), SignatureError::Mismatch);
    }
}
