//! Grant: what is being done with it, right now?

use super::{
    Badge, Choice, Facts, Href, Look, Note, Pager, PersonRef, Shell, Text, Timeline, When, Words, count,
    lasting,
};
use crate::ids::GrantId;
use askama::Template;
use chrono::TimeDelta;

/// `GET /grants/{id}`. Live at `GET /grants/{id}/live`: each message of that stream is one of
/// [`GrantHeadline`], [`GrantActions`], [`GrantSide`] as HTML.
#[derive(Debug, Clone, Template)]
#[template(path = "grant.html")]
pub struct GrantPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The grant.
    pub id: GrantId,
    /// The answer, live.
    pub headline: GrantHeadline,
    /// The actions, live.
    pub actions: GrantActions,
    /// What stands beside them, live.
    pub side: GrantSide,
    /// Who, as what, where, approved by whom, why, for which incident.
    pub facts: Facts,
    /// What the reader may do.
    pub can: GrantCan,
    /// Why the last try was not taken.
    pub error: Option<Text>,
    /// What happened so far and what comes next.
    pub history: Timeline,
}

impl GrantPage {
    /// Whether the page still changes: it listens only while it does.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.headline.state, GrantState::Ended { .. })
    }
}

/// What the reader may do with the grant.
#[derive(Debug, Clone, Default)]
pub struct GrantCan {
    /// Reveal the key; for the first time or again.
    pub reveal: bool,
    /// Say "I am done" (the requester).
    pub done: bool,
    /// End it, with a reason (a revoker or an approver).
    pub end: bool,
    /// Shorten it: field `minutes`, what is left afterwards. Empty when the reader may not.
    pub shorten: Vec<Choice>,
    /// Ask for longer: the filled request form.
    pub extend: Option<Href>,
}

/// How far a grant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantState {
    /// Access is being laid out in the cluster.
    Provisioning,
    /// Access is laid out, nobody holds a key. It lapses then.
    Ready {
        /// When it lapses unused.
        lapses: When,
    },
    /// A key is being made.
    Issuing,
    /// The glass is broken.
    Active {
        /// When it ends.
        until: When,
    },
    /// Access is being taken away.
    Ending {
        /// Since when.
        since: When,
        /// What holds it up, when it takes longer than it should.
        stuck: Option<Words>,
    },
    /// Access is proved dead, or was never used.
    Ended {
        /// When it was over.
        at: When,
        /// Why it ended: "the engineer was done", "the time was over".
        why: Text,
        /// How long after the end the API server refused it.
        refused_after: Option<TimeDelta>,
        /// How long after the end the key itself was dead.
        dead_after: Option<TimeDelta>,
        /// What is owed afterwards.
        follow_up: Option<Href>,
    },
}

impl GrantState {
    /// The state in one word, for programs that read the page.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Ready { .. } => "ready",
            Self::Issuing => "issuing",
            Self::Active { .. } => "active",
            Self::Ending { .. } => "ending",
            Self::Ended { .. } => "ended",
        }
    }

    /// Whether access waits for its first key.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether a key existed, so that there can be actions.
    #[must_use]
    pub fn was_used(&self) -> bool {
        match self {
            Self::Active { .. } | Self::Ending { .. } => true,
            Self::Ended {
                refused_after,
                dead_after,
                ..
            } => refused_after.is_some() || dead_after.is_some(),
            Self::Provisioning | Self::Ready { .. } | Self::Issuing => false,
        }
    }
}

/// How often what was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: usize,
    /// Changes and deletions.
    pub changes: usize,
    /// Refused by the API server.
    pub denied: usize,
    /// exec, attach, port-forward, debug.
    pub execs: usize,
    /// Reads of Secrets.
    pub secrets: usize,
    /// Changes of rights.
    pub rights: usize,
    /// Events of others in the same namespaces: counted, not shown.
    pub others: usize,
}

/// The headline of a grant: its state, its time, its counts. Replaced live as `#grant-headline`.
#[derive(Debug, Clone, Template)]
#[template(path = "grant_headline.html")]
pub struct GrantHeadline {
    /// What surrounds the page: for the times.
    pub shell: Shell,
    /// How far it is.
    pub state: GrantState,
    /// Whether the reader holds it.
    pub mine: bool,
    /// Who holds it.
    pub who: PersonRef,
    /// Profile, cluster and namespaces in one line.
    pub scope: Words,
    /// How often what was done.
    pub counts: Counts,
}

impl askama::filters::HtmlSafe for GrantHeadline {}

