//! Clusters: can we still see?

use crate::config::Cluster;
use crate::web::pages::clusters::{ClusterView, ClustersPage, ServerView};
use crate::web::pages::{Badge, Facts, Href, Look, Note, Place, Shell, Text, Words, count, lasting};
use crate::web::{App, Result, Signed, page as answer, shell};
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

/// How long a cluster has for an answer while somebody waits for the page.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /clusters`: asks every one of them, now.
///
/// # Errors
/// The store's.
pub async fn page(State(app): State<App>, signed: Signed) -> Result<Response> {
    let shell = shell::shell(&app, &signed, "Clusters", Some(Place::Clusters)).await?;
    let views = app
        .config()
        .clusters
        .iter()
        .map(|(name, cluster)| view(&app, &signed, &shell, name, cluster));
    let mut clusters = join_all(views).await.into_iter().collect::<Result<Vec<_>>>()?;
    clusters.sort_by_key(|cluster| cluster.well);
    answer(&ClustersPage { shell, clusters })
}

async fn view(
    app: &App,
    signed: &Signed,
    shell: &Shell,
    name: &str,
    config: &Cluster,
) -> Result<ClusterView> {
    let broker = &app.broker;
    let reachable = match broker.cluster(name) {
        Ok(cluster) => match timeout(PATIENCE, cluster.uid()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it did not answer within {} s", PATIENCE.as_secs())),
        },
        Err(error) => Some(error.to_string()),
    };
    let arrived = broker.audit_arrived_at(name);
    let silent = arrived.is_none_or(|at| shell.now - at > config.canary.alarm_after.delta());
    let live = broker.live_grants(Some(name)).await?;
    let mut notes = vec![];
    if let Some(why) = &reachable {
        let words = format!(
            "{why}. Nothing can be lent there; access that exists is taken away as soon as it answers."
        );
        notes.push(Note::new(Look::Late, "Not reachable", Words::say(words)));
    }
    if silent {
        let words = match arrived {
            None => Words::say(
                "No audit has arrived since this service started: what is done there would not be recorded.",
            ),
            Some(at) => Words::say("Nothing has arrived since ")
                .at(shell.when(at))
                .and(": what is done there now may not be recorded."),
        };
        notes.push(Note::new(Look::Late, "Audit is silent", words));
    }
    let mut servers = vec![];
    for own in config.servers() {
        let (server, wrong) = server(app, shell, (name, own), config).await?;
        notes.extend(wrong);
        servers.push(server);
    }
    let well = notes.is_empty();
    let badge = match (reachable.is_some(), silent) {
        (true, _) => Badge::new(Look::Late, "not reachable"),
        (false, true) => Badge::new(Look::Late, "audit silent"),
        (false, false) => Badge::new(Look::Done, "seen"),
    };
    let delay = broker.audit_delay_ms(name).map_or_else(
        || "not measured yet".to_owned(),
        |ms| short(TimeDelta::milliseconds(ms)),
    );
    let mut grants = Words::say(count(live.len(), "access is alive", "accesses are alive"));
    for grant in live
        .iter()
        .filter(|grant| shell::may_see_grant(app.config(), &signed.person, grant))
    {
        grants = grants
            .and(" · ")
            .link(Href::path(format!("/grants/{}", grant.id)), &grant.profile);
    }
    let facts = Facts::default()
        .with(
            "API server",
            Words::say(if reachable.is_none() {
                "answers"
            } else {
                "does not answer"
            }),
        )
        .with(
            "Last audit",
            arrived.map_or_else(
                || Words::say("none yet"),
                |at| Words::default().at(shell.when(at)),
            ),
        )
        .with("Audit delay", Words::say(delay))
        .with(
            "Alarm when silent for",
            Words::say(config.canary.alarm_after.to_string()),
        )
        .with("Alive now", grants);
    let shown = config.display.as_deref().unwrap_or(name);
    Ok(ClusterView {
        name: shown.into(),
        well,
        badge,
        facts,
        notes,
        servers,
    })
}

/// One API server, and what is wrong with it.
async fn server(
    app: &App,
    shell: &Shell,
    (cluster, name): (&str, &str),
    config: &Cluster,
) -> Result<(ServerView, Vec<Note>)> {
    let broker = &app.broker;
    let canaries = broker.canaries(cluster, name);
    let bound = config.canary.alarm_after.delta();
    let missed = canaries.missed(bound, shell.now);
    let mut canary = match (canaries.back_at, canaries.last_delay()) {
        (None, _) => Words::say("none came back yet"),
        (Some(at), None) => Words::default().at(shell.when(at)),
        (Some(at), Some(took)) => Words::default()
            .at(shell.when(at))
            .and(format!(", after {}", short(took))),
    };
    canary = canary.and(match missed {
        0 => "; none of the last hour stayed away".to_owned(),
        missed => format!("; {} of the last hour stayed away", count(missed, "one", "ones")),
    });
    if let Some(why) = &canaries.trouble {
        canary = canary.and(format!("; the last one could not be sent: {why}"));
    }
    let counted = broker.counted(cluster, name).await?;
    let events = match (counted.as_of, &counted.uncountable) {
        (_, Some(why)) => Words::say(format!("audit is alive, losses are not countable: {why}")),
        (None, None) => Words::say("not counted yet"),
        (Some(as_of), None) => Words::say(format!(
            "{} counted by the API server",
            count(
                usize::try_from(counted.audited).unwrap_or(usize::MAX),
                "event",
                "events"
            )
        ))
        .and(match counted.lost {
            0 => ", all of them are here, as of ".to_owned(),
            lost => format!(", {lost} of them were lost, as of "),
        })
        .at(shell.when(as_of)),
    };
    let mut notes = vec![];
    if let Some(since) = broker.audit_silent_since(cluster, name, config)
        && !name.is_empty()
    {
        let words = Words::say(format!("Nothing of {name} has come back since "))
            .at(shell.when(since))
            .and(": what is done there now may not be recorded, and no access is lent.");
        notes.push(Note::new(Look::Late, "One API server is silent", words));
    }
    let probed = broker.probed(cluster, name).await?;
    let policy = match &probed {
        None => Words::say("not probed yet"),
        Some(probed) if probed.wrong.is_empty() => Words::say(format!(
            "keeps what is promised, by {} kinds of request tried ",
            probed.tried
        ))
        .at(shell.when(probed.at)),
        Some(probed) => Words::say(format!(
            "keeps {} of {} kinds of request otherwise than promised, tried ",
            probed.wrong.len(),
            probed.tried
        ))
        .at(shell.when(probed.at)),
    };
    if let Some(first) = probed.as_ref().and_then(|probed| probed.wrong.first()) {
        let words = format!(
            "{}. By profiles that lend what is recorded so, nothing is lent.",
            first.words()
        );
        notes.push(Note::new(
            Look::Late,
            "The audit policy does not keep what is promised",
            Words::say(words),
        ));
    }
    let facts = Facts::default()
        .with("Last canary", canary)
        .with("Events", events)
        .with("Audit policy", policy);
    let name = (!name.is_empty()).then(|| name.into());
    let lines = probed.and_then(|probed| probed.lines()).map(Text::whole);
    Ok((ServerView { name, facts, lines }, notes))
}

fn short(took: TimeDelta) -> String {
    if took < TimeDelta::seconds(1) {
        format!("{} ms", took.num_milliseconds())
    } else {
        lasting(took)
    }
}
