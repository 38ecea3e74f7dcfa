//! Holes in the record of one access that its own events show, once it is settled: a stream that began and never
//! ended (revoking a key does not end it), an event that the API server cut, a request without its answer; and an object
//! of its scope that changed with no event for it.

use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::action::requests;
use crate::domain::counted::count;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, ActionRow, Transition, Write, record};
use crate::ids::FindingId;
use serde_json::json;

/// How many of a sort are named.
const NAMED: usize = 5;

impl Broker {
    /// Enters the holes that `actions`, all of an access, show; told once.
    pub(super) async fn find_holes(&self, grant: &Grant, actions: &[(u64, ActionRow)]) -> Result<()> {
        let holes = Holes {
            unexplained: self.unexplained(grant),
            ..Holes::of(actions)
        };
        let Some(text) = holes.text(grant) else {
            return Ok(());
        };
        let sizes = [holes.open.len(), holes.cut.len(), holes.unanswered.len()];
        let mut key = format!("holes {} {sizes:?}", grant.id);
        if !holes.unexplained.is_empty() {
            key = format!("{key} {}", holes.unexplained.len());
        }
        if self.store.finding(&key).await?.is_some() {
            return Ok(());
        }
        let (now, about) = (self.now(), About::grant(grant));
        let finding = Finding {
            id: FindingId::new(),
            key,
            at: now,
            text: text.clone(),
            cluster: Some(grant.cluster.clone()),
            grant: Some(grant.id),
            settled: None,
            lines: None,
            bypass: None,
        };
        let path = format!("/grants/{}", grant.id);
        let notice = self.notice_compliance("finding", "A record has holes", &text, &path, &about);
        // As every gap tells it: from when to when, and who held a grant.
        let held = json!([{"id": grant.id, "profile": grant.profile, "requester": grant.requester.name}]);
        let facts = json!({"why": "holes", "from": grant.ready_at.unwrap_or(grant.approved_at), "to": grant.ended_at.unwrap_or(now),
            "grants": held, "open": holes.open, "cut": holes.cut, "unanswered": holes.unanswered,
            "unexplained": holes.unexplained, "finding": finding.id});
        let gap = Transition::new(record(EntryKind::Gap, now, about, text, facts));
        self.commit(gap.write(Write::NewFinding(finding)).notice(notice))
            .await?;
        Ok(())
    }
}

/// What is missing, in words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holes {
    open: Vec<String>,
    cut: Vec<String>,
    unanswered: Vec<String>,
    unexplained: Vec<String>,
}

impl Holes {
    fn of(actions: &[(u64, ActionRow)]) -> Self {
        let since = |row: &ActionRow| {
            let at = Time::from_timestamp_micros(row.received_us).unwrap_or(row.arrived_at);
            format!("{} {} since {}", row.words, row.object, at.format("%H:%M:%S UTC"))
        };
        let said = |row: &ActionRow| format!("{} {}", row.words, row.object);
        let is_cut = |row: &ActionRow| row.flags.iter().any(|flag| flag == "truncated");
        Self {
            // A watch is over with its key; what was opened into a container or onto a port is not.
            open: requests(actions)
                .into_iter()
                .filter(|(_, row)| {
                    row.stream && matches!(row.class.as_str(), "exec" | "attach" | "port-forward" | "proxy")
                })
                .map(|(_, row)| since(row))
                .collect(),
            cut: actions
                .iter()
                .filter(|(_, row)| is_cut(row))
                .map(|(_, row)| said(row))
                .collect(),
            unanswered: requests(actions)
                .into_iter()
                .filter(|(_, row)| row.has_no_end())
                .map(|(_, row)| said(row))
                .collect(),
            unexplained: vec![],
        }
    }

    fn text(&self, grant: &Grant) -> Option<String> {
        let mut parts = vec![];
        if !self.open.is_empty() {
            parts.push(format!(
                "{} opened and not seen to end, which the end of a key does not bring about ({}): delete the Pod",
                count(self.open.len(), "stream was", "streams were"),
                named(&self.open)
            ));
        }
        if !self.cut.is_empty() {
            parts.push(format!(
                "{} cut by the API server, so that not all of them is here ({})",
                count(self.cut.len(), "event was", "events were"),
                named(&self.cut)
            ));
        }
        if !self.unanswered.is_empty() {
            parts.push(format!(
                "{} received and no answer is here ({}): what it did is seen by what changed",
                count(self.unanswered.len(), "request was", "requests were"),
                named(&self.unanswered)
            ));
        }
        if !self.unexplained.is_empty() {
            parts.push(format!(
                "{} with no event for it, by this access or by somebody else ({})",
                count(
                    self.unexplained.len(),
                    "object was changed",
                    "objects were changed"
                ),
                named(&self.unexplained)
            ));
        }
        let who = &grant.requester.name;
        (!parts.is_empty()).then(|| format!("The record of {who}'s access has holes: {}", parts.join("; ")))
    }
}

fn named(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let said = all[..all.len() - more].join(", ");
    match more {
        0 => said,
        n => format!("{said}, and {n} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{self, step as row};

    #[test]
    fn a_stream_without_its_end_and_a_cut_event_are_holes() {
        let actions = [
            row("a", "exec", &[], true),
            row("b", "exec", &[], true),
            row("b", "exec", &[], false),
            row("c", "read", &[], true),
            row("d", "change", &["truncated"], false),
        ];
        let mut received = row("e", "change", &[], false);
        received.1.stage = "RequestReceived".to_owned();
        let actions = [actions.to_vec(), vec![received]].concat();
        let holes = Holes::of(&actions);
        assert_eq!(
            (holes.open.len(), holes.cut.len(), holes.unanswered.len()),
            (1, 1, 1)
        );
        let text = holes.text(&fixture::grant()).unwrap();
        assert!(
            text.contains("1 stream was opened and not seen to end") && text.contains("1 event was cut"),
            "{text}"
        );
        assert_eq!(Holes::of(&actions[1..4]).text(&fixture::grant()), None);
    }

    #[test]
    fn a_change_without_an_event_is_a_hole() {
        let holes = Holes {
            unexplained: vec!["Deployment shop/web changed at 02:14:05 UTC".to_owned()],
            ..Holes::default()
        };
        let text = holes.text(&fixture::grant()).unwrap();
        assert!(
            text.contains("1 object was changed with no event for it")
                && text.contains("shop/web changed at 02:14:05"),
            "{text}"
        );
    }

    #[test]
    fn many_are_counted_and_a_few_named() {
        let actions: Vec<_> = (0..20)
            .map(|n| row(&n.to_string(), "attach", &[], true))
            .collect();
        let text = Holes::of(&actions).text(&fixture::grant()).unwrap();
        assert!(
            text.contains("20 streams were") && text.contains("and 15 more"),
            "{text}"
        );
    }
}
