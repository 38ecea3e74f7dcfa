//! The pull request's description: what happened, who allowed it, what changed, and what is left to do.
//!
//! Every text in it may come from an attacker (an object's name, a reason): all of it goes through
//! [`super::text`]. The description is bounded, and says so where it was cut: the whole record stays
//! with the broker, and the ledger's checkpoint is in the commit as well, since people can edit this.

#![expect(
    clippy::format_push_string,
    reason = "`write!` into a String adds an error that cannot happen"
)]

use super::text::{block, code, inline, one_line, quotation};
use crate::clock::Time;
use url::Url;

/// The most characters of a description; GitHub takes 65,536.
pub const LIMIT: usize = 60_000;
/// Where each section must end, so that a long one leaves room for the next; what follows the last is
/// kept for the closing section and the notes on what was cut.
const DRIFT_END: usize = 28_000;
const MANUAL_END: usize = 44_000;
const ACTIONS_END: usize = 56_000;
/// The longest patch shown for one manual item.
const PATCH: usize = 8_000;
/// More of a checkpoint than this is not shown: one with two keys' signatures has about 350 characters.
const LONGEST_NOTE: usize = 1_500;
const CELL: usize = 200;

/// What the description is made of. Plain text everywhere, no Markdown.
#[derive(Debug, Clone)]
pub struct PullBody {
    /// The grant's id.
    pub grant: String,
    /// Who had the access.
    pub requester: String,
    /// Where.
    pub cluster: String,
    /// Where in it.
    pub namespaces: Vec<String>,
    /// The profile that was lent.
    pub profile: String,
    /// Why.
    pub reason: String,
    /// The incident, as given.
    pub incident: Option<String>,
    /// When the access began.
    pub began: Time,
    /// When it ended.
    pub ended: Time,
    /// Who approved.
    pub approvals: Vec<ApprovalLine>,
    /// What was done, in order.
    pub actions: Vec<ActionLine>,
    /// What this pull request brings to git.
    pub drift: Vec<DriftLine>,
    /// What people must do by hand.
    pub manual: Vec<ManualLine>,
    /// The ledger's checkpoint when this was written.
    pub checkpoint: Option<String>,
    /// The controls that this record supports.
    pub controls: Vec<String>,
    /// Where the whole record is, on the broker.
    pub evidence: Option<Url>,
}

/// One approval.
#[derive(Debug, Clone)]
pub struct ApprovalLine {
    /// Who.
    pub who: String,
    /// When.
    pub at: Time,
    /// What they wrote.
    pub note: String,
}

/// One action.
#[derive(Debug, Clone)]
pub struct ActionLine {
    /// When.
    pub at: Time,
    /// What was done, such as `patch` or `exec`.
    pub verb: String,
    /// To what.
    pub object: String,
    /// What came of it, such as `200` or `denied`.
    pub outcome: String,
}

/// One field brought to git.
#[derive(Debug, Clone)]
pub struct DriftLine {
    /// The object.
    pub object: String,
    /// The field's path.
    pub field: String,
    /// Its value before; `None` when it was not there.
    pub before: Option<String>,
    /// Its value after; `None` when it is gone.
    pub after: Option<String>,
    /// The file that was edited.
    pub file: String,
}

/// One thing that people must do by hand.
#[derive(Debug, Clone)]
pub struct ManualLine {
    /// What.
    pub title: String,
    /// Why the broker could not.
    pub why: String,
    /// The exact patch, where there is one.
    pub patch: Option<String>,
}

