//! Who may ask for what, and who decides. A pure function of the configuration and of facts that were
//! looked up before: the same question always gets the same answer, with its reasons.

use super::person::Person;
use crate::config::{Approvers, Config, Profile};

/// What is asked, before it is a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Team.
    pub team: String,
    /// Cluster.
    pub cluster: String,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Profile.
    pub profile: String,
    /// Seconds.
    pub duration_s: u32,
    /// Reason.
    pub reason: String,
    /// It extends a grant that already lasts so many seconds.
    pub extends_s: Option<u32>,
}

/// What was looked up to answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The cluster's namespaces, or why they are not known.
    pub namespaces: Option<Vec<String>>,
    /// Why the cluster cannot be used now (unreachable, audit silent), if so.
    pub cluster_trouble: Option<String>,
    /// Why the profile's role cannot be lent now, if so.
    pub role_trouble: Option<String>,
    /// The team has a breached debt: one more approval, from outside the team.
    pub team_is_breached: bool,
    /// Everybody who has signed in.
    pub people: Vec<Person>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Why not, worst first; empty when it may be asked.
    pub refusals: Vec<Refusal>,
    /// How many approvals it needs.
    pub approvals_needed: u32,
    /// How many of them from outside the team.
    pub outside_needed: u32,
    /// Names of the circles that may approve.
    pub circles: Vec<String>,
    /// Known people who could approve it.
    pub approvers: Vec<Person>,
    /// Addresses that are told.
    pub mail: Vec<String>,
    /// Remarks that are no refusals, in words.
    pub remarks: Vec<String>,
}

/// A reason against, and the field it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The form's field, empty for the whole.
    pub field: &'static str,
    /// In words, with what to do.
    pub why: String,
}

impl Decision {
    /// It may be asked.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// What a person may be in the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May ask for access.
    Engineer,
    /// May approve (where a profile's circle has them).
    Approver,
    /// May end anybody's access.
    Revoker,
    /// Reviews, waives, reads everything.
    Compliance,
    /// Reads everything.
    Auditor,
    /// Runs the service.
    Operator,
}

/// Whether `person` holds `role`.
#[must_use]
pub fn has_role(config: &Config, person: &Person, role: Role) -> bool {
    let groups = match role {
        Role::Engineer => &config.roles.engineer,
        Role::Approver => &config.roles.approver,
        Role::Revoker => &config.roles.revoker,
        Role::Compliance => &config.roles.compliance,
        Role::Auditor => &config.roles.auditor,
        Role::Operator => &config.roles.operator,
    };
    in_any(person, groups)
}

/// The teams `person` belongs to, by name.
#[must_use]
pub fn teams_of(config: &Config, person: &Person) -> Vec<String> {
    config
        .teams
        .iter()
        .filter(|(_, team)| in_any(person, &team.groups) || in_any(person, &team.lead_groups))
        .map(|(name, _)| name.clone())
        .collect()
}

/// `person` is in one of the profile's circles of approvers.
#[must_use]
pub fn is_approver(config: &Config, profile: &Profile, person: &Person) -> bool {
    profile
        .approvers
        .iter()
        .filter_map(|name| config.approvers.get(name))
        .any(|c| in_circle(c, person))
}

/// `person` belongs to no team of that name.
#[must_use]
pub fn is_outside(config: &Config, team: &str, person: &Person) -> bool {
    !teams_of(config, person).iter().any(|own| own == team)
}

/// May `person` ask this, and who decides?
#[must_use]
pub fn decide(config: &Config, person: &Person, question: &Question, facts: &Facts) -> Decision {
    let mut decision = Decision {
        refusals: vec![],
        approvals_needed: 0,
        outside_needed: u32::from(facts.team_is_breached),
        circles: vec![],
        approvers: vec![],
        mail: vec![],
        remarks: vec![],
    };
    if !has_role(config, person, Role::Engineer) {
        decision.refuse(
            "",
            "you may not ask for access: none of your groups has the engineer role",
        );
    }
    check_place(config, person, question, facts, &mut decision);
    if question.reason.trim().chars().count() < 10 {
        decision.refuse(
            "reason",
            "say why in a sentence; the approver and the auditor read it",
        );
    }
    if question.reason.chars().count() > 2_000 {
        decision.refuse(
            "reason",
            "keep the reason under 2,000 characters and link the rest",
        );
    }
    match config.profiles.get(&question.profile) {
        None => decision.refuse("profile", "choose a profile"),
        Some(profile) => check_profile(config, person, question, facts, profile, &mut decision),
    }
    decision
}