impl GrantHeadline {
    /// The state as a badge.
    #[must_use]
    pub fn badge(&self) -> Badge {
        match &self.state {
            GrantState::Provisioning => Badge::new(Look::Wait, "being laid out"),
            GrantState::Ready { .. } => Badge::new(Look::Wait, "ready, no key yet"),
            GrantState::Issuing => Badge::new(Look::Wait, "making a key"),
            GrantState::Active { .. } => Badge::new(Look::Live, "active"),
            GrantState::Ending { stuck: None, .. } => Badge::new(Look::Wait, "ending"),
            GrantState::Ending { stuck: Some(_), .. } => Badge::new(Look::Late, "ending is stuck"),
            GrantState::Ended { .. } => Badge::new(Look::Info, "ended"),
        }
    }

    /// "2 changes, 1 exec, 1 refusal": what matters most of what was done.
    #[must_use]
    pub fn done_words(&self) -> String {
        let c = &self.counts;
        let mut words = vec![count(c.changes, "change", "changes")];
        for (n, one, many) in [
            (c.execs, "exec", "execs"),
            (c.rights, "change of rights", "changes of rights"),
            (c.secrets, "Secret read", "Secret reads"),
            (c.denied, "refusal", "refusals"),
        ] {
            if n > 0 {
                words.push(count(n, one, many));
            }
        }
        words.join(", ")
    }

    /// The counts that the headline leaves out; that no Secret was read is worth saying.
    #[must_use]
    pub fn rest_words(&self) -> String {
        let c = &self.counts;
        let mut words = count(c.reads, "read", "reads");
        words.push_str(match (c.secrets, c.rights) {
            (0, 0) => ". No Secret was read, no rights were changed.",
            (0, _) => ". No Secret was read.",
            (_, 0) => ". No rights were changed.",
            _ => ".",
        });
        if c.others > 0 {
            words.push(' ');
            words.push_str(&count(c.others, "event", "events"));
            words.push_str(" of others in the same namespaces: counted, not shown.");
        }
        words
    }

    /// A length of time in words.
    #[must_use]
    pub fn words_of(&self, step: &TimeDelta) -> String {
        let ms = step.num_milliseconds().max(0);
        if ms < 1_000 {
            format!("{ms} ms")
        } else if ms < 60_000 {
            format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
        } else {
            lasting(*step)
        }
    }
}

/// One action as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// When the API server received it.
    pub when: When,
    /// What was done, e.g. "scaled", "exec in", "was refused".
    pub verb: Text,
    /// To what, e.g. `payments/web`; a link to its ledger entry.
    pub object: Words,
    /// More of it: "2 → 5 replicas", the command of an exec.
    pub detail: Option<Words>,
    /// How it is flagged.
    pub flags: Vec<Badge>,
    /// The HTTP status the API server answered.
    pub status: Option<u16>,
    /// A mark at the row's edge.
    pub look: Option<Look>,
}

/// The table of actions. Replaced live as `#grant-actions`.
#[derive(Debug, Clone, Template)]
#[template(path = "grant_actions.html")]
pub struct GrantActions {
    /// The page of the grant, for the filter links.
    pub grant: Href,
    /// Whether more will come.
    pub live: bool,
    /// The filter set now: `all`, `changes`, `flagged`, `denied` (query parameter `show`).
    pub show: Text,
    /// The actions, newest first.
    pub rows: Vec<ActionRow>,
    /// The way through the list.
    pub pager: Pager,
}

impl askama::filters::HtmlSafe for GrantActions {}

impl GrantActions {
    /// The filters: value and label.
    #[must_use]
    pub fn filters(&self) -> [(&'static str, &'static str); 4] {
        [
            ("all", "All"),
            ("changes", "Changes"),
            ("flagged", "Flagged"),
            ("denied", "Refused"),
        ]
    }

    /// Whether that filter is set.
    #[must_use]
    pub fn is_set(&self, value: &str) -> bool {
        self.show.plain() == value
    }
}

/// What stands beside the actions. Replaced live as `#grant-side`.
#[derive(Debug, Clone, Template)]
#[template(path = "grant_side.html")]
pub struct GrantSide {
    /// Whether this is all: a badge and an honest sentence.
    pub coverage: (Badge, Words),
    /// Streams that are still open, a sentence each.
    pub streams: Vec<Words>,
    /// Self-heal, when it was paused.
    pub self_heal: Option<Words>,
    /// What needs to be known beside.
    pub notes: Vec<Note>,
}

impl askama::filters::HtmlSafe for GrantSide {}
