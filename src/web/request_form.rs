//! Request form: will this get me in, how fast? What was typed is never lost, and what would happen is
//! said before anything is sent.

use super::csrf::{Fields, Posted};
use super::error::Result;
use super::limits::{Who, whole_seconds};
use super::pages::request_form::{FormErrors, Preview as Shown, RequestForm, RequestFormPage, Verdict};
use super::pages::{Badge, Choice, Look, Place, Reason, Text, Words};
use super::requests::{minutes_value, seconds_of};
use super::session::Signed;
use super::shell::{self, person_ref};
use super::{App, Error, page};
use crate::broker::BrokerError;
use crate::broker::request::Preview;
use crate::config::{Config, Profile, Rule, Scope, is_change};
use crate::domain::policy::{Question, teams_of};
use crate::ids::GrantId;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect};

/// What was typed, with the first choice where nothing was.
struct Typed {
    question: Question,
    incident: String,
    extends: Option<GrantId>,
}

/// `GET /requests/new`: any field as a query parameter fills it.
///
/// # Errors
/// The store's.
pub async fn blank(State(app): State<App>, signed: Signed, RawQuery(query): RawQuery) -> Result {
    hold(&app, &signed)?;
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let (typed, preview) = prefilled(&app, &signed, &fields).await?;
    page(&form_page(&app, &signed, typed, &preview, FormErrors::default()).await?)
}

/// `POST /requests/preview`: the answer alone for the script, the whole page without it.
///
/// # Errors
/// The store's.
pub async fn preview(State(app): State<App>, posted: Posted) -> Result {
    hold(&app, &posted.signed)?;
    if posted.fragment {
        let typed = typed(&app, &posted.signed, &posted.fields).await?;
        let preview = app.broker.preview(&posted.signed.person, &typed.question).await?;
        return page(&shown(&app, &typed.question, &preview));
    }
    let (typed, preview) = prefilled(&app, &posted.signed, &posted.fields).await?;
    page(&form_page(&app, &posted.signed, typed, &preview, FormErrors::default()).await?)
}

/// `POST /requests`: files it, or shows the form again with what is wrong.
///
/// # Errors
/// The store's.
pub async fn send(State(app): State<App>, posted: Posted) -> Result {
    hold(&app, &posted.signed)?;
    let person = &posted.signed.person;
    let typed = typed(&app, &posted.signed, &posted.fields).await?;
    let incident = Some(typed.incident.clone());
    let (why, after) = match app
        .broker
        .file(person, typed.question.clone(), incident, typed.extends)
        .await
    {
        Ok(request) => return Ok(Redirect::to(&format!("/requests/{}", request.id)).into_response()),
        Err(BrokerError::Refused(why)) => (why, None),
        // What was typed waits in the form.
        Err(BrokerError::TooOften { why, after }) => (why, Some(after)),
        Err(error) => return Err(error.into()),
    };
    let preview = app.broker.preview(person, &typed.question).await?;
    let mut errors = errors(&preview, &why);
    if after.is_some() {
        errors.whole = Some(Text::prose(super::error::sentence(&why)).sentence());
    }
    let mut response = page(&form_page(&app, &posted.signed, typed, &preview, errors).await?)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    if let Some(after) = after {
        let after = whole_seconds(after.to_std().unwrap_or_default());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(header::RETRY_AFTER, after.into());
    }
    Ok(response)
}

/// What was typed, and where the profile leaves no choice of a namespace, that one.
async fn prefilled(app: &App, signed: &Signed, fields: &Fields) -> Result<(Typed, Preview)> {
    let mut typed = typed(app, signed, fields).await?;
    let settle = |question: &mut Question, namespaces: &[String]| {
        if let [only] = offered(app.config(), question, namespaces).as_slice()
            && !question.namespaces.contains(only)
        {
            question.namespaces = vec![(*only).clone()];
        }
    };
    let asked = &mut typed.question;
    let preview = app.broker.preview_settled(&signed.person, asked, settle).await?;
    Ok((typed, preview))
}

