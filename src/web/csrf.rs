//! Forms: only from our own pages, by the session's own token, and never larger than they need be.

use super::session::Signed;
use super::{App, Error};
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

/// No form of ours is larger.
const LARGEST: usize = 64 * 1024;

/// The longest text people may type, in characters; the forms' `maxlength`.
const LONGEST: usize = 2_000;
/// The texts people type at length.
const TEXTS: [&str; 4] = ["reason", "note", "incident", "commit"];
/// Where the form says it itself, beside the field.
const SAYS_IT_ITSELF: [&str; 2] = ["/requests", "/requests/preview"];

/// The fields of a form, in the order they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`, of a body or of a query.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value of a field; empty when it was not sent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value)
    }

    /// Why a text is not taken: it would go onto pages, into mails and the record.
    fn too_long(&self, path: &str) -> Option<Error> {
        let exempt = |name: &str| name == "reason" && SAYS_IT_ITSELF.contains(&path);
        let (name, typed) = self.0.iter().find(|(name, typed)| {
            TEXTS.contains(&name.as_str()) && !exempt(name) && typed.chars().count() > LONGEST
        })?;
        let count = typed.chars().count();
        Some(Error::TooLong {
            why: format!(
                "the {name} is {count} characters long; keep it under {LONGEST} and link the rest. It was not kept: copy it from here"
            ),
            typed: typed.clone(),
        })
    }

    /// The same fields as a query, with `name` set to `value`.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self
            .0
            .iter()
            .filter(|(own, value)| own != name && !value.is_empty());
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair(name, value)
            .finish()
    }

    /// Every value of a field that is not empty.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(own, value)| own == name && !value.is_empty())
            .map(|(_, value)| value.clone())
            .collect()
    }
}

/// A form sent by somebody signed in, from a page of ours.
#[derive(Debug)]
pub struct Posted {
    /// Who sent it.
    pub signed: Signed,
    /// What they typed.
    pub fields: Fields,
    /// A piece of the page is wanted rather than the whole.
    pub fragment: bool,
}

/// Whether a form comes from a page of ours, by what the browser says of it.
///
/// Browsers send `Origin: null` with a form from a page under `Referrer-Policy: no-referrer` (Fetch
/// Standard, "append a request `Origin` header"), so `Sec-Fetch-Site` decides where it is sent, and
/// the origin where it is not. Neither: not from a page of ours.
#[must_use]
pub fn is_from_us(headers: &HeaderMap, origin: &str) -> bool {
    let one = |name: &header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.to_str().unwrap_or("unreadable")),
            (None, _) => None,
            _ => Some("several"),
        }
    };
    let site = one(&header::HeaderName::from_static("sec-fetch-site"));
    match (site, one(&header::ORIGIN)) {
        (Some("same-origin"), None | Some("null")) => true,
        (Some("same-origin") | None, Some(from)) => from == origin,
        _ => false,
    }
}

/// An image or a script of another site, loaded by somebody's browser: whatever is limited by address, it
/// would use up for the people there. A link from such a site is a navigation, and welcome.
#[must_use]
pub fn is_of_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| {
        headers
            .get(name)
            .is_some_and(|own| own.as_bytes() == value.as_bytes())
    };
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate")
}

/// Whether the token a form carries is the session's, in time that tells nothing about it.
#[must_use]
pub fn is_token(sent: &str, own: &str) -> bool {
    !own.is_empty() && bool::from(sent.as_bytes().ct_eq(own.as_bytes()))
}

impl FromRequest<App> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let origin = app
            .config()
            .server
            .public_url
            .url()
            .origin()
            .ascii_serialization();
        if !is_from_us(&parts.headers, &origin) {
            let why = "This form did not come from a page of this service, or your browser does not say where it came from.";
            return Err(Error::Forbidden(why.into()).into_response());
        }
        let signed = Signed::from_request_parts(&mut parts, app).await?;
        let bytes: Bytes = to_bytes(body, LARGEST).await.map_err(|_| {
            Error::Bad(format!(
                "the form was cut off or larger than {} KiB",
                LARGEST / 1024
            ))
            .into_response()
        })?;
        let fields = Fields::parse(&bytes);
        if !is_token(fields.get("csrf"), &signed.csrf) {
            let why = "This form belongs to an earlier session. Load the page again; nothing was done.";
            return Err(Error::Forbidden(why.into()).into_response());
        }
        if let Some(error) = fields.too_long(parts.uri.path()) {
            return Err(error.into_response());
        }
        Ok(Self {
            signed,
            fields,
            fragment: parts.headers.contains_key("x-fragment"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "https://breakglass.example.test";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_form_of_ours_is_taken_from_new_and_old_browsers() {
        assert!(is_from_us(
            &headers(&[("sec-fetch-site", "same-origin"), ("origin", "null")]),
            US
        ));
        assert!(is_from_us(
            &headers(&[("sec-fetch-site", "same-origin"), ("origin", US)]),
            US
        ));
        assert!(is_from_us(&headers(&[("origin", US)]), US));
    }

    #[test]
    fn a_form_of_another_site_is_not_taken() {
        for pairs in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://evil.test")],
            &[("origin", "https://breakglass.example.test.evil.test")],
            &[("origin", "http://breakglass.example.test")],
            &[("origin", "https://breakglass.example.test:8443")],
            &[("sec-fetch-site", "cross-site"), ("origin", US)],
            &[("sec-fetch-site", "same-site"), ("origin", US)],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", US), ("origin", "https://evil.test")],
        ] {
            assert!(!is_from_us(&headers(pairs), US), "{pairs:?}");
        }
    }

    #[test]
    fn a_link_from_another_site_leads_here_and_an_image_does_not() {
        let of =
            |site, mode| is_of_another_site(&headers(&[("sec-fetch-site", site), ("sec-fetch-mode", mode)]));
        assert!(of("cross-site", "no-cors") && of("cross-site", "cors"));
        assert!(!of("cross-site", "navigate") && !of("same-origin", "cors") && !of("none", "navigate"));
        assert!(!is_of_another_site(&headers(&[])), "a browser that does not say");
    }

    #[test]
    fn only_the_whole_token_of_the_session_opens() {
        assert!(is_token("abcd", "abcd"));
        for wrong in ["", "abc", "abcde", "ABCD"] {
            assert!(!is_token(wrong, "abcd"));
        }
        assert!(!is_token("", ""), "a session without a token takes no form");
    }

    #[test]
    fn repeated_fields_are_kept_and_empty_ones_are_no_choice() {
        let fields = Fields::parse(b"namespace=a&namespace=&namespace=b%20c&reason=x+y");
        assert_eq!(fields.all("namespace"), ["a", "b c"]);
        assert_eq!(fields.get("reason"), "x y");
        assert_eq!(fields.get("missing"), "");
    }
}
