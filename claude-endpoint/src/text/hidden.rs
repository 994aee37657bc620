//! Characters that a reader does not see but a model does.

/// Zero-width, bidirectional controls, tag characters, fillers, soft hyphens, formats and control codes.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{13430}'..='\u{1345F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D159}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
        || (c.is_control() && !c.is_whitespace())
}

/// Whether `c` hides something where it stands behind `before`. A variation selector behind a symbol chooses between its
/// two pictures; anywhere else it is one of those that text is smuggled in.
pub(super) fn is_hidden(before: Option<char>, c: char) -> bool {
    let is_choice = matches!(c, '\u{FE0E}' | '\u{FE0F}')
        && before
            .is_some_and(|before| !before.is_ascii() && !before.is_alphabetic() && !is_invisible(before));
    is_invisible(c) && !is_choice
}

/// Breaks a line for some readers, though not for git.
pub(super) fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Prose without them, its lines ended by `\n`.
pub(super) fn cleaned(prose: &str) -> String {
    let mut before = None;
    let mut out = String::with_capacity(prose.len());
    for c in prose.replace("\r\n", "\n").chars() {
        let stays = c == '\n' || c == '\t' || !(c.is_control() || is_line_break(c) || is_hidden(before, c));
        if stays {
            out.push(c);
        }
        before = Some(c);
    }
    out
}
