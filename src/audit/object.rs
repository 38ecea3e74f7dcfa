//! What an action was about.

use serde::{Deserialize, Serialize};

use super::event::Event;

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

    /// The tokens of a `ServiceAccount`.
    #[must_use]
    pub(super) fn is_token(&self) -> bool {
        self.resource == "serviceaccounts" && self.subresource.as_deref() == Some("token")
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
