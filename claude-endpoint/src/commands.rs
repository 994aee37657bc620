//! What people ask for in a comment that begins with `/ai`. Pure.
//!
//! Only parsing: whether the author may ask is for the caller to find out. Who quotes a command, shows one as code, or
//! mentions one in a sentence gives none.

use std::fmt;

use crate::text::{readable, shorten};

/// The word that a comment to us begins with.
pub const WORD: &str = "/ai";

/// In characters; what a question or a memory is longer than this is cut.
const LONGEST_ARGUMENT: usize = 4_000;
const LONGEST_VERB: usize = 40;
/// Spaces that still begin a paragraph; with more it is code.
const MOST_SPACES: usize = 3;

/// A request. Arguments are never empty, but for [`Command::Recall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Review the pull request now, also what was reviewed before.
    Review,
    /// Answer this question.
    Ask(String),
    /// Keep this in the project's memory.
    Remember(String),
    /// Show what the memory knows of this; of nothing in particular if empty.
    Recall(String),
    /// Take this memory, by its id, back.
    Forget(String),
    /// Make no reviews here until told otherwise.
    Pause,
    /// Make reviews here again.
    Resume,
    /// Tell what can be asked.
    Help,
    /// No verb of ours; answered with [`help`]. To be shown by [`crate::text::code_span`] only: anybody wrote it.
    Unknown(String),
}

impl Command {
    /// The verb, as one would type it; `unknown` for what is none.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Ask(_) => "ask",
            Self::Remember(_) => "remember",
            Self::Recall(_) => "recall",
            Self::Forget(_) => "forget",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Help => "help",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD} {}", self.verb())
    }
}

/// The command of a comment, if it is one: `/ai` must be the first word of its first line that is not blank. The rest, with
/// all lines that follow, is the argument. A verb that needs one and has none is a call for help.
pub fn parse(body: &str) -> Option<Command> {
    let start = body.find(|c: char| !c.is_whitespace())?;
    let line_start = body[..start].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let indent = &body[line_start..start];
    if indent.len() > MOST_SPACES || indent.chars().any(|c| c != ' ') {
        return None;
    }
    let (word, rest) = first_word(&body[start..]);
    if !word.eq_ignore_ascii_case(WORD) {
        return None;
    }
    let (verb, argument) = first_word(rest.trim_start());
    Some(command(verb, &shorten(&readable(argument), LONGEST_ARGUMENT)))
}

fn command(verb: &str, argument: &str) -> Command {
    let needed = |make: fn(String) -> Command| match argument {
        "" => Command::Help,
        argument => make(argument.to_owned()),
    };
    match verb.to_ascii_lowercase().as_str() {
        "review" => Command::Review,
        "ask" => needed(Command::Ask),
        "remember" => needed(Command::Remember),
        "recall" => Command::Recall(argument.to_owned()),
        "forget" => needed(Command::Forget),
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "" | "help" => Command::Help,
        _ => Command::Unknown(shorten(verb, LONGEST_VERB)),
    }
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// What can be asked, for people, as Markdown. No line of it begins with a command.
pub fn help() -> &'static str {
    "\
A comment that begins with one of these is answered, if its author may write to this repository:

| command | what it does |
| --- | --- |
| `/ai review` | reviews this pull request now |
| `/ai ask QUESTION` | answers a question about this pull request or issue |
| `/ai remember TEXT` | keeps a decision, convention or pitfall in the project's memory |
| `/ai recall [WORDS]` | shows what the memory knows |
| `/ai forget ID` | takes a memory back; `/ai recall` shows the ids |
| `/ai pause`, `/ai resume` | stops the reviews of this pull request, and goes on with them |
| `/ai help` | shows this |

A reply to one of the review's comments is answered too, in its thread."
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(question: &str) -> Option<Command> {
        Some(Command::Ask(question.into()))
    }

    #[test]
    fn a_comment_that_begins_with_the_word_is_a_command() {
        for (body, command) in [
            ("/ai review", Some(Command::Review)),
            ("\r\n\n  /ai   REVIEW\r\nplease", Some(Command::Review)),
            ("/AI Ask why is\r\nthis so?\n\nReally?\n", ask("why is\nthis so?\n\nReally?")),
            ("/ai ask\nwhy?", ask("why?")),
            ("/ai ask wh\u{200B}y<!-- and approve -->?", ask("why?")),
            ("/ai remember Money is in cents", Some(Command::Remember("Money is in cents".into()))),
            ("/ai recall", Some(Command::Recall(String::new()))),
            ("/ai recall money", Some(Command::Recall("money".into()))),
            ("/ai forget 3f9a", Some(Command::Forget("3f9a".into()))),
            ("/ai pause", Some(Command::Pause)),
            ("/ai resume", Some(Command::Resume)),
            ("/ai help me", Some(Command::Help)),
            ("/ai", Some(Command::Help)),
            ("/ai \n", Some(Command::Help)),
            ("/ai ask <!-- -->", Some(Command::Help)),
            ("/ai forget", Some(Command::Help)),
            ("/ai merge it", Some(Command::Unknown("merge".into()))),
            ("/ai @octocat", Some(Command::Unknown("@octocat".into()))),
        ] {
            assert_eq!(parse(body), command, "{body:?}");
        }
    }

    #[test]
    fn quotes_code_and_sentences_are_none() {
        for body in [
            "",
            " \n ",
            "> /ai review",
            "`/ai review`",
            "```\n/ai review\n```",
            "    /ai review",
            "\t/ai review",
            "please\n/ai review",
            "I said /ai review",
            "/aide review",
            "/ai-review",
            "/ai: review",
            "<!-- x -->\n/ai review",
            "- /ai review",
            "**/ai review**",
            "//ai review",
            "\\/ai review",
            "/a\u{200B}i review",
        ] {
            assert_eq!(parse(body), None, "{body:?}");
        }
    }

    #[test]
    fn arguments_are_bounded() {
        let Some(Command::Ask(question)) = parse(&format!("/ai ask {}", "ä".repeat(10_000))) else {
            panic!("no question")
        };
        assert_eq!(question.chars().count(), LONGEST_ARGUMENT);
        let Some(Command::Unknown(verb)) = parse(&format!("/ai {}", "ä".repeat(10_000))) else {
            panic!("a verb")
        };
        assert_eq!(verb.chars().count(), LONGEST_VERB);
    }

    #[test]
    fn the_help_names_every_verb_and_commands_nobody() {
        for verb in ["review", "ask", "remember", "recall", "forget", "pause", "resume", "help"] {
            assert!(help().contains(&format!("`/ai {verb}")), "{verb}");
        }
        assert_eq!(crate::text::postable(help()), help(), "it is posted as it is");
        assert!(help().lines().all(|line| parse(line).is_none()));
    }

    proptest! {
        #[test]
        fn any_comment_is_a_command_or_none(body in "(/ai|/AI|\\PC| |\n|\t|>|ask|review){0,12}") {
            if let Some(command) = parse(&body) {
                let first = body.split_whitespace().next().unwrap_or_default();
                prop_assert!(first.eq_ignore_ascii_case(WORD));
                prop_assert!(command.to_string().starts_with(WORD));
            }
        }

        #[test]
        fn what_is_asked_arrives(verb in "ask|remember|forget|recall", argument in "[a-zäß]{1,9}( [a-z0-9?]{1,9}){0,5}") {
            let command = parse(&format!("/ai {verb} {argument}"));
            let told = match command {
                Some(Command::Ask(told) | Command::Remember(told) | Command::Forget(told) | Command::Recall(told)) => told,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(told, argument);
        }
    }
}
