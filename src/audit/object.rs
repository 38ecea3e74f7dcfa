//! What an action was about, and the list of objects a grant touched.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

use super::{
    event::{Event, Stage},
    key::EventKey,
    record::Action,
};

/// An object, or a collection where `name` is absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Object {
    /// The API group, empty for the core group.
    pub api_group: String,
    /// The API version.
    pub version: String,
    /// The plural resource name: `deployments`.
    pub resource: String,
    /// The sub-resource: `scale`, `exec`, …
    pub subresource: Option<String>,
    /// The namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The name; none for lists, `deletecollection` and names not yet given.
    pub name: Option<String>,
}

impl Object {
    /// What `event` is about; none for URLs that are no resource. `generated` is the name the
    /// answer gave to an object created without one.
    #[must_use]
    pub fn of(event: &Event<'_>, generated: Option<&str>) -> Option<Self> {
        let of = event.object_ref.as_ref()?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let name = some(&of.name).or_else(|| generated.and_then(some).filter(|_| *event.verb == *"create"));
        Some(Self {
            api_group: of.api_group.to_string(),
            version: of.version.to_string(),
            resource: of.resource.to_string(),
            subresource: some(&of.subresource),
            namespace: some(&of.namespace),
            name,
        })
    }

    /// The same with its name scrubbed: a name is the client's own text.
    pub(super) fn scrubbed(mut self) -> Self {
        self.name = self.name.map(|name| super::scrub::scrub(&name).0.into_owned());
        self
    }

    /// The object a sub-resource belongs to: `scale`, `status`, `ephemeralcontainers`, `eviction`
    /// and the rest share their parent's group, resource and name in an audit event.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self {
            subresource: None,
            ..self.clone()
        }
    }

    /// `resource/subresource` as RBAC writes it.
    #[must_use]
    pub fn full_resource(&self) -> String {
        match &self.subresource {
            Some(sub) => format!("{}/{sub}", self.resource),
            None => self.resource.clone(),
        }
    }

    /// The kind in words: `Deployment`; for resources not of Kubernetes itself `resource.group`.
    #[must_use]
    pub fn kind(&self) -> String {
        let known = match (self.api_group.as_str(), self.resource.as_str()) {
            ("", "pods") => "Pod",
            ("", "services") => "Service",
            ("", "configmaps") => "ConfigMap",
            ("", "secrets") => "Secret",
            ("", "namespaces") => "Namespace",
            ("", "nodes") => "Node",
            ("", "serviceaccounts") => "ServiceAccount",
            ("", "persistentvolumeclaims") => "PersistentVolumeClaim",
            ("", "persistentvolumes") => "PersistentVolume",
            ("", "endpoints") => "Endpoints",
            ("" | "events.k8s.io", "events") => "Event",
            ("", "replicationcontrollers") => "ReplicationController",
            ("", "resourcequotas") => "ResourceQuota",
            ("", "limitranges") => "LimitRange",
            ("apps", "deployments") => "Deployment",
            ("apps", "statefulsets") => "StatefulSet",
            ("apps", "daemonsets") => "DaemonSet",
            ("apps", "replicasets") => "ReplicaSet",
            ("batch", "jobs") => "Job",
            ("batch", "cronjobs") => "CronJob",
            ("autoscaling", "horizontalpodautoscalers") => "HorizontalPodAutoscaler",
            ("policy", "poddisruptionbudgets") => "PodDisruptionBudget",
            ("networking.k8s.io", "ingresses") => "Ingress",
            ("networking.k8s.io", "networkpolicies") => "NetworkPolicy",
            ("discovery.k8s.io", "endpointslices") => "EndpointSlice",
            ("coordination.k8s.io", "leases") => "Lease",
            ("rbac.authorization.k8s.io", "roles") => "Role",
            ("rbac.authorization.k8s.io", "rolebindings") => "RoleBinding",
            ("rbac.authorization.k8s.io", "clusterroles") => "ClusterRole",
            ("rbac.authorization.k8s.io", "clusterrolebindings") => "ClusterRoleBinding",
            ("certificates.k8s.io", "certificatesigningrequests") => "CertificateSigningRequest",
            ("authorization.k8s.io", "selfsubjectrulesreviews") => "own rights",
            ("authorization.k8s.io", "selfsubjectaccessreviews") => "own right",
            ("authentication.k8s.io", "selfsubjectreviews") => "own identity",
            ("apiextensions.k8s.io", "customresourcedefinitions") => "CustomResourceDefinition",
            _ => "",
        };
        match known {
            "" if self.api_group.is_empty() => self.resource.clone(),
            "" => format!("{}.{}", self.resource, self.api_group),
            known => known.to_owned(),
        }
    }

    /// `namespace/name`, as much as there is of it.
    #[must_use]
    pub fn path(&self) -> String {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        }
    }
}

/// An object a grant changed, or may have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// The object itself, never a sub-resource. Without a name: a `deletecollection`, which names
    /// nothing and has to be resolved against what was there before.
    pub object: Object,
    /// The first change, microseconds since 1970: what came before it was not this grant.
    pub first_us: i64,
    /// The last change.
    pub last_us: i64,
    /// Some change was a deletion (eviction included).
    pub deleted: bool,
    /// Every change so far is uncertain: only the live object can say whether any was applied.
    pub uncertain: bool,
}

/// The objects that `actions` changed, each once, in the order of their names.
#[must_use]
pub fn touched(actions: &[Action]) -> Vec<Touched> {
    let mut by_object: BTreeMap<Object, Touched> = BTreeMap::new();
    // Where the policy sends RequestReceived too, that stage settles nothing the end has not.
    let ended = |action: &&Action| action.stage == Stage::ResponseComplete;
    let settled: HashSet<EventKey> = actions
        .iter()
        .filter(ended)
        .map(|action| action.request)
        .collect();
    let early = |action: &Action| action.stage == Stage::RequestReceived && settled.contains(&action.request);
    for action in actions.iter().filter(|action| action.mutates && !early(action)) {
        let Some(object) = &action.object else { continue };
        // The version differs between clients; the object is one.
        let identity = Object {
            version: String::new(),
            ..object.parent()
        };
        let deleted = action.deletes();
        let entry = by_object.entry(identity).or_insert_with(|| Touched {
            object: object.parent(),
            first_us: action.received_us,
            last_us: action.received_us,
            deleted: false,
            uncertain: true,
        });
        entry.first_us = entry.first_us.min(action.received_us);
        entry.last_us = entry.last_us.max(action.received_us);
        entry.deleted |= deleted;
        entry.uncertain &= action.uncertain;
    }
    by_object.into_values().collect()
}
