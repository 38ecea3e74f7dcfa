//! What the provider says of itself: its endpoints and keys, fetched when first needed, kept, and
//! fetched again when old or when a token names an unknown key.

use super::refusal::{Refusal, tame};
use super::settings::{Settings, SettingsError, is_private};
use crate::clock::Time;
use chrono::TimeDelta;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AsyncHttpClient, HttpRequest, HttpResponse, IssuerUrl, ProviderMetadata,
};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;

/// Metadata beyond `OpenID` Connect Discovery.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Extra {
    /// RP-initiated logout.
    pub end_session_endpoint: Option<url::Url>,
    /// RFC 9207: the answer always names the provider.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

pub(super) type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Fetched again after this long.
const FRESH: TimeDelta = TimeDelta::minutes(15);
/// Used, when the provider cannot be reached, for at most this long: a key it took back must die at some time.
const USABLE: TimeDelta = TimeDelta::hours(6);
/// Not asked more often than this while it is down, nor for the sake of tokens with unknown keys.
const BETWEEN: TimeDelta = TimeDelta::seconds(3);
/// The largest answer read, in bytes.
const LARGEST: usize = 1 << 20;

/// Why a request to the provider gave nothing.
#[derive(Debug, Error)]
pub(super) enum WireError {
    /// The network, TLS or HTTP.
    #[error("{0}")]
    Http(String),
    /// More than a megabyte.
    #[error("the answer is too large")]
    TooLarge,
    /// It is out of order, or has too much to do.
    #[error("it answered {0}")]
    OutOfOrder(u16),
    /// A request that cannot be made.
    #[error("the request cannot be made")]
    Request,
}

/// One HTTP client for one provider.
#[derive(Debug, Clone)]
pub(super) struct Wire(reqwest::Client);

impl Wire {
    /// A client that follows no redirects (a provider that redirects these calls would choose where
    /// our secret goes) and waits for nobody longer than ten seconds.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A code is redeemed once: on a kept connection that the provider closes just then, nobody knows whether
            // it was, and somebody has to sign in again. Sign-ins are rare enough for a connection each.
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(10));
        if let Some(pem) = &settings.extra_ca_pem {
            let found = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| SettingsError::Certificate(error.to_string()))?;
            if found.is_empty() {
                return Err(SettingsError::Certificate("it holds none".to_owned()));
            }
            for certificate in found {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder
            .build()
            .map(Self)
            .map_err(|error| SettingsError::Client(error.to_string()))
    }

    /// Sends `request` and reads a bounded answer.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WireError> {
        let request = reqwest::Request::try_from(request).map_err(|_| WireError::Request)?;
        let mut answer = self
            .0
            .execute(request)
            .await
            .map_err(|error| WireError::Http(deepest(&error)))?;
        let status = answer.status();
        // No answer of the standard's: its body says nothing about what was asked.
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(WireError::OutOfOrder(status.as_u16()));
        }
        let mut builder = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            builder = builder.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| WireError::Http(deepest(&error)))?
        {
            if body.len() + chunk.len() > LARGEST {
                return Err(WireError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        builder.body(body).map_err(|_| WireError::Request)
    }
}

impl<'c> AsyncHttpClient<'c> for Wire {
    type Error = WireError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WireError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// The innermost cause, which says what happened ("connection refused"), without the address.
fn deepest(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    tame(&cause.to_string())
}

/// An error with its causes; what a provider wrote into it is made harmless.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    tame(&crate::causes::chain(error))
}

#[derive(Debug, Default)]
struct Kept {
    metadata: Option<(Arc<Metadata>, Time)>,
    failed: Option<(Refusal, Time)>,
    /// When newer keys were last asked for before the old ones were due.
    hurried: Option<Time>,
}

impl Kept {
    /// What is known, if it was fetched less than `longest` ago.
    fn current(&self, now: Time, longest: TimeDelta) -> Option<Arc<Metadata>> {
        let (metadata, fetched) = self.metadata.as_ref()?;
        (now - *fetched < longest).then(|| Arc::clone(metadata))
    }
}

/// The provider, known or not yet.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: IssuerUrl,
    pub(super) wire: Wire,
    kept: Mutex<Kept>,
    /// Since when no request gave anything.
    failing: std::sync::Mutex<Option<Time>>,
}

