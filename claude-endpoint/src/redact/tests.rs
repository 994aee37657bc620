use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// Random letters and digits as in a token, always the same. The tokens below are put together, so that no scanner takes
/// this file for a leak.
const NOISE: &str = "q7Rk2Zt9XvB4nLw8HsJ3yFc6MdPg5TaUe1KoVi0CxNbSzQhWrEjGmYlDpAf2u9T7k3";
const HEX: &str = "3f9a1c07e5b2d864f0c9a7b13e5d2864af09c7b1e3d5f2a846c0b9d7e1f3a5c2";

fn noise(length: usize) -> String {
    NOISE.chars().cycle().take(length).collect()
}

fn hex(length: usize) -> &'static str {
    &HEX[..length]
}

/// Each with its kind.
fn tokens() -> Vec<(&'static str, String)> {
    let token = |kind, prefix: &str, length| (kind, format!("{prefix}{}", noise(length)));
    let mut tokens: Vec<(&str, String)> = ["ghp", "gho", "ghu", "ghs", "ghr"]
        .map(|prefix| token("github-token", &format!("{prefix}_"), 36))
        .into_iter()
        .collect();
    tokens.extend([
        token("github-token", "github_pat_", 82),
        ("github-token", format!("ghs_1234567_eyJ{}.eyJ{}.{}", noise(40), noise(30), noise(43))),
        token("gitlab-token", "glpat-", 20),
        ("aws-access-key", format!("AK{}", "IAQ3EGRTZK7M2XWPNC")),
        token("google-api-key", "AIza", 35),
        token("google-oauth", "GOCSPX-", 28),
        token("google-oauth", "ya29.", 60),
        ("slack-token", format!("xoxb-{}-{}", "123456789012-1234567890123", noise(24))),
        token("stripe-key", "sk_live_", 24),
        token("stripe-key", "rk_live_", 24),
        token("signing-key", "whsec_", 32),
        token("anthropic-key", "sk-ant-api03-", 93),
        token("openai-key", "sk-proj-", 64),
        token("openai-key", "sk-", 48),
        token("npm-token", "npm_", 36),
        token("pypi-token", "pypi-AgEIcHlwaS5vcmc", 70),
        token("cargo-token", "cio", 32),
        token("huggingface-token", "hf_", 34),
        ("sendgrid-key", format!("SG.{}.{}", noise(22), noise(43))),
        ("twilio-key", format!("SK{}", hex(32))),
        ("telegram-token", format!("1234567890:AA{}", noise(33))),
        ("cloud-token", format!("dop_v1_{}", hex(64))),
        ("jwt", format!("eyJ{}.eyJ{}.{}", noise(20), noise(40), noise(43))),
    ]);
    tokens
}

/// With the part that must go.
fn assignments() -> Vec<(&'static str, String, String)> {
    let key = format!("{}==", noise(86));
    let line = |kind, before: &str, secret: &str, after: &str| {
        (kind, format!("{before}{secret}{after}"), secret.to_owned())
    };
    vec![
        line("url-password", "postgres://app:", "hunter2", "@db.internal/shop"),
        line("url-password", "https://x-access-token:", &noise(24), "@github.com/o/r.git"),
        line("url-password", "redis://:", "s3cr3tly", "@cache:6379"),
        line(
            "azure-key",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=",
            &key,
            ";EndpointSuffix=x",
        ),
        line("azure-key", "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=", &noise(44), ""),
        line("azure-key", "https://a.blob.core.windows.net/c?sv=2024&sig=", &noise(43), "%3D"),
        line(
            "slack-webhook",
            "https://hooks.slack.com/services/",
            "T0AB12CD3/B0EF45GH6/k3Jq9Zx7Vw2Lm8Rt5Yp1",
            "",
        ),
        line("aws-secret-key", "aws_secret_access_key = ", &noise(40), ""),
        line("password", "  \"password\": \"", "Tr0ub4dor&3", "\","),
        line("password", "DB_PASSWORD=", "Tr0ub4dor&3", ""),
        line("password", "  password: ", "Tr0ub4dor&3", ""),
        line("password", "let password = String::from(\"", "Tr0ub4dor&3", "\");"),
        line("secret", "const API_KEY: &'static str = \"", &noise(32), "\";"),
        line("secret", "client_secret => '", hex(40), "'"),
        line("secret", "body = \"{\\\"api_key\\\": \\\"", hex(32), "\\\"}\""),
        line("secret", "os.environ[\"SESSION_TOKEN\"] = \"", &noise(40), "\""),
        line("secret", "TWILIO_AUTH_TOKEN=", hex(32), ""),
        line("secret", "export SECRET_KEY_BASE=", hex(64), ""),
        line("secret", "<apiToken>", &noise(30), "</apiToken>"),
        line("authorization", "curl -H \"Authorization: Bearer ", &noise(40), "\""),
        line("npm-token", "//registry.npmjs.org/:_authToken=", hex(36), ""),
    ]
}

