//! Which lists of the built-in kinds are maps, and by which keys.

use super::object::Gvk;
use super::path::Path;
use serde_json::Value;

/// Field, the key that must stand above it on the way (empty: any), merge keys. Taken from
/// `x-kubernetes-list-map-keys` and `patchMergeKey` of the Kubernetes 1.36 API description.
const BY_PARENT: &[(&str, &str, &[&str])] = &[
    ("containers", "spec", &["name"]),
    ("initContainers", "spec", &["name"]),
    ("ephemeralContainers", "spec", &["name"]),
    ("env", "", &["name"]),
    ("ports", "containers", &["containerPort", "protocol"]),
    ("ports", "initContainers", &["containerPort", "protocol"]),
    ("volumes", "spec", &["name"]),
    ("volumeMounts", "", &["mountPath"]),
    ("volumeDevices", "", &["devicePath"]),
    ("imagePullSecrets", "", &["name"]),
    ("hostAliases", "spec", &["ip"]),
    (
        "topologySpreadConstraints",
        "spec",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("resourceClaims", "spec", &["name"]),
    ("claims", "resources", &["name"]),
    ("schedulingGates", "spec", &["name"]),
    ("webhooks", "", &["name"]),
    ("matchConditions", "", &["name"]),
];

const BY_KIND: &[(&str, &str, &str, &[&str])] = &[
    ("", "Service", "spec.ports", &["port", "protocol"]),
    ("", "ServiceAccount", "secrets", &["name"]),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        "spec.variables",
        &["name"],
    ),
    (
        "gateway.networking.k8s.io",
        "Gateway",
        "spec.listeners",
        &["name"],
    ),
];

/// The merge keys of the list at `path`; none where the list is replaced as a whole.
#[must_use]
pub fn merge_keys(gvk: &Gvk, path: &Path) -> Option<&'static [&'static str]> {
    let names = path.key_names();
    let (field, above) = names.split_last()?;
    let joined = names.join(".");
    if let Some((.., keys)) = BY_KIND
        .iter()
        .find(|(group, kind, at, _)| *group == gvk.group && *kind == gvk.kind && *at == joined)
    {
        return Some(keys);
    }
    let parent = above.last().copied().unwrap_or_default();
    BY_PARENT
        .iter()
        .find(|(name, under, _)| name == field && (under.is_empty() || *under == parent))
        .map(|(.., keys)| *keys)
}

/// The values of the merge keys of one item. None if the item lacks one, which makes the whole
/// list one value. A missing `protocol` is TCP, as the server fills it in.
#[must_use]
pub fn key_of(item: &Value, keys: &[&str]) -> Option<Vec<(String, Value)>> {
    keys.iter()
        .map(|key| match item.get(*key) {
            Some(value @ (Value::String(_) | Value::Number(_))) => Some(((*key).to_owned(), value.clone())),
            None if *key == "protocol" => Some(((*key).to_owned(), Value::from("TCP"))),
            _ => None,
        })
        .collect()
}

/// An item of a list with the values of its merge keys.
pub type Keyed<'v> = (Vec<(String, Value)>, &'v Value);

/// The keys of all items, if every item has one and no two are the same.
#[must_use]
pub fn keyed<'v>(items: &'v [Value], keys: &[&str]) -> Option<Vec<Keyed<'v>>> {
    let mut out: Vec<Keyed<'_>> = Vec::with_capacity(items.len());
    for item in items {
        let key = key_of(item, keys)?;
        if out.iter().any(|(seen, _)| *seen == key) {
            return None;
        }
        out.push((key, item));
    }
    Some(out)
}
