//! Times as people read them: how long from now, on the clock of the reader, and in UTC.

use crate::clock::Time;
use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{Datelike, TimeDelta};
use chrono_tz::Tz;

/// How much of a [`When`] is written out. The rest is always in its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// `02:11 · 01:11 UTC · 4 min ago`
    Full,
    /// `02:11:07 · 01:11:07 UTC`: for the rows of a table.
    Clock,
    /// `4 min ago`
    Relative,
}

/// A moment, to be read in the reader's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Template)]
#[template(ext = "html", source = r#"{% import "parts.html" as p %}{{ p::when(self) }}"#)]
pub struct When {
    /// The moment.
    pub at: Time,
    /// When the page was made: "4 min ago" counts from here.
    pub now: Time,
    /// The reader's zone.
    pub tz: Tz,
    /// How much is written out.
    pub shown: Shown,
}

impl HtmlSafe for When {}

impl When {
    /// The same moment with seconds and without "ago".
    #[must_use]
    pub fn clock(self) -> Self {
        Self {
            shown: Shown::Clock,
            ..self
        }
    }

    /// The same moment as "4 min ago" alone.
    #[must_use]
    pub fn relative_only(self) -> Self {
        Self {
            shown: Shown::Relative,
            ..self
        }
    }

    /// For the `datetime` attribute, and for the script: RFC 3339 in UTC.
    #[must_use]
    pub fn machine(&self) -> String {
        self.at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// On the reader's clock; the day is said when it is not today.
    #[must_use]
    pub fn local(&self) -> String {
        self.written(self.tz, self.shown == Shown::Clock)
    }

    /// In UTC; nothing when the reader's clock is UTC and [`Self::local`] says so already.
    #[must_use]
    pub fn utc(&self) -> Option<String> {
        (!self.reads_utc()).then(|| {
            let seconds = if self.shown == Shown::Clock { ":%S" } else { "" };
            self.at.format(&format!("%H:%M{seconds} UTC")).to_string()
        })
    }

    /// "4 min ago", "in 3 h 10 min", "now".
    #[must_use]
    pub fn relative(&self) -> String {
        let step = self.at - self.now;
        if step.abs() < TimeDelta::seconds(1) {
            "now".to_owned()
        } else if step > TimeDelta::zero() {
            format!("in {}", rough(step))
        } else {
            format!("{} ago", rough(-step))
        }
    }

    /// Both clocks in full, for the title.
    #[must_use]
    pub fn title(&self) -> String {
        let utc = self.at.format("%a %-d %b %Y %H:%M:%S UTC");
        if self.reads_utc() {
            return utc.to_string();
        }
        format!(
            "{} · {utc}",
            self.at.with_timezone(&self.tz).format("%a %-d %b %Y %H:%M:%S %Z")
        )
    }

    fn reads_utc(&self) -> bool {
        self.tz == Tz::UTC || self.tz == Tz::Etc__UTC
    }

    fn written(&self, tz: Tz, seconds: bool) -> String {
        let at = self.at.with_timezone(&tz);
        let now = self.now.with_timezone(&tz);
        let day = if at.date_naive() == now.date_naive() {
            ""
        } else if at.year() == now.year() {
            "%a %-d %b "
        } else {
            "%-d %b %Y "
        };
        let clock = if seconds { "%H:%M:%S" } else { "%H:%M" };
        let zone = if self.reads_utc() { " UTC" } else { "" };
        at.format(&format!("{day}{clock}{zone}")).to_string()
    }
}

/// A length of time to the second: "41 min 12 s", "3 h 10 min", "2 d 4 h". Never negative.
#[must_use]
pub fn lasting(step: TimeDelta) -> String {
    let s = step.num_seconds().max(0);
    let (d, h, m) = (s / 86_400, s / 3_600 % 24, s / 60 % 60);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big} {big_unit}")
        } else {
            format!("{big} {big_unit} {small} {small_unit}")
        }
    };
    if d > 0 {
        two(d, "d", h, "h")
    } else if h > 0 {
        two(h, "h", m, "min")
    } else if m > 0 {
        two(m, "min", s % 60, "s")
    } else {
        format!("{s} s")
    }
}

/// The same, without seconds once a minute is reached: what does not tick should not seem exact.
#[must_use]
pub fn rough(step: TimeDelta) -> String {
    let s = step.num_seconds();
    lasting(if (60..3_600).contains(&s) {
        TimeDelta::minutes(s / 60)
    } else {
        step
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(at: &str, tz: Tz) -> When {
        let now = "2026-11-19T01:15:04Z".parse().unwrap();
        When {
            at: at.parse().unwrap(),
            now,
            tz,
            shown: Shown::Full,
        }
    }

    #[test]
    fn a_time_of_today_is_a_clock_with_utc_beside_it() {
        let w = when("2026-11-19T01:11:04Z", Tz::Europe__Berlin);
        assert_eq!(
            (w.local().as_str(), w.utc().unwrap().as_str()),
            ("02:11", "01:11 UTC")
        );
        assert_eq!(w.relative(), "4 min ago");
        assert_eq!(
            w.title(),
            "Thu 19 Nov 2026 02:11:04 CET · Thu 19 Nov 2026 01:11:04 UTC"
        );
        assert_eq!(w.clock().local(), "02:11:04");
    }

    #[test]
    fn utc_is_said_once_to_a_reader_in_utc() {
        let w = when("2026-11-19T01:11:04Z", Tz::UTC);
        assert_eq!((w.local().as_str(), w.utc()), ("01:11 UTC", None));
    }

    #[test]
    fn another_day_is_named_by_the_readers_calendar() {
        // 23:30 UTC is already the next day in Berlin, which is today there.
        assert_eq!(when("2026-11-18T23:30:00Z", Tz::Europe__Berlin).local(), "00:30");
        assert_eq!(
            when("2026-11-18T23:30:00Z", Tz::UTC).local(),
            "Wed 18 Nov 23:30 UTC"
        );
        assert_eq!(
            when("2025-11-18T23:30:00Z", Tz::UTC).local(),
            "18 Nov 2025 23:30 UTC"
        );
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, words) in [
            (0, "0 s"),
            (-5, "0 s"),
            (59, "59 s"),
            (2_472, "41 min 12 s"),
            (3_600, "1 h"),
            (11_400, "3 h 10 min"),
            (187_200, "2 d 4 h"),
        ] {
            assert_eq!(lasting(TimeDelta::seconds(seconds)), words);
        }
        assert_eq!(rough(TimeDelta::seconds(2_472)), "41 min");
    }
}
