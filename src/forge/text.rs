//! Untrusted text made harmless in Markdown and in commit messages.
//!
//! Mentions, issue references, closing keywords and links are found by forges in the *rendered* text,
//! so escaping alone does not stop them: an invisible word joiner (U+2060) breaks them apart.

use crate::audit::is_hidden;

const JOINER: char = '\u{2060}';

/// One line of plain text: control, direction-changing and invisible characters become U+FFFD, line
/// breaks a space, more than `limit` characters an ellipsis.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == limit {
            line.push('…');
            break;
        }
        line.push(visible(c, false));
    }
    line
}

/// The character itself when a person can see what it does, otherwise a stand-in.
fn visible(c: char, keep_breaks: bool) -> char {
    match c {
        '\n' | '\t' if keep_breaks => c,
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        // Text that reads otherwise than it is.
        c if is_hidden(c) => '\u{FFFD}',
        c => c,
    }
}

/// Breaks mentions, references, links and commit-message commands, and nothing a reader would see.
#[must_use]
pub fn quiet(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut tail = String::new();
    for c in text.chars() {
        out.push(c);
        tail.push(c.to_ascii_lowercase());
        if tail.len() > 8 {
            tail = tail.chars().skip(1).collect();
        }
        // `@user`, `#1`, `!1`, `[skip ci]`, `scheme://`, `www.`, `GH-1`.
        if matches!(c, '@' | '#' | '!' | '[')
            || tail.ends_with(":/")
            || tail.ends_with("www.")
            || tail.ends_with("gh-")
        {
            out.push(JOINER);
        }
    }
    out
}

/// One line, safe anywhere inside a line of Markdown or a table cell.
#[must_use]
pub fn inline(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in quiet(&one_line(text, limit)).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~'
            | '$' | '=' | '-' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// One line as a code span that fits a table cell; forges look for no mention or link inside.
#[must_use]
pub fn code(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    if line.is_empty() {
        return "(empty)".to_owned();
    }
    let fence = "`".repeat(longest_run(&line) + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') {
        " "
    } else {
        ""
    };
    // A table splits at a bar even inside a code span, and takes this backslash away again.
    format!("{fence}{pad}{}{pad}{fence}", line.replace('|', "\\|"))
}

/// Many lines as a fenced block that nothing inside can end.
#[must_use]
pub fn block(text: &str, language: &str) -> String {
    let shown: String = text
        .replace("\r\n", "\n")
        .chars()
        .map(|c| visible(c, true))
        .collect();
    let fence = "`".repeat((longest_run(&shown) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", shown.trim_end_matches('\n'))
}

/// Many lines as a quotation, each made harmless.
#[must_use]
pub fn quotation(text: &str, limit: usize) -> String {
    let bounded: String = text.chars().take(limit).collect();
    let cut = if text.chars().nth(limit).is_some() {
        "> …\n"
    } else {
        ""
    };
    let mut quoted = String::new();
    for line in bounded.trim().lines() {
        quoted.extend([
            "> ",
            &start_of_line(&inline(line, limit)),
            "
",
        ]);
    }
    quoted + cut
}

/// Keeps a line from starting a list.
fn start_of_line(line: &str) -> String {
    let digits = line.chars().take_while(char::is_ascii_digit).count();
    if digits > 0 && line[digits..].starts_with('.') {
        format!("{}\\{}", &line[..digits], &line[digits..])
    } else {
        line.to_owned()
    }
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mention_reference_or_link_survives() {
        let hostile = "cc @compliance fixes #12, demo/shop#3, GH-7, !9, https://evil.example/x www.evil.example [a](b) <img src=x> **b** `c`";
        let shown = inline(hostile, 500).replace('\\', "");
        for alive in ["@c", "#1", "#3", "GH-7", "!9", "://", "www.e"] {
            assert!(!shown.contains(alive), "{alive} in {shown}");
        }
        let raw = inline(hostile, 500);
        for alive in ["<img", "](", " **", " `c"] {
            assert!(!raw.contains(alive), "{alive} in {raw}");
        }
        assert!(quiet("x [skip ci]").contains("[\u{2060}skip ci]"));
    }

    #[test]
    fn a_line_stays_one_line_and_shows_what_it_is() {
        assert_eq!(one_line("a\r\nb\tc", 10), "a  b c");
        assert_eq!(
            one_line("user\u{202E}gnp.exe\u{200B}", 99),
            "user\u{FFFD}gnp.exe\u{FFFD}"
        );
        assert_eq!(one_line("abcdef", 3), "abc…");
    }

    #[test]
    fn code_and_blocks_cannot_be_closed_from_inside() {
        assert_eq!(code("a`b", 9), "``a`b``");
        assert_eq!(code("`", 9), "`` ` ``");
        assert_eq!(code("a|b", 9), "`a\\|b`");
        let fenced = block("x\n````\n@you", "diff");
        assert!(fenced.starts_with("`````diff\n") && fenced.ends_with("\n`````\n"));
    }

    #[test]
    fn a_quotation_holds_every_line() {
        let text = quotation("first\n- item\n1. one\n# head\n\n> q", 100);
        assert!(text.lines().all(|line| line.starts_with("> ")), "{text}");
        assert!(
            text.contains("> \\- item") && text.contains("> 1\\. one") && text.contains("> \\#"),
            "{text}"
        );
        assert!(quotation("abcdef", 3).ends_with("> …\n"));
    }
}
