//! Reveal: here is your key, use it like this. One answer, streamed: what is awaited, then the key, or
//! why there is none. The key is in no other answer, and this answer is neither kept nor compressed.

use super::csrf::Posted;
use super::error::{Error, Result, sentence};
use super::grants::seen;
use super::pages::reveal::{RevealFailed, RevealHead, RevealStep, RevealTail};
use super::pages::{Href, Look, Shell, Text, Words};
use super::sign_in::{Action, step_up};
use super::{App, session, shell};
use crate::broker::BrokerError;
use crate::broker::reveal::{Shown, Step};
use crate::domain::grant::{Grant, GrantState};
use crate::domain::person::Person;
use crate::identity::{Purpose, freshness};
use askama::Template;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::TimeDelta;
use futures::stream::poll_fn;
use std::convert::Infallible;
use std::time::Instant;
use tokio::sync::mpsc;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/grants/{id}/reveal", post(reveal))
}

async fn reveal(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let signed = posted.signed;
    let grant = seen(&app, &signed, &id).await?;
    if !grant.requester.surely_same_person(&signed.person) {
        return Err(Error::Forbidden(
            "Only whoever asked for this access can see its key.".into(),
        ));
    }
    if !matches!(grant.state, GrantState::Ready | GrantState::Active) {
        return Err(Error::Refused(format!(
            "this access is {}; no key can be revealed now",
            grant.state.name()
        )));
    }
    let profile = app.config().profiles.get(&grant.profile).ok_or_else(|| {
        Error::Refused(format!(
            "profile {} is not in the configuration any more",
            grant.profile
        ))
    })?;
    let window_s = app.config().step_up_window(profile).seconds();
    let fresh = if window_s == 0 {
        session::take_permit(&app, &signed.session, grant.id).await?
    } else {
        freshness::still_fresh(signed.auth_time, window_s, app.broker.now())
    };
    if !fresh {
        let action = Action::Reveal {
            grant: grant.id,
            once: window_s == 0,
        };
        let back = format!("/grants/{}", grant.id);
        return step_up(&app, &signed, Purpose::StepUp { window_s }, action, back).await;
    }
    let shell = shell::shell(&app, &signed, "Your key", None).await?;
    Ok(stream(app, shell, grant, signed.person))
}

type Sender = mpsc::Sender<std::result::Result<Bytes, Infallible>>;

/// The answer that goes on while the key is made.
fn stream(app: App, shell: Shell, grant: Grant, person: Person) -> Response {
    let (send, mut receive) = mpsc::channel(4);
    tokio::spawn(async move {
        let id = grant.id;
        if let Err(error) = run(&app, shell, grant, &person, &send).await {
            tracing::error!(grant = %id, %error, "the reveal's page could not be written");
        }
    });
    let body = Body::from_stream(poll_fn(move |context| receive.poll_recv(context)));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather an answer before passing it on would keep the person waiting blindly.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

async fn run(app: &App, shell: Shell, grant: Grant, person: &Person, send: &Sender) -> Result<()> {
    let began = Instant::now();
    let page = Href::path(format!("/grants/{}", grant.id));
    let bound_seconds = app
        .config()
        .clusters
        .get(&grant.cluster)
        .map_or(45, |cluster| cluster.audit_wait.seconds());
    let usual_seconds = app
        .broker
        .audit_delay_ms(&grant.cluster)
        .and_then(|ms| u32::try_from((ms + 999) / 1_000).ok())
        .map(|seconds| seconds.max(1));
    let head = RevealHead {
        shell: shell.clone(),
        grant: page.clone(),
        cluster: (&grant.cluster).into(),
        bound_seconds,
        usual_seconds,
    };
    if !say(send, head.render()?).await {
        return Ok(());
    }
    let (progress, mut steps) = mpsc::channel(8);
    let revealing = app.broker.reveal(grant.id, person, &progress);
    tokio::pin!(revealing);
    let shown = loop {
        tokio::select! {
            // What came before the end is told before the end.
            biased;
            Some(step) = steps.recv() => {
                let row = step_row(&step, began);
                if !say(send, row.render()?).await {
                    // Nobody is there: the broker sees its progress closed and takes the key back.
                    steps.close();
                }
            }
            () = send.closed(), if !steps.is_closed() => steps.close(),
            shown = &mut revealing => break shown,
        }
    };
    let end = match shown {
        Ok(shown) => {
            let tail = tail(shell, page, shown).render()?;
            say(send, tail).await
        }
        Err(error) => {
            let failed = {
                let can_retry = !matches!(error, BrokerError::NotFound(_));
                RevealFailed {
                    shell,
                    grant: page,
                    reason: why(error),
                    can_retry,
                }
            };
            say(send, failed.render()?).await
        }
    };
    if !end {
        tracing::warn!(grant = %grant.id, "the reveal's reader was gone before the end of the page");
    }
    Ok(())
}

async fn say(send: &Sender, html: String) -> bool {
    send.send(Ok(Bytes::from(html))).await.is_ok()
}

fn step_row(step: &Step, began: Instant) -> RevealStep {
    let (look, words) = match step {
        Step::Issuing => (
            Look::Wait,
            "A Secret of its own is made, and a key issued that dies with it.".to_owned(),
        ),
        Step::Using => (
            Look::Wait,
            "The key is issued. It is used once, to compare its rights with what was approved.".into(),
        ),
        Step::Waiting { at_most_s, usual_ms } => {
            let usual = usual_ms
                .map(|ms| format!(", usually {}.{} s", ms / 1_000, ms % 1_000 / 100))
                .unwrap_or_default();
            let words = "Its rights are what was approved. Waiting until the API server's own record shows the issuance and the first use";
            (Look::Wait, format!("{words}{usual}, {at_most_s} s at most."))
        }
        Step::Seen => (Look::Done, "Both came back: what this key does is seen.".into()),
    };
    let after_seconds = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
    RevealStep {
        look,
        words: words.into(),
        after_seconds,
    }
}

fn tail(shell: Shell, page: Href, shown: Shown) -> RevealTail {
    let Shown {
        kubeconfig,
        grant,
        expires_at,
    } = shown;
    let ends = grant.ends_at.unwrap_or(expires_at);
    // A token's whole seconds are no reason to worry anybody.
    let shorter = (expires_at + TimeDelta::minutes(1) < ends).then(|| {
        Words::say("The API server gave less than the access lasts, which ends ")
            .at(shell.when(ends))
            .and(". Reveal a new key when this one is dead.")
    });
    let try_it = match grant.namespaces.first() {
        Some(namespace) => format!("kubectl get pods -n {namespace}"),
        None => "kubectl get pods -A".to_owned(),
    };
    RevealTail {
        grant: page,
        kubeconfig,
        file: format!("{}.kubeconfig", grant.cluster).into(),
        try_it: try_it.into(),
        // Whichever is first: the broker ends the access, or the API server the key.
        dies: shell.when(expires_at.min(ends)),
        shorter,
        shell,
    }
}

fn why(error: BrokerError) -> Words {
    match Error::from(error) {
        Error::Refused(why) | Error::Conflict(why) | Error::Unavailable { what: why, .. } => {
            Words::say(Text::prose(sentence(&why)).sentence())
        }
        other => {
            tracing::error!(error = %other, "a reveal failed");
            "Something failed here; whoever runs this service finds it in the log.".into()
        }
    }
}
