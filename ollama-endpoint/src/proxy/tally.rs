//! How many tokens an answer of Ollama cost, as the end of its body tells. Pure.
//!
//! Ollama says it in the last line of a stream or at the end of a JSON body (`prompt_eval_count`, `eval_count`); in the
//! APIs that it imitates it is `usage`, in one of the last events. So only the end of a body has to be kept.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes that are kept of a body's end. What follows the counts is short: a few fields, `data: [DONE]`.
const TAIL: usize = 16 * 1024;

/// What was read and written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Tokens of the prompt.
    pub(super) read: u64,
    /// Tokens of the answer.
    pub(super) written: u64,
}

/// The end of a body that passes by in pieces.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// At most twice [`TAIL`], so that not every piece moves all of it.
    kept: Vec<u8>,
    /// Whether there was more before it.
    cut: bool,
}

impl Tail {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.cut |= self.kept.len() + piece.len() > TAIL;
        let piece = last(piece);
        if self.kept.len() + piece.len() > 2 * TAIL {
            let stays = TAIL - piece.len();
            self.kept.drain(..self.kept.len() - stays.min(self.kept.len()));
        }
        self.kept.extend_from_slice(piece);
    }

    /// The counts that stand last; none if the body tells none.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let mut lines = last(&self.kept).split(|byte| *byte == b'\n').rev();
        let mut line = lines.next()?;
        for earlier in lines {
            if let Some(tokens) = told(line) {
                return Some(tokens);
            }
            line = earlier;
        }
        // Of a line that is longer than the tail (a list of vectors, a long text) only the end is here.
        told(line).or_else(|| searched(line).filter(|_| self.cut))
    }
}

fn last(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(TAIL)..]
}

#[derive(Deserialize)]
struct Told<'a> {
    done: Option<bool>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    usage: Option<Usage>,
    /// Of `/v1/responses` an object; of `/api/generate` the text.
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// The counts of a line of NDJSON, an event's data or a whole JSON body.
fn told(line: &[u8]) -> Option<Tokens> {
    let line = line.trim_ascii();
    let told: Told<'_> = serde_json::from_slice(line.strip_prefix(b"data:").unwrap_or(line)).ok()?;
    if told.done == Some(false) {
        return None;
    }
    let nested = told.response.map(RawValue::get).filter(|response| response.starts_with('{'));
    if let Some(nested) = nested {
        return self::told(nested.as_bytes());
    }
    let (read, written) = match told.usage {
        None => (told.prompt_eval_count, told.eval_count),
        Some(usage) => {
            (usage.prompt_tokens.or(usage.input_tokens), usage.completion_tokens.or(usage.output_tokens))
        }
    };
    counted(read, written)
}

