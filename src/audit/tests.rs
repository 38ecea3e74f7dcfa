//! The room as a whole: what a batch becomes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{clock::Time, ids::GrantId};

const CANARY: &str = "hunter2Canary9xQ";
const JTI: &str = "7d0a7c9e-4b5d-4c6f-9a57-0f3a1f6f2b11";

fn lookup() -> Accounts {
    let known = KnownGrant {
        grant: "01890000-0000-7000-8000-000000000001".parse().unwrap(),
        credentials: vec![JTI.into()],
        own: vec!["own-1".into()],
    };
    Accounts {
        broker: "system:serviceaccount:breakglass:breakglass".into(),
        grants: [("bg-1".to_owned(), known)].into(),
        ..Accounts::default()
    }
}

fn grant() -> GrantId {
    lookup().grants["bg-1"].grant
}

fn now() -> Time {
    "2026-03-01T10:00:05Z".parse().unwrap()
}

fn user(account: &str) -> Value {
    json!({
        "username": format!("system:serviceaccount:breakglass-grants:{account}"),
        "uid": "5b1f0f0e-0000-4000-8000-000000000000",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:breakglass-grants", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [format!("JTI={JTI}")]},
    })
}

fn event(verb: &str, uri: &str, of: impl Into<Value>, code: u16) -> Value {
    let of: Value = of.into();
    json!({
        "level": "RequestResponse", "auditID": format!("a-{verb}-{code}-{}", uri.len()), "stage": "ResponseComplete",
        "requestURI": uri, "verb": verb, "user": user("bg-1"),
        "sourceIPs": ["6.6.6.6", "10.1.2.3"], "userAgent": "kubectl/v1.36.0",
        "objectRef": of, "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z",
        "stageTimestamp": "2026-03-01T10:00:00.130000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    })
}

fn with(mut event: Value, member: &str, value: Value) -> Value {
    event[member] = value;
    event
}

fn list(items: &[Value]) -> Vec<u8> {
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items})
        .to_string()
        .into_bytes()
}

fn intake(items: &[Value]) -> Intake {
    digest_batch("prod", &list(items), &lookup(), now())
}

fn one(item: Value) -> Action {
    let mut intake = intake(&[item]);
    assert!(intake.quarantined.is_empty(), "{:?}", intake.quarantined);
    assert_eq!(intake.kept.len(), 1);
    intake.kept.remove(0)
}

fn deployment(sub: &str) -> Value {
    json!({"resource": "deployments", "namespace": "payments", "name": "web", "apiGroup": "apps", "apiVersion": "v1", "subresource": sub})
}

fn pod(sub: &str) -> Value {
    json!({"resource": "pods", "namespace": "payments", "name": "web-1", "apiVersion": "v1", "subresource": sub})
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/payments/deployments/web";
const POD: &str = "/api/v1/namespaces/payments/pods/web-1";

#[test]
fn scaling_is_said_with_its_number_and_touches_the_deployment() {
    let scale = event("patch", &format!("{DEPLOYMENT}/scale"), deployment("scale"), 200);
    let scale = with(scale, "requestObject", json!({"spec": {"replicas": 5}}));
    let scale = with(
        scale,
        "responseObject",
        json!({"kind": "Scale", "spec": {"replicas": 5}, "status": {"replicas": 2}}),
    );
    let action = one(scale);
    assert_eq!(
        action.words.text,
        "scaled Deployment payments/web to 5 replicas (2 running then)"
    );
    assert_eq!(
        (action.class, action.mutates, action.credential.as_deref()),
        (Class::Change, true, Some(JTI))
    );
    assert_eq!(action.source_ip.as_deref(), Some("10.1.2.3"));
    assert_eq!(action.received_us, 1_772_359_200_123_456);
    assert_eq!(action.received().timestamp_millis(), 1_772_359_200_123);
}

#[test]
fn a_patch_names_the_fields_it_sets_and_a_restart_is_a_restart() {
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "web"}],
        "containers": [{"name": "web", "resources": {"limits": {"memory": "1Gi"}}}]}}}});
    let action = one(with(
        event("patch", DEPLOYMENT, deployment(""), 200),
        "requestObject",
        patch,
    ));
    assert_eq!(
        action.words.text,
        "changed Deployment payments/web: limits.memory = 1Gi"
    );
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026"}}}}});
    let action = one(with(
        event("patch", DEPLOYMENT, deployment(""), 200),
        "requestObject",
        restart,
    ));
    assert_eq!(action.words.text, "restarted Deployment payments/web");
}

