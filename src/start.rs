//! `breakglass serve`: the one place that names concrete adapters.

#[cfg(feature = "failpoints")]
use crate::stepped_clock::SteppedClock;
use breakglass::broker::Broker;
#[cfg(not(feature = "failpoints"))]
use breakglass::clock::SystemClock;
use breakglass::clock::{Clock, SteadyClock};
use breakglass::cluster::{Cluster, KubeCluster};
use breakglass::config::{self, Config, Env, ForgeCredentials, Store as StoreConfig};
use breakglass::forge::{self, Forge, github::GitHub};
use breakglass::identity::{self, Identity, OpenIdConnect};
use breakglass::ledger::Signer;
use breakglass::notify::{Channels, Notifier};
use breakglass::store::postgres::{Alone, PostgresStore};
use breakglass::store::sqlite::SqliteStore;
use breakglass::store::{Sign, Signers, Store};
use breakglass::web;
use breakglass::witness::{HttpWitnesses, Witnesses};
use breakglass::worker;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs the service until it is told to stop.
///
/// # Errors
/// What keeps it from starting, in words.
pub fn serve(path: &Path) -> Result<(), String> {
    crate::harden::harden()?;
    let config =
        Config::load(path, &Env::of_process()).map_err(|problems| config::command::report(&problems))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(crate::log::Lines)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BREAKGLASS_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,breakglass=info")),
        )
        .init();
    // One provider in the whole tree: a second one panics at run time.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "the TLS provider was installed before".to_owned())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> Result<(), String> {
    let config = Arc::new(config);
    #[cfg(not(feature = "failpoints"))]
    let machine: Arc<dyn Clock> = Arc::new(SystemClock);
    #[cfg(feature = "failpoints")]
    let machine: Arc<dyn Clock> = SteppedClock::from_env();
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::new(machine));
    let mut signers: Vec<Arc<dyn Sign>> = vec![];
    for signer in self::signers(&config)? {
        signers.push(Arc::new(signer));
    }
    #[cfg(feature = "failpoints")]
    {
        signers = crate::failpoints::around_keys(signers);
    }
    let newest = signers.remove(0);
    let signers = Signers::new(newest, signers);
    let Some((store, alone)) = open(&config, &clock, signers).await? else {
        return Ok(());
    };
    let mut clusters: BTreeMap<String, Arc<dyn Cluster>> = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let connected = KubeCluster::connect(name, cluster)
            .await
            .map_err(|error| format!("clusters.{name}: {error}"))?;
        clusters.insert(name.clone(), Arc::new(connected));
    }
    let forge: Arc<dyn Forge> = Arc::new(GitHub::new(forge_settings(&config)?).map_err(words)?);
    let notifier: Arc<dyn Notifier> = Arc::new(Channels::new(&config)?);
    let identity: Arc<dyn Identity> =
        Arc::new(OpenIdConnect::new(identity_settings(&config)?).map_err(words)?);
    let witnesses: Arc<dyn Witnesses> = Arc::new(HttpWitnesses::new(&config.ledger)?);
    #[cfg(feature = "failpoints")]
    let (store, clusters, forge, notifier, identity) =
        crate::failpoints::around(store, clusters, forge, notifier, identity);
    #[cfg(feature = "failpoints")]
    let witnesses = crate::failpoints::around_witnesses(witnesses);
    let broker = Arc::new(Broker {
        witnesses,
        store,
        clock: Arc::clone(&clock),
        clusters,
        forge,
        notifier,
        poke: Arc::default(),
        changed: tokio::sync::broadcast::Sender::new(1024),
        unwritten: breakglass::broker::unwritten::Unwritten::default(),
        removals: breakglass::broker::removals::Removals::default(),
        seen_time: breakglass::broker::clock::SeenTime::default(),
        audit: breakglass::broker::record::AuditState::default(),
        watches: breakglass::broker::watch::Watches::default(),
        config: Arc::clone(&config),
    });
    let last_here = broker.last_here().await.map_err(words)?;
    broker.follow_the_clock_back().await.map_err(words)?;
    broker.enter_absence(last_here).await.map_err(words)?;
    broker.enter_policy().await.map_err(words)?;
    broker.take_back_reveals().await.map_err(words)?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    worker::start(&broker, &tasks, &stop);
    let app = web::App::new(Arc::clone(&broker), identity);
    let served = web::serve(app, signalled_or_lost(alone.clone()))
        .await
        .map_err(words);
    stop.cancel();
    tasks.close();
    // Whatever does not finish is in the outbox and done by the next start.
    if tokio::time::timeout(Duration::from_secs(8), tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some loops did not stop in time");
    }
    if alone.is_some_and(|alone| alone.is_lost()) {
        return Err("the store: the session that held this broker's lock on its database is lost".to_owned());
    }
    served
}

