//! Where log lines go: to standard output, each in one write, with nothing in it that a terminal or a
//! reader would be misled by. JSON escapes only the controls below U+0020; a name may hold others.

use breakglass::audit::is_hidden;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Makes a [`Line`] for each line.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

/// One line of JSON on its way out.
#[derive(Debug)]
pub struct Line(io::Stdout);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(io::stdout())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(bytes).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The same JSON with hidden characters in their `\u` form: they stand in strings alone, so that every
/// reader of the line gets the same text back.
fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_hidden(c) {
            line.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing into a String cannot fail.
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_and_shows_nothing_hidden() {
        let text = "a\u{1b}[31mb\u{9b}31m\u{202e}c\u{200b}\u{e0041}\u{2028}d\u{7f}é\n";
        let json = serde_json::to_string(text).unwrap() + "\n";
        let line = escaped(json.as_bytes());
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.trim_end().chars().any(is_hidden), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
