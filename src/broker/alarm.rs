//! What an audit event shows to be wrong becomes a finding; the installation itself, as printed, does not.

use super::{Broker, Result};
use crate::audit::{self, Alarm, AlarmKind, Object};
use crate::clock::Time;
use crate::cluster::manifests;
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::transition::{About, Transition, record};
use serde_json::{Value, json};

impl Broker {
    /// People must look at `alarm`; it is about `grant`, where it is about one that is known.
    pub(super) async fn raise(&self, cluster: &str, alarm: &Alarm, grant: Option<&Grant>) -> Result<()> {
        let mut about = grant.map_or_else(About::default, About::grant);
        about.cluster = Some(cluster.to_owned());
        let key = format!("audit {cluster} {}", alarm.key);
        let mut words = alarm.words.clone();
        if let AlarmKind::ForeignWrite { object, written, .. } = &alarm.kind {
            match self.is_installation(cluster, object, written.as_ref()) {
                Ok(()) => return self.note_installation(about, alarm, key).await,
                Err(why) => words = format!("{words}: {}", audit::visible(&why)),
            }
        }
        self.find(&key, about, &words, grant.map(|grant| grant.id)).await
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
    async fn note_installation(&self, about: About, alarm: &Alarm, key: String) -> Result<()> {
        let at = Time::from_timestamp_micros(alarm.at_us).unwrap_or_else(|| self.now());
        let sentence = format!("{}, as `breakglass manifests` prints it", alarm.words);
        let event: Value = serde_json::from_slice(&alarm.event).unwrap_or(Value::Null);
        let facts = json!({"alarm": alarm.kind, "source_ip": alarm.source_ip, "event": event});
        let mut entry = record(EntryKind::ManifestsApplied, at, about, sentence, facts);
        // The batch may come again.
        entry.key = Some(key);
        self.commit(Transition::new(entry)).await?;
        Ok(())
    }
}
