//! Finds checkpoints in what people kept: a file of them, a mail, the description of a pull request.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// Every note in a text that may hold more than one, or other words around it: a mail, the description of a
/// pull request. Quotation marks and white space before a line are passed over.
#[must_use]
pub fn notes_in(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(['>', ' ', '\t']).trim_end())
        .collect();
    let is_head = |at: usize| {
        let line = |n: usize| lines.get(at + n).copied().unwrap_or_default();
        !line(0).is_empty()
            && line(1).parse::<u64>().is_ok()
            && BASE64.decode(line(2)).is_ok_and(|root| root.len() == 32)
    };
    let mut notes = vec![];
    for start in (0..lines.len()).filter(|start| is_head(*start)) {
        let Some(empty) = lines[start..].iter().position(|line| line.is_empty()) else {
            continue;
        };
        let signatures = lines[start + empty + 1..]
            .iter()
            .take_while(|line| line.starts_with("— "));
        let end = start + empty + 1 + signatures.count();
        notes.push(lines[start..end].join("\n") + "\n");
    }
    notes
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
}
