//! The sign-in adapter against a real provider, honest and misbehaving.
//!
//! Needs `BREAKGLASS_SIGNIN`, the address of a running test provider:
//! `node tests/world/signin.mjs --dir DIR --control` prints it.

use breakglass::clock::{Clock, SystemClock, Time};
use breakglass::identity::token::TokenFault;
use breakglass::identity::{
    ApprovalClaim, Asking, CallbackParams, Flow, Identity, OpenIdConnect, ProofError, Purpose, Refusal,
    Secret, Settings, SignedIn, check_approval_token,
};
use chrono::TimeDelta;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

const BACK: &str = "http://127.0.0.1:9/sign-in/back";
const STRONG: &str = "urn:breakglass:test:strong";

/// The provider has one set of faults: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn issuer() -> String {
    std::env::var("BREAKGLASS_SIGNIN").expect(
        "BREAKGLASS_SIGNIN must name a running sign-in provider: node tests/world/signin.mjs --dir DIR --control prints its address",
    )
}

fn settings() -> Settings {
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
        extra_ca_pem: None,
        acr_values: None,
    }
}

fn now() -> Time {
    SystemClock.now()
}

/// A browser: cookies, and one step at a time.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            http,
            cookies: BTreeMap::new(),
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> reqwest::Response {
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
    async fn go(&mut self, address: &Url, person: &str) -> (CallbackParams, bool) {
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
struct World {
    identity: OpenIdConnect,
    browser: Browser,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: Settings) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let world = Self {
            identity: OpenIdConnect::new(settings).unwrap(),
            browser: Browser::new(),
            _alone: alone,
        };
        world.control("faults", json!({})).await;
        world
    }

    async fn control(&self, what: &str, asked: serde_json::Value) {
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

    fn asking(purpose: Purpose, who: Option<&SignedIn>) -> Asking {
        Asking {
            purpose,
            return_to: "/requests/1".to_owned(),
            person: who.map(|one| one.person.clone()),
        }
    }

    /// One whole round trip; also says whether the provider asked for a sign-in.
    async fn trip(
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

    async fn sign_in(&mut self, as_whom: &str) -> Result<SignedIn, Refusal> {
        self.trip(Purpose::SignIn, as_whom, None).await.0
    }
}

/// Past the second in which an earlier login happened: `auth_time` counts whole seconds.
async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}

#[tokio::test]
async fn signing_in_tells_who_it_is() {
    let mut world = World::new().await;
    let signed = world.sign_in("oncall").await.unwrap();
    assert_eq!(signed.person.person_claim, "E1001");
    assert_eq!(signed.person.groups, ["payments"]);
    assert_eq!(signed.person.forge_login.as_deref(), Some("oncall"));
    assert_eq!(signed.person.verified_email(), Some("oncall@example.test"));
    assert_eq!(signed.person.issuer, issuer());
    assert!((now() - signed.auth_time).num_seconds() < 10);
    // The second time, the provider's session is enough.
    let (again, asked, _) = world.trip(Purpose::SignIn, "oncall", None).await;
    assert!(!asked, "a provider's session of seconds ago is enough");
    assert_eq!(again.unwrap().auth_time, signed.auth_time);
}

#[tokio::test]
async fn two_accounts_of_one_employee_are_seen_as_one_person() {
    let mut world = World::new().await;
    let mut people = vec![];
    for who in ["oncall", "oncall-lead", "same-mail", "approver"] {
        world.browser = Browser::new();
        people.push(world.sign_in(who).await.unwrap().person);
    }
    assert!(people[0].same_person(&people[1]), "the same employee id");
    assert!(
        people[0].same_person(&people[2]),
        "the same verified e-mail in capitals"
    );
    assert!(!people[0].same_person(&people[3]));
}

#[tokio::test]
async fn window_0_asks_again_and_gets_a_new_login() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    next_second().await;
    let (stepped, asked, flow) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    let stepped = stepped.unwrap();
    assert!(asked, "window 0 always asks");
    assert!(stepped.auth_time > first.auth_time);
    assert_eq!(flow.return_to, "/requests/1");
}

#[tokio::test]
async fn a_window_is_silent_while_the_login_is_fresh() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    let (stepped, asked, _) = world
        .trip(Purpose::StepUp { window_s: 300 }, "oncall", Some(&first))
        .await;
    assert!(!asked);
    assert_eq!(stepped.unwrap().auth_time, first.auth_time);
    next_second().await;
    next_second().await;
    let (stepped, asked, _) = world
        .trip(Purpose::StepUp { window_s: 1 }, "oncall", Some(&first))
        .await;
    assert!(asked, "older than the window");
    assert!(stepped.unwrap().auth_time > first.auth_time);
}