#[test]
fn an_exec_over_websocket_shows_its_command_and_stays_open_until_it_ends() {
    let uri =
        format!("{POD}/exec?command=sh&command=-c&command=echo+hi%3B%20ls&container=app&stdin=true&tty=true");
    let started = with(
        event("get", &uri, pod("exec"), 101),
        "stage",
        json!("ResponseStarted"),
    );
    let both = intake(&[started, event("get", &uri, pod("exec"), 101)]);
    let [open, closed] = &both.kept[..] else {
        panic!("{both:?}")
    };
    assert_eq!(
        (open.class, open.stream, open.mutates),
        (Class::Exec, Stream::Open, false)
    );
    assert_eq!(
        open.words.text,
        "exec in Pod payments/web-1: sh -c 'echo hi; ls', container app"
    );
    assert_eq!(closed.stream, Stream::Closed);
    assert_eq!(
        open.request, closed.request,
        "two stages of one request must be one line"
    );
    assert_ne!(open.key, closed.key);
    assert!(both.alarms.is_empty(), "{:?}", both.alarms);
}

#[test]
fn classes_follow_verb_resource_and_code() {
    let of = |group: &str, resource: &str, sub: &str| json!({"resource": resource, "namespace": "n", "name": "x", "apiGroup": group, "apiVersion": "v1", "subresource": sub});
    for (verb, group, resource, sub, code, class, mutates) in [
        ("get", "", "pods", "", 200, Class::Read, false),
        ("get", "", "pods", "log", 200, Class::Logs, false),
        ("list", "", "secrets", "", 200, Class::SecretRead, false),
        ("watch", "", "secrets", "", 200, Class::SecretRead, false),
        ("patch", "", "secrets", "", 200, Class::Change, true),
        ("create", "", "pods", "exec", 101, Class::Exec, false),
        ("create", "", "pods", "attach", 101, Class::Attach, false),
        (
            "create",
            "",
            "pods",
            "portforward",
            101,
            Class::PortForward,
            false,
        ),
        ("get", "", "nodes", "proxy", 200, Class::Proxy, false),
        (
            "patch",
            "",
            "pods",
            "ephemeralcontainers",
            200,
            Class::Debug,
            true,
        ),
        ("create", "", "pods", "eviction", 201, Class::Delete, true),
        ("delete", "apps", "deployments", "", 200, Class::Delete, true),
        ("deletecollection", "", "pods", "", 200, Class::Delete, true),
        ("delete", "apps", "deployments", "", 404, Class::Other, false),
        ("delete", "apps", "deployments", "", 403, Class::Denied, false),
        (
            "create",
            "rbac.authorization.k8s.io",
            "rolebindings",
            "",
            201,
            Class::RightsChange,
            true,
        ),
        (
            "create",
            "",
            "serviceaccounts",
            "token",
            201,
            Class::RightsChange,
            false,
        ),
        (
            "update",
            "certificates.k8s.io",
            "certificatesigningrequests",
            "approval",
            200,
            Class::RightsChange,
            true,
        ),
        (
            "create",
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            "",
            201,
            Class::Read,
            false,
        ),
    ] {
        let action = one(event(verb, "/x", of(group, resource, sub), code));
        let class = if code == 404 { Class::Delete } else { class };
        assert_eq!(
            (action.class, action.mutates),
            (class, mutates),
            "{verb} {resource}/{sub} {code}"
        );
    }
}

#[test]
fn a_change_without_a_clear_answer_may_have_happened() {
    for code in [408, 499, 500, 504] {
        let action = one(event("delete", DEPLOYMENT, deployment(""), code));
        assert!(
            action.mutates && action.uncertain && action.flags.has(Flag::Uncertain),
            "{code}"
        );
        assert_eq!(action.words.text, "may have deleted Deployment payments/web");
    }
    for code in [400, 404, 409, 422, 429] {
        let action = one(event("delete", DEPLOYMENT, deployment(""), code));
        assert!(!action.mutates && !action.uncertain, "{code}");
    }
    let mut received = event("delete", DEPLOYMENT, deployment(""), 0);
    received["stage"] = json!("RequestReceived");
    received.as_object_mut().unwrap().remove("responseStatus");
    let both = intake(&[received.clone(), event("delete", DEPLOYMENT, deployment(""), 403)]).kept;
    assert!(
        both[0].mutates && both[0].uncertain,
        "nothing says yet how it ended"
    );
    assert_ne!(
        both[0].request, both[1].request,
        "different audit ids: the first has no end"
    );
    let mut refused = event("delete", DEPLOYMENT, deployment(""), 403);
    refused["auditID"] = received["auditID"].clone();
    let one = intake(&[received, refused]).kept;
    assert_eq!(one[0].request, one[1].request);
    assert!(!one[1].mutates);
}

#[test]
fn a_dry_run_and_a_refusal_change_nothing_and_are_said() {
    let dry = one(event(
        "patch",
        &format!("{DEPLOYMENT}?dryRun=All&fieldManager=x"),
        deployment(""),
        200,
    ));
    assert!(!dry.mutates && dry.flags.has(Flag::DryRun));
    assert_eq!(
        dry.words.text,
        "tried as a dry run: change Deployment payments/web (nothing was stored)"
    );
    let options = json!({"kind": "DeleteOptions", "dryRun": ["All"]});
    let dry = one(with(
        event("delete", DEPLOYMENT, deployment(""), 200),
        "requestObject",
        options,
    ));
    assert!(!dry.mutates && dry.class == Class::Delete && dry.flags.has(Flag::DryRun));
    let refused = one(event("delete", DEPLOYMENT, deployment(""), 403));
    assert_eq!(refused.words.text, "was refused: delete Deployment payments/web");
}

