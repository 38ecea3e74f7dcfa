//! A cluster behind a real API server.

use super::contract::{Access, Cluster, ClusterError, FirstUse, Probe, Sighting, Token};
use super::discovery::{Discovery, base};
use super::kubeconfig::Entrance;
use super::manifests::AuditProbe;
use super::server::{PATIENCE, Result, Server, segment, text};
use super::{
    audit_probe, autoscaler, counters, credential, first_use, guard, kubeconfig, layout, list_keys, remove,
    rules, watch,
};
use crate::config;
use crate::config::GRANTS_NAMESPACE;
use crate::domain::counting::Counters;
use crate::domain::object::{ObjectKey, ObjectVersion};
use ::kube::Client;
use ::kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Uri};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use tokio::sync::mpsc;

/// A cluster that the broker reaches by a kubeconfig or as a Pod in it.
pub struct KubeCluster {
    server: Server,
    /// Each of its API servers by itself, where they have names.
    servers: BTreeMap<String, Server>,
    /// How to reach it, for a client with another identity.
    reach: Config,
    /// The same for each of its API servers.
    reaches: BTreeMap<String, Config>,
    entrance: Entrance,
    discovery: Discovery,
}

impl fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCluster")
            .field("name", &self.server.cluster)
            .field("server", &self.entrance.server)
            .finish_non_exhaustive()
    }
}

impl KubeCluster {
    /// Reads how to reach the cluster. The API server itself need not be up yet.
    ///
    /// The process must have a default `rustls` provider by then.
    ///
    /// # Errors
    /// [`ClusterError::Unsound`] when the kubeconfig or a certificate authority cannot be read, or
    /// names a server whose certificate would not be checked.
    pub async fn connect(name: &str, config: &config::Cluster) -> Result<Self> {
        let unsound = |why: String| ClusterError::Unsound(format!("cluster {name}: {why}"));
        let mut reach = match &config.access {
            config::Access::Kubeconfig(kubeconfig) => from_file(kubeconfig).await.map_err(unsound)?,
            config::Access::InCluster => Config::incluster().map_err(|error| unsound(error.to_string()))?,
        };
        // Whoever stands in between would be handed the broker's token.
        if reach.accept_invalid_certs || reach.cluster_url.scheme_str() != Some("https") {
            return Err(unsound(
                "the API server's certificate would not be checked".into(),
            ));
        }
        reach.connect_timeout = Some(PATIENCE);
        reach.write_timeout = Some(PATIENCE);
        // Each call is bounded by itself; a watch is silent for longer than any answer may take.
        reach.read_timeout = None;
        // Whoever calls tries again; a silent second try of a POST is not ours to make.
        reach.default_retry = false;
        let client = Client::try_from(reach.clone())
            .map_err(|_| unsound("the broker's credentials for it cannot be loaded".into()))?;
        let entrance = entrance(config, &reach).await.map_err(unsound)?;
        let server = Server {
            cluster: name.to_owned(),
            client,
        };
        let (mut servers, mut reaches) = (BTreeMap::new(), BTreeMap::new());
        for (own, place) in &config.api_servers {
            let wrong = |why| unsound(format!("API server {own}: {why}"));
            let reach = at(&reach, place).map_err(wrong)?;
            let client = Client::try_from(reach.clone())
                .map_err(|_| wrong("the broker's credentials for it cannot be loaded".to_owned()))?;
            reaches.insert(own.clone(), reach);
            let cluster = format!("{name}/{own}");
            servers.insert(own.clone(), Server { cluster, client });
        }
        Ok(Self {
            server,
            servers,
            reach,
            reaches,
            entrance,
            discovery: Discovery::default(),
        })
    }

    /// The API server of that name; the cluster's own address where it has none.
    fn named(&self, server: &str) -> &Server {
        self.servers.get(server).unwrap_or(&self.server)
    }

