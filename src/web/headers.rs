//! The headers of every answer: nothing is loaded from elsewhere, framed, guessed or kept.

use super::App;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// The headers of this installation.
#[derive(Debug, Clone)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// What a page may load. `form-action` names the provider because Chromium holds a redirect after a
/// form (signing out) to it as well.
#[must_use]
pub fn policy(provider: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self' {provider}; frame-ancestors 'none'; base-uri 'none'"
    )
}

impl Headers {
    /// The headers for `app`.
    ///
    /// # Errors
    /// The provider's origin cannot stand in a header.
    pub fn new(app: &App) -> Result<Self, header::InvalidHeaderValue> {
        let provider = app.config().sign_in.issuer.url().origin().ascii_serialization();
        Self::of(&provider, app.is_https())
    }

    fn of(provider: &str, https: bool) -> Result<Self, header::InvalidHeaderValue> {
        let fixed = |name, value| (name, HeaderValue::from_static(value));
        let mut all = vec![
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_str(&policy(provider))?,
            ),
            fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            fixed(header::REFERRER_POLICY, "no-referrer"),
            fixed(header::CACHE_CONTROL, "no-store"),
            fixed(
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
            fixed(
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
            fixed(
                HeaderName::from_static("permissions-policy"),
                "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)",
            ),
        ];
        if https {
            all.push(fixed(
                header::STRICT_TRANSPORT_SECURITY,
                "max-age=63072000; includeSubDomains",
            ));
        }
        Ok(Self(all))
    }
}

/// Puts them on each answer; what a handler set itself (how long a file may be kept) stays.
pub async fn add(State(headers): State<Headers>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in headers.0 {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(headers: &Headers, name: &str) -> Option<String> {
        let found = headers.0.iter().find(|(own, _)| own == name)?;
        found.1.to_str().ok().map(str::to_owned)
    }

    #[test]
    fn a_page_may_load_its_own_files_and_send_its_forms_home_or_to_the_provider() {
        let headers = Headers::of("https://sign-in.example.test", true).unwrap();
        assert_eq!(
            named(&headers, "content-security-policy").unwrap(),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self' https://sign-in.example.test; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(named(&headers, "cache-control").unwrap(), "no-store");
        assert_eq!(named(&headers, "x-content-type-options").unwrap(), "nosniff");
        assert_eq!(named(&headers, "referrer-policy").unwrap(), "no-referrer");
        assert!(
            named(&headers, "strict-transport-security")
                .unwrap()
                .starts_with("max-age=63072000")
        );
    }

    #[test]
    fn without_encryption_browsers_are_not_told_to_insist_on_it() {
        let headers = Headers::of("http://127.0.0.1:4000", false).unwrap();
        assert_eq!(named(&headers, "strict-transport-security"), None);
    }
}
