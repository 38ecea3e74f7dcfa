//! What can be told from a Cloud Logging entry of GKE. It holds no audit event: no bodies but some, no credential's
//! id, an answer's code by another scheme. What it does say is put into the form of one, at level Metadata.

use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    insert_id: String,
    timestamp: String,
    proto_payload: Payload,
    #[serde(default)]
    operation: Operation,
    #[serde(default)]
    labels: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Operation {
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Payload {
    service_name: String,
    method_name: String,
    resource_name: String,
    authentication_info: Who,
    request_metadata: From,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Who {
    principal_email: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct From {
    caller_ip: String,
    caller_supplied_user_agent: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: i64,
    message: String,
}

/// The event that an entry tells of; none where it is of another service.
///
/// # Errors
/// What it lacks.
pub(super) fn event(text: &str) -> Result<Option<Vec<u8>>, String> {
    let entry: Entry =
        serde_json::from_str(text).map_err(|error| format!("the entry cannot be read: {error}"))?;
    let payload = &entry.proto_payload;
    if payload.service_name != "k8s.io" {
        return Ok(None);
    }
    // `io.k8s.apps.v1.deployments.scale.update`: group, version, resource, sub-resource, verb.
    let parts: Vec<&str> = payload.method_name.split('.').collect();
    let Some((verb, rest)) = parts.split_last() else {
        return Err("the entry names no method".to_owned());
    };
    let is_version =
        |part: &&str| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit());
    let Some(at) = rest.iter().position(is_version) else {
        return Err(format!("the method {} is none of an object", payload.method_name));
    };
    let of = Named::read(&payload.resource_name);
    let id = if entry.operation.id.is_empty() {
        &entry.insert_id
    } else {
        &entry.operation.id
    };
    if id.is_empty() {
        return Err("the entry has no id".to_owned());
    }
    let user = if payload.authentication_info.principal_email.is_empty() {
        "system:anonymous"
    } else {
        &payload.authentication_info.principal_email
    };
    let resource = rest.get(at + 1).copied().unwrap_or(&of.resource);
    let subresource = rest.get(at + 2).copied().unwrap_or(&of.subresource);
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "verb": verb, "requestURI": format!("/{}", payload.resource_name),
        "user": {"username": user}, "sourceIPs": [payload.request_metadata.caller_ip],
        "userAgent": payload.request_metadata.caller_supplied_user_agent,
        "objectRef": {"resource": resource, "subresource": subresource, "namespace": of.namespace, "name": of.name,
            "apiGroup": of.group, "apiVersion": of.version},
        "responseStatus": {"code": code(payload.status.code), "message": payload.status.message},
        "requestReceivedTimestamp": entry.timestamp, "stageTimestamp": entry.timestamp,
        "annotations": annotations(&entry.labels),
    });
    Ok(Some(event.to_string().into_bytes()))
}

/// The HTTP code that a code of google.rpc stands for.
const fn code(code: i64) -> u16 {
    match code {
        0 => 200,
        3 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

fn annotations(labels: &Value) -> Value {
    let text = |(name, value): (&String, &Value)| Some((name.clone(), Value::from(value.as_str()?)));
    Value::Object(
        labels
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(text)
            .collect(),
    )
}

/// `apps/v1/namespaces/shop/deployments/web/scale`, the group `core` being the empty one.
#[derive(Default)]
struct Named {
    group: String,
    version: String,
    namespace: String,
    resource: String,
    name: String,
    subresource: String,
}

impl Named {
    fn read(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let group = next();
        let mut named = Self {
            group: if group == "core" { String::new() } else { group },
            version: next(),
            resource: next(),
            name: next(),
            ..Self::default()
        };
        let more = next();
        if named.resource == "namespaces"
            && !more.is_empty()
            && !matches!(more.as_str(), "finalize" | "status")
        {
            named.namespace = std::mem::replace(&mut named.name, next());
            named.resource = more;
            named.subresource = next();
        } else {
            named.subresource = more;
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(method: &str, resource: &str) -> Value {
        json!({"insertId": "i", "timestamp": "2026-03-01T10:00:00.123456Z", "logName": "projects/p/logs/x",
            "operation": {"id": "0a1b", "producer": "k8s.io"},
            "labels": {"authorization.k8s.io/decision": "allow"},
            "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": "k8s.io",
                "methodName": method, "resourceName": resource,
                "authenticationInfo": {"principalEmail": "alice@example.org"},
                "requestMetadata": {"callerIp": "203.0.113.7", "callerSuppliedUserAgent": "kubectl"},
                "status": {"code": 0}}})
    }

    fn told(entry: &Value) -> Value {
        serde_json::from_slice(&event(&entry.to_string()).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn who_what_where_and_when_are_told() {
        let told = told(&entry(
            "io.k8s.apps.v1.deployments.scale.update",
            "apps/v1/namespaces/shop/deployments/web/scale",
        ));
        assert_eq!(
            told["objectRef"],
            json!({"resource": "deployments", "subresource": "scale", "namespace": "shop", "name": "web",
                "apiGroup": "apps", "apiVersion": "v1"})
        );
        assert_eq!(
            (&told["verb"], &told["auditID"]),
            (&json!("update"), &json!("0a1b"))
        );
        assert_eq!(told["user"]["username"], "alice@example.org");
        assert_eq!(
            (&told["responseStatus"]["code"], &told["level"]),
            (&json!(200), &json!("Metadata"))
        );
    }

    #[test]
    fn names_of_every_scope_are_read() {
        for (method, path, expected) in [
            (
                "io.k8s.core.v1.pods.delete",
                "core/v1/namespaces/shop/pods/web-1",
                ["", "shop", "pods", "web-1", ""],
            ),
            (
                "io.k8s.core.v1.nodes.patch",
                "core/v1/nodes/n-1",
                ["", "", "nodes", "n-1", ""],
            ),
            (
                "io.k8s.core.v1.namespaces.create",
                "core/v1/namespaces/shop",
                ["", "", "namespaces", "shop", ""],
            ),
            (
                "io.k8s.core.v1.pods.exec.create",
                "core/v1/namespaces/shop/pods/web-1/exec",
                ["", "shop", "pods", "web-1", "exec"],
            ),
            (
                "io.k8s.core.v1.pods.list",
                "core/v1/namespaces/shop/pods",
                ["", "shop", "pods", "", ""],
            ),
        ] {
            let of = &told(&entry(method, path))["objectRef"];
            let found = ["apiGroup", "namespace", "resource", "name", "subresource"]
                .map(|name| of[name].as_str().unwrap());
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_refusal_is_one_and_another_service_is_none_of_ours() {
        let mut refused = entry("io.k8s.core.v1.pods.delete", "core/v1/namespaces/shop/pods/web-1");
        refused["protoPayload"]["status"]["code"] = json!(7);
        assert_eq!(told(&refused)["responseStatus"]["code"], 403);
        refused["protoPayload"]["serviceName"] = json!("container.googleapis.com");
        assert_eq!(event(&refused.to_string()), Ok(None));
        assert!(event(&entry("nothing", "x").to_string()).is_err());
    }
}
