//! What a browser carries back: the path to return to, and cookies. Whatever stands in them, it leads to a
//! page of this service, and no further than once around the sign-in.

use breakglass::web::session::{own_path, sign_in_path, zone_of};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

pub fn holds(data: &[u8]) {
    cookies(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    returns(text);
}

/// A redirect as a browser follows it (the WHATWG's way of reading addresses, which takes backslashes for
/// slashes, drops tabs and line ends, and resolves dots, also where they are written as %2e).
fn returns(text: &str) {
    let home = Url::parse("https://breakglass.example.org/some/page?x").expect("an address");
    let path = own_path(text);
    assert!(HeaderValue::from_str(path).is_ok(), "no header can hold {path:?}");
    let there = home
        .join(path)
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert_eq!(there.origin(), home.origin(), "{path:?} leads off-site");
    assert!(there.username().is_empty() && there.password().is_none());
    assert!(
        !there.path().starts_with("/sign-"),
        "{path:?} leads back to the sign-in"
    );
    assert_eq!(own_path(path), path, "what is ours stays ours");
    let begin = sign_in_path(text);
    let begin = home.join(&begin).expect("an address of ours");
    assert_eq!((begin.origin(), begin.path()), (home.origin(), "/sign-in"));
    let carried: Vec<(String, String)> = begin.query_pairs().into_owned().collect();
    assert_eq!(
        carried,
        [("to".to_owned(), path.to_owned())],
        "what is carried is what was asked for"
    );
}

fn cookies(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, value);
        }
    }
    let zone = zone_of(&headers);
    // What is read is a zone of the list by its own name: nothing that was sent is ever shown.
    assert_eq!(zone.name().parse(), Ok(zone));
    let mut own = HeaderMap::new();
    own.append(
        header::COOKIE,
        HeaderValue::from_str(&format!("a=b; tz={}", zone.name())).expect("a name"),
    );
    for value in headers.get_all(header::COOKIE) {
        own.append(header::COOKIE, value.clone());
    }
    assert_eq!(zone_of(&own), zone, "the first zone that is known counts");
}
