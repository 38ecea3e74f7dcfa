//! Signing in, and proving it again for one action.
//!
//! What is to be done after a round trip stays in the session on the server: the browser carries
//! nothing but the provider's answer. A flow is taken out of the session, and the session written,
//! before the answer is looked at, so that each is used once.

use super::csrf::is_of_another_site;
use super::error::{Back, Result};
use super::limits::Who;
use super::pages::plain::{SignInRefusal, SignInRefusedPage};
use super::pages::step_up::StepUpPage;
use super::pages::{Href, Text};
use super::serve::Client;
use super::session::{self, Login, Signed, own_path, sign_in_path, zone_of};
use super::sign_out::{sign_out, signed_out};
use super::trace::RequestId;
use super::{App, Error, page, shell, waits};
use crate::broker::approve::Approving;
use crate::domain::request::ApprovalProof;
use crate::identity::{Asking, CallbackParams, Flow, Purpose, Refusal, SignedIn};
use crate::ids::{GrantId, RequestId as AccessRequestId};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use tower_sessions::Session;

const FLOWS: &str = "flows";
/// Round trips one browser may have under way, in as many tabs.
const MOST_FLOWS: usize = 5;

/// What waits for a round trip to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An approval of exactly this.
    Approve {
        /// The request.
        request: AccessRequestId,
        /// The hash that was shown and sent.
        hash: String,
        /// Seconds allowed.
        duration_s: u32,
    },
    /// A reveal of this grant.
    Reveal {
        /// The grant.
        grant: GrantId,
        /// The login must serve this one reveal and nothing else.
        once: bool,
    },
}

