//! Requests: the list, one request, and what can be decided about it.

use super::csrf::{Fields, Posted};
use super::error::Result;
use super::pages::approvals::ApprovalsPage;
use super::pages::request::{Decision, RequestPage, RequestState as Shown};
use super::pages::requests::RequestsPage;
use super::pages::{
    Badge, Card, Choice, Filter, Href, Look, Pager, Place, Reason, Shell, Table, Text, Words,
};
use super::session::Signed;
use super::shell::{self, MANY, may_see_request, person_ref, places};
use super::sign_in::{Action, step_up};
use super::start::request_card;
use super::words::{grant_badge, history, in_words, incident, request_badge, rule_lines};
use super::{App, Error, page, waits};
use crate::broker::BrokerError;
use crate::broker::request::minutes;
use crate::domain::grant::Grant;
use crate::domain::policy::{Role, has_role, is_approver};
use crate::domain::request::{Request, RequestState};
use crate::identity::Purpose;
use crate::ids::RequestId;
use crate::store::{EntryFilter, FollowUpFilter, GrantFilter, RequestFilter};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use chrono::TimeDelta;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Rows of a list on one page.
const PAGE: usize = 50;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/requests", get(list).post(super::request_form::send))
        .route("/requests/new", get(super::request_form::blank))
        .route("/requests/preview", post(super::request_form::preview))
        .route("/requests/{id}", get(show))
        .route("/requests/{id}/approve", post(approve))
        .route("/requests/{id}/deny", post(deny))
        .route("/requests/{id}/withdraw", post(withdraw))
        .route("/approvals", get(inbox))
}

/// Seconds as the field `minutes` has them.
#[must_use]
pub fn minutes_value(seconds: u32) -> String {
    (f64::from(seconds) / 60.0).to_string()
}

/// The field `minutes` in seconds; nothing when it is no length of time.
#[must_use]
pub fn seconds_of(minutes: &str) -> Option<u32> {
    let seconds = (minutes.trim().parse::<f64>().ok()? * 60.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the range"
    )]
    (1.0..=31_536_000.0).contains(&seconds).then_some(seconds as u32)
}

/// A request that the reader may know of.
async fn seen(app: &App, signed: &Signed, id: &str) -> Result<Request> {
    let id: RequestId = id.parse().map_err(|_| Error::NotFound)?;
    let request = app.broker.request_of(id).await?;
    if may_see_request(app.config(), &signed.person, &request) {
        Ok(request)
    } else {
        Err(Error::NotFound)
    }
}

async fn list(State(app): State<App>, signed: Signed, RawQuery(query): RawQuery) -> Result {
    let shell = shell::shell(&app, &signed, "Requests", Some(Place::Requests)).await?;
    let asked = Fields::parse(query.unwrap_or_default().as_bytes());
    let (mut requests, grants, older) = listed(&app).await?;
    requests.retain(|request| may_see_request(app.config(), &signed.person, request));
    let grants: HashMap<RequestId, &Arc<Grant>> = grants.iter().map(|grant| (grant.request, grant)).collect();
    let is_alive = |request: &Request| {
        request.state_name() == "pending"
            || grants.get(&request.id).is_some_and(|grant| grant.state.is_live())
    };
    let alive = requests.iter().filter(|request| is_alive(request)).count();
    let filters = filters(&requests, &asked);
    requests.retain(|request| {
        let ask = &request.ask;
        let fits = |name: &str, own: &str| asked.get(name).is_empty() || asked.get(name) == own;
        let state = match asked.get("state") {
            "alive" => is_alive(request),
            "waiting" => request.state_name() == "pending",
            "over" => !is_alive(request),
            _ => true,
        };
        let who = asked.get("who") != "me" || ask.requester.surely_same_person(&signed.person);
        state
            && who
            && fits("cluster", &ask.cluster)
            && fits("team", &ask.team)
            && fits("profile", &ask.profile)
    });
    let (pager, range) = pager(&asked, "/requests", requests.len());
    let mut table = Table::new(
        "Requests and accesses, newest first",
        &["State", "Who", "What", "Where", "Asked"],
        "Nobody has asked for anything that fits.",
    );
    for request in &requests[range] {
        let ask = &request.ask;
        let grant = grants.get(&request.id);
        let to = match grant {
            Some(grant) => Href::path(format!("/grants/{}", grant.id)),
            None => Href::path(format!("/requests/{}", request.id)),
        };
        let badge = grant.map_or_else(|| request_badge(request), |grant| grant_badge(grant));
        let look = matches!(badge.look, Look::Live | Look::Late).then_some(badge.look);
        let cells = vec![
            badge.into(),
            person_ref(&app, &ask.requester).into(),
            Words::default().link(to, format!("{} for {}", ask.profile, minutes(ask.duration_s))),
            format!("{}: {}", ask.cluster, places(&ask.namespaces)).into(),
            shell.when(request.filed_at).into(),
        ];
        table = table.row(look, cells);
    }
    let may_ask = has_role(app.config(), &signed.person, Role::Engineer);
    page(&RequestsPage {
        shell,
        alive,
        may_ask,
        filters,
        older,
        table,
        pager,
    })
}

