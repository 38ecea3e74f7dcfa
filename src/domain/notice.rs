//! A notice: something people are told, by every channel they asked for. The compliance feed shows
//! the ledger itself; notices carry the same sentence out of the house.

use crate::clock::Time;
use crate::ids::{GrantId, NoticeId, RequestId};
use serde::{Deserialize, Serialize};

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id; also the id of the message on every channel, so that a repeat is recognised.
    pub id: NoticeId,
    /// What happened, dotted, past tense: `request.filed`. The `CloudEvents` type follows from it.
    pub event: String,
    /// When it happened.
    pub at: Time,
    /// The subject line.
    pub title: String,
    /// What happened and what to do, in plain sentences.
    pub text: String,
    /// The page to open, a path on the broker.
    pub path: String,
    /// The request it is about.
    pub request: Option<RequestId>,
    /// The grant it is about.
    pub grant: Option<GrantId>,
    /// The facts, names and values, as people read them.
    pub facts: Vec<(String, String)>,
    /// `mail:ADDRESS` and `webhook:NAME`; one job each.
    pub channels: Vec<String>,
}

/// How one notice fared on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notice.
    pub notice: NoticeId,
    /// The channel.
    pub channel: String,
    /// Its title.
    pub title: String,
    /// When it was delivered.
    pub delivered_at: Option<Time>,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last try failed with.
    pub error: Option<String>,
    /// It failed for long or for good: shown on the feed until it arrives or somebody settles it.
    pub undeliverable: bool,
    /// Who looked at it, what they say, when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<(String, String, Time)>,
}