/// The store, and on PostgreSQL the right to be the one broker that works on it, for which it waits. `None` where it was
/// told to stop meanwhile.
async fn open(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    signers: Signers,
) -> Result<Option<(Arc<dyn Store>, Option<Arc<Alone>>)>, String> {
    let clock = Arc::clone(clock);
    Ok(Some(match &config.store {
        StoreConfig::Sqlite(path) => {
            let store = SqliteStore::open(path, clock, signers).await;
            (Arc::new(store.map_err(words)?), None)
        }
        StoreConfig::Postgres(address) => {
            let Some(alone) = turn(config, address.expose()).await? else {
                return Ok(None);
            };
            let store = PostgresStore::open_alone(&alone, clock, signers).await;
            (Arc::new(store.map_err(words)?), Some(Arc::new(alone)))
        }
    }))
}

/// The turn to work on a database. While another broker has it, probes are told so at the port that will be this one's.
async fn turn(config: &Arc<Config>, address: &str) -> Result<Option<Alone>, String> {
    let (waits, mut told) = tokio::sync::watch::channel(false);
    let over = CancellationToken::new();
    let answering = async {
        let is_waiting = told.wait_for(|waits| *waits).await.is_ok();
        if is_waiting {
            let over = over.clone();
            web::serve_waiting(Arc::clone(config), async move { over.cancelled().await })
                .await
                .map_err(words)?;
        }
        Ok::<_, String>(())
    };
    let taking = async {
        let taken = tokio::select! {
            taken = Alone::take(address, None, || { waits.send_replace(true); }) => taken.map(Some).map_err(words),
            () = signalled() => Ok(None),
        };
        over.cancel();
        drop(waits);
        taken
    };
    let (taken, ()) = tokio::try_join!(taking, answering)?;
    Ok(taken)
}

/// The keys that sign checkpoints, the one in force first.
///
/// # Errors
/// One cannot be read; which field, and why.
pub fn signers(config: &Config) -> Result<Vec<Signer>, String> {
    let ledger = &config.ledger;
    ledger
        .keys()
        .map(|(name, key)| {
            Signer::from_text(&ledger.origin, key.expose()).map_err(|error| format!("ledger.{name}: {error}"))
        })
        .collect()
}

fn identity_settings(config: &Config) -> Result<identity::Settings, String> {
    let sign_in = &config.sign_in;
    Ok(identity::Settings {
        issuer: sign_in.issuer.as_written().to_owned(),
        client_id: sign_in.client_id.clone(),
        client_secret: identity::Secret::new(sign_in.client_secret.expose()),
        redirect_url: format!("{}/sign-in/callback", config.server.public_url.base()),
        scopes: sign_in
            .scopes
            .iter()
            .filter(|scope| *scope != "openid")
            .cloned()
            .collect(),
        person_claim: sign_in.person_claim.clone(),
        groups_claim: sign_in.groups_claim.clone(),
        forge_login_claim: sign_in.forge_login_claim.clone(),
        extra_ca_pem: sign_in.extra_ca_file.as_deref().map(read).transpose()?,
        acr_values: Some(sign_in.acr_values.clone()).filter(|values| !values.is_empty()),
    })
}

fn forge_settings(config: &Config) -> Result<forge::Settings, String> {
    if config.forge.extra_ca_file.is_some() {
        return Err(
            "forge.extra_ca_file: this version trusts the public certificate authorities only".to_owned(),
        );
    }
    let auth = match &config.forge.credentials {
        ForgeCredentials::Token(token) => forge::Auth::Token(forge::Secret::new(token.expose())),
        ForgeCredentials::App(app) => forge::Auth::App {
            app_id: app.id,
            private_key: forge::Secret::new(app.private_key.expose()),
            installation_id: None,
        },
    };
    Ok(forge::Settings::new(config.forge.api_url.base(), auth))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn words(error: impl std::error::Error) -> String {
    breakglass::causes::chain(&error)
}

/// The end of the work: told, or because somebody else may be at it.
async fn signalled_or_lost(alone: Option<Arc<Alone>>) {
    let lost = async {
        match alone {
            Some(alone) => alone.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signalled() => {}
        () = lost => {}
    }
}

/// Ctrl-C or SIGTERM.
async fn signalled() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