impl PullBody {
    /// The description in Markdown, at most [`LIMIT`] characters.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Page {
            text: self.opening(),
            end: DRIFT_END,
            cut: false,
        };
        page.table(
            "What this brings to git",
            "| Object | Field | Before | After | File |\n|---|---|---|---|---|\n",
            self.drift.iter().map(drift_row),
        );
        page.end = MANUAL_END;
        self.manual_items(&mut page);
        page.end = ACTIONS_END;
        page.table(
            "What was done",
            "| When (UTC) | Action | Object | Outcome |\n|---|---|---|---|\n",
            self.actions.iter().map(action_row),
        );
        let Page { mut text, cut, .. } = page;
        text.push_str(&self.closing(cut));
        text
    }

    fn opening(&self) -> String {
        let namespaces: Vec<String> = self
            .namespaces
            .iter()
            .take(20)
            .map(|name| code(name, 63))
            .collect();
        let more = if self.namespaces.len() > 20 {
            format!(" and {} more", self.namespaces.len() - 20)
        } else {
            String::new()
        };
        let mut text = format!(
            "Emergency access was used. This pull request brings git to what was changed in the cluster, so that it can be reviewed.\n\n\
             | | |\n|---|---|\n| Engineer | {} |\n| Cluster | {} |\n| Namespaces | {}{more} |\n| Profile | {} |\n| Access (UTC) | {} to {} |\n",
            inline(&self.requester, CELL),
            code(&self.cluster, CELL),
            namespaces.join(" "),
            code(&self.profile, CELL),
            moment(self.began),
            moment(self.ended),
        );
        if let Some(incident) = &self.incident {
            text.push_str(&format!("| Incident | {} |\n", code(incident, 300)));
        }
        text.push_str(&format!(
            "\n### Why\n\n{}\n### Who approved\n\n",
            quotation(&self.reason, 4_000)
        ));
        if self.approvals.is_empty() {
            text.push_str("Nobody: the profile asks for no approval.\n");
        }
        for approval in self.approvals.iter().take(20) {
            let note = if approval.note.trim().is_empty() {
                String::new()
            } else {
                format!(": {}", inline(&approval.note, 500))
            };
            text.push_str(&format!(
                "- {}, {}{note}\n",
                inline(&approval.who, CELL),
                moment(approval.at)
            ));
        }
        text
    }

    fn manual_items(&self, page: &mut Page) {
        if self.manual.is_empty() {
            return;
        }
        page.text
            .push_str("\n### To do by hand\n\nThe broker could not make these edits safely.\n\n");
        for (index, item) in self.manual.iter().enumerate() {
            let mut text = format!(
                "- [ ] {}: {}\n",
                inline(&item.title, CELL),
                inline(&item.why, 500)
            );
            if let Some(patch) = &item.patch {
                let length = patch.chars().count();
                if length <= PATCH && page.room() > text.chars().count() + length + 200 {
                    text.push_str(&format!("\n{}\n", block(patch, "diff")));
                } else {
                    page.cut = true;
                    text.push_str(&format!(
                        "  The patch has {length} characters and is in the record.\n"
                    ));
                }
            }
            if !page.push(&text) {
                page.text.push_str(&format!(
                    "\n{} more items are in the record.\n",
                    self.manual.len() - index
                ));
                return;
            }
        }
    }

    fn closing(&self, cut: bool) -> String {
        let mut text = "\n### Record\n\n".to_owned();
        if cut {
            text.push_str("This description was cut to fit: the record has all of it.\n\n");
        }
        text.push_str(&format!("- Grant: {}\n", code(&self.grant, 100)));
        if let Some(checkpoint) = &self.checkpoint {
            // As it was signed, line by line: whoever keeps this can hold the log to it.
            let note: String = checkpoint.chars().take(LONGEST_NOTE).collect();
            text.push_str(&format!(
                "- Ledger checkpoint (its size and root are in the commit too); check the log against it with \
                 `breakglass verify --against`:\n\n{}\n",
                block(&note, "")
            ));
        }
        if !self.controls.is_empty() {
            let controls: Vec<String> = self
                .controls
                .iter()
                .take(40)
                .map(|control| code(control, 40))
                .collect();
            text.push_str(&format!("- Supports controls: {}\n", controls.join(" ")));
        }
        if let Some(evidence) = &self.evidence {
            // The one link, to the broker's own address; `Url` has already encoded what could end it.
            text.push_str(&format!(
                "- [The whole record](<{}>)\n",
                evidence.as_str().replace(['<', '>', '\\'], "")
            ));
        }
        text.push_str("\nAn approval counts only by somebody other than the engineer, on the newest commit, and not by anybody who pushed to it.\n");
        text
    }
}

