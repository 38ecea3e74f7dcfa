//! `GET /feed/live`: how many entries came since the page was opened.

use super::feed_query::FeedQuery;
use super::must_open;
use crate::broker::Broker;
use crate::store::EntryFilter;
use crate::web::pages::Place;
use crate::web::pages::feed::FeedNew;
use crate::web::{App, Result, Signed, session};
use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};

/// Entries beyond this are "many".
const MOST: u32 = 100;
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(500);
/// Whether the reader is still signed in is asked again after this; the browser then connects anew.
const LONGEST: Duration = Duration::from_mins(15);

/// Tells the count whenever it may have changed.
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn live(State(app): State<App>, signed: Signed) -> Result<Response> {
    must_open(&app, &signed, Place::Feed)?;
    let changed = app.broker.changed.subscribe();
    let since = app.broker.store.head().await?.size;
    let stop = app.stop.clone();
    let over = async move {
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(LONGEST) => {} }
    };
    let events = counts(app, signed, changed, since).take_until(over);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}

fn counts(
    app: App,
    signed: Signed,
    changed: broadcast::Receiver<crate::broker::Changed>,
    since: u64,
) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    stream::unfold(
        (app, signed, changed, 0),
        move |(app, signed, mut changed, told)| async move {
            loop {
                match changed.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
                tokio::time::sleep(GATHER).await;
                while !matches!(
                    changed.try_recv(),
                    Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
                ) {}
                // Who signed out elsewhere is told nothing more: asked of the store, not of this connection.
                let is_signed_in = signed.session.load().await.is_ok()
                    && matches!(session::login(&app, &signed.session).await, Ok(Some(_)));
                if !is_signed_in {
                    return None;
                }
                let count = match newer(&app.broker, since).await {
                    Ok(count) => count,
                    Err(error) => {
                        tracing::warn!(error = %crate::causes::chain(&error), "the feed could not be counted");
                        return None;
                    }
                };
                if count == told {
                    continue;
                }
                let Ok(fragment) = (FeedNew { count }).render() else {
                    return None;
                };
                return Some((Ok(Event::default().data(fragment)), (app, signed, changed, count)));
            }
        },
    )
}

async fn newer(broker: &Broker, since: u64) -> std::result::Result<usize, crate::store::StoreError> {
    let filter = EntryFilter {
        kinds: FeedQuery::default().kinds(),
        limit: MOST,
        ..EntryFilter::default()
    };
    Ok(broker
        .store
        .entries(filter)
        .await?
        .iter()
        .take_while(|line| line.index >= since)
        .count())
}