#[test]
fn strange_credentials_and_accounts_are_alarms_and_nothing_is_lost() {
    let mut stranger = event("get", POD, pod(""), 200);
    stranger["user"]["extra"]["authentication.kubernetes.io/credential-id"] = json!(["JTI=other"]);
    let mut bare = event("get", POD, pod(""), 201);
    bare["user"].as_object_mut().unwrap().remove("extra");
    let mut account = event("get", POD, pod(""), 202);
    account["user"] = user("bg-666");
    let mut by_group = event("get", POD, pod(""), 203);
    by_group["user"]["username"] = json!("mallory");
    let found = intake(&[stranger, bare, account, by_group]);
    let kinds: Vec<_> = found.alarms.iter().map(|alarm| alarm.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            AlarmKind::UnknownCredential {
                grant: grant(),
                credential: Some("other".into())
            },
            AlarmKind::UnknownCredential {
                grant: grant(),
                credential: None
            },
            AlarmKind::UnknownAccount {
                name: "bg-666".into()
            },
            AlarmKind::UnknownAccount {
                name: "mallory".into()
            },
        ]
    );
    assert_eq!(found.kept.len(), 2);
    assert!(
        found
            .kept
            .iter()
            .all(|action| action.flags.has(Flag::UnknownCredential))
    );
    assert!(found.alarms.iter().all(|alarm| !alarm.event.is_empty()));
}

fn token_event(by: &str) -> Value {
    let mut issued = event(
        "create",
        "/api/v1/namespaces/breakglass-grants/serviceaccounts/bg-1/token",
        json!({"resource": "serviceaccounts", "namespace": "breakglass-grants", "name": "bg-1", "apiVersion": "v1", "subresource": "token"}),
        201,
    );
    issued["user"] = json!({"username": by, "groups": ["system:authenticated"]});
    issued["level"] = json!("Metadata");
    issued["annotations"]["authentication.kubernetes.io/issued-credential-id"] = json!(format!("JTI={JTI}"));
    issued
}

#[test]
fn the_brokers_issuance_is_found_and_anybody_elses_is_an_alarm() {
    let own = intake(&[token_event("system:serviceaccount:breakglass:breakglass")]);
    let [issuance] = &own.issuances[..] else {
        panic!("{own:?}")
    };
    assert_eq!(
        (
            issuance.account.as_str(),
            issuance.credential.as_deref(),
            issuance.known
        ),
        ("bg-1", Some(JTI), true)
    );
    assert!(own.alarms.is_empty());
    let foreign = intake(&[token_event("admin")]);
    assert!(foreign.issuances.is_empty());
    assert_eq!(
        foreign.alarms[0].kind,
        AlarmKind::ForeignIssuance {
            account: "bg-1".into(),
            by: "admin".into()
        }
    );
    let mut acting = event("get", POD, pod(""), 200);
    acting["impersonatedUser"] = acting["user"].clone();
    acting["user"] = json!({"username": "admin"});
    let acting = intake(&[acting]);
    assert_eq!(
        acting.alarms[0].kind,
        AlarmKind::Impersonation {
            account: "bg-1".into(),
            by: "admin".into()
        }
    );
    assert_eq!(acting.counted_others.total, 1);
}

/// The event of an account acting by a token of the Pod `name`.
fn from_pod(name: &str, uid: &str, verb: &str, code: u16) -> Value {
    let mut acting = event(verb, DEPLOYMENT, deployment(""), code);
    acting["requestReceivedTimestamp"] = json!("2026-03-01T10:00:01.000000Z");
    acting["user"] = json!({"username": "system:serviceaccount:payments:powerful", "extra": {
        "authentication.kubernetes.io/credential-id": ["JTI=of-the-pod"],
        "authentication.kubernetes.io/pod-name": [name], "authentication.kubernetes.io/pod-uid": [uid],
    }});
    acting
}

/// The same batch, read again by somebody who has learned what it gave.
fn learned(items: &[Value]) -> Intake {
    let mut accounts = lookup();
    let mut footholds = Footholds::default();
    for action in intake(items).kept {
        if let Some(gives) = &action.gives {
            footholds.add(action.grant, action.received_us, gives);
        }
    }
    accounts.footholds = footholds.into();
    digest_batch("prod", &list(items), &accounts, now())
}

