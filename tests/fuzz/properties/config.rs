//! The configuration: what is refused is said with its place and tells no secret; what is accepted is whole,
//! read the same twice, and can be printed as what a cluster needs.

use breakglass::config::{Config, Problem, command::report};
use std::path::Path;

/// Longer ones tell nothing new, and take the fuzzer's time.
const LONGEST: usize = 64 << 10;

pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > LONGEST {
        return;
    }
    let read = |text: &str| Config::from_text("breakglass.yaml", text, Path::new("/etc/breakglass"), None);
    match read(text) {
        Err(problems) => refused(text, &problems),
        Ok(config) => {
            let again = read(text).expect("accepted once, refused the second time");
            assert_eq!(config.digest(), again.digest(), "one text, two policies");
            // A comment and a line end are no part of a policy.
            let remarked = format!("# remark\n{text}\n");
            if let Ok(remarked) = read(&remarked) {
                assert_eq!(config.digest(), remarked.digest(), "a remark changed the policy");
            }
            accepted(&config);
        }
    }
}

fn refused(text: &str, problems: &[Problem]) {
    assert!(!problems.is_empty(), "refused without a reason");
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        assert!(!problem.message.is_empty(), "a problem without words");
        let line = usize::try_from(problem.line).expect("a line that can be");
        assert!(line <= lines.len() + 1, "line {line} of {}", lines.len());
        if !problem.source_line.is_empty() {
            let own = lines.get(line.wrapping_sub(1)).copied().unwrap_or_default();
            assert!(
                own.contains(problem.source_line.trim()),
                "line {line} is not what is shown of it: {:?}",
                problem.source_line
            );
        }
    }
    assert!(
        report(problems).contains("error: "),
        "a report that names no problem"
    );
}

/// What passed the check is what the other commands and the service work with: nothing of it may fail there.
fn accepted(config: &Config) {
    for (name, cluster) in &config.clusters {
        assert!(
            !cluster.audit_wait.delta().is_zero(),
            "no time to wait for audit of {name}"
        );
        let made = breakglass::cluster::manifests::manifests(config, name);
        made.unwrap_or_else(|error| panic!("no manifests for {name}: {error}"));
    }
    for (name, profile) in &config.profiles {
        assert_eq!(*name, profile.name);
        let role = &profile.cluster_role;
        assert!(
            config.cluster_role(role).is_some(),
            "profile {name} has no role {role}"
        );
        for cluster in &profile.clusters {
            assert!(
                config.clusters.contains_key(cluster),
                "profile {name} is for no cluster"
            );
        }
    }
}
