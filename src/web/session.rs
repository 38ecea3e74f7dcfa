//! Who is at the browser: the web session, its limits, and the extractor every page begins with.

use super::pages::Text;
use super::{App, Error, error::Result};
use crate::clock::Time;
use crate::domain::person::Person;
use crate::ids::{GrantId, random_bytes};
use crate::store::session::Sessions;
use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, Method, header, request::Parts};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use url::Url;

const LOGIN: &str = "login";
/// How long a step-up for one action may wait for that action.
const PERMIT: TimeDelta = TimeDelta::minutes(2);
/// A session is written again at most this often to keep it from idling out.
const TOUCH: TimeDelta = TimeDelta::seconds(60);

/// What a session knows of a sign-in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    pub person: Person,
    /// When the provider saw them prove it, by the broker's time.
    pub auth_time: Time,
    /// When this session began.
    pub since: Time,
    /// When it was last used.
    pub seen: Time,
    /// The token forms carry.
    pub csrf: String,
    /// The provider's token, its hint when signing out.
    pub id_token: String,
    /// A step-up made for one reveal alone, and until when it may be used.
    pub permit: Option<(GrantId, Time)>,
}

impl Login {
    /// A sign-in that happened now.
    #[must_use]
    pub fn new(person: Person, auth_time: Time, id_token: String, now: Time) -> Self {
        Self {
            person,
            auth_time,
            since: now,
            seen: now,
            csrf: hex::encode(random_bytes::<32>()),
            id_token,
            permit: None,
        }
    }

    /// Allows exactly one reveal of `grant`, soon.
    pub fn permit(&mut self, grant: GrantId, now: Time) {
        self.permit = Some((grant, now + PERMIT));
    }

    /// Whether one reveal of `grant` was stepped up for; used up by asking.
    pub fn take_permit(&mut self, grant: GrantId, now: Time) -> bool {
        self.permit
            .take()
            .is_some_and(|(own, until)| own == grant && now < until && until <= now + PERMIT)
    }

    fn is_over(&self, idle: TimeDelta, absolute: TimeDelta, now: Time) -> bool {
        // One from a time that is still to come would last longer: the clock was set back, and it is over.
        now - self.seen >= idle || now - self.since >= absolute || self.seen > now
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("subject", &self.person.subject)
            .finish_non_exhaustive()
    }
}

/// Somebody signed in. As an extractor: sends who reads a page to sign in, answers 401 to the rest.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Who.
    pub person: Person,
    /// The token forms carry.
    pub csrf: String,
    /// When the provider last saw them prove it.
    pub auth_time: Time,
    /// The zone their times are shown in.
    pub tz: Tz,
    /// The session itself.
    pub session: Session,
    /// A step-up waits to be used for one reveal of this grant.
    pub permit: Option<GrantId>,
}

/// The cookie's name: `__Host-` binds it to this host and path wherever cookies can be `Secure`.
#[must_use]
pub const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-breakglass" } else { "breakglass" }
}

/// The layer that loads and keeps sessions.
#[must_use]
pub fn layer(app: &App) -> SessionManagerLayer<Sessions> {
    let https = app.is_https();
    let idle = i64::from(app.config().sign_in.session.idle.seconds());
    SessionManagerLayer::new(app.sessions.clone())
        .with_name(cookie_name(https))
        .with_path("/")
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_secure(https)
        .with_expiry(Expiry::OnInactivity(
            tower_sessions::cookie::time::Duration::seconds(idle),
        ))
}

/// The sign-in of a session, unless there is none or its time is over.
///
/// # Errors
/// The session cannot be read.
pub async fn login(app: &App, session: &Session) -> Result<Option<Login>> {
    let Some(mut login) = session.get::<Login>(LOGIN).await? else {
        return Ok(None);
    };
    let limits = &app.config().sign_in.session;
    let now = app.broker.now();
    if login.is_over(limits.idle.delta(), limits.absolute.delta(), now) {
        session.flush().await?;
        return Ok(None);
    }
    // A page must not fail because its session could not be kept from idling out.
    if now - login.seen >= TOUCH && app.broker.is_store_written().await {
        login.seen = now;
        session.insert(LOGIN, &login).await?;
    }
    Ok(Some(login))
}

/// Keeps a sign-in, under a new session id: whoever knew the old one has nothing.
///
/// # Errors
/// The session cannot be kept.
pub async fn keep(session: &Session, login: &Login) -> Result<()> {
    session.cycle_id().await?;
    Ok(session.insert(LOGIN, login).await?)
}

/// Uses up a step-up that was made for one reveal of `grant`.
///
/// # Errors
/// The session cannot be read or kept.
pub async fn take_permit(app: &App, session: &Session, grant: GrantId) -> Result<bool> {
    let Some(mut login) = session.get::<Login>(LOGIN).await? else {
        return Ok(false);
    };
    let taken = login.take_permit(grant, app.broker.now());
    session.insert(LOGIN, &login).await?;
    session.save().await?;
    Ok(taken)
}

/// Who is signed in, if anybody.
///
/// # Errors
/// The session cannot be read.
pub async fn signed(app: &App, session: Session, tz: Tz) -> Result<Option<Signed>> {
    let now = app.broker.now();
    Ok(login(app, &session).await?.map(|login| Signed {
        person: login.person,
        csrf: login.csrf,
        auth_time: login.auth_time,
        tz,
        session,
        permit: login
            .permit
            .filter(|(_, until)| now < *until)
            .map(|(grant, _)| grant),
    }))
}

