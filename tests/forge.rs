//! One contract suite for every forge, run against a real one that is already up.
//!
//! `BREAKGLASS_FORGE` holds its facts as JSON: `kind`, `url`, `apiUrl`, `appId`, `installationId`,
//! `privateKeyPem`, `tokens` (login to token) and `controlToken` (for set-up and faults).
//! Without it every test fails: a suite that skips itself proves nothing.

use breakglass::{
    domain::review::{Conclusion, PullPhase, Verdict, independent_approval},
    forge::{
        Auth, Change, Check, FileEdit, Forge, ForgeError, NewPull, Repo, Secret, Settings,
        github::GitHub,
        message::{CommitMessage, carries_grant},
        webhook::{self, WebhookEvent},
    },
    ids::GrantId,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const DEPLOYMENT: &str = "# kept\nspec:\n  replicas: 3 # three\n";
const BASE: &str = "main";

/// The forge under test, and what the suite must do to it from outside.
struct World {
    facts: Value,
    http: reqwest::Client,
}

/// How every write is made to fail: before it was done, and after.
const BEFORE: [&str; 1] = ["bad-gateway"];
const AFTER: [&str; 2] = ["applied-bad-gateway", "lost"];

impl World {
    fn new() -> Self {
        let facts = std::env::var("BREAKGLASS_FORGE").expect(
            "BREAKGLASS_FORGE must hold the facts of a running forge (node tests/world/forge/main.mjs DIR)",
        );
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            facts: serde_json::from_str(&facts).expect("BREAKGLASS_FORGE is JSON"),
            http,
        }
    }

    fn text(&self, name: &str) -> String {
        self.facts[name]
            .as_str()
            .unwrap_or_else(|| panic!("BREAKGLASS_FORGE has {name}"))
            .to_owned()
    }

    fn settings(&self, auth: Auth) -> Settings {
        Settings {
            timeout: Duration::from_secs(10),
            write_gap: Duration::ZERO,
            ..Settings::new(self.text("apiUrl"), auth)
        }
    }

    /// The adapter under test; a Gitea adapter slots in here by `kind`.
    fn forge(&self) -> Arc<dyn Forge> {
        assert_eq!(self.text("kind"), "github", "no adapter for this kind of forge");
        let auth = Auth::App {
            app_id: self.facts["appId"].as_u64().unwrap(),
            private_key: Secret::new(self.text("privateKeyPem")),
            installation_id: None,
        };
        Arc::new(GitHub::new(self.settings(auth)).unwrap())
    }

    fn machine(&self) -> Arc<dyn Forge> {
        let token = self.facts["tokens"]["breakglass-machine"].as_str().unwrap();
        Arc::new(GitHub::new(self.settings(Auth::Token(Secret::new(token)))).unwrap())
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/_control/{what}", self.text("url"));
        let answer = self
            .http
            .post(url)
            .bearer_auth(self.text("controlToken"))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(
            answer.status().is_success(),
            "{what}: {}",
            answer.text().await.unwrap()
        );
        answer.json().await.unwrap()
    }

    async fn repo(&self) -> Repo {
        let name = format!("shop-{}", GrantId::new().short());
        let made = self.control("repo", json!({"name": name, "files": {"apps/web.yaml": DEPLOYMENT, "apps/old.yaml": "old: 1\n", "README.md": "# shop\n"}})).await;
        Repo {
            owner: "demo".into(),
            name,
            id: made["id"].as_u64(),
        }
    }

    /// What a person does, by their own token.
    async fn person(&self, login: &str, method: &str, route: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{route}", self.text("apiUrl"));
        let token = self.facts["tokens"][login].as_str().unwrap();
        let answer = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(token)
            .json(&body)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    async fn must(&self, login: &str, method: &str, route: &str, body: Value) -> Value {
        let (status, body) = self.person(login, method, route, body).await;
        assert!((200..300).contains(&status), "{method} {route}: {status} {body}");
        body
    }

    async fn approve(&self, repo: &Repo, number: u64, login: &str) {
        self.must(
            login,
            "POST",
            &format!("/repos/demo/{}/pulls/{number}/reviews", repo.name),
            json!({"event": "APPROVE"}),
        )
        .await;
    }

    /// A person's own commit on a branch, through the forge.
    async fn person_commits(&self, repo: &Repo, login: &str, branch: &str, content: &str) -> String {
        let root = format!("/repos/demo/{}/git", repo.name);
        let (_, head) = self
            .person_get(login, &format!("{root}/ref/heads/{branch}"))
            .await;
        let head = head["object"]["sha"].as_str().unwrap().to_owned();
        let tree = self.must(login, "POST", &format!("{root}/trees"), json!({"base_tree": head, "tree": [{"path": "apps/web.yaml", "mode": "100644", "type": "blob", "content": content}]})).await;
        let commit = self
            .must(
                login,
                "POST",
                &format!("{root}/commits"),
                json!({"message": "by hand", "tree": tree["sha"], "parents": [head]}),
            )
            .await;
        let sha = commit["sha"].as_str().unwrap().to_owned();
        self.must(
            login,
            "PATCH",
            &format!("{root}/refs/heads/{branch}"),
            json!({"sha": sha}),
        )
        .await;
        sha
    }

    async fn person_get(&self, login: &str, route: &str) -> (u16, Value) {
        let token = self.facts["tokens"][login].as_str().unwrap();
        let answer = self
            .http
            .get(format!("{}{route}", self.text("apiUrl")))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn change(repo: &Repo, base_commit: &str, grant: GrantId, replicas: u32) -> Change {
    let message = CommitMessage {
        subject: "Scale web".into(),
        body: "Orders were failing.".into(),
        co_author: None,
        grant: grant.to_string(),
        checkpoint: Some("1:abc".into()),
    };
    Change {
        repo: repo.clone(),
        base: BASE.into(),
        base_commit: base_commit.into(),
        branch: format!("breakglass/{grant}"),
        files: vec![
            FileEdit {
                path: "apps/web.yaml".into(),
                content: Some(DEPLOYMENT.replace('3', &replicas.to_string()).into_bytes()),
            },
            FileEdit {
                path: "apps/old.yaml".into(),
                content: None,
            },
            FileEdit {
                path: "apps/logo.bin".into(),
                content: Some(vec![0, 159, 146, 150]),
            },
        ],
        message: message.build(),
        key: grant.to_string(),
    }
}

fn new_pull(change: &Change) -> NewPull {
    NewPull {
        branch: change.branch.clone(),
        base: BASE.into(),
        title: "Emergency change".into(),
        body: "Why it was needed.".into(),
    }
}

fn people() -> BTreeMap<String, String> {
    [
        "oncall-engineer",
        "second-engineer",
        "first-approver",
        "second-approver",
    ]
    .map(|login| (login.to_owned(), format!("person:{login}")))
    .into()
}

fn requester() -> BTreeSet<String> {
    ["person:oncall-engineer".to_owned()].into()
}

/// Calls until it succeeds, as the worker does; gives how often it failed first.
async fn until_done<T, F: Future<Output = Result<T, ForgeError>>>(mut call: impl FnMut() -> F) -> (T, usize) {
    for failures in 0..5 {
        match call().await {
            Ok(done) => return (done, failures),
            Err(error) => {
                assert!(error.is_transient(), "gave up on {error}");
                tokio::time::sleep(error.retry_after().unwrap_or_default() + Duration::from_millis(20)).await;
            }
        }
    }
    panic!("never done");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn from_publish_to_merge() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let grant = GrantId::new();
    let base = forge.head(&repo, BASE).await.unwrap();
    assert_eq!(
        forge
            .read_file(&repo, "apps/web.yaml", &base.sha)
            .await
            .unwrap()
            .unwrap(),
        DEPLOYMENT.as_bytes()
    );
    assert_eq!(
        forge.read_file(&repo, "apps/none.yaml", &base.sha).await.unwrap(),
        None
    );
    assert_eq!(forge.read_file(&repo, "apps", &base.sha).await.unwrap(), None);
    assert_eq!(
        forge.list_files(&repo, "apps", &base.sha).await.unwrap(),
        ["apps/old.yaml", "apps/web.yaml"]
    );
    assert_eq!(forge.list_files(&repo, "", &base.sha).await.unwrap().len(), 3);

    let change = change(&repo, &base.sha, grant, 5);
    let made = forge.publish(&change).await.unwrap();
    assert!(made.verified && !made.adopted, "{made:?}");
    let head = forge.head(&repo, &change.branch).await.unwrap();
    assert!(head.sha == made.sha && carries_grant(&head.message, &grant.to_string()));
    assert_eq!(
        forge.list_files(&repo, "apps", &head.sha).await.unwrap(),
        ["apps/logo.bin", "apps/web.yaml"]
    );
    assert_eq!(
        forge
            .read_file(&repo, "apps/logo.bin", &head.sha)
            .await
            .unwrap()
            .unwrap(),
        [0, 159, 146, 150]
    );

    let opened = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    assert_eq!(opened.phase, PullPhase::Open);
    let check = |conclusion, title: &str| Check {
        name: "breakglass".into(),
        conclusion,
        title: title.into(),
        summary: "Approved by somebody else?".into(),
    };
    world.control("protect", json!({"name": repo.name, "checks": [{"context": "breakglass", "app_id": world.facts["appId"]}], "reviews": 1})).await;
    forge
        .set_check(&repo, &head.sha, &check(Conclusion::Pending, "Waiting"))
        .await
        .unwrap();
    assert!(
        forge
            .request_reviewers(&repo, opened.number, &["second-approver".to_owned()].into())
            .await
            .unwrap()
            .is_empty()
    );

    // The engineer's own approval satisfies the forge but not the rule.
    world.approve(&repo, opened.number, "oncall-engineer").await;
    let state = forge.pull(&repo, opened.number).await.unwrap();
    assert!(!independent_approval(&state, &requester(), &people()).is_independent());
    let merge = format!("/repos/demo/{}/pulls/{}/merge", repo.name, opened.number);
    let (status, refused) = world.person("oncall-engineer", "PUT", &merge, json!({})).await;
    assert!(
        status == 405 && refused["message"].as_str().unwrap().contains("breakglass"),
        "{status} {refused}"
    );

    world.approve(&repo, opened.number, "second-approver").await;
    let state = forge.pull(&repo, opened.number).await.unwrap();
    let verdict = independent_approval(&state, &requester(), &people());
    assert_eq!(
        verdict,
        Verdict::Independent {
            by: vec!["second-approver".into()]
        },
        "{state:?}"
    );
    forge
        .set_check(
            &repo,
            &state.head_sha,
            &check(Conclusion::Success, "Approved independently"),
        )
        .await
        .unwrap();
    world.must("second-approver", "PUT", &merge, json!({})).await;

    let state = forge.pull(&repo, opened.number).await.unwrap();
    assert_eq!(
        (state.phase, state.merged_by.as_deref()),
        (PullPhase::Merged, Some("second-approver"))
    );
    let merged = state.merge_commit_sha.unwrap();
    assert_eq!(merged, forge.head(&repo, BASE).await.unwrap().sha);
    assert_eq!(
        forge
            .read_file(&repo, "apps/web.yaml", &merged)
            .await
            .unwrap()
            .unwrap(),
        DEPLOYMENT.replace('3', "5").as_bytes()
    );
    // Everything again, as after a crash: nothing new.
    assert!(forge.publish(&change).await.unwrap().adopted);
    assert_eq!(
        forge.open_pull(&repo, &new_pull(&change)).await.unwrap().phase,
        PullPhase::Merged
    );
}

#[tokio::test]
async fn every_write_that_failed_or_seemed_to_is_done_once() {
    let world = World::new();
    let writes = [
        "git/create-blob",
        "git/create-tree",
        "git/create-commit",
        "git/create-ref",
        "pulls/create",
        "pulls/update",
        "pulls/request-reviewers",
        "checks/create",
        "checks/update",
    ];
    // What happens before the forge does anything is the same for every write: the rest is tried on one.
    let rest = ["refuse", "rate-limit"].map(|kind| ("pulls/create", kind));
    let cases = writes
        .into_iter()
        .flat_map(|write| BEFORE.into_iter().chain(AFTER).map(move |kind| (write, kind)))
        .chain(rest);
    for (write, kind) in cases {
        let (forge, repo) = (world.forge(), world.repo().await);
        let base = forge.head(&repo, BASE).await.unwrap();
        let change = change(&repo, &base.sha, GrantId::new(), 5);
        let check = |conclusion| Check {
            name: "breakglass".into(),
            conclusion,
            title: "t".into(),
            summary: "s".into(),
        };
        world
            .control(
                "fault",
                json!({"operation": write, "kind": kind, "times": 1, "retryAfter": 1, "repo": repo.name}),
            )
            .await;
        let (made, mut failures) = until_done(|| forge.publish(&change)).await;
        let (pull, f) = until_done(|| async { forge.open_pull(&repo, &new_pull(&change)).await }).await;
        failures += f;
        failures += until_done(|| forge.update_body(&repo, pull.number, "another"))
            .await
            .1;
        let reviewers = ["second-approver".to_owned()].into();
        failures += until_done(|| forge.request_reviewers(&repo, pull.number, &reviewers))
            .await
            .1;
        failures += until_done(|| async {
            forge
                .set_check(&repo, &made.sha, &check(Conclusion::Failure))
                .await
        })
        .await
        .1;
        failures += until_done(|| async {
            forge
                .set_check(&repo, &made.sha, &check(Conclusion::Success))
                .await
        })
        .await
        .1;
        assert_eq!(failures, 1, "{write} {kind}: the fault was met once");

        let (_, commits) = world
            .person_get(
                "compliance",
                &format!("/repos/demo/{}/pulls/{}/commits", repo.name, pull.number),
            )
            .await;
        assert_eq!(commits.as_array().unwrap().len(), 1, "{write} {kind}: one commit");
        let (_, pulls) = world
            .person_get(
                "compliance",
                &format!("/repos/demo/{}/pulls?state=all", repo.name),
            )
            .await;
        assert_eq!(
            pulls.as_array().unwrap().len(),
            1,
            "{write} {kind}: one pull request"
        );
        let state = forge.pull(&repo, pull.number).await.unwrap();
        assert_eq!(
            (
                state.body.as_str(),
                state.checks.len(),
                state.checks[0].conclusion
            ),
            ("another", 1, Conclusion::Success),
            "{write} {kind}"
        );
    }
    let report = world.control("report", json!({})).await;
    assert_eq!(
        report["violations"],
        json!([]),
        "requests and answers are as GitHub describes them"
    );
}

#[tokio::test]
async fn a_branch_that_a_person_wrote_to_is_left_alone() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let base = forge.head(&repo, BASE).await.unwrap();
    let grant = GrantId::new();
    let first = change(&repo, &base.sha, grant, 5);
    let made = forge.publish(&first).await.unwrap();

    // A late action: the broker adds to its own commit.
    let second = forge.publish(&change(&repo, &base.sha, grant, 6)).await.unwrap();
    assert!(!second.adopted && second.sha != made.sha);
    // The same again is nothing new.
    assert!(
        forge
            .publish(&change(&repo, &base.sha, grant, 6))
            .await
            .unwrap()
            .adopted
    );

    let theirs = world
        .person_commits(&repo, "second-engineer", &first.branch, "spec:\n  replicas: 9\n")
        .await;
    let refused = forge
        .publish(&change(&repo, &base.sha, grant, 7))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ForgeError::PersonOnBranch { commit, .. } if *commit == theirs),
        "{refused}"
    );
    assert_eq!(forge.head(&repo, &first.branch).await.unwrap().sha, theirs);
    // What was published before still counts as published.
    assert_eq!(
        forge
            .publish(&change(&repo, &base.sha, grant, 6))
            .await
            .unwrap()
            .sha,
        second.sha
    );

    // Whoever pushed does not count as a reviewer any more, and an approval of an older commit does not either.
    let pull = forge.open_pull(&repo, &new_pull(&first)).await.unwrap();
    world.approve(&repo, pull.number, "second-engineer").await;
    world.approve(&repo, pull.number, "first-approver").await;
    let before = forge.pull(&repo, pull.number).await.unwrap();
    assert!(
        before.authors_and_pushers.contains("second-engineer"),
        "{before:?}"
    );
    assert_eq!(
        independent_approval(&before, &requester(), &people()),
        Verdict::Independent {
            by: vec!["first-approver".into()]
        }
    );
    world
        .person_commits(&repo, "second-engineer", &first.branch, "spec:\n  replicas: 8\n")
        .await;
    let after = forge.pull(&repo, pull.number).await.unwrap();
    assert!(
        independent_approval(&after, &requester(), &people())
            .words()
            .contains("an earlier commit"),
        "{after:?}"
    );
}

