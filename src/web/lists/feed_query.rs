//! Which lines of the ledger a feed shows: one filter for the page and for every machine-readable form.

use super::chooser::{query, set};
use crate::broker::Broker;
use crate::broker::export::{Reader, for_eyes};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::ids::RequestId;
use crate::store::{EntryFilter, EntryLine, FollowUpFilter, GrantFilter, StoreError};
use crate::web::csrf::Fields;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many lines are looked at for one page; the pager goes on from there.
const LOOKED_AT: usize = 20_000;
const CHUNK: u32 = 500;
/// The most emergencies one list looks at.
pub const MANY: u32 = 10_000;

/// What the states are called.
pub const STATES: &[(&str, &str)] = &[
    ("running", "running now"),
    ("owed", "debt open"),
    ("late", "debt late"),
    ("unreviewed", "not reviewed"),
    ("reviewed", "reviewed"),
];

/// What can be flagged.
pub const FLAGS: &[(&str, &str)] = &[
    ("finding", "findings"),
    ("breach", "missed deadlines"),
    ("gap", "holes in the record"),
    ("change", "changes"),
    ("exec", "exec, attach, port-forward"),
    ("secret", "secret reads"),
    ("rights", "changes of rights"),
    ("denied", "denied"),
];

/// What a feed does not tell unless it is asked for: single events, counts, and the readers themselves.
const QUIET: &[EntryKind] = &[
    EntryKind::AuditEvent,
    EntryKind::BatchCount,
    EntryKind::SignedIn,
    EntryKind::SteppedUp,
    EntryKind::NoticeDelivered,
    EntryKind::LedgerRead,
    EntryKind::CheckpointPublished,
    EntryKind::CredentialIssued,
    EntryKind::RevealStarted,
];

/// The filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedQuery {
    /// Of this team.
    pub team: Option<String>,
    /// Of this cluster.
    pub cluster: Option<String>,
    /// Of this profile.
    pub profile: Option<String>,
    /// Of emergencies in this state: one of [`STATES`].
    pub state: Option<&'static str>,
    /// With this flag: one of [`FLAGS`].
    pub flag: Option<&'static str>,
    /// Below this index.
    pub before: Option<u64>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The lines, newest first.
    pub lines: Vec<EntryLine>,
    /// From where to look on, when there may be more.
    pub next: Option<u64>,
}

/// A line with everything the ledger holds of it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The line.
    pub line: EntryLine,
    /// Its facts; `null` when its payload was erased.
    pub facts: Value,
}

impl FeedQuery {
    /// Reads the parameters; unknown values mean "all", as for a page that was linked long ago.
    #[must_use]
    pub fn read(fields: &Fields) -> Self {
        let known = |list: &[(&'static str, &'static str)], value: &str| {
            list.iter().map(|(name, _)| *name).find(|name| *name == value)
        };
        Self {
            team: set(fields.get("team")),
            cluster: set(fields.get("cluster")),
            profile: set(fields.get("profile")),
            state: known(STATES, fields.get("state")),
            flag: known(FLAGS, fields.get("flag")),
            before: fields.get("before").parse().ok(),
        }
    }

    /// Its parameters.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("team", self.team.clone()),
            ("cluster", self.cluster.clone()),
            ("profile", self.profile.clone()),
            ("state", self.state.map(str::to_owned)),
            ("flag", self.flag.map(str::to_owned)),
            ("before", self.before.map(|before| before.to_string())),
        ]
    }

    /// The query without the place in the list.
    #[must_use]
    pub fn text(&self) -> String {
        query(self.pairs().into_iter().filter(|(name, _)| *name != "before"))
    }

    /// The kinds it asks for.
    #[must_use]
    pub fn kinds(&self) -> Vec<EntryKind> {
        match self.flag {
            None => EntryKind::ALL
                .iter()
                .copied()
                .filter(|kind| !QUIET.contains(kind))
                .collect(),
            Some("finding") => vec![
                EntryKind::Finding,
                EntryKind::NoticeUndeliverable,
                EntryKind::EndingStuck,
            ],
            Some("breach") => vec![EntryKind::DeadlineBreached],
            Some("gap") => vec![
                EntryKind::Gap,
                EntryKind::Quarantined,
                EntryKind::CanaryMissed,
                EntryKind::CanaryResumed,
            ],
            Some(_) => vec![EntryKind::AuditEvent],
        }
    }

    /// Up to `limit` lines.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, broker: &Broker, limit: usize) -> Result<Found, StoreError> {
        let store = broker.store.as_ref();
        let requests = match self.state {
            Some(state) => Some(requests_in(broker, state).await?),
            None => None,
        };
        let is_of_actions = self.kinds() == [EntryKind::AuditEvent];
        let mut reader = Reader::new(store);
        let mut found = Found {
            lines: vec![],
            next: self.before,
        };
        let mut looked_at = 0;
        while looked_at < LOOKED_AT {
            let filter = EntryFilter {
                kinds: self.kinds(),
                team: self.team.clone(),
                cluster: self.cluster.clone(),
                profile: self.profile.clone(),
                before: found.next,
                limit: CHUNK,
                ..EntryFilter::default()
            };
            let lines = store.entries(filter).await?;
            let is_last = lines.len() < CHUNK as usize;
            for line in lines {
                found.next = Some(line.index);
                looked_at += 1;
                let of_state = requests
                    .as_ref()
                    .is_none_or(|requests| line.about.request.is_some_and(|id| requests.contains(&id)));
                if !of_state || (is_of_actions && !self.flagged(reader.payload(line.index).await?.as_ref())) {
                    continue;
                }
                found.lines.push(line);
                if found.lines.len() == limit {
                    return Ok(found);
                }
            }
            if is_last {
                found.next = None;
                break;
            }
        }
        Ok(found)
    }

    /// Whether the action in `payload` has the flag that is asked for.
    fn flagged(&self, payload: Option<&Value>) -> bool {
        let Some(action) = payload.and_then(|payload| payload.pointer("/facts/action")) else {
            return false;
        };
        let class = action["class"].as_str().unwrap_or_default();
        let has = |flag: &str| {
            action["flags"]
                .as_array()
                .is_some_and(|flags| flags.iter().any(|own| own == flag))
        };
        match self.flag {
            Some("change") => action["mutates"] == true,
            Some("exec") => matches!(class, "exec" | "attach" | "port-forward" | "proxy" | "debug"),
            Some("secret") => class == "secret-read" || has("secret"),
            Some("rights") => class == "rights-change" || has("rights"),
            Some("denied") => class == "denied" || has("denied"),
            _ => false,
        }
    }
}