#[test]
fn what_the_account_of_a_pod_does_after_a_session_was_in_it_is_the_sessions() {
    let exec = event(
        "get",
        "/api/v1/namespaces/payments/pods/web-1/exec?command=sh",
        pod("exec"),
        101,
    );
    let found = learned(&[exec.clone(), from_pod("web-1", "u1", "delete", 200)]);
    let [_, borrowed] = &found.kept[..] else {
        panic!("{found:?}")
    };
    assert_eq!(borrowed.grant, grant());
    assert!(borrowed.flags.has(Flag::Borrowed) && borrowed.mutates && borrowed.credential.is_none());
    assert_eq!(
        borrowed.words.text,
        "deleted Deployment payments/web (as system:serviceaccount:payments:powerful, from Pod payments/web-1)"
    );
    let [alarm] = &found.alarms[..] else {
        panic!("{found:?}")
    };
    assert!(
        matches!(&alarm.kind, AlarmKind::Borrowed { acted: true, .. }),
        "{alarm:?}"
    );
    assert_eq!(alarm.kind.grant(), Some(grant()));
    // Another Pod, a refused exec, a look that came before it, and one that came after.
    assert!(
        learned(&[exec.clone(), from_pod("web-2", "u1", "delete", 200)])
            .alarms
            .is_empty()
    );
    let refused = with(exec.clone(), "responseStatus", json!({"code": 403}));
    assert!(
        learned(&[refused, from_pod("web-1", "u1", "delete", 200)])
            .alarms
            .is_empty()
    );
    let mut earlier = from_pod("web-1", "u1", "delete", 200);
    earlier["requestReceivedTimestamp"] = json!("2026-03-01T09:59:59.000000Z");
    assert!(learned(&[exec.clone(), earlier]).alarms.is_empty());
    let looked = learned(&[exec, from_pod("web-1", "u1", "get", 200)]);
    assert_eq!(looked.kept.len(), 1, "the exec alone");
    assert!(matches!(
        &looked.alarms[0].kind,
        AlarmKind::Borrowed { acted: false, .. }
    ));
}

#[test]
fn a_pod_that_a_session_made_is_known_by_its_uid() {
    let mut made = event("create", "/api/v1/namespaces/payments/pods", pod(""), 201);
    made["responseObject"] = json!({"metadata": {"name": "web-1", "uid": "u1"}});
    assert_eq!(
        learned(&[made.clone(), from_pod("web-1", "u1", "delete", 200)])
            .alarms
            .len(),
        1
    );
    let namesake = learned(&[made, from_pod("web-1", "u2", "delete", 200)]);
    assert!(namesake.alarms.is_empty(), "{namesake:?}");
}

#[test]
fn a_token_that_a_session_had_issued_is_an_alarm_and_what_is_done_with_it_the_sessions() {
    let mut made = token_event("x");
    made["user"] = user("bg-1");
    made["objectRef"]["namespace"] = json!("payments");
    made["objectRef"]["name"] = json!("powerful");
    made["annotations"]["authentication.kubernetes.io/issued-credential-id"] = json!("JTI=of-the-pod");
    let mut used = from_pod("any", "u9", "delete", 200);
    used["requestReceivedTimestamp"] = json!("2026-03-01T10:00:02.000000Z");
    let found = learned(&[made, used]);
    let kinds: Vec<_> = found.alarms.iter().map(|alarm| alarm.kind.clone()).collect();
    assert_eq!(
        kinds[0],
        AlarmKind::TokenMade {
            grant: grant(),
            account: "payments/powerful".into()
        }
    );
    assert!(
        found.alarms[1]
            .words
            .contains("from a token issued to it for payments/powerful"),
        "{found:?}"
    );
    assert_eq!(found.kept.len(), 2);
}

#[test]
fn an_accounts_token_without_an_id_is_an_alarm() {
    let mut bare = from_pod("web-1", "u1", "get", 200);
    bare["user"].as_object_mut().unwrap().remove("extra");
    let found = intake(&[bare]);
    assert_eq!(
        found.alarms[0].words,
        "ServiceAccount payments/powerful used a token without an id: one from a Secret, which never expires"
    );
    assert!(intake(&[from_pod("web-1", "u1", "get", 200)]).alarms.is_empty());
}

#[test]
fn the_brokers_question_as_a_grants_user_is_no_action_and_anything_else_by_its_token_is_an_alarm() {
    let mut asked = event(
        "get",
        "/api/v1/namespaces/breakglass-grants/configmaps/breakglass-canary-1",
        json!({"resource": "configmaps", "namespace": "breakglass-grants", "name": "breakglass-canary-1", "apiVersion": "v1"}),
        403,
    );
    asked["user"]["extra"]["authentication.kubernetes.io/credential-id"] = json!(["JTI=own-1"]);
    let found = intake(&[asked.clone()]);
    assert_eq!((found.kept.len(), found.alarms.len()), (0, 0), "{found:?}");
    assert_eq!(found.own_uses[0].name, "breakglass-canary-1");
    asked["verb"] = json!("delete");
    let stolen = intake(&[asked]);
    assert!(matches!(
        stolen.alarms[0].kind,
        AlarmKind::UnknownCredential { .. }
    ));
    assert_eq!(stolen.kept.len(), 1);
}