fn check_place(
    config: &Config,
    person: &Person,
    question: &Question,
    facts: &Facts,
    decision: &mut Decision,
) {
    let own = teams_of(config, person);
    if own.is_empty() {
        decision.refuse(
            "team",
            "you are in no team that the configuration knows; ask whoever runs this service",
        );
    } else if !own.contains(&question.team) {
        decision.refuse("team", "choose one of your own teams");
    }
    let Some(cluster) = config.clusters.get(&question.cluster) else {
        decision.refuse("cluster", "choose a cluster");
        return;
    };
    if let Some(trouble) = &facts.cluster_trouble {
        decision.refuse("cluster", trouble.clone());
    }
    if question.namespaces.is_empty() {
        decision.refuse("namespaces", "choose at least one namespace");
    }
    for namespace in &question.namespaces {
        if cluster.protects(namespace) {
            decision.refuse(
                "namespaces",
                format!("{namespace} is protected: no profile reaches it"),
            );
        } else if facts
            .namespaces
            .as_ref()
            .is_some_and(|known| !known.contains(namespace))
        {
            decision.refuse(
                "namespaces",
                format!("{} has no namespace {namespace}", question.cluster),
            );
        }
    }
}

fn check_profile(
    config: &Config,
    person: &Person,
    question: &Question,
    facts: &Facts,
    profile: &Profile,
    decision: &mut Decision,
) {
    let name = &question.profile;
    if !profile.teams.is_empty() && !profile.teams.contains(&question.team) {
        let teams = profile.teams.join(", ");
        decision.refuse(
            "profile",
            format!("{name} is for {teams}, and you ask as {}", question.team),
        );
    }
    if !profile.clusters.contains(&question.cluster) {
        decision.refuse("profile", format!("{name} is not lent on {}", question.cluster));
    }
    for namespace in &question.namespaces {
        if !profile.allows_namespace(namespace) {
            decision.refuse(
                "namespaces",
                format!("{name} does not reach namespace {namespace}"),
            );
        }
    }
    let whole = question
        .duration_s
        .saturating_add(question.extends_s.unwrap_or(0));
    if question.duration_s < 60 {
        decision.refuse("duration", "at least one minute");
    } else if whole > profile.max_duration.seconds() {
        decision.refuse(
            "duration",
            format!(
                "{name} is lent for {} at most{}",
                profile.max_duration,
                match question.extends_s {
                    Some(_) => ", extensions included",
                    None => "",
                }
            ),
        );
    }
    if let Some(trouble) = &facts.role_trouble {
        decision.refuse("profile", trouble.clone());
    }
    // Never none: nobody lends themselves access, whatever a profile says.
    decision.approvals_needed = profile.approvals.max(1);
    if facts.team_is_breached {
        decision.approvals_needed += 1;
        decision.remarks.push(format!(
            "Team {} owes git a late clean-up, so one more person must approve, from outside the team.",
            question.team
        ));
    }
    choose_approvers(config, person, question, facts, profile, decision);
}

fn choose_approvers(
    config: &Config,
    person: &Person,
    question: &Question,
    facts: &Facts,
    profile: &Profile,
    decision: &mut Decision,
) {
    decision.circles.clone_from(&profile.approvers);
    for known in &facts.people {
        let twice = decision.approvers.iter().any(|other| other.same_person(known));
        if !twice && !known.same_person(person) && is_approver(config, profile, known) {
            decision.approvers.push(known.clone());
        }
    }
    let mut listed = false;
    for circle in profile
        .approvers
        .iter()
        .filter_map(|name| config.approvers.get(name))
    {
        decision.mail.extend(circle.mail.iter().cloned());
        listed |= !circle.mail.is_empty() || circle.people.iter().any(|id| *id != person.person_claim);
    }
    for approver in &decision.approvers {
        if let (Some(mail), true) = (&approver.email, approver.email_verified) {
            decision.mail.push(mail.clone());
        }
    }
    decision.mail.sort();
    decision.mail.dedup();
    if decision.approvals_needed > 0 && decision.approvers.is_empty() {
        let circles = profile.approvers.join(", ");
        if listed {
            decision.remarks.push(format!(
                "Nobody from {circles} has signed in here yet; they are told by mail."
            ));
        } else {
            decision.refuse(
                "",
                format!("nobody could approve this: nobody but you is known in {circles}"),
            );
        }
    }
    if decision.outside_needed > 0
        && !decision.approvers.is_empty()
        && !decision
            .approvers
            .iter()
            .any(|p| is_outside(config, &question.team, p))
    {
        decision.remarks.push(format!(
            "None of the known approvers is outside team {}; call somebody who is.",
            question.team
        ));
    }
}

impl Decision {
    fn refuse(&mut self, field: &'static str, why: impl Into<String>) {
        self.refusals.push(Refusal {
            field,
            why: why.into(),
        });
    }
}

fn in_any(person: &Person, groups: &[String]) -> bool {
    groups.iter().any(|group| person.groups.contains(group))
}