/// The newest requests and grants, what is alive of the older ones, and where those are that are not listed.
async fn listed(app: &App) -> Result<(Vec<Arc<Request>>, Vec<Arc<Grant>>, Option<Words>)> {
    let store = &app.broker.store;
    let newest = RequestFilter {
        limit: MANY,
        ..RequestFilter::default()
    };
    let mut requests = store.requests(newest.clone()).await?;
    let mut grants = app.broker.live_grants(None).await?;
    let older = (requests.len() == MANY as usize).then(|| {
        Words::say(format!(
            "Only what is alive, and the newest {MANY} requests of all, are listed here. Older ones are in the record: "
        ))
        .link(Href::path("/ledger?kind=request-filed"), "every request that was filed")
        .and(".")
    });
    if older.is_some() {
        let pending = RequestFilter {
            state: Some("pending"),
            ..newest
        };
        requests.extend(store.requests(pending).await?);
        for grant in &grants {
            requests.extend(store.request(grant.request).await?.map(Arc::new));
        }
        let mut known = HashSet::new();
        requests.retain(|request| known.insert(request.id));
        requests.sort_by_key(|request| Reverse(request.filed_at));
    }
    let newest = GrantFilter {
        limit: MANY,
        ..GrantFilter::default()
    };
    grants.extend(store.grants(newest).await?);
    Ok((requests, grants, older))
}

fn filters(requests: &[Arc<Request>], asked: &Fields) -> Vec<Filter> {
    let fixed = |name: &'static str, label: &'static str, values: &[(&str, &str)]| Filter {
        name,
        label,
        choices: values
            .iter()
            .map(|(v, l)| Choice::new(*v, *l, asked.get(name) == *v))
            .collect(),
    };
    let found = |name: &'static str, label: &'static str, of: fn(&Request) -> &String| {
        let values: BTreeSet<&String> = requests.iter().map(|request| of(request)).collect();
        let mut choices = vec![Choice::new("", "all", asked.get(name).is_empty())];
        choices.extend(
            values
                .into_iter()
                .map(|v| Choice::new(v, v, asked.get(name) == v)),
        );
        Filter { name, label, choices }
    };
    vec![
        fixed(
            "state",
            "State",
            &[
                ("", "all"),
                ("alive", "alive"),
                ("waiting", "waiting"),
                ("over", "over"),
            ],
        ),
        fixed("who", "Who", &[("", "everybody"), ("me", "me")]),
        found("team", "Team", |request| &request.ask.team),
        found("cluster", "Cluster", |request| &request.ask.cluster),
        found("profile", "Profile", |request| &request.ask.profile),
    ]
}

/// The page of a list that was asked for (`page`, from 1), and what of the list it shows.
pub(super) fn pager(asked: &Fields, path: &str, total: usize) -> (Pager, std::ops::Range<usize>) {
    let last = total.div_ceil(PAGE).max(1);
    let at = asked.get("page").parse::<usize>().unwrap_or(1).clamp(1, last);
    let range = (at - 1) * PAGE..(at * PAGE).min(total);
    let to = |page: usize| Href::path(format!("{path}?{}", asked.with("page", &page.to_string())));
    let shows = if total == 0 {
        String::new()
    } else {
        format!("{} to {} of {total}", range.start + 1, range.end)
    };
    let pager = Pager {
        shows: shows.into(),
        newer: (at > 1).then(|| to(at - 1)),
        older: (at < last).then(|| to(at + 1)),
    };
    (pager, range)
}

async fn show(State(app): State<App>, signed: Signed, Path(id): Path<String>) -> Result {
    let request = seen(&app, &signed, &id).await?;
    page(&request_page(&app, &signed, request, String::new(), None).await?)
}

