//! What a model wrote for itself, which is not meant to be kept: `<think>…</think>`. Pure.

/// The names that models give the tag.
const NAMES: [&str; 2] = ["think", "thinking"];

/// A tag in a text: where it starts and ends, and whether it opens.
struct Tag {
    start: usize,
    end: usize,
    opens: bool,
}

/// `text` without thoughts, and trimmed if there were any. A thought that is not closed reaches to the end. One that was
/// opened by the model's template, and so is closed only, begins at the start: but only where a line ends with its tag.
/// A tag in backticks is spoken of, not meant.
pub(crate) fn without_thoughts(text: &str) -> String {
    if !text.contains('<') {
        return text.to_owned();
    }
    let (mut kept, mut depth, mut from, mut found) = (String::new(), 0_usize, 0, false);
    for tag in tags(text) {
        match (tag.opens, depth) {
            (true, 0) => kept.push_str(&text[from..tag.start]),
            (true, _) => {}
            (false, 0) if ends_its_line(text, tag.end) => kept.clear(),
            (false, 0) => continue,
            (false, _) => {}
        }
        depth = if tag.opens { depth + 1 } else { depth.saturating_sub(1) };
        (from, found) = (tag.end, true);
    }
    if depth == 0 {
        kept.push_str(&text[from..]);
    }
    if found { kept.trim().to_owned() } else { kept }
}

fn ends_its_line(text: &str, at: usize) -> bool {
    text[at..].lines().next().unwrap_or_default().trim().is_empty()
}

/// The tags that are meant, in order.
fn tags(text: &str) -> impl Iterator<Item = Tag> {
    text.match_indices('<').filter_map(|(start, _)| {
        let inside = &text[start + 1..];
        let (opens, name) = inside.strip_prefix('/').map_or((true, inside), |name| (false, name));
        let length = NAMES.iter().find_map(|wanted| {
            let same = name.get(..wanted.len()).is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            (same && name[wanted.len()..].starts_with('>')).then_some(wanted.len() + 1)
        })?;
        let end = start + 1 + usize::from(!opens) + length;
        (!text[..start].ends_with('`')).then_some(Tag { start, end, opens })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thoughts_go_and_words_about_them_stay() {
        for (text, kept) in [
            ("<think>Hm.</think>\nCap it.", "Cap it."),
            ("Cap <THINK>a\nb</Think>it.", "Cap it."),
            ("Cap it.\n<think>but what if", "Cap it."),
            ("so he asks…\n</think>\n\nCap it.", "Cap it."),
            ("<think>a<think>b</think>c</think>Cap it.", "Cap it."),
            ("<thinking>a</thinking><think>b</think>", ""),
            ("a </think>\nb </think>\nCap it.", "Cap it."),
            ("`<think>` is stripped, `</think>` too", "`<think>` is stripped, `</think>` too"),
            ("The parser forgets </think> in streams", "The parser forgets </think> in streams"),
            ("  no thoughts <b>at all</b> ", "  no thoughts <b>at all</b> "),
            ("<thinker>x</thinker> é<", "<thinker>x</thinker> é<"),
        ] {
            assert_eq!(without_thoughts(text), kept, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_thought_survives_and_nothing_is_added(
            text in "(<think>|</think>|<thinking>|</thinking>|<|`|\n|[a-zé ]){0,40}",
            before in "[a-z ]{0,10}", thought in "[A-Z]{1,10}", after in "[a-z ]{0,10}",
        ) {
            let once = without_thoughts(&text);
            prop_assert!(once.len() <= text.len());
            let told = without_thoughts(&format!("{before}<think>{thought}</think>{after}"));
            let around = format!("{before}{after}");
            prop_assert_eq!(told, around.trim());
            let open = without_thoughts(&format!("{before}<think>{thought}"));
            prop_assert_eq!(open, before.trim());
        }
    }
}
