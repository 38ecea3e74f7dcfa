//! A stretch of time whose record may lack something is an entry: from, to, why, how many events where that is
//! known, and who held an access meanwhile. What comes after all is another.

use super::seen::label;
use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::counting::{OpenGap, Why};
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::FindingId;
use crate::store::GrantFilter;
use chrono::TimeDelta;
use serde_json::json;
use std::sync::Arc;

/// No access lasts as long.
const LONGEST: TimeDelta = TimeDelta::days(14);

impl Broker {
    /// At start: since when this service was not there, by what is known of the last time it was. To be asked before
    /// anything is entered.
    ///
    /// # Errors
    /// The store's.
    pub async fn last_here(&self) -> Result<Option<Time>> {
        let head = self.store.head().await?;
        if head.size == 0 {
            return Ok(None);
        }
        let mut last = self.last_seen(head.size, head.at).await?;
        for (cluster, settings) in &self.config.clusters {
            for server in settings.servers() {
                let run = self.reckoning(cluster, server).await?.run;
                last = run
                    .and_then(|run| run.good)
                    .map_or(last, |good| good.here_at.max(last));
            }
        }
        Ok(Some(last))
    }

    /// At start: the time in which this service did not run is a gap of every API server's record, until its
    /// counters say that nothing is missing.
    ///
    /// # Errors
    /// The store's.
    pub async fn enter_absence(&self, last_here: Option<Time>) -> Result<()> {
        let now = self.now();
        let Some(from) = last_here.map(|last| last.min(now)) else {
            return Ok(());
        };
        let mut absence: Option<Transition> = None;
        for (cluster, settings) in &self.config.clusters {
            for server in settings.servers() {
                let mut known = self.reckoning(cluster, server).await?;
                let (gap, open) = self
                    .gap((cluster, server), Why::Absent, (from, now), None)
                    .await?;
                known.push(open);
                let gap = gap.write(known.keep(cluster, server)?);
                absence = Some(match absence {
                    Some(all) => all.and(gap),
                    None => gap,
                });
            }
        }
        if let Some(absence) = absence {
            self.commit(absence).await?;
        }
        Ok(())
    }

    /// The entry of a gap, and the gap as it is kept open. `lost`: how many events, and how many of them the API
    /// server itself gave up. People are told where something is lost, or where nobody can know what was done with an
    /// access.
    pub(super) async fn gap(
        &self,
        (cluster, server): (&str, &str),
        why: Why,
        (from, to): (Time, Time),
        lost: Option<(u64, u64)>,
    ) -> Result<(Transition, OpenGap)> {
        let held = self.held_between(cluster, from, to).await?;
        let id = FindingId::new().to_string();
        let text = format!(
            "{} {}",
            say(&label(cluster, server), why, (from, to), lost),
            who(&held)
        );
        let grants: Vec<_> = held
            .iter()
            .map(|grant| json!({"id": grant.id, "profile": grant.profile, "requester": grant.requester.name}))
            .collect();
        let facts = json!({"gap": id, "why": why, "server": server, "from": from, "to": to,
            "events": lost.map(|(events, _)| events), "given_up": lost.map(|(_, given_up)| given_up), "grants": grants});
        let about = match held.as_slice() {
            [only] => About::grant(only),
            _ => About::cluster(cluster),
        };
        let mut transition = Transition::new(record(EntryKind::Gap, self.now(), about.clone(), &text, facts));
        if why == Why::Lost || (why == Why::Restarted && !held.is_empty()) {
            transition = transition.and(self.finding(finding_key(&id), about, text));
        }
        let open = OpenGap {
            id,
            why,
            from,
            to,
            events: lost.map(|(events, _)| events),
        };
        Ok((transition, open))
    }

    /// The entry that something of a gap came after all (`gap` as it is after that), or that nothing was missing in
    /// it. Nobody need look at it any more then.
    pub(super) async fn filled(
        &self,
        (cluster, server): (&str, &str),
        gap: &OpenGap,
        came: u64,
    ) -> Result<Transition> {
        let now = self.now();
        let whose = label(cluster, server);
        let left = gap.events.unwrap_or(0);
        let when = between(gap.from, gap.to);
        let text = match (gap.why, left) {
            (Why::Lost, 0) => {
                format!("The events of {whose} that were missing {when} came after all: {came}")
            }
            (Why::Lost, _) => {
                format!(
                    "{came} of the events of {whose} that were missing {when} came after all; {left} did not"
                )
            }
            _ => format!(
                "What {whose} sent {when} is here, as its own counters say, but for what is named by itself"
            ),
        };
        let facts = json!({"gap": gap.id, "server": server, "came": came, "left": left});
        let about = About::cluster(cluster);
        let mut transition = Transition::new(record(EntryKind::GapFilled, now, about, &text, facts));
        if left == 0
            && let Some(finding) = self.store.finding(&finding_key(&gap.id)).await?
            && finding.settled.is_none()
        {
            let settled = Some(("breakglass".to_owned(), text, now));
            transition = transition.write(Write::Finding(Finding { settled, ..finding }));
        }
        Ok(transition)
    }

    /// The accesses that could be used at some time in between.
    async fn held_between(&self, cluster: &str, from: Time, to: Time) -> Result<Vec<Arc<Grant>>> {
        let approved = GrantFilter {
            cluster: Some(cluster.to_owned()),
            since: Some(from - LONGEST),
            limit: 10_000,
            ..GrantFilter::default()
        };
        let mut held = self.store.grants(approved).await?;
        held.retain(|grant| {
            grant.ready_at.is_some_and(|ready| ready <= to)
                && grant.ended_at.is_none_or(|ended| ended >= from)
        });
        Ok(held)
    }
}

fn finding_key(gap: &str) -> String {
    format!("gap {gap}")
}

fn between(from: Time, to: Time) -> String {
    let day = "%Y-%m-%d %H:%M:%S";
    let until = if from.date_naive() == to.date_naive() {
        "%H:%M:%S"
    } else {
        day
    };
    format!("between {} and {} UTC", from.format(day), to.format(until))
}

fn say(whose: &str, why: Why, (from, to): (Time, Time), lost: Option<(u64, u64)>) -> String {
    let when = between(from, to);
    match (why, lost) {
        (Why::Lost, Some((events, given_up))) => {
            let itself = match given_up {
                0 => String::new(),
                given_up if given_up == events => ", as it says itself".to_owned(),
                given_up => format!("; of {given_up} it says so itself"),
            };
            let (noun, verb) = if events == 1 {
                ("event", "is")
            } else {
                ("events", "are")
            };
            format!("{events} {noun} that {whose} counted {when} {verb} lost to this record{itself}.")
        }
        (Why::Lost | Why::Absent, _) => {
            format!("This service did not run {when}: what {whose} recorded meanwhile may be missing.")
        }
        (Why::Silent, _) => {
            format!("Audit of {whose} was silent {when}: what was done meanwhile may be missing.")
        }
        (Why::Restarted, _) => format!(
            "{whose} began anew: what its API server counted {when} went with it, and what of that did not come here \
             nobody can say."
        ),
    }
}

fn who(held: &[Arc<Grant>]) -> String {
    if held.is_empty() {
        return "Nobody held an access.".to_owned();
    }
    let each: Vec<_> = held
        .iter()
        .map(|grant| {
            format!(
                "{} by {} ({})",
                grant.profile,
                grant.requester.name,
                grant.id.short()
            )
        })
        .collect();
    format!("Held meanwhile: {}.", each.join(", "))
}
