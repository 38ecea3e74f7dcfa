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
    profile.approvers.iter().filter_map(|name| config.approvers.get(name)).any(|c| in_circle(c, person))
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
        decision.refuse("", "you may not ask for access: none of your groups has the engineer role");
    }
    check_place(config, person, question, facts, &mut decision);
    if question.reason.trim().chars().count() < 10 {
        decision.refuse("reason", "say why in a sentence; the approver and the auditor read it");
    }
    if question.reason.chars().count() > 2_000 {
        decision.refuse("reason", "keep the reason under 2,000 characters and link the rest");
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
        decision.refuse("team", "you are in no team that the configuration knows; ask whoever runs this service");
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
            decision.refuse("namespaces", format!("{namespace} is protected: no profile reaches it"));
        } else if facts.namespaces.as_ref().is_some_and(|known| !known.contains(namespace)) {
            decision.refuse("namespaces", format!("{} has no namespace {namespace}", question.cluster));
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
        decision.refuse("profile", format!("{name} is for {teams}, and you ask as {}", question.team));
    }
    if !profile.clusters.contains(&question.cluster) {
        decision.refuse("profile", format!("{name} is not lent on {}", question.cluster));
    }
    for namespace in &question.namespaces {
        if !profile.allows_namespace(namespace) {
            decision.refuse("namespaces", format!("{name} does not reach namespace {namespace}"));
        }
    }
    let whole = question.duration_s.saturating_add(question.extends_s.unwrap_or(0));
    if question.duration_s < 60 {
        decision.refuse("duration", "at least one minute");
    } else if whole > profile.max_duration.seconds() {
        decision.refuse(
            "duration",
            format!("{name} is lent for {} at most{}", profile.max_duration, match question.extends_s {
                Some(_) => ", extensions included",
                None => "",
            }),
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
    for circle in profile.approvers.iter().filter_map(|name| config.approvers.get(name)) {
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
            decision.refuse("", format!("nobody could approve this: nobody but you is known in {circles}"));
        }
    }
    if decision.outside_needed > 0
        && !decision.approvers.is_empty()
        && !decision.approvers.iter().any(|p| is_outside(config, &question.team, p))
    {
        decision.remarks.push(format!(
            "None of the known approvers is outside team {}; call somebody who is.",
            question.team
        ));
    }
}

impl Decision {
    fn refuse(&mut self, field: &'static str, why: impl Into<String>) {
        self.refusals.push(Refusal { field, why: why.into() });
    }
}

fn in_any(person: &Person, groups: &[String]) -> bool {
    groups.iter().any(|group| person.groups.contains(group))
}

fn in_circle(circle: &Approvers, person: &Person) -> bool {
    in_any(person, &circle.groups) || circle.people.contains(&person.person_claim)
}