impl Provider {
    /// Asks nobody anything yet: a provider that is down must not keep the broker from starting.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let issuer =
            IssuerUrl::new(settings.issuer.clone()).map_err(|error| SettingsError::NotAnAddress {
                field: "issuer",
                value: settings.issuer.clone(),
                why: error.to_string(),
            })?;
        Ok(Self {
            issuer,
            wire: Wire::new(settings)?,
            kept: Mutex::default(),
            failing: std::sync::Mutex::default(),
        })
    }

    /// A request to it gave nothing at `now`, as maybe others before.
    pub(super) fn unreachable(&self, during: &'static str, why: String, now: Time) -> Refusal {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *failing.get_or_insert(now);
        Refusal::ProviderUnreachable { during, why, since }
    }

    /// It gave a usable answer.
    pub(super) fn answered(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The same, newer than `seen` where there is a newer one: for a token whose key is not among those.
    pub(super) async fn newer_than(&self, seen: &Arc<Metadata>, now: Time) -> Result<Arc<Metadata>, Refusal> {
        let mut kept = self.kept.lock().await;
        let newer = kept
            .metadata
            .as_ref()
            .is_some_and(|(metadata, _)| !Arc::ptr_eq(metadata, seen));
        if newer || kept.hurried.is_some_and(|at| (now - at).abs() < BETWEEN) {
            return Ok(kept.current(now, USABLE).unwrap_or_else(|| Arc::clone(seen)));
        }
        kept.hurried = Some(now);
        self.refresh(&mut kept, now).await
    }

    /// The provider's metadata and keys, fetched if they are missing or old.
    ///
    /// One fetch at a time: the lock is held meanwhile, so that a crowd at the door costs one request.
    pub(super) async fn metadata(&self, now: Time) -> Result<Arc<Metadata>, Refusal> {
        let mut kept = self.kept.lock().await;
        match kept.current(now, FRESH) {
            Some(current) => Ok(current),
            None => self.refresh(&mut kept, now).await,
        }
    }

    async fn refresh(&self, kept: &mut Kept, now: Time) -> Result<Arc<Metadata>, Refusal> {
        let lately = kept.failed.as_ref().filter(|(_, at)| (now - *at).abs() < BETWEEN);
        let refusal = if let Some((refusal, _)) = lately {
            refusal.clone()
        } else {
            match self.fetch(now).await {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    kept.metadata = Some((Arc::clone(&metadata), now));
                    kept.failed = None;
                    return Ok(metadata);
                }
                Err(refusal) => {
                    tracing::warn!(issuer = self.issuer.as_str(), why = %refusal, "sign-in provider unreachable");
                    kept.failed = Some((refusal.clone(), now));
                    refusal
                }
            }
        };
        kept.current(now, USABLE).ok_or(refusal)
    }

    async fn fetch(&self, now: Time) -> Result<Metadata, Refusal> {
        let unreachable = |why| self.unreachable("reading its description", why, now);
        let metadata = Metadata::discover_async(self.issuer.clone(), &self.wire)
            .await
            .map_err(|error| unreachable(chain(&error)))?;
        let token_endpoint = metadata.token_endpoint().map(|endpoint| endpoint.url().clone());
        let endpoints = [
            Some(metadata.authorization_endpoint().url().clone()),
            token_endpoint,
        ];
        for endpoint in endpoints {
            // Our secret and the person's password go there.
            match endpoint {
                Some(endpoint) if is_private(&endpoint) => {}
                Some(endpoint) => return Err(unreachable(format!("its endpoint {endpoint} is not https"))),
                None => return Err(unreachable("it names no token endpoint".to_owned())),
            }
        }
        self.answered();
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::settings::tests::settings;

    #[test]
    fn extra_authorities_must_be_certificates() {
        for pem in [
            &b"not a certificate"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let found = Wire::new(&Settings {
                extra_ca_pem: Some(pem.to_vec()),
                ..settings()
            });
            assert!(found.is_err(), "{}", String::from_utf8_lossy(pem));
        }
    }

    #[tokio::test]
    async fn a_provider_that_is_down_keeps_nobody_from_starting_and_is_named_plainly() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let down = Settings {
            issuer: format!("http://{nobody}"),
            ..settings()
        };
        let provider = Provider::new(&down).unwrap();
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let refusal = provider.metadata(now).await.unwrap_err();
        assert!(refusal.to_string().contains("refused"), "{refusal}");
        assert_eq!(refusal.kind(), "provider_unreachable");
    }
}
