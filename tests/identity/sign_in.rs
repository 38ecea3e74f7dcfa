//! Who comes in, who stays outside, and how they leave.

use crate::world::{Browser, World, issuer, now};
use breakglass::identity::{Identity as _, Purpose, Refusal};
use reqwest::header::LOCATION;
use url::Url;

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