#[tokio::test]
async fn nothing_to_change_and_what_must_not_be_written() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let base = forge.head(&repo, BASE).await.unwrap();
    let with = |path: &str, content: Option<&str>| Change {
        files: vec![FileEdit {
            path: path.into(),
            content: content.map(|text| text.as_bytes().to_vec()),
        }],
        ..change(&repo, &base.sha, GrantId::new(), 5)
    };
    assert!(matches!(
        forge.publish(&with("apps/web.yaml", Some(DEPLOYMENT))).await,
        Err(ForgeError::NothingToChange)
    ));
    assert!(matches!(
        forge.publish(&with("apps/none.yaml", None)).await,
        Err(ForgeError::NothingToChange)
    ));
    for path in ["../x", ".git/config", ".github/workflows/x.yml", "apps"] {
        assert!(
            matches!(
                forge.publish(&with(path, Some("x"))).await,
                Err(ForgeError::BadPath { .. })
            ),
            "{path}"
        );
    }
    let missing = Repo {
        owner: "demo".into(),
        name: "not-there".into(),
        id: None,
    };
    assert!(forge.head(&missing, BASE).await.is_err());
    assert!(matches!(
        forge.head(&repo, "not-there").await,
        Err(ForgeError::NotFound { .. })
    ));
}

