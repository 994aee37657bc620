//! What people and agents hand in that is nothing to remember, as far as that can be told without a model. Pure.

/// Why a text without words is not worth finding.
pub(super) const SILENT: &str = "it has no text";

/// Why a comment of a bot is not worth finding.
pub(super) const CHATTER: &str = "bots' comments are chatter";

/// Why a merge is not worth finding.
pub(super) const MERGE: &str = "it only merges what was already remembered";

const RECALLED: &str = "it repeats what the memory had told";
const QUOTED: &str = "it quotes what others said, and adds little";
const PROMPT: &str = "it is what an agent was told to do";
const RESTATED: &str = "it only restates what an agent was asked";
const TRANSCRIPT: &str = "it is the transcript of a conversation or of tool calls";

/// How an instruction to a model begins. Not "you are not allowed to …", which is a rule worth knowing.
const PROMPTS: [&str; 16] = [
    "you are a ",
    "you are an ",
    "you are claude",
    "you are chatgpt",
    "you are codex",
    "you are gemini",
    "you are jules",
    "you are working ",
    "you're a ",
    "you're an ",
    "act as a",
    "your task is ",
    "your job is ",
    "<system",
    "<user_query",
    "<instructions",
];

/// How a sentence begins that tells what was asked. More sentences may say what came of it.
const RESTATEMENTS: [&str; 10] = [
    "the user asked ",
    "the user asks ",
    "the user wants ",
    "the user requested ",
    "user asked ",
    "user wants ",
    "user requested ",
    "i was asked ",
    "i have been asked ",
    "the task is ",
];

/// How the lines of a transcript begin.
const ROLES: [&str; 16] = [
    "user:",
    "human:",
    "assistant:",
    "system:",
    "tool:",
    "### user",
    "### assistant",
    "**user",
    "**assistant",
    "<tool_",
    "<function_",
    "<invoke ",
    "<|im_start|>",
    "{\"role\":",
    "{\"type\":\"tool_",
    "{\"type\": \"tool_",
];

/// Why an agent's own words are not worth finding.
pub(super) fn of_words(text: &str) -> Option<&'static str> {
    let merge = text.lines().count() <= 1 && is_merge(text);
    of_comment(text).or_else(|| of_prompt(text)).or_else(|| merge.then_some(MERGE))
}

/// Why a comment is not worth finding.
pub(super) fn of_comment(text: &str) -> Option<&'static str> {
    None.or_else(|| text.trim().is_empty().then_some(SILENT))
        .or_else(|| is_recalled(text).then_some(RECALLED))
        .or_else(|| is_quoted(text).then_some(QUOTED))
}

/// Whether most lines are quoted, and what is added is not even a sentence or two.
fn is_quoted(text: &str) -> bool {
    let quoted = |line: &str| line.starts_with('>');
    let own = text.lines().map(str::trim).filter(|line| !quoted(line)).map(|line| line.chars().count());
    mostly(text, quoted) && own.sum::<usize>() < 80
}

/// Whether a text is mostly made of a briefing's lines: what was recalled is not to be remembered again.
pub(crate) fn is_recalled(text: &str) -> bool {
    mostly(text, is_briefing_line)
}

/// Whether the line is one of a briefing: `- [decision, 2026-11-20 …] … (memory 1a2b3c4d)`.
pub(crate) fn is_briefing_line(line: &str) -> bool {
    let line = line.trim_start_matches(['>', ' ', '\t']).trim_end();
    let Some((kind, rest)) = line.strip_prefix("- [").and_then(|rest| rest.split_once(", ")) else {
        return false;
    };
    let kind = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let date = rest.as_bytes().get(..10).is_some_and(|date| {
        date.iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
    });
    let id = rest.strip_suffix(')').and_then(|rest| rest.rsplit_once("(memory ")).map(|(_, id)| id);
    let id = id.is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    kind && date && id
}

