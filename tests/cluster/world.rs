//! A real API server with what `breakglass manifests` prints, an administrator to interfere, and the
//! broker under its own ServiceAccount and nothing more.

use breakglass::cluster::manifests::manifests;
use breakglass::cluster::{Access, KubeCluster};
use breakglass::config::{self, Config, GRANTS_NAMESPACE, grant_name};
use breakglass::ids::GrantId;
use http::{Method, Request};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

pub(crate) const CLUSTER: &str = "demo";
pub(crate) const ROLE: &str = "breakglass-workloads";
/// A role that one test changes under everybody's feet.
pub(crate) const OTHER_ROLE: &str = "breakglass-drill";

/// What the manifests were applied with.
struct Applied {
    config: Config,
    folder: tempfile::TempDir,
}

static APPLIED: OnceCell<Applied> = OnceCell::const_new();

pub(crate) struct World {
    pub(crate) admin: Api,
    pub(crate) cluster: KubeCluster,
    /// A namespace of the test's own.
    pub(crate) namespace: String,
}

fn facts() -> Value {
    let path = std::env::var("BREAKGLASS_WORLD").expect(
        "BREAKGLASS_WORLD must name the world.json of a running world: node tests/world/world.mjs --dir DIR prints it",
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The world, and a fresh namespace in it.
pub(crate) async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let facts = facts();
    let admin = Api::of(&read(facts["cluster"]["adminKubeconfig"].as_str().unwrap())).await;
    let applied = APPLIED.get_or_init(|| apply(&facts, &admin)).await;
    let cluster = KubeCluster::connect(CLUSTER, &applied.config.clusters[CLUSTER])
        .await
        .unwrap();
    let namespace = format!("cluster-{}", GrantId::new().short());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    admin.made("/api/v1/namespaces", &object).await;
    // A Pod is not let in before its ServiceAccount exists.
    let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    until("the ServiceAccount default", 20, async || {
        admin.ask(Method::GET, &account, None).await.0 == 200
    })
    .await;
    World {
        admin,
        cluster,
        namespace,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn apply(facts: &Value, admin: &Api) -> Applied {
    let path = PathBuf::from(facts["broker"]["config"].as_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut config = Config::from_text("breakglass.yaml", &text, path.parent().unwrap(), None)
        .expect("a valid configuration");
    let role = role("", "configmaps", &["get", "patch"]);
    config.cluster_roles.insert(OTHER_ROLE.into(), role);
    let mut profile = config.profiles["payments-admin"].clone();
    (profile.name, profile.cluster_role) = ("drill".into(), OTHER_ROLE.into());
    config.profiles.insert("drill".into(), profile);
    for document in manifests(&config, CLUSTER).unwrap().split("---\n").skip(1) {
        admin.apply(&serde_saphyr::from_str(document).unwrap()).await;
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let path = "/api/v1/namespaces/breakglass/serviceaccounts/breakglass/token";
    let token = admin.made(path, &request).await["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, broker_kubeconfig(facts, &token)).unwrap();
    let cluster = config.clusters.get_mut(CLUSTER).unwrap();
    cluster.access = config::Access::Kubeconfig(config::Kubeconfig { file, context: None });
    Applied { config, folder }
}

pub(crate) fn broker_config() -> config::Cluster {
    let applied = APPLIED.get().expect("the world was asked for first");
    assert!(applied.folder.path().exists());
    applied.config.clusters[CLUSTER].clone()
}

/// A role of one rule.
pub(crate) fn role(group: &str, resource: &str, verbs: &[&str]) -> config::ClusterRole {
    let rules = json!([{"api_groups": [group], "resources": [resource], "verbs": verbs}]);
    serde_json::from_value(json!({"rules": rules})).unwrap()
}

fn broker_kubeconfig(facts: &Value, token: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": facts["cluster"]["server"], "certificate-authority": facts["cluster"]["caFile"]}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

impl World {
    /// An access to the test's own namespace.
    pub(crate) fn access(&self) -> Access {
        let grant = GrantId::new();
        Access {
            account: grant_name("payments-admin", grant),
            grant: grant.to_string(),
            cluster_role: ROLE.into(),
            namespaces: vec![self.namespace.clone()],
        }
    }

    pub(crate) fn path(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.namespace)
    }

    pub(crate) fn binding_path(&self, name: &str) -> String {
        format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings{name}",
            self.namespace
        )
    }

    pub(crate) async fn config_map(&self, name: &str, value: &str) -> Value {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace}, "data": {"value": value}});
        self.admin.apply(&object).await
    }
}

/// A binding of `account` to `role`, as somebody else would make it.
pub(crate) fn binding(name: &str, account: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": GRANTS_NAMESPACE}],
    })
}

/// The API server under one identity.
pub(crate) struct Api(Client);

impl Api {
    pub(crate) async fn of(kubeconfig: &str) -> Self {
        let parsed = Kubeconfig::from_yaml(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .unwrap();
        config.default_retry = false;
        Self(Client::try_from(config).unwrap())
    }

    /// Status and body.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let kind = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        self.send(method, path, kind, body).await
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> (u16, Value) {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(bytes);
        match self.0.request_text(request.unwrap()).await {
            Ok(text) => (200, serde_json::from_str(&text).unwrap()),
            Err(kube::Error::Api(status)) => (status.code, json!({"message": status.message})),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> u16 {
        self.ask(Method::GET, path, None).await.0
    }

    pub(crate) async fn made(&self, path: &str, object: &Value) -> Value {
        let (code, made) = self.ask(Method::POST, path, Some(object)).await;
        assert_eq!(code, 200, "{path}: {made}");
        made
    }

    pub(crate) async fn changed(&self, path: &str, change: &Value) -> Value {
        let (code, changed) = self.ask(Method::PATCH, path, Some(change)).await;
        assert_eq!(code, 200, "{path}: {changed}");
        changed
    }

    pub(crate) async fn delete(&self, path: &str) {
        let (code, said) = self.ask(Method::DELETE, path, None).await;
        assert_eq!(code, 200, "{path}: {said}");
    }

    /// Server-side apply.
    pub(crate) async fn apply(&self, object: &Value) -> Value {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let version = text("/apiVersion");
        let base = if version.contains('/') {
            format!("/apis/{version}")
        } else {
            format!("/api/{version}")
        };
        let place = match text("/metadata/namespace") {
            "" => String::new(),
            namespace => format!("namespaces/{namespace}/"),
        };
        let kind = text("/kind").to_lowercase();
        let plural = kind
            .strip_suffix('y')
            .map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
        let path = format!(
            "{base}/{place}{plural}/{}?fieldManager=test&force=true",
            text("/metadata/name")
        );
        // A namespace and what is in it come right after one another.
        for _ in 0..20 {
            let (code, said) = self
                .send(Method::PATCH, &path, "application/apply-patch+yaml", Some(object))
                .await;
            match code {
                200 => return said,
                404 => tokio::time::sleep(Duration::from_millis(100)).await,
                code => panic!("{path}: {code} {said}"),
            }
        }
        panic!("{path} is not served");
    }
}

/// Waits, at most `seconds`, and says how long it took.
pub(crate) async fn until(what: &str, seconds: u64, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done().await {
        assert!(
            begun.elapsed() < Duration::from_secs(seconds),
            "{what} took longer than {seconds} s"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

/// A wire to the API server that can be cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    cut: tokio::sync::watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn to(server: &str) -> Self {
        let to = server.trim_start_matches("https://").to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut is_cut) = (to.clone(), is_cut.clone());
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { port, cut }
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}
