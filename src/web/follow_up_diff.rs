//! A follow-up's files before and after, with the lines around each change.

use super::pages::{Badge, Diff, DiffLine, Look, Text};
use crate::domain::follow_up::{FileChange, FollowUp};
use similar::{ChangeTag, TextDiff};

/// Lines around a change that are shown with it.
const AROUND: usize = 3;
/// No diff on the page is longer; the pull request has all of it.
const MOST_LINES: usize = 600;

/// Every file of the follow-up.
pub(super) fn diffs(follow_up: &FollowUp) -> Vec<Diff> {
    follow_up.files.iter().map(diff).collect()
}

/// One file before and after, with the lines around each change.
fn diff(file: &FileChange) -> Diff {
    let (old, new) = (
        file.old.as_deref().unwrap_or(""),
        file.new.as_deref().unwrap_or(""),
    );
    let outcome = match (&file.old, &file.new) {
        (None, _) => Badge::new(Look::Done, "new file in the pull request"),
        (_, None) => Badge::new(Look::Done, "removed by the pull request"),
        _ => Badge::new(Look::Done, "edited in the pull request"),
    };
    let text = TextDiff::from_lines(old, new);
    let mut lines = vec![];
    let mut shown_to = 0;
    for group in text.grouped_ops(AROUND) {
        let from = group.first().map_or(0, |op| op.old_range().start);
        if from > shown_to {
            lines.push(DiffLine::Skipped(from - shown_to));
        }
        for op in &group {
            for change in text.iter_changes(op) {
                let line = Text::prose(change.value().trim_end_matches(['\n', '\r']));
                lines.push(match change.tag() {
                    ChangeTag::Equal => DiffLine::Same(line),
                    ChangeTag::Delete => DiffLine::Removed(line),
                    ChangeTag::Insert => DiffLine::Added(line),
                });
            }
            shown_to = op.old_range().end;
        }
    }
    let rest = old.lines().count().saturating_sub(shown_to);
    if rest > 0 {
        lines.push(DiffLine::Skipped(rest));
    }
    if lines.len() > MOST_LINES {
        let left_out = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(DiffLine::Skipped(left_out));
    }
    Diff {
        object: (&file.path).into(),
        path: Some((&file.path).into()),
        outcome: Some(outcome),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(old: Option<&str>, new: Option<&str>) -> FileChange {
        FileChange {
            path: "apps/web.yaml".into(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        }
    }

    #[test]
    fn a_diff_shows_the_change_and_counts_what_it_leaves_out() {
        let old: String = (0..40).fold(String::new(), |text, n| text + "line " + &n.to_string() + "\n");
        let new = old.replace("line 20\n", "line twenty\n");
        let found = diff(&file(Some(&old), Some(&new)));
        assert_eq!(found.lines.first(), Some(&DiffLine::Skipped(17)));
        assert_eq!(found.lines.last(), Some(&DiffLine::Skipped(16)));
        assert!(found.lines.contains(&DiffLine::Removed(Text::prose("line 20"))));
        assert!(found.lines.contains(&DiffLine::Added(Text::prose("line twenty"))));
        assert_eq!(
            found
                .lines
                .iter()
                .filter(|line| matches!(line, DiffLine::Same(_)))
                .count(),
            6
        );
    }

    #[test]
    fn a_new_file_is_all_added() {
        let found = diff(&file(None, Some("a: 1\nb: 2\n")));
        assert_eq!(found.lines.len(), 2);
        assert!(found.lines.iter().all(|line| matches!(line, DiffLine::Added(_))));
    }
}
