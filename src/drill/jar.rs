//! Cookies as a browser keeps them: by host and path, not by port. One jar a person.

use crate::clock::Time;
use chrono::DateTime;
use url::{Host, Url};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
    secure: bool,
}

/// The cookies of one person. A drill is over before a cookie expires, so only the order to forget one
/// (an expiry in the past) is heeded.
#[derive(Debug, Clone, Default)]
pub(super) struct Jar(Vec<Cookie>);

impl Jar {
    /// Takes one `Set-Cookie` of an answer from `url`. A cookie is never kept for other hosts, whatever
    /// it asks for.
    pub(super) fn keep(&mut self, url: &Url, line: &str, now: Time) {
        let mut parts = line.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let mut cookie = Cookie {
            host: url.host_str().unwrap_or_default().to_owned(),
            path: "/".to_owned(),
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            secure: false,
        };
        let (mut expires, mut max_age) = (None, None);
        for part in parts {
            let (key, text) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" if text.starts_with('/') => text.clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                "max-age" => max_age = text.parse::<i64>().ok(),
                "expires" => expires = DateTime::parse_from_rfc2822(text).ok(),
                _ => {}
            }
        }
        let over = match (max_age, expires) {
            (Some(seconds), _) => seconds <= 0,
            (None, Some(at)) => at <= now,
            (None, None) => false,
        };
        self.0.retain(|held| {
            (&held.host, &held.path, &held.name) != (&cookie.host, &cookie.path, &cookie.name)
        });
        if !over {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` header for a request to `url`, if there is any cookie for it.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let mut fit: Vec<&Cookie> = self.0.iter().filter(|cookie| fits(cookie, url)).collect();
        fit.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fit
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

fn fits(cookie: &Cookie, url: &Url) -> bool {
    let path = url.path();
    let below = path
        .strip_prefix(&cookie.path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.path.ends_with('/'));
    // As browsers do: what stays on this machine needs no encryption.
    let safe = url.scheme() == "https"
        || match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        };
    url.host_str() == Some(cookie.host.as_str()) && below && (!cookie.secure || safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn jar(from: &str, lines: &[&str]) -> Jar {
        let mut jar = Jar::default();
        for line in lines {
            jar.keep(&url(from), line, SystemClock.now());
        }
        jar
    }

    #[test]
    fn a_cookie_goes_to_its_host_and_below_its_path_alone() {
        let jar = jar(
            "https://a.test/x",
            &[
                "one=1; Path=/",
                "two=2; Path=/auth; HttpOnly",
                "three=3; Domain=b.test",
            ],
        );
        assert_eq!(jar.header(&url("https://a.test/")).unwrap(), "one=1; three=3");
        assert_eq!(
            jar.header(&url("https://a.test:8443/auth/7")).unwrap(),
            "two=2; one=1; three=3"
        );
        assert_eq!(
            jar.header(&url("https://a.test/author")).unwrap(),
            "one=1; three=3"
        );
        assert_eq!(jar.header(&url("https://b.test/")), None);
    }

    #[test]
    fn a_secure_cookie_never_leaves_the_machine_in_the_open() {
        let secure = jar("https://a.test/", &["one=1; Secure"]);
        assert_eq!(secure.header(&url("http://a.test/")), None);
        let here = jar("http://127.0.0.1:8080/", &["one=1; Secure"]);
        assert_eq!(here.header(&url("http://127.0.0.1:9090/")).unwrap(), "one=1");
    }

    #[test]
    fn a_cookie_is_replaced_and_forgotten_when_told() {
        let mut held = jar("https://a.test/", &["one=1; Path=/", "one=2; Path=/"]);
        assert_eq!(held.header(&url("https://a.test/")).unwrap(), "one=2");
        held.keep(
            &url("https://a.test/"),
            "one=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            SystemClock.now(),
        );
        assert_eq!(held.header(&url("https://a.test/")), None);
        let gone = jar("https://a.test/", &["one=1; Path=/", "one=; Path=/; Max-Age=0"]);
        assert_eq!(gone.header(&url("https://a.test/")), None);
    }
}
