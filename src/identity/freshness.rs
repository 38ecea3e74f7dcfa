//! Whether somebody signed in recently enough. Decided by the `auth_time` the provider signed, never
//! by what it was asked for (RFC 9470, 5).

use super::refusal::Refusal;
use super::token::SKEW;
use crate::clock::Time;
use chrono::{SubsecRound as _, TimeDelta};

/// A first sign-in may rest on a session of the provider this old, in seconds (half a day).
pub const SIGN_IN_WINDOW_S: u32 = 12 * 3600;

/// Checks that the login at `auth_time` is no older than `window_s` at `now`.
///
/// With a window of 0 it must not be before `asked_at`: a login made for this very action, and no
/// allowance for skew, which would let one made up to a minute earlier pass. `auth_time` counts whole
/// seconds, so `asked_at` is cut to its second.
pub fn check(auth_time: Option<Time>, window_s: u32, asked_at: Time, now: Time) -> Result<Time, Refusal> {
    let auth_time = auth_time.ok_or(Refusal::NoAuthTime)?;
    if auth_time > now + SKEW {
        return Err(Refusal::FutureLogin { auth_time });
    }
    let needed = if window_s == 0 {
        asked_at.trunc_subsecs(0)
    } else {
        now - TimeDelta::seconds(i64::from(window_s)) - SKEW
    };
    if auth_time < needed {
        Err(Refusal::NotFresh { auth_time, needed })
    } else {
        Ok(auth_time)
    }
}

/// Whether a session that last saw a login at `auth_time` needs no new one at `now`. A window of 0 always does,
/// and so does a login that is still to come: the clock was set back since.
#[must_use]
pub fn still_fresh(auth_time: Time, window_s: u32, now: Time) -> bool {
    let age = now - auth_time;
    window_s > 0 && age >= -SKEW && age <= TimeDelta::seconds(i64::from(window_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_window_allows_its_length_and_the_skew_and_no_more() {
        let (asked, now) = (at("10:00:00"), at("10:00:05"));
        assert!(check(Some(at("09:54:06")), 300, asked, now).is_ok());
        let late = check(Some(at("09:54:04")), 300, asked, now);
        assert_eq!(
            late,
            Err(Refusal::NotFresh {
                auth_time: at("09:54:04"),
                needed: at("09:54:05")
            })
        );
    }

    #[test]
    fn window_0_wants_a_login_made_for_this_action() {
        let (asked, now) = (at("10:00:00.900"), at("10:00:20"));
        assert!(
            check(Some(at("10:00:00")), 0, asked, now).is_ok(),
            "the same second, as whole seconds tell it"
        );
        assert!(
            check(Some(at("09:59:59")), 0, asked, now).is_err(),
            "no skew here"
        );
    }

    #[test]
    fn a_login_ahead_of_time_or_without_time_is_refused() {
        let now = at("10:00:00");
        assert_eq!(check(None, 300, now, now), Err(Refusal::NoAuthTime));
        assert_eq!(
            check(Some(at("10:01:01")), 0, now, now),
            Err(Refusal::FutureLogin {
                auth_time: at("10:01:01")
            })
        );
        assert!(check(Some(at("10:00:59")), 0, now, now).is_ok());
    }

    #[test]
    fn a_session_is_fresh_for_its_window_only() {
        let now = at("10:05:00");
        assert!(still_fresh(at("10:00:00"), 300, now));
        assert!(!still_fresh(at("09:59:59"), 300, now));
        assert!(!still_fresh(now, 0, now), "window 0 always asks again");
        assert!(!still_fresh(at("11:00:00"), 300, now), "the clock was set back");
    }
}