/// Whether git or GitHub wrote the message because branches were merged.
pub(super) fn is_merge(message: &str) -> bool {
    ["Merge pull request #", "Merge branch ", "Merge remote-tracking branch "]
        .iter()
        .any(|start| message.starts_with(start))
}

fn of_prompt(text: &str) -> Option<&'static str> {
    let text = text.trim_start().to_lowercase();
    let starts = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    let roles =
        text.lines().filter(|line| ROLES.iter().any(|role| line.trim_start().starts_with(role))).count();
    None.or_else(|| starts(&PROMPTS).then_some(PROMPT))
        .or_else(|| (starts(&RESTATEMENTS) && sentences(&text) <= 1).then_some(RESTATED))
        .or_else(|| (starts(&ROLES) && roles >= 2).then_some(TRANSCRIPT))
}

/// How many sentences, roughly.
fn sentences(text: &str) -> usize {
    let text = text.trim().replace('\n', ". ");
    1 + text
        .split(['.', '!', '?', ';'])
        .skip(1)
        .filter(|rest| rest.starts_with(' ') && !rest.trim().is_empty())
        .count()
}

/// Whether more than half of the lines that are not empty are `such`.
fn mostly(text: &str, such: impl Fn(&str) -> bool) -> bool {
    let lines = || text.lines().map(str::trim_start).filter(|line| !line.trim().is_empty());
    lines().filter(|line| such(line)).count() * 2 > lines().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "- [decision, 2026-11-20, #7, ann] Retries are capped at five. (memory 1a2b3c4d)";

    #[test]
    fn junk_has_its_reason() {
        for (text, reason) in [
            (" \n", SILENT),
            (LINE, RECALLED),
            (&format!("Known:\n{LINE}\n> {LINE}"), RECALLED),
            ("> Should it retry?\n> Five times.\n\n+1", QUOTED),
            ("You are a senior engineer. Fix the flaky test.", PROMPT),
            ("Your task is to fix the flaky test.", PROMPT),
            ("The user asked me to fix the flaky test.", RESTATED),
            ("User: fix it\nAssistant: Done.\nUser: thanks", TRANSCRIPT),
            ("<tool_call>\n{}\n</tool_call>\n<tool_result>\nok\n</tool_result>", TRANSCRIPT),
            ("Merge branch 'main' into retry", MERGE),
        ] {
            assert_eq!(of_words(text), Some(reason), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_junk_is_kept() {
        for text in [
            "You are not allowed to push to main.",
            "I was asked to fix the flake. It raced with the timer.",
            "The user wants dark mode\nso the theme is read from `settings.toml`",
            "> Should it retry?\n> And how often?\n> It is slow.\n\nFive times, because GitHub gives up after ten seconds, and a person can ask again.",
            "User: the account that runs the service",
            "> Should it retry?\n\nFive times, because GitHub gives up after ten seconds.",
            &format!("{LINE}\nis wrong now.\nIt is ten."),
            "- [x] done (memory 1a2b3c4d)",
            "- [decision, 2026-11-20] (memory 1a2b3c4)",
            "Merge requests need two approvals",
        ] {
            assert_eq!(of_words(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_briefing_said_again_is_recalled(
            lines in prop::collection::vec(("[a-z]{3,10}", "20[0-9]{2}-[01][0-9]-[0-3][0-9]", "\\PC{0,60}", "[0-9a-f]{8}"), 1..8),
            header in "[A-Za-z ]{0,20}",
        ) {
            let lines: Vec<String> = lines.into_iter()
                .map(|(kind, date, text, id)| format!("- [{kind}, {date}] {text} (memory {id})")).collect();
            prop_assert!(lines.iter().all(|line| is_briefing_line(line)));
            let text = format!("{header}\n{}", lines.join("\n"));
            prop_assert_eq!(of_words(&text).is_some(), lines.len() > 1 || header.trim().is_empty());
        }

        #[test]
        fn any_text_is_judged(text in "\\PC{0,40}(\n\\PC{0,40}){0,4}") {
            let _ = of_words(&text);
        }
    }
}
