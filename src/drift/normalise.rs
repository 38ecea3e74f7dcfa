//! What is never part of drift: fields the server and its controllers write.

use super::object::Gvk;
use serde_json::Value;

const METADATA: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
];
const ANNOTATIONS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
    "deprecated.daemonset.template.generation",
    // Argo CD by exact key: its sync-wave and hook annotations are what a person wants.
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/installation-id",
];
const ANNOTATION_PREFIXES: &[&str] = &[
    "deployment.kubernetes.io/",
    "autoscaling.alpha.kubernetes.io/",
    "control-plane.alpha.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "meta.helm.sh/",
];
// Flux's control keys (reconcile, prune, ssa, force) are intent and stay.
const LABELS: &[&str] = &[
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "helm.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/namespace",
    "pod-template-hash",
    "controller-uid",
];
const LABEL_PREFIXES: &[&str] = &["applyset.kubernetes.io/", "batch.kubernetes.io/"];
const SERVICE: &[&str] = &[
    "clusterIP",
    "clusterIPs",
    "healthCheckNodePort",
    "ipFamilies",
    "ipFamilyPolicy",
    "internalTrafficPolicy",
];

/// Is the field at these mapping keys (list items left out) never part of drift? Says whose it is.
#[must_use]
pub fn never_drift(gvk: &Gvk, keys: &[&str], autoscaled: bool) -> Option<&'static str> {
    let (kind, group) = (gvk.kind.as_str(), gvk.group.as_str());
    let n = keys.len();
    if n == 0 {
        return None;
    }
    if keys[0] == "status" {
        return Some("status belongs to controllers");
    }
    if n >= 2 && keys[0] == "metadata" && METADATA.contains(&keys[1]) {
        return Some("written by the API server and controllers");
    }
    for at in 0..n.saturating_sub(2) {
        if keys[at] != "metadata" {
            continue;
        }
        let key = keys[at + 2];
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        match keys[at + 1] {
            "annotations" if ANNOTATIONS.contains(&key) || starts(ANNOTATION_PREFIXES) => {
                return Some("an annotation tools and controllers keep for themselves");
            }
            "labels" if LABELS.contains(&key) || starts(LABEL_PREFIXES) => {
                return Some("a label tools and controllers keep for themselves");
            }
            _ => {}
        }
    }
    if n >= 2 && keys[n - 1] == "creationTimestamp" && keys[n - 2] == "metadata" {
        return Some("written by the API server and controllers");
    }
    let spec = |names: &[&str]| n >= 2 && keys[0] == "spec" && names.contains(&keys[1]);
    let exactly = |path: &[&str]| keys.starts_with(path);
    let server = "filled in by the API server";
    match (group, kind) {
        ("", "Service") if spec(SERVICE) || exactly(&["spec", "ports", "nodePort"]) => Some(server),
        ("", "Pod") if spec(&["nodeName", "serviceAccount"]) => Some(server),
        ("", "PersistentVolumeClaim") if spec(&["volumeName", "volumeMode"]) => Some(server),
        ("", "PersistentVolume")
            if exactly(&["spec", "claimRef", "uid"]) || exactly(&["spec", "claimRef", "resourceVersion"]) =>
        {
            Some(server)
        }
        ("", "Namespace")
            if spec(&["finalizers"]) || exactly(&["metadata", "labels", "kubernetes.io/metadata.name"]) =>
        {
            Some(server)
        }
        ("", "ServiceAccount") if keys[0] == "secrets" => Some(server),
        ("batch", "Job") if spec(&["selector"]) => Some(server),
        ("admissionregistration.k8s.io", _) if exactly(&["webhooks", "clientConfig", "caBundle"]) => {
            Some("injected by a certificate controller")
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition")
            if exactly(&["spec", "conversion", "webhook", "clientConfig", "caBundle"]) =>
        {
            Some("injected by a certificate controller")
        }
        ("apiregistration.k8s.io", "APIService") if spec(&["caBundle"]) => {
            Some("injected by a certificate controller")
        }
        _ if autoscaled && exactly(&["spec", "replicas"]) => {
            Some("an autoscaler sets the number of replicas")
        }
        _ => None,
    }
}

