//! What the API server fills in where a person wrote nothing, for the kinds of Kubernetes itself.
//!
//! Audit shows the body of a `create` after that, and so does `managedFields`: a field that has its default
//! value cannot be told from one that was left out. Left out of a file it comes back as the same value.
//! Taken from `SetDefaults_*` of `pkg/apis/{core,apps,batch,networking}/*/defaults.go`, Kubernetes 1.36.

use super::object::Gvk;
use serde_json::{Map, Value, json};

/// The groups whose defaults are known here.
const GROUPS: [&str; 6] = ["", "apps", "batch", "autoscaling", "networking.k8s.io", "policy"];

/// Mappings that go when all in them was filled in: empty they mean the same as absent.
const HOLDERS: [&str; 6] = [
    "strategy",
    "updateStrategy",
    "rollingUpdate",
    "persistentVolumeClaimRetentionPolicy",
    "securityContext",
    "resources",
];

/// The object without the fields that have their default value. What means something by being there, such
/// as an empty selector or a number of replicas, stays.
pub(super) fn without_defaults(gvk: &Gvk, object: &Value) -> Value {
    let mut out = object.clone();
    if GROUPS.contains(&gvk.group.as_str()) {
        strip(gvk, &mut Vec::new(), &mut out);
    }
    out
}

fn strip(gvk: &Gvk, at: &mut Vec<String>, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| strip(gvk, at, item)),
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            // Judged before any is taken away: one default may follow from a neighbour.
            let gone: Vec<&String> = keys
                .iter()
                .filter(|key| {
                    at.push((*key).clone());
                    let names: Vec<&str> = at.iter().map(String::as_str).collect();
                    let is = is_default(gvk, &names, map);
                    at.pop();
                    is
                })
                .collect();
            for key in gone {
                map.shift_remove(key);
            }
            for key in &keys {
                let Some(below) = map.get_mut(key) else { continue };
                at.push(key.clone());
                strip(gvk, at, below);
                at.pop();
                let empty = below.as_object().is_some_and(Map::is_empty);
                if empty && HOLDERS.contains(&key.as_str()) {
                    map.shift_remove(key);
                }
            }
        }
        _ => {}
    }
}

/// Has the field at these keys (list items left out) its default value? `holder` is the mapping it stands in.
#[expect(clippy::match_same_arms, reason = "a table: a line a field")]
fn is_default(gvk: &Gvk, names: &[&str], holder: &Map<String, Value>) -> bool {
    let Some((key, above)) = names.split_last() else {
        return false;
    };
    let Some(value) = holder.get(*key) else {
        return false;
    };
    let has = |wanted: Value| *value == wanted;
    let kind = gvk.kind.as_str();
    if let Some(inside) = pod_spec(kind, names) {
        return pod_default(inside, value, holder);
    }
    match (kind, above, *key) {
        ("Deployment", ["spec"], "revisionHistoryLimit") => has(json!(10)),
        ("Deployment", ["spec"], "progressDeadlineSeconds") => has(json!(600)),
        ("Deployment", ["spec", "strategy"], "type")
        | ("StatefulSet" | "DaemonSet", ["spec", "updateStrategy"], "type") => has(json!("RollingUpdate")),
        ("Deployment", ["spec", "strategy", "rollingUpdate"], "maxSurge" | "maxUnavailable") => {
            has(json!("25%"))
        }
        ("StatefulSet" | "DaemonSet", ["spec"], "revisionHistoryLimit") => has(json!(10)),
        ("StatefulSet", ["spec"], "podManagementPolicy") => has(json!("OrderedReady")),
        ("StatefulSet", ["spec", "updateStrategy", "rollingUpdate"], "partition") => has(json!(0)),
        ("StatefulSet", ["spec", "persistentVolumeClaimRetentionPolicy"], _) => has(json!("Retain")),
        ("StatefulSet", ["spec", "volumeClaimTemplates"], "status" | "apiVersion" | "kind") => true,
        ("StatefulSet", ["spec", "volumeClaimTemplates", "spec"], "volumeMode") => has(json!("Filesystem")),
        ("DaemonSet", ["spec", "updateStrategy", "rollingUpdate"], "maxUnavailable") => has(json!(1)),
        ("DaemonSet", ["spec", "updateStrategy", "rollingUpdate"], "maxSurge") => has(json!(0)),
        ("CronJob", ["spec"], "concurrencyPolicy") => has(json!("Allow")),
        ("CronJob", ["spec"], "suspend") => has(json!(false)),
        ("CronJob", ["spec"], "successfulJobsHistoryLimit") => has(json!(3)),
        ("CronJob", ["spec"], "failedJobsHistoryLimit") => has(json!(1)),
        ("Service", ["spec"], "type") => has(json!("ClusterIP")),
        ("Service", ["spec"], "sessionAffinity") => has(json!("None")),
        ("Service", ["spec"], "externalTrafficPolicy") => has(json!("Cluster")),
        ("Service", ["spec"], "allocateLoadBalancerNodePorts") => has(json!(true)),
        ("Service", ["spec", "ports"], "targetPort") => Some(value) == holder.get("port"),
        ("Service", ["spec", "ports"], "protocol") | ("NetworkPolicy", ["spec", _, "ports"], "protocol") => {
            has(json!("TCP"))
        }
        ("NetworkPolicy", ["spec"], "policyTypes") => {
            let egress = holder
                .get("egress")
                .and_then(Value::as_array)
                .is_some_and(|rules| !rules.is_empty());
            has(if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            })
        }
        ("HorizontalPodAutoscaler", ["spec"], "minReplicas") => has(json!(1)),
        _ => false,
    }
}

