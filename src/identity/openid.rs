//! [`Identity`] over `OpenID` Connect: authorization code with PKCE S256, as a confidential client.

use super::claims::{self, Names};
use super::flow::{Asking, Begin, CallbackParams, Flow, Purpose};
use super::freshness::{self, SIGN_IN_WINDOW_S};
use super::provider::{Metadata, Provider, chain};
use super::refusal::{Refusal, tame};
use super::settings::{Settings, SettingsError};
use super::token::{self, Expected, Verified};
use super::{Identity, SignedIn};
use crate::clock::Time;
use chrono::TimeDelta;
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken,
};
use openidconnect::{
    AuthType, AuthenticationContextClass, AuthorizationCode, ClientId, ClientSecret, CsrfToken, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Nobody needs longer at the provider, second factor and all; a flow left lying must not work tomorrow.
const PATIENCE: TimeDelta = TimeDelta::minutes(30);

/// The sign-in provider of the configuration.
#[derive(Debug)]
pub struct OpenIdConnect {
    settings: Settings,
    redirect_url: RedirectUrl,
    provider: Provider,
}

impl OpenIdConnect {
    /// Checks `settings` and makes the HTTP client; does not call the provider.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let redirect_url =
            RedirectUrl::new(settings.redirect_url.clone()).map_err(|error| SettingsError::NotAnAddress {
                field: "redirect_url",
                value: settings.redirect_url.clone(),
                why: error.to_string(),
            })?;
        let provider = Provider::new(&settings)?;
        Ok(Self {
            settings,
            redirect_url,
            provider,
        })
    }

    fn authorize_url(&self, metadata: &Metadata, flow: &Flow) -> url::Url {
        let client = CoreClient::from_provider_metadata(metadata.clone(), self.client_id(), None)
            .set_redirect_uri(self.redirect_url.clone());
        let (state, nonce) = (flow.state.clone(), flow.nonce.clone());
        let verifier = PkceCodeVerifier::new(flow.pkce_verifier.clone());
        let window_s = flow.purpose.window_s().unwrap_or(SIGN_IN_WINDOW_S);
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(
                self.settings
                    .scopes
                    .iter()
                    .filter(|scope| *scope != "openid")
                    .cloned()
                    .map(Scope::new),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            // Always sent: only then does the standard oblige the provider to say when they signed in. Within
            // the window it answers without asking anybody, beyond it, it asks: one round trip either way.
            .set_max_age(Duration::from_secs(u64::from(window_s)));
        if window_s == 0 {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
        for acr in self.levels(&flow.purpose) {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        request.url().0
    }

    /// The levels of authentication that are enough for `purpose`; none where any is.
    fn levels(&self, purpose: &Purpose) -> &[String] {
        match purpose {
            Purpose::SignIn => &[],
            Purpose::StepUp { .. } | Purpose::Approve { .. } => {
                self.settings.acr_values.as_deref().unwrap_or_default()
            }
        }
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.settings.client_id.clone())
    }

    /// Exchanges the code for the raw ID token.
    async fn exchange(
        &self,
        metadata: &Metadata,
        flow: &Flow,
        code: &str,
        now: Time,
    ) -> Result<String, Refusal> {
        let secret = ClientSecret::new(self.settings.client_secret.reveal().to_owned());
        let mut client = CoreClient::from_provider_metadata(metadata.clone(), self.client_id(), Some(secret))
            .set_redirect_uri(self.redirect_url.clone());
        let methods = metadata.token_endpoint_auth_methods_supported();
        if methods.is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        }) {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let unreachable = |why| self.provider.unreachable("confirming the sign-in", why, now);
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| unreachable(tame(&error.to_string())))?
            .set_pkce_verifier(PkceCodeVerifier::new(flow.pkce_verifier.clone()))
            .request_async(&self.provider.wire)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(said) => Refusal::CodeRefused(tame(&said.to_string())),
                RequestTokenError::Request(error) => unreachable(chain(&error)),
                // Never the body: it may hold tokens.
                RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                    unreachable("its answer is not what the standard asks for".to_owned())
                }
            })?;
        self.provider.answered();
        // The access token is dropped unused: everything needed is in the signed token.
        answer
            .id_token()
            .map(CoreIdToken::to_string)
            .ok_or(Refusal::Incomplete)
    }

    async fn verify(
        &self,
        mut metadata: Arc<Metadata>,
        raw: &str,
        flow: &Flow,
        now: Time,
    ) -> Result<Verified, Refusal> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &flow.nonce,
            issued_after: flow.asked_at,
            at: now,
        };
        match token::verify(raw, metadata.jwks(), &expected) {
            Err(fault) if fault.may_be_a_new_key() => {
                metadata = self.provider.newer_than(&metadata, now).await?;
                Ok(token::verify(raw, metadata.jwks(), &expected)?)
            }
            other => Ok(other?),
        }
    }

    /// Checks the level of authentication the provider signed, where one was asked for.
    fn check_level(&self, purpose: &Purpose, verified: &Verified) -> Result<(), Refusal> {
        let levels = self.levels(purpose);
        let got = verified.claims.get("acr").and_then(serde_json::Value::as_str);
        if levels.is_empty() || got.is_some_and(|got| levels.iter().any(|level| level == got)) {
            return Ok(());
        }
        Err(Refusal::TooWeak {
            asked: levels.join(", "),
            got: tame(got.unwrap_or("none")),
        })
    }
}