    /// The API server of that name under the identity of `token` and no other.
    fn as_token(&self, server: &str, token: &Token) -> Result<Server> {
        let mut reach = self.reaches.get(server).unwrap_or(&self.reach).clone();
        reach.headers.clear();
        reach.auth_info = AuthInfo {
            token: Some(token.token.clone().into()),
            ..AuthInfo::default()
        };
        let client = Client::try_from(reach)
            .map_err(|_| ClusterError::Unsound("no client could be made for the new token".into()))?;
        Ok(Server {
            cluster: self.server.cluster.clone(),
            client,
        })
    }
}

/// One API server at an address of its own, held to the cluster's own authority.
fn at(reach: &Config, place: &config::ApiServer) -> std::result::Result<Config, String> {
    let mut reach = reach.clone();
    reach.cluster_url = place
        .address
        .base()
        .parse::<Uri>()
        .map_err(|error| format!("its address cannot be used: {error}"))?;
    reach.tls_server_name.clone_from(&place.tls_server_name);
    Ok(reach)
}

async fn from_file(kubeconfig: &config::Kubeconfig) -> std::result::Result<Config, String> {
    let file = kubeconfig.file.display();
    // A parser's words may quote the file, and the file holds a credential.
    let explain = |error: KubeconfigError| match error {
        KubeconfigError::Parse(_) => format!("the kubeconfig {file} is not valid"),
        other => format!("the kubeconfig {file} cannot be used: {other}"),
    };
    let parsed = Kubeconfig::read_from(&kubeconfig.file).map_err(explain)?;
    let options = KubeConfigOptions {
        context: kubeconfig.context.clone(),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(parsed, &options)
        .await
        .map_err(explain)
}

async fn canary(server: &Server, nonce: &str) -> Result<()> {
    let path = format!(
        "/api/v1/namespaces/{GRANTS_NAMESPACE}/configmaps/{}",
        segment(nonce)
    );
    let doing = "sending a canary";
    match server.send(doing, Method::GET, &path, None).await? {
        Err(status) if !matches!(status.code, 403 | 404) => Err(server.refused(doing, &status)),
        _ => Ok(()),
    }
}

/// What engineers are handed: the configured address and authority, or else the broker's own.
async fn entrance(config: &config::Cluster, reach: &Config) -> std::result::Result<Entrance, String> {
    let ca = match &config.engineer_ca_file {
        Some(file) => Some(STANDARD.encode(read_ca(file).await?)),
        None => reach
            .root_cert
            .as_ref()
            .map(|certificates| STANDARD.encode(pem(certificates))),
    };
    Ok(match &config.engineer_server {
        Some(url) => Entrance {
            server: url.base().to_owned(),
            ca,
            tls_server_name: None,
        },
        None => Entrance {
            server: reach.cluster_url.to_string().trim_end_matches('/').to_owned(),
            ca,
            tls_server_name: reach.tls_server_name.clone(),
        },
    })
}

async fn read_ca(file: &Path) -> std::result::Result<String, String> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("engineer_ca_file {}: {error}", file.display()))?;
    // A private key in there would be handed to every engineer.
    if !text.contains("-----BEGIN CERTIFICATE-----") || text.contains("PRIVATE KEY") {
        return Err(format!(
            "engineer_ca_file {} is not certificates alone",
            file.display()
        ));
    }
    Ok(text)
}

