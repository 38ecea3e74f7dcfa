//! Watches from outside how a key dies: when the API server first refuses it, and when it first no
//! longer knows it.

use super::failure::Failure;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long a key may outlive its end before the drill calls it a failure.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often the rights are tried, until they are gone.
const RIGHTS_EVERY: Duration = Duration::from_millis(25);
/// How often the key is tried, until it is dead.
const KEY_EVERY: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
struct User {
    token: String,
}

/// A key at its API server.
#[derive(Debug)]
pub(super) struct Probe {
    http: reqwest::Client,
    server: String,
    bearer: HeaderValue,
    namespace: String,
}

impl Probe {
    /// A probe for the one key of a kubeconfig, as the broker shows it.
    pub(super) fn new(kubeconfig: &str, namespace: &str) -> Result<Self, Failure> {
        // The parser's words may quote the file, which holds the key.
        let unread = |what: &str| Failure::Missing(format!("the kubeconfig holds no readable {what}"));
        let read: Kubeconfig = serde_saphyr::from_str(kubeconfig).map_err(|_| unread("cluster and token"))?;
        let cluster = read
            .clusters
            .into_iter()
            .next()
            .ok_or_else(|| unread("cluster"))?
            .cluster;
        let token = read
            .users
            .into_iter()
            .next()
            .ok_or_else(|| unread("user"))?
            .user
            .token;
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unread("token"))?;
        bearer.set_sensitive(true);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(5));
        if let Some(data) = cluster.certificate_authority_data {
            let pem = BASE64.decode(data).map_err(|_| unread("certificate authority"))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| unread("certificate authority"))?;
            builder = builder.tls_built_in_root_certs(false);
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            http: builder
                .build()
                .map_err(|error| Failure::no_answer("the HTTP client", &error))?,
            server: cluster.server.trim_end_matches('/').to_owned(),
            bearer,
            namespace: namespace.to_owned(),
        })
    }

    /// Uses a right that the grant gave: 200, then 403.
    async fn rights(&self) -> Result<u16, Failure> {
        let url = format!(
            "{}/api/v1/namespaces/{}/pods?limit=1",
            self.server, self.namespace
        );
        self.status(self.http.get(url)).await
    }

    /// Asks who one is, which everybody may whom the API server knows: 201, then 401.
    async fn key(&self) -> Result<u16, Failure> {
        let url = format!("{}/apis/authentication.k8s.io/v1/selfsubjectreviews", self.server);
        let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        self.status(
            self.http
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .body(body),
        )
        .await
    }

    async fn status(&self, request: reqwest::RequestBuilder) -> Result<u16, Failure> {
        let answer = request.header(AUTHORIZATION, self.bearer.clone()).send().await;
        let answer = answer.map_err(|error| Failure::no_answer("the API server", &error.without_url()))?;
        Ok(answer.status().as_u16())
    }

    /// Whether the API server knows the key now.
    pub(super) async fn is_known(&self) -> Result<bool, Failure> {
        Ok((200..300).contains(&self.key().await?))
    }

    /// Watches until the first 403; returns when that was. Every answer before it was a yes.
    pub(super) async fn until_refused(&self) -> Result<Instant, Failure> {
        let begun = Instant::now();
        loop {
            match self.rights().await? {
                403 | 401 => return Ok(Instant::now()),
                200 if begun.elapsed() < PATIENCE => tokio::time::sleep(RIGHTS_EVERY).await,
                status => return Err(still("the rights still answered", status, begun)),
            }
        }
    }

    /// Watches until the first 401; returns when that was.
    pub(super) async fn until_dead(&self) -> Result<Instant, Failure> {
        let begun = Instant::now();
        loop {
            match self.key().await? {
                401 => return Ok(Instant::now()),
                200..300 if begun.elapsed() < PATIENCE => tokio::time::sleep(KEY_EVERY).await,
                status => return Err(still("the key still answered", status, begun)),
            }
        }
    }
}

fn still(what: &str, status: u16, begun: Instant) -> Failure {
    Failure::Wrong(format!(
        "{what} {status} after {:.1} s",
        begun.elapsed().as_secs_f64()
    ))
}
