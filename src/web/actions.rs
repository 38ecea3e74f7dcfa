//! The actions of a grant as people read them: counted, filtered, one row a request.

use super::csrf::Fields;
use super::pages::grant::{ActionRow as Row, Counts, GrantActions};
use super::pages::{Badge, Href, Look, Shell, Text, Words};
use super::requests::pager;
use crate::clock::Time;
use crate::domain::action::requests;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::transition::ActionRow;

fn has(row: &ActionRow, flag: &str) -> bool {
    row.flags.iter().any(|own| own == flag)
}

fn is_denied(row: &ActionRow) -> bool {
    row.class == "denied" || has(row, "denied")
}

fn is_exec(row: &ActionRow) -> bool {
    matches!(
        row.class.as_str(),
        "exec" | "attach" | "port-forward" | "proxy" | "debug"
    )
}

fn is_change(row: &ActionRow) -> bool {
    row.mutation || matches!(row.class.as_str(), "change" | "delete" | "rights-change")
}

/// How often what was done. Each request counts once, under the one thing that matters most of it. The
/// service's own check of a key counts nowhere: nobody did it.
#[must_use]
pub fn counts(rows: &[(u64, ActionRow)]) -> Counts {
    let mut counts = Counts::default();
    for (_, row) in requests(rows) {
        if row.is_own_check() {
            continue;
        }
        if is_denied(row) {
            counts.denied += 1;
        } else if is_exec(row) {
            counts.execs += 1;
        } else if row.class == "rights-change" {
            counts.rights += 1;
        } else if row.class == "secret-read" {
            counts.secrets += 1;
        } else if is_change(row) {
            counts.changes += 1;
        } else {
            counts.reads += 1;
        }
    }
    counts
}

/// Streams that were opened and have not been seen to close, a sentence each.
#[must_use]
pub fn open_streams(shell: &Shell, rows: &[(u64, ActionRow)]) -> Vec<Words> {
    requests(rows)
        .into_iter()
        .filter(|(_, row)| row.stream)
        .map(|(_, row)| {
            Words::default()
                .strong(&row.class)
                .and(format!(" {} since ", row.object))
                .at(shell.when(at(row)))
        })
        .collect()
}

/// The rows that `show` asks for, newest first.
#[must_use]
pub fn table(
    shell: &Shell,
    grant: &Grant,
    rows: &[(u64, ActionRow)],
    asked: &Fields,
    linked: bool,
) -> GrantActions {
    let show = match asked.get("show") {
        known @ ("changes" | "flagged" | "denied") => known,
        _ => "all",
    };
    let mut chosen = requests(rows);
    chosen.reverse();
    chosen.retain(|(_, row)| match show {
        "changes" => is_change(row) && !is_denied(row),
        "flagged" => look(row).is_some(),
        "denied" => is_denied(row) && !row.is_own_check(),
        _ => true,
    });
    let path = format!("/grants/{}", grant.id);
    let (pager, range) = pager(asked, &path, chosen.len());
    GrantActions {
        grant: Href::path(path),
        live: grant.state != GrantState::Ended,
        show: show.into(),
        rows: chosen[range]
            .iter()
            .map(|(index, row)| row_of(shell, *index, row, linked))
            .collect(),
        pager,
    }
}

fn at(row: &ActionRow) -> Time {
    Time::from_timestamp_micros(row.received_us).unwrap_or(row.arrived_at)
}

fn row_of(shell: &Shell, index: u64, row: &ActionRow, linked: bool) -> Row {
    let object = Text::from(&row.object).sentence();
    Row {
        when: shell.when(at(row)).clock(),
        verb: (&row.words).into(),
        object: if linked {
            Words::default().link(Href::path(format!("/ledger/entries/{index}")), object)
        } else {
            Words::say(object)
        },
        detail: (!row.detail.is_empty()).then(|| Words::say(Text::from(&row.detail).sentence())),
        flags: flags(row),
        // An open stream has answered nothing that lasts.
        status: if row.stream { None } else { row.code },
        look: look(row),
    }
}

