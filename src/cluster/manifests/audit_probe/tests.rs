//! What is probed, and what is made of the answers.

use super::super::tests::example;
use super::*;

fn there() -> Vec<String> {
    ["default", "kube-system", "payments", "payments-eu", "argocd"]
        .map(str::to_owned)
        .into()
}

fn heard(early: Option<Level>, end: Option<Level>) -> Heard {
    Heard { early, end }
}

#[test]
fn each_rule_that_promises_something_is_tried_and_no_request_can_do_anything() {
    let config = example();
    let probes = audit_probes(&config, "production", &there());
    for (at, rule) in RULES
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.level != Level::None)
    {
        assert!(
            probes.iter().any(|probe| probe.rule() == at),
            "rule {at} at {:?} is not tried",
            rule.level
        );
    }
    for probe in &probes {
        let (_, path) = probe.request("n1");
        assert!(path.contains("?dryRun=All&breakglassAuditProbe=n1"), "{path}");
        assert!(probe.of_grants || probe.verb != "list", "the broker may list");
    }
    assert!(audit_probes(&config, "elsewhere", &there()).is_empty());
}

#[test]
fn every_right_that_is_lent_is_tried_somewhere_and_every_namespace_once() {
    let config = example();
    let probes = audit_probes(&config, "production", &there());
    let role = config.cluster_role("breakglass-workloads").unwrap();
    for rule in &role.rules {
        for (group, resource) in rule.pairs() {
            for verb in rule.verbs.iter().filter(|verb| is_asked(verb, resource)) {
                assert!(
                    probes.iter().any(|probe| probe.of_grants
                        && (probe.group.as_str(), probe.resource.as_str(), &probe.verb)
                            == (group, resource, verb)),
                    "{verb} {group}/{resource}"
                );
            }
        }
    }
    let tried = |namespace: &str| probes.iter().filter(|probe| probe.namespace == namespace).count();
    assert!(tried("payments") > 50 && tried("kube-system") == 0 && tried("argocd") == 0);
}

#[test]
fn requests_are_those_of_their_verbs() {
    let of = |verb, resource, namespace| {
        let (method, path) = AuditProbe::new(true, verb, ("apps", resource), namespace).request("n");
        (method.to_string(), path.split('?').next().unwrap().to_owned())
    };
    let base = "/apis/apps/v1/namespaces/shop/deployments";
    assert_eq!(of("create", "deployments", "shop"), ("POST".into(), base.into()));
    assert_eq!(of("watch", "deployments", "shop"), ("GET".into(), base.into()));
    assert_eq!(
        of("patch", "deployments", "shop"),
        ("PATCH".into(), format!("{base}/{NOBODY}"))
    );
    assert_eq!(
        of("update", "deployments/scale", "shop"),
        ("PUT".into(), format!("{base}/{NOBODY}/scale"))
    );
    assert_eq!(
        of("deletecollection", "deployments", ""),
        ("DELETE".into(), "/apis/apps/v1/deployments".into())
    );
}

#[test]
fn too_little_too_much_and_nothing_at_all_are_wrong() {
    use Level::{Metadata, Request, RequestResponse};
    let update = AuditProbe::new(true, "update", ("apps", "deployments"), "shop");
    assert_eq!(update.judge(&heard(None, Some(RequestResponse))), None);
    assert_eq!(
        update.judge(&heard(None, Some(Request))).unwrap().got,
        Some(Request)
    );
    assert!(
        update
            .judge(&heard(None, None))
            .unwrap()
            .words()
            .contains("is not recorded")
    );
    let patch = AuditProbe::new(true, "patch", ("apps", "deployments"), "shop");
    let late = patch.judge(&heard(None, Some(RequestResponse))).unwrap();
    assert!(
        late.words().contains("when it is received too"),
        "{}",
        late.words()
    );
    assert_eq!(
        patch.judge(&heard(Some(RequestResponse), Some(RequestResponse))),
        None
    );
    let secret = AuditProbe::new(false, "get", ("", "secrets"), "default");
    assert_eq!(secret.judge(&heard(None, Some(Metadata))), None);
    let sent = secret.judge(&heard(None, Some(RequestResponse))).unwrap();
    assert!(
        sent.words().contains("sends what must stay out"),
        "{}",
        sent.words()
    );
    // What others do may be recorded more fully than we ask for.
    let other = AuditProbe::new(false, "patch", ("apps", "deployments"), "default");
    assert_eq!(other.judge(&heard(None, Some(Request))), None);
    assert!(
        !patch.is_whole(&heard(None, Some(RequestResponse))) && other.is_whole(&heard(None, Some(Metadata)))
    );
}

#[test]
fn what_is_wrong_concerns_the_profiles_that_lend_it_and_the_lines_end_with_its_rule() {
    let exec = AuditProbe::new(true, "create", ("", "pods/exec"), "payments");
    let wrong = exec.judge(&heard(None, Some(Level::Metadata))).unwrap();
    let role = ClusterRole::shipped();
    assert!(wrong.concerns(&role));
    let token = AuditProbe::new(true, "create", ("", "serviceaccounts/token"), "default");
    let sent = token.judge(&heard(None, None)).unwrap();
    assert!(!sent.concerns(&role), "no profile lends it");
    assert_eq!(
        lines_for(std::slice::from_ref(&sent)).matches("- level").count(),
        1
    );
    assert_eq!(lines_for(&[wrong, sent]).matches("- level").count(), 4);
    assert_eq!(lines_for(&[]), "");
}