/// The namespaces that the chosen profile can be used in there.
fn offered<'a>(config: &Config, asked: &Question, namespaces: &'a [String]) -> Vec<&'a String> {
    let (profile, cluster) = (
        config.profiles.get(&asked.profile),
        config.clusters.get(&asked.cluster),
    );
    namespaces
        .iter()
        .filter(|name| profile.is_some_and(|profile| profile.allows_namespace(name)))
        .filter(|name| cluster.is_some_and(|cluster| !cluster.protects(name)))
        .collect()
}

/// Each answer asks the cluster, so nobody has them without end.
fn hold(app: &App, signed: &Signed) -> Result<()> {
    app.limits
        .previews
        .hold(&Who::signed(signed), "You asked this form")
}

async fn typed(app: &App, signed: &Signed, fields: &Fields) -> Result<Typed> {
    let config = app.config();
    let or_first = |name: &str, choices: Vec<String>| {
        let value = fields.get(name).to_owned();
        if value.is_empty() {
            choices.into_iter().next().unwrap_or_default()
        } else {
            value
        }
    };
    let extends: Option<GrantId> = match fields.get("extends") {
        "" => None,
        id => Some(id.parse().map_err(|_| Error::NotFound)?),
    };
    let team = or_first("team", teams_of(config, &signed.person));
    let cluster = or_first("cluster", config.clusters.keys().cloned().collect());
    let usable = |own: &&Profile| own.teams.is_empty() || own.teams.contains(&team);
    let mut profiles: Vec<_> = config.profiles_on(&cluster).filter(usable).collect();
    profiles.sort_by_key(|profile| breadth(config, profile));
    let profile = or_first(
        "profile",
        profiles.iter().map(|profile| profile.name.clone()).collect(),
    );
    let offered = config
        .profiles
        .get(&profile)
        .and_then(|profile| profile.durations.first());
    let duration_s = match fields.get("minutes") {
        "" => offered.map_or(0, |duration| duration.seconds()),
        minutes => seconds_of(minutes).unwrap_or(0),
    };
    let mut namespaces = fields.all("namespace");
    namespaces.sort();
    namespaces.dedup();
    let extends_s = match extends {
        Some(id) => {
            let grant = app.broker.grant(id).await?;
            if !grant.requester.surely_same_person(&signed.person) {
                return Err(Error::NotFound);
            }
            Some(grant.duration_s)
        }
        None => None,
    };
    let reason = fields.get("reason").to_owned();
    let question = Question {
        team,
        cluster,
        namespaces,
        profile,
        duration_s,
        reason,
        extends_s,
    };
    Ok(Typed {
        question,
        incident: fields.get("incident").to_owned(),
        extends,
    })
}

/// How much a profile gives, the least first: what was made for the team before what everybody may use, namespaces
/// before the whole cluster, then by what it lets be changed, by what it lets be read, and by how long it lasts.
fn breadth(config: &Config, profile: &Profile) -> (bool, bool, usize, usize, u32) {
    let rights = |changing: bool| {
        let rules = config.cluster_role(&profile.cluster_role).map(|role| &role.rules);
        let of_rule = |rule: &Rule| {
            let verbs = rule.verbs.iter().filter(|verb| is_change(verb) == changing);
            rule.pairs().count() * verbs.count()
        };
        rules.into_iter().flatten().map(of_rule).sum()
    };
    let wide = config
        .cluster_role(&profile.cluster_role)
        .is_none_or(|role| role.scope == Scope::Cluster);
    (
        profile.teams.is_empty(),
        wide,
        rights(true),
        rights(false),
        profile.max_duration.seconds(),
    )
}

