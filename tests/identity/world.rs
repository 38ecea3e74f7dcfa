//! The provider, a browser, and this test alone with them.

use breakglass::clock::{Clock as _, SystemClock, Time};
use breakglass::identity::{
    Asking, CallbackParams, Flow, Identity, OpenIdConnect, Purpose, Refusal, Secret, Settings, SignedIn,
};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

pub(crate) const BACK: &str = "http://127.0.0.1:9/sign-in/back";
pub(crate) const STRONG: &str = "urn:breakglass:test:strong";

/// The provider has one set of faults: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(crate) fn issuer() -> String {
    std::env::var("BREAKGLASS_SIGNIN").expect(
        "BREAKGLASS_SIGNIN must name a running sign-in provider: node tests/world/signin.mjs --dir DIR --control prints its address",
    )
}

/// The authority behind a provider that runs with TLS (`BREAKGLASS_SIGNIN_CA`, a PEM file).
fn extra_ca() -> Option<Vec<u8>> {
    let path = std::env::var_os("BREAKGLASS_SIGNIN_CA")?;
    Some(std::fs::read(path).expect("BREAKGLASS_SIGNIN_CA names a readable file"))
}

pub(crate) fn settings() -> Settings {
    Settings {
        issuer: issuer(),
        client_id: "breakglass-test".to_owned(),
        client_secret: Secret::new("a-test-secret-that-guards-nothing-but-tests"),
        redirect_url: BACK.to_owned(),
        scopes: ["openid", "profile", "email", "groups"]
            .map(str::to_owned)
            .to_vec(),
        person_claim: "employee_id".to_owned(),
        groups_claim: "groups".to_owned(),
        forge_login_claim: Some("forge_login".to_owned()),
        extra_ca_pem: extra_ca(),
        acr_values: None,
    }
}

pub(crate) fn now() -> Time {
    SystemClock.now()
}

/// A browser: cookies, and one step at a time.
pub(crate) struct Browser {
    pub(crate) http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let mut http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = extra_ca() {
            http = http.add_root_certificate(reqwest::Certificate::from_pem(&pem).unwrap());
        }
        let http = http.build().unwrap();
        Self {
            http,
            cookies: BTreeMap::new(),
        }
    }

    pub(crate) async fn send(&mut self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let jar = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ");
        let answer = request
            .header(COOKIE, jar)
            .send()
            .await
            .expect("the provider answers");
        for line in answer.headers().get_all(SET_COOKIE) {
            let (pair, rest) = line.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() || rest.contains("1970") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Follows from `address`, signing in as `person` when asked, until the provider sends back to us.
    /// Also says whether it asked.
    pub(crate) async fn go(&mut self, address: &Url, person: &str) -> (CallbackParams, bool) {
        let (mut at, mut asked) = (address.clone(), false);
        for _ in 0..10 {
            if at.as_str().starts_with(BACK) {
                let given: BTreeMap<_, _> = at.query_pairs().into_owned().collect();
                return (serde_json::from_value(json!(given)).unwrap(), asked);
            }
            let mut answer = self.send(self.http.get(at.clone())).await;
            if answer.status() == 200 && at.path().starts_with("/interaction/") {
                asked = true;
                answer = self
                    .send(self.http.post(at.clone()).form(&[("person", person)]))
                    .await;
            }
            let status = answer.status();
            let to = answer
                .headers()
                .get(LOCATION)
                .map(|to| to.to_str().unwrap().to_owned());
            let Some(to) = to else {
                panic!("{at} answered {status}: {}", answer.text().await.unwrap())
            };
            at = at.join(&to).unwrap();
        }
        panic!("too many redirects, the last to {at}");
    }
}

/// The provider, honest again, and this test alone with it.
pub(crate) struct World {
    pub(crate) identity: OpenIdConnect,
    pub(crate) browser: Browser,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let world = Self {
            identity: OpenIdConnect::new(settings).unwrap(),
            browser: Browser::new(),
            _alone: alone,
        };
        world.control("faults", json!({})).await;
        world
    }

    pub(crate) async fn control(&self, what: &str, asked: serde_json::Value) {
        let address = format!("{}/control/{what}", issuer());
        let answer = self
            .browser
            .http
            .post(address)
            .json(&asked)
            .send()
            .await
            .expect("the provider runs");
        assert_eq!(answer.status(), 204, "{}", answer.text().await.unwrap());
    }

    pub(crate) fn asking(purpose: Purpose, who: Option<&SignedIn>) -> Asking {
        Asking {
            purpose,
            return_to: "/requests/1".to_owned(),
            person: who.map(|one| one.person.clone()),
        }
    }

    /// One whole round trip; also says whether the provider asked for a sign-in.
    pub(crate) async fn trip(
        &mut self,
        purpose: Purpose,
        as_whom: &str,
        who: Option<&SignedIn>,
    ) -> (Result<SignedIn, Refusal>, bool, Flow) {
        let begin = self
            .identity
            .begin(Self::asking(purpose, who), now())
            .await
            .unwrap();
        let (params, asked) = self.browser.go(&begin.authorize_url, as_whom).await;
        (
            self.identity.finish(&begin.flow, &params, now()).await,
            asked,
            begin.flow,
        )
    }

    pub(crate) async fn sign_in(&mut self, as_whom: &str) -> Result<SignedIn, Refusal> {
        self.trip(Purpose::SignIn, as_whom, None).await.0
    }
}

/// Past the second in which an earlier login happened: `auth_time` counts whole seconds.
pub(crate) async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}