#[test]
fn a_right_written_beside_the_grants_is_handed_on_as_it_was_stored_and_a_secret_never() {
    let written = |resource: &str, group: &str, code: u16, answer: Value| {
        let of = json!({"resource": resource, "namespace": "breakglass-grants", "name": "x", "apiGroup": group, "apiVersion": "v1"});
        let mut write = event("create", "/x", of, code);
        write["user"] = json!({"username": "admin"});
        write["responseObject"] = answer;
        let mut found = intake(&[write]);
        assert_eq!(found.alarms.len(), 1, "{resource} {code}");
        let alarm = found.alarms.remove(0);
        // What is kept of an alarm says who and what, and nothing of the body but its redacted form.
        assert!(!serde_json::to_string(&alarm).unwrap().contains("as stored"));
        let AlarmKind::ForeignWrite { written, .. } = alarm.kind else {
            panic!("{:?}", alarm.kind)
        };
        written
    };
    let rbac = "rbac.authorization.k8s.io";
    let stored = json!({"kind": "Role", "metadata": {"labels": {"note": "as stored"}}});
    assert_eq!(written("roles", rbac, 201, stored.clone()), Some(stored.clone()));
    assert_eq!(
        written("rolebindings", rbac, 200, stored.clone()),
        Some(stored.clone())
    );
    assert_eq!(
        written("roles", rbac, 504, stored.clone()),
        None,
        "nobody knows whether it was stored"
    );
    assert_eq!(written("secrets", "", 201, stored.clone()), None);
    assert_eq!(
        written("roles", "example.org", 201, stored),
        None,
        "another group's roles"
    );
}

#[test]
fn the_first_use_of_a_token_tells_its_rules() {
    let mut review = event(
        "create",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        json!({"resource": "selfsubjectrulesreviews", "apiGroup": "authorization.k8s.io", "apiVersion": "v1"}),
        201,
    );
    review["requestObject"] = json!({"kind": "SelfSubjectRulesReview", "spec": {"namespace": "payments"}});
    review["responseObject"] =
        json!({"status": {"resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}});
    let found = intake(&[review]);
    let [first] = &found.first_uses[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (first.namespace.as_deref(), first.level, first.code),
        (Some("payments"), Level::RequestResponse, Some(201))
    );
    assert_eq!(
        first.rules.as_ref().unwrap()["resourceRules"][0]["resources"][0],
        "pods"
    );
    assert_eq!(first.credential.as_deref(), Some(JTI));
}

#[test]
fn others_are_counted_by_class_and_not_kept() {
    let mut other = event("list", "/api/v1/pods", pod(""), 200);
    other["user"] = json!({"username": "alice"});
    let mut refused = event("list", "/api/v1/secrets", pod(""), 403);
    refused["user"] = json!({"username": "alice"});
    let found = intake(&[other, refused]);
    assert!(found.kept.is_empty() && found.alarms.is_empty());
    assert_eq!(found.counted_others.total, 2);
    assert_eq!(found.counted_others.by_class[&Class::Denied], 1);
}

#[test]
fn a_malformed_item_costs_itself_and_a_cut_body_keeps_what_was_whole() {
    let good = event("get", POD, pod(""), 200).to_string();
    let body = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{good},{{"level":tru}},{{}},7,{good}]}}"#
    );
    let found = digest_batch("prod", body.as_bytes(), &lookup(), now());
    assert_eq!((found.kept.len(), found.quarantined.len()), (2, 3));
    assert_eq!(found.quarantined[0].raw, br#"{"level":tru}"#);
    let cut = &body.as_bytes()[..body.len() - 100];
    let found = digest_batch("prod", cut, &lookup(), now());
    assert_eq!(found.kept.len(), 1);
    assert!(found.quarantined.last().unwrap().reason.contains("cut"));
    for body in [
        "",
        "[]",
        "null",
        r#"{"kind":"List","items":[]}"#,
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1beta1","items":[]}"#,
    ] {
        assert_eq!(
            digest_batch("prod", body.as_bytes(), &lookup(), now())
                .quarantined
                .len(),
            1,
            "{body}"
        );
    }
}

#[test]
fn unmatched_brackets_end_the_walk_and_never_free_a_planted_event() {
    let planted = event("delete", DEPLOYMENT, deployment(""), 200).to_string();
    let body =
        format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{{"a":[}},{planted}]}}"#);
    let found = digest_batch("prod", body.as_bytes(), &lookup(), now());
    assert!(found.kept.is_empty());
    assert_eq!(found.quarantined.len(), 1);
}