/// The last counts in what is no whole JSON. A text cannot pass for a key: within a string a quote is escaped.
fn searched(line: &[u8]) -> Option<Tokens> {
    let line = String::from_utf8_lossy(line);
    let number = |key: &str| {
        let (_, after) = line.rsplit_once(&format!("\"{key}\":"))?;
        let digits = after.trim_start();
        digits[..digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
    };
    let first = |keys: [&str; 3]| keys.into_iter().find_map(number);
    counted(
        first(["prompt_eval_count", "prompt_tokens", "input_tokens"]),
        first(["eval_count", "completion_tokens", "output_tokens"]),
    )
}

fn counted(read: Option<u64>, written: Option<u64>) -> Option<Tokens> {
    let any = read.is_some() || written.is_some();
    any.then(|| Tokens { read: read.unwrap_or(0), written: written.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(body: &str) -> Option<(u64, u64)> {
        let mut tail = Tail::default();
        tail.push(body.as_bytes());
        tail.tokens().map(|tokens| (tokens.read, tokens.written))
    }

    /// As Ollama 0.33 was captured.
    const BODIES: [(&str, Option<(u64, u64)>); 10] = [
        (
            "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"I\"},\"done\":false}\n\
             {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"length\",\"prompt_eval_count\":11,\"prompt_eval_duration\":93392000,\"eval_count\":6,\"eval_duration\":115511000}\n",
            Some((11, 6)),
        ),
        (
            "{\"model\":\"m\",\"response\":\"Then {\",\"done\":true,\"context\":[1,2],\"prompt_eval_count\":10,\"eval_count\":6}",
            Some((10, 6)),
        ),
        ("{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}", None),
        (
            "{\"model\":\"m\",\"embeddings\":[[0.5,-1]],\"total_duration\":38,\"prompt_eval_count\":6}",
            Some((6, 0)),
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
             data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4,\"total_tokens\":15}}\n\n\
             data: [DONE]\n\n",
            Some((11, 4)),
        ),
        ("data: {\"choices\":[{\"delta\":{\"content\":\".\"}}]}\n\ndata: [DONE]\n\n", None),
        (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":2,\"output_tokens\":0}}}\n\n\
             event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":11,\"output_tokens\":4}}\n\n\
             event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            Some((11, 4)),
        ),
        (
            "event: response.completed\r\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":4,\"input_tokens_details\":{\"cached_tokens\":0}},\"metadata\":{}}}\r\n\r\n",
            Some((10, 4)),
        ),
        ("{\"data\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}\n", Some((3, 0))),
        ("{\"error\":\"model 'nope' not found\"}", None),
    ];

    #[test]
    fn each_form_of_answer_tells_its_tokens() {
        for (body, tokens) in BODIES {
            assert_eq!(of(body), tokens, "{body}");
        }
        assert_eq!(Tail::default().tokens(), None);
    }

    #[test]
    fn what_the_model_says_is_not_taken_for_the_count() {
        let said = r#"{"message":{"content":"\"eval_count\":9","tool_calls":[{"function":{"arguments":{"eval_count":7}}}]},"done":false}"#;
        assert_eq!(of(said), None, "broken off");
        let whole = format!("{said}\n{{\"done\":true,\"prompt_eval_count\":1,\"eval_count\":2}}\n");
        assert_eq!(of(&whole), Some((1, 2)));
    }

    #[test]
    fn an_answer_of_one_long_line_tells_its_tokens_too() {
        let vectors = "0.125,".repeat(TAIL);
        assert_eq!(of(&format!("{{\"embeddings\":[[{vectors}1]],\"prompt_eval_count\": 6}}")), Some((6, 0)));
        let context = "17,".repeat(TAIL);
        let line = format!(
            "{{\"done\":true,\"context\":[{context}1],\"prompt_eval_count\":10,\"eval_count\":6,\"x\":1}}\n"
        );
        assert_eq!(of(&line), Some((10, 6)));
        let text = "\\\"completion_tokens\\\":5 ".repeat(TAIL / 8);
        let usage =
            format!("{{\"text\":\"{text}\",\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":4}}}}");
        assert_eq!(of(&usage), Some((3, 4)));
        assert_eq!(of(&format!("{{\"text\":\"{text}")), None, "broken off");
    }

    proptest! {
        #[test]
        fn however_a_body_is_cut_it_tells_the_same(
            which in 0..BODIES.len(),
            before in 0..3 * TAIL,
            lines in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let filler = if lines { "{\"done\":false}\n" } else { "é" };
            let newline = if lines { "" } else { "\n" };
            let body = format!("{}{newline}{}", filler.repeat(before / filler.len()), BODIES[which].0);
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let mut tail = Tail::default();
            for piece in at.windows(2) {
                tail.push(&body.as_bytes()[piece[0]..piece[1]]);
                prop_assert!(tail.kept.len() <= 2 * TAIL);
            }
            prop_assert_eq!(tail.tokens().map(|tokens| (tokens.read, tokens.written)), BODIES[which].1);
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut tail = Tail { kept: Vec::new(), cut: true };
            tail.push(&body);
            tail.tokens();
        }
    }
}