/// The page of a request, with what was typed and why it was not taken.
async fn request_page(
    app: &App,
    signed: &Signed,
    request: Request,
    typed: String,
    error: Option<Text>,
) -> Result<RequestPage> {
    let person = &signed.person;
    let place = if shell::waiting(app, person)
        .await?
        .iter()
        .any(|own| own.id == request.id)
    {
        Place::Approvals
    } else {
        Place::Requests
    };
    let title = format!("{} on {}", request.ask.profile, request.ask.cluster);
    let shell = shell::shell(app, signed, title, Some(place)).await?;
    let filter = EntryFilter {
        request: Some(request.id),
        ..EntryFilter::default()
    };
    let next = (request.state_name() == "pending").then(|| Words::say("approved or denied"));
    let history = history(app, signed, &shell, filter, next).await?;
    let (may, may_not) = in_words(&request.ask.rules);
    let mine = request.ask.requester.surely_same_person(person);
    let ask = &request.ask;
    Ok(RequestPage {
        id: request.id,
        who: person_ref(app, &ask.requester),
        mine,
        profile: (&ask.profile).into(),
        cluster: (&ask.cluster).into(),
        namespaces: ask.namespaces.iter().map(Text::from).collect(),
        lasts: TimeDelta::seconds(i64::from(ask.duration_s)),
        team: (&ask.team).into(),
        team_debt: debt(app, &ask.team).await?,
        reason: Text::prose(&ask.reason),
        incident: ask.incident.as_deref().map(incident),
        filed: shell.when(request.filed_at),
        extends: ask.extends.map(|grant| Href::path(format!("/grants/{grant}"))),
        state: state(app, &shell, &request).await?,
        may,
        may_not,
        rules: rule_lines(&ask.rules),
        rules_digest: crate::domain::canonical::digest("breakglass rules v1", &ask.rules).into(),
        hash: request.hash().into(),
        policy: policy(app, &request),
        overlaps: overlaps(app, &request).await?,
        notes: match request.state_name() {
            "pending" => waits::of_request(app, &shell, request.id).await?,
            _ => vec![],
        },
        decision: decision(app, &shell, &request, signed, typed, error),
        can_withdraw: mine && request.state_name() == "pending",
        history,
        shell,
    })
}

async fn state(app: &App, shell: &Shell, request: &Request) -> Result<Shown> {
    let count = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    Ok(match &request.state {
        RequestState::Pending { approvals } => {
            let people = app.broker.store.people().await?;
            let profile = app.config().profiles.get(&request.ask.profile);
            let told = people
                .iter()
                .filter(|one| profile.is_some_and(|profile| is_approver(app.config(), profile, one)))
                .filter(|one| !request.ask.requester.same_person(one))
                .map(|one| person_ref(app, one))
                .collect();
            Shown::Pending {
                given: u8::try_from(approvals.len()).unwrap_or(u8::MAX),
                needed: count(request.ask.approvals_needed),
                told,
                lapses: shell.when(request.lapses_at),
            }
        }
        RequestState::Approved { approvals, at, grant } => Shown::Approved {
            by: approvals
                .iter()
                .map(|approval| person_ref(app, &approval.by))
                .collect(),
            at: shell.when(*at),
            lasts: TimeDelta::seconds(i64::from(
                approvals
                    .iter()
                    .map(|approval| approval.duration_s)
                    .min()
                    .unwrap_or(request.ask.duration_s),
            )),
            grant: Href::path(format!("/grants/{grant}")),
        },
        RequestState::Denied { by, reason, at } => Shown::Denied {
            by: person_ref(app, by),
            at: shell.when(*at),
            reason: Text::prose(reason),
        },
        RequestState::Withdrawn { at } => Shown::Withdrawn { at: shell.when(*at) },
        RequestState::Lapsed { at } => Shown::Lapsed { at: shell.when(*at) },
    })
}

async fn debt(app: &App, team: &str) -> Result<Option<Words>> {
    let filter = FollowUpFilter {
        open: true,
        team: Some(team.to_owned()),
        limit: MANY,
        ..FollowUpFilter::default()
    };
    let open = app.broker.store.follow_ups(filter).await?;
    if open.is_empty() {
        return Ok(None);
    }
    let late = open.iter().filter(|follow_up| follow_up.is_breached()).count();
    let late = if late == 0 {
        "none late".to_owned()
    } else {
        format!("{late} late")
    };
    Ok(Some(
        format!(
            "{}, {late}",
            super::pages::count(open.len(), "debt open", "debts open")
        )
        .into(),
    ))
}