async fn form_page(
    app: &App,
    signed: &Signed,
    typed: Typed,
    preview: &Preview,
    errors: FormErrors,
) -> Result<RequestFormPage> {
    let shell = shell::shell(app, signed, "Break the glass", Some(Place::Requests)).await?;
    let shown = shown(app, &typed.question, preview);
    let config = app.config();
    let Typed {
        question: asked,
        incident,
        extends,
    } = typed;
    let profile = config.profiles.get(&asked.profile);
    let (chosen, others): (Vec<&String>, Vec<&String>) = offered(config, &asked, &preview.namespaces)
        .into_iter()
        .partition(|name| asked.namespaces.contains(name));
    let namespaces = chosen
        .iter()
        .map(|name| Choice::new(*name, *name, true))
        .chain(others.iter().map(|name| Choice::new(*name, *name, false)))
        .collect::<Vec<_>>();
    let namespaces_missing = if preview.namespaces.is_empty() {
        Some(
            format!(
                "The namespaces of {} cannot be listed: its API server does not answer.",
                asked.cluster
            )
            .into(),
        )
    } else if namespaces.is_empty() {
        Some(Words::say("This profile reaches no namespace there."))
    } else {
        None
    };
    let mut durations: Vec<u32> = profile.map_or_else(Vec::new, |profile| {
        profile
            .durations
            .iter()
            .map(|duration| duration.seconds())
            .collect()
    });
    if asked.duration_s > 0 && !durations.contains(&asked.duration_s) {
        durations.push(asked.duration_s);
    }
    let teams = teams_of(config, &signed.person);
    let profiles = config.profiles_on(&asked.cluster).filter(|own| {
        own.name == asked.profile || own.teams.is_empty() || own.teams.iter().any(|team| teams.contains(team))
    });
    let form = RequestForm {
        extends,
        teams: choices(teams.iter(), &asked.team),
        clusters: choices(config.clusters.keys(), &asked.cluster),
        profiles: choices(profiles.map(|profile| &profile.name), &asked.profile),
        profile_allows: profile.map(|profile| Words::say(Text::prose(&profile.description).sentence())),
        namespaces,
        namespaces_missing,
        durations: durations
            .into_iter()
            .map(|s| {
                Choice::new(
                    minutes_value(s),
                    crate::broker::request::minutes(s),
                    s == asked.duration_s,
                )
            })
            .collect(),
        reason: asked.reason,
        incident,
        incident_required: false,
        errors,
    };
    Ok(RequestFormPage {
        shell,
        form,
        preview: shown,
    })
}

fn choices<'a>(values: impl Iterator<Item = &'a String>, chosen: &str) -> Vec<Choice> {
    values
        .map(|value| Choice::new(value, value, value == chosen))
        .collect()
}

/// What the policy would say, before the reason is typed too.
fn shown(app: &App, question: &Question, preview: &Preview) -> Shown {
    let decision = &preview.decision;
    let typed_reason = !question.reason.trim().is_empty();
    let refusals: Vec<_> = decision
        .refusals
        .iter()
        .filter(|refusal| typed_reason || refusal.field != "reason")
        .collect();
    let unknown =
        question.namespaces.is_empty() && refusals.iter().all(|refusal| refusal.field == "namespaces");
    let verdict = if unknown || question.cluster.is_empty() || question.profile.is_empty() {
        Verdict::Unknown
    } else if refusals
        .iter()
        .any(|refusal| refusal.why.starts_with("nobody could approve"))
    {
        Verdict::Nobody
    } else if !refusals.is_empty() {
        Verdict::Refused
    } else {
        Verdict::Needs {
            approvals: u8::try_from(decision.approvals_needed).unwrap_or(u8::MAX),
            from: decision.circles.join(", ").into(),
            told_by: if app.config().notices.smtp.is_some() {
                "mail and the feed"
            } else {
                "the feed"
            }
            .into(),
        }
    };
    let mut reasons: Vec<Reason> = if verdict == Verdict::Unknown {
        vec![]
    } else {
        let refused = refusals.iter().map(|refusal| Reason {
            allows: false,
            words: say(&refusal.why),
        });
        refused
            .chain(decision.remarks.iter().map(|remark| Reason {
                allows: false,
                words: say(remark),
            }))
            .collect()
    };
    if refusals.is_empty() {
        let words = format!(
            "{} may use {} on {}.",
            question.team, question.profile, question.cluster
        );
        reasons.push(Reason {
            allows: true,
            words: words.into(),
        });
    }
    let by_mail = app.config().notices.smtp.is_some();
    Shown {
        verdict,
        approvers: decision
            .approvers
            .iter()
            .map(|one| {
                let told = by_mail && one.verified_email().is_some();
                (
                    person_ref(app, one),
                    told.then(|| Badge::new(Look::Info, "told by mail")),
                )
            })
            .collect(),
        reasons,
        overlaps: preview
            .overlaps
            .iter()
            .map(|words| Words::from(words.as_str()))
            .collect(),
    }
}