/// The zone of the cookie `tz`; UTC when there is none that is known.
#[must_use]
pub fn zone_of(headers: &HeaderMap) -> Tz {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("tz="))
        .find_map(|name| {
            percent_encoding::percent_decode_str(name.trim_matches('"'))
                .decode_utf8()
                .ok()?
                .parse()
                .ok()
        })
        .unwrap_or(Tz::UTC)
}

/// The path and query to come back to, when it is a page of ours; anything else leads to the start.
#[must_use]
pub fn own_path(path: &str) -> &str {
    let ours = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 1_000
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && leads_to_a_page(path);
    if ours { path } else { "/" }
}

/// Where a browser comes to by this path, once it has resolved its dots: here, and not back at the sign-in.
fn leads_to_a_page(path: &str) -> bool {
    static HERE: LazyLock<Url> =
        LazyLock::new(|| Url::parse("https://here.invalid/").unwrap_or_else(|_| unreachable!("an address")));
    HERE.join(path)
        .is_ok_and(|there| there.origin() == HERE.origin() && !there.path().starts_with("/sign-"))
}

/// Where signing in begins, to come back to `path`.
#[must_use]
pub fn sign_in_path(path: &str) -> String {
    let to: String = url::form_urlencoded::byte_serialize(own_path(path).as_bytes()).collect();
    format!("/sign-in?to={to}")
}

impl FromRequestParts<App> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Response> {
        let tz = zone_of(&parts.headers);
        let session = Session::from_request_parts(parts, app)
            .await
            .map_err(|(_, why)| {
                Error::Internal(format!("no session layer on this route: {why}")).into_response()
            })?;
        if let Some(signed) = signed(app, session, tz)
            .await
            .map_err(IntoResponse::into_response)?
        {
            return Ok(signed);
        }
        let is_page = parts.method == Method::GET
            && parts
                .headers
                .get("sec-fetch-mode")
                .is_none_or(|mode| mode == "navigate")
            && parts
                .headers
                .get(header::ACCEPT)
                .and_then(|accept| accept.to_str().ok())
                .is_some_and(|accept| accept.contains("text/html"));
        if is_page {
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            return Err(Redirect::to(&sign_in_path(path)).into_response());
        }
        Err(Error::SignedOut.into_response())
    }
}

/// The name people read beside "signed in as".
#[must_use]
pub fn display(person: &Person) -> Text {
    if person.name.trim().is_empty() {
        Text::from(&person.person_claim)
    } else {
        Text::from(&person.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn login() -> Login {
        let person = Person {
            person_claim: "E1".into(),
            issuer: "https://sign-in.example.test".into(),
            subject: "oncall".into(),
            name: "On-call engineer".into(),
            email: None,
            email_verified: false,
            groups: vec![],
            forge_login: None,
        };
        Login::new(person, at(0), "token".into(), at(0))
    }

    #[test]
    fn a_session_ends_by_idling_and_by_age_whichever_is_first() {
        let (idle, absolute) = (TimeDelta::minutes(30), TimeDelta::hours(12));
        let mut login = login();
        assert!(!login.is_over(idle, absolute, at(30 * 60 - 1)));
        assert!(login.is_over(idle, absolute, at(30 * 60)));
        login.seen = at(12 * 3600 - 1);
        assert!(!login.is_over(idle, absolute, at(12 * 3600 - 1)));
        assert!(
            login.is_over(idle, absolute, at(12 * 3600)),
            "used all the time, and still over"
        );
        let back = at(11 * 3600);
        assert!(
            login.is_over(idle, absolute, back),
            "the clock was set back an hour"
        );
    }

    #[test]
    fn a_step_up_for_one_reveal_serves_that_reveal_once_and_soon() {
        let (one, other) = (GrantId::new(), GrantId::new());
        let mut login = login();
        login.permit(one, at(0));
        assert!(!login.clone().take_permit(other, at(1)));
        assert!(!login.clone().take_permit(one, at(120)));
        assert!(
            !login.clone().take_permit(one, at(-3600)),
            "the clock was set back an hour"
        );
        assert!(login.take_permit(one, at(1)));
        assert!(!login.take_permit(one, at(2)), "used twice");
    }

    #[test]
    fn nobody_is_led_to_another_site_after_signing_in() {
        for ours in ["/", "/grants/1?show=all", "/policy?person=a%20b"] {
            assert_eq!(own_path(ours), ours);
        }
        for theirs in [
            "//evil.test",
            "https://evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "evil.test",
            "",
            "/a\r\nSet-Cookie: x",
            "/a\tb",
            "javascript:alert(1)",
            "/sign-out",
            "/sign-in?to=/sign-in",
            "/./sign-out",
            "/feed/%2E%2e/sign-in",
        ] {
            assert_eq!(own_path(theirs), "/", "{theirs:?}");
        }
        assert_eq!(
            sign_in_path("/grants/1?show=all&x=%2F"),
            "/sign-in?to=%2Fgrants%2F1%3Fshow%3Dall%26x%3D%252F"
        );
    }

    #[test]
    fn an_encrypted_session_cookie_cannot_be_set_by_a_neighbour() {
        assert!(cookie_name(true).starts_with("__Host-"));
        assert!(
            !cookie_name(false).starts_with("__"),
            "browsers drop such a cookie without encryption"
        );
    }

    #[test]
    fn the_readers_zone_is_one_that_is_known() {
        let headers = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().unwrap());
            headers
        };
        assert_eq!(
            zone_of(&headers("breakglass=x; tz=Europe/Berlin")),
            Tz::Europe__Berlin
        );
        assert_eq!(zone_of(&headers("tz=Europe%2FBerlin")), Tz::Europe__Berlin);
        assert_eq!(zone_of(&headers("tz=<script>")), Tz::UTC);
        assert_eq!(zone_of(&HeaderMap::new()), Tz::UTC);
    }
}