/// The way inside the spec of Pods, if it leads there.
fn pod_spec<'n>(kind: &str, names: &'n [&'n str]) -> Option<&'n [&'n str]> {
    let to: &[&str] = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => &["spec", "template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Pod" => &["spec"],
        _ => return None,
    };
    names.strip_prefix(to).filter(|inside| !inside.is_empty())
}

fn pod_default(names: &[&str], value: &Value, holder: &Map<String, Value>) -> bool {
    let has = |wanted: Value| *value == wanted;
    match names {
        ["restartPolicy"] => has(json!("Always")),
        ["terminationGracePeriodSeconds"] => has(json!(30)),
        ["dnsPolicy"] => has(json!("ClusterFirst")),
        ["schedulerName"] => has(json!("default-scheduler")),
        // The deprecated name of serviceAccountName, which the server keeps the same.
        ["serviceAccount"] => Some(value) == holder.get("serviceAccountName"),
        ["containers" | "initContainers", inside @ ..] => match inside {
            ["terminationMessagePath"] => has(json!("/dev/termination-log")),
            ["terminationMessagePolicy"] => has(json!("File")),
            ["imagePullPolicy"] => holder
                .get("image")
                .and_then(Value::as_str)
                .is_some_and(|image| has(json!(pull_policy(image)))),
            ["ports", "protocol"] => has(json!("TCP")),
            ["env", "valueFrom", "fieldRef", "apiVersion"] => has(json!("v1")),
            ["livenessProbe" | "readinessProbe" | "startupProbe", probe @ ..] => match probe {
                ["timeoutSeconds" | "successThreshold"] => has(json!(1)),
                ["periodSeconds"] => has(json!(10)),
                ["failureThreshold"] => has(json!(3)),
                ["httpGet", "scheme"] => has(json!("HTTP")),
                ["grpc", "service"] => has(json!("")),
                _ => false,
            },
            ["lifecycle", _, "httpGet", "scheme"] => has(json!("HTTP")),
            _ => false,
        },
        [
            "volumes",
            "configMap" | "secret" | "projected" | "downwardAPI",
            "defaultMode",
        ] => has(json!(420)),
        ["volumes", "hostPath", "type"] => has(json!("")),
        [
            "volumes",
            "projected",
            "sources",
            "serviceAccountToken",
            "expirationSeconds",
        ] => has(json!(3600)),
        ["volumes", .., "fieldRef", "apiVersion"] => has(json!("v1")),
        [
            "volumes",
            "ephemeral",
            "volumeClaimTemplate",
            "spec",
            "volumeMode",
        ] => has(json!("Filesystem")),
        _ => false,
    }
}

/// How an image is pulled where nothing is said: always while its tag is `latest` or missing.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') {
        return "IfNotPresent";
    }
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    fn bare(kind: &str, object: Value) -> Value {
        let group = match kind {
            "Service" => "",
            "CronJob" => "batch",
            "NetworkPolicy" => "networking.k8s.io",
            _ => "apps",
        };
        without_defaults(&Gvk::new(group, "v1", kind), &object)
    }

    #[test]
    fn defaults_go_and_what_somebody_chose_stays() {
        let pod = |policy: &str, grace: i64| {
            json!({"spec": {"template": {"spec": {
                "restartPolicy": "Always", "terminationGracePeriodSeconds": grace, "dnsPolicy": "ClusterFirst",
                "schedulerName": "default-scheduler", "securityContext": {},
                "containers": [{"name": "web", "image": "shop/web:1", "imagePullPolicy": policy, "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "readinessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 5}}],
                "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}]}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "replicas": 1}})
        };
        let wanted = |extra: Value| {
            let mut container = json!({"name": "web", "image": "shop/web:1"});
            container
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            container["readinessProbe"] =
                json!({"httpGet": {"path": "/", "port": 80}, "failureThreshold": 5});
            json!({"spec": {"template": {"spec": {"containers": [container],
                "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}]}}, "replicas": 1}})
        };
        assert_eq!(bare("Deployment", pod("IfNotPresent", 30)), wanted(json!({})));
        let chosen = bare("Deployment", pod("Always", 5));
        let mut with = wanted(json!({"imagePullPolicy": "Always"}));
        with["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(5);
        assert_eq!(chosen, with);
    }

    #[test]
    fn a_default_that_follows_from_a_neighbour_is_known() {
        let service = json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "ports": [
            {"port": 80, "targetPort": 80, "protocol": "TCP"}, {"port": 81, "targetPort": "http", "protocol": "UDP"}]}});
        assert_eq!(
            bare("Service", service),
            json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "http", "protocol": "UDP"}]}})
        );
        for (image, policy) in [
            ("web", "Always"),
            ("reg.test:5000/web", "Always"),
            ("web:latest", "Always"),
            ("web:1", "IfNotPresent"),
            ("web@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
        let policy = |types: Value| json!({"spec": {"podSelector": {}, "policyTypes": types}});
        assert_eq!(
            bare("NetworkPolicy", policy(json!(["Ingress"]))),
            json!({"spec": {"podSelector": {}}})
        );
        let egress = policy(json!(["Egress"]));
        assert_eq!(bare("NetworkPolicy", egress.clone()), egress);
    }

    #[test]
    fn what_is_not_kubernetes_own_is_left_alone() {
        let custom = json!({"spec": {"revisionHistoryLimit": 10, "strategy": {}}});
        let gvk = Gvk::new("shop.example", "v1", "Deployment");
        assert_eq!(without_defaults(&gvk, &custom), custom);
    }
}
