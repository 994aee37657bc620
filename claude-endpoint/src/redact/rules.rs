//! The forms of secrets. None reaches over a line.
//!
//! Patterns are written for single bytes (`(?-u)`), so that no table of Unicode has to be built in or walked through.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};

use super::guess;

/// The group that is replaced; without it the whole finding is.
pub(super) const SECRET: &str = "s";
/// The group that is a user's name in a URL.
const USER: &str = "u";
/// The kind by which [`super::beside_access_keys`] finds its way.
pub(super) const AWS_ACCESS_KEY: &str = "aws-access-key";

pub(super) struct Rule {
    pub(super) kind: &'static str,
    pub(super) regex: Regex,
    pub(super) is_secret: fn(&Captures<'_>) -> bool,
}

type Known = (&'static str, &'static str, fn(&Captures<'_>) -> bool);

/// The patterns are constants, and a test compiles them all: a pattern that is none fails there, not in service. Leaving it
/// out instead would let secrets pass.
#[expect(clippy::expect_used, reason = "constant patterns; the first use of any compiles all")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

pub(super) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |&(kind, pattern, is_secret): &Known| Rule { kind, regex: regex(pattern), is_secret };
    KNOWN.iter().map(rule).collect()
});

/// Tells in one pass which rules are worth a look.
#[expect(clippy::expect_used, reason = "as for `regex`")]
pub(super) static SET: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(KNOWN.iter().map(|(_, pattern, _)| pattern)).expect("constant patterns"));

