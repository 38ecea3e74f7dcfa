//! What a refusal says: how long to wait, and the forge's own words.

use chrono::DateTime;
use http::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// GitHub's advice where a secondary limit names no time.
const UNNAMED_WAIT: Duration = Duration::from_mins(1);
/// GitHub's limits are counted by the hour. An answer that asks for more is not taken at its word: it would park
/// every follow-up for as long as a broken proxy likes.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How long the forge asks to wait, when this answer says that a limit was hit.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
pub(super) fn wait_asked(status: u16, headers: &HeaderMap, message: &str) -> Option<Duration> {
    asked(status, headers, message).map(|wait| wait.min(LONGEST_WAIT))
}

fn asked(status: u16, headers: &HeaderMap, message: &str) -> Option<Duration> {
    if !matches!(status, 403 | 429 | 503) {
        return None;
    }
    let read = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(seconds) = read("retry-after").and_then(|value| value.trim().parse().ok()) {
        return Some(Duration::from_secs(seconds));
    }
    // One that is out of order says when it comes back, or nothing.
    if status == 503 {
        return None;
    }
    if read("x-ratelimit-remaining") == Some("0") {
        // Both times are the forge's own, so a wrong local clock does not matter.
        let reset: Option<i64> = read("x-ratelimit-reset").and_then(|value| value.parse().ok());
        let told = read("date").and_then(|value| DateTime::parse_from_rfc2822(value).ok());
        let wait = reset
            .zip(told)
            .and_then(|(reset, told)| u64::try_from(reset - told.timestamp()).ok());
        return Some(wait.map_or(UNNAMED_WAIT, Duration::from_secs));
    }
    (status == 429 || message.to_lowercase().contains("rate limit")).then_some(UNNAMED_WAIT)
}

/// The forge's own words: its message, and the message of each error in it. Bounded.
pub(super) fn words(text: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return "an answer that is not JSON".into();
    };
    let mut words = body["message"].as_str().unwrap_or("no message").to_owned();
    for error in body["errors"].as_array().into_iter().flatten() {
        let more = error.as_str().or_else(|| error["message"].as_str()).map_or_else(
            || {
                format!(
                    "{} {}",
                    error["field"].as_str().unwrap_or(""),
                    error["code"].as_str().unwrap_or("")
                )
            },
            str::to_owned,
        );
        words.push_str("; ");
        words.push_str(more.trim());
    }
    words.chars().take(1000).collect()
}

/// An error with its causes: octocrab's own `Display` says only "GitHub" or "Service Error".
pub(super) fn reason(error: &octocrab::Error) -> String {
    let mut text = error.to_string().lines().next().unwrap_or_default().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_wait_is_the_one_the_forge_asks_for() {
        let secs = |n| Some(Duration::from_secs(n));
        assert_eq!(wait_asked(403, &headers(&[("retry-after", "17")]), ""), secs(17));
        let primary = headers(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "784111807"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        assert_eq!(wait_asked(403, &primary, ""), secs(30));
        assert_eq!(
            wait_asked(403, &headers(&[]), "You have exceeded a secondary rate limit."),
            secs(60)
        );
        assert_eq!(wait_asked(429, &headers(&[]), ""), secs(60));
        assert_eq!(
            wait_asked(403, &headers(&[]), "Resource not accessible by integration"),
            None
        );
        assert_eq!(wait_asked(503, &headers(&[("retry-after", "5")]), ""), secs(5));
        assert_eq!(wait_asked(503, &headers(&[]), "rate limit"), None);
        let for_ever = headers(&[("retry-after", "18446744073709551615")]);
        assert_eq!(wait_asked(429, &for_ever, ""), secs(3600));
        assert_eq!(wait_asked(422, &headers(&[("retry-after", "17")]), ""), None);
    }

    #[test]
    fn the_forges_words_carry_each_error() {
        let text = r#"{"message":"Validation Failed","errors":[{"code":"custom","message":"No commits between a and b"},"Plain",{"field":"head","code":"invalid"}]}"#;
        assert_eq!(
            words(text),
            "Validation Failed; No commits between a and b; Plain; head invalid"
        );
    }
}