fn in_circle(circle: &Approvers, person: &Person) -> bool {
    in_any(person, &circle.groups) || circle.people.contains(&person.person_claim)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{person, second_account};
    use super::*;
    use std::path::Path;

    /// The configuration that is shipped as an example.
    fn config() -> Config {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("breakglass.example.yaml");
        Config::load_without_secrets(&path).unwrap()
    }

    fn in_groups(subject: &str, groups: &[&str]) -> Person {
        Person {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..person(subject)
        }
    }

    fn engineer() -> Person {
        in_groups("oncall", &["payments-engineers"])
    }

    fn lead() -> Person {
        in_groups("lead", &["payments-leads"])
    }

    fn question() -> Question {
        Question {
            team: "payments".to_owned(),
            cluster: "production".to_owned(),
            namespaces: vec!["payments".to_owned()],
            profile: "payments-admin".to_owned(),
            duration_s: 3600,
            reason: "Checkout answers 500 since 10:02".to_owned(),
            extends_s: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            namespaces: Some(
                ["payments", "payments-eu", "shop", "argocd", "kube-system"]
                    .map(String::from)
                    .into(),
            ),
            people: vec![engineer(), lead()],
            ..Facts::default()
        }
    }

    /// Refused because of `field`, with a reason that says `words`.
    fn refused(decision: &Decision, field: &str, words: &str) -> bool {
        !decision.allowed()
            && decision
                .refusals
                .iter()
                .any(|r| r.field == field && r.why.contains(words))
    }

    #[test]
    fn what_is_right_is_allowed_and_says_who_decides() {
        let decision = decide(&config(), &engineer(), &question(), &facts());
        assert!(decision.allowed(), "{:?}", decision.refusals);
        assert_eq!((decision.approvals_needed, decision.outside_needed), (1, 0));
        assert_eq!(decision.circles, ["leads"]);
        assert_eq!(decision.approvers, [lead()]);
        assert_eq!(decision.mail, ["lead@example.test", "leads@example.org"]);
    }

    #[test]
    fn the_same_question_gets_the_same_answer() {
        let one = decide(&config(), &engineer(), &question(), &facts());
        assert_eq!(one, decide(&config(), &engineer(), &question(), &facts()));
    }

    #[test]
    fn each_rule_refuses_alone_and_names_its_field() {
        type Edit = fn(&mut Question);
        let cases: [(Edit, &str, &str); 15] = [
            (|q| q.team = "platform".into(), "team", "one of your own"),
            (|q| q.team = String::new(), "team", "one of your own"),
            (|q| q.cluster = "staging".into(), "cluster", "choose a cluster"),
            (|q| q.namespaces = vec![], "namespaces", "at least one"),
            (
                |q| q.namespaces.push("kube-system".into()),
                "namespaces",
                "protected",
            ),
            (|q| q.namespaces.push("argocd".into()), "namespaces", "protected"),
            (
                |q| q.namespaces.push("breakglass-grants".into()),
                "namespaces",
                "protected",
            ),
            (
                |q| q.namespaces.push("shop".into()),
                "namespaces",
                "does not reach",
            ),
            (
                |q| q.namespaces.push("payments-us".into()),
                "namespaces",
                "has no namespace",
            ),
            (|q| q.profile = "nobody".into(), "profile", "choose a profile"),
            (|q| q.profile = "node-repair".into(), "profile", "is for platform"),
            (|q| q.duration_s = 59, "duration", "at least one minute"),
            (|q| q.duration_s = 4 * 3600 + 1, "duration", "at most"),
            (|q| q.reason = " too short ".into(), "reason", "say why"),
            (|q| q.reason = "x".repeat(2_001), "reason", "2,000"),
        ];
        for (number, (edit, field, words)) in cases.into_iter().enumerate() {
            let mut question = question();
            edit(&mut question);
            let decision = decide(&config(), &engineer(), &question, &facts());
            assert!(
                refused(&decision, field, words),
                "case {number}: {:?}",
                decision.refusals
            );
        }
    }

    #[test]
    fn an_extension_counts_what_was_lent_before() {
        let asked = |duration_s, lasted| {
            let question = Question {
                duration_s,
                extends_s: Some(lasted),
                ..question()
            };
            decide(&config(), &engineer(), &question, &facts())
        };
        assert!(asked(3600, 3 * 3600).allowed());
        assert!(refused(&asked(3601, 3 * 3600), "duration", "extensions included"));
        assert!(!asked(u32::MAX, u32::MAX).allowed(), "no sum wraps around");
    }

    #[test]
    fn a_cluster_or_role_in_trouble_is_not_lent() {
        let trouble = Facts {
            cluster_trouble: Some("its audit is silent".into()),
            ..facts()
        };
        assert!(refused(
            &decide(&config(), &engineer(), &question(), &trouble),
            "cluster",
            "silent"
        ));
        let trouble = Facts {
            role_trouble: Some("it grants everything".into()),
            ..facts()
        };
        assert!(refused(
            &decide(&config(), &engineer(), &question(), &trouble),
            "profile",
            "everything"
        ));
    }

    #[test]
    fn whoever_is_no_engineer_or_in_no_team_asks_for_nothing() {
        let auditor = in_groups("auditor", &["internal-audit"]);
        let decision = decide(&config(), &auditor, &question(), &facts());
        assert!(refused(&decision, "", "engineer role") && refused(&decision, "team", "no team"));
        let alike = in_groups("alike", &["Payments-Engineers", "payments-engineers-x"]);
        assert!(
            !decide(&config(), &alike, &question(), &facts()).allowed(),
            "groups are matched whole"
        );
    }

    #[test]
    fn a_late_debt_asks_one_more_from_outside_and_refuses_nothing() {
        let breached = Facts {
            team_is_breached: true,
            ..facts()
        };
        let decision = decide(&config(), &engineer(), &question(), &breached);
        assert!(
            decision.allowed(),
            "paperwork never locks out tonight's emergency"
        );
        assert_eq!((decision.approvals_needed, decision.outside_needed), (2, 1));
        let remarks = decision.remarks.join(" ");
        assert!(remarks.contains("one more person") && remarks.contains("None of the known approvers"));
        let people = vec![engineer(), lead(), in_groups("other", &["platform-leads"])];
        let decision = decide(&config(), &engineer(), &question(), &Facts { people, ..breached });
        assert!(!decision.remarks.join(" ").contains("None of the known approvers"));
    }

    #[test]
    fn no_profile_lends_without_anybody_s_word() {
        let mut config = config();
        config.profiles.get_mut("payments-admin").unwrap().approvals = 0;
        assert_eq!(
            decide(&config, &engineer(), &question(), &facts()).approvals_needed,
            1
        );
    }

    #[test]
    fn the_requester_is_no_approver_of_their_own_under_any_account() {
        let double = Person {
            groups: vec!["payments-leads".into()],
            ..second_account()
        };
        let both = in_groups("oncall", &["payments-engineers", "payments-leads"]);
        let people = vec![both.clone(), double];
        let mut config = config();
        config.approvers.get_mut("leads").unwrap().mail.clear();
        let decision = decide(&config, &both, &question(), &Facts { people, ..facts() });
        assert!(decision.approvers.is_empty());
        assert!(refused(&decision, "", "nobody could approve"));
    }

    #[test]
    fn two_accounts_of_one_approver_are_listed_once() {
        let twin = Person {
            person_claim: "e-LEAD".into(),
            ..in_groups("lead-admin", &["payments-leads"])
        };
        let people = vec![lead(), twin];
        let decision = decide(&config(), &engineer(), &question(), &Facts { people, ..facts() });
        assert_eq!(decision.approvers, [lead()]);
    }

    #[test]
    fn an_unverified_address_is_not_told() {
        let lead = Person {
            email_verified: false,
            ..lead()
        };
        let decision = decide(
            &config(),
            &engineer(),
            &question(),
            &Facts {
                people: vec![lead],
                ..facts()
            },
        );
        assert_eq!(decision.mail, ["leads@example.org"]);
    }

    #[test]
    fn somebody_may_be_named_alone_and_by_the_exact_claim() {
        let mut config = config();
        config.approvers.get_mut("leads").unwrap().people = vec!["E-named".into()];
        let profile = config.profiles["payments-admin"].clone();
        assert!(is_approver(&config, &profile, &in_groups("named", &[])));
        assert!(!is_approver(&config, &profile, &in_groups("named-too", &[])));
        assert!(!is_approver(&config, &profile, &engineer()));
    }

    #[test]
    fn roles_and_teams_are_the_configured_groups() {
        let (config, none) = (config(), in_groups("nobody", &[]));
        let roles = [
            (Role::Engineer, "payments-engineers"),
            (Role::Approver, "platform-leads"),
            (Role::Revoker, "security-on-call"),
            (Role::Compliance, "compliance"),
            (Role::Auditor, "internal-audit"),
            (Role::Operator, "platform-engineers"),
        ];
        for (role, group) in roles {
            assert!(has_role(&config, &in_groups("one", &[group]), role), "{role:?}");
            assert!(!has_role(&config, &none, role), "{role:?}");
        }
        assert_eq!(
            teams_of(&config, &lead()),
            ["payments"],
            "who leads a team belongs to it"
        );
        assert!(is_outside(
            &config,
            "payments",
            &in_groups("other", &["platform-leads"])
        ));
        assert!(!is_outside(&config, "payments", &lead()));
    }
}