/// The object without what is never part of drift. `autoscaled`: an autoscaler targets it.
#[must_use]
pub fn normalise(gvk: &Gvk, object: &Value, autoscaled: bool) -> Value {
    let mut out = object.clone();
    let aggregated =
        gvk.kind == "ClusterRole" && object.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    if aggregated && let Some(map) = out.as_object_mut() {
        map.shift_remove("rules");
    }
    strip(gvk, &mut Vec::new(), &mut out, autoscaled);
    if gvk.group.is_empty() && gvk.kind == "Pod" {
        strip_injected(&mut out);
    }
    out
}

fn strip(gvk: &Gvk, at: &mut Vec<String>, value: &mut Value, autoscaled: bool) {
    match value {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                at.push(key.clone());
                let names: Vec<&str> = at.iter().map(String::as_str).collect();
                // A headless Service says so itself: `None` is never allocated.
                let headless = matches!(key.as_str(), "clusterIP" | "clusterIPs")
                    && map
                        .get(&key)
                        .is_some_and(|ip| ip == "None" || ip.get(0).is_some_and(|ip| ip == "None"));
                if never_drift(gvk, &names, autoscaled).is_some() && !headless {
                    map.shift_remove(&key);
                } else if let Some(below) = map.get_mut(&key) {
                    let was_empty = below.as_object().is_some_and(serde_json::Map::is_empty);
                    strip(gvk, at, below, autoscaled);
                    // Labels or annotations that held nothing else leave no empty mapping behind.
                    let emptied = matches!(key.as_str(), "annotations" | "labels" | "metadata")
                        && !was_empty
                        && below.as_object().is_some_and(serde_json::Map::is_empty);
                    if emptied {
                        map.shift_remove(&key);
                    }
                }
                at.pop();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(gvk, at, item, autoscaled)),
        _ => {}
    }
}

