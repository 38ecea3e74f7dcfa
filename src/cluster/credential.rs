//! Issuing a token bound to a Secret of the grant, and asking whether it is dead.

use super::layout::{account_path, same_secret, secret as secret_object};
use super::server::{Result, Server, segment, text};
use super::{Access, ClusterError, Probe, Token};
use crate::clock::Time;
use crate::config::GRANTS_NAMESPACE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

/// The audience of probe tokens: foreign to every API server, which therefore refuses one as a credential.
const PROBE_AUDIENCE: &str = "breakglass-probe";
/// The least the API server issues a token for, in seconds (`ValidateTokenRequest`).
const SHORTEST_S: u32 = 600;

/// The path of a reveal's Secret.
pub(super) fn secret_path(name: &str) -> String {
    format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/secrets/{}", segment(name))
}

/// Makes the Secret and asks for both tokens.
pub(super) async fn issue(server: &Server, access: &Access, secret: &str, seconds: u32) -> Result<Token> {
    let uid = make_secret(server, access, secret).await?;
    let bound = Bound {
        account: &access.account,
        secret,
        uid: &uid,
    };
    let issued = request(server, &bound, seconds.max(SHORTEST_S), None).await?;
    let probe = request(server, &bound, seconds.max(SHORTEST_S), Some(PROBE_AUDIENCE)).await?;
    Ok(Token {
        token: issued.token,
        credential_id: issued.credential_id,
        expires_at: issued.expires_at,
        probe: probe.token,
    })
}

/// Asks for another token bound to a Secret that is there.
pub(super) async fn issue_again(
    server: &Server,
    access: &Access,
    secret: &str,
    seconds: u32,
) -> Result<Option<Token>> {
    let doing = format!("reading Secret {secret}");
    let Some(found) = server.find(&doing, &secret_path(secret)).await? else {
        return Ok(None);
    };
    same_secret(&secret_object(access, secret), &found)
        .map_err(|why| ClusterError::Unsound(format!("Secret {secret} exists and {why}")))?;
    let bound = Bound {
        account: &access.account,
        secret,
        uid: text(&found, "/metadata/uid"),
    };
    let issued = request(server, &bound, seconds.max(SHORTEST_S), None).await?;
    Ok(Some(Token {
        token: issued.token,
        credential_id: issued.credential_id,
        expires_at: issued.expires_at,
        // What proves the Secret's death was asked for when it was made.
        probe: String::new(),
    }))
}

/// The Secret's UID.
async fn make_secret(server: &Server, access: &Access, secret: &str) -> Result<String> {
    let wanted = secret_object(access, secret);
    let doing = format!("making Secret {secret}");
    let collection = format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/secrets");
    let made = if let Some(made) = server.make(&doing, &collection, &wanted).await? {
        made
    } else {
        let doing = format!("reading Secret {secret}");
        let found = server
            .find(&doing, &secret_path(secret))
            .await?
            .unwrap_or_default();
        same_secret(&wanted, &found)
            .map_err(|why| ClusterError::Unsound(format!("Secret {secret} exists and {why}")))?;
        found
    };
    match text(&made, "/metadata/uid") {
        "" => Err(ClusterError::Unsound(format!("Secret {secret} has no UID"))),
        uid => Ok(uid.to_owned()),
    }
}

/// What a token must be bound to.
struct Bound<'a> {
    account: &'a str,
    secret: &'a str,
    uid: &'a str,
}

struct Issued {
    token: String,
    credential_id: String,
    expires_at: Time,
}

async fn request(server: &Server, bound: &Bound<'_>, seconds: u32, audience: Option<&str>) -> Result<Issued> {
    let mut spec = json!({
        "expirationSeconds": seconds,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": bound.secret, "uid": bound.uid},
    });
    if let Some(audience) = audience {
        spec["audiences"] = json!([audience]);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("{}/token", account_path(bound.account));
    let doing = format!("issuing a token for {}", bound.account);
    let answer = server.ask(&doing, Method::POST, &path, Some(&body)).await?;
    server.expect(&doing, &answer, "TokenRequest")?;
    let token = text(&answer, "/status/token");
    let credential_id = check_binding(token, bound)?;
    let expires = text(&answer, "/status/expirationTimestamp");
    let expires_at: Time = expires
        .parse()
        .map_err(|_| ClusterError::Unsound(format!("the token's expiry {expires:?} is no time")))?;
    Ok(Issued {
        token: token.to_owned(),
        credential_id,
        expires_at,
    })
}

/// What a token says of itself. The signature is not checked: the API server itself has sent it.
fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The `jti` of a token that dies with the Secret. A token that is not bound could not be taken away,
/// and one without a `jti` could not be followed in audit.
fn check_binding(token: &str, bound: &Bound<'_>) -> Result<String> {
    let unsound = |why: &str| ClusterError::Unsound(format!("the token issued for {} {why}", bound.account));
    let claims = claims(token).ok_or_else(|| unsound("cannot be read"))?;
    let claim = |part: &str| {
        claims
            .get("kubernetes.io")
            .and_then(|k| k.pointer(part))
            .and_then(Value::as_str)
    };
    if claim("/secret/uid") != Some(bound.uid) {
        return Err(unsound(
            "is not bound to its Secret, so that it could not be taken away",
        ));
    }
    if claim("/namespace") != Some(GRANTS_NAMESPACE) || claim("/serviceaccount/name") != Some(bound.account) {
        return Err(unsound("is somebody else's"));
    }
    match claims.get("jti").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(unsound(
            "has no credential id: audit names credentials from Kubernetes 1.30 on",
        )),
    }
}