#[tokio::test]
async fn the_returned_login_time_counts_not_that_it_was_asked_for() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    world.control("faults", json!({"token": "stale-auth-time"})).await;
    for window_s in [0, 300] {
        let (stepped, _, _) = world
            .trip(Purpose::StepUp { window_s }, "oncall", Some(&first))
            .await;
        assert!(
            matches!(stepped, Err(Refusal::NotFresh { .. })),
            "{window_s}: {stepped:?}"
        );
    }
    assert!(
        matches!(world.sign_in("oncall").await, Err(Refusal::NotFresh { .. })),
        "beyond half a day"
    );
    world.control("faults", json!({"token": "no-auth-time"})).await;
    assert_eq!(world.sign_in("oncall").await.unwrap_err(), Refusal::NoAuthTime);
    world
        .control("faults", json!({"token": "future-auth-time"}))
        .await;
    assert!(matches!(
        world.sign_in("oncall").await,
        Err(Refusal::FutureLogin { .. })
    ));
}

#[tokio::test]
async fn a_step_up_by_another_account_is_refused() {
    let mut world = World::new().await;
    let first = world.sign_in("oncall").await.unwrap();
    for other in ["second", "oncall-lead"] {
        let (stepped, _, _) = world
            .trip(Purpose::StepUp { window_s: 0 }, other, Some(&first))
            .await;
        assert_eq!(stepped.unwrap_err(), Refusal::OtherAccount, "{other}");
    }
    world.control("faults", json!({"token": "other-person"})).await;
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert_eq!(stepped.unwrap_err(), Refusal::OtherAccount);
}

#[tokio::test]
async fn the_level_of_authentication_is_verified() {
    let mut world = World::with(Settings {
        acr_values: Some(vec![STRONG.to_owned()]),
        ..settings()
    })
    .await;
    let first = world.sign_in("oncall").await.unwrap();
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert!(stepped.is_ok(), "{stepped:?}");
    world.identity = OpenIdConnect::new(Settings {
        acr_values: Some(vec!["phr".to_owned()]),
        ..settings()
    })
    .unwrap();
    let (stepped, _, _) = world
        .trip(Purpose::StepUp { window_s: 0 }, "oncall", Some(&first))
        .await;
    assert!(matches!(stepped, Err(Refusal::TooWeak { .. })), "{stepped:?}");
}

#[tokio::test]
async fn a_tampered_token_is_refused_for_what_is_wrong_with_it() {
    let mut world = World::new().await;
    for (fault, refusal) in [
        ("nonce", TokenFault::Nonce),
        ("no-nonce", TokenFault::Nonce),
        ("aud", TokenFault::Audience),
        ("aud-extra", TokenFault::Audience),
        ("azp", TokenFault::Audience),
        ("iss", TokenFault::Issuer),
        ("expired", TokenFault::Expired),
        ("future-iat", TokenFault::IssuedAt),
        ("alg-none", TokenFault::Algorithm),
        ("alg-hmac", TokenFault::Algorithm),
        ("other-key", TokenFault::Signature),
        ("flipped-signature", TokenFault::Signature),
    ] {
        world.control("faults", json!({"token": fault})).await;
        assert_eq!(
            world.sign_in("oncall").await.unwrap_err(),
            Refusal::BadToken(refusal),
            "{fault}"
        );
    }
    world.control("faults", json!({})).await;
    assert!(
        world.sign_in("oncall").await.is_ok(),
        "honest again, so the faults were the reason"
    );
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_refused() {
    let mut world = World::new().await;
    let begin = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let other = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let (honest, _) = world.browser.go(&begin.authorize_url, "oncall").await;
    let finish = async |flow: &Flow, params: CallbackParams, at: Time| {
        world
            .identity
            .finish(flow, &params, at)
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(
        finish(&other.flow, honest.clone(), now()).await,
        Refusal::StateMismatch
    );
    assert_eq!(
        finish(
            &begin.flow,
            CallbackParams {
                state: None,
                ..honest.clone()
            },
            now()
        )
        .await,
        Refusal::StateMismatch
    );
    let elsewhere = CallbackParams {
        iss: Some("https://other.example.test".to_owned()),
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, elsewhere, now()).await,
        Refusal::WrongProvider
    );
    let unnamed = CallbackParams {
        iss: None,
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, unnamed, now()).await,
        Refusal::WrongProvider,
        "this provider always names itself"
    );
    assert_eq!(
        finish(
            &begin.flow,
            CallbackParams {
                code: None,
                ..honest.clone()
            },
            now()
        )
        .await,
        Refusal::Incomplete
    );
    let late = now() + TimeDelta::minutes(31);
    assert_eq!(
        finish(&begin.flow, honest.clone(), late).await,
        Refusal::TookTooLong
    );
    let declined = CallbackParams {
        error: Some("access_denied".to_owned()),
        error_description: None,
        ..honest.clone()
    };
    assert_eq!(
        finish(&begin.flow, declined, now()).await,
        Refusal::ProviderRefused("access_denied".to_owned())
    );
    // A code is worth nothing without the verifier of the flow that asked for it, and is used up by the try.
    let stolen = Flow {
        state: begin.flow.state.clone(),
        nonce: begin.flow.nonce.clone(),
        ..other.flow.clone()
    };
    assert!(matches!(
        finish(&stolen, honest.clone(), now()).await,
        Refusal::CodeRefused(_)
    ));
}

