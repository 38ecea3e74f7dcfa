//! Policy: who can do what, and "could this person, here, now?"

use super::chooser::set;
use crate::broker::request::{Preview as Answer, minutes};
use crate::config::{Config, Profile, Rule};
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::domain::policy::{Question as Asking, teams_of};
use crate::store::EntryFilter;
use crate::web::csrf::Fields;
use crate::web::pages::policy::{PolicyPage, ProfileView, Question};
use crate::web::pages::request_form::{Preview, Verdict};
use crate::web::pages::{Choice, Facts, PersonRef, Place, Reason, Text, Words};
use crate::web::words::{in_words, rule_lines};
use crate::web::{App, Result, Signed, page as answer, shell};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

/// `GET /policy`.
///
/// # Errors
/// The store's.
pub async fn page(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let config = app.config();
    let shell = shell::shell(&app, &signed, "Policy", Some(Place::Policy)).await?;
    let loaded = EntryFilter {
        kinds: vec![EntryKind::PolicyLoaded],
        limit: 1,
        ..EntryFilter::default()
    };
    let loaded = app.broker.store.entries(loaded).await?;
    let (answered, error) = match set(fields.get("person")) {
        None => (None, None),
        Some(name) => match known(&app, &name).await? {
            Some(person) => (Some(ask(&app, &person, &fields).await?), None),
            None => (
                None,
                Some(Text::from(
                    "Nobody of that name or claim has signed in here; spell it as the sign-in provider does.",
                )),
            ),
        },
    };
    let choices = |names: Vec<&String>, chosen: &str| {
        names
            .into_iter()
            .map(|name| Choice::new(name, name, name == chosen))
            .collect::<Vec<_>>()
    };
    let view = PolicyPage {
        digest: config.digest().into(),
        since: shell.when(loaded.first().map_or(shell.now, |line| line.at)),
        profiles: config
            .profiles
            .iter()
            .map(|(name, profile)| profile_view(config, name, profile))
            .collect(),
        people: people(config),
        question: Question {
            person: fields.get("person").chars().take(200).collect(),
            profiles: choices(config.profiles.keys().collect(), fields.get("profile")),
            clusters: choices(config.clusters.keys().collect(), fields.get("cluster")),
            namespace: fields.get("namespace").chars().take(63).collect(),
            error,
        },
        answer: answered,
        shell,
    };
    answer(&view)
}

/// Somebody who has signed in, by the claim or the name; the claim wins, since names can be the same.
async fn known(app: &App, name: &str) -> Result<Option<Person>> {
    let people = app.broker.store.people().await?;
    let by_claim = people
        .iter()
        .find(|person| person.person_claim.eq_ignore_ascii_case(name));
    Ok(by_claim
        .or_else(|| {
            people
                .iter()
                .find(|person| person.name.to_lowercase() == name.to_lowercase())
        })
        .cloned())
}

/// Asks the policy as the form would. A person of several teams gets the answer of the team that gets
/// them furthest.
async fn ask(app: &App, person: &Person, fields: &Fields) -> Result<Preview> {
    let config = app.config();
    let profile = fields.get("profile");
    let duration = config
        .profiles
        .get(profile)
        .and_then(|profile| profile.durations.first())
        .map_or(0, |d| d.seconds());
    let mut teams = teams_of(config, person);
    if teams.is_empty() {
        teams.push(String::new());
    }
    let mut best: Option<Answer> = None;
    for team in teams {
        let question = Asking {
            team,
            cluster: fields.get("cluster").to_owned(),
            namespaces: set(fields.get("namespace")).into_iter().collect(),
            profile: profile.to_owned(),
            duration_s: duration,
            // The question is about the person and the place; a reason is the form's to ask for.
            reason: "asked on the policy page".to_owned(),
            extends_s: None,
        };
        let found = app.broker.preview(person, &question).await?;
        let worse = best
            .as_ref()
            .is_some_and(|best| best.decision.refusals.len() <= found.decision.refusals.len());
        if !worse {
            best = Some(found);
        }
    }
    Ok(best.map_or_else(nothing, |found| shown(app, &found)))
}

fn nothing() -> Preview {
    Preview {
        verdict: Verdict::Unknown,
        approvers: vec![],
        reasons: vec![],
        overlaps: vec![],
    }
}

