//! Any text is a diff or an error, and the lines of what is read are numbered without a gap.
#![no_main]

use claude_endpoint::diff::{Hunk, Kind, parse, parse_hunks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let hunks = parse(text).map(|diff| diff.files.into_iter().flat_map(|file| file.hunks).collect::<Vec<Hunk>>());
    for hunk in hunks.into_iter().chain(parse_hunks(text)).flatten() {
        numbered(&hunk);
    }
});

fn numbered(hunk: &Hunk) {
    let old: Vec<u32> = hunk.lines.iter().filter(|line| line.kind != Kind::Added).filter_map(|line| line.old_no).collect();
    let new: Vec<u32> = hunk.lines.iter().filter(|line| line.kind != Kind::Removed).filter_map(|line| line.new_no).collect();
    for side in [old, new] {
        assert!(side.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1])), "a gap in {side:?}");
    }
}
