//! What a person changed past the broker: an entry a change, gathered in one finding for one person on one cluster
//! in one hour, told once. Compliance says which request it belongs to, or that it was expected.

use super::{Broker, BrokerError, Result};
use crate::audit;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::{Bypass, Change, Finding};
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role};
use crate::domain::transition::{About, ActionRow, Record, Transition, Write, record};
use crate::ids::{FindingId, RequestId};
use crate::store::{Committed, StoreError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is done within one such stretch of time is one finding.
const GATHERED_US: i64 = 3_600_000_000;
/// How often somebody else's batch may come first.
const TRIES: u32 = 50;

impl Broker {
    /// Commits a batch with what it shows people to have changed without a grant. What was entered before is
    /// neither entered nor counted again.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn commit_with_bypasses(
        &self,
        batch: Transition,
        cluster: &str,
        bypasses: &[audit::Bypass],
    ) -> Result<Committed> {
        if bypasses.is_empty() {
            return self.commit(batch).await;
        }
        let mut tries = 0;
        loop {
            let whole = self.with_bypasses(batch.clone(), cluster, bypasses).await?;
            match self.commit(whole).await {
                // Another batch added to the finding meanwhile: read again.
                Err(BrokerError::Store(StoreError::Conflict(_))) if tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn with_bypasses(
        &self,
        mut batch: Transition,
        cluster: &str,
        bypasses: &[audit::Bypass],
    ) -> Result<Transition> {
        let keys: Vec<String> = bypasses.iter().map(|one| entry_key(cluster, one)).collect();
        let entered = self.store.entered(&keys).await?;
        let mut met = BTreeSet::new();
        let mut fresh: BTreeMap<String, Vec<&audit::Bypass>> = BTreeMap::new();
        for (one, key) in bypasses.iter().zip(&keys) {
            if !entered.contains(key) && met.insert(key) {
                fresh.entry(finding_key(cluster, one)).or_default().push(one);
            }
        }
        for (key, changes) in fresh {
            batch = batch.and(self.gather(cluster, key, &changes).await?);
        }
        Ok(batch)
    }

    /// The entries of changes that are one finding, and what it is with them. `changes` is not empty.
    async fn gather(&self, cluster: &str, key: String, changes: &[&audit::Bypass]) -> Result<Transition> {
        let now = self.now();
        let open = self
            .store
            .finding(&key)
            .await?
            .filter(|one| one.settled.is_none());
        let first = changes[0];
        let about = About {
            person: Some(first.user.clone()),
            ..About::cluster(cluster)
        };
        let (mut finding, expected) = match open {
            Some(finding) => {
                let known = finding.bypass.as_ref().map(|bypass| bypass.changes);
                (finding, known)
            }
            None => (new_finding(cluster, key, now), None),
        };
        let mut bypass = finding
            .bypass
            .take()
            .unwrap_or_else(|| Bypass::by(first.user.clone(), first.through.clone(), at(first, now)));
        let mut records = vec![];
        for one in changes {
            records.push(entry(cluster, one, &about, finding.id, now));
            bypass.add(Change {
                words: one.words.text.clone(),
                from: one.source_ip.clone(),
                at: at(one, now),
            });
        }
        finding.text = bypass.text(cluster);
        finding.bypass = Some(bypass);
        let mut notice = None;
        if expected.is_none() {
            tracing::warn!(finding = %finding.id, text = finding.text, "finding");
            let facts = json!({"key": finding.key, "id": finding.id});
            let (text, title) = (&finding.text, "Something was changed without a grant");
            notice = Some(self.notice_compliance("finding", title, text, "/feed", &about));
            records.push(record(EntryKind::Finding, now, about, text.clone(), facts));
        }
        let told = records.remove(0);
        let mut transition = Transition::new(told).write(Write::Gathered {
            expected,
            new: finding,
        });
        transition.records.extend(records);
        transition.notices.extend(notice);
        Ok(transition)
    }

    /// Compliance says that what was changed without a grant was expected. `seen` is how many changes they saw.
    ///
    /// # Errors
    /// Not compliance, their own changes, no reason, settled before, or there are more changes than they saw.
    pub async fn expect_bypass(&self, id: FindingId, by: &Person, reason: &str, seen: &str) -> Result<()> {
        let (finding, bypass) = self.open_bypass(id, by, seen).await?;
        let reason = reason.trim();
        if reason.is_empty() {
            return Err(BrokerError::Refused(
                "a reason is needed; it is part of the record".to_owned(),
            ));
        }
        let sentence = format!(
            "{} says that this was expected: {}: {reason}",
            by.name, finding.text
        );
        let about = About {
            cluster: finding.cluster.clone(),
            ..About::default()
        };
        let facts = json!({"finding": id, "bypass": bypass, "reason": reason});
        let entry = record(
            EntryKind::BypassExpected,
            self.now(),
            about.by(by),
            sentence,
            facts,
        );
        self.settle_bypass(finding, bypass, entry, by, reason).await
    }

    /// Compliance says which request belongs to what was changed without a grant.
    ///
    /// # Errors
    /// Not compliance, their own changes or request, another cluster's request, settled before, or there are more
    /// changes than they saw.
    pub async fn attach_bypass(
        &self,
        id: FindingId,
        by: &Person,
        request: &str,
        note: &str,
        seen: &str,
    ) -> Result<()> {
        let (finding, mut bypass) = self.open_bypass(id, by, seen).await?;
        let chosen: RequestId = request
            .parse()
            .map_err(|_| BrokerError::Refused("choose the request that it belongs to".to_owned()))?;
        let request = self
            .store
            .request(chosen)
            .await?
            .filter(|request| finding.cluster.as_ref() == Some(&request.ask.cluster))
            .ok_or_else(|| BrokerError::Refused("there is no such request on this cluster".to_owned()))?;
        if request.ask.requester.same_person(by) {
            return Err(BrokerError::Refused(
                "it is your own request: somebody else of compliance attaches to it".to_owned(),
            ));
        }
        bypass.request = Some(chosen);
        let note = note.trim();
        let said = if note.is_empty() {
            String::new()
        } else {
            format!(": {note}")
        };
        let sentence = format!("{} attached to this request: {}{said}", by.name, finding.text);
        let facts = json!({"finding": id, "bypass": bypass, "note": note});
        let about = About::request(&request).by(by);
        let entry = record(EntryKind::BypassAttached, self.now(), about, sentence, facts);
        let note = if note.is_empty() {
            "attached to a request"
        } else {
            note
        };
        self.settle_bypass(finding, bypass, entry, by, note).await
    }

    async fn settle_bypass(
        &self,
        mut finding: Finding,
        bypass: Bypass,
        entry: Record,
        by: &Person,
        note: &str,
    ) -> Result<()> {
        finding.settled = Some((by.name.clone(), note.to_owned(), self.now()));
        finding.bypass = Some(bypass);
        let settled = Transition::new(entry).write(Write::Finding(finding));
        match self.commit(settled).await {
            Err(BrokerError::Store(StoreError::Conflict(_))) => Err(grown()),
            done => done.map(|_| ()),
        }
    }

    async fn open_bypass(&self, id: FindingId, by: &Person, seen: &str) -> Result<(Finding, Bypass)> {
        if !has_role(&self.config, by, Role::Compliance) {
            return Err(BrokerError::Refused(
                "only compliance can say what a change without a grant was".to_owned(),
            ));
        }
        let open = self.store.open_findings().await?.into_iter();
        let found = open
            .filter(|finding| finding.id == id)
            .find_map(|finding| finding.bypass.clone().map(|bypass| (finding, bypass)));
        let Some((finding, bypass)) = found else {
            return Err(BrokerError::NotFound("open finding of that kind"));
        };
        if is_own(by, &bypass) {
            return Err(BrokerError::Refused(
                "these are your own changes: somebody else of compliance looks at them".to_owned(),
            ));
        }
        if seen.parse() != Ok(bypass.changes) {
            return Err(grown());
        }
        Ok((finding, bypass))
    }
}

fn grown() -> BrokerError {
    BrokerError::Refused(
        "there are more changes by now than you were shown: look again, and decide then".to_owned(),
    )
}

/// API servers know people by a name of the sign-in, perhaps with a prefix: a doubt reads as "their own".
fn is_own(by: &Person, bypass: &Bypass) -> bool {
    let user = bypass.user.to_lowercase();
    let names = [Some(&by.person_claim), Some(&by.subject), by.email.as_ref()];
    names
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty())
        .any(|name| {
            let before = user.strip_suffix(&name.to_lowercase());
            before.is_some_and(|before| before.is_empty() || before.ends_with([':', '#', '/']))
        })
}

fn new_finding(cluster: &str, key: String, now: Time) -> Finding {
    Finding {
        id: FindingId::new(),
        key,
        at: now,
        text: String::new(),
        cluster: Some(cluster.to_owned()),
        grant: None,
        settled: None,
        lines: None,
        bypass: None,
    }
}

fn entry(cluster: &str, one: &audit::Bypass, about: &About, finding: FindingId, now: Time) -> Record {
    let event: Value = serde_json::from_slice(&one.event).unwrap_or(Value::Null);
    let from = one
        .source_ip
        .as_ref()
        .map(|from| format!(", from {from}"))
        .unwrap_or_default();
    let sentence = format!("{} {} without a grant{from}", one.user, one.words.text);
    let facts = json!({"bypass": one, "event": event, "finding": finding});
    let mut entry = record(EntryKind::Bypass, at(one, now), about.clone(), sentence, facts);
    entry.key = Some(entry_key(cluster, one));
    entry.action = Some(Box::new(row(cluster, one, now)));
    entry
}

/// By which it is found when somebody asks what happened to an object.
fn row(cluster: &str, one: &audit::Bypass, now: Time) -> ActionRow {
    ActionRow {
        grant: None,
        cluster: cluster.to_owned(),
        received_us: one.at_us,
        arrived_at: now,
        credential_id: None,
        class: one.class.name().to_owned(),
        flags: vec![],
        words: one.words.verb.clone(),
        object: one.words.object.clone(),
        detail: one.words.detail.clone(),
        code: one.code,
        mutation: true,
        audit_id: one.key.to_string(),
        stage: String::new(),
        stream: false,
        facts: json!({"object": one.object}),
    }
}

pub(super) fn entry_key(cluster: &str, one: &audit::Bypass) -> String {
    format!("bypass {cluster} {}", one.key)
}

/// By the API server's time: late or again, a change is gathered where it belongs.
fn finding_key(cluster: &str, one: &audit::Bypass) -> String {
    format!(
        "bypass {cluster} {} {}",
        one.user_digest,
        one.at_us.div_euclid(GATHERED_US)
    )
}

fn at(one: &audit::Bypass, now: Time) -> Time {
    Time::from_timestamp_micros(one.at_us).unwrap_or(now)
}