#[async_trait::async_trait]
impl Identity for OpenIdConnect {
    async fn begin(&self, asking: Asking, now: Time) -> Result<Begin, Refusal> {
        let metadata = self.provider.metadata(now).await?;
        let flow = Flow::new(asking, now);
        Ok(Begin {
            authorize_url: self.authorize_url(&metadata, &flow),
            flow,
        })
    }

    async fn finish(&self, flow: &Flow, params: &CallbackParams, now: Time) -> Result<SignedIn, Refusal> {
        let state = params.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(flow.state.as_bytes())) {
            return Err(Refusal::StateMismatch);
        }
        if now - flow.asked_at > PATIENCE {
            return Err(Refusal::TookTooLong);
        }
        let metadata = self.provider.metadata(now).await?;
        let names_itself = metadata
            .additional_metadata()
            .authorization_response_iss_parameter_supported;
        match &params.iss {
            Some(iss) if *iss != self.settings.issuer => return Err(Refusal::WrongProvider),
            None if names_itself => return Err(Refusal::WrongProvider),
            _ => {}
        }
        if let Some(error) = &params.error {
            return Err(Refusal::ProviderRefused(tame(
                params.error_description.as_deref().unwrap_or(error),
            )));
        }
        let code = params
            .code
            .as_deref()
            .filter(|code| !code.is_empty())
            .ok_or(Refusal::Incomplete)?;
        let raw = self.exchange(&metadata, flow, code, now).await?;
        let verified = self.verify(metadata, &raw, flow, now).await?;

        let window_s = flow.purpose.window_s().unwrap_or(SIGN_IN_WINDOW_S);
        let auth_time = freshness::check(verified.auth_time, window_s, flow.asked_at, now)?;
        self.check_level(&flow.purpose, &verified)?;
        let person = claims::person(
            &verified.claims,
            Names {
                person: &self.settings.person_claim,
                groups: &self.settings.groups_claim,
                forge_login: self.settings.forge_login_claim.as_deref(),
            },
        )?;
        // Otherwise whoever sits at an open session could step it up with an account of their own.
        if flow
            .account
            .as_ref()
            .is_some_and(|one| one.issuer != person.issuer || one.subject != person.subject)
        {
            return Err(Refusal::OtherAccount);
        }
        let sid = verified
            .claims
            .get("sid")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned);
        Ok(SignedIn {
            person,
            auth_time,
            id_token_raw: raw,
            jwk: verified.jwk,
            sid,
        })
    }

    async fn logout_url(&self, id_token_hint: &str, return_to: &url::Url, now: Time) -> Option<url::Url> {
        let metadata = self.provider.metadata(now).await.ok()?;
        let mut address = metadata.additional_metadata().end_session_endpoint.clone()?;
        address
            .query_pairs_mut()
            .append_pair("id_token_hint", id_token_hint)
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", return_to.as_str());
        Some(address)
    }
}