/// The title: one line, harmless.
#[must_use]
pub fn title(text: &str) -> String {
    // Titles are plain text on the forge, but references and mentions in them become links.
    super::text::quiet(&one_line(text, 120))
}

struct Page {
    text: String,
    end: usize,
    cut: bool,
}

impl Page {
    fn room(&self) -> usize {
        self.end.saturating_sub(self.text.chars().count())
    }

    /// Adds a piece if it fits; remembers when it did not.
    fn push(&mut self, piece: &str) -> bool {
        let fits = piece.chars().count() <= self.room();
        if fits {
            self.text.push_str(piece);
        }
        self.cut |= !fits;
        fits
    }

    fn table(&mut self, heading: &str, head: &str, rows: impl ExactSizeIterator<Item = String>) {
        let mut left = rows.len();
        if left == 0 || !self.push(&format!("\n### {heading}\n\n{head}")) {
            return;
        }
        for row in rows {
            if !self.push(&row) {
                self.text
                    .push_str(&format!("\n{left} more rows are in the record.\n"));
                return;
            }
            left -= 1;
        }
    }
}

fn drift_row(line: &DriftLine) -> String {
    let value = |value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(|| "(none)".to_owned(), |value| code(value, CELL))
    };
    format!(
        "| {} | {} | {} | {} | {} |\n",
        code(&line.object, CELL),
        code(&line.field, CELL),
        value(&line.before),
        value(&line.after),
        code(&line.file, CELL)
    )
}

fn action_row(line: &ActionLine) -> String {
    format!(
        "| {} | {} | {} | {} |\n",
        moment(line.at),
        code(&line.verb, 60),
        code(&line.object, CELL),
        inline(&line.outcome, 60)
    )
}