#[test]
fn an_audit_id_used_twice_is_an_alarm_and_both_events_stay() {
    let first = event("get", POD, pod(""), 200);
    let mut second = event("delete", DEPLOYMENT, deployment(""), 200);
    second["auditID"] = first["auditID"].clone();
    let found = intake(&[first.clone(), second]);
    assert_eq!(found.kept.len(), 2);
    assert_ne!(found.kept[0].key, found.kept[1].key);
    assert!(matches!(found.alarms[0].kind, AlarmKind::SameAuditId { .. }));
    let mut filed = first.clone();
    filed["kind"] = json!("Event");
    filed["apiVersion"] = json!("audit.k8s.io/v1");
    let (a, b) = (one(first.clone()), one(filed));
    assert_eq!(
        (a.key, &a.content),
        (b.key, &b.content),
        "a log file's event is the batch's event"
    );
    let mut changed = first;
    changed["responseStatus"]["code"] = json!(404);
    assert_ne!(one(changed).content, a.content);
}

#[test]
fn a_body_too_deep_to_read_is_said_and_the_event_stays() {
    let mut deep = json!(CANARY);
    for _ in 0..300 {
        deep = json!([deep]);
    }
    let found = intake(&[with(event("create", POD, pod(""), 201), "requestObject", deep)]);
    assert!(found.kept[0].flags.has(Flag::Unreadable) && found.kept[0].mutates);
    assert_eq!(found.alarms[0].kind, AlarmKind::Unreadable { grant: grant() });
    assert!(!String::from_utf8_lossy(&found.kept[0].event).contains(CANARY));
}

#[test]
fn names_cannot_hide_or_reverse_words() {
    let mut of = deployment("");
    of["name"] = json!("web\u{202e}gpj\n<script>\u{200b}");
    let action = one(event("delete", DEPLOYMENT, of, 200));
    assert_eq!(
        action.words.object,
        "Deployment payments/web\\u{202e}gpj\\n<script>\\u{200b}"
    );
    let mut of = deployment("");
    of["name"] = json!("é".repeat(5000));
    let action = one(event("delete", DEPLOYMENT, of, 200));
    assert_eq!(action.words.text.chars().count(), 200);
    let mut agent = event("delete", DEPLOYMENT, deployment(""), 200);
    agent["userAgent"] = json!("kubectl get pods (read only)");
    assert_eq!(one(agent).words.text, "deleted Deployment payments/web");
}

/// Everything of an intake that anybody could store or show.
fn shown(intake: &Intake) -> String {
    let mut all = format!("{intake:?}");
    for bytes in intake
        .kept
        .iter()
        .map(|a| &a.event)
        .chain(intake.alarms.iter().map(|a| &a.event))
        .chain(intake.quarantined.iter().map(|q| &q.raw))
    {
        all.push_str(&String::from_utf8_lossy(bytes));
    }
    for action in &intake.kept {
        all.push_str(&serde_json::to_string(action).unwrap());
    }
    all
}

fn secret_of() -> Value {
    json!({"resource": "secrets", "namespace": "payments", "name": "db", "apiVersion": "v1"})
}

/// Every place a secret is known to turn up in, holding `canary`.
fn placements(canary: &str) -> Vec<Value> {
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "db"}, "data": {"p": canary}, "stringData": {"q": canary}});
    let applied = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": secret.to_string()}}});
    let bodies = vec![
        secret.clone(),
        applied.clone(),
        json!({"kind": "List", "items": [secret.clone()]}),
        json!({"kind": "SecretList", "items": [{"metadata": {}, "data": {"x": canary}}]}),
        json!({"spec": {"template": secret.clone()}}),
        json!({"data": {"manifest.yaml": format!("apiVersion: v1\nkind: Secret\nstringData:\n  a: {canary}\n")}}),
        json!({"kind": "TokenRequest", "status": {"token": canary, "expirationTimestamp": "2026"}}),
        json!({"kind": "TokenReview", "spec": {"token": canary}}),
        json!({"spec": {"containers": [{"name": "a", "env": [{"name": "DB_PASSWORD", "value": canary}]}]}}),
        json!({"spec": {"containers": [{"args": [format!("--password={canary}")]}]}}),
        json!({"spec": {"containers": [{"args": ["--db-password", canary]}]}}),
        json!({"spec": {"containers": [{"command": ["sh", "-c", format!("export AWS_SECRET_ACCESS_KEY={canary}; run")]}]}}),
        json!({"spec": {"containers": [{"command": ["sh", "-c", format!("psql postgres://app:{canary}@db/x")]}]}}),
        json!({"kind": "ConfigMap", "data": {"application.yml": format!("db:\n  password: {canary}\n")}}),
        json!({"kind": "ConfigMap", "data": {"key.pem": format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----")}}),
        json!({"kind": "ConfigMap", "data": {"x": format!("ghp_{canary}")}}),
        json!({"kind": "ConfigMap", "binaryData": {"x": canary}}),
        json!([{"op": "replace", "path": "/spec/token", "value": canary}]),
        json!({"spec": {"values": {"apiKey": canary, "client_secret": canary}}}),
        json!({"metadata": {"annotations": {"note": format!("Authorization: Bearer {canary}")}}}),
        json!({"note": format!("{{\"password\": \"{canary}\"")}),
        json!({"spec": {"containers": [{"args": ["mysql", format!("-p{canary}")]}]}}),
    ];
    let mut events = Vec::new();
    for body in &bodies {
        let created = with(event("create", POD, pod(""), 201), "requestObject", body.clone());
        events.push(with(created, "responseObject", body.clone()));
    }
    let patches = [
        json!({"data": {"p": canary}}),
        json!({"stringData": {"p": canary}}),
        json!([{"op": "replace", "path": "/data/p", "value": canary}]),
        json!([{"op": "add", "path": "/data", "value": {"p": canary}}]),
        json!({"kind": "Table", "rows": [{"object": {"data": {"p": canary}}}]}),
        json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json!({"data": {"p": canary}}).to_string()}}}),
    ];
    for body in patches {
        events.push(with(
            event(
                "patch",
                "/api/v1/namespaces/payments/secrets/db",
                secret_of(),
                200,
            ),
            "requestObject",
            body,
        ));
    }
    for query in [
        format!("command=mysql&command=--password%3D{canary}"),
        format!("command=mysql&command=-p{canary}"),
        format!("command=app&command=--token&command={canary}"),
        format!(
            "command=sh&command=-c&command=curl+-H+%22Authorization%3A%20Bearer%20{canary}%22+https%3A%2F%2Fx"
        ),
        format!("command=sh&command=-c&command=PGPASSWORD%3D{canary}+psql"),
        format!("command=sh&command=-c&command=mysql+-u+root+-p{canary}+db"),
        format!("command=env&command=AWS_SECRET_ACCESS_KEY%3D{canary}"),
        format!("token={canary}"),
        format!("x=token%253D{canary}"),
        format!("access_token={canary}&x=1"),
    ] {
        events.push(event("get", &format!("{POD}/exec?{query}"), pod("exec"), 101));
    }
    let message = json!({"code": 422, "message": format!("spec.password: Invalid value: {canary}")});
    events.push(with(
        event("create", POD, pod(""), 422),
        "responseStatus",
        message,
    ));
    events.push(with(
        event("get", POD, pod(""), 200),
        "userAgent",
        json!(format!("curl --token={canary}")),
    ));
    events
}