#[tokio::test]
async fn closed_and_opened_again() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let base = forge.head(&repo, BASE).await.unwrap();
    let change = change(&repo, &base.sha, GrantId::new(), 5);
    assert_eq!(forge.find_pull(&repo, &change.branch).await.unwrap(), None);
    forge.publish(&change).await.unwrap();
    let pull = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    world
        .must(
            "compliance",
            "PATCH",
            &format!("/repos/demo/{}/pulls/{}", repo.name, pull.number),
            json!({"state": "closed"}),
        )
        .await;
    // A closed one is not opened a second time behind people's backs.
    let again = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    assert_eq!((again.number, again.phase), (pull.number, PullPhase::Closed));
    assert_eq!(
        forge.reopen(&repo, pull.number).await.unwrap().phase,
        PullPhase::Open
    );
    assert_eq!(
        forge.reopen(&repo, pull.number).await.unwrap().phase,
        PullPhase::Open
    );
}

#[tokio::test]
async fn somebody_elses_pull_request_is_listed_and_gets_a_neutral_check() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let root = format!("/repos/demo/{}", repo.name);
    let base = forge.head(&repo, BASE).await.unwrap();
    world
        .must(
            "second-engineer",
            "POST",
            &format!("{root}/git/refs"),
            json!({"ref": "refs/heads/feature", "sha": base.sha}),
        )
        .await;
    world
        .person_commits(&repo, "second-engineer", "feature", "spec: {}\n")
        .await;
    world
        .must(
            "second-engineer",
            "POST",
            &format!("{root}/pulls"),
            json!({"title": "A feature", "head": "feature", "base": BASE}),
        )
        .await;
    world
        .control(
            "protect",
            json!({"name": repo.name, "checks": [{"context": "breakglass"}]}),
        )
        .await;
    let open = forge.open_pulls(&repo, BASE).await.unwrap();
    assert!(
        open.len() == 1 && open[0].branch == "feature" && !open[0].from_fork,
        "{open:?}"
    );
    let merge = format!("{root}/pulls/{}/merge", open[0].number);
    assert_eq!(
        world.person("second-engineer", "PUT", &merge, json!({})).await.0,
        405
    );
    let neutral = Check {
        name: "breakglass".into(),
        conclusion: Conclusion::Neutral,
        title: "Not an emergency change".into(),
        summary: "Nothing to wait for.".into(),
    };
    forge.set_check(&repo, &open[0].head_sha, &neutral).await.unwrap();
    world.must("second-engineer", "PUT", &merge, json!({})).await;

    let report = forge.branch_protection(&repo, BASE).await.unwrap();
    assert!(
        report.protected && report.warnings("breakglass")[0].contains("not pinned"),
        "{report:?}"
    );
    let report = forge.branch_protection(&repo, "feature").await.unwrap();
    assert!(
        report.warnings("breakglass")[0].contains("no protection"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_renamed_repository_is_found_by_its_number() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let base = forge.head(&repo, BASE).await.unwrap();
    let renamed = format!("{}-renamed", repo.name);
    world
        .control("rename", json!({"from": repo.name, "to": renamed}))
        .await;
    let change = change(&repo, &base.sha, GrantId::new(), 5);
    until_done(|| forge.publish(&change)).await;
    let pull = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    assert!(pull.url.contains(&renamed), "{pull:?}");
    // Known by its old name alone it stays lost, and says what to do.
    let by_name = Repo { id: None, ..repo };
    for forge in [world.forge(), world.machine()] {
        let lost = forge.head(&by_name, BASE).await.unwrap_err();
        assert!(!lost.is_transient(), "{lost}");
    }
}

#[tokio::test]
async fn a_plain_token_says_what_it_cannot_do_and_publishes_statuses() {
    let world = World::new();
    let (forge, repo) = (world.machine(), world.repo().await);
    let can = forge.capabilities();
    assert!(!can.signed_commits && !can.pinned_checks && !can.neutral_checks);
    let base = forge.head(&repo, BASE).await.unwrap();
    let change = change(&repo, &base.sha, GrantId::new(), 5);
    for kind in AFTER {
        world
            .control(
                "fault",
                json!({"operation": "repos/create-commit-status", "kind": kind, "repo": repo.name}),
            )
            .await;
    }
    let made = forge.publish(&change).await.unwrap();
    assert!(!made.verified);
    let pull = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    let check = Check {
        name: "breakglass".into(),
        conclusion: Conclusion::Neutral,
        title: "x".repeat(300),
        summary: String::new(),
    };
    until_done(|| forge.set_check(&repo, &made.sha, &check)).await;
    let state = forge.pull(&repo, pull.number).await.unwrap();
    assert_eq!(state.checks.len(), 1);
    assert_eq!(state.checks[0].conclusion, Conclusion::Success);
}

#[tokio::test]
async fn a_wait_that_was_asked_for_is_kept_and_a_silent_forge_is_given_up_on() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    forge.head(&repo, BASE).await.unwrap();
    world
        .control(
            "fault",
            json!({"operation": "git/get-ref", "kind": "rate-limit", "retryAfter": 2, "repo": repo.name}),
        )
        .await;
    let limited = forge.head(&repo, BASE).await.unwrap_err();
    assert_eq!(limited.retry_after(), Some(Duration::from_secs(2)), "{limited}");
    // Until then nothing is sent at all: GitHub bans who goes on asking.
    assert!(forge.head(&repo, BASE).await.unwrap_err().retry_after().is_some());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    forge.head(&repo, BASE).await.unwrap();
    world
        .control(
            "fault",
            json!({"operation": "git/get-ref", "kind": "hang", "repo": repo.name}),
        )
        .await;
    let silent = forge.head(&repo, BASE).await.unwrap_err();
    assert!(
        matches!(&silent, ForgeError::Unavailable { .. }) && silent.is_transient(),
        "{silent}"
    );
    forge.head(&repo, BASE).await.unwrap();
}