#[test]
fn every_known_form_is_replaced_and_named() {
    for (kind, token) in tokens() {
        for text in [token.clone(), format!("let t = \"{token}\";"), format!("+key: {token} # x")] {
            let safe = redact(&text);
            assert!(!safe.contains(&token), "{text}");
            assert!(safe.contains(&format!("<redacted:{kind}>")), "{text} became {safe}");
            assert!(contains_secret(&text));
        }
    }
    for (kind, text, secret) in assignments() {
        let safe = redact(&text);
        assert!(
            !safe.contains(&secret) && safe.contains(&format!("<redacted:{kind}>")),
            "{text} became {safe}"
        );
    }
}

#[test]
fn what_is_around_a_secret_stays() {
    let safe = redact("url = \"postgres://app:hunter2@db/shop\" # prod").into_owned();
    assert_eq!(safe, "url = \"postgres://app:<redacted:url-password>@db/shop\" # prod");
    let both = format!("a {} b {} c", tokens()[0].1, tokens()[7].1);
    assert_eq!(redact(&both), "a <redacted:github-token> b <redacted:gitlab-token> c");
}

#[test]
fn placeholders_lookups_and_names_stay() {
    for text in [
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AKIAIOSFODNN7EXAMPLE",
        "sk-ant-...",
        "GITHUB_TOKEN=${{ secrets.GITHUB_TOKEN }}",
        "password = os.environ[\"DB_PASSWORD\"]",
        "let token = parse_token(&request)?;",
        "password: \"change-me-1234\"",
        "DB_PASSWORD=$(cat /run/secrets/db_password_v2)",
        "api_key: \"your-api-key-goes-here-0123\"",
        "token_type: \"urn:ietf:params:oauth:token-type:jwt2\"",
        "const SECRET_NAME: &str = \"prod/db/password-v2-2024\";",
        "secret: projects/123/secrets/db-v2/versions/3",
        "postgres://postgres:postgres@localhost/test",
        "https://user:password@example.org",
        "let url = format!(\"https://{user}:{pass}@{host}\");",
        "http://localhost:8080/@scope/package",
        "assert_tokens(&time, &[Token::Str(\"2021-01-02T03:04:05Z\")]);",
        "integrity sha512-abcDEF123abcDEF123abcDEF123abcDEF123abcDEF123abcDEF123abcDEF123abcDEF123abcDEF12==",
        "commit 18be027a1a547219327de627f5f81533f432e0f2",
        "checksum = \"ad8553b9b26413251cbf30e620595c7a41b3887f03da04579c0e6b0d6a06b4b2\"",
        "if header.starts_with(\"-----BEGIN RSA PRIVATE KEY-----\") {\n    return true;\n}",
        "password must have 12 characters",
        "type Token = [u8; 32];",
    ] {
        assert!(matches!(redact(text), Cow::Borrowed(_)), "{text} became {}", redact(text));
    }
}

fn key(mark: &str, quote: &str) -> String {
    let lines: Vec<String> =
        (0..5).map(|line| noise(60 + 64).chars().skip(line * 7).take(64).collect()).collect();
    let body = lines.iter().map(|line| format!("{mark}{quote}{line}{quote}\n")).collect::<String>();
    let kind = "PRIVATE KEY-----";
    format!(
        "{mark}x\n{mark}{quote}-----BEGIN RSA {kind}{quote}\n{body}{mark}{quote}Ab3=={quote}\n{mark}{quote}-----END RSA {kind}{quote}\n{mark}y"
    )
}