fn pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in certificates {
        let body = STANDARD.encode(der);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (at, letter) in body.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                text.push('\n');
            }
            text.push(letter);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn uid(&self) -> Result<String> {
        let path = "/api/v1/namespaces/kube-system";
        let namespace = self
            .server
            .find("reading the cluster's identity", path)
            .await?
            .unwrap_or_default();
        match text(&namespace, "/metadata/uid") {
            "" => Err(ClusterError::Unsound("namespace kube-system has no UID".into())),
            uid => Ok(uid.to_owned()),
        }
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        let list = self
            .server
            .list("listing namespaces", "/api/v1/namespaces", "")
            .await?;
        let mut names: Vec<String> = list
            .items
            .iter()
            .map(|item| text(item, "/metadata/name").to_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn rules(&self, cluster_role: &str) -> Result<Value> {
        rules::rules(&self.server, cluster_role).await
    }

    async fn lay_out(&self, access: &Access) -> Result<()> {
        layout::lay_out(&self.server, access).await
    }

    async fn make_account(&self, access: &Access) -> Result<()> {
        layout::make_account(&self.server, access).await
    }

    async fn issue(&self, access: &Access, secret: &str, seconds: u32) -> Result<Token> {
        credential::issue(&self.server, access, secret, seconds).await
    }

    async fn issue_again(&self, access: &Access, secret: &str, seconds: u32) -> Result<Option<Token>> {
        credential::issue_again(&self.server, access, secret, seconds).await
    }

    async fn use_once(&self, access: &Access, token: &Token) -> Result<Vec<FirstUse>> {
        let rules = self.rules(&access.cluster_role).await?;
        first_use::use_once(&self.as_token("", token)?, access, &rules).await
    }

    async fn remove_bindings(&self, access: &Access) -> Result<()> {
        remove::bindings(&self.server, access).await
    }

    async fn remove_secret(&self, secret: &str) -> Result<()> {
        remove::secret(&self.server, secret).await
    }

    async fn remove_account(&self, access: &Access) -> Result<()> {
        remove::account(&self.server, access).await
    }

    async fn probe(&self, probe: &str) -> Result<Probe> {
        credential::probe(&self.server, probe).await
    }

    async fn snapshot(&self, rules: &Value, namespaces: &[String]) -> Result<Vec<ObjectVersion>> {
        watch::snapshot(&self.server, &self.discovery, rules, namespaces).await
    }

    async fn watch(
        &self,
        rules: &Value,
        namespaces: &[String],
        versions: mpsc::Sender<ObjectVersion>,
    ) -> Result<()> {
        watch::watch(&self.server, &self.discovery, rules, namespaces, &versions).await
    }

    async fn guard(&self, sightings: mpsc::Sender<Sighting>) -> Result<()> {
        guard::guard(&self.server, &sightings).await
    }

    async fn canary(&self, server: &str, nonce: &str) -> Result<()> {
        canary(self.named(server), nonce).await
    }

    async fn counters(&self, server: &str) -> Result<Counters> {
        counters::read(self.named(server)).await
    }

    async fn probe_audit(
        &self,
        server: &str,
        token: Option<&Token>,
        probes: &[(String, AuditProbe)],
    ) -> Result<()> {
        match token {
            Some(token) => audit_probe::ask(&self.as_token(server, token)?, probes).await,
            None => audit_probe::ask(self.named(server), probes).await,
        }
    }

    async fn canary_as(&self, token: &Token, nonce: &str) -> Result<()> {
        canary(&self.as_token("", token)?, nonce).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>> {
        let base = base(&key.group, &key.version);
        // A Namespace is named as being in itself.
        let cluster_scoped =
            key.namespace.is_empty() || (key.group.is_empty() && key.resource == "namespaces");
        let place = if cluster_scoped {
            String::new()
        } else {
            format!("/namespaces/{}", segment(&key.namespace))
        };
        let path = format!("{base}{place}/{}/{}", segment(&key.resource), segment(&key.name));
        let Some(mut object) = self.server.find(&format!("reading {key}"), &path).await? else {
            return Ok(None);
        };
        if text(&object, "/kind").is_empty() {
            object["kind"] = json!(self.kind(key).await?);
        }
        Ok(Some(object))
    }

    async fn autoscaler(&self, key: &ObjectKey, kind: &str) -> Result<Option<String>> {
        autoscaler::of(&self.server, &self.discovery, key, kind).await
    }

    async fn list_keys(&self, key: &ObjectKey, kind: &str) -> Result<Vec<(String, Vec<String>)>> {
        list_keys::of(&self.server, key, kind).await
    }

    async fn kind(&self, key: &ObjectKey) -> Result<String> {
        let found = self
            .discovery
            .resource(&self.server, &key.group, &key.version, &key.resource)
            .await?;
        Ok(found.kind)
    }

    fn kubeconfig(&self, access: &Access, token: &Token) -> String {
        kubeconfig::write(&self.server.cluster, &self.entrance, access, token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_as_pem() {
        let text = pem(&[vec![7; 100], vec![8; 3]]);
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----\n").count(), 2);
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
