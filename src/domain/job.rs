//! A job: work for a worker. Idempotent, retried until done, re-reads the world first.

use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, JobId, NoticeId, RevealId};
use serde::{Deserialize, Serialize};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum JobKind {
    /// Lay out the access of a grant.
    Provision {
        /// The grant.
        grant: GrantId,
    },
    /// Delete a reveal's Secret unless it became Active meanwhile.
    AbandonReveal {
        /// The grant.
        grant: GrantId,
        /// The reveal.
        reveal: RevealId,
    },
    /// Delete the Secret of a reveal that another one replaced.
    RemoveSecret {
        /// The grant.
        grant: GrantId,
        /// The Secret's name.
        secret: String,
    },
    /// Take a grant away and prove it dead.
    End {
        /// The grant.
        grant: GrantId,
    },
    /// Look at what was recorded of a grant: tell its first change, open again what a late action changes.
    Heed {
        /// The grant.
        grant: GrantId,
    },
    /// Take the drift down and open the pull request.
    Capture {
        /// The follow-up.
        follow_up: FollowUpId,
    },
    /// Look at the pull request, publish the check, compare cluster and git.
    Follow {
        /// The follow-up.
        follow_up: FollowUpId,
    },
    /// Deliver a notice by one channel.
    Deliver {
        /// The notice.
        notice: NoticeId,
        /// The channel, as the configuration names it (`mail:ADDRESS`, `webhook:NAME`).
        channel: String,
    },
}

impl JobKind {
    /// One job of a key waits at a time: a second is the same work asked for again.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Provision { grant } => format!("provision {grant}"),
            Self::AbandonReveal { grant, reveal } => format!("abandon {grant} {reveal}"),
            Self::RemoveSecret { grant, secret } => format!("remove-secret {grant} {secret}"),
            Self::End { grant } => format!("end {grant}"),
            Self::Heed { grant } => format!("heed {grant}"),
            Self::Capture { follow_up } => format!("capture {follow_up}"),
            Self::Follow { follow_up } => format!("follow {follow_up}"),
            Self::Deliver { notice, channel } => format!("deliver {notice} {channel}"),
        }
    }

    /// The kind's name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Provision { .. } => "provision",
            Self::AbandonReveal { .. } => "abandon-reveal",
            Self::RemoveSecret { .. } => "remove-secret",
            Self::End { .. } => "end",
            Self::Heed { .. } => "heed",
            Self::Capture { .. } => "capture",
            Self::Follow { .. } => "follow",
            Self::Deliver { .. } => "deliver",
        }
    }
}

/// Jobs of one lane share its places. Each outside party that may hang has a lane of its own, so that no mail server
/// and no forge keeps an access alive by keeping the workers busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What gives and takes access: waits for clusters alone.
    Access,
    /// What brings git up to date: waits for the forge.
    Git,
    /// What tells people: waits for channels.
    Notices,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Access, Self::Git, Self::Notices];

    /// The first words of the keys of its jobs.
    #[must_use]
    pub const fn first_words(self) -> &'static [&'static str] {
        match self {
            Self::Access => &["provision", "abandon", "remove-secret", "end", "heed"],
            Self::Git => &["capture", "follow"],
            Self::Notices => &["deliver"],
        }
    }
}

/// A job in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: JobKind,
    /// Not before.
    pub due: Time,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it fails.
    pub failing_since: Option<Time>,
    /// What it failed with last, for people; no secrets.
    pub error: Option<String>,
    /// Whom it waits for while it fails: "the forge", "the API server of production", a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

impl Job {
    /// A new job.
    #[must_use]
    pub fn new(kind: JobKind, due: Time) -> Self {
        Self {
            id: JobId::new(),
            kind,
            due,
            attempts: 0,
            failing_since: None,
            error: None,
            waits_for: None,
        }
    }

    /// The last try failed at `now`; it is tried again after `wait`.
    pub fn failed(&mut self, why: String, waits_for: Option<String>, wait: chrono::TimeDelta, now: Time) {
        self.due = now + wait;
        self.attempts = self.attempts.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.error = Some(why);
        self.waits_for = waits_for;
    }

    /// Its part is done for now and it goes on at `due`: nothing fails any more.
    pub fn goes_on(&mut self, due: Time) {
        self.due = due;
        self.attempts = 0;
        self.failing_since = None;
        self.error = None;
        self.waits_for = None;
    }

    /// When to try again after `attempts` failures: 1 s doubling to 60 s.
    #[must_use]
    pub fn back_off(attempts: u32) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(1i64 << attempts.min(6)).min(chrono::TimeDelta::seconds(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use std::collections::BTreeSet;

    fn kinds() -> [JobKind; 9] {
        let (grant, follow_up, notice) = (GrantId::new(), FollowUpId::new(), NoticeId::new());
        [
            JobKind::Provision { grant },
            JobKind::AbandonReveal {
                grant,
                reveal: RevealId::new(),
            },
            JobKind::AbandonReveal {
                grant,
                reveal: RevealId::new(),
            },
            JobKind::RemoveSecret {
                grant,
                secret: "one".to_owned(),
            },
            JobKind::RemoveSecret {
                grant,
                secret: "two".to_owned(),
            },
            JobKind::End { grant },
            JobKind::Capture { follow_up },
            JobKind::Follow { follow_up },
            JobKind::Deliver {
                notice,
                channel: "mail:leads@example.test".to_owned(),
            },
        ]
    }

    #[test]
    fn the_same_work_has_one_key_and_other_work_has_another() {
        let keys: BTreeSet<_> = kinds().iter().map(JobKind::key).collect();
        assert_eq!(keys.len(), 9);
        let (one, other) = (GrantId::new(), GrantId::new());
        assert_eq!(
            JobKind::End { grant: one }.key(),
            JobKind::End { grant: one }.key()
        );
        assert_ne!(
            JobKind::End { grant: one }.key(),
            JobKind::End { grant: other }.key()
        );
    }

    #[test]
    fn every_job_is_in_one_lane() {
        for kind in kinds() {
            let key = kind.key();
            let first = key.split(' ').next().unwrap();
            let lanes = Lane::ALL
                .iter()
                .filter(|lane| lane.first_words().contains(&first));
            assert_eq!(lanes.count(), 1, "{key}");
        }
    }

    #[test]
    fn what_is_queued_is_read_back_as_it_was() {
        for kind in kinds() {
            let job = Job::new(kind, Time::UNIX_EPOCH);
            let read: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
            assert_eq!(read, job);
        }
    }

    #[test]
    fn since_when_it_fails_stays_until_it_no_longer_does() {
        let at = |s| Time::UNIX_EPOCH + TimeDelta::seconds(s);
        let mut job = Job::new(
            JobKind::End {
                grant: GrantId::new(),
            },
            at(0),
        );
        for (n, now) in [(1, at(5)), (2, at(7))] {
            job.failed(
                "503".to_owned(),
                Some("the forge".to_owned()),
                TimeDelta::seconds(2),
                now,
            );
            assert_eq!(
                (job.attempts, job.failing_since, job.due),
                (n, Some(at(5)), now + TimeDelta::seconds(2))
            );
        }
        job.goes_on(at(30));
        assert_eq!(
            (job.attempts, job.failing_since, job.error, job.waits_for),
            (0, None, None, None)
        );
    }

    #[test]
    fn the_wait_doubles_to_a_minute_and_no_further() {
        let waits: Vec<_> = (0..8)
            .map(|attempts| Job::back_off(attempts).num_seconds())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(
            Job::back_off(u32::MAX),
            TimeDelta::seconds(60),
            "it never gives up and never overflows"
        );
    }
}