/// The requests of the emergencies in a state.
async fn requests_in(broker: &Broker, state: &str) -> Result<BTreeSet<RequestId>, StoreError> {
    if state == "running" {
        let filter = GrantFilter {
            live: true,
            limit: MANY,
            ..GrantFilter::default()
        };
        return Ok(broker
            .store
            .grants(filter)
            .await?
            .iter()
            .map(|grant| grant.request)
            .collect());
    }
    let is_in = |follow_up: &FollowUp| match state {
        "owed" => !follow_up.is_closed(),
        "late" => follow_up.is_breached(),
        "unreviewed" => follow_up.reviewed.is_none(),
        "reviewed" => follow_up.reviewed.is_some(),
        _ => false,
    };
    let filter = FollowUpFilter {
        open: matches!(state, "owed" | "late"),
        unreviewed: state == "unreviewed",
        limit: MANY,
        ..FollowUpFilter::default()
    };
    let follow_ups = broker.store.follow_ups(filter).await?;
    Ok(follow_ups
        .iter()
        .filter(|follow_up| is_in(follow_up))
        .map(|follow_up| follow_up.request)
        .collect())
}

/// The newest follow-ups by their request, and how many of all wait for compliance to look at them: those are among
/// them whatever their age.
///
/// # Errors
/// The store's.
pub async fn follow_ups(broker: &Broker) -> Result<(BTreeMap<RequestId, Arc<FollowUp>>, usize), StoreError> {
    let newest = FollowUpFilter {
        limit: MANY,
        ..FollowUpFilter::default()
    };
    let unreviewed = FollowUpFilter {
        unreviewed: true,
        ..newest.clone()
    };
    let waiting = broker.store.follow_ups(unreviewed).await?;
    let count = waiting.len();
    let found = broker.store.follow_ups(newest).await?;
    Ok((
        waiting
            .into_iter()
            .chain(found)
            .map(|follow_up| (follow_up.request, follow_up))
            .collect(),
        count,
    ))
}

/// The lines with everything the ledger holds of them, for people's eyes.
///
/// # Errors
/// The store's; or a segment cannot be read.
pub async fn tell(broker: &Broker, lines: Vec<EntryLine>) -> Result<Vec<Told>, StoreError> {
    let mut reader = Reader::new(broker.store.as_ref());
    let mut told = Vec::with_capacity(lines.len());
    for line in lines {
        let payload = reader.payload(line.index).await?;
        let facts = payload.map_or(Value::Null, |mut payload| for_eyes(payload["facts"].take()));
        told.push(Told { line, facts });
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_survives_being_written_and_read() {
        let fields = Fields::parse(b"team=payments&cluster=&state=owed&flag=exec&before=12");
        let query = FeedQuery::read(&fields);
        assert_eq!(query.text(), "?team=payments&state=owed&flag=exec");
        assert_eq!(query.before, Some(12));
        let unknown = FeedQuery::read(&Fields::parse(b"state=drop+table&flag=<b>&before=x"));
        assert_eq!(unknown, FeedQuery::default());
    }

    #[test]
    fn a_flag_is_of_what_was_done_not_of_how_it_is_called() {
        let payload = |class: &str, mutates: bool| {
            Some(json!({"facts": {"action": {"class": class, "flags": ["denied"], "mutates": mutates}}}))
        };
        let flagged = |flag: &'static str, payload: &Option<Value>| {
            FeedQuery {
                flag: Some(flag),
                ..FeedQuery::default()
            }
            .flagged(payload.as_ref())
        };
        assert!(flagged("exec", &payload("attach", false)));
        assert!(!flagged("exec", &payload("read", false)));
        assert!(flagged("change", &payload("delete", true)) && !flagged("change", &payload("delete", false)));
        assert!(flagged("denied", &payload("change", false)));
        assert!(!flagged("denied", &None), "an erased payload has no flag");
    }

    #[test]
    fn what_is_not_asked_for_is_not_told() {
        let kinds = FeedQuery::default().kinds();
        assert!(!kinds.contains(&EntryKind::AuditEvent) && kinds.contains(&EntryKind::GrantEnded));
        assert!(kinds.contains(&EntryKind::Finding));
    }
}