impl Action {
    fn words(&self) -> String {
        match self {
            Self::Approve { request, .. } => format!("approve request {}", request.short()),
            Self::Reveal { grant, .. } => format!("reveal the key of grant {}", grant.short()),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Pending {
    flow: Flow,
    action: Option<Action>,
}

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/sign-in", get(begin))
        .route("/sign-in/callback", get(callback))
        .route("/sign-out", post(sign_out))
        .route("/signed-out", get(signed_out))
}

#[derive(Deserialize)]
struct Begin {
    #[serde(default)]
    to: String,
}

async fn begin(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    client: Option<Extension<Client>>,
    Extension(id): Extension<RequestId>,
    Query(Begin { to }): Query<Begin>,
) -> Result {
    if is_of_another_site(&headers) {
        return Err(Error::Bad("signing in begins with a page of its own".into()));
    }
    let who = Who::before_sign_in(client.map(|Extension(client)| client), &session);
    app.limits.sign_ins.hold(&who, "Signing in was begun from here")?;
    let person = session::login(&app, &session).await?.map(|login| login.person);
    let asking = Asking {
        purpose: Purpose::SignIn,
        return_to: own_path(&to).to_owned(),
        person,
    };
    match start(&app, &session, asking, None).await? {
        Ok(to) => Ok(Redirect::to(to.as_str()).into_response()),
        Err(refusal) => refused(&app, &headers, &id, &to, &refusal),
    }
}

/// Begins a round trip and keeps it, with what waits for it.
async fn start(
    app: &App,
    session: &Session,
    asking: Asking,
    action: Option<Action>,
) -> Result<std::result::Result<url::Url, Refusal>> {
    let begun = match app.identity.begin(asking, app.broker.machine_now()).await {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut flows: Vec<Pending> = session.get(FLOWS).await?.unwrap_or_default();
    flows.push(Pending {
        flow: begun.flow,
        action,
    });
    let surplus = flows.len().saturating_sub(MOST_FLOWS);
    flows.drain(..surplus);
    session.insert(FLOWS, &flows).await?;
    session.save().await?;
    Ok(Ok(begun.authorize_url))
}

/// Sends somebody to prove who they are, for exactly this action. Answers a page that goes on by
/// itself: browsers hold a redirect after a form to `form-action`.
///
/// # Errors
/// The provider cannot be reached, or the session cannot be kept.
pub async fn step_up(
    app: &App,
    signed: &Signed,
    purpose: Purpose,
    action: Action,
    return_to: String,
) -> Result {
    app.limits
        .sign_ins
        .hold(&Who::signed(signed), "You were asked to sign in again")?;
    let (what, hash) = match &action {
        Action::Approve { hash, .. } => ("approve this request", Some(Text::from(hash))),
        Action::Reveal { .. } => ("reveal the key", None),
    };
    let asking = Asking {
        purpose,
        return_to,
        person: Some(signed.person.clone()),
    };
    let to = start(app, &signed.session, asking, Some(action))
        .await?
        .map_err(|refusal| waits::of_provider(&refusal, signed.tz))?;
    let to = Href::new(to.as_str())
        .ok_or_else(|| Error::Internal("the provider's address is no address".into()))?;
    let shell = shell::shell(app, signed, "Sign in again", None).await?;
    page(&StepUpPage {
        shell,
        to,
        purpose: what.into(),
        hash,
    })
}

async fn callback(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    Extension(id): Extension<RequestId>,
    Query(params): Query<CallbackParams>,
) -> Result {
    let mut flows: Vec<Pending> = session.get(FLOWS).await?.unwrap_or_default();
    let found = flows
        .iter()
        .position(|pending| params.state.as_deref() == Some(pending.flow.state.as_str()));
    let Some(found) = found else {
        // Anybody can send anybody here: it is logged, and no entry of the ledger.
        tracing::info!(request = %id.0, "an answer of the provider belongs to no round trip of this browser");
        return refused(&app, &headers, &id, "/", &Refusal::StateMismatch);
    };
    let Pending { flow, action } = flows.remove(found);
    session.insert(FLOWS, &flows).await?;
    session.save().await?;

    match app
        .identity
        .finish(&flow, &params, app.broker.machine_now())
        .await
    {
        Ok(signed_in) if shell::is_known(app.config(), &signed_in.person) => {
            finish(&app, &session, &flow, action, signed_in).await
        }
        Ok(signed_in) => {
            let words = format!(
                "{} is in none of the groups that this service knows",
                signed_in.person.name
            );
            app.broker.sign_in_refused("no_role", &words).await?;
            refusal_page(
                &app,
                &headers,
                &id,
                &flow.return_to,
                SignInRefusal::NoRole,
                StatusCode::FORBIDDEN,
            )
        }
        Err(refusal) => {
            app.broker
                .sign_in_refused(refusal.kind(), &refusal.to_string())
                .await?;
            refused(&app, &headers, &id, &flow.return_to, &refusal)
        }
    }
}

/// The provider's word holds: keep who it is, then do what waited for it.
async fn finish(
    app: &App,
    session: &Session,
    flow: &Flow,
    action: Option<Action>,
    signed_in: SignedIn,
) -> Result {
    let now = app.broker.now();
    let (person, auth_time) = (signed_in.person.clone(), signed_in.auth_time);
    // From here on the login's age is measured by our own time, which may be ahead of the machine's clock.
    let proved_at = now - (app.broker.machine_now() - auth_time);
    let mut login = match session::login(app, session).await? {
        // A session that ran out meanwhile, or another account: begin anew.
        Some(login) if login.person.issuer == person.issuer && login.person.subject == person.subject => {
            let csrf = login.csrf;
            let renewed = Login::new(person.clone(), proved_at, signed_in.id_token_raw.clone(), now);
            Login {
                csrf,
                since: login.since,
                ..renewed
            }
        }
        Some(_) | None if action.is_some() => {
            return Err(Error::Refused(
                "your session ended while you signed in again; nothing was done. Sign in and try again"
                    .into(),
            ));
        }
        Some(_) | None => Login::new(person.clone(), proved_at, signed_in.id_token_raw.clone(), now),
    };
    match &action {
        None => {
            // Signing in begins a session of its own length.
            login.since = now;
            app.broker.signed_in(&person, auth_time).await?;
        }
        Some(action) => app.broker.stepped_up(&person, auth_time, &action.words()).await?,
    }
    if let Some(Action::Reveal { grant, once: true }) = &action {
        login.permit(*grant, now);
    }
    session::keep(session, &login).await?;
    let back = own_path(&flow.return_to).to_owned();
    if let Some(Action::Approve {
        request,
        hash,
        duration_s,
    }) = action
    {
        let approving = Approving {
            by: person,
            duration_s,
            proof: proof(app, flow, signed_in)?,
            request_hash: hash,
        };
        if let Err(error) = app.broker.approve(request, approving).await {
            let mut response = Error::from(error).into_response();
            response.extensions_mut().insert(Back(back));
            return Ok(response);
        }
    }
    Ok(Redirect::to(&back).into_response())
}

fn proof(app: &App, flow: &Flow, signed_in: SignedIn) -> Result<ApprovalProof> {
    let Purpose::Approve { salt, .. } = &flow.purpose else {
        return Err(Error::Internal(
            "an approval came back from a round trip of another purpose".into(),
        ));
    };
    Ok(ApprovalProof {
        issuer: signed_in.person.issuer,
        client_id: app.config().sign_in.client_id.clone(),
        id_token: signed_in.id_token_raw,
        jwk: signed_in.jwk,
        salt: hex::encode(salt),
    })
}

fn refused(app: &App, headers: &HeaderMap, id: &RequestId, to: &str, refusal: &Refusal) -> Result {
    let status = match refusal {
        Refusal::ProviderUnreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    tracing::info!(request = %id.0, kind = refusal.kind(), "a sign-in was refused");
    let why = match refusal {
        Refusal::GroupsOverage => SignInRefusal::GroupsOverage,
        Refusal::NoPersonClaim { claim } => SignInRefusal::ClaimMissing(claim.into()),
        Refusal::NotFresh { .. } | Refusal::NoAuthTime => SignInRefusal::NotFresh,
        Refusal::OtherAccount => SignInRefusal::OtherPerson,
        Refusal::StateMismatch | Refusal::TookTooLong | Refusal::Incomplete => SignInRefusal::Stale,
        Refusal::ProviderUnreachable { since, .. } => SignInRefusal::Unreachable {
            words: Text::prose(refusal.to_string()),
            since: shell::bare(app, "", zone_of(headers)).when(*since),
        },
        other => SignInRefusal::Provider(Text::prose(other.to_string())),
    };
    refusal_page(app, headers, id, to, why, status)
}

fn refusal_page(
    app: &App,
    headers: &HeaderMap,
    id: &RequestId,
    to: &str,
    why: SignInRefusal,
    status: StatusCode,
) -> Result {
    let shell = shell::bare(app, "Sign-in refused", zone_of(headers));
    let sign_in = Href::path(sign_in_path(to));
    let html = SignInRefusedPage {
        shell,
        why,
        sign_in,
        request_id: Text::from(&id.0),
    }
    .render()?;
    Ok((status, Html(html)).into_response())
}
