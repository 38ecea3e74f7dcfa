//! The adapter against a real API server, under the broker's own narrow rights.
//!
//! `BREAKGLASS_WORLD` names the facts of a running world. Without it every test fails: a suite that
//! skips itself proves nothing.

mod world;

use breakglass::cluster::{Access, Cluster, ClusterError, KubeCluster, Probe, Token, manifests};
use breakglass::config::{self, GRANTS_NAMESPACE};
use breakglass::domain::object::ObjectKey;
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::{RwLock, mpsc};
use world::{Api, OTHER_ROLE, Wire, World, binding, broker_config, role, until, world};

/// Held for writing by the test that takes the session policy away.
static POLICY: RwLock<()> = RwLock::const_new(());

fn unsound<T: std::fmt::Debug>(result: Result<T, ClusterError>) -> String {
    match result {
        Err(ClusterError::Unsound(why)) => why,
        other => panic!("not unsound: {other:?}"),
    }
}

async fn session(world: &World, access: &Access, token: &Token) -> Api {
    Api::of(&world.cluster.kubeconfig(access, token)).await
}

#[tokio::test]
async fn an_access_is_laid_out_used_and_proved_dead() {
    let world = world().await;
    let _policy = POLICY.read().await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    world.cluster.lay_out(&access).await.unwrap();
    let secret = format!("{}-a", access.account);
    let token = world.cluster.issue(&access, &secret, 900).await.unwrap();
    assert!(!token.credential_id.is_empty() && !token.token.contains(&token.credential_id));

    let uses = world.cluster.use_once(&access, &token).await.unwrap();
    assert_eq!(uses.len(), 1);
    assert!(!uses[0].incomplete && uses[0].namespace == world.namespace);
    assert!(
        uses[0].rules.to_string().contains("deployments/scale"),
        "{}",
        uses[0].rules
    );

    let engineer = session(&world, &access, &token).await;
    let pods = world.path("pods");
    assert_eq!(engineer.get(&pods).await, 200);
    assert_eq!(engineer.get("/api/v1/namespaces/kube-system/pods").await, 403);
    assert_eq!(engineer.get(&world.path("secrets")).await, 403);
    let foreign = Token {
        token: token.probe.clone(),
        probe: String::new(),
        credential_id: String::new(),
        ..token
    };
    assert_eq!(session(&world, &access, &foreign).await.get(&pods).await, 401);
    assert_eq!(world.cluster.probe(&token.probe).await.unwrap(), Probe::Alive);

    world.cluster.remove_bindings(&access).await.unwrap();
    assert_eq!(engineer.get(&pods).await, 403, "the next request is refused");
    assert_eq!(world.cluster.probe(&token.probe).await.unwrap(), Probe::Alive);

    let removed = Instant::now();
    world.cluster.remove_account(&access).await.unwrap();
    let refused = until("the 401", 60, async || engineer.get(&pods).await == 401).await;
    until("the probe's death", 60, async || {
        matches!(world.cluster.probe(&token.probe).await, Ok(Probe::Dead(_)))
    })
    .await;
    println!(
        "401 after {refused:?}, the probe dead after {:?}",
        removed.elapsed()
    );
    // What is gone is gone: each removal can be repeated.
    world.cluster.remove_bindings(&access).await.unwrap();
    world.cluster.remove_account(&access).await.unwrap();
    world.cluster.remove_secret(&secret).await.unwrap();
}

