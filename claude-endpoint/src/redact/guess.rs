//! Whether a value is a secret or a word: by how it is made up, since its form says nothing.

/// Fewer different characters are `xxxx`, `0000` or `1234`.
const FEWEST_DIFFERENT: usize = 5;

/// Words of examples, tests and placeholders. A random text has none of them but by a rare chance.
const NO_SECRETS: [&str; 33] = [
    "example",
    "placeholder",
    "change",
    "dummy",
    "sample",
    "your",
    "xxxx",
    "test",
    "fake",
    "mock",
    "insert",
    "replace",
    "redact",
    "todo",
    "foobar",
    "lorem",
    "secret",
    "password",
    "passwd",
    "token",
    "key",
    "none",
    "null",
    "true",
    "false",
    "default",
    "admin",
    "user",
    "hello",
    "demo",
    "canary",
    "1234",
    "abcd",
];

/// `xxxxxxxx`: stands for a token and is none.
pub(super) fn is_filler(payload: &str) -> bool {
    let mut seen = Vec::with_capacity(FEWEST_DIFFERENT);
    for byte in payload.bytes() {
        if !seen.contains(&byte) {
            seen.push(byte);
        }
        if seen.len() >= FEWEST_DIFFERENT {
            return false;
        }
    }
    true
}

fn is_named_otherwise(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    NO_SECRETS.iter().any(|word| lower.contains(word))
}

/// Runs of digits and of letters.
struct Runs {
    digits: usize,
    letters: usize,
    /// How often the kind of character changes, a capital before small letters not counted.
    changes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    Other,
}

fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' => Class::Lower,
        b'A'..=b'Z' => Class::Upper,
        b'0'..=b'9' => Class::Digit,
        _ => Class::Other,
    }
}

fn runs(value: &str) -> Runs {
    let mut runs = Runs { digits: 0, letters: 0, changes: 0 };
    let mut last = Class::Other;
    for class in value.bytes().map(class) {
        let is_letter = |class| matches!(class, Class::Lower | Class::Upper);
        runs.digits += usize::from(class == Class::Digit && last != Class::Digit);
        runs.letters += usize::from(is_letter(class) && !is_letter(last));
        runs.changes += usize::from(class != last && !(last == Class::Upper && class == Class::Lower));
        last = class;
    }
    runs
}

/// Whether a value looks as if dice had made it: letters and digits in turn, over and over. Words, names with a number,
/// versions, dates and paths do not.
pub(super) fn is_random(value: &str) -> bool {
    const SHORTEST: usize = 16;
    let runs = runs(value);
    value.len() >= SHORTEST
        && !is_filler(value)
        && !is_named_otherwise(value)
        && runs.digits >= 2
        && runs.letters >= 2
        && !is_time(value)
        && (runs.digits >= 3 || runs.changes * 5 >= value.len() * 2)
        && !is_address(value)
}

/// Times and dates are nearly all digits; of sixteen random characters in hex a quarter and more are letters.
fn is_time(value: &str) -> bool {
    value.bytes().filter(u8::is_ascii_alphabetic).count() * 8 < value.len()
}

/// Paths, host names and versions are made of short pieces too.
fn is_address(value: &str) -> bool {
    let pieces = value.split(['.', '/', ':']).filter(|piece| !piece.is_empty());
    let is_short = |piece: &str| piece.len() < 12;
    (value.contains("://")
        || value.starts_with(['/', '.', '~'])
        || value.matches(['.', '/', ':']).count() >= 2)
        && pieces.clone().count() > 1
        && pieces.clone().all(is_short)
}

/// Whether what is called a password may be one: several kinds of characters, and no word that says otherwise.
pub(super) fn is_password(value: &str) -> bool {
    const SHORTEST: usize = 8;
    let has = |wanted: Class| value.bytes().any(|byte| class(byte) == wanted);
    let kinds = [Class::Lower, Class::Upper, Class::Digit, Class::Other].into_iter().filter(|one| has(*one));
    value.len() >= SHORTEST
        && kinds.count() >= 3
        && has(Class::Digit)
        && !is_filler(value)
        && !is_named_otherwise(value)
        && !is_address(value)
}

/// Forty or more characters of base64 that are neither a digest in hex nor a name.
pub(super) fn is_base64(value: &str) -> bool {
    let has = |wanted: Class| value.bytes().any(|byte| class(byte) == wanted);
    has(Class::Lower)
        && has(Class::Upper)
        && has(Class::Digit)
        && !is_filler(value)
        && runs(value).changes >= 10
}

/// A password in a URL that nobody keeps secret: a variable, a word of an example, the user's own name.
pub(super) fn is_open_password(user: &str, password: &str) -> bool {
    let lower = password.to_ascii_lowercase();
    let word = ["pass", "pw", "pwd", "***", "...", "root", "guest", "postgres"];
    let is_variable = password.starts_with(['$', '%', '{', '[', ':']) || password.contains("${");
    lower == user.to_ascii_lowercase()
        || is_variable
        || word.contains(&lower.as_str())
        || is_filler(password)
        || is_named_otherwise(password)
}
