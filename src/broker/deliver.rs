//! Notices leave the house, and whether they arrived is written down.

use super::request::skip_conflict;
use super::{Broker, BrokerError, Outcome, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::notice::Delivery;
use crate::domain::transition::{About, Transition, Write, record};
use crate::ids::NoticeId;
use crate::notify::DeliveryError;
use chrono::TimeDelta;
use serde_json::json;

/// After so many failures the feed shows it; it is tried on.
const SHOWN_AFTER: u32 = 5;
/// It is tried for so long.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

impl Broker {
    /// Job: sends one notice by one channel. `attempts` failed before.
    ///
    /// # Errors
    /// It failed and is tried again.
    pub async fn deliver(&self, id: NoticeId, channel: &str, attempts: u32) -> Result<Outcome> {
        let Some(notice) = self.store.notice(id).await? else {
            return Ok(Outcome::Done);
        };
        let checkpoint = self.store.head().await?.checkpoint;
        let sent = self.notifier.send(&notice, channel, &checkpoint).await;
        let now = self.now();
        let delivery = Delivery {
            notice: id,
            channel: channel.to_owned(),
            title: notice.title.clone(),
            delivered_at: sent.is_ok().then_some(now),
            attempts: attempts + 1,
            error: sent.as_ref().err().map(ToString::to_string),
            undeliverable: sent.is_err(),
            settled: None,
        };
        let about = About {
            request: notice.request,
            grant: notice.grant,
            ..About::default()
        };
        let facts = json!({"notice": id, "channel": channel, "event": notice.event, "attempts": attempts + 1,
            "error": delivery.error, "checkpoint": checkpoint});
        match sent {
            Ok(()) => {
                let sentence = format!("Told {channel}: {}", notice.title);
                let entry = record(EntryKind::NoticeDelivered, now, about, sentence, facts);
                self.commit(Transition::new(entry).write(Write::Delivery(delivery)))
                    .await?;
                Ok(Outcome::Done)
            }
            Err(error) => {
                let over = matches!(error, DeliveryError::Never(_)) || now - notice.at > PATIENCE;
                if over || attempts + 1 == SHOWN_AFTER {
                    let sentence = format!("Could not tell {channel}: {}: {error}", notice.title);
                    let entry = record(EntryKind::NoticeUndeliverable, now, about, sentence, facts);
                    let write = Write::Delivery(delivery);
                    skip_conflict(self.commit(Transition::new(entry).write(write)).await)?;
                }
                if over {
                    Ok(Outcome::Done)
                } else {
                    Err(BrokerError::Undelivered {
                        channel: channel.to_owned(),
                        why: error.to_string(),
                        after: error.retry_after(),
                    })
                }
            }
        }
    }
}