#[test]
fn private_keys_lose_each_line_whatever_stands_before_it() {
    for (mark, quote) in [
        ("", ""),
        ("+", ""),
        ("-", ""),
        ("    ", ""),
        ("12+", ""),
        ("-12 ", ""),
        ("| ", ""),
        (" * ", ""),
        ("  ", "\""),
    ] {
        let text = key(mark, quote);
        let safe = redact(&text);
        assert_eq!(safe.matches("<redacted:private-key>").count(), 6, "{safe}");
        assert_eq!(safe.lines().count(), text.lines().count());
        assert!(safe.contains("BEGIN RSA PRIVATE KEY") && safe.ends_with(&format!("{mark}y")), "{safe}");
        // a hunk may show only one end of it
        let lines: Vec<&str> = text.lines().collect();
        for shown in [lines[..5].join("\n"), lines[3..].join("\n")] {
            assert!(!redact(&shown).contains(&noise(64)[40..]), "{}", redact(&shown));
            assert!(contains_secret(&shown));
        }
    }
    let inline = format!(
        "\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n\",",
        noise(90)
    );
    let expected =
        "\"private_key\": \"-----BEGIN PRIVATE KEY-----<redacted:private-key>-----END PRIVATE KEY-----\\n\",";
    assert_eq!(redact(&inline), expected);
    let headed = format!(
        "-----BEGIN EC {0}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n{1}\n-----END EC {0}",
        "PRIVATE KEY-----",
        noise(64)
    );
    assert_eq!(redact(&headed).lines().nth(4), Some("<redacted:private-key>"));
}

#[test]
fn what_looks_like_a_secret_beside_an_access_key_is_one() {
    let id = &tokens()[7 + 1].1;
    let text = format!("{id}\nregion\n\n{}\n\n\n\n{}", noise(40), noise(40));
    let safe = redact(&text).into_owned();
    let lines: Vec<&str> = safe.split('\n').collect();
    assert_eq!((lines[0], lines[3]), ("<redacted:aws-access-key>", "<redacted:aws-secret-key>"));
    assert_eq!(lines[7], noise(40), "too far away to tell");
}

/// Whether a line of ours is of a test: by its file, or by what stands above it.
fn is_test(path: &Path, text: &str, line: usize) -> bool {
    let path = path.display().to_string();
    let by_path = ["testkit/", "/tests/", "tests.rs", "/fuzz/"].iter().any(|part| path.contains(part));
    by_path || text.lines().take(line).any(|line| line.contains("#[cfg(test)]"))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            if !["target", ".git", "node_modules", "data"].contains(&name.as_str()) {
                walk(&entry.path(), files);
            }
        } else {
            files.push(entry.path());
        }
    }
}

/// Every crate of this workspace, its documents and scripts: nothing there is taken for a secret but the canaries of tests.
#[test]
fn ordinary_code_is_left_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    walk(root, &mut files);
    let mut lines = 0;
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let safe = redact(&text);
        for (number, (line, safe)) in text.lines().zip(safe.lines()).enumerate() {
            lines += 1;
            assert!(
                line == safe || is_test(&path, &text, number),
                "{}:{} became {safe}",
                path.display(),
                number + 1
            );
        }
    }
    assert!(lines > 10_000, "only {lines} lines were looked at");
}

/// Text in which secrets are likely, whole, broken, and wall to wall.
fn any_text() -> impl Strategy<Value = String> {
    let mut pieces: Vec<String> = tokens().into_iter().map(|(_, token)| token).collect();
    pieces.extend(assignments().into_iter().map(|(_, text, _)| text));
    pieces.extend([
        key("", ""),
        key("+", ""),
        noise(40),
        noise(64),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
    ]);
    let separators = ["\n", " ", "", "\"", "=", ":", "@", "\r\n", "/", "ß", "<", "\\n", "password=", "-"];
    let piece = prop_oneof![
        3 => prop::sample::select(pieces.clone()),
        2 => prop::sample::select(separators.map(str::to_owned).to_vec()),
        1 => "\\PC{0,12}",
        1 => (prop::sample::select(pieces), 0_usize..90).prop_map(|(piece, cut)| piece.chars().skip(cut).collect()),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn redacting_settles_and_keeps_lines(text in any_text()) {
        let safe = redact(&text).into_owned();
        prop_assert_eq!(redact(&safe), safe.as_str());
        prop_assert_eq!(safe.split('\n').count(), text.split('\n').count());
        prop_assert_eq!(safe != text, contains_secret(&text));
        prop_assert!(!contains_secret(&safe));
    }

    #[test]
    fn plain_words_are_borrowed(text in "[a-z .,\n(){};]{0,200}") {
        prop_assert!(matches!(redact(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn no_text_is_too_odd(text in ".{0,300}") {
        let _ = redact(&text);
    }
}
