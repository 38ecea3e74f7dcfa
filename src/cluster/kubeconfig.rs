//! The kubeconfig handed to an engineer.

use super::{Access, Token};
use serde_json::{Value, json};

/// The API server as engineers reach it.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    /// Its address.
    pub(super) server: String,
    /// Its certificate authority, PEM in base64; the system's own authorities when left out.
    pub(super) ca: Option<String>,
    /// The name its certificate is checked against, where the address is another.
    pub(super) tls_server_name: Option<String>,
}

/// Everything in it comes from the configuration and the API server; each value is written as a JSON
/// string, which YAML reads as it is, so that no name becomes a part of the document.
pub(super) fn write(cluster: &str, entrance: &Entrance, access: &Access, token: &Token) -> String {
    let name = format!(
        "breakglass-{cluster}-{}",
        access.account.rsplit('-').next().unwrap_or_default()
    );
    let quoted = |text: &str| Value::from(text).to_string();
    let mut lines = vec![
        "apiVersion: v1".to_owned(),
        "kind: Config".into(),
        "clusters:".into(),
    ];
    lines.push(format!("- name: {}", quoted(&name)));
    lines.push("  cluster:".into());
    lines.push(format!("    server: {}", quoted(&entrance.server)));
    if let Some(ca) = &entrance.ca {
        lines.push(format!("    certificate-authority-data: {}", quoted(ca)));
    }
    if let Some(host) = &entrance.tls_server_name {
        lines.push(format!("    tls-server-name: {}", quoted(host)));
    }
    lines.push("users:".into());
    lines.push(format!("- name: {}", quoted(&name)));
    lines.push(format!("  user: {}", json!({"token": token.token})));
    lines.push("contexts:".into());
    lines.push(format!("- name: {}", quoted(&name)));
    lines.push("  context:".into());
    lines.push(format!("    cluster: {}", quoted(&name)));
    lines.push(format!("    user: {}", quoted(&name)));
    if let Some(namespace) = access.namespaces.first() {
        lines.push(format!("    namespace: {}", quoted(namespace)));
    }
    lines.push(format!("current-context: {}", quoted(&name)));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_yaml_and_names_cluster_namespace_and_token() {
        let access = Access {
            account: "breakglass-repair-0123456789ab".into(),
            grant: "g".into(),
            cluster_role: "r".into(),
            namespaces: vec!["shop".into(), "till".into()],
        };
        let token = Token {
            token: "a.b.c".into(),
            credential_id: "id".into(),
            expires_at: chrono::DateTime::UNIX_EPOCH,
            probe: "p.p.p".into(),
        };
        let entrance = Entrance {
            server: "https://api: \"x\"".into(),
            ca: Some("UEVN".into()),
            tls_server_name: None,
        };
        let text = write("demo", &entrance, &access, &token);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["current-context"], "breakglass-demo-0123456789ab");
        assert_eq!(read["contexts"][0]["context"]["namespace"], "shop");
        assert_eq!(read["clusters"][0]["cluster"]["server"], "https://api: \"x\"");
        assert_eq!(
            read["clusters"][0]["cluster"]["certificate-authority-data"],
            "UEVN"
        );
        assert_eq!(read["users"][0]["user"]["token"], "a.b.c");
        assert!(!text.contains("p.p.p"));
    }
}
