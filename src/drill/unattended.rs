//! The whole emergency on a demo, where sign-in and forge need no people.

use super::end;
use super::evidence;
use super::failure::Failure;
use super::follow_up;
use super::forge::DemoForge;
use super::grant;
use super::kubectl::{self, Kubectl};
use super::options::{Options, Target, World};
use super::probe::Probe;
use super::request;
use super::score::{Score, plain};
use super::visitor::{Visitor, client};
use crate::config::Config;
use crate::ids::{GrantId, RequestId};
use crate::ledger::VerifierKey;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

/// What one drill needs, and what it must give back.
pub(super) struct Course<'a> {
    pub(super) options: &'a Options,
    pub(super) config: &'a Config,
    pub(super) world: World,
    pub(super) target: Target,
    pub(super) key: VerifierKey,
    http: reqwest::Client,
    kubectl: PathBuf,
    score: Score,
    requester: Visitor,
    second_account: Visitor,
    approver: Visitor,
    compliance: Visitor,
    request: Option<RequestId>,
    grant: Option<GrantId>,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        options: &'a Options,
        config: &'a Config,
        world: World,
        target: Target,
        key: VerifierKey,
    ) -> Result<Self, Failure> {
        let mut trust: Vec<&Path> = options.ca_file.iter().map(PathBuf::as_path).collect();
        trust.extend(config.sign_in.extra_ca_file.as_deref());
        trust.extend(config.forge.extra_ca_file.as_deref());
        let http = client(&trust)?;
        let (broker, provider) = (config.server.public_url.url(), config.sign_in.issuer.url());
        let person = |button: &str| Visitor::new(http.clone(), broker, provider, button);
        Ok(Self {
            requester: person(&options.requester),
            second_account: person(&options.second_account),
            approver: person(&options.approver),
            compliance: person(&options.compliance),
            kubectl: kubectl::find(options.kubectl.as_deref())?,
            options,
            config,
            world,
            target,
            key,
            http,
            score: Score::default(),
            request: None,
            grant: None,
        })
    }

    /// Goes through it all; whatever happens, nothing is left behind. Whether nothing failed.
    pub(super) async fn run(mut self) -> bool {
        let stopped = tokio::select! {
            _ = self.emergency() => None,
            why = stopped() => Some(why),
        };
        if let Some(why) = &stopped {
            println!("stopped: {why}");
        }
        self.leave_nothing().await;
        self.score.close() && stopped.is_none()
    }

    /// Stops at the first stage that the next ones cannot do without.
    async fn emergency(&mut self) -> Option<()> {
        let Self {
            score,
            requester,
            second_account,
            approver,
            compliance,
            target,
            ..
        } = self;
        score.stage("broker ready", super::ready(requester)).await?;
        for (who, visitor) in [
            ("requester", &mut *requester),
            ("approver", approver),
            ("compliance", compliance),
        ] {
            score
                .stage(&format!("{who} signed in"), async {
                    Ok(((), visitor.sign_in().await?))
                })
                .await?;
        }
        let request = score
            .stage("request filed", request::file(requester, target))
            .await?;
        self.request = Some(request);
        score
            .stage("own approval refused", request::approve_own(requester, request))
            .await;
        score
            .stage("own second account refused", async {
                let name = second_account.sign_in().await?;
                let ((), words) = request::approve_own(second_account, request).await?;
                Ok(((), format!("signed in as {name}; {words}")))
            })
            .await;
        let grant = score
            .stage("approved by somebody else", request::approve(approver, request))
            .await?;
        self.grant = Some(grant);
        score
            .stage("access laid out", grant::ready(requester, grant))
            .await?;
        let kubeconfig = score
            .stage("kubeconfig revealed", grant::reveal(requester, grant))
            .await?;
        let scaling = self.use_it(grant, &kubeconfig).await;
        let died = self.end(grant, &kubeconfig).await;
        drop(kubeconfig);
        died?;
        let follow_up = self
            .score
            .stage(
                "the broker's proof of death",
                end::proved(&mut self.requester, grant),
            )
            .await?;
        self.bring_to_git(follow_up, &scaling?).await?;
        let Self {
            score,
            compliance,
            key,
            ..
        } = self;
        score
            .stage("SLA kept", evidence::sla(compliance, follow_up))
            .await;
        score
            .stage(
                "feed tells it",
                evidence::feed(compliance, &request.to_string(), grant),
            )
            .await;
        score
            .stage("export verified", evidence::export(compliance, grant, key))
            .await
    }

    /// What the engineer does with the key; each deed must stand on the grant's page.
    async fn use_it(&mut self, grant: GrantId, kubeconfig: &str) -> Option<grant::Scaling> {
        let Self {
            score,
            requester,
            target,
            ..
        } = self;
        let kubectl = score
            .stage("key saved", async {
                let kubectl = Kubectl::with_text(&self.kubectl, kubeconfig)?;
                let who = kubectl
                    .good(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])
                    .await?;
                Ok((kubectl, format!("the API server calls its holder {who}")))
            })
            .await?;
        let scaling = score.stage("kubectl get", grant::look(&kubectl, target)).await?;
        let path = format!("{}/{}", target.namespace, scaling.deployment);
        let done = score
            .stage("kubectl scale", grant::scale(&kubectl, target, &scaling))
            .await;
        let since = Instant::now();
        score
            .stage(
                "get recorded",
                grant::recorded(
                    requester,
                    grant,
                    &["listed", "Deployment", &target.namespace],
                    since,
                ),
            )
            .await;
        score
            .stage(
                "scale recorded",
                grant::recorded(requester, grant, &["scaled", &path], since),
            )
            .await;
        if score
            .stage("Secrets refused", grant::read_secrets(&kubectl, target))
            .await
            .is_some()
        {
            let since = Instant::now();
            score
                .stage(
                    "refusal recorded",
                    grant::recorded(requester, grant, &["refused", "Secret", "403"], since),
                )
                .await;
        }
        let pod = score.stage("a Pod to look into", async {
            let pod = grant::running_pod(&kubectl, target).await?;
            let words = pod
                .clone()
                .unwrap_or_else(|| "none runs, so exec is left out".to_owned());
            Ok((pod, words))
        });
        if let Some(pod) = pod.await.flatten()
            && score
                .stage("kubectl exec", grant::exec(&kubectl, target, &pod))
                .await
                .is_some()
        {
            let since = Instant::now();
            score
                .stage(
                    "exec recorded",
                    grant::recorded(requester, grant, &["exec", &pod], since),
                )
                .await;
        }
        done.map(|()| scaling)
    }

    /// The engineer is done; the key dies in two steps, each seen from outside.
    async fn end(&mut self, grant: GrantId, kubeconfig: &str) -> Option<()> {
        let Self {
            score,
            requester,
            target,
            ..
        } = self;
        let (probe, pressed, refused) = score
            .stage("\"I am done\"", async {
                let probe = Probe::new(kubeconfig, &target.namespace)?;
                let (pressed, refused, words) = end::done(requester, grant, &probe).await?;
                Ok(((probe, pressed, refused), words))
            })
            .await?;
        score.entered(
            "first 403",
            refused.as_ref().copied().unwrap_or_default(),
            refused.map(|took| {
                (
                    (),
                    format!(
                        "{} after the end the API server refused what it had allowed until then",
                        super::wait::seconds(took)
                    ),
                )
            }),
        )?;
        let dead = probe.until_dead().await.map(|at| at - pressed);
        score.entered(
            "first 401",
            dead.as_ref().copied().unwrap_or_default(),
            dead.map(|took| {
                (
                    (),
                    format!(
                        "{} after the end the API server no longer knew the key",
                        super::wait::seconds(took)
                    ),
                )
            }),
        )
    }

    /// What is owed: pull request, review by somebody else, merge, convergence.
    async fn bring_to_git(
        &mut self,
        follow_up: crate::ids::FollowUpId,
        scaling: &grant::Scaling,
    ) -> Option<()> {
        let Self {
            score,
            requester,
            target,
            options,
            world,
            config,
            http,
            kubectl,
            ..
        } = self;
        let pull = score
            .stage(
                "drift captured",
                follow_up::captured(requester, follow_up, scaling),
            )
            .await?;
        let forge = DemoForge::new(
            http.clone(),
            &world.forge_address.url,
            pull,
            &config.forge.check_name,
        );
        let mut forge = score
            .stage("pull request open", async {
                let mut forge = forge?;
                let ((), words) = forge.read(&format!("replicas: {}", scaling.after)).await?;
                Ok((forge, words))
            })
            .await?;
        let own = follow_up::own_review(&mut forge, requester, follow_up, &options.requester_login);
        score.stage("own review does not count", own).await;
        score
            .stage(
                "reviewed and merged by somebody else",
                follow_up::merged(&mut forge, &options.reviewer_login),
            )
            .await?;
        score
            .stage("delivered to the cluster", async {
                let owner = Kubectl::with_file(kubectl, &world.cluster.admin_kubeconfig)?;
                follow_up::delivered(&owner, target, scaling).await
            })
            .await;
        score
            .stage("follow-up closed", follow_up::closed(requester, follow_up))
            .await
    }

    /// Takes back a request that waits and ends a grant that lives.
    async fn leave_nothing(&mut self) {
        let path = match (self.grant, self.request) {
            (Some(grant), _) => format!("/grants/{grant}/done"),
            (None, Some(request)) => format!("/requests/{request}/withdraw"),
            (None, None) => return,
        };
        let page = path.rsplit_once('/').map_or(path.as_str(), |(page, _)| page);
        let left = async {
            let page = self.requester.open(page).await?.good()?;
            match page.form(&path) {
                Some(form) => self.requester.send(&form).await?.good().map(|_| true),
                None => Ok(false),
            }
        };
        match left.await {
            Ok(true) => println!("what was left of the drill is taken back: {page}"),
            Ok(false) => {}
            Err(failure) => println!(
                "NOT TAKEN BACK, end it by hand: {page}: {}",
                plain(&failure.to_string())
            ),
        }
    }
}

/// Waits until somebody stops the drill; by what. Whoever cannot be heard stops nothing.
async fn stopped() -> String {
    let told = signal(SignalKind::interrupt()).and_then(|stop| Ok((stop, signal(SignalKind::terminate())?)));
    match told {
        Ok((mut interrupt, mut terminate)) => tokio::select! {
            _ = interrupt.recv() => "interrupted".to_owned(),
            _ = terminate.recv() => "told to end".to_owned(),
        },
        Err(error) => {
            println!("a signal will end this drill without taking it back: {error}");
            std::future::pending().await
        }
    }
}