#[test]
fn no_secret_survives_wherever_it_stands() {
    for (n, placed) in placements(CANARY).into_iter().enumerate() {
        let mut stranger = placed.clone();
        stranger["user"] = user("bg-unknown");
        let found = intake(&[placed.clone(), stranger]);
        assert_eq!(found.kept.len(), 1);
        assert!(
            found.kept[0].redactions > 0 && found.kept[0].flags.has(Flag::Redacted),
            "placement {n}: {placed}"
        );
        let shown = shown(&found);
        assert!(!shown.contains(CANARY), "placement {n} leaks: {placed}\n{shown}");
        let mut broken = placed
            .to_string()
            .replace("\"level\":\"RequestResponse\"", "\"level\":nonsense");
        broken.truncate(broken.len() - 1);
        let mut body = list(&[]);
        body.truncate(body.len() - 2);
        body.extend(broken.bytes());
        let quarantined = digest_batch("prod", &body, &lookup(), now());
        assert_eq!(quarantined.kept.len(), 0);
        assert_eq!(quarantined.quarantined.len(), 1);
        let raw = String::from_utf8_lossy(&quarantined.quarantined[0].raw).into_owned();
        assert!(raw.contains("bg-1"), "who stays readable: {raw}");
        assert!(
            !raw.contains(CANARY),
            "placement {n} leaks from quarantine: {raw}"
        );
    }
}