/// Forty characters that could be base64, between others.
pub(super) static FORTY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?:^|[^A-Za-z0-9/+=])(?P<s>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"));

fn token(found: &Captures<'_>) -> bool {
    let text = secret(found);
    // behind the prefix, so that it does not count
    let payload = text.rsplit(['_', '-', '.']).next().filter(|last| last.len() >= 12).unwrap_or(text);
    !guess::is_filler(payload)
}

fn access_key(found: &Captures<'_>) -> bool {
    // the one of Amazon's documentation, and its like
    !secret(found).ends_with("EXAMPLE") && token(found)
}

fn random(found: &Captures<'_>) -> bool {
    guess::is_random(secret(found))
}

fn base64(found: &Captures<'_>) -> bool {
    guess::is_base64(secret(found))
}

fn password(found: &Captures<'_>) -> bool {
    guess::is_password(secret(found)) || guess::is_random(secret(found))
}

fn url_password(found: &Captures<'_>) -> bool {
    let user = found.name(USER).map_or("", |user| user.as_str());
    !guess::is_open_password(user, secret(found))
}

fn secret<'t>(found: &'t Captures<'_>) -> &'t str {
    found.name(SECRET).or_else(|| found.get(0)).map_or("", |secret| secret.as_str())
}

const KNOWN: &[Known] = &[
    (
        "github-token",
        r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9_]{30,}(?:\.[A-Za-z0-9_-]{8,})*|github_pat_[A-Za-z0-9_]{40,})",
        token,
    ),
    (
        "gitlab-token",
        r"(?-u:\b)(?:gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_-]{20,}|GR1348941[A-Za-z0-9_-]{20,})",
        token,
    ),
    (AWS_ACCESS_KEY, r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?-u:\b)", access_key),
    (
        "aws-secret-key",
        r#"(?i-u:aws[a-z_ .-]{0,24}(?:secret|sk)[a-z_ .-]{0,24}["'`\]]{0,2}[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}["'`]?)(?P<s>[A-Za-z0-9/+]{40})(?-u:\b|$)"#,
        base64,
    ),
    ("google-api-key", r"(?-u:\b)AIza[A-Za-z0-9_-]{35}", token),
    ("google-oauth", r"(?-u:\b)(?:GOCSPX-[A-Za-z0-9_-]{24,}|ya29\.[A-Za-z0-9_-]{30,})", token),
    (
        "slack-token",
        r"(?-u:\b)(?:xox[abeoprs]-[A-Za-z0-9.-]{16,}|xapp-[0-9]-[A-Za-z0-9-]{20,}|xoxe\.xox[bp]-[A-Za-z0-9-]{20,})",
        token,
    ),
    (
        "slack-webhook",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[A-Za-z0-9+/_-]{24,})",
        token,
    ),
    (
        "discord-token",
        r"(?:discord(?:app)?\.com/api/webhooks/[0-9]{8,}/(?P<s>[A-Za-z0-9_-]{40,})|(?-u:\b)[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})",
        token,
    ),
    ("stripe-key", r"(?-u:\b)[rs]k_(?:live|test|prod)_[A-Za-z0-9]{16,}", token),
    ("signing-key", r"(?-u:\b)wh(?:sec|sk)_[A-Za-z0-9+/=_-]{24,}", token),
    ("anthropic-key", r"(?-u:\b)sk-ant-[A-Za-z0-9_-]{16,}", token),
    (
        "openai-key",
        r"(?-u:\b)sk-(?:(?:proj|svcacct|admin|or-v1|None)-[A-Za-z0-9_-]{32,}|[A-Za-z0-9]{32,}(?-u:\b))",
        token,
    ),
    ("npm-token", r"(?-u:\b)npm_[A-Za-z0-9]{36}(?-u:\b)", token),
    ("npm-token", r"_(?:authToken|auth|password)[ \t]*=[ \t]*(?P<s>[A-Za-z0-9+/=_-]{16,})", random),
    ("pypi-token", r"(?-u:\b)pypi-Ag[A-Za-z0-9_-]{50,}", token),
    ("cargo-token", r"(?-u:\b)cio[A-Za-z0-9]{32}(?-u:\b)", random),
    ("huggingface-token", r"(?-u:\b)(?:hf_[A-Za-z0-9]{34,}|api_org_[A-Za-z0-9]{34,})", token),
    ("sendgrid-key", r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}", token),
    ("twilio-key", r"(?-u:\b)SK[0-9a-f]{32}(?-u:\b)", token),
    ("mail-key", r"(?-u:\b)(?:key-[0-9a-f]{32}|[0-9a-f]{32}-us[0-9]{1,2})(?-u:\b)", token),
    ("telegram-token", r"(?-u:\b)[0-9]{8,10}:A[A-Za-z0-9_-]{34}(?-u:\b)", token),
    (
        "azure-key",
        r"(?i-u:(?:AccountKey|SharedAccessKey|SharedSecret)[ \t]*=[ \t]*)(?P<s>[A-Za-z0-9+/]{32,}={0,2})",
        token,
    ),
    ("azure-key", r"[?&]sig=(?P<s>(?:[A-Za-z0-9+/=_-]|%[0-9A-Fa-f]{2}){32,})", token),
    ("azure-key", r"(?-u:\b)[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", token),
    (
        "cloud-token",
        r"(?-u:\b)(?:do[opr]_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|lin_api_[A-Za-z0-9]{32,}|ntn_[A-Za-z0-9]{40,}|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,}|hvs\.[A-Za-z0-9_-]{24,}|dp\.(?:pt|st|sa)\.[A-Za-z0-9_.-]{32,}|glsa_[A-Za-z0-9_]{32,}|xai-[A-Za-z0-9]{40,}|gsk_[A-Za-z0-9]{40,}|AGE-SECRET-KEY-1[0-9A-Z]{50,}|dckr_pat_[A-Za-z0-9_-]{24,}|nvapi-[A-Za-z0-9_-]{40,}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|r8_[A-Za-z0-9]{37})",
        token,
    ),
    ("jwt", r"(?-u:\b)eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}", token),
    (
        "url-password",
        r##"://(?P<u>[^ \t\r\n/:@"'<>`|,;(){}]{0,128}):(?P<s>[^ \t\r\n/@"'<>`|,;(){}]{2,256})@[A-Za-z0-9\[$%.]"##,
        url_password,
    ),
    (
        "authorization",
        r#"(?i-u:authorization["'`]?[ \t]*[:=,][ \t]*["'`]?(?:bearer|basic|token|apikey)[ \t]+)(?P<s>[A-Za-z0-9._~+/=-]{16,})"#,
        random,
    ),
    (
        "password",
        r#"(?i-u:(?:passw(?:or)?d|passwd|passphrase|pwd)[0-9]?[\\"'`\]]{0,3}[ \t]{0,8}(?::[ \t]{0,4}&?(?:'static )?[a-z]{2,16}[ \t]{0,4})?(?:=>|:=|={1,3}|:|,)[ \t]{0,8}(?:[a-z_:.]{1,40}\()?)\\{0,2}["'`](?P<s>[^ \t\r\n"'`<>{}()]{8,128})["'`]"#,
        password,
    ),
    (
        "secret",
        r#"(?i-u:(?:secret|token|credential|api[_-]?key|(?:access|account|auth|encryption|master|private|secret|session|signing)[_-]?key)s?[0-9]?(?:_base)?[\\"'`\]]{0,3}[ \t]{0,8}(?::[ \t]{0,4}&?(?:'static )?[a-z]{2,16}[ \t]{0,4})?(?:=>|:=|={1,3}|:|,)[ \t]{0,8}(?:[a-z_:.]{1,40}\()?)\\{0,2}["'`](?P<s>[^ \t\r\n"'`<>{}()]{16,256})["'`]"#,
        random,
    ),
    (
        "password",
        r"(?m)(?-u:\b)[A-Z0-9_]{0,40}(?:PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET)=(?P<s>[^ \t\r\n\x22'`<>{}()$]{8,128})[ \t\r]*$",
        password,
    ),
    (
        "password",
        r"(?m)(?i-u:passw(?:or)?d|passphrase)[\x22']?:[ \t]+(?P<s>[^ \t\r\n\x22'`<>{}()$,;]{8,128})[ \t\r]*$",
        password,
    ),
    (
        "secret",
        r"(?i-u:(?:passw(?:or)?d|passwd|passphrase|pwd|secret|token|credential|api[_-]?key|(?:access|account|auth|encryption|master|private|secret|session|signing)[_-]?key)s?[0-9]?(?:_base)?[ \t]{0,4}(?:=|:)[ \t]{0,4})(?P<s>[A-Za-z0-9+/=_.~!@#%^*-]{16,256})(?:[ \t\r]|$|[;&,])",
        random,
    ),
    (
        "secret",
        r"(?i-u:<(?:[a-z]{0,20})(?:passw(?:or)?d|secret|token|api-?key)>)(?P<s>[^ \t\r\n<>]{8,256})(?i-u:</)",
        password,
    ),
];
