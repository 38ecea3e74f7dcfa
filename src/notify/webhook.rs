//! A signed webhook: Standard Webhooks headers over a CloudEvents 1.0 body (structured mode).

use super::addresses;
use super::contract::DeliveryError;
use crate::causes::chain;
use crate::config::Webhook as Settings;
use crate::domain::notice::Notice;
use chrono::TimeDelta;
use http::{HeaderMap, header};
use serde_json::json;
use standardwebhooks::Webhook;
use std::time::Duration;

/// Sends to one receiver.
pub struct WebhookSender {
    url: url::Url,
    signer: Webhook,
    allow_private: bool,
    base: String,
}

impl std::fmt::Debug for WebhookSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSender")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

impl WebhookSender {
    /// A sender for `settings`; `base` is the broker's own address.
    ///
    /// # Errors
    /// In words: the signing secret cannot be used.
    pub fn new(settings: &Settings, base: &str) -> Result<Self, String> {
        let signer = Webhook::new(settings.secret.expose())
            .map_err(|_| format!("webhook {}: its secret must be whsec_ and base64", settings.name))?;
        Ok(Self {
            url: settings.url.url().clone(),
            signer,
            allow_private: settings.allow_private,
            base: base.to_owned(),
        })
    }

    /// Sends one notice.
    ///
    /// # Errors
    /// No 2xx answer.
    pub async fn send(&self, notice: &Notice, checkpoint: &str) -> Result<(), DeliveryError> {
        let later = |why: String| DeliveryError::later(why);
        let addresses = addresses::resolve(&self.url, self.allow_private).await?;
        let body = self.body(notice, checkpoint);
        let id = notice.id.to_string();
        let at = notice.at.timestamp();
        let signature = self
            .signer
            .sign(&id, at, body.as_bytes())
            .map_err(|_| DeliveryError::Never("the notice could not be signed".to_owned()))?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs(self.url.host_str().unwrap_or_default(), &addresses)
            .build()
            .map_err(|error| later(error.to_string()))?;
        let answer = client
            .post(self.url.clone())
            .header("content-type", "application/cloudevents+json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            // The address may carry a token in its path: it is not repeated.
            .map_err(|error| later(chain(&error.without_url())))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(DeliveryError::Later {
            why: format!("the receiver answered {status}"),
            after: wait_asked(answer.headers()),
        })
    }

    fn body(&self, notice: &Notice, checkpoint: &str) -> String {
        let facts: serde_json::Map<_, _> = notice
            .facts
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        json!({
            "specversion": "1.0",
            "id": notice.id,
            "source": self.base,
            "type": format!("breakglass.{}.v1", notice.event),
            "time": notice.at.to_rfc3339(),
            "subject": notice.path.trim_start_matches('/'),
            "datacontenttype": "application/json",
            "data": {
                "title": notice.title,
                "text": notice.text,
                "url": format!("{}{}", self.base, notice.path),
                "request": notice.request,
                "grant": notice.grant,
                "facts": facts,
                "checkpoint": checkpoint,
            },
        })
        .to_string()
    }
}

/// How long the receiver asks to wait (`Retry-After` in seconds, RFC 9110; as a date it is not read).
fn wait_asked(headers: &HeaderMap) -> Option<TimeDelta> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    TimeDelta::try_seconds(seconds).filter(|wait| *wait >= TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_be_left_alone_is_read_and_nonsense_is_not() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            wait_asked(&headers)
        };
        assert_eq!(asked(" 17 "), Some(TimeDelta::seconds(17)));
        for nonsense in ["-1", "99999999999999999999", "9223372036854775807", "soon", ""] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        assert_eq!(wait_asked(&HeaderMap::new()), None);
    }
}