#[test]
fn what_is_no_secret_stays_readable() {
    let body = json!({"kind": "Deployment", "spec": {"replicas": 5, "template": {"spec": {
        "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "regcred"}],
        "volumes": [{"secret": {"secretName": "db", "items": [{"key": "password", "path": "p"}]}}],
        "containers": [{"name": "web", "image": "registry.example/shop/web:v1.2.3", "args": ["--port=80", "--verbose"],
            "env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}, {"name": "LOG_LEVEL", "value": "debug"}]}]}}}});
    let action = one(with(
        event("create", DEPLOYMENT, deployment(""), 201),
        "requestObject",
        body.clone(),
    ));
    let stored: Value = serde_json::from_slice(&action.event).unwrap();
    assert_eq!(stored["requestObject"], body);
    assert_eq!(action.redactions, 0);
    assert_eq!(stored["user"], user("bg-1"));
    let kept = one(with(
        event("patch", "/s", secret_of(), 200),
        "requestObject",
        json!({"data": {"password": CANARY}, "metadata": {"labels": {"a": "b"}}}),
    ));
    let stored: Value = serde_json::from_slice(&kept.event).unwrap();
    assert_eq!(
        stored["requestObject"],
        json!({"data": {"password": MARK}, "metadata": {"labels": {"a": "b"}}}),
        "structure stays"
    );
}

#[test]
fn a_password_that_ends_like_the_name_of_an_option_is_one() {
    for password in ["MyPass", "rootPassword", "Zq7aaJWT0", "s3cret-token"] {
        let args = |word: String| {
            let body = json!({"spec": {"containers": [{"args": ["mysql", word, "shop"]}]}});
            shown(&intake(&[with(
                event("create", POD, pod(""), 201),
                "requestObject",
                body,
            )]))
        };
        assert!(!args(format!("-p{password}")).contains(password), "{password}");
        let exec = format!("{POD}/exec?command=mysql&command=-p{password}&command=shop");
        let asked = shown(&intake(&[event("get", &exec, pod("exec"), 101)]));
        assert!(!asked.contains(password), "{password}");
    }
    let long = json!({"spec": {"containers": [{"args": ["ldapsearch", "-password", "Hidden1", "cn"]}]}});
    let said = shown(&intake(&[with(
        event("create", POD, pod(""), 201),
        "requestObject",
        long,
    )]));
    assert!(!said.contains("Hidden1"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = digest_batch("prod", &bytes, &lookup(), now());
        let body = [br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["#.as_slice(), &bytes, b"]}"].concat();
        let found = digest_batch("prod", &body, &lookup(), now());
        prop_assert!(bytes.iter().all(u8::is_ascii_whitespace) || !found.quarantined.is_empty());
    }

    #[test]
    fn no_text_makes_it_panic(name in "\\PC{0,60}", uri in ".{0,120}", verb in "[a-z]{0,12}", sub in "[a-z]{0,12}", code in 0u16..700) {
        let mut of = pod(&sub);
        of["name"] = json!(name);
        let found = intake(&[event(&verb, &uri, of, code)]);
        prop_assert_eq!(found.kept.len(), 1);
        prop_assert!(found.kept[0].words.text.chars().count() <= 200);
        prop_assert!(!found.kept[0].words.text.chars().any(char::is_control));
    }

    #[test]
    fn redaction_hides_any_canary(n in 0usize..64, tail in "[A-Za-z0-9]{6,20}") {
        let canary = format!("Zq7{tail}");
        let placed = placements(&canary);
        let found = intake(&[placed[n % placed.len()].clone()]);
        prop_assert!(!shown(&found).contains(&canary));
    }

    #[test]
    fn cutting_a_batch_anywhere_loses_only_what_was_cut(cut in 0usize..2000) {
        let body = list(&[event("get", POD, pod(""), 200), event("get", POD, pod(""), 201), event("get", POD, pod(""), 202)]);
        let cut = cut.min(body.len() - 1);
        let found = digest_batch("prod", &body[..cut], &lookup(), now());
        prop_assert!(!found.quarantined.is_empty());
    }
}

/// Captured from kube-apiserver 1.36.3 with the recommended policy, driven by kubectl 1.36.3.
const REAL: &[u8] = include_bytes!("../../tests/fixtures/audit/kubectl-1.36.json");

#[test]
fn what_a_real_api_server_sends_is_read_as_what_was_done() {
    let issued: Value = serde_json::from_slice(REAL).unwrap();
    let id = issued["items"][0]["annotations"]["authentication.kubernetes.io/issued-credential-id"]
        .as_str()
        .unwrap();
    let mut known = lookup();
    known.broker = "breakglass-broker".into();
    known.grants.get_mut("bg-1").unwrap().credentials = vec![id.into()];
    let found = digest_batch("prod", REAL, &known, now());
    assert!(
        found.quarantined.is_empty() && found.alarms.is_empty(),
        "{:?} {:?}",
        found.quarantined,
        found.alarms
    );
    assert!(found.issuances[0].known && found.issuances[0].code == Some(201));
    assert_eq!(found.first_uses[0].namespace.as_deref(), Some("payments"));
    assert!(found.first_uses[0].rules.as_ref().unwrap()["resourceRules"].is_array());
    let said: Vec<&str> = found
        .kept
        .iter()
        .filter(|a| a.class != Class::Read)
        .map(|a| a.words.text.as_str())
        .collect();
    let exec =
        "failed: exec in Pod payments/web-1 (answer 404, sh -c 'mysql -p[redacted] db; ls', container web";
    assert_eq!(
        said,
        [
            "scaled Deployment payments/web to 5 replicas (0 running then)",
            "changed Deployment payments/web: limits.memory = 1Gi",
            "changed Deployment payments/web: env.DB_PASSWORD = [redacted], env.LOG = debug",
            "restarted Deployment payments/web",
            "read Secret payments/db",
            "listed Secret payments",
            "tried as a dry run: delete Deployment payments/web (nothing was stored)",
            "changed Deployment payments/web: replace /spec/replicas = 3",
            &format!("{exec})"),
            &format!("{exec}, ended)"),
            &format!("{exec})"),
            &format!("{exec}, ended)"),
            "put a debug container into Pod payments/web-1: busybox",
            "was refused: list ConfigMap kube-system",
            "tried as a dry run: create Deployment payments/made (nothing was stored)",
            "deleted Deployment payments/web",
        ]
    );
    assert!(!shown(&found).contains(CANARY));
}