fn say(why: &str) -> Words {
    Words::say(Text::prose(super::error::sentence(why)).sentence())
}

/// Each refusal beside its field; the one that stopped it, where it is no field's.
fn errors(preview: &Preview, why: &str) -> FormErrors {
    let mut errors = FormErrors::default();
    for refusal in &preview.decision.refusals {
        let slot = match refusal.field {
            "team" => &mut errors.team,
            "cluster" => &mut errors.cluster,
            "profile" => &mut errors.profile,
            "namespaces" => &mut errors.namespaces,
            "duration" => &mut errors.duration,
            "reason" => &mut errors.reason,
            "incident" => &mut errors.incident,
            _ => &mut errors.whole,
        };
        slot.get_or_insert_with(|| Text::prose(super::error::sentence(&refusal.why)).sentence());
    }
    if errors == FormErrors::default() {
        errors.whole = Some(Text::prose(super::error::sentence(why)).sentence());
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::{Decision, Refusal};

    fn preview(refusals: Vec<Refusal>) -> Preview {
        Preview {
            decision: Decision {
                refusals,
                approvals_needed: 1,
                outside_needed: 0,
                circles: vec![],
                approvers: vec![],
                mail: vec![],
                remarks: vec![],
            },
            namespaces: vec![],
            rules: None,
            cluster_uid: None,
            overlaps: vec![],
        }
    }

    #[test]
    fn the_first_profile_is_the_one_that_gives_least() {
        let text = include_str!("../../breakglass.example.yaml");
        let folder = std::path::Path::new("/");
        let mut config = Config::from_text("breakglass.yaml", text, folder, None).unwrap();
        let first = |config: &Config| {
            let mut all: Vec<_> = config.profiles.values().collect();
            all.sort_by_key(|profile| breadth(config, profile));
            all[0].name.clone()
        };
        let least = config.profiles["payments-admin"].clone();
        let put = |config: &mut Config, name: &str, change: &dyn Fn(&mut Profile)| {
            let mut profile = least.clone();
            profile.name = name.to_owned();
            change(&mut profile);
            config.profiles.insert(name.to_owned(), profile);
        };
        assert_eq!(
            first(&config),
            "payments-admin",
            "before the one for the whole cluster"
        );
        put(&mut config, "a-for-everybody", &|profile| profile.teams.clear());
        put(&mut config, "a-wider", &|profile| {
            profile.cluster_role = "breakglass-nodes".to_owned();
        });
        assert_eq!(first(&config), "payments-admin");
        put(&mut config, "z-shorter", &|profile| {
            profile.max_duration = profile.durations[0];
        });
        assert_eq!(first(&config), "z-shorter", "whatever it is called");
    }

    #[test]
    fn each_refusal_stands_beside_its_field() {
        let refusal = |field, why: &str| Refusal {
            field,
            why: why.to_owned(),
        };
        let found = errors(
            &preview(vec![
                refusal("reason", "say why"),
                refusal("", "not you"),
                refusal("reason", "second"),
            ]),
            "say why",
        );
        assert_eq!(found.reason, Some(Text::prose("Say why.").sentence()));
        assert_eq!(found.whole, Some(Text::prose("Not you.").sentence()));
        assert_eq!(found.all().len(), 2);
    }

    #[test]
    fn a_refusal_of_no_field_is_said_too() {
        assert!(
            errors(&preview(vec![]), "an extension asks for the same access, longer")
                .whole
                .is_some()
        );
    }
}
