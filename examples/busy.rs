//! Fills a store as a shop that has been at it for a year would have: `busy FROM CONFIG INTO EMERGENCIES ENTRIES`.
//!
//! Every emergency is the one ended emergency of the store FROM again (people, actions, drift, pull request),
//! under ids and times of its own, written through the store's one door into INTO; the actions are repeated
//! until the ledger holds ENTRIES entries. For measuring only.

use breakglass::clock::{Clock, ManualClock, SystemClock, Time};
use breakglass::config::command::load;
use breakglass::domain::action::ActionRow;
use breakglass::domain::entry_kind::EntryKind;
use breakglass::domain::follow_up::FollowUp;
use breakglass::domain::grant::Grant;
use breakglass::domain::request::Request;
use breakglass::domain::transition::{About, Record, Transition, Write, record};
use breakglass::ids::{FollowUpId, GrantId, RequestId};
use breakglass::ledger::Signer;
use breakglass::store::sqlite::SqliteStore;
use breakglass::store::{EntryFilter, EntryLine, FollowUpFilter, Store};
use chrono::TimeDelta;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

type Failed = Box<dyn std::error::Error>;

/// The emergency that all others repeat.
struct Pattern {
    request: Request,
    grant: Grant,
    follow_up: FollowUp,
    actions: Vec<ActionRow>,
    lines: Vec<EntryLine>,
}

/// One repetition: ids of its own, times moved back.
struct Copying {
    ids: Vec<(String, String)>,
    back: TimeDelta,
}

impl Copying {
    fn of<T: Serialize + DeserializeOwned>(&self, thing: &T) -> Result<T, Failed> {
        let mut value = serde_json::to_value(thing)?;
        self.walk(&mut value);
        Ok(serde_json::from_value(value)?)
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Ok(time) = text.parse::<Time>() {
                    *value = json!(time - self.back);
                    return;
                }
                for (old, new) in &self.ids {
                    if text.contains(old) {
                        *text = text.replace(old, new);
                    }
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|one| self.walk(one)),
            Value::Object(all) => all.values_mut().for_each(|one| self.walk(one)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// An action of it, the `n`th.
    fn action(&self, pattern: &ActionRow, grant: GrantId, n: u64) -> Result<Record, Failed> {
        let mut row = self.of(pattern)?;
        row.grant = Some(grant);
        row.audit_id = format!("{grant}-{n}");
        row.received_us -= self.back.num_microseconds().unwrap_or_default() - i64::try_from(n)?;
        row.credential_id = None;
        let about = About {
            grant: Some(grant),
            cluster: Some(row.cluster.clone()),
            ..About::default()
        };
        Ok(Record {
            key: Some(row.audit_id.clone()),
            action: Some(Box::new(row.clone())),
            ..record(
                EntryKind::AuditEvent,
                row.arrived_at,
                about,
                format!("{} {}", row.words, row.object),
                row.facts.clone(),
            )
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, config, into, emergencies, entries] = arguments.as_slice() else {
        return Err("usage: busy FROM CONFIG INTO EMERGENCIES ENTRIES".into());
    };
    let (emergencies, entries): (u64, u64) = (emergencies.parse()?, entries.parse()?);
    let config = load(Path::new(config), true)?;
    let signer = Arc::new(Signer::from_text(
        &config.ledger.origin,
        config.ledger.signing_key.expose(),
    )?);
    let clock = ManualClock::at(SystemClock.now() - TimeDelta::days(365));
    let open = |path: &str| {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let (path, signer) = (path.to_owned(), Arc::clone(&signer));
        async move { SqliteStore::open(Path::new(&path), clock, signer).await }
    };
    let pattern = pattern(&open(from).await?).await?;
    let store = open(into).await?;
    let every = TimeDelta::days(365) / i32::try_from(emergencies)?;
    for done in 0..emergencies {
        let left = i32::try_from(emergencies - done)?;
        copy(&store, &pattern, every * left, done, |size| {
            // As many actions as bring the ledger to its size at an even pace.
            (entries * (done + 1) / emergencies).saturating_sub(size)
        })
        .await?;
        clock.step(every);
    }
    println!("{}", store.head().await?.size);
    Ok(())
}

async fn pattern(store: &SqliteStore) -> Result<Pattern, Failed> {
    let filter = FollowUpFilter {
        limit: 50,
        ..FollowUpFilter::default()
    };
    for follow_up in store.follow_ups(filter).await? {
        let actions: Vec<ActionRow> = store
            .actions(follow_up.grant)
            .await?
            .into_iter()
            .map(|(_, row)| row)
            .collect();
        if follow_up.closed_at.is_none() || actions.is_empty() {
            continue;
        }
        let gone = "the store lost what its follow-up is of";
        let lines = store
            .entries(EntryFilter {
                request: Some(follow_up.request),
                limit: 1000,
                ..EntryFilter::default()
            })
            .await?;
        return Ok(Pattern {
            request: store.request(follow_up.request).await?.ok_or(gone)?,
            grant: store.grant(follow_up.grant).await?.ok_or(gone)?,
            follow_up: Arc::unwrap_or_clone(follow_up),
            actions,
            lines: lines
                .into_iter()
                .rev()
                .filter(|line| line.kind != EntryKind::AuditEvent)
                .collect(),
        });
    }
    Err("no emergency in it is closed and has actions".into())
}

async fn copy(
    store: &SqliteStore,
    pattern: &Pattern,
    back: TimeDelta,
    number: u64,
    wanted: impl Fn(u64) -> u64,
) -> Result<(), Failed> {
    let (request, grant, follow_up) = (RequestId::new(), GrantId::new(), FollowUpId::new());
    let copying = Copying {
        ids: vec![
            (pattern.request.id.to_string(), request.to_string()),
            (pattern.grant.id.to_string(), grant.to_string()),
            (pattern.follow_up.id.to_string(), follow_up.to_string()),
            (pattern.grant.id.short(), grant.short()),
        ],
        back,
    };
    let mut records = vec![];
    for line in &pattern.lines {
        let about = About {
            request: Some(request),
            grant: line.about.grant.map(|_| grant),
            follow_up: line.about.follow_up.map(|_| follow_up),
            ..line.about.clone()
        };
        let payload = json!({"sentence": line.sentence, "number": number, "about": copying.of(&line.about)?});
        records.push(record(
            line.kind,
            line.at - back,
            about,
            line.sentence.clone(),
            payload,
        ));
    }
    let mut made = Transition::batch(records).ok_or("an emergency without entries")?;
    made.writes = vec![
        Write::NewRequest(copying.of(&pattern.request)?),
        Write::NewGrant(copying.of(&pattern.grant)?),
        Write::NewFollowUp(copying.of(&pattern.follow_up)?),
    ];
    let size = store.commit(made).await?.first.unwrap_or_default() + pattern.lines.len() as u64;
    let actions: Result<Vec<Record>, Failed> = (0..wanted(size))
        .zip(pattern.actions.iter().cycle())
        .map(|(n, row)| copying.action(row, grant, n))
        .collect();
    if let Some(batch) = Transition::batch(actions?) {
        store.commit(batch).await?;
    }
    Ok(())
}
