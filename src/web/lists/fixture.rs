//! The whole router over a real store, for tests: what a browser or a sender gets.

use crate::broker::Broker;
use crate::clock::{Clock, ManualClock};
use crate::config::{Config, Secret};
use crate::domain::entry_kind::EntryKind;
use crate::domain::follow_up::FollowUp;
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, Write, record};
use crate::forge::{Auth, Settings, github::GitHub};
use crate::identity::{self, OpenIdConnect};
use crate::ids::FollowUpId;
use crate::ledger::Signer;
use crate::notify::Channels;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::verify::tests::{now, person};
use crate::web::session::{Login, cookie_name, keep};
use crate::web::{App, router};
use crate::witness::HttpWitnesses;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tower::ServiceExt;
use tower_sessions::Session;

/// A service nobody listens for: requests are handed to its router.
pub struct Stage {
    /// The service.
    pub app: App,
    router: axum::Router,
    folder: tempfile::TempDir,
}

/// Somebody with a session.
pub struct Reader {
    /// The cookie header.
    pub cookie: String,
    /// The token forms carry.
    pub csrf: String,
}

/// What came back.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
    /// Its body as text.
    pub text: String,
}

impl Stage {
    /// The example configuration over an empty store.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with the configuration changed.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = include_str!("../../../breakglass.example.yaml");
        let mut config = Config::from_text("breakglass.yaml", text, Path::new("/"), None).unwrap();
        config.ledger.signing_key = Secret::for_test(&"07".repeat(32));
        change(&mut config);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let signer = Signer::from_text(&config.ledger.origin, config.ledger.signing_key.expose()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
        let path = folder.path().join("breakglass.db");
        let store = SqliteStore::open(&path, Arc::clone(&clock), Arc::new(signer))
            .await
            .unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        // The adapters are the real ones; nobody answers at their addresses.
        let forge = GitHub::new(Settings::new(
            "https://127.0.0.1:9",
            Auth::Token(crate::forge::Secret::new("t")),
        ))
        .unwrap();
        let identity = OpenIdConnect::new(identity::Settings {
            issuer: "https://127.0.0.1:9".to_owned(),
            client_id: "breakglass".to_owned(),
            client_secret: identity::Secret::new("s"),
            redirect_url: "https://breakglass.example.org/sign-in/callback".to_owned(),
            scopes: vec![],
            person_claim: "employee_id".to_owned(),
            groups_claim: "groups".to_owned(),
            forge_login_claim: None,
            extra_ca_pem: None,
            acr_values: None,
        });
        let broker = Broker {
            witnesses: Arc::new(HttpWitnesses::new(&config.ledger).unwrap()),
            notifier: Arc::new(Channels::new(&config).unwrap()),
            config: Arc::new(config),
            store,
            clock,
            clusters: std::collections::BTreeMap::new(),
            forge: Arc::new(forge),
            poke: Arc::default(),
            changed: tokio::sync::broadcast::channel(64).0,
            unwritten: crate::broker::unwritten::Unwritten::default(),
            removals: crate::broker::removals::Removals::default(),
            seen_time: crate::broker::clock::SeenTime::default(),
            audit: crate::broker::record::AuditState::default(),
            watches: crate::broker::watch::Watches::default(),
        };
        let app = App::new(Arc::new(broker), Arc::new(identity.unwrap()));
        Self {
            router: router(app.clone()).unwrap(),
            app,
            folder,
        }
    }

    /// Signs somebody in who is in `groups`.
    pub async fn signed_in(&self, subject: &str, groups: &[&str]) -> Reader {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let who = Person {
            groups,
            ..person(subject)
        };
        self.app.broker.store.remember(&who, now()).await.unwrap();
        let login = Login::new(who, now(), "token".to_owned(), now());
        let csrf = login.csrf.clone();
        let session = Session::new(None, Arc::new(self.app.sessions.clone()), None);
        keep(&session, &login).await.unwrap();
        session.save().await.unwrap();
        Reader {
            cookie: format!("{}={}", cookie_name(true), session.id().unwrap()),
            csrf,
        }
    }

    /// Lets the service answer at a real address.
    pub async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// The store's file.
    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("breakglass.db")
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: bytes.to_vec(),
            text,
        }
    }

    /// Opens a page.
    pub async fn get(&self, path: &str, reader: Option<&Reader>) -> Answer {
        let mut request = Request::get(path).header(header::ACCEPT, "text/html");
        if let Some(reader) = reader {
            request = request.header(header::COOKIE, &reader.cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends a form of ours.
    pub async fn post(&self, path: &str, reader: &Reader, fields: &[(&str, &str)]) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &reader.csrf);
        for (name, value) in fields {
            form.append_pair(name, value);
        }
        let request = Request::post(path)
            .header(header::COOKIE, &reader.cookie)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.finish())).unwrap()).await
    }
}

/// A debt since `from` whose pull request is number 7.
pub fn debt(from: crate::clock::Time) -> crate::domain::follow_up::FollowUp {
    let mut debt = super::sla_figures::tests::follow_up("payments", from)
        .owed(from)
        .unwrap();
    debt.pull = Some(crate::domain::follow_up::PullRequest {
        repository: "deploy".to_owned(),
        number: 7,
        url: "https://forge.example.test/deploy/pull/7".to_owned(),
        branch: String::new(),
        head_sha: String::new(),
        merge_sha: None,
        verified: false,
        reviews: vec![],
        check: String::new(),
        opened_at: from,
    });
    debt
}

/// Commits a follow-up that is owed.
pub async fn owe(store: &dyn Store, debt: FollowUp) -> FollowUpId {
    let id = debt.id;
    let entry = record(
        EntryKind::FollowUpOwed,
        now(),
        About::follow_up(&debt),
        "owed",
        json!({}),
    );
    store
        .commit(Transition::new(entry).write(Write::NewFollowUp(debt)))
        .await
        .unwrap();
    id
}