fn look(row: &ActionRow) -> Option<Look> {
    if row.is_own_check() {
        None
    } else if row.class == "rights-change"
        || has(row, "unknown-credential")
        || has(row, "impersonation")
        || has(row, "borrowed")
    {
        Some(Look::Late)
    } else if is_denied(row) || is_exec(row) || row.class == "secret-read" || has(row, "uncertain") {
        Some(Look::Wait)
    } else {
        None
    }
}

fn flags(row: &ActionRow) -> Vec<Badge> {
    if row.is_own_check() {
        return vec![Badge::new(Look::Info, "the service's own check of this key")];
    }
    let class = match row.class.as_str() {
        "rights-change" => Some((Look::Late, "rights")),
        "secret-read" => Some((Look::Wait, "Secret read")),
        "exec" => Some((Look::Wait, "exec")),
        "attach" => Some((Look::Wait, "attach")),
        "port-forward" => Some((Look::Wait, "port-forward")),
        "proxy" => Some((Look::Wait, "proxy")),
        "debug" => Some((Look::Wait, "debug")),
        _ => None,
    };
    let named = row.flags.iter().filter_map(|flag| match flag.as_str() {
        "denied" => Some((Look::Wait, "refused")),
        "dry-run" => Some((Look::Info, "dry run")),
        "uncertain" => Some((Look::Wait, "not sure it was applied")),
        "failed" => Some((Look::Info, "failed")),
        "copy" => Some((Look::Wait, "copied files")),
        "impersonation" => Some((Look::Late, "as somebody else")),
        "truncated" => Some((Look::Info, "cut by the API server")),
        "unreadable" => Some((Look::Info, "body not kept")),
        "unknown-credential" => Some((Look::Late, "unknown key")),
        "borrowed" => Some((Look::Late, "as another account")),
        _ => None,
    });
    let mut all: Vec<_> = class.into_iter().chain(named).collect();
    if row.stream {
        all.push((Look::Live, "open"));
    }
    all.into_iter()
        .map(|(look, word)| Badge::new(look, word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::step as row;

    #[test]
    fn a_stream_that_closed_is_one_action_and_open_no_more() {
        let rows = [
            row("a", "exec", &[], true),
            row("b", "exec", &[], true),
            row("a", "exec", &[], false),
        ];
        assert_eq!(counts(&rows).execs, 2);
        assert_eq!(open_streams(&super::super::shell::for_test(), &rows).len(), 1);
    }

    #[test]
    fn what_was_refused_is_no_change() {
        let rows = [
            row("a", "change", &["denied"], false),
            row("b", "change", &[], false),
            row("c", "read", &[], false),
        ];
        let counts = counts(&rows);
        assert_eq!((counts.denied, counts.changes, counts.reads), (1, 1, 1));
    }

    #[test]
    fn the_services_own_check_is_shown_and_counts_nowhere() {
        let mut own = row("a", "denied", &["denied"], false);
        own.1.mark_own_check();
        let rows = [own, row("b", "read", &[], false)];
        let counts = counts(&rows);
        assert_eq!((counts.denied, counts.reads), (0, 1));
        let shell = super::super::shell::for_test();
        let grant = crate::domain::fixture::grant();
        let shown = |query: &str| {
            let asked = Fields::parse(query.as_bytes());
            table(&shell, &grant, &rows, &asked, false).rows.len()
        };
        assert_eq!(
            (shown("show=all"), shown("show=denied"), shown("show=flagged")),
            (2, 0, 0)
        );
    }

    #[test]
    fn a_change_of_rights_stands_out() {
        let (_, rights) = row("a", "rights-change", &[], false);
        assert_eq!(look(&rights), Some(Look::Late));
        assert_eq!(flags(&rights).len(), 1);
    }
}