#[tokio::test]
async fn a_secret_takes_its_own_token_with_it_and_no_other() {
    let world = world().await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    let [one, two] = ["a", "b"].map(|end| format!("{}-{end}", access.account));
    let first = world.cluster.issue(&access, &one, 60).await.unwrap();
    let second = world.cluster.issue(&access, &two, 60).await.unwrap();
    let left = first.expires_at.timestamp() - chrono_now();
    assert!(
        (560..=600).contains(&left),
        "less than ten minutes is not to be had: {left}"
    );
    let (first_session, second_session) = (
        session(&world, &access, &first).await,
        session(&world, &access, &second).await,
    );
    let pods = world.path("pods");
    assert_eq!(
        (first_session.get(&pods).await, second_session.get(&pods).await),
        (200, 200)
    );
    world.cluster.remove_secret(&one).await.unwrap();
    until("the 401", 60, async || first_session.get(&pods).await == 401).await;
    assert_eq!(second_session.get(&pods).await, 200);
    until("the probe's death", 60, async || {
        matches!(world.cluster.probe(&first.probe).await, Ok(Probe::Dead(_)))
    })
    .await;
    assert_eq!(world.cluster.probe(&second.probe).await.unwrap(), Probe::Alive);
    // Its Secret is found by the grant's label.
    world.cluster.remove_account(&access).await.unwrap();
    assert_eq!(
        world
            .admin
            .get(&format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/secrets/{two}"))
            .await,
        404
    );
    world.cluster.remove_bindings(&access).await.unwrap();
}

fn chrono_now() -> i64 {
    use breakglass::clock::Clock;
    breakglass::clock::SystemClock.now().timestamp()
}

#[tokio::test]
async fn a_widened_role_is_seen_and_an_aggregated_one_refused() {
    let world = world().await;
    let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{OTHER_ROLE}");
    // The world may have been used before.
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]});
    world
        .admin
        .changed(&path, &json!({"aggregationRule": null, "rules": [rule]}))
        .await;
    let before = world.cluster.rules(OTHER_ROLE).await.unwrap();
    assert_eq!(
        before,
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"], "resourceNames": []}])
    );
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "delete"]});
    world.admin.changed(&path, &json!({"rules": [rule]})).await;
    assert_ne!(world.cluster.rules(OTHER_ROLE).await.unwrap(), before);
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"nobody": "has"}}]});
    world
        .admin
        .changed(&path, &json!({"aggregationRule": rule}))
        .await;
    assert!(unsound(world.cluster.rules(OTHER_ROLE).await).contains("aggregationRule"));
    let refused = world.cluster.rules("cluster-admin").await;
    assert!(
        matches!(refused, Err(ClusterError::Refused { code: 403, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_not_as_it_was_laid_out_is_never_taken_over() {
    let world = world().await;
    let access = world.access();
    world
        .admin
        .made(
            &world.binding_path(""),
            &binding(&access.account, &access.account, "view"),
        )
        .await;
    let why = unsound(world.cluster.lay_out(&access).await);
    assert!(why.contains(&access.account), "{why}");

    let access = world.access();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": access.account}});
    world
        .admin
        .made(
            &format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/serviceaccounts"),
            &account,
        )
        .await;
    assert!(unsound(world.cluster.lay_out(&access).await).contains("does not belong to this grant"));
    assert!(unsound(world.cluster.remove_account(&access).await).contains("administrator"));
}

#[tokio::test]
async fn a_binding_by_somebody_else_is_named_and_the_credential_dies_anyway() {
    let world = world().await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    let token = world
        .cluster
        .issue(&access, &format!("{}-a", access.account), 600)
        .await
        .unwrap();
    let more = binding("more-for-them", &access.account, "edit");
    world.admin.made(&world.binding_path(""), &more).await;
    assert!(unsound(world.cluster.lay_out(&access).await).contains("more-for-them"));
    let why = unsound(world.cluster.remove_bindings(&access).await);
    assert!(
        why.contains("more-for-them") && why.contains(&access.account),
        "{why}"
    );
    let engineer = session(&world, &access, &token).await;
    until("the 401", 60, async || {
        engineer.get(&world.path("pods")).await == 401
    })
    .await;
    world.admin.delete(&world.binding_path("/more-for-them")).await;
    world.cluster.remove_bindings(&access).await.unwrap();
}

/// Each kind of object that may carry a Pod is valid but for what the policy forbids: anything else that
/// refused it first would hide a policy that is not there.
#[tokio::test]
async fn whatever_a_role_can_make_there_is_something_the_policy_refuses_and_nothing_else_does() {
    let world = world().await;
    let _policy = POLICY.read().await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    let token = world
        .cluster
        .issue(&access, &format!("{}-a", access.account), 600)
        .await
        .unwrap();
    world.cluster.use_once(&access, &token).await.unwrap();
    let engineer = session(&world, &access, &token).await;
    for (group, resource) in [
        ("", "pods"),
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("apps", "replicasets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
    ] {
        let probe = manifests::probe(&role(group, resource, &["create"]), &world.namespace).unwrap();
        let path = format!("{}?dryRun=All", probe.path);
        let (code, said) = engineer.ask(Method::POST, &path, Some(&probe.object)).await;
        assert!(
            manifests::Probe::is_refused_by_policy(code, said["message"].as_str().unwrap_or_default()),
            "{resource}: {code} {said}"
        );
        let (code, said) = world.admin.ask(Method::POST, &path, Some(&probe.object)).await;
        assert_eq!(code, 200, "{resource}: {said}");
    }
    world.cluster.remove_bindings(&access).await.unwrap();
    world.cluster.remove_account(&access).await.unwrap();
}

#[tokio::test]
async fn without_the_session_policy_no_token_passes_its_first_use() {
    let world = world().await;
    let _policy = POLICY.write().await;
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/breakglass-session";
    let (_, kept) = world.admin.ask(Method::GET, path, None).await;
    let kept = json!({"apiVersion": kept["apiVersion"], "kind": kept["kind"],
        "metadata": {"name": "breakglass-session"}, "spec": kept["spec"]});
    world.admin.delete(path).await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    let token = world
        .cluster
        .issue(&access, &format!("{}-a", access.account), 600)
        .await
        .unwrap();
    // The API server holds on to a deleted policy for a moment.
    let mut said = String::new();
    until("the refusal", 60, async || {
        match world.cluster.use_once(&access, &token).await {
            Ok(_) => false,
            Err(error) => {
                said = error.to_string();
                true
            }
        }
    })
    .await;
    world.admin.apply(&kept).await;
    assert!(
        said.contains("was let through") && !said.contains(&token.token),
        "{said}"
    );
    // Back in force, the same token passes: the policy is waited for.
    until("the policy", 60, async || {
        world.cluster.use_once(&access, &token).await.is_ok()
    })
    .await;
    world.cluster.remove_bindings(&access).await.unwrap();
    world.cluster.remove_account(&access).await.unwrap();
}

#[tokio::test]
async fn every_change_is_watched_with_its_version() {
    let world = world().await;
    let first = world.config_map("flags", "1").await;
    let rules = world.cluster.rules(world::ROLE).await.unwrap();
    let namespaces = [world.namespace.clone()];
    let present = world.cluster.snapshot(&rules, &namespaces).await.unwrap();
    let flags = |all: &[breakglass::domain::object::ObjectVersion]| {
        all.iter().find(|one| one.key.name == "flags").cloned().unwrap()
    };
    let seen = flags(&present);
    assert_eq!(
        seen.resource_version.to_string(),
        first["metadata"]["resourceVersion"]
    );
    let object = seen.object.unwrap();
    assert_eq!(
        (&object["kind"], &object["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
    assert!(object["metadata"]["managedFields"].is_array());
    assert!(
        present
            .iter()
            .all(|one| one.key.namespace == world.namespace && one.key.resource != "secrets")
    );

    let (sender, mut receiver) = mpsc::channel(64);
    let watching = world.cluster.watch(&rules, &namespaces, sender);
    let acting = async {
        let mut next = async |wanted: &str| loop {
            let version = receiver.recv().await.expect("the watch goes on");
            if version.key.name == wanted {
                return version;
            }
        };
        assert!(
            next("flags").await.object.is_some(),
            "it starts with what is there"
        );
        let second = world.config_map("flags", "2").await;
        let seen = next("flags").await;
        assert_eq!(
            seen.resource_version.to_string(),
            second["metadata"]["resourceVersion"]
        );
        assert_eq!(seen.object.unwrap()["data"]["value"], "2");
        world.admin.delete(&world.path("configmaps/flags")).await;
        let gone = next("flags").await;
        assert!(gone.object.is_none() && gone.resource_version > seen.resource_version);
        drop(receiver);
    };
    let both = async { tokio::join!(watching, acting) };
    let (ended, ()) = tokio::time::timeout(Duration::from_mins(2), both)
        .await
        .expect("in time");
    ended.unwrap();
}

#[tokio::test]
async fn what_happened_while_the_wire_was_cut_is_seen_afterwards() {
    let world = world().await;
    world.config_map("kept", "1").await;
    world.config_map("deleted", "1").await;
    let config::Access::Kubeconfig(real) = broker_config().access else {
        panic!("a kubeconfig")
    };
    let text = std::fs::read_to_string(&real.file).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let server = &mut kubeconfig["clusters"][0]["cluster"]["server"];
    let wire = Wire::to(server.as_str().unwrap()).await;
    *server = json!(format!("https://127.0.0.1:{}", wire.port));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let mut config = broker_config();
    config.access = config::Access::Kubeconfig(config::Kubeconfig { file, context: None });
    let cluster = KubeCluster::connect("demo", &config).await.unwrap();

    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"], "resourceNames": []}]);
    let namespaces = [world.namespace.clone()];
    let (sender, mut receiver) = mpsc::channel(64);
    let watching = cluster.watch(&rules, &namespaces, sender);
    let acting = async {
        let mut present = 0;
        while present < 2 {
            let name = receiver.recv().await.unwrap().key.name;
            present += usize::from(["kept", "deleted"].contains(&name.as_str()));
        }
        wire.cut(true);
        world.config_map("kept", "2").await;
        world.admin.delete(&world.path("configmaps/deleted")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        wire.cut(false);
        let (mut kept, mut deleted) = (false, false);
        while !(kept && deleted) {
            let version = receiver.recv().await.unwrap();
            kept |= version.key.name == "kept" && version.object.is_some_and(|o| o["data"]["value"] == "2");
            deleted |= version.key.name == "deleted";
        }
        drop(receiver);
    };
    let both = async { tokio::join!(watching, acting) };
    let (ended, ()) = tokio::time::timeout(Duration::from_mins(2), both)
        .await
        .expect("in time");
    ended.unwrap();
}

#[tokio::test]
async fn many_namespaces_share_one_watch_and_nothing_else_comes_through_it() {
    let (world, other) = (world().await, world().await);
    world.config_map("flags", "1").await;
    other.config_map("flags", "1").await;
    let namespaces = [world.namespace.clone(), "a".into(), "b".into(), "c".into()];
    let rules = world.cluster.rules(world::ROLE).await.unwrap();
    let present = world.cluster.snapshot(&rules, &namespaces).await.unwrap();
    assert!(present.iter().any(|one| one.key.name == "flags"));
    assert!(present.iter().all(|one| one.key.namespace == world.namespace));
}

#[tokio::test]
async fn an_object_is_read_and_only_its_own_absence_is_none() {
    let world = world().await;
    world.config_map("flags", "1").await;
    let mut key = ObjectKey {
        group: String::new(),
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: world.namespace.clone(),
        name: "flags".into(),
    };
    assert_eq!(
        world.cluster.get(&key).await.unwrap().unwrap()["kind"],
        "ConfigMap"
    );
    assert_eq!(world.cluster.kind(&key).await.unwrap(), "ConfigMap");
    key.name = "other".into();
    assert_eq!(world.cluster.get(&key).await.unwrap(), None);
    key.version = "v9".into();
    assert!(
        world.cluster.get(&key).await.is_err(),
        "a version that is not served says nothing"
    );
    assert!(world.cluster.kind(&key).await.is_err());
    world.cluster.canary("", "breakglass-canary-00").await.unwrap();
    assert!(
        world
            .cluster
            .namespaces()
            .await
            .unwrap()
            .contains(&world.namespace)
    );
    let (_, system) = world
        .admin
        .ask(Method::GET, "/api/v1/namespaces/kube-system", None)
        .await;
    assert_eq!(
        json!(world.cluster.uid().await.unwrap()),
        system["metadata"]["uid"]
    );
}

#[tokio::test]
async fn an_autoscaler_is_found_by_its_target() {
    let world = world().await;
    let key = |name: &str| ObjectKey {
        group: "apps".into(),
        version: "v1".into(),
        resource: "deployments".into(),
        namespace: world.namespace.clone(),
        name: name.into(),
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": target});
    let object = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": world.namespace}, "spec": spec});
    world.admin.apply(&object).await;
    let found = world.cluster.autoscaler(&key("web"), "Deployment").await.unwrap();
    let wanted = format!("HorizontalPodAutoscaler {}/web", world.namespace);
    assert_eq!(found, Some(wanted));
    for (name, kind) in [("web", "StatefulSet"), ("api", "Deployment")] {
        assert_eq!(world.cluster.autoscaler(&key(name), kind).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_lists_of_a_custom_resource_are_known_by_its_own_description() {
    let world = world().await;
    let names = json!({"plural": "tills", "singular": "till", "kind": "Till"});
    let items = json!({"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]});
    let rules = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["host"], "items": items});
    let spec = json!({"type": "object", "properties": {"rules": rules}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tills.cluster-test.example"},
        "spec": {"group": "cluster-test.example", "names": names, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    world.admin.apply(&crd).await;
    let key = ObjectKey {
        group: "cluster-test.example".into(),
        version: "v1".into(),
        resource: "tills".into(),
        namespace: world.namespace.clone(),
        name: "till".into(),
    };
    // A new API is described a moment after it is served.
    until("the description", 30, async || {
        let found = world.cluster.list_keys(&key, "Till").await.unwrap();
        found == [("spec.rules".to_owned(), vec!["host".to_owned()])]
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_that_keeps_a_credential_alive_is_named() {
    let world = world().await;
    let access = world.access();
    world.cluster.lay_out(&access).await.unwrap();
    let secret = format!("{}-a", access.account);
    world.cluster.issue(&access, &secret, 600).await.unwrap();
    let path = format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/secrets/{secret}");
    world
        .admin
        .changed(&path, &json!({"metadata": {"finalizers": ["example.org/keep"]}}))
        .await;
    assert!(unsound(world.cluster.remove_secret(&secret).await).contains("example.org/keep"));
    world
        .admin
        .changed(&path, &json!({"metadata": {"finalizers": null}}))
        .await;
    world.cluster.remove_bindings(&access).await.unwrap();
    world.cluster.remove_account(&access).await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_is_down_is_unreachable_and_not_a_no() {
    let _world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let config::Access::Kubeconfig(real) = broker_config().access else {
        panic!("a kubeconfig")
    };
    let text = std::fs::read_to_string(&real.file).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let connect = async |kubeconfig: &Value| {
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let mut config = broker_config();
        config.access = config::Access::Kubeconfig(config::Kubeconfig { file, context: None });
        KubeCluster::connect("down", &config).await
    };
    kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let down = connect(&kubeconfig).await.expect("it may come up later");
    let error = down.uid().await.unwrap_err();
    assert!(matches!(error, ClusterError::Unreachable { .. }), "{error}");
    let probe = down.probe(&token).await.unwrap_err();
    assert!(!format!("{error} {probe} {down:?}").contains(&token));

    let mut unchecked = kubeconfig.clone();
    unchecked["clusters"][0]["cluster"] =
        json!({"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true});
    assert!(unsound(connect(&unchecked).await).contains("certificate"));
    kubeconfig["clusters"][0]["cluster"]["server"] = json!("http://127.0.0.1:1");
    assert!(unsound(connect(&kubeconfig).await).contains("certificate"));
}
