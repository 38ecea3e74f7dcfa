//! The second verdict: is anything known to be missing? What the log says of its own holes, and what it lacks of an
//! API server's own audit log. Never mixed with whether it was altered.

use super::entry::Entry;
use super::report::{MAX_LISTED, Plain};
use super::stretch::{held, sentence, span, time};
use crate::domain::entry_kind::EntryKind;
use serde::Deserialize;
use std::fmt;

/// An entry that says of itself that the record may have a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The entry's index.
    pub index: u64,
    /// The entry's kind.
    pub kind: EntryKind,
    /// The cluster whose record it is.
    pub cluster: Option<String>,
    /// When it happened, milliseconds since 1970-01-01 UTC.
    pub at: i64,
    /// What its payload says, where that is there.
    pub gap: Option<Gap>,
}

/// A stretch of time whose record may lack something, as its entry tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// Its id: what fills it names that.
    #[serde(rename = "gap")]
    pub id: String,
    /// Why, in a word.
    pub why: String,
    /// The API server's name; empty where it has none.
    pub server: String,
    /// From when.
    pub from: String,
    /// Until when.
    pub to: String,
    /// From when on, where it was not over when it was entered.
    pub since: String,
    /// How many events are missing, where that is known.
    pub events: Option<u64>,
    /// Who held a grant meanwhile.
    pub grants: Vec<Holder>,
}

/// Who held a grant while something may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The grant.
    pub id: String,
    /// Its profile.
    pub profile: String,
    /// The person.
    pub requester: String,
}

/// What fills a gap, or some of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filled {
    gap: String,
    left: u64,
}

/// What the log says of its own holes. An empty one says that none is known, not that there is none:
/// events that never came here are found with the API server's own log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completeness {
    /// The holes by index: gaps, quarantined payloads, canaries missed.
    pub holes: Vec<Hole>,
    /// How many more were not listed.
    pub holes_left_off: u64,
    /// Clusters, or API servers of them, whose canary was missed and has not resumed.
    pub silent: Vec<String>,
    /// Events of grants that an API server's own audit log holds and this log does not, a line each; the
    /// first few.
    pub missing: Vec<String>,
    /// How many of them there are.
    pub missing_total: u64,
    /// Not all of the log was looked at, so that another of its entries may tell of a hole.
    pub is_part: bool,
}

impl Completeness {
    pub(super) fn look(&mut self, index: u64, entry: &Entry<'_>, payload: Option<&[u8]>) {
        let Some(kind) = entry.kind() else { return };
        let cluster = entry.cluster.unwrap_or_default();
        let mut gap = None;
        match kind {
            EntryKind::GapFilled => return self.fill(&facts::<Filled>(payload).unwrap_or_default()),
            EntryKind::CanaryResumed => {
                let resumed: Option<Gap> = facts(payload);
                let whose = whose(cluster, resumed.as_ref());
                return self.silent.retain(|silent| *silent != whose);
            }
            EntryKind::CanaryMissed => {
                gap = facts(payload);
                let whose = whose(cluster, gap.as_ref());
                if !self.silent.contains(&whose) {
                    self.silent.push(whose);
                }
            }
            EntryKind::Gap => {
                gap = facts(payload);
                self.replace(cluster, gap.as_ref());
            }
            EntryKind::Quarantined => {}
            _ => return,
        }
        if self.holes.len() < MAX_LISTED {
            let cluster = entry.cluster.map(str::to_owned);
            self.holes.push(Hole {
                index,
                kind,
                cluster,
                at: entry.happened_at,
                gap,
            });
        } else {
            self.holes_left_off += 1;
        }
    }

    /// A silence that is over says from when to when, and stands for the entry that it began.
    fn replace(&mut self, cluster: &str, gap: Option<&Gap>) {
        let Some(gap) = gap.filter(|gap| gap.why == "silent") else {
            return;
        };
        let begun = self.holes.iter().rposition(|hole| {
            hole.kind == EntryKind::CanaryMissed
                && hole.cluster.as_deref().unwrap_or_default() == cluster
                && hole.gap.as_ref().is_none_or(|begun| begun.server == gap.server)
        });
        if let Some(at) = begun {
            self.holes.remove(at);
        }
    }

    fn fill(&mut self, filled: &Filled) {
        let is = |hole: &Hole| {
            hole.gap
                .as_ref()
                .is_some_and(|gap| gap.id == filled.gap && !gap.id.is_empty())
        };
        if filled.left == 0 {
            return self.holes.retain(|hole| !is(hole));
        }
        for gap in self
            .holes
            .iter_mut()
            .filter(|hole| is(hole))
            .filter_map(|hole| hole.gap.as_mut())
        {
            gap.events = Some(filled.left);
        }
    }
}

/// The facts of an entry, where its payload is there and has them.
fn facts<T: for<'a> Deserialize<'a>>(payload: Option<&[u8]>) -> Option<T> {
    #[derive(Deserialize)]
    struct Payload<T> {
        facts: T,
    }
    serde_json::from_slice::<Payload<T>>(payload?)
        .ok()
        .map(|payload| payload.facts)
}

