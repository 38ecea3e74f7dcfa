//! What an audit event shows to be wrong becomes a finding, in the very transaction that enters its batch: no
//! crash lets it be forgotten. The installation itself, as printed, is an entry and no finding.

use super::{Broker, Result};
use crate::audit::{self, Alarm, AlarmKind, Object};
use crate::clock::Time;
use crate::cluster::manifests;
use crate::domain::entry_kind::EntryKind;
use crate::domain::finding::Finding;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, Record, Transition, Write, record};
use crate::ids::{FindingId, GrantId};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

impl Broker {
    /// Adds to `transition` what people must look at. An event that was told once is not told again, also after
    /// somebody has settled it: the batch may come again at any time.
    pub(super) async fn with_alarms(
        &self,
        mut transition: Transition,
        cluster: &str,
        alarms: &[Alarm],
        grants: &HashMap<GrantId, Arc<Grant>>,
    ) -> Result<Transition> {
        let mut told = BTreeSet::new();
        for alarm in alarms {
            let grant = alarm.kind.grant().and_then(|id| grants.get(&id));
            let mut about = grant.map_or_else(About::default, |grant| About::grant(grant));
            about.cluster = Some(cluster.to_owned());
            let mut text = alarm.words.clone();
            if let AlarmKind::ForeignWrite { object, written, .. } = &alarm.kind {
                match self.is_installation(cluster, object, written.as_ref()) {
                    Ok(()) => {
                        transition = transition.record(self.installation(about, alarm, cluster));
                        continue;
                    }
                    Err(why) => text = format!("{text}: {}", audit::visible(&why)),
                }
            }
            if let Some(grant) = grant {
                text = format!(
                    "{text}. The access is {}'s, {}",
                    grant.requester.name, grant.account
                );
            }
            let key = key(cluster, alarm);
            if !told.insert(key.clone()) || self.store.finding(&key).await?.is_some() {
                continue;
            }
            transition = transition.and(self.finding(key, about, text));
        }
        Ok(transition)
    }

    /// A finding: an entry, a pinned line on the feed, and a notice to compliance.
    pub(super) fn finding(&self, key: String, about: About, text: String) -> Transition {
        self.finding_with(key, about, text, None)
    }

    /// The same with lines that put it right where they are written.
    pub(super) fn finding_with(
        &self,
        key: String,
        about: About,
        text: String,
        lines: Option<String>,
    ) -> Transition {
        let now = self.now();
        let id = FindingId::new();
        tracing::warn!(finding = %id, key, text, "finding");
        let notice = self.notice_compliance("finding", "Something needs your eyes", &text, "/feed", &about);
        let facts = json!({"key": key, "id": id});
        let finding = Finding {
            id,
            key,
            at: now,
            text: text.clone(),
            cluster: about.cluster.clone(),
            grant: about.grant,
            settled: None,
            lines,
            bypass: None,
        };
        Transition::new(record(EntryKind::Finding, now, about, text, facts))
            .write(Write::NewFinding(finding))
            .notice(notice)
    }

    /// Whether a write beside the grants is what the configuration in force prints; otherwise why not.
    fn is_installation(
        &self,
        cluster: &str,
        object: &Object,
        written: Option<&Value>,
    ) -> std::result::Result<(), String> {
        let kind = object.kind();
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let name = object.name.as_deref().unwrap_or_default();
        manifests::as_printed(&self.config, cluster, (&kind, namespace, name), written)
    }

    /// An entry and no finding: nobody need look at what they printed and applied themselves.
    fn installation(&self, about: About, alarm: &Alarm, cluster: &str) -> Record {
        let at = Time::from_timestamp_micros(alarm.at_us).unwrap_or_else(|| self.now());
        let sentence = format!("{}, as `breakglass manifests` prints it", alarm.words);
        let event: Value = serde_json::from_slice(&alarm.event).unwrap_or(Value::Null);
        let facts = json!({"alarm": alarm.kind, "source_ip": alarm.source_ip, "event": event});
        let mut entry = record(EntryKind::ManifestsApplied, at, about, sentence, facts);
        // The batch may come again.
        entry.key = Some(key(cluster, alarm));
        entry
    }
}

/// What makes it the same finding. An account that goes on acting is one, and a second when it does more than
/// look; otherwise each event is one.
pub(super) fn key(cluster: &str, alarm: &Alarm) -> String {
    match &alarm.kind {
        AlarmKind::Borrowed {
            grant,
            account,
            by,
            acted,
        } => {
            let how = if *acted { "acted" } else { "looked" };
            format!("borrowed {cluster} {grant} {account} {by} {how}")
        }
        AlarmKind::LastingToken { account } => format!("lasting-token {cluster} {account}"),
        // Beside whatever else is wrong with one of the events.
        AlarmKind::SameAuditId { audit_id } => format!("same-audit-id {cluster} {audit_id}"),
        _ => format!("audit {cluster} {}", alarm.key),
    }
}
