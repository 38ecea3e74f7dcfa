//! What a channel must do, and which channels are configured.

use super::mail::Mailer;
use super::webhook::WebhookSender;
use crate::config::Config;
use crate::domain::notice::Notice;
use async_trait::async_trait;
use chrono::TimeDelta;
use std::collections::BTreeMap;

/// Why a notice did not reach its channel. No secrets and no addresses beyond the channel's own.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeliveryError {
    /// It may work later; it may also have arrived.
    #[error("{why}")]
    Later {
        /// Why.
        why: String,
        /// How long the receiver asked to wait.
        after: Option<TimeDelta>,
    },
    /// It will not work until somebody changes something.
    #[error("{0}")]
    Never(String),
}

impl DeliveryError {
    /// It may work later, and nobody said when.
    #[must_use]
    pub fn later(why: impl Into<String>) -> Self {
        Self::Later {
            why: why.into(),
            after: None,
        }
    }

    /// How long the receiver asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<TimeDelta> {
        match self {
            Self::Later { after, .. } => *after,
            Self::Never(_) => None,
        }
    }
}

/// Sends notices.
///
/// A notice may be sent twice when an answer was lost: it carries its own id on every channel
/// (`Message-ID`, `webhook-id`), so that the receiver can tell.
#[async_trait]
pub trait Notifier: Send + Sync + std::fmt::Debug {
    /// Sends `notice` by `channel` (`mail:ADDRESS`, `webhook:NAME`); `checkpoint` is the ledger's newest.
    async fn send(&self, notice: &Notice, channel: &str, checkpoint: &str) -> Result<(), DeliveryError>;
}

/// The configured channels.
#[derive(Debug)]
pub struct Channels {
    mail: Option<Mailer>,
    webhooks: BTreeMap<String, WebhookSender>,
}

impl Channels {
    /// The channels of `config`.
    ///
    /// # Errors
    /// In words: a sender address, host or secret that cannot be used.
    pub fn new(config: &Config) -> Result<Self, String> {
        let base = config.server.public_url.base().to_owned();
        let mail = config
            .notices
            .smtp
            .as_ref()
            .map(|smtp| Mailer::new(smtp, &base))
            .transpose()?;
        let mut webhooks = BTreeMap::new();
        for webhook in &config.notices.webhooks {
            webhooks.insert(webhook.name.clone(), WebhookSender::new(webhook, &base)?);
        }
        Ok(Self { mail, webhooks })
    }
}

#[async_trait]
impl Notifier for Channels {
    async fn send(&self, notice: &Notice, channel: &str, checkpoint: &str) -> Result<(), DeliveryError> {
        let never = |why: &str| Err(DeliveryError::Never(why.to_owned()));
        match channel.split_once(':') {
            Some(("mail", address)) => match &self.mail {
                Some(mailer) => mailer.send(notice, address, checkpoint).await,
                None => never("mail is not configured any more"),
            },
            Some(("webhook", name)) => match self.webhooks.get(name) {
                Some(sender) => sender.send(notice, checkpoint).await,
                None => never("this webhook is not configured any more"),
            },
            _ => never("no such channel"),
        }
    }
}