fn policy(app: &App, request: &Request) -> Vec<Reason> {
    let ask = &request.ask;
    let same = app
        .config()
        .profiles
        .get(&ask.profile)
        .is_some_and(|profile| profile.digest() == ask.profile_digest);
    let mut reasons = vec![Reason {
        allows: true,
        words: format!(
            "{} asked as {}, which may use {} on {}",
            ask.requester.name, ask.team, ask.profile, ask.cluster
        )
        .into(),
    }];
    reasons.push(Reason {
        allows: true,
        words: format!(
            "needs {}{}",
            super::pages::count(ask.approvals_needed as usize, "approval", "approvals"),
            if ask.outside_needed > 0 {
                ", one from outside the team: it owes git a late clean-up"
            } else {
                ""
            }
        )
        .into(),
    });
    if request.state_name() == "pending" {
        let words = if same {
            "the profile is as it was when this was asked"
        } else {
            "the profile was changed after this was asked; a new request is needed"
        };
        reasons.push(Reason {
            allows: same,
            words: words.into(),
        });
    }
    reasons
}

async fn overlaps(app: &App, request: &Request) -> Result<Vec<Words>> {
    let grants = app.broker.live_grants(Some(&request.ask.cluster)).await?;
    Ok(grants
        .iter()
        .filter(|grant| grant.request != request.id && grant.requester.same_person(&request.ask.requester))
        .filter(|grant| {
            grant
                .namespaces
                .iter()
                .any(|own| request.ask.namespaces.contains(own))
        })
        .map(|grant| {
            Words::default()
                .link(Href::path(format!("/grants/{}", grant.id)), &grant.profile)
                .and(format!(" in {} ", places(&grant.namespaces)))
                .badge(grant_badge(grant))
        })
        .collect())
}

fn decision(
    app: &App,
    shell: &Shell,
    request: &Request,
    signed: &Signed,
    typed: String,
    error: Option<Text>,
) -> Decision {
    if request.state_name() != "pending" {
        return Decision::None;
    }
    match app.broker.may_decide(request, &signed.person, shell.now) {
        Ok(_) => Decision::Mine {
            durations: durations(app, request),
            typed,
            error,
        },
        Err(why) => Decision::NotMine(super::error::sentence(&why.to_string()).into()),
    }
}

/// As asked first, then what the profile offers below it.
fn durations(app: &App, request: &Request) -> Vec<Choice> {
    let asked = request.ask.duration_s;
    let mut shorter: Vec<u32> = app
        .config()
        .profiles
        .get(&request.ask.profile)
        .map(|profile| profile.durations.iter().map(|d| d.seconds()).collect())
        .unwrap_or_default();
    shorter.extend([asked / 2, asked / 4]);
    shorter.retain(|seconds| *seconds < asked && *seconds >= 60);
    shorter.sort_unstable_by(|a, b| b.cmp(a));
    shorter.dedup();
    let mut choices = vec![Choice::new(
        minutes_value(asked),
        format!("{}, as asked", minutes(asked)),
        true,
    )];
    choices.extend(
        shorter
            .into_iter()
            .map(|s| Choice::new(minutes_value(s), minutes(s), false)),
    );
    choices
}

/// Never approves by itself: the provider must sign the hash first, and the callback goes on.
async fn approve(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let Posted { signed, fields, .. } = posted;
    let request = seen(&app, &signed, &id).await?;
    app.broker
        .may_decide(&request, &signed.person, app.broker.now())?;
    let hash = request.hash();
    if fields.get("hash") != hash {
        return Err(Error::Conflict(
            "the request has changed since it was shown; look at it again".into(),
        ));
    }
    let duration_s = seconds_of(fields.get("minutes")).ok_or_else(|| Error::Bad("choose how long".into()))?;
    if duration_s > request.ask.duration_s || duration_s < 60 {
        return Err(Error::Refused(
            "an approver may shorten the time (to one minute at least), never lengthen it".into(),
        ));
    }
    let profile = app
        .config()
        .profiles
        .get(&request.ask.profile)
        .ok_or(Error::NotFound)?;
    let bytes: [u8; 32] = hex::decode(&hash)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::Internal("the hash of a request is no SHA-256".into()))?;
    let purpose = Purpose::approve(bytes, app.config().step_up_window(profile).seconds());
    let action = Action::Approve {
        request: request.id,
        hash,
        duration_s,
    };
    step_up(
        &app,
        &signed,
        purpose,
        action,
        format!("/requests/{}", request.id),
    )
    .await
}

