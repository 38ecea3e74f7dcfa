//! Objects of a grant's scope that changed with no event for it. Whoever changes an object leaves an event, whatever is
//! kept of others' events; one that none accounts for was hidden from audit, lost, or written past the API server.

use super::Broker;
use crate::audit::{self, Trace, place};
use crate::clock::Time;
use crate::domain::grant::Grant;
use crate::domain::object::ObjectVersion;
use crate::ids::GrantId;
use chrono::TimeDelta;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many traces are remembered of a cluster.
const TRACES: usize = 1_000_000;
/// Our clock and the API server's may differ by as much.
const SKEW_S: i64 = 60;
/// A watch that broke shows so much later what happened.
const BROKEN_S: i64 = 300;
/// How many fields of a change are named, and how much of a name.
const NAMED: usize = 3;
const LONGEST: usize = 60;

/// Field managers of what runs by itself: an audit policy may leave their events out, since there are many.
const MACHINES: &[&str] = &[
    "kube-controller-manager",
    "kube-scheduler",
    "kube-apiserver",
    "kubelet",
    "cloud-controller-manager",
    "cluster-autoscaler",
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
    "keda",
    "keda-adapter",
];

/// What was changed on a cluster, by whomever, since there is something lent there.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Since when, seconds by our clock; nothing while nothing is lent.
    since: Option<i64>,
    by_place: HashMap<String, BTreeSet<(i64, i64)>>,
    held: usize,
}

impl Traces {
    /// Takes in what a batch shows; `live`: something is lent, or was lately.
    pub(super) fn note(&mut self, live: bool, traces: &[Trace], now: Time) {
        if !live || self.held > TRACES {
            *self = Self::default();
        }
        if !live {
            return;
        }
        self.since.get_or_insert(now.timestamp());
        for trace in traces {
            let known = self.by_place.entry(trace.place.clone()).or_default();
            self.held += usize::from(known.insert((trace.from_s, trace.to_s)));
        }
    }

    /// Whether an event accounts for the change; also where nobody can know.
    fn account_for(&self, change: &Change) -> bool {
        let (from, to) = match change.at_s {
            // By the API server's own clock, cut to the second.
            Some(at) => (at - 1, at + 1),
            None => (
                change.after_s.max(change.seen_s - BROKEN_S) - SKEW_S,
                change.seen_s + SKEW_S,
            ),
        };
        if self
            .since
            .is_none_or(|since| change.at_s.unwrap_or(change.seen_s) <= since + 2)
        {
            return true;
        }
        let collection = change.place.rsplit_once('/').map_or("", |(all, _)| all);
        [&change.place, &format!("{collection}/")]
            .into_iter()
            .filter_map(|place| self.by_place.get(place))
            .flatten()
            .any(|(began, ended)| *began <= to && *ended >= from)
    }
}

/// While a grant lives and its record settles it is noted what anybody changes.
pub(super) fn is_traced(grant: &Grant, now: Time) -> bool {
    grant
        .ended_at
        .is_none_or(|ended| now - ended < TimeDelta::hours(1))
}

/// A change of an object, as a watch showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    place: String,
    /// The object in words.
    object: String,
    how: How,
    /// When, by the API server's bookkeeping, seconds since 1970.
    at_s: Option<i64>,
    /// When the version before was seen, by our clock.
    after_s: i64,
    /// When this one was.
    seen_s: i64,
    managers: BTreeSet<String>,
    fields: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Made,
    Changed,
    Removed,
}

impl Change {
    fn words(&self) -> String {
        let how = match self.how {
            How::Made => "made",
            How::Changed => "changed",
            How::Removed => "deleted",
        };
        let mut text = format!("{} {how}", self.object);
        if self.how == How::Changed && !self.fields.is_empty() {
            let more = self.fields.len().saturating_sub(NAMED);
            let named: Vec<String> = self.fields.iter().take(NAMED).map(|field| shown(field)).collect();
            text = format!("{text} in {}", named.join(", "));
            if more > 0 {
                text = format!("{text} and {more} more");
            }
        }
        if self.how != How::Removed {
            let named: Vec<String> = self.managers.iter().take(NAMED).map(|one| shown(one)).collect();
            text = if named.is_empty() {
                format!("{text} by no field manager")
            } else {
                format!("{text} by field manager {}", named.join(", "))
            };
        }
        let at = Time::from_timestamp(self.at_s.unwrap_or(self.seen_s), 0).unwrap_or_default();
        format!("{text} at {}", at.format("%H:%M:%S UTC"))
    }
}

