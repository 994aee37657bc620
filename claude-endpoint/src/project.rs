//! What a project says about its reviews: `.ai-relay.toml` and the rules for people and agents. Pure.
//!
//! All of it is read from the base branch: a pull request must not change the rules by which it is judged.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::status::Threshold;

/// The settings of a project.
pub const SETTINGS: &str = ".ai-relay.toml";
/// Rules in prose, in the order in which the model reads them.
pub const RULES: [&str; 3] = ["REVIEW.md", "AGENTS.md", "CLAUDE.md"];
const MOST_GLOBS: usize = 200;

/// A project's settings, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Why no review is wanted at all, if so.
    pub is_off: bool,
    /// Whether drafts are reviewed; `None`: as the service is configured.
    pub drafts: Option<bool>,
    /// From which severity on a finding makes the status fail; `None`: as the service is configured.
    pub fail_on: Option<Threshold>,
    /// What to look for, in the project's words.
    pub instructions: Option<String>,
    /// What could not be understood, for people.
    pub trouble: Option<String>,
    ignored: GlobSet,
}

/// What a project wants otherwise than the service is configured, as far as it matters after the review is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// See [`Project::drafts`].
    pub drafts: Option<bool>,
    /// See [`Project::fail_on`].
    pub fail_on: Option<Threshold>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    review: Section,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    enabled: Option<bool>,
    drafts: Option<bool>,
    fail_on: Option<Threshold>,
    instructions: Option<String>,
    #[serde(default)]
    ignore: Vec<String>,
}

impl Project {
    /// Reads the file; one that cannot be read sets nothing and says why.
    pub fn read(toml: &str) -> Self {
        match toml::from_str::<File>(toml).map_err(|error| error.message().to_owned()).and_then(Self::of) {
            Ok(project) => project,
            Err(trouble) => Self {
                trouble: Some(format!("{SETTINGS} of the base branch is not used: {trouble}")),
                ..Self::default()
            },
        }
    }

    fn of(File { review }: File) -> Result<Self, String> {
        if review.ignore.len() > MOST_GLOBS {
            return Err(format!("`ignore` has more than {MOST_GLOBS} patterns"));
        }
        let mut ignored = GlobSetBuilder::new();
        for pattern in &review.ignore {
            ignored.add(Glob::new(pattern).map_err(|error| error.to_string())?);
        }
        Ok(Self {
            is_off: review.enabled == Some(false),
            drafts: review.drafts,
            fail_on: review.fail_on,
            instructions: review.instructions.filter(|text| !text.trim().is_empty()),
            trouble: None,
            ignored: ignored.build().map_err(|error| error.to_string())?,
        })
    }

    /// What has to be known after the review is made, too.
    pub fn wishes(&self) -> Wishes {
        Wishes { drafts: self.drafts, fail_on: self.fail_on }
    }

    /// Whether the project wants no review of this file.
    pub fn ignores(&self, path: &str) -> bool {
        self.ignored.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let project = Project::read(
            "[review]\nenabled = true\ndrafts = true\nfail_on = \"blocker\"\nignore = [\"docs/**\", \"*.snap\"]\ninstructions = \"Money is in cents.\"\n",
        );
        assert_eq!((project.is_off, project.drafts, project.trouble.as_deref()), (false, Some(true), None));
        assert_eq!(project.fail_on, Some(Threshold::Blocker));
        assert_eq!(project.instructions.as_deref(), Some("Money is in cents."));
        assert!(
            project.ignores("docs/a/b.md") && project.ignores("src/x.snap") && !project.ignores("src/x.rs")
        );
        assert_eq!(Project::read("[review]\nfail_on = \"never\"").fail_on, Some(Threshold::Never));
        assert!(Project::read("[review]\nenabled = false").is_off);
        assert_eq!(Project::read("").trouble, None);
    }

    #[test]
    fn what_is_not_understood_is_said_and_sets_nothing() {
        for (text, words) in [
            ("[review]\nfail_at = \"major\"", "unknown field `fail_at`"),
            ("[review]\nfail_on = \"awful\"", "unknown variant `awful`"),
            ("[review]\nignore = [\"a{\"]", "error parsing glob"),
            ("[review", "TOML"),
        ] {
            let project = Project::read(text);
            let trouble = project.trouble.clone().unwrap_or_default();
            assert!(trouble.starts_with(SETTINGS), "{trouble}");
            assert!(trouble.contains(words) || words == "TOML", "{trouble}");
            assert!(!project.ignores("a{"));
        }
    }
}
