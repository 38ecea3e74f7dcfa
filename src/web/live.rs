//! The grant's page, live: the same pieces of HTML sent again whenever something changed.

use super::csrf::Fields;
use super::error::Result;
use super::grants::{Parts, parts, seen};
use super::session::Signed;
use super::{App, session, shell, waits};
use crate::broker::Changed;
use crate::domain::grant::{Grant, GrantState};
use crate::ids::GrantId;
use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::poll_fn;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Another replica may have received what changed: the store is asked this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After this the browser connects anew, and is asked again who it is.
const LASTS: Duration = Duration::from_mins(5);
/// Pieces that may wait for a slow reader before they wait for it.
const ROOM: usize = 8;

/// `GET /grants/{id}/live`.
pub async fn live(
    State(app): State<App>,
    signed: Signed,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let grant = seen(&app, &signed, &id).await?;
    let asked = Fields::parse(query.unwrap_or_default().as_bytes());
    let (send, mut receive) = mpsc::channel(ROOM);
    tokio::spawn(async move {
        let stop = app.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LASTS) => {}
            () = send.closed() => {}
            said = tell(&app, &signed, grant.id, grant.state, &asked, &send) => {
                if let Err(error) = said {
                    tracing::warn!(grant = %grant.id, %error, "a live page ended");
                }
            }
        }
    });
    let events = poll_fn(move |context| receive.poll_recv(context));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

type Sender = mpsc::Sender<std::result::Result<Event, Infallible>>;

/// Sends the pieces whenever the grant or its record changed; ends when its reader is gone, or when
/// the page must be loaded anew.
async fn tell(
    app: &App,
    signed: &Signed,
    id: GrantId,
    began: GrantState,
    asked: &Fields,
    send: &Sender,
) -> Result<()> {
    // Subscribed before the first look: what changes in between is told again, never missed.
    let mut changed = app.broker.changed.subscribe();
    let mut known = None;
    loop {
        let grant = app.broker.grant(id).await?;
        let rows = app.broker.store.actions(id).await?;
        let waits = waits::failing(app, waits::job_of(&grant)).await?;
        let now = (
            grant.version,
            rows.len(),
            is_audit_heard(app, &grant.cluster),
            waits.map(|job| (job.failing_since, job.attempts)),
            app.broker.unwritten_end(id),
        );
        if known.as_ref() != Some(&now) {
            // Who signed out elsewhere, or no longer may see it, is told nothing more: asked of the
            // store, not of this connection.
            if !is_reader(app, signed, &grant).await? {
                return Ok(());
            }
            known = Some(now);
            let surroundings = shell::bare(app, "", signed.tz);
            let Parts {
                headline,
                actions,
                side,
            } = parts(app, signed, &surroundings, &grant, &rows, asked).await?;
            for html in [headline.render()?, actions.render()?, side.render()?] {
                if send
                    .send(Ok(Event::default().data(html.replace('\r', ""))))
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
        }
        if grant.state != began {
            // Other buttons now: the page as a whole is asked for again.
            let _ = send
                .send(Ok(Event::default().event("reload").data("the state changed")))
                .await;
            return Ok(());
        }
        if grant.state == GrantState::Ended {
            let _ = send
                .send(Ok(Event::default().event("end").data("it is over")))
                .await;
            return Ok(());
        }
        wait(&mut changed, id).await;
    }
}

async fn is_reader(app: &App, signed: &Signed, grant: &Grant) -> Result<bool> {
    if signed.session.load().await.is_err() {
        return Ok(false);
    }
    let login = session::login(app, &signed.session).await?;
    Ok(login.is_some_and(|login| shell::may_see_grant(app.config(), &login.person, grant)))
}

/// Audit events of the cluster arrive: the page says so, and says when they no longer do.
fn is_audit_heard(app: &App, cluster: &str) -> bool {
    let alarm_after = app
        .config()
        .clusters
        .get(cluster)
        .map(|cluster| cluster.canary.alarm_after.delta());
    let arrived_at = app.broker.audit_arrived_at(cluster);
    arrived_at
        .zip(alarm_after)
        .is_some_and(|(at, after)| app.broker.now() - at < after)
}

async fn wait(changed: &mut broadcast::Receiver<Changed>, id: GrantId) {
    let heard = async {
        loop {
            match changed.recv().await {
                Ok(Changed::Grant(own)) if own != id => {}
                // Many changes at once may have pushed ours out.
                Ok(Changed::Grant(_)) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Ok(Changed::Anything) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    // Either is fine: both only mean "look again".
    let _ = tokio::time::timeout(LOOK_EVERY, heard).await;
}
