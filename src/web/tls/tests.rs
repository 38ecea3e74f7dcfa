//! Client certificates over real TLS, as API servers present them and browsers do not.

use super::{Keys, TlsError};
use crate::config::fixture::{Authority, Leaf};
use crate::config::{Config, Secret, Tls};
use crate::web::hooks::tests::batch;
use crate::web::lists::fixture::Stage;
use crate::web::router;
use axum_server::Handle;
use http::StatusCode;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A service that ends TLS itself, with the authorities of two clusters.
struct Listening {
    at: SocketAddr,
    keys: Keys,
    handle: Handle<SocketAddr>,
    server: Authority,
    folder: TempDir,
    _stage: Stage,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// Listens with `authorities` by cluster; `change` may add tokens.
async fn listening(authorities: &[(&str, &Authority)], change: impl FnOnce(&mut Config)) -> Listening {
    let folder = tempfile::tempdir().unwrap();
    let server = Authority::new("the service's");
    let own = server.server();
    put(folder.path(), "tls.crt", &own.chain_pem);
    put(folder.path(), "tls.key", &own.key_pem);
    let tls = Tls {
        cert_file: folder.path().join("tls.crt"),
        key_file: folder.path().join("tls.key"),
    };
    let stage = Stage::with(|config| {
        let cluster = config.clusters["production"].clone();
        for (name, authority) in authorities {
            let file = folder.path().join(format!("{name}.crt"));
            std::fs::write(&file, authority.pem()).unwrap();
            let mut cluster = cluster.clone();
            cluster.audit.token = None;
            cluster.audit.client_ca_file = Some(file);
            config.clusters.insert((*name).to_owned(), cluster);
        }
        change(config);
    })
    .await;
    let app = stage.app.clone();
    let keys = Keys::read(&app.broker.config, &tls, &app.authorities).unwrap();
    let handle = Handle::new();
    let bound = axum_server::bind("127.0.0.1:0".parse().unwrap())
        .acceptor(keys.acceptor())
        .handle(handle.clone());
    let service = router(app).unwrap().into_make_service();
    tokio::spawn(async move { bound.serve(service).await.unwrap() });
    Listening {
        at: handle.listening().await.unwrap(),
        keys,
        handle,
        server,
        folder,
        _stage: stage,
    }
}

impl Listening {
    /// A client that presents `leaf`.
    fn client(&self, leaf: Option<&Leaf>) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.server.pem().as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder()
            .tls_built_in_root_certs(false)
            .add_root_certificate(root);
        if let Some(leaf) = leaf {
            let pem = format!("{}{}", leaf.key_pem, leaf.chain_pem);
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    /// What the hook of `cluster` answers; nothing when the handshake already failed.
    async fn send(&self, client: &reqwest::Client, cluster: &str, token: &str) -> Option<StatusCode> {
        let sent = client
            .post(self.url(&format!("/hooks/audit/{cluster}")))
            .bearer_auth(token)
            .body(batch(1))
            .send()
            .await;
        sent.ok().map(|answer| answer.status())
    }

    async fn present(&self, leaf: &Leaf, cluster: &str) -> Option<StatusCode> {
        self.send(&self.client(Some(leaf)), cluster, "").await
    }
}

#[tokio::test]
async fn a_certificate_opens_the_hook_of_its_own_cluster_alone() {
    let (production, staging) = (Authority::new("production"), Authority::new("staging"));
    let here = listening(&[("production", &production), ("staging", &staging)], |_| {}).await;
    let own = production.client(|_| {});
    assert_eq!(here.present(&own, "production").await, Some(StatusCode::OK));
    let others = staging.client(|_| {});
    assert_eq!(here.present(&others, "staging").await, Some(StatusCode::OK));
    for (leaf, cluster) in [(&others, "production"), (&own, "staging"), (&own, "elsewhere")] {
        let answer = here.present(leaf, cluster).await;
        assert_eq!(answer, Some(StatusCode::UNAUTHORIZED), "{cluster}");
    }
    let none = here.send(&here.client(None), "production", TOKEN).await;
    assert_eq!(none, Some(StatusCode::UNAUTHORIZED), "a token is no certificate");
}

#[tokio::test]
async fn what_is_not_for_clients_or_not_valid_now_opens_nothing() {
    let production = Authority::new("production");
    let here = listening(&[("production", &production)], |_| {}).await;
    let expired = production.client(|params| params.not_after = date_time_ymd(2025, 1, 1));
    assert_eq!(here.present(&expired, "production").await, None);
    let server = production.client(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(here.present(&server, "production").await, None);
    let unknown = Authority::new("production").client(|_| {});
    assert_eq!(
        here.present(&unknown, "production").await,
        None,
        "the same name, another key"
    );
    let nameless = production.client(|params| params.extended_key_usages.clear());
    assert_eq!(
        here.present(&nameless, "production").await,
        Some(StatusCode::UNAUTHORIZED),
        "a certificate of no stated use"
    );
    // The service's clock stands in March 2026, this machine's does not: a connection may be older than
    // its certificate's last day.
    let later = production.client(|params| params.not_before = date_time_ymd(2026, 4, 1));
    assert_eq!(
        here.present(&later, "production").await,
        Some(StatusCode::UNAUTHORIZED),
        "not valid yet by the service's clock"
    );
}

#[tokio::test]
async fn a_chain_through_an_authority_below_is_followed() {
    let (production, staging) = (Authority::new("production"), Authority::new("staging"));
    let here = listening(&[("production", &production), ("staging", &staging)], |_| {}).await;
    let below = production.below("issues for production");
    let leaf = below.client(|_| {}).through(&below);
    assert_eq!(here.present(&leaf, "production").await, Some(StatusCode::OK));
    assert_eq!(
        here.present(&leaf, "staging").await,
        Some(StatusCode::UNAUTHORIZED)
    );
    let nameless = below
        .client(|params| params.extended_key_usages.clear())
        .through(&below);
    assert_eq!(
        here.present(&nameless, "production").await,
        Some(StatusCode::UNAUTHORIZED)
    );
}

#[tokio::test]
async fn where_both_are_configured_both_must_fit() {
    let production = Authority::new("production");
    let both = |config: &mut Config| {
        let sender = &mut config.clusters.get_mut("production").unwrap().audit;
        sender.token = Some(Secret::for_test(TOKEN));
    };
    let here = listening(&[("production", &production)], both).await;
    let leaf = production.client(|_| {});
    let (with, without) = (here.client(Some(&leaf)), here.client(None));
    let fits = here.send(&with, "production", TOKEN).await;
    assert_eq!(fits, Some(StatusCode::OK));
    for (client, token) in [(&with, "wrong"), (&with, ""), (&without, TOKEN)] {
        let answer = here.send(client, "production", token).await;
        assert_eq!(answer, Some(StatusCode::UNAUTHORIZED), "{token}");
    }
}

/// Stands where a browser would ask its user for a certificate.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0
            .lock()
            .unwrap()
            .extend(hints.iter().map(|hint| hint.to_vec()));
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a browser is asked for, and what it is answered without it.
async fn as_a_browser(here: &Listening) -> (Vec<Vec<u8>>, StatusCode) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(here.server.der()).unwrap();
    let asked = Arc::new(Asked::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&asked) as Arc<dyn ResolvesClientCert>);
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .build()
        .unwrap();
    let answer = client.get(here.url("/healthz")).send().await.unwrap();
    let hints = std::mem::take(&mut *asked.0.lock().unwrap());
    (hints, answer.status())
}

#[tokio::test]
async fn people_are_asked_for_no_certificate_but_one_of_a_clusters_authority() {
    let production = Authority::new("production");
    let here = listening(&[("production", &production)], |_| {}).await;
    let (hints, status) = as_a_browser(&here).await;
    assert_eq!(status, StatusCode::OK);
    let der = production.der();
    let own = webpki::anchor_from_trusted_cert(&der).unwrap();
    assert_eq!(hints.len(), 1);
    assert!(
        hints[0].ends_with(&own.subject),
        "an empty list would make browsers offer every certificate they hold"
    );
    let (hints, status) = as_a_browser(&listening(&[], |_| {}).await).await;
    assert_eq!((hints.len(), status), (0, StatusCode::OK));
}

#[tokio::test]
async fn changed_files_hold_at_once_and_broken_ones_not_at_all() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let mut here = listening(&[("production", &first)], |_| {}).await;
    let (old, new) = (first.client(|_| {}), second.client(|_| {}));
    let open = here.client(Some(&old));
    assert_eq!(here.send(&open, "production", "").await, Some(StatusCode::OK));