fn whose(cluster: &str, gap: Option<&Gap>) -> String {
    match gap.map(|gap| gap.server.as_str()) {
        Some(server) if !server.is_empty() => format!("API server {server} of {cluster}"),
        _ => cluster.to_owned(),
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = self.cluster.as_deref().unwrap_or("no cluster");
        let told = self
            .gap
            .as_ref()
            .and_then(|gap| Some((gap, time(&gap.from)?, time(&gap.to)?)));
        let Some((gap, from, to)) = told else {
            let at = chrono::DateTime::from_timestamp_millis(self.at)
                .map(|at| at.to_rfc3339())
                .unwrap_or_default();
            return write!(f, "entry {}: {}, {}, {at}", self.index, self.kind, Plain(cluster));
        };
        let why = match (gap.why.as_str(), gap.events) {
            ("lost", Some(1)) => "1 event lost".to_owned(),
            ("lost", Some(events)) => format!("{events} events lost"),
            ("absent", _) => "the broker did not run".to_owned(),
            ("silent", _) => "audit was silent".to_owned(),
            ("holes", _) => "steps without their end, or changes without an event".to_owned(),
            ("restarted", _) => "the API server began anew".to_owned(),
            (other, _) => other.to_owned(),
        };
        let holders: Vec<&Holder> = gap.grants.iter().collect();
        write!(
            f,
            "{} UTC, {}: {}, {} (entry {})",
            span(from, to, "%H:%M:%S"),
            Plain(&whose(cluster, Some(gap))),
            Plain(&why),
            Plain(&held(&holders, false)),
            self.index
        )
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            holes,
            holes_left_off,
            silent,
            missing,
            missing_total,
            is_part,
        } = self;
        if *missing_total > 0 {
            writeln!(
                f,
                "completeness: BROKEN, {missing_total} events of grants are in the API server's audit log and not here"
            )?;
            for line in missing {
                writeln!(f, "  missing: {}", Plain(line))?;
            }
        }
        let known = if *is_part {
            "what is here tells"
        } else {
            "the log knows"
        };
        let said = match (*missing_total, holes.len() as u64 + holes_left_off) {
            (0, 0) => return writeln!(f, "completeness: whole; {known} of no hole"),
            (_, 0) => return writeln!(f, "  {known} of no hole"),
            (0, _) => "completeness: whole except",
            (_, _) => "  the log itself names",
        };
        writeln!(f, "{said} {}", Plain(&sentence(holes, *holes_left_off)))?;
        for hole in holes {
            writeln!(f, "  {hole}")?;
        }
        silent
            .iter()
            .try_for_each(|cluster| writeln!(f, "  still silent: {}", Plain(cluster)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(entries: &[(EntryKind, serde_json::Value)]) -> Completeness {
        let mut found = Completeness::default();
        for (index, (kind, facts)) in entries.iter().enumerate() {
            let entry = Entry {
                kind: kind.name(),
                cluster: Some("production"),
                happened_at: 1_000,
                entered_at: 1_000,
                digest: [0; 32],
            };
            let payload = json!({"says": "…", "facts": facts}).to_string();
            found.look(index as u64, &entry, Some(payload.as_bytes()));
        }
        found
    }

    fn gap(id: &str, why: &str, events: Option<u64>) -> serde_json::Value {
        json!({"gap": id, "why": why, "server": "a", "from": "2026-03-01T02:14:03Z", "to": "2026-03-01T02:16:10Z",
            "events": events, "grants": []})
    }

    #[test]
    fn a_gap_says_from_when_to_when_and_who_held_a_grant() {
        let found = told(&[(EntryKind::Gap, gap("one", "lost", Some(12)))]);
        assert_eq!(
            found.to_string(),
            "completeness: whole except 2026-03-01 02:14–02:17 UTC, nobody held a grant\n  2026-03-01 02:14:03–02:16:10 UTC, API \
             server a of production: 12 events lost, nobody held a grant (entry 0)\n"
        );
    }

    #[test]
    fn a_silence_that_is_not_over_goes_on_and_a_pruned_gap_tells_nothing() {
        let since = json!({"server": "a", "since": "2026-03-01T02:14:03Z"});
        let found = told(&[(EntryKind::CanaryMissed, since)]);
        assert!(
            found.to_string().starts_with(
                "completeness: whole except from 2026-03-01 02:14 UTC on, who held a grant it does not tell\n"
            ),
            "{found}"
        );
        let mut pruned = Completeness::default();
        let entry = Entry {
            kind: EntryKind::Gap.name(),
            cluster: Some("production"),
            happened_at: 1_000,
            entered_at: 1_000,
            digest: [0; 32],
        };
        pruned.look(7, &entry, None);
        assert!(
            pruned
                .to_string()
                .contains("1970-01-01 00:00–00:01 UTC, who held a grant it does not tell"),
            "{pruned}"
        );
    }

    #[test]
    fn what_came_after_all_is_no_hole() {
        let filled = |left| {
            (
                EntryKind::GapFilled,
                json!({"gap": "one", "came": 3, "left": left}),
            )
        };
        let lost = (EntryKind::Gap, gap("one", "lost", Some(12)));
        let other = (EntryKind::Gap, gap("two", "absent", None));
        let some = told(&[lost.clone(), other.clone(), filled(9)]);
        assert_eq!(some.holes[0].gap.as_ref().unwrap().events, Some(9));
        let all = told(&[lost, other, filled(9), filled(0)]);
        assert_eq!(all.holes.iter().map(|hole| hole.index).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_silence_that_is_over_is_one_hole_and_of_one_server() {
        let of = |server: &str| json!({"server": server, "since": "2026-03-01T02:14:03Z"});
        let missed = |server| (EntryKind::CanaryMissed, of(server));
        let found = told(&[
            missed("a"),
            missed("b"),
            (EntryKind::CanaryResumed, of("a")),
            (EntryKind::Gap, gap("one", "silent", None)),
        ]);
        assert_eq!(found.silent, ["API server b of production"]);
        assert_eq!(
            found.holes.iter().map(|hole| hole.index).collect::<Vec<_>>(),
            [1, 3]
        );
    }
}