#[tokio::test]
async fn a_merge_is_told_by_a_signed_webhook() {
    let world = World::new();
    let (forge, repo) = (world.forge(), world.repo().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    world
        .control(
            "webhook",
            json!({"url": url, "secret": "hook-secret", "repo": repo.name}),
        )
        .await;
    let base = forge.head(&repo, BASE).await.unwrap();
    let change = change(&repo, &base.sha, GrantId::new(), 5);
    forge.publish(&change).await.unwrap();
    let pull = forge.open_pull(&repo, &new_pull(&change)).await.unwrap();
    world.approve(&repo, pull.number, "second-approver").await;
    world
        .must(
            "second-approver",
            "PUT",
            &format!("/repos/demo/{}/pulls/{}/merge", repo.name, pull.number),
            json!({}),
        )
        .await;

    let mut events = Vec::new();
    let merged = |events: &[WebhookEvent]| {
        events
            .iter()
            .any(|event| matches!(event, WebhookEvent::PullRequest { merged: true, .. }))
    };
    while !merged(&events) {
        let (headers, body) = tokio::time::timeout(Duration::from_mins(1), receive(&listener))
            .await
            .expect("a delivery");
        let secrets = [Secret::new("hook-secret")];
        webhook::verify(
            &secrets,
            headers.get("x-hub-signature-256").map(String::as_str),
            &body,
        )
        .unwrap();
        let mut forged = body.clone();
        forged[0] ^= 1;
        assert!(
            webhook::verify(
                &secrets,
                headers.get("x-hub-signature-256").map(String::as_str),
                &forged
            )
            .is_err()
        );
        events.push(
            webhook::parse(&headers["x-github-event"], &headers["x-github-delivery"], &body)
                .unwrap()
                .event,
        );
    }
    let number = pull.number;
    assert!(events.iter().any(|event| matches!(event, WebhookEvent::PullRequest { action, number: n, .. } if action == "opened" && *n == number)), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, WebhookEvent::Review { repo: id, number: n, .. } if Some(*id) == repo.id && *n == number)), "{events:?}");
}

/// One HTTP request, answered with 200.
async fn receive(listener: &TcpListener) -> (BTreeMap<String, String>, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut chunk = vec![0; 65536];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the sender hung up");
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let headers: BTreeMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().unwrap();
        if bytes.len() >= end + 4 + length {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            return (headers, bytes[end + 4..end + 4 + length].to_vec());
        }
    }
}
