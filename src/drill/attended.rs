//! A drill with people: they sign in for real, so the drill says what to do and watches what it can
//! see without a session of its own: the key's effect at the cluster, its death, and the export.

use super::evidence;
use super::failure::Failure;
use super::grant;
use super::kubectl::{self, Kubectl};
use super::options::{Options, Target};
use super::probe::Probe;
use super::score::Score;
use super::visitor::{Visitor, client};
use super::wait::{seconds, until};
use crate::config::Config;
use crate::ledger::VerifierKey;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the rights are tried meanwhile: each try is an action of the grant.
const RIGHTS_EVERY: Duration = Duration::from_secs(2);
/// How long people may take for a step.
const PEOPLE: Duration = Duration::from_mins(30);

/// Goes through it with people. Whether nothing failed.
pub(super) async fn run(
    options: &Options,
    config: &Config,
    target: &Target,
    key: &VerifierKey,
) -> Result<bool, Failure> {
    let mut score = Score::default();
    watch(&mut score, options, config, target, key).await;
    println!(
        "Not seen by this drill, since it has no session: approval, the grant's page, reviews, feed, SLA."
    );
    Ok(score.close())
}

async fn watch(
    score: &mut Score,
    options: &Options,
    config: &Config,
    target: &Target,
    key: &VerifierKey,
) -> Option<()> {
    let base = config.server.public_url.base();
    let trust: Vec<&Path> = options.ca_file.iter().map(PathBuf::as_path).collect();
    score
        .stage("broker ready", async {
            let broker = config.server.public_url.url();
            super::ready(&mut Visitor::new(client(&trust)?, broker, broker, "")).await
        })
        .await?;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("cluster", &target.cluster)
        .append_pair("profile", &target.profile)
        .append_pair("namespace", &target.namespace)
        .append_pair("reason", "Drill: scale a Deployment by one, and bring it to git.")
        .finish();
    println!(
        "
1. The engineer signs in and sends this form:   {base}/requests/new?{query}
2. An approver signs in and approves:           {base}/approvals
3. The engineer reveals the key and saves it as {}
",
        options.kubeconfig.display()
    );
    let text = score
        .stage("key saved", key_file(&options.kubeconfig, target))
        .await?;
    let probe = Probe::new(&text, &target.namespace);
    let used = score
        .stage("kubectl", async {
            Kubectl::with_text(&kubectl::find(options.kubectl.as_deref())?, &text)
                .map(|it| (it, "found".into()))
        })
        .await;
    if let Some(kubectl) = used
        && let Some(scaling) = score.stage("kubectl get", grant::look(&kubectl, target)).await
    {
        score
            .stage("kubectl scale", grant::scale(&kubectl, target, &scaling))
            .await;
        score
            .stage("Secrets refused", grant::read_secrets(&kubectl, target))
            .await;
    }
    println!("\n4. Compare what the grant's page shows, then press \"I am done\" there.\n");
    let (probe, refused) = score
        .stage("rights taken", async {
            let probe = probe?;
            let at = probe.until_refused(RIGHTS_EVERY, PEOPLE).await?;
            Ok((
                (probe, at),
                "the API server refuses what it had allowed until then".into(),
            ))
        })
        .await?;
    let dead = probe.until_dead().await.map(|at| at - refused);
    score.entered(
        "key dead",
        dead.as_ref().copied().unwrap_or_default(),
        dead.map(|took| {
            (
                (),
                format!(
                    "{} after the first refusal the API server no longer knew the key",
                    seconds(took)
                ),
            )
        }),
    )?;
    println!(
        "
5. Delete {}: its key is dead. Follow the pull request from the grant's page: somebody who is not the engineer approves and merges it at
   {}
6. When the follow-up is closed, compliance opens {base}/ledger and saves the grant's export as {}
",
        options.kubeconfig.display(),
        config.forge.web_url.base(),
        options.export.display()
    );
    score
        .stage("export verified", async {
            let bytes = until("the export", PEOPLE, async || {
                Ok(std::fs::read(&options.export).map_err(|error| error.to_string()))
            });
            Ok(((), evidence::verified(&bytes.await?, None, key)?))
        })
        .await
}

/// Waits for the file and for the API server to know the key in it.
async fn key_file(path: &Path, target: &Target) -> Result<(String, String), Failure> {
    let text = until("the kubeconfig", PEOPLE, async || {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // A file that is half written holds no key yet.
        let known = match Probe::new(&text, &target.namespace) {
            Ok(probe) => probe.is_known().await?,
            Err(failure) => return Ok(Err(failure.to_string())),
        };
        Ok(if known {
            Ok(text)
        } else {
            Err("the API server does not know the key".to_owned())
        })
    });
    Ok((text.await?, "the API server knows it".into()))
}
