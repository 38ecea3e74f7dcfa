//! Which lines of the ledger a feed shows: one filter for the page and for every machine-readable form.

use super::chooser::{query, set};
use crate::broker::Broker;
use crate::broker::export::{Reader, for_eyes};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::ids::RequestId;
use crate::store::{EntryFilter, EntryLine, Notable, Stands, StoreError};
use crate::web::csrf::Fields;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    ("bypass", "changes without a grant"),
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
    EntryKind::Bypass,
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
            Some("bypass") => vec![
                EntryKind::Bypass,
                EntryKind::BypassAttached,
                EntryKind::BypassExpected,
            ],
            Some("breach") => vec![EntryKind::DeadlineBreached],
            Some("gap") => vec![
                EntryKind::Gap,
                EntryKind::Import,
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
    pub async fn find(&self, broker: &Broker, limit: u32) -> Result<Found, StoreError> {
        let filter = EntryFilter {
            kinds: self.kinds(),
            team: self.team.clone(),
            cluster: self.cluster.clone(),
            profile: self.profile.clone(),
            stands: self.stands(),
            notable: self.notable(),
            before: self.before,
            limit,
            ..EntryFilter::default()
        };
        let lines = broker.store.entries(filter).await?;
        let next = (lines.len() >= limit as usize)
            .then(|| lines.last().map(|line| line.index))
            .flatten();
        Ok(Found { lines, next })
    }

    fn stands(&self) -> Option<Stands> {
        match self.state? {
            "running" => Some(Stands::Running),
            "owed" => Some(Stands::Owed),
            "late" => Some(Stands::Late),
            "unreviewed" => Some(Stands::Unreviewed),
            "reviewed" => Some(Stands::Reviewed),
            _ => None,
        }
    }

    fn notable(&self) -> Option<Notable> {
        match self.flag? {
            "change" => Some(Notable::Change),
            "exec" => Some(Notable::Exec),
            "secret" => Some(Notable::Secret),
            "rights" => Some(Notable::Rights),
            "denied" => Some(Notable::Denied),
            _ => None,
        }
    }
}

/// The follow-ups that these lines are of, by their requests.
///
/// # Errors
/// The store's.
pub async fn follow_ups(
    broker: &Broker,
    lines: &[EntryLine],
) -> Result<BTreeMap<RequestId, Arc<FollowUp>>, StoreError> {
    let requests: BTreeSet<RequestId> = lines.iter().filter_map(|line| line.about.request).collect();
    let requests: Vec<RequestId> = requests.into_iter().collect();
    let found = broker.store.follow_ups_of(&requests).await?;
    Ok(found
        .into_iter()
        .map(|follow_up| (follow_up.request, follow_up))
        .collect())
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
    fn every_state_and_every_flag_that_is_offered_narrows_something() {
        for (state, _) in STATES {
            let query = FeedQuery {
                state: Some(state),
                ..FeedQuery::default()
            };
            assert!(query.stands().is_some(), "{state}");
        }
        for (flag, _) in FLAGS {
            let query = FeedQuery {
                flag: Some(flag),
                ..FeedQuery::default()
            };
            let of_actions = query.kinds() == [EntryKind::AuditEvent];
            assert_eq!(query.notable().is_some(), of_actions, "{flag}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_told() {
        let kinds = FeedQuery::default().kinds();
        assert!(!kinds.contains(&EntryKind::AuditEvent) && kinds.contains(&EntryKind::GrantEnded));
        assert!(kinds.contains(&EntryKind::Finding));
    }
}
