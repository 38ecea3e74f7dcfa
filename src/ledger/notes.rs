//! Finds checkpoints in what people kept: a file of them, a mail, the description of a pull request.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::borrow::Cow;

/// More extension lines than this between a root and its signatures make no note.
const EXTENSIONS: usize = 16;
/// A signature and the id of its key, in bytes.
const SIGNATURE: usize = 4 + 64;
/// What programs make of the dash that a signature begins with.
const DASHES: [&str; 4] = ["— ", "– ", "-- ", "- "];

/// Every note in a text that may hold more than one, or other words around it: a mail as it was received, the
/// description of a pull request as it was copied. Marks of quoting before a line, and empty lines that came or went on
/// the way, are passed over: what a note says is decided by its signature alone.
#[must_use]
pub fn notes_in(text: &str) -> Vec<String> {
    let text = if text.contains("=E2=80=94 ") {
        Cow::Owned(printed(text))
    } else {
        Cow::Borrowed(text)
    };
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_matches(is_quoting))
        .filter(|line| !line.is_empty())
        .collect();
    let is_head = |at: usize| {
        let line = |n: usize| lines.get(at + n).copied().unwrap_or_default();
        line(1).parse::<u64>().is_ok() && BASE64.decode(line(2)).is_ok_and(|root| root.len() == 32)
    };
    let mut notes = vec![];
    for start in (0..lines.len()).filter(|start| is_head(*start)) {
        let rest = &lines[start + 3..];
        let signed = rest
            .iter()
            .take(EXTENSIONS)
            .position(|line| signature(line).is_some())
            .unwrap_or(0);
        let mut note = lines[start..start + 3 + signed].join("\n") + "\n\n";
        for line in rest[signed..].iter().map_while(|line| signature(line)) {
            note.extend([DASHES[0], line, "\n"]);
        }
        notes.push(note);
    }
    notes
}

/// What stands around a line that was quoted, indented or copied from a page.
fn is_quoting(c: char) -> bool {
    c.is_whitespace() || matches!(c, '>' | '|' | '\u{200b}' | '\u{feff}')
}

/// A signature's line without its dash: a name, and base64 of no less than a key's id and its signature.
fn signature(line: &str) -> Option<&str> {
    let line = DASHES.iter().find_map(|dash| line.strip_prefix(dash))?;
    let (name, base64) = line.split_once(' ')?;
    let is_whole = BASE64.decode(base64).is_ok_and(|bytes| bytes.len() >= SIGNATURE);
    (is_whole && !name.is_empty()).then_some(line)
}

/// Quoted-printable (RFC 2045), as mail carries what is not ASCII. What is no such code stays.
fn printed(text: &str) -> String {
    let joined = text.replace("=\r\n", "").replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let mut code = [0; 1];
        if byte == b'=' && after.len() >= 2 && hex::decode_to_slice(&after[..2], &mut code).is_ok() {
            bytes.push(code[0]);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Checkpoint, SignedCheckpoint, Signer};
    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/one", [9; 32]).unwrap()
    }

    fn signed(size: u64) -> SignedCheckpoint {
        let head = Checkpoint {
            origin: "ledger.example/one".into(),
            size,
            root: [3; 32],
        };
        signer().sign(&head).unwrap()
    }

    #[test]
    fn notes_are_found_in_a_mail_and_in_a_pull_request() {
        let (one, two) = (signed(5), signed(6));
        assert_eq!(notes_in(one.text()), [one.text()]);
        let quoted = format!("> {}\r\n", two.text().trim_end().replace('\n', "\r\n> "));
        let mail = format!(
            "Something happened.\n\n```\n{}```\n\nOn Monday:\n{quoted}\nbye\n",
            one.text()
        );
        assert_eq!(notes_in(&mail), [one.text(), two.text()]);
        for note in notes_in(&mail) {
            SignedCheckpoint::parse(&note)
                .unwrap()
                .verify(&[signer().verifier_key()])
                .unwrap();
        }
        assert_eq!(notes_in("no note\n12\nhere\n"), [""; 0]);
    }

    #[test]
    fn what_copying_makes_of_a_note_is_passed_over() {
        let note = signed(5);
        let copied = |from: &str, to: &str| note.text().replace(from, to);
        for text in [
            copied("\n", "\n\n"),
            copied("\n\n", "\n"),
            format!("> > ```\n> > {}", copied("\n", "\n> > ")),
            format!("    {}", copied("\n", "\r\n    ")),
            format!("\u{feff}| {}", copied("\n", " |\n|\u{a0}")),
            copied("— ", "– "),
            copied("— ", "-- "),
            copied("— ", "=E2=80=94 ").replace("=\n", "=3D\n"),
            copied("— ", "=E2=80=94 ")
                .replace("=\n", "=3D\n")
                .replace("example", "exa=\r\nmple"),
        ] {
            assert_eq!(notes_in(&text), [note.text()], "{text:?}");
        }
    }

    #[test]
    fn a_note_whose_signature_was_left_behind_is_no_good_one() {
        let text = signed(5).text().replace("— ", "signed: ");
        let [note] = &notes_in(&text)[..] else {
            panic!("{text}")
        };
        let read = SignedCheckpoint::parse(note);
        assert!(read.is_err() || read.unwrap().verify(&[signer().verifier_key()]).is_err());
        let with_a_line = signed(5).text().replace("\n\n", "\nextension 1\n\n");
        assert_eq!(notes_in(&with_a_line), [with_a_line]);
    }
}