#[tokio::test]
async fn a_code_works_once() {
    let mut world = World::new().await;
    let begin = world
        .identity
        .begin(World::asking(Purpose::SignIn, None), now())
        .await
        .unwrap();
    let (params, _) = world.browser.go(&begin.authorize_url, "oncall").await;
    assert!(world.identity.finish(&begin.flow, &params, now()).await.is_ok());
    let again = world.identity.finish(&begin.flow, &params, now()).await;
    assert!(matches!(again, Err(Refusal::CodeRefused(_))), "{again:?}");
}

#[tokio::test]
async fn accounts_that_cannot_be_told_apart_stay_outside() {
    let mut world = World::new().await;
    assert_eq!(
        world.sign_in("many-groups").await.unwrap_err(),
        Refusal::GroupsOverage
    );
    world.browser = Browser::new();
    let nobody = world.sign_in("no-employee").await.unwrap_err();
    assert_eq!(
        nobody,
        Refusal::NoPersonClaim {
            claim: "employee_id".to_owned()
        }
    );
    assert!(
        nobody.to_string().contains("employee_id"),
        "says which claim is missing"
    );
}

#[tokio::test]
async fn an_approval_is_the_providers_word_on_one_request_by_one_person() {
    let mut world = World::new().await;
    let before = world.sign_in("approver").await.unwrap();
    let purpose = Purpose::approve([7; 32], 300);
    let Purpose::Approve { salt, .. } = purpose else {
        unreachable!()
    };
    let (approved, asked, _) = world.trip(purpose, "approver", Some(&before)).await;
    let approved = approved.unwrap();
    assert!(!asked, "silent while the login is fresh");

    let (issuer, at) = (issuer(), now());
    let claim = ApprovalClaim {
        issuer: &issuer,
        client_id: "breakglass-test",
        request_hash: &[7; 32],
        salt: &salt,
        person: &approved.person,
        person_claim: Some("employee_id"),
        approved_at: at,
    };
    let check = |token: &str, claim: &ApprovalClaim<'_>| check_approval_token(token, &approved.jwk, claim);
    let raw = approved.id_token_raw.as_str();
    let proof = check(raw, &claim).unwrap();
    assert_eq!(proof.auth_time, Some(before.auth_time));

    let fails = |change: ApprovalClaim<'_>| check(raw, &change).unwrap_err();
    assert_eq!(
        fails(ApprovalClaim {
            request_hash: &[8; 32],
            ..claim
        }),
        ProofError::OtherRequest
    );
    assert_eq!(
        fails(ApprovalClaim {
            salt: &[8; 32],
            ..claim
        }),
        ProofError::OtherRequest
    );
    assert_eq!(
        fails(ApprovalClaim {
            client_id: "other",
            ..claim
        }),
        ProofError::Token(TokenFault::Audience)
    );
    assert_eq!(
        fails(ApprovalClaim {
            issuer: "https://x.test",
            ..claim
        }),
        ProofError::Token(TokenFault::Issuer)
    );
    let later = ApprovalClaim {
        approved_at: at + TimeDelta::hours(1),
        ..claim
    };
    assert_eq!(
        fails(later),
        ProofError::Token(TokenFault::Expired),
        "recorded an hour after it was signed"
    );
    let earlier = ApprovalClaim {
        approved_at: at - TimeDelta::hours(1),
        ..claim
    };
    assert_eq!(
        fails(earlier),
        ProofError::Token(TokenFault::IssuedAt),
        "recorded an hour before"
    );

    world.browser = Browser::new();
    let other = world.sign_in("approver2").await.unwrap().person;
    assert_eq!(
        fails(ApprovalClaim {
            person: &other,
            ..claim
        }),
        ProofError::OtherPerson
    );
    let mut renamed = approved.person.clone();
    renamed.person_claim = "E9999".to_owned();
    assert_eq!(
        fails(ApprovalClaim {
            person: &renamed,
            ..claim
        }),
        ProofError::OtherPerson,
        "a person claim made up later"
    );

    // A sign-in's token, honest as it is, approves nothing; nor does a token under somebody else's key.
    assert_eq!(
        check(&before.id_token_raw, &claim).unwrap_err(),
        ProofError::OtherRequest
    );
    world.control("rotate", json!({})).await;
    let elsewhere = world.sign_in("second").await.unwrap();
    assert_ne!(elsewhere.jwk, approved.jwk);
    let swapped = check_approval_token(raw, &elsewhere.jwk, &claim);
    assert_eq!(swapped, Err(ProofError::Token(TokenFault::UnknownKey)));
    let symmetric = check_approval_token(raw, &json!({"kty": "oct", "k": "c2VjcmV0"}), &claim);
    assert_eq!(symmetric, Err(ProofError::Key));
}