/// Asks whether a probe token still authenticates.
pub(super) async fn probe(server: &Server, probe: &str) -> Result<Probe> {
    let claims =
        claims(probe).ok_or_else(|| ClusterError::Unsound("the probe token cannot be read".into()))?;
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": probe, "audiences": [PROBE_AUDIENCE]},
    });
    let doing = "asking about a probe token";
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = server.ask(doing, Method::POST, path, Some(&body)).await?;
    let account = claims
        .get("kubernetes.io")
        .map(|k| text(k, "/serviceaccount/name"))
        .unwrap_or_default();
    server.expect(doing, &answer, "TokenReview")?;
    verdict(account, &answer["status"])
}

/// What a `TokenReview`'s status proves. Only words count that kube-apiserver says after it has
/// verified the signature (`pkg/serviceaccount/claims.go`, `Validate`): the expiry, then the account,
/// then the Secret is gone, or another one has its name. A key that is not known, an authenticator
/// that does not answer, or no reason at all proves nothing.
fn verdict(account: &str, status: &Value) -> Result<Probe> {
    if status["authenticated"] == json!(true) {
        return Ok(Probe::Alive);
    }
    let said = text(status, "/error");
    let dead = [
        "service account token has expired",
        "service account token has been invalidated",
        &format!("serviceaccounts \"{account}\" not found"),
        &format!("service account {GRANTS_NAMESPACE}/{account} has been deleted"),
        ") does not match claim (",
        ") does not match service account secret ref claim (",
    ];
    if !account.is_empty() && dead.iter().any(|words| said.contains(words)) {
        return Ok(Probe::Dead(said.to_owned()));
    }
    Err(ClusterError::Unsound(format!(
        "the API server neither knows the probe token nor says that it is dead: {}",
        if said.is_empty() {
            "it gives no reason"
        } else {
            said
        }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound<'static> = Bound {
        account: "breakglass-a",
        secret: "s",
        uid: "u-1",
    };

    fn token(claims: &Value) -> String {
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn claims() -> Value {
        json!({"jti": "id-1", "kubernetes.io": {
            "namespace": GRANTS_NAMESPACE,
            "serviceaccount": {"name": "breakglass-a", "uid": "x"},
            "secret": {"name": "s", "uid": "u-1"},
        }})
    }

    #[test]
    fn a_token_that_could_not_be_taken_away_or_followed_is_refused() {
        assert_eq!(check_binding(&token(&claims()), &BOUND).unwrap(), "id-1");
        for (pointer, value, word) in [
            ("/jti", json!(""), "credential id"),
            ("/kubernetes.io/secret", json!(null), "not bound"),
            ("/kubernetes.io/secret/uid", json!("u-2"), "not bound"),
            (
                "/kubernetes.io/serviceaccount/name",
                json!("other"),
                "somebody else",
            ),
        ] {
            let mut claims = claims();
            *claims.pointer_mut(pointer).unwrap() = value;
            let token = token(&claims);
            let error = check_binding(&token, &BOUND).unwrap_err().to_string();
            assert!(
                error.contains(word) && !error.contains(&token),
                "{pointer}: {error}"
            );
        }
        assert!(check_binding("", &BOUND).is_err());
    }

    #[test]
    fn only_the_words_for_death_prove_it() {
        let of = |status: Value| verdict("breakglass-a", &status);
        assert_eq!(of(json!({"authenticated": true})).unwrap(), Probe::Alive);
        for dead in [
            "[invalid bearer token, service account token has been invalidated]",
            "[invalid bearer token, service account token has expired]",
            "[invalid bearer token, serviceaccounts \"breakglass-a\" not found]",
            "[invalid bearer token, service account UID (1) does not match claim (2)]",
        ] {
            assert_eq!(of(json!({"error": dead})).unwrap(), Probe::Dead(dead.into()));
        }
        for nothing in [
            json!({}),
            json!({"error": "[invalid bearer token, serviceaccounts \"breakglass-b\" not found]"}),
            json!({"error": "[invalid bearer token, invalid signature, no keys found]"}),
            json!({"error": "context deadline exceeded"}),
            json!({"error": "token audiences [\"x\"] is invalid for the target audiences [\"y\"]"}),
            json!(null),
        ] {
            assert!(of(nothing.clone()).is_err(), "{nothing}");
        }
    }
}