    put(
        here.folder.path(),
        "production.crt",
        "-----BEGIN CERTIFICATE-----\nhalf",
    );
    here.keys.look();
    assert_eq!(here.send(&open, "production", "").await, Some(StatusCode::OK));

    put(here.folder.path(), "production.crt", &second.pem());
    here.keys.look();
    assert_eq!(
        here.send(&open, "production", "").await,
        Some(StatusCode::UNAUTHORIZED),
        "the connection is older than the change"
    );
    assert_eq!(here.present(&new, "production").await, Some(StatusCode::OK));
    assert_eq!(here.present(&old, "production").await, None);

    let renewed = here.server.server();
    put(here.folder.path(), "tls.crt", &renewed.chain_pem);
    here.keys.look();
    assert_eq!(
        here.present(&new, "production").await,
        Some(StatusCode::OK),
        "a certificate without its key is not taken"
    );
}

#[tokio::test]
async fn a_key_is_never_quoted() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "tls.crt", &Authority::new("a").server().chain_pem);
    put(
        folder.path(),
        "tls.key",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n",
    );
    let tls = Tls {
        cert_file: folder.path().join("tls.crt"),
        key_file: folder.path().join("tls.key"),
    };
    let error = Keys::read(&stage.app.broker.config, &tls, &stage.app.authorities)
        .err()
        .unwrap();
    assert!(matches!(error, TlsError::Certificate { .. }));
    assert!(!error.to_string().contains("c2Vjcm"), "{error}");
}
