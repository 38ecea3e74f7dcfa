//! `POST /hooks/forge`: the forge says that something moved. Only a hint: whoever it wakes reads the
//! pull request again, so a forged or repeated one costs a look and changes nothing.

use super::intake::{Bounds, Purse, only, take};
use crate::broker::{Broker, Result as BrokerResult};
use crate::domain::job::{Job, JobKind};
use crate::domain::transition::About;
use crate::forge::webhook::{self, Delivery, WebhookEvent};
use crate::store::FollowUpFilter;
use crate::web::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// GitHub sends 25 MB at most, and waits 10 s for an answer.
const BODY: usize = 25 << 20;
const READ: Duration = Duration::from_secs(8);
/// How many deliveries are remembered: a day of a busy organisation.
const REMEMBERED: usize = 10_000;
/// A wrong signature is looked into once in so many seconds: whoever sends them must not make work.
const FINDING_EVERY: i64 = 60;

/// What the receiver keeps between requests.
#[derive(Debug)]
pub struct Receiver {
    purse: Purse,
    /// Ids of deliveries whose work is done, oldest first. Lost at a restart: a second look is harmless.
    done: Mutex<VecDeque<String>>,
    passing: Arc<AtomicBool>,
    last_finding: AtomicI64,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            purse: Purse::of(4 * BODY),
            done: Mutex::default(),
            passing: Arc::default(),
            last_finding: AtomicI64::new(0),
        }
    }
}

/// Takes one delivery.
pub async fn receive(
    State(app): State<App>,
    Extension(receiver): Extension<Arc<Receiver>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let length = only(&headers, "content-length").and_then(|value| value.parse().ok());
    let bounds = Bounds {
        sent: BODY,
        unpacked: BODY,
        room: Duration::from_secs(2),
    };
    let taken = match timeout(READ, take(body, length, &receiver.purse, bounds)).await {
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => return (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n").into_response(),
    };
    let text = |name: &str| only(&headers, name);
    let secrets = [crate::forge::Secret::new(
        app.broker.config.forge.webhook_secret.expose(),
    )];
    if let Err(error) = webhook::verify(&secrets, text("x-hub-signature-256"), &taken.bytes) {
        tracing::warn!(%error, "a forge delivery was refused");
        receiver.report(&app.broker).await;
        return (StatusCode::UNAUTHORIZED, "the signature is missing or wrong\n").into_response();
    }
    let event = text("x-github-event").unwrap_or_default();
    let delivery = match webhook::parse(event, text("x-github-delivery").unwrap_or_default(), &taken.bytes) {
        Ok(delivery) => delivery,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    if receiver.knows(&delivery.id) {
        return (StatusCode::OK, "known\n").into_response();
    }
    match act(&app.broker, &receiver, &delivery).await {
        Ok(()) => {
            receiver.remember(delivery.id);
            StatusCode::ACCEPTED.into_response()
        }
        Err(error) => {
            tracing::error!(error = %crate::causes::chain(&error), "a forge delivery could not be worked off");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Wakes whatever waits for this.
async fn act(broker: &Arc<Broker>, receiver: &Receiver, delivery: &Delivery) -> BrokerResult<()> {
    let filter = FollowUpFilter {
        open: true,
        limit: 10_000,
        ..FollowUpFilter::default()
    };
    let number = match &delivery.event {
        WebhookEvent::PullRequest { number, .. } | WebhookEvent::Review { number, .. } => Some(*number),
        WebhookEvent::Push { .. } => None,
        WebhookEvent::MergeGroup { .. } => {
            receiver.let_others_pass(broker);
            return Ok(());
        }
        WebhookEvent::Other => return Ok(()),
    };
    let now = broker.now();
    let mut jobs = vec![];
    for follow_up in broker.store.follow_ups(filter).await? {
        // The number alone: a pull request of another repository costs a look too many, a renamed
        // repository none too few.
        let concerned = follow_up
            .pull
            .as_ref()
            .is_some_and(|pull| number.is_none_or(|number| pull.number == number));
        if concerned {
            jobs.push(Job::new(
                JobKind::Follow {
                    follow_up: follow_up.id,
                },
                now,
            ));
        }
    }
    if number.is_some() {
        receiver.let_others_pass(broker);
    }
    if !jobs.is_empty() {
        broker.store.poke(&jobs).await?;
        broker.poke.notify_waiters();
    }
    Ok(())
}

impl Receiver {
    fn knows(&self, id: &str) -> bool {
        self.done().iter().any(|known| known == id)
    }

    fn remember(&self, id: String) {
        let mut done = self.done();
        done.push_back(id);
        let spare = done.len().saturating_sub(REMEMBERED);
        done.drain(..spare);
    }

    fn done(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the neutral checks behind the answer; one round at a time, and the loop that does the
    /// same every half minute makes up for a round that failed.
    fn let_others_pass(&self, broker: &Arc<Broker>) {
        if self.passing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (passing, broker) = (Arc::clone(&self.passing), Arc::clone(broker));
        tokio::spawn(async move {
            let done = broker.let_others_pass().await;
            passing.store(false, Ordering::Release);
            if let Err(error) = done {
                tracing::warn!(error = %crate::causes::chain(&error), "neutral checks could not be published");
            }
        });
    }

    /// Somebody sends what the forge did not sign.
    async fn report(&self, broker: &Broker) {
        let now = broker.now().timestamp();
        if now - self.last_finding.load(Ordering::Acquire) < FINDING_EVERY {
            return;
        }
        self.last_finding.store(now, Ordering::Release);
        let text = "Somebody sent a forge event without the forge's signature, or the webhook's secret differs \
                    between the forge and this service; events are not taken until they agree";
        if let Err(error) = broker.find("forge signature", About::default(), text, None).await {
            tracing::error!(error = %crate::causes::chain(&error), "a wrong signature could not be recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_worked_off_is_known_and_the_memory_is_bounded() {
        let receiver = Receiver::default();
        assert!(!receiver.knows("d-0"));
        for n in 0..=REMEMBERED {
            receiver.remember(format!("d-{n}"));
        }
        assert!(receiver.knows("d-1") && receiver.knows(&format!("d-{REMEMBERED}")));
        assert!(!receiver.knows("d-0"), "the oldest is forgotten");
        assert_eq!(receiver.done().len(), REMEMBERED);
    }
}
