//! People, requests, grants and follow-ups for the tests of this room and of the store.

use crate::clock::Time;
use crate::domain::action::ActionRow;
use crate::domain::deadline::{Deadline, Goal};
use crate::domain::follow_up::{FollowUp, Item, PullRequest};
use crate::domain::grant::{Grant, GrantState, Issued};
use crate::domain::person::Person;
use crate::domain::request::{Approval, ApprovalProof, Ask, Request};
use crate::ids::{ApprovalId, GrantId, ItemId, RequestId};
use chrono::TimeDelta;
use serde_json::{Value, json};

/// `seconds` after the day the tests begin.
pub fn at(seconds: i64) -> Time {
    Time::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

/// A person of their own, with a verified address.
pub fn person(subject: &str) -> Person {
    Person {
        person_claim: format!("E-{subject}"),
        issuer: "https://sign-in.example.test".to_owned(),
        subject: subject.to_owned(),
        name: format!("The {subject}"),
        email: Some(format!("{subject}@example.test")),
        email_verified: true,
        groups: vec!["payments-engineers".to_owned()],
        forge_login: None,
    }
}

/// Another account of the requester: the same employee id.
pub fn second_account() -> Person {
    Person {
        person_claim: "e-ONCALL ".to_owned(),
        ..person("oncall-admin")
    }
}

/// Another account of the requester: the same verified address under another employee id.
pub fn same_mail() -> Person {
    Person {
        email: Some("OnCall@example.test".to_owned()),
        ..person("contractor")
    }
}

/// What the on-call engineer asks for: one hour, one approval.
pub fn ask() -> Ask {
    Ask {
        requester: person("oncall"),
        team: "payments".to_owned(),
        cluster: "production".to_owned(),
        cluster_uid: "0b5f6a3e".to_owned(),
        namespaces: vec!["payments".to_owned()],
        profile: "payments-admin".to_owned(),
        profile_digest: "5e".repeat(32),
        cluster_role: "breakglass-workloads".to_owned(),
        rules: json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]),
        duration_s: 3600,
        reason: "Checkout answers 500 since 10:02".to_owned(),
        incident: Some("INC-42".to_owned()),
        extends: None,
        approvals_needed: 1,
        outside_needed: 0,
    }
}

/// A pending request, filed at 0, that waits an hour.
pub fn request(ask: Ask) -> Request {
    Request::file(ask, at(0), TimeDelta::hours(1))
}

/// `by`'s approval of `request` as it stands.
pub fn approval(request: &Request, by: &Person, now: Time) -> Approval {
    Approval {
        id: ApprovalId::new(),
        by: by.clone(),
        outside: false,
        at: now,
        duration_s: request.ask.duration_s,
        request_hash: request.hash(),
        proof: ApprovalProof {
            id_token: "header.claims.signature".to_owned(),
            jwk: Value::Null,
            salt: "00".to_owned(),
            issuer: "https://sign-in.example.test".to_owned(),
            client_id: "breakglass".to_owned(),
        },
    }
}

/// A grant approved at 0: one hour of access, half an hour of shelf life.
pub fn grant() -> Grant {
    let (ask, id) = (ask(), GrantId::new());
    Grant {
        id,
        request: RequestId::new(),
        requester: ask.requester,
        approvers: vec![person("first-approver")],
        team: ask.team,
        cluster: ask.cluster,
        cluster_uid: ask.cluster_uid,
        namespaces: ask.namespaces,
        account: crate::config::grant_name(&ask.profile, id),
        profile: ask.profile,
        cluster_role: ask.cluster_role,
        rules: ask.rules,
        reason: ask.reason,
        incident: ask.incident,
        duration_s: ask.duration_s,
        approved_at: at(0),
        shelf_until: at(1800),
        ready_at: None,
        active_since: None,
        ends_at: None,
        reveals: vec![],
        ending: None,
        ended_at: None,
        first_change_at: None,
        state: GrantState::Provisioning,
        version: 0,
    }
}

/// A follow-up of an access that ended at 0, still capturing.
pub fn follow_up() -> FollowUp {
    let deadline = |goal, hours| Deadline::new(goal, at(0), TimeDelta::hours(hours), 75);
    let deadlines = vec![
        deadline(Goal::Opened, 1),
        deadline(Goal::Merged, 24),
        deadline(Goal::Converged, 72),
    ];
    FollowUp::after(&grant(), at(0), deadlines)
}

/// An action of that class, ended well.
pub fn action(class: &str) -> ActionRow {
    ActionRow {
        grant: None,
        cluster: "production".to_owned(),
        received_us: 0,
        arrived_at: at(0),
        credential_id: None,
        class: class.to_owned(),
        flags: vec![],
        words: "did".to_owned(),
        object: "Pod payments/web".to_owned(),
        detail: String::new(),
        code: Some(200),
        mutation: class == "change",
        audit_id: "a".to_owned(),
        stage: "ResponseComplete".to_owned(),
        stream: false,
        facts: Value::Null,
    }
}

/// An action of that class in a request of its own, ended well or a stream that has begun.
pub fn step(audit_id: &str, class: &str, flags: &[&str], stream: bool) -> (u64, ActionRow) {
    let row = ActionRow {
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        audit_id: audit_id.into(),
        stage: if stream {
            "ResponseStarted"
        } else {
            "ResponseComplete"
        }
        .into(),
        stream,
        ..action(class)
    };
    (0, row)
}

/// An access of that request whose key was shown at 3.
pub fn lent(request: &Request) -> Grant {
    let grant = Grant {
        request: request.id,
        ..grant()
    };
    let (issuing, reveal) = grant
        .ready(at(1))
        .unwrap()
        .begin_reveal(&person("oncall"), at(2))
        .unwrap();
    let issued = Issued {
        credential_id: "JTI=one".to_owned(),
        token_hash: "aa".repeat(32),
        probe_token: "probe".to_owned(),
        expires_at: at(900),
    };
    let issued = issuing.issued(reveal, issued).unwrap();
    issued.shown(reveal, at(3)).unwrap().0
}

/// An open pull request.
pub fn pull() -> PullRequest {
    PullRequest {
        repository: "deploy".to_owned(),
        number: 7,
        url: "https://forge.example.test/deploy/pull/7".to_owned(),
        branch: "breakglass/7".to_owned(),
        head_sha: "aa".repeat(20),
        merge_sha: None,
        verified: false,
        reviews: vec![],
        check: String::new(),
        opened_at: at(60),
    }
}

/// A manual item nobody has worked on.
pub fn item() -> Item {
    Item {
        id: ItemId::new(),
        object: "ConfigMap payments/limits".to_owned(),
        why: "its file is generated".to_owned(),
        how: "change the generator".to_owned(),
        patch: "-a: 1\n+a: 2\n".to_owned(),
        done: None,
        accepted: None,
    }
}
