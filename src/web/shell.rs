//! What stands around every page, and who may see what.

use super::error::Result;
use super::pages::{Alarm, Href, LiveBar, LivePhase, PersonRef, Place, Shell, Text, Words};
use super::session::{Signed, display};
use super::{App, waits};
use crate::config::Config;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role, is_approver, teams_of};
use crate::domain::request::Request;
use crate::store::RequestFilter;
use chrono_tz::Tz;
use std::sync::Arc;

/// The most things one list looks at.
pub const MANY: u32 = 1_000;

/// Whether `person` may see every team's emergencies.
#[must_use]
pub fn sees_all(config: &Config, person: &Person) -> bool {
    [Role::Compliance, Role::Auditor, Role::Revoker, Role::Operator]
        .into_iter()
        .any(|role| has_role(config, person, role))
}

/// Somebody whose groups mean something here: a role, a team, a circle of approvers.
#[must_use]
pub fn is_known(config: &Config, person: &Person) -> bool {
    use Role::{Approver, Auditor, Compliance, Engineer, Operator, Revoker};
    [Engineer, Approver, Revoker, Compliance, Auditor, Operator]
        .into_iter()
        .any(|role| has_role(config, person, role))
        || !teams_of(config, person).is_empty()
        || config
            .profiles
            .values()
            .any(|profile| is_approver(config, profile, person))
}

/// Whether `person` may open a place of the navigation.
#[must_use]
pub fn may_open(config: &Config, person: &Person, place: Place) -> bool {
    match place {
        Place::Start | Place::Requests | Place::Clusters | Place::Policy | Place::Sla => true,
        Place::Approvals => {
            has_role(config, person, Role::Approver)
                || config
                    .profiles
                    .values()
                    .any(|profile| is_approver(config, profile, person))
        }
        Place::Feed | Place::Ledger => sees_all(config, person),
    }
}

/// Whether `person` may know of something: of their team, of a profile they approve, their own, or everything.
#[must_use]
pub fn may_see(config: &Config, person: &Person, team: &str, profile: &str, requester: &Person) -> bool {
    sees_all(config, person)
        || requester.surely_same_person(person)
        || teams_of(config, person).iter().any(|own| own == team)
        || config
            .profiles
            .get(profile)
            .is_some_and(|profile| is_approver(config, profile, person))
}

/// [`may_see`] of a request.
#[must_use]
pub fn may_see_request(config: &Config, person: &Person, request: &Request) -> bool {
    let ask = &request.ask;
    may_see(config, person, &ask.team, &ask.profile, &ask.requester)
        || request
            .approvals()
            .iter()
            .any(|approval| approval.by.surely_same_person(person))
}

/// [`may_see`] of a grant.
#[must_use]
pub fn may_see_grant(config: &Config, person: &Person, grant: &Grant) -> bool {
    may_see(config, person, &grant.team, &grant.profile, &grant.requester)
        || grant
            .approvers
            .iter()
            .any(|approver| approver.surely_same_person(person))
}

/// A person as pages show them: the name, and the claim behind it. Never the address.
#[must_use]
pub fn person_ref(app: &App, person: &Person) -> PersonRef {
    PersonRef::new(
        display(person),
        format!("{} {}", app.config().sign_in.person_claim, person.person_claim),
    )
}

/// What stands around a page of somebody signed in.
///
/// # Errors
/// The store's.
pub async fn shell(
    app: &App,
    signed: &Signed,
    title: impl Into<Text>,
    place: Option<Place>,
) -> Result<Shell> {
    let (config, person) = (app.config(), &signed.person);
    let live = app.broker.live_grants(None).await?;
    let mut shell = bare(app, title, signed.tz);
    shell.place = place;
    for grant in &live {
        if grant.requester.surely_same_person(person)
            && let Some(phase) = phase(&shell, grant)
        {
            shell.livebars.push(LiveBar {
                href: Href::path(format!("/grants/{}", grant.id)),
                profile: (&grant.profile).into(),
                cluster: (&grant.cluster).into(),
                namespaces: places(&grant.namespaces).into(),
                phase,
            });
        }
        if let Some(ending) = grant.ending.as_ref().filter(|ending| ending.stuck) {
            // Everybody is told that it is stuck; whose it is, only those who may know.
            let words = if may_see_grant(config, person, grant) {
                Words::say(format!("{} of ", grant.profile))
                    .person(person_ref(app, &grant.requester))
                    .and(format!(" on {} cannot be taken away.", grant.cluster))
            } else {
                Words::say(format!(
                    "An access on {} cannot be taken away; compliance was told.",
                    grant.cluster
                ))
            };
            shell.alarms.push(Alarm {
                words,
                href: Href::path(format!("/grants/{}", grant.id)),
                since: shell.when(ending.failing_since.unwrap_or(ending.since)),
            });
        }
    }
    shell.person = Some(super::pages::Signed {
        name: display(person),
        team: teams_of(config, person).join(", ").into(),
        csrf: signed.csrf.clone(),
        places: Place::ALL
            .into_iter()
            .filter(|place| may_open(config, person, *place))
            .collect(),
        waiting: waiting(app, person).await?.len(),
    });
    Ok(shell)
}

/// The requests that wait for `person`'s decision, oldest first.
///
/// # Errors
/// The store's.
pub async fn waiting(app: &App, person: &Person) -> Result<Vec<Arc<Request>>> {
    let filter = RequestFilter {
        state: Some("pending"),
        limit: MANY,
        ..RequestFilter::default()
    };
    let now = app.broker.now();
    let mut found = app.broker.store.requests(filter).await?;
    found.retain(|request| app.broker.may_decide(request, person, now).is_ok());
    found.sort_by_key(|request| request.filed_at);
    Ok(found)
}

/// What stands around a page of nobody.
#[must_use]
pub fn bare(app: &App, title: impl Into<Text>, tz: Tz) -> Shell {
    let mut shell = Shell {
        title: title.into(),
        place: None,
        person: None,
        livebars: vec![],
        alarms: vec![],
        notes: vec![],
        now: app.broker.now(),
        tz,
    };
    shell.notes.extend(waits::of_store(app, &shell));
    shell
}

/// Namespaces as one phrase.
#[must_use]
pub fn places(namespaces: &[String]) -> String {
    if namespaces.is_empty() {
        "the whole cluster".to_owned()
    } else {
        namespaces.join(", ")
    }
}

fn phase(shell: &Shell, grant: &Grant) -> Option<LivePhase> {
    match (grant.state, grant.ends_at) {
        (GrantState::Active | GrantState::Issuing, Some(until)) => Some(LivePhase::Active(shell.when(until))),
        (GrantState::Ready | GrantState::Issuing, _) => Some(LivePhase::Ready(shell.when(grant.shelf_until))),
        (GrantState::Ending, _) => Some(LivePhase::Ending),
        _ => None,
    }
}

/// A shell of nobody at the beginning of time.
#[cfg(test)]
#[must_use]
pub fn for_test() -> Shell {
    Shell {
        title: "test".into(),
        place: None,
        person: None,
        livebars: vec![],
        alarms: vec![],
        notes: vec![],
        now: crate::clock::Time::UNIX_EPOCH,
        tz: Tz::UTC,
    }
}
