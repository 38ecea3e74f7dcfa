//! Listening: TLS by files that are read again when they change, or plain; who is believed about
//! where a request came from; going away without cutting anybody off.

use super::authorities::Authorities;
use super::door::{Door, Gate, PATIENCE};
use super::tls::{Keys, TlsError};
use super::{App, router};
use crate::config::{Cidr, Config};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long running requests may take after the service was told to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on, or listening failed.
    #[error("listening on {at} failed: {source}")]
    Listen {
        /// The address.
        at: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A setting cannot stand in a header.
    #[error("sign_in.issuer cannot stand in a header: {0}")]
    Header(#[from] axum::http::header::InvalidHeaderValue),
}

/// Where a request came from, as far as it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Serves until `stop` comes, then lets running requests finish.
///
/// # Errors
/// The certificate cannot be used, or the address cannot be listened on.
pub async fn serve(app: App, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let config = Arc::clone(&app.broker.config);
    let service = router(app.clone())?;
    let handle = Handle::new();
    let stopping = handle.clone();
    let live = app.stop.clone();
    let stopper = tokio::spawn(async move {
        stop.await;
        // Live pages never end by themselves; browsers come back by themselves.
        live.cancel();
        stopping.graceful_shutdown(Some(GRACE));
    });
    let served = listen(&config, &app.authorities, service, handle).await;
    stopper.abort();
    served
}

/// Answers for a broker that waits to take over, until `stop` comes: that it is alive, and to everything else that it
/// is not ready.
///
/// # Errors
/// As [`serve`].
pub async fn serve_waiting(
    config: Arc<Config>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let service = Router::new().fallback(waiting);
    let handle = Handle::new();
    let stopping = handle.clone();
    let stopper = tokio::spawn(async move {
        stop.await;
        // Its port is needed at once, and nobody who was told to come back is cut off from anything.
        stopping.shutdown();
    });
    let served = listen(&config, &Authorities::default(), service, handle).await;
    stopper.abort();
    served
}

async fn waiting(uri: Uri) -> (StatusCode, [(HeaderName, &'static str); 1], &'static str) {
    let soon = [(RETRY_AFTER, "5")];
    if uri.path() == "/healthz" {
        return (StatusCode::OK, soon, "alive, and waiting to take over\n");
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        soon,
        "another broker works on this database; this one waits to take over\n",
    )
}

/// Answers at the configured address until `handle` ends it.
async fn listen(
    config: &Arc<Config>,
    authorities: &Authorities,
    service: Router,
    handle: Handle<SocketAddr>,
) -> Result<(), ServeError> {
    let at = config.server.listen.address();
    let trusted: Arc<[Cidr]> = config.server.trusted_proxies.clone().into();
    let door = Door::new(Arc::clone(&trusted));
    let guard = Guard {
        trusted,
        // Behind a proxy that ends the encryption, nobody else is answered: they would speak in the clear.
        only_proxies: config.server.tls.is_none() && !config.server.trusted_proxies.is_empty(),
    };
    let service = service
        .layer(from_fn_with_state(guard, admit))
        .into_make_service_with_connect_info::<SocketAddr>();
    let served = if let Some(tls) = &config.server.tls {
        let keys = Keys::read(config, tls, authorities)?;
        let acceptor = keys.acceptor();
        let watch = tokio::spawn(keys.watch());
        tracing::info!(%at, "listening, encrypted");
        let gate = Gate {
            door,
            inner: acceptor,
        };
        let mut listener = axum_server::bind(at).acceptor(gate).handle(handle);
        hurry(listener.http_builder());
        let served = listener.serve(service).await;
        watch.abort();
        served
    } else {
        tracing::info!(%at, "listening, plain");
        let gate = Gate {
            door,
            inner: DefaultAcceptor::new(),
        };
        let mut listener = axum_server::bind(at).acceptor(gate).handle(handle);
        hurry(listener.http_builder());
        listener.serve(service).await
    };
    served.map_err(|source| ServeError::Listen { at, source })
}

/// Headers come whole and soon, or the connection ends; a peer that is gone is noticed.
fn hurry(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PATIENCE)
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(64)
        .max_header_list_size(64 * 1024);
}

#[derive(Clone)]
struct Guard {
    trusted: Arc<[Cidr]>,
    only_proxies: bool,
}

impl Guard {
    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// The nearest address that is no trusted proxy. Whatever stands left of it in the header was
    /// written by somebody who is not believed.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let told: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        let mut nearest = peer;
        for hop in told.into_iter().rev() {
            let Ok(ip) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            nearest = ip.to_canonical();
            if !self.trusts(nearest) {
                break;
            }
        }
        nearest
    }

    fn is_admitted(&self, peer: IpAddr, headers: &HeaderMap, path: &str) -> bool {
        // Probes come from the node itself and learn nothing.
        if !self.only_proxies || matches!(path, "/healthz" | "/readyz") {
            return true;
        }
        let proto = headers
            .get("x-forwarded-proto")
            .and_then(|value| value.to_str().ok());
        self.trusts(peer) && proto.is_none_or(|proto| proto.eq_ignore_ascii_case("https"))
    }
}

async fn admit(
    State(guard): State<Guard>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let ip = peer.ip().to_canonical();
    if !guard.is_admitted(ip, request.headers(), request.uri().path()) {
        let why = "This service answers only through its configured proxy, and only what came encrypted.\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let client = Client(guard.client(ip, request.headers()));
    request.extensions_mut().insert(client);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str], only_proxies: bool) -> Guard {
        Guard {
            trusted: networks.iter().map(|n| n.parse().unwrap()).collect(),
            only_proxies,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_about_the_client() {
        let guard = guard(&["10.0.0.0/8"], false);
        let says = forwarded(&[("x-forwarded-for", "203.0.113.7")]);
        assert_eq!(guard.client(ip("10.1.1.1"), &says), ip("203.0.113.7"));
        assert_eq!(guard.client(ip("198.51.100.9"), &says), ip("198.51.100.9"));
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        let guard = guard(&["10.0.0.0/8"], false);
        let says = forwarded(&[("x-forwarded-for", "127.0.0.1, 203.0.113.7, 10.2.2.2")]);
        assert_eq!(guard.client(ip("10.1.1.1"), &says), ip("203.0.113.7"));
        let twice = forwarded(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "203.0.113.7"),
        ]);
        assert_eq!(guard.client(ip("10.1.1.1"), &twice), ip("203.0.113.7"));
        let junk = forwarded(&[("x-forwarded-for", "203.0.113.7, unknown")]);
        assert_eq!(guard.client(ip("10.1.1.1"), &junk), ip("10.1.1.1"));
    }

    #[test]
    fn without_encryption_of_its_own_only_the_proxy_is_answered() {
        let guard = guard(&["10.0.0.0/8"], true);
        let https = forwarded(&[("x-forwarded-proto", "https")]);
        let http = forwarded(&[("x-forwarded-proto", "http")]);
        assert!(guard.is_admitted(ip("10.1.1.1"), &https, "/"));
        assert!(!guard.is_admitted(ip("10.1.1.1"), &http, "/"));
        assert!(!guard.is_admitted(ip("203.0.113.7"), &https, "/"));
        assert!(guard.is_admitted(ip("203.0.113.7"), &http, "/healthz"));
        assert!(guard.is_admitted(ip("::ffff:10.1.1.1").to_canonical(), &https, "/"));
    }
}