/// The service account token and the tolerations that admission adds to every Pod.
fn strip_injected(pod: &mut Value) {
    let token = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !token(volume, "name"));
    }
    for field in ["containers", "initContainers"] {
        for container in spec
            .get_mut(field)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| !token(mount, "name"));
            }
        }
    }
    if let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) {
        tolerations.retain(|toleration| {
            let key = toleration.get("key").and_then(Value::as_str).unwrap_or_default();
            let injected = matches!(
                key,
                "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable"
            ) && toleration.get("tolerationSeconds").and_then(Value::as_i64) == Some(300);
            !injected
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(path: &[&str]) -> Value {
        path.iter().rev().fold(json!("x"), |below, key| {
            if matches!(*key, "ports" | "webhooks") {
                json!({ *key: [below] })
            } else {
                json!({ *key: below })
            }
        })
    }

    #[test]
    fn each_field_of_the_list_is_dropped_alone() {
        let core = |kind: &str| Gvk::new("", "v1", kind);
        let mut table: Vec<(Gvk, Vec<&str>)> = Vec::new();
        for field in METADATA {
            table.push((core("ConfigMap"), vec!["metadata", field]));
        }
        table.push((core("Pod"), vec!["status", "phase"]));
        for key in ANNOTATIONS.iter().copied().chain([
            "deployment.kubernetes.io/revision",
            "autoscaling.alpha.kubernetes.io/conditions",
            "control-plane.alpha.kubernetes.io/leader",
            "pv.kubernetes.io/bind-completed",
            "volume.kubernetes.io/storage-provisioner",
            "meta.helm.sh/release-name",
        ]) {
            table.push((core("ConfigMap"), vec!["metadata", "annotations", key]));
        }
        table.push((
            Gvk::new("apps", "v1", "Deployment"),
            vec![
                "spec",
                "template",
                "metadata",
                "annotations",
                "kubectl.kubernetes.io/restartedAt",
            ],
        ));
        for key in LABELS
            .iter()
            .copied()
            .chain(["applyset.kubernetes.io/part-of", "batch.kubernetes.io/job-name"])
        {
            table.push((core("ConfigMap"), vec!["metadata", "labels", key]));
        }
        for field in SERVICE {
            table.push((core("Service"), vec!["spec", field]));
        }
        table.push((core("Service"), vec!["spec", "ports", "nodePort"]));
        for field in ["nodeName", "serviceAccount"] {
            table.push((core("Pod"), vec!["spec", field]));
        }
        for field in ["volumeName", "volumeMode"] {
            table.push((core("PersistentVolumeClaim"), vec!["spec", field]));
        }
        for field in ["uid", "resourceVersion"] {
            table.push((core("PersistentVolume"), vec!["spec", "claimRef", field]));
        }
        table.push((core("Namespace"), vec!["spec", "finalizers"]));
        table.push((
            core("Namespace"),
            vec!["metadata", "labels", "kubernetes.io/metadata.name"],
        ));
        table.push((core("ServiceAccount"), vec!["secrets"]));
        table.push((Gvk::new("batch", "v1", "Job"), vec!["spec", "selector"]));
        table.push((
            Gvk::new(
                "admissionregistration.k8s.io",
                "v1",
                "MutatingWebhookConfiguration",
            ),
            vec!["webhooks", "clientConfig", "caBundle"],
        ));
        table.push((
            Gvk::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
            vec!["spec", "conversion", "webhook", "clientConfig", "caBundle"],
        ));
        table.push((
            Gvk::new("apiregistration.k8s.io", "v1", "APIService"),
            vec!["spec", "caBundle"],
        ));
        for (gvk, path) in table {
            let kept = normalise(&gvk, &set(&path), false).to_string();
            assert!(
                !kept.contains(path[path.len() - 1]),
                "{gvk:?} {path:?} stays: {kept}"
            );
        }
    }

    #[test]
    fn what_a_person_wants_stays() {
        let deployment = Gvk::new("apps", "v1", "Deployment");
        for path in [
            vec!["metadata", "labels", "app.kubernetes.io/instance"],
            vec!["metadata", "annotations", "argocd.argoproj.io/sync-wave"],
            vec!["metadata", "annotations", "argocd.argoproj.io/hook"],
            vec!["metadata", "annotations", "kustomize.toolkit.fluxcd.io/reconcile"],
            vec!["metadata", "labels", "kustomize.toolkit.fluxcd.io/prune"],
            vec!["metadata", "annotations", "kustomize.toolkit.fluxcd.io/ssa"],
            vec!["spec", "replicas"],
            vec!["spec", "template", "spec", "serviceAccountName"],
        ] {
            assert_eq!(normalise(&deployment, &set(&path), false), set(&path));
        }
        let headless = json!({"spec":{"clusterIP":"None"}});
        assert_eq!(
            normalise(&Gvk::new("", "v1", "Service"), &headless, false),
            headless
        );
    }

    #[test]
    fn conditions_count() {
        let replicas = json!({"spec":{"replicas":3}});
        assert_eq!(
            normalise(&Gvk::new("apps", "v1", "Deployment"), &replicas, true),
            json!({"spec":{}})
        );
        let role = Gvk::new("rbac.authorization.k8s.io", "v1", "ClusterRole");
        assert_eq!(
            normalise(&role, &json!({"aggregationRule":{"a":1},"rules":[1]}), false),
            json!({"aggregationRule":{"a":1}})
        );
        assert_eq!(
            normalise(&role, &json!({"rules":[1]}), false),
            json!({"rules":[1]})
        );
        let pod = json!({"spec":{"volumes":[{"name":"kube-api-access-x"},{"name":"d"}],
            "containers":[{"name":"w","volumeMounts":[{"name":"kube-api-access-x"},{"name":"d"}]}],
            "tolerations":[{"key":"node.kubernetes.io/not-ready","tolerationSeconds":300},{"key":"gpu"}]}});
        assert_eq!(
            normalise(&Gvk::new("", "v1", "Pod"), &pod, false),
            json!({"spec":{"volumes":[{"name":"d"}],"containers":[{"name":"w","volumeMounts":[{"name":"d"}]}],"tolerations":[{"key":"gpu"}]}})
        );
    }
}