fn moment(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "x|y` @all fixes #1 <script>alert(1)</script> [a](http://evil.example)\n\n# Approved by everybody\n| a | b |";

    fn body() -> PullBody {
        let at: Time = "2030-01-01T10:00:00Z".parse().unwrap();
        PullBody {
            grant: "0190-grant".into(),
            requester: "On-call engineer".into(),
            cluster: "prod".into(),
            namespaces: vec!["shop".into()],
            profile: "edit".into(),
            reason: "Orders were failing.\nScaling helped.".into(),
            incident: Some("https://incidents.example.org/7".into()),
            began: at,
            ended: at,
            approvals: vec![ApprovalLine {
                who: "First approver".into(),
                at,
                note: "go".into(),
            }],
            actions: vec![ActionLine {
                at,
                verb: "patch".into(),
                object: "deployment/web".into(),
                outcome: "200".into(),
            }],
            drift: vec![DriftLine {
                object: "deployment/web".into(),
                field: "spec.replicas".into(),
                before: Some("3".into()),
                after: Some("5".into()),
                file: "apps/web.yaml".into(),
            }],
            manual: vec![ManualLine {
                title: "Rotate".into(),
                why: "A Secret changed".into(),
                patch: Some("- a\n+ b".into()),
            }],
            checkpoint: Some("42:abc".into()),
            controls: vec!["AC-6(9)".into()],
            evidence: Some("https://breakglass.example.org/grants/1".parse().unwrap()),
        }
    }

    #[test]
    fn it_says_what_a_reviewer_must_know() {
        let text = body().render();
        for fact in [
            "On\\-call engineer",
            "`shop`",
            "> Orders were failing.",
            "First approver",
            "`spec.replicas` | `3` | `5` | `apps/web.yaml`",
            "`patch` | `deployment/web`",
            "```diff\n- a\n+ b\n```",
            "```\n42:abc\n```",
            "`0190-grant`",
            "`AC-6(9)`",
            "(<https://breakglass.example.org/grants/1>)",
        ] {
            assert!(text.contains(fact), "{fact} in {text}");
        }
        assert!(!text.contains("was cut"));
    }

    #[test]
    fn hostile_text_in_any_place_stays_text() {
        let mut b = body();
        for field in [
            &mut b.grant,
            &mut b.requester,
            &mut b.cluster,
            &mut b.profile,
            &mut b.reason,
        ] {
            *field = HOSTILE.into();
        }
        b.namespaces = vec![HOSTILE.into()];
        b.incident = Some(HOSTILE.into());
        b.approvals[0].who = HOSTILE.into();
        b.approvals[0].note = HOSTILE.into();
        b.actions[0] = ActionLine {
            at: b.began,
            verb: HOSTILE.into(),
            object: HOSTILE.into(),
            outcome: HOSTILE.into(),
        };
        b.drift[0] = DriftLine {
            object: HOSTILE.into(),
            field: HOSTILE.into(),
            before: Some(HOSTILE.into()),
            after: Some(HOSTILE.into()),
            file: HOSTILE.into(),
        };
        b.manual[0] = ManualLine {
            title: HOSTILE.into(),
            why: HOSTILE.into(),
            patch: Some(format!("```\n{HOSTILE}")),
        };
        b.checkpoint = Some(HOSTILE.into());
        b.controls = vec![HOSTILE.into()];
        let text = b.render();
        // Outside code, where forges look for mentions, references, links and HTML, nothing is left of them.
        let mut outside = String::new();
        let mut fence = String::new();
        for line in text.lines() {
            if fence.is_empty() && line.starts_with("```") {
                fence = line.chars().take_while(|c| *c == '`').collect();
            } else if !fence.is_empty() {
                if line == fence {
                    fence.clear();
                }
            } else {
                assert!(
                    !line.starts_with("# Approved") && !line.starts_with("| a |"),
                    "{line}"
                );
                outside.push_str(&without_code(line));
                outside.push('\n');
            }
        }
        assert!(fence.is_empty(), "a block was left open");
        for alive in ["@all", "#1", "<script", "](http", "://evil"] {
            assert!(!outside.contains(alive), "{alive} in {outside}");
        }
    }

    /// A line without its code spans, found as Markdown finds them.
    fn without_code(line: &str) -> String {
        let mut rest = line.to_owned();
        let mut out = String::new();
        while let Some(start) = rest.find('`') {
            // A backslash before a backtick outside code makes it plain.
            if rest[..start].ends_with('\\') {
                out.push_str(&rest[..=start]);
                rest = rest[start + 1..].to_owned();
                continue;
            }
            let run = rest[start..].chars().take_while(|c| *c == '`').count();
            out.push_str(&rest[..start]);
            let after = rest[start + run..].to_owned();
            let end = after
                .match_indices(&"`".repeat(run))
                .map(|(at, _)| at)
                .find(|at| !after[..*at].ends_with('`') && !after[at + run..].starts_with('`'));
            rest = after[end.expect("every code span is closed") + run..].to_owned();
        }
        out + &rest
    }

    #[test]
    fn it_is_bounded_says_what_was_cut_and_keeps_the_record() {
        let mut b = body();
        b.reason = "é".repeat(100_000);
        b.actions = vec![b.actions[0].clone(); 5_000];
        b.drift = vec![
            DriftLine {
                before: Some("v".repeat(5_000)),
                ..b.drift[0].clone()
            };
            500
        ];
        b.manual = vec![
            ManualLine {
                patch: Some("+ x\n".repeat(5_000)),
                ..b.manual[0].clone()
            };
            50
        ];
        let text = b.render();
        assert!(text.chars().count() <= LIMIT, "{}", text.chars().count());
        for fact in [
            "more rows are in the record",
            "The patch has 20000 characters",
            "was cut to fit",
            "```\n42:abc\n```",
            "`0190-grant`",
        ] {
            assert!(text.contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_title_is_one_harmless_line() {
        assert_eq!(title("Scale web\nfixes #1"), "Scale web fixes #\u{2060}1");
    }
}