async fn deny(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let request = seen(&app, &posted.signed, &id).await?;
    let reason = posted.fields.get("reason");
    match app.broker.deny(request.id, &posted.signed.person, reason).await {
        Ok(()) => Ok(Redirect::to(&format!("/requests/{}", request.id)).into_response()),
        Err(BrokerError::Refused(why)) if request.state_name() == "pending" => {
            let error = Some(super::error::sentence(&why).into());
            let page_struct = request_page(&app, &posted.signed, request, reason.to_owned(), error).await?;
            let mut response = page(&page_struct)?;
            *response.status_mut() = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

async fn withdraw(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Result {
    let request = seen(&app, &posted.signed, &id).await?;
    app.broker.withdraw(request.id, &posted.signed.person).await?;
    Ok(Redirect::to(&format!("/requests/{}", request.id)).into_response())
}

async fn inbox(State(app): State<App>, signed: Signed) -> Result {
    let (config, person) = (app.config(), &signed.person);
    if !shell::may_open(config, person, Place::Approvals) {
        return Err(Error::NotFound);
    }
    let shell = shell::shell(&app, &signed, "Approvals", Some(Place::Approvals)).await?;
    let now = app.broker.now();
    let requests = app
        .broker
        .store
        .requests(RequestFilter {
            limit: MANY,
            ..RequestFilter::default()
        })
        .await?;
    let (mut waiting, mut not_mine): (Vec<Card>, Vec<Card>) = (vec![], vec![]);
    let mut decided = Table::new(
        "What you decided",
        &["Decision", "Request", "When"],
        "You have decided nothing yet.",
    );
    for request in requests.iter().rev() {
        let for_them = config
            .profiles
            .get(&request.ask.profile)
            .is_some_and(|p| is_approver(config, p, person));
        if request.state_name() == "pending" && for_them {
            let mut card = request_card(&app, &shell, request);
            match app.broker.may_decide(request, person, now) {
                Ok(_) => waiting.push(card),
                Err(why) => {
                    card.detail = card
                        .detail
                        .and(" · ")
                        .and(super::error::sentence(&why.to_string()));
                    not_mine.push(card);
                }
            }
        }
    }
    for request in &requests {
        let said = request
            .approvals()
            .iter()
            .find(|approval| approval.by.surely_same_person(person));
        let (badge, at) = match (&request.state, said) {
            (_, Some(approval)) => (Badge::new(Look::Done, "approved"), approval.at),
            (RequestState::Denied { by, at, .. }, None) if by.surely_same_person(person) => {
                (Badge::new(Look::Late, "denied"), *at)
            }
            _ => continue,
        };
        if decided.rows.len() >= PAGE {
            break;
        }
        let ask = &request.ask;
        let what = Words::default()
            .link(
                Href::path(format!("/requests/{}", request.id)),
                format!("{} on {}", ask.profile, ask.cluster),
            )
            .and(" for ")
            .person(person_ref(&app, &ask.requester));
        decided = decided.row(None, vec![badge.into(), what, shell.when(at).into()]);
    }
    page(&ApprovalsPage {
        shell,
        waiting,
        not_mine,
        decided,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_survives_the_form() {
        for seconds in [60, 90, 100, 900, 3_600, 45 * 60 + 1] {
            assert_eq!(seconds_of(&minutes_value(seconds)), Some(seconds));
        }
        assert_eq!(minutes_value(900), "15");
        for wrong in ["", "x", "-5", "0", "NaN", "inf", "1e30"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_pages_of_a_list_lead_to_each_other_and_keep_the_filters() {
        let (pager, range) = pager(&Fields::parse(b"team=a%26b&page=2"), "/requests", 120);
        assert_eq!(range, 50..100);
        assert_eq!(pager.shows.plain(), "51 to 100 of 120");
        assert_eq!(pager.older, Some(Href::path("/requests?team=a%26b&page=3")));
        let (pager, range) = super::pager(&Fields::parse(b"page=99"), "/requests", 0);
        assert_eq!((range, pager.older, pager.newer), (0..0, None, None));
    }
}