/// A client chose it.
fn shown(name: &str) -> String {
    let name: String = name.chars().take(LONGEST).collect();
    audit::visible(&audit::scrub(&name).0)
}

/// What is known of an object's last version: digests of its fields, and who manages them.
#[derive(Debug)]
struct Last {
    version: u64,
    fields: BTreeMap<String, [u8; 8]>,
    managers: BTreeSet<Manager>,
    is_owned: bool,
    kind: String,
    seen_s: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Manager {
    name: String,
    operation: String,
    subresource: String,
    /// Of its last change: it stays where another takes a field over.
    time: String,
}

impl Last {
    fn of(object: &Value, version: u64, seen_s: i64) -> Self {
        let managers = object
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array);
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let owners = object
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array);
        Self {
            version,
            fields: fields(object),
            managers: managers
                .into_iter()
                .flatten()
                .map(|entry| Manager {
                    name: text(entry, "manager"),
                    operation: text(entry, "operation"),
                    subresource: text(entry, "subresource"),
                    time: text(entry, "time"),
                })
                .collect(),
            is_owned: owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true)),
            kind: text(object, "kind"),
            seen_s,
        }
    }
}

fn digest(value: &Value) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Sha256::digest(value.to_string().as_bytes())[..8]);
    short
}

/// The object's fields, two deep, but for what every change changes and its status, which is what runs that writes.
fn fields(object: &Value) -> BTreeMap<String, [u8; 8]> {
    let mut all = BTreeMap::new();
    for (outer, value) in object.as_object().into_iter().flatten() {
        if matches!(outer.as_str(), "status" | "apiVersion" | "kind") {
            continue;
        }
        let Some(inner) = value.as_object() else {
            all.insert(outer.clone(), digest(value));
            continue;
        };
        for (name, value) in inner {
            if outer == "metadata"
                && matches!(name.as_str(), "resourceVersion" | "managedFields" | "generation")
            {
                continue;
            }
            all.insert(format!("{outer}.{name}"), digest(value));
        }
    }
    all
}

/// What a watch shows of a scope, version by version.
#[derive(Debug, Default)]
pub(super) struct Observer(HashMap<String, Last>);

impl Observer {
    /// What is there at the beginning.
    pub(super) fn begin(present: &[ObjectVersion], now: Time) -> Self {
        let mut begun = Self::default();
        for version in present {
            begun.see(version, now);
        }
        begun
    }

    /// The next version: what changed by it that somebody must account for.
    fn see(&mut self, version: &ObjectVersion, now: Time) -> Option<Change> {
        let (key, seen_s) = (&version.key, now.timestamp());
        let at = place(&key.group, &key.resource, &key.namespace, &key.name);
        let named = |kind: &str| {
            let place = if key.namespace.is_empty() { "" } else { "/" };
            format!("{kind} {}{place}{}", key.namespace, key.name)
        };
        let Some(object) = &version.object else {
            let last = self.0.remove(&at)?;
            return (!last.is_owned).then(|| Change {
                object: named(&last.kind),
                place: at,
                how: How::Removed,
                at_s: None,
                after_s: last.seen_s,
                seen_s,
                managers: BTreeSet::new(),
                fields: vec![],
            });
        };
        if self
            .0
            .get(&at)
            .is_some_and(|last| last.version >= version.resource_version)
        {
            return None;
        }
        let next = Last::of(object, version.resource_version, seen_s);
        let last = self.0.insert(at.clone(), next);
        let next = self.0.get(&at)?;
        let changed: Vec<String> = match &last {
            None => vec![],
            Some(last) => names_of(&last.fields, &next.fields),
        };
        if last.is_some() && changed.is_empty() {
            return None;
        }
        let known = |manager: &&Manager| last.as_ref().is_some_and(|last| last.managers.contains(*manager));
        let new: Vec<&Manager> = next
            .managers
            .iter()
            .filter(|manager| manager.subresource != "status" && !known(manager))
            .collect();
        let is_machine = |manager: &&Manager| MACHINES.contains(&manager.name.as_str());
        let by_itself = if new.is_empty() {
            next.is_owned
        } else {
            new.iter().all(is_machine)
        };
        if by_itself {
            return None;
        }
        let newest = new.iter().filter_map(|manager| seconds(&manager.time)).max();
        let made = object
            .pointer("/metadata/creationTimestamp")
            .and_then(Value::as_str)
            .and_then(seconds);
        Some(Change {
            object: named(&next.kind),
            place: at,
            how: if last.is_none() { How::Made } else { How::Changed },
            at_s: if last.is_none() { made } else { newest },
            after_s: last.map_or(seen_s, |last| last.seen_s),
            seen_s,
            managers: new.iter().map(|manager| manager.name.clone()).collect(),
            fields: changed,
        })
    }
}

