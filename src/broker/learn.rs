//! What is learned from a batch for those that come after it: by what a session can act as somebody else, and which
//! request had which audit id.

use super::{Broker, Result};
use crate::audit::{self, Alarm, AlarmKind, Foothold, Footholds, Intake};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Broker {
    /// Accounts that are of a grant from long ago: the snapshot leaves those out, and a late event is still theirs.
    pub(super) async fn find_earlier(&self, cluster: &str, intake: &Intake) -> Result<()> {
        let unknown: BTreeSet<&String> = intake
            .alarms
            .iter()
            .filter_map(|alarm| match &alarm.kind {
                AlarmKind::UnknownAccount { name } => Some(name),
                _ => None,
            })
            .collect();
        for name in unknown {
            if self.store.grant_by_account(cluster, name).await?.is_some() {
                self.audit.with(cluster, |seen| {
                    seen.earlier.insert(name.clone());
                });
            }
        }
        Ok(())
    }

    /// A client chooses the audit id, and may choose one that another request had: both are kept, and it is told.
    pub(super) fn compare_audit_ids(&self, cluster: &str, intake: &mut Intake) {
        self.audit.with(cluster, |seen| {
            for action in &intake.kept {
                let first = seen.audit_ids.remember(&action.audit_id, action.request);
                let other = first.is_some_and(|first| first != action.request);
                let differs = seen.audit_ids.differs(action.key, &action.content);
                let audit_id = action.audit_id.clone();
                let known = |alarm: &Alarm| matches!(&alarm.kind, AlarmKind::SameAuditId { audit_id: one } if *one == audit_id);
                if !(other || differs) || intake.alarms.iter().any(known) {
                    continue;
                }
                intake.alarms.push(Alarm {
                    words: audit::visible(&format!("two requests carry the audit id {audit_id}")),
                    kind: AlarmKind::SameAuditId { audit_id },
                    key: action.key,
                    at_us: action.received_us,
                    source_ip: action.source_ip.clone(),
                    event: action.event.clone(),
                });
            }
        });
    }

    /// Takes in what sessions got hold of in a batch; true when any of it is new.
    pub(super) fn learn(&self, cluster: &str, intake: &Intake) -> bool {
        let given: Vec<_> = intake
            .kept
            .iter()
            .filter_map(|action| Some((action.grant, action.received_us, action.gives.as_ref()?)))
            .collect();
        if given.is_empty() {
            return false;
        }
        let mut learned = false;
        self.audit.with(cluster, |seen| {
            if let Some(footholds) = &mut seen.footholds {
                let all = Arc::make_mut(footholds);
                for (grant, since_us, foothold) in given {
                    learned |= all.add(grant, since_us, foothold);
                }
            }
            if learned {
                seen.accounts = None;
            }
        });
        learned
    }

    /// What the sessions of a cluster got hold of, as far as the store knows.
    pub(super) async fn footholds(&self, cluster: &str) -> Result<Arc<Footholds>> {
        if let Some(footholds) = self
            .audit
            .lock()
            .get(cluster)
            .and_then(|seen| seen.footholds.clone())
        {
            return Ok(footholds);
        }
        let mut all = Footholds::default();
        for row in self.store.footholds(cluster).await? {
            let given = row
                .facts
                .get("gives")
                .cloned()
                .map(serde_json::from_value::<Foothold>);
            if let (Some(grant), Some(Ok(foothold))) = (row.grant, given) {
                all.add(grant, row.received_us, &foothold);
            }
        }
        let mut clusters = self.audit.lock();
        let seen = clusters.entry(cluster.to_owned()).or_default();
        Ok(Arc::clone(seen.footholds.get_or_insert_with(|| Arc::new(all))))
    }
}
