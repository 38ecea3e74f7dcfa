//! The commit message: subject, body, and the trailers by which the broker knows its own commits.

#![expect(
    clippy::format_push_string,
    reason = "`write!` into a String adds an error that cannot happen"
)]

use super::text::{one_line, quiet};

const GRANT: &str = "Breakglass-Grant";
const CHECKPOINT: &str = "Breakglass-Checkpoint";
/// Longest subject; GitHub folds longer ones.
const SUBJECT: usize = 72;

/// What a commit message is made of. Every text may be hostile.
#[derive(Debug, Clone)]
pub struct CommitMessage {
    /// One line.
    pub subject: String,
    /// Why, in plain lines.
    pub body: String,
    /// The engineer's name and e-mail address; left out when the address is none.
    pub co_author: Option<(String, String)>,
    /// The grant's id.
    pub grant: String,
    /// The ledger's checkpoint: here as well as in the body, since bodies can be edited.
    pub checkpoint: Option<String>,
}

impl CommitMessage {
    /// The message. Only the broker's own trailers stand in its last paragraph, whatever the texts hold.
    #[must_use]
    pub fn build(&self) -> String {
        let subject = quiet(&one_line(&self.subject, SUBJECT));
        let mut message = if subject.is_empty() {
            "Emergency change".to_owned()
        } else {
            subject
        };
        let body: Vec<String> = self
            .body
            .lines()
            .map(|line| harmless(&quiet(&one_line(line, 500))))
            .collect();
        let body = body.join("\n");
        if !body.trim().is_empty() {
            message.push_str("\n\n");
            message.push_str(body.trim_matches('\n'));
        }
        message.push_str("\n\n");
        if let Some((name, address)) = &self.co_author
            && is_address(address)
        {
            let name: String = one_line(name, 100)
                .chars()
                .filter(|c| !matches!(c, '<' | '>'))
                .collect();
            message.push_str(&format!("Co-authored-by: {} <{address}>\n", quiet(&name)));
        }
        message.push_str(&format!("{GRANT}: {}\n", token(&self.grant)));
        if let Some(checkpoint) = &self.checkpoint {
            message.push_str(&format!("{CHECKPOINT}: {}\n", token(checkpoint)));
        }
        message
    }
}

/// A line that would read as a trailer or a comment is quoted.
fn harmless(line: &str) -> String {
    let key = line.split_once(':').map_or("", |(key, _)| key.trim_end());
    let trailer = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if trailer || line.starts_with('#') {
        format!("> {line}")
    } else {
        line.to_owned()
    }
}

/// One word of visible ASCII, bounded.
fn token(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(200).collect()
}

fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '@' | ',' | ';' | '"'))
    };
    text.len() <= 254
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| plain(local) && plain(domain))
}

/// True when the message's last paragraph carries the trailer of this grant.
#[must_use]
pub fn carries_grant(message: &str, grant: &str) -> bool {
    trailer(message, GRANT) == Some(grant)
}

/// The checkpoint that a commit message carries.
#[must_use]
pub fn checkpoint_of(message: &str) -> Option<&str> {
    trailer(message, CHECKPOINT)
}

fn trailer<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    let last = message.trim_end().rsplit("\n\n").next()?;
    // The last of two wins: the broker writes its own after everything else.
    last.lines()
        .rev()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> CommitMessage {
        CommitMessage {
            subject: "Scale web to 5 in shop".into(),
            body: "Orders were failing.".into(),
            co_author: Some(("On-call engineer".into(), "oncall@example.org".into())),
            grant: "0190-grant".into(),
            checkpoint: Some("42:abc".into()),
        }
    }

    #[test]
    fn the_trailers_are_found_again() {
        let text = message().build();
        assert_eq!(
            text,
            "Scale web to 5 in shop\n\nOrders were failing.\n\nCo-authored-by: On-call engineer <oncall@example.org>\nBreakglass-Grant: 0190-grant\nBreakglass-Checkpoint: 42:abc\n"
        );
        assert!(
            carries_grant(&text, "0190-grant")
                && !carries_grant(&text, "0190")
                && checkpoint_of(&text) == Some("42:abc")
        );
    }

    #[test]
    fn no_text_can_add_a_trailer_a_reference_or_a_command() {
        let hostile = "x\n\nBreakglass-Grant: other\nCo-authored-by: A <a@b.c>\nfixes #1 @all [skip ci]";
        let built = CommitMessage {
            subject: hostile.into(),
            body: hostile.into(),
            co_author: Some(("A>\nBreakglass-Grant: other\n<".into(), "a@b.c".into())),
            grant: "mine\nBreakglass-Grant: other".into(),
            checkpoint: Some("c\n\nBreakglass-Grant: other".into()),
        }
        .build();
        assert!(!carries_grant(&built, "other"), "{built}");
        let trailers: Vec<_> = built
            .lines()
            .filter(|line| line.starts_with("Breakglass-Grant:") || line.starts_with("Co-authored-by:"))
            .collect();
        assert_eq!(trailers.len(), 2, "{built}");
        assert!(
            !built.contains("#1") && !built.contains("@all") && !built.contains("[skip"),
            "{built}"
        );
    }

    #[test]
    fn an_address_that_is_none_is_left_out() {
        for bad in ["", "a", "a@", "a@b>\nX: y", "a b@c", "a@b@c", "<a@b>"] {
            let mut m = message();
            m.co_author = Some(("A".into(), bad.into()));
            assert!(!m.build().contains("Co-authored-by"), "{bad:?}");
        }
    }

    #[test]
    fn a_trailer_in_the_body_is_not_ours() {
        assert!(!carries_grant(
            "subject\n\nBreakglass-Grant: g\n\nlast words",
            "g"
        ));
    }
}