fn seconds(time: &str) -> Option<i64> {
    Some(chrono::DateTime::parse_from_rfc3339(time).ok()?.timestamp())
}

fn names_of(before: &BTreeMap<String, [u8; 8]>, after: &BTreeMap<String, [u8; 8]>) -> Vec<String> {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    all.into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// Changes in the scopes of grants that somebody must account for, by grant.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<BTreeMap<GrantId, Vec<Change>>>);

impl Changes {
    /// A watch showed these versions.
    pub(super) fn see(&self, grant: GrantId, observer: &mut Observer, versions: &[ObjectVersion], now: Time) {
        let seen: Vec<Change> = versions
            .iter()
            .filter_map(|version| observer.see(version, now))
            .collect();
        if !seen.is_empty() {
            self.lock().entry(grant).or_default().extend(seen);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GrantId, Vec<Change>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// What changed in the scope of a grant while it could be used and no event accounts for, in words. To be asked
    /// once its record has settled: before, an event may be on its way. What changed while this service was away is
    /// not judged: that time is a gap.
    pub(super) fn unexplained(&self, grant: &Grant) -> Vec<String> {
        let changes = self.watches.changes.lock();
        let Some(changes) = changes.get(&grant.id) else {
            return vec![];
        };
        let (Some(from), Some(to)) = (grant.active_since, grant.ended_at) else {
            return vec![];
        };
        let within = |change: &&Change| {
            let at = change.at_s.unwrap_or(change.seen_s);
            at >= from.timestamp() && at <= to.timestamp()
        };
        let mut words = vec![];
        self.audit.with(&grant.cluster, |seen| {
            words = changes
                .iter()
                .filter(within)
                .filter(|change| !seen.traces.account_for(change))
                .map(Change::words)
                .collect();
        });
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::object::ObjectKey;
    use serde_json::json;

    const NOW: i64 = 1_000;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn version(version: u64, object: Option<Value>) -> ObjectVersion {
        ObjectVersion {
            key: ObjectKey {
                group: "apps".into(),
                version: "v1".into(),
                resource: "deployments".into(),
                namespace: "shop".into(),
                name: "web".into(),
            },
            resource_version: version,
            object,
        }
    }

    fn web(replicas: u32, managers: &[(&str, &str, i64)]) -> Value {
        let managed: Vec<Value> = managers
            .iter()
            .map(|(name, sub, time)| {
                json!({"manager": name, "operation": "Update", "subresource": sub, "time": at(*time)})
            })
            .collect();
        json!({"kind": "Deployment", "metadata": {"name": "web", "managedFields": managed,
            "creationTimestamp": at(10)}, "spec": {"replicas": replicas}, "status": {"seen": replicas}})
    }

    fn trace(name: &str, from_s: i64, to_s: i64) -> Trace {
        Trace {
            place: format!("apps/deployments/shop/{name}"),
            from_s,
            to_s,
        }
    }

    fn traces(all: &[Trace]) -> Traces {
        let mut traces = Traces::default();
        traces.note(true, all, at(100));
        traces
    }

    /// What a client changed at 990 s.
    fn scaled() -> Change {
        let mut observer = Observer::begin(&[version(5, Some(web(1, &[("apply", "", 20)])))], at(900));
        let next = web(2, &[("apply", "", 20), ("kubectl-scale", "", 990)]);
        observer.see(&version(7, Some(next)), at(NOW)).unwrap()
    }

    #[test]
    fn a_change_is_named_with_its_fields_its_manager_and_its_time() {
        let change = scaled();
        assert_eq!(
            change.words(),
            "Deployment shop/web changed in spec.replicas by field manager kubectl-scale at 00:16:30 UTC"
        );
        assert!(!traces(&[]).account_for(&change));
        assert!(!traces(&[trace("other", 990, 990), trace("web", 980, 981)]).account_for(&change));
    }

    #[test]
    fn anybodys_event_on_the_object_or_its_collection_accounts_for_it() {
        for trace in [
            trace("web", 989, 991),
            trace("web", 990, 990),
            trace("", 985, 992),
        ] {
            assert!(
                traces(std::slice::from_ref(&trace)).account_for(&scaled()),
                "{trace:?}"
            );
        }
        // Nobody was listening then, or something had to be forgotten.
        assert!(Traces::default().account_for(&scaled()));
        let mut late = Traces::default();
        late.note(true, &[], at(995));
        assert!(late.account_for(&scaled()));
        let mut ended = traces(&[]);
        ended.note(false, &[], at(NOW));
        assert!(ended.account_for(&scaled()));
    }

    #[test]
    fn what_runs_by_itself_a_status_and_a_known_version_are_no_changes() {
        let first = web(1, &[("apply", "", 20)]);
        let mut observer = Observer::begin(&[version(5, Some(first))], at(900));
        let mut see = |number, object: Value| observer.see(&version(number, Some(object)), at(NOW));
        assert_eq!(see(5, web(9, &[("x", "", 990)])), None, "the watch began again");
        let mut status = web(1, &[("apply", "", 20), ("anything", "status", 990)]);
        status["status"]["seen"] = json!(7);
        assert_eq!(see(6, status), None);
        let controller = web(3, &[("apply", "", 20), ("kube-controller-manager", "", 991)]);
        assert_eq!(see(7, controller), None);
        assert!(
            see(
                8,
                web(
                    4,
                    &[("kube-controller-manager", "", 991), ("kubectl-edit", "", 992)]
                )
            )
            .is_some()
        );
    }

    #[test]
    fn what_is_written_past_the_api_server_is_found_by_having_no_manager() {
        let first = web(1, &[("apply", "", 20)]);
        let mut observer = Observer::begin(&[version(5, Some(first))], at(900));
        let change = observer
            .see(&version(6, Some(web(8, &[("apply", "", 20)]))), at(NOW))
            .unwrap();
        assert!(
            change.words().contains("by no field manager"),
            "{}",
            change.words()
        );
        assert!(!traces(&[trace("web", 700, 700)]).account_for(&change));
        assert!(traces(&[trace("web", 960, 961)]).account_for(&change));
    }

    #[test]
    fn making_and_deleting_are_changes_unless_a_controller_owns_it() {
        let mut observer = Observer::default();
        let made = observer
            .see(&version(5, Some(web(1, &[("kubectl-create", "", 990)]))), at(NOW))
            .unwrap();
        assert_eq!((made.how, made.at_s), (How::Made, Some(10)));
        let gone = observer.see(&version(6, None), at(NOW + 5)).unwrap();
        assert_eq!(gone.words(), "Deployment shop/web deleted at 00:16:45 UTC");
        assert_eq!(observer.see(&version(6, None), at(NOW + 6)), None, "once");
        let mut owned = web(1, &[("kubelet", "", 990)]);
        owned["metadata"]["ownerReferences"] = json!([{"controller": true}]);
        assert_eq!(observer.see(&version(8, Some(owned)), at(NOW)), None);
        assert_eq!(observer.see(&version(9, None), at(NOW)), None);
    }
}