#[tokio::test]
async fn a_new_signing_key_is_picked_up() {
    let mut world = World::new().await;
    let before = world.sign_in("oncall").await.unwrap();
    world.control("rotate", json!({"forget": true})).await;
    let after = world.sign_in("oncall").await.unwrap();
    assert_ne!(before.jwk["kid"], after.jwk["kid"]);
    // A key that never becomes known is asked for, in vain, at most every three seconds.
    world.control("faults", json!({"token": "other-key"})).await;
    assert_eq!(
        world.sign_in("oncall").await.unwrap_err(),
        Refusal::BadToken(TokenFault::Signature)
    );
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_to_be_and_comes_back() {
    let mut world = World::new().await;
    for (fault, most) in [("reset", 2), ("error", 2), ("huge", 5), ("hang", 12)] {
        world.identity =
            OpenIdConnect::new(settings()).expect("a provider that is down keeps nobody from starting");
        world.control("faults", json!({"wire": fault})).await;
        let began = std::time::Instant::now();
        let refusal = world
            .identity
            .begin(World::asking(Purpose::SignIn, None), now())
            .await
            .unwrap_err();
        assert!(
            matches!(refusal, Refusal::ProviderUnreachable { .. }),
            "{fault}: {refusal:?}"
        );
        assert!(refusal.is_passing());
        assert!(
            began.elapsed().as_secs() < most,
            "{fault} took {:?}",
            began.elapsed()
        );
        world.control("faults", json!({})).await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        world.browser = Browser::new();
        assert!(world.sign_in("oncall").await.is_ok(), "{fault} is over");
    }
    // Known already, it need not be asked again to send somebody there; the exchange then says that it is down.
    world
        .control("faults", json!({"wire": "error", "only": ["/token"]}))
        .await;
    let refusal = world.sign_in("oncall").await.unwrap_err();
    assert!(
        matches!(refusal, Refusal::ProviderUnreachable { .. }),
        "{refusal:?}"
    );
    assert!(
        !refusal.to_string().contains("a-test-secret"),
        "no secret in what is shown"
    );
}

#[tokio::test]
async fn signing_out_ends_the_providers_session() {
    let mut world = World::new().await;
    let signed = world.sign_in("oncall").await.unwrap();
    let back = Url::parse("http://127.0.0.1:9/signed-out").unwrap();
    let address = world
        .identity
        .logout_url(&signed.id_token_raw, &back, now())
        .await
        .unwrap();
    let page = world
        .browser
        .send(world.browser.http.get(address.clone()))
        .await
        .text()
        .await
        .unwrap();
    let between = |from: &str, to: &str| {
        page.split_once(from)
            .unwrap()
            .1
            .split_once(to)
            .unwrap()
            .0
            .to_owned()
    };
    let action = address.join(&between("action=\"", "\"")).unwrap();
    let form = [
        ("xsrf", between("name=\"xsrf\" value=\"", "\"")),
        ("logout", "yes".to_owned()),
    ];
    let answer = world
        .browser
        .send(world.browser.http.post(action).form(&form))
        .await;
    assert!(
        answer.headers()[LOCATION]
            .to_str()
            .unwrap()
            .starts_with(back.as_str())
    );
    let (_, asked, _) = world.trip(Purpose::SignIn, "oncall", None).await;
    assert!(asked, "the provider forgot them");
}