fn shown(app: &App, found: &Answer) -> Preview {
    let decision = &found.decision;
    let nobody = decision
        .refusals
        .iter()
        .any(|refusal| refusal.why.starts_with("nobody could approve"));
    let verdict = match (decision.allowed(), nobody) {
        (true, _) => Verdict::Needs {
            approvals: u8::try_from(decision.approvals_needed).unwrap_or(u8::MAX),
            from: decision.circles.join(", ").into(),
            told_by: if decision.mail.is_empty() {
                "the inbox"
            } else {
                "the inbox and mail"
            }
            .into(),
        },
        (false, true) => Verdict::Nobody,
        (false, false) => Verdict::Refused,
    };
    let against = decision.refusals.iter().map(|refusal| Reason {
        allows: false,
        words: Words::say(&refusal.why),
    });
    let remarks = decision.remarks.iter().map(|remark| Reason {
        allows: true,
        words: Words::say(remark),
    });
    Preview {
        verdict,
        approvers: decision
            .approvers
            .iter()
            .map(|person| (shell::person_ref(app, person), None))
            .collect(),
        reasons: against.chain(remarks).collect(),
        overlaps: found.overlaps.iter().map(Words::say).collect(),
    }
}

fn profile_view(config: &Config, name: &str, profile: &Profile) -> ProfileView {
    let rules = config
        .cluster_role(&profile.cluster_role)
        .map_or_else(|| json!([]), |role| as_cluster(&role.rules));
    let (may, _) = in_words(&rules);
    let list = |values: &[String], all: &str| {
        if values.is_empty() {
            all.to_owned()
        } else {
            values.join(", ")
        }
    };
    let namespaces: Vec<String> = profile.namespaces.iter().map(ToString::to_string).collect();
    let durations: Vec<String> = profile
        .durations
        .iter()
        .map(|duration| minutes(duration.seconds()))
        .collect();
    let deadlines = config.deadlines(profile);
    let approvals = match profile.approvals.max(1) {
        1 => "1 approval".to_owned(),
        n => format!("{n} approvals"),
    };
    let facts = Facts::default()
        .with("Teams", Words::say(list(&profile.teams, "every team")))
        .with("Clusters", Words::say(list(&profile.clusters, "none")))
        .with(
            "Namespaces",
            Words::say(format!("{}; never a protected one", list(&namespaces, "all"))),
        )
        .with(
            "For",
            Words::say(format!(
                "{}; {} at most",
                durations.join(", "),
                minutes(profile.max_duration.seconds())
            )),
        )
        .with(
            "Needs",
            Words::say(format!("{approvals} from {}", list(&profile.approvers, "nobody"))),
        )
        .with(
            "Fresh sign-in",
            Words::say(match config.step_up_window(profile).seconds() {
                0 => "for every approval and every reveal".to_owned(),
                seconds => format!("within {}", minutes(seconds)),
            }),
        )
        .with(
            "Waits for approval",
            Words::say(minutes(profile.patience.seconds())),
        )
        .with(
            "Waits to be revealed",
            Words::say(minutes(profile.ready_shelf_life.seconds())),
        )
        .with(
            "Back in git",
            Words::say(format!(
                "pull request within {}, merged within {}, converged within {} of the end",
                deadlines.opened, deadlines.merged, deadlines.converged
            )),
        )
        .with("ClusterRole", Words::default().code(&profile.cluster_role));
    ProfileView {
        name: name.into(),
        words: Words::say(Text::prose(&profile.description)),
        facts,
        may,
        rules: rule_lines(&rules),
        digest: profile.digest().into(),
    }
}

/// The rules as the cluster writes them.
fn as_cluster(rules: &[Rule]) -> Value {
    rules
        .iter()
        .map(|rule| {
            json!({"apiGroups": rule.api_groups, "resources": rule.resources, "verbs": rule.verbs,
                "resourceNames": rule.resource_names})
        })
        .collect()
}

fn people(config: &Config) -> Facts {
    let roles = &config.roles;
    let mut facts = Facts::default();
    for (name, groups) in [
        ("Engineers", &roles.engineer),
        ("Approvers", &roles.approver),
        ("Revokers", &roles.revoker),
        ("Compliance", &roles.compliance),
        ("Auditors", &roles.auditor),
        ("Operators", &roles.operator),
    ] {
        let words = if groups.is_empty() {
            "nobody".to_owned()
        } else {
            format!("groups {}", groups.join(", "))
        };
        facts = facts.with(name, Words::say(words));
    }
    for (name, circle) in &config.approvers {
        let mut words = Words::say(if circle.groups.is_empty() {
            String::new()
        } else {
            format!("groups {} ", circle.groups.join(", "))
        });
        for person in &circle.people {
            words = words
                .person(PersonRef::new(
                    person,
                    format!("{} {person}", config.sign_in.person_claim),
                ))
                .and(" ");
        }
        facts = facts.with(format!("Circle {name}"), words);
    }
    for (name, team) in &config.teams {
        let leads = if team.lead_groups.is_empty() {
            "no leads".to_owned()
        } else {
            format!("led by {}", team.lead_groups.join(", "))
        };
        facts = facts.with(
            format!("Team {name}"),
            Words::say(format!("groups {}; {leads}", team.groups.join(", "))),
        );
    }
    facts
}
