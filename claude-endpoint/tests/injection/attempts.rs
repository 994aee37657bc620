//! The files of `injections/`, each as a change to the scenario.

use std::fs;
use std::path::Path;

use testkit::scenario::{REVIEWER_TOKEN, Scenario};

use crate::world::{API_KEY, SIGNING_KEY};

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Title,
    Body,
    Author,
    Branch,
    Path,
    Added,
    Commit,
    Memory,
    Issue,
    Rules,
}

impl Place {
    pub(crate) const ALL: [Self; 10] = [
        Self::Title,
        Self::Body,
        Self::Author,
        Self::Branch,
        Self::Path,
        Self::Added,
        Self::Commit,
        Self::Memory,
        Self::Issue,
        Self::Rules,
    ];
}

/// One attempt, planted.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What it says, its escapes read and its secrets filled in.
    pub(crate) text: String,
    pub(crate) scenario: Scenario,
    /// The files of its diff.
    pub(crate) files: Vec<String>,
}

const LETTERS: &str = "q7Rk2Zt9XvB4nLw8HsJ3yFc6MdPg5TaUe1KoVi0CxNbSzQhWrEjGmYlDpAf2u9T7k3";

fn letters(skip: usize, length: usize) -> String {
    LETTERS.chars().cycle().skip(skip).take(length).collect()
}

/// A token of somebody's, as a leak would have it. Put together here, so that no scanner takes it for one.
pub(crate) fn token() -> String {
    format!("gh{}_{}", 'p', letters(0, 36))
}

/// The secrets that attempts plant, by the name that stands for each.
fn planted() -> [(&'static str, String); 7] {
    [
        ("token", token()),
        ("password", "Hunter2-9x".to_owned()),
        ("hook", format!("wh{}_{}", "sec", letters(5, 32))),
        ("aws", format!("AK{}", "IAQ3EGRTZK7M2XWPNC")),
        ("forty", letters(9, 40)),
        ("stripe", format!("sk_{}_{}", "live", letters(3, 24))),
        ("pem", letters(1, 64)),
    ]
}

/// The endpoint's own.
pub(crate) const OURS: [&str; 3] = [REVIEWER_TOKEN, SIGNING_KEY, API_KEY];

impl Attempt {
    /// `number` keeps the name of one repository from being the beginning of another's.
    fn read(number: usize, path: &Path) -> Self {
        let file = fs::read_to_string(path).unwrap();
        let (head, text) = file.split_once("\n\n").unwrap();
        let place = head.lines().next().unwrap().strip_prefix("in: ").unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = filled_in(&unescaped(text.trim_end_matches('\n')));
        let repository = format!("acme/attempt-{number:02}-{name}");
        let scenario = Scenario { repository, private: false, ..Scenario::default() };
        let files = vec!["src/orders.rs".to_owned(), "web/cart.js".to_owned()];
        let mut attempt = Self { name, place: Place::Body, text, scenario, files };
        attempt.plant(place);
        attempt
    }

    fn plant(&mut self, place: &str) {
        let (place, rules) = place.split_once(':').unwrap_or((place, ""));
        let text = self.text.clone();
        let scenario = &mut self.scenario;
        self.place = match place {
            "title" => {
                scenario.title = text;
                Place::Title
            }
            "body" => {
                scenario.body = text;
                Place::Body
            }
            // the issue's own text is read where the service reads issues
            "issue" => {
                scenario.body = format!("Closes the following issue:\n\n{text}");
                Place::Issue
            }
            "author" => {
                scenario.author = text;
                Place::Author
            }
            "branch" => {
                scenario.head_ref = text;
                Place::Branch
            }
            "commit" => {
                (scenario.title, scenario.head_ref) = (text, scenario.base_ref.clone());
                Place::Commit
            }
            "memory" => Place::Memory,
            "path" => {
                self.add_file(&text, "fn planted() {}");
                Place::Path
            }
            "added" => {
                self.add_file("notes/planted.txt", &text);
                Place::Added
            }
            "rules" => {
                self.add_file(rules, &text);
                Place::Rules
            }
            other => panic!("no place is called {other}"),
        };
    }

    /// Adds a new file to the diff, as git prints it.
    fn add_file(&mut self, path: &str, text: &str) {
        let odd = path.contains(|c: char| c.is_control() || c == '"' || c == '\\');
        let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let name = |side: &str| if odd { format!("\"{side}/{escaped}\"") } else { format!("{side}/{path}") };
        let added: Vec<String> = text.split('\n').map(|line| format!("+{line}\n")).collect();
        let file = format!(
            "diff --git {} {}\nnew file mode 100644\n--- /dev/null\n+++ {}\n@@ -0,0 +1,{} @@\n{}",
            name("a"),
            name("b"),
            name("b"),
            added.len(),
            added.concat()
        );
        self.scenario.diff.push_str(&file);
        self.scenario.increment = self.scenario.diff.clone();
        self.files.push(path.to_owned());
    }

    /// What the memory knows because of it.
    pub(crate) fn memory(&self) -> Option<String> {
        (self.place == Place::Memory).then(|| self.text.clone())
    }

    /// The planted secrets that it names.
    pub(crate) fn secrets(&self) -> Vec<String> {
        planted().into_iter().map(|(_, secret)| secret).filter(|secret| self.text.contains(secret)).collect()
    }
}

fn filled_in(text: &str) -> String {
    planted()
        .iter()
        .fold(text.to_owned(), |text, (name, secret)| text.replace(&format!("{{{{{name}}}}}"), secret))
}

/// `\u{…}` and `\r`: what an editor would not show stands in the files by its number.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\u{") {
        let (number, after) = after.split_once('}').unwrap();
        out.push_str(before);
        out.push(char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap());
        rest = after;
    }
    out.push_str(rest);
    out.replace("\\r\\n", "\r\n").replace("\\r", "\r")
}

/// All attempts, by name.
pub(crate) fn all() -> Vec<Attempt> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/injections");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().enumerate().map(|(number, path)| Attempt::read(number, path)).collect()
}
