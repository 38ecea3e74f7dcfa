//! What surrounds every page: who is signed in, what access is alive, what is stuck.

use super::parts::{Note, Words};
use super::text::{Href, Text};
use super::when::{Shown, When, lasting};
use crate::clock::Time;
use askama::Template;
use askama::filters::HtmlSafe;
use chrono_tz::Tz;

/// The places the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/`
    Start,
    /// `/approvals`
    Approvals,
    /// `/requests`
    Requests,
    /// `/feed`
    Feed,
    /// `/sla`
    Sla,
    /// `/ledger`
    Ledger,
    /// `/clusters`
    Clusters,
    /// `/policy`
    Policy,
}

impl Place {
    /// Every place, in the order of the navigation.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Approvals,
        Self::Requests,
        Self::Feed,
        Self::Sla,
        Self::Ledger,
        Self::Clusters,
        Self::Policy,
    ];

    /// Its address.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Start => "/",
            Self::Approvals => "/approvals",
            Self::Requests => "/requests",
            Self::Feed => "/feed",
            Self::Sla => "/sla",
            Self::Ledger => "/ledger",
            Self::Clusters => "/clusters",
            Self::Policy => "/policy",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Approvals => "Approvals",
            Self::Requests => "Requests",
            Self::Feed => "Feed",
            Self::Sla => "SLA",
            Self::Ledger => "Ledger",
            Self::Clusters => "Clusters",
            Self::Policy => "Policy",
        }
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Display name.
    pub name: Text,
    /// The teams, as one phrase: "payments", "payments, orders".
    pub team: Text,
    /// The session's CSRF token, sent with each form as `csrf`.
    pub csrf: String,
    /// The places this person may see.
    pub places: Vec<Place>,
    /// How many requests wait for this person's decision; shown beside "Approvals".
    pub waiting: usize,
}

/// A grant of the person who looks: shown above everything until it is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBar {
    /// Its page.
    pub href: Href,
    /// The profile.
    pub profile: Text,
    /// The cluster.
    pub cluster: Text,
    /// The namespaces, as one phrase.
    pub namespaces: Text,
    /// How far it is.
    pub phase: LivePhase,
}

/// How far the grant of a [`LiveBar`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LivePhase {
    /// Access is laid out, the key was not revealed yet; lapses then.
    Ready(When),
    /// The glass is broken until then.
    Active(When),
    /// Access is being taken away.
    Ending,
}

/// Something stuck that everybody must know of: an ending that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What is wrong, a sentence that says what to do.
    pub words: Words,
    /// The page where it is dealt with.
    pub href: Href,
    /// Since when.
    pub since: When,
}

/// What every page carries around its content. Written into a template it renders everything
/// between `<body>` and the content: alarms, live bars, navigation.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "shell_body.html")]
pub struct Shell {
    /// The title of the window, without the name of the service.
    pub title: Text,
    /// The place in the navigation, if the page belongs to one.
    pub place: Option<Place>,
    /// Who looks; nobody on the signed-out pages.
    pub person: Option<Signed>,
    /// The person's own grants that are alive.
    pub livebars: Vec<LiveBar>,
    /// What is stuck.
    pub alarms: Vec<Alarm>,
    /// What concerns everybody, before the page's own words.
    pub notes: Vec<Note>,
    /// When the page was made.
    pub now: Time,
    /// The reader's zone: of the cookie `tz`, else UTC.
    pub tz: Tz,
}

impl HtmlSafe for Shell {}

impl Shell {
    /// A moment, to be shown on this page.
    #[must_use]
    pub fn when(&self, at: Time) -> When {
        When {
            at,
            now: self.now,
            tz: self.tz,
            shown: Shown::Full,
        }
    }

    /// For the script: the server's time, RFC 3339.
    #[must_use]
    pub fn now_machine(&self) -> String {
        self.when(self.now).machine()
    }

    /// How long until then, in words.
    #[must_use]
    pub fn left(&self, when: &When) -> String {
        lasting(when.at - self.now)
    }

    /// In which zones times are shown.
    #[must_use]
    pub fn zone_words(&self) -> String {
        match self.tz {
            Tz::UTC | Tz::Etc__UTC => "UTC".to_owned(),
            tz => format!("{}, UTC beside them", tz.name()),
        }
    }

    /// The token a form sends; empty for nobody.
    #[must_use]
    pub fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| person.csrf.as_str())
    }

    /// The navigation of the person.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        self.person.as_ref().map_or(&[], |person| &person.places)
    }

    /// Whether this is the place of the page.
    #[must_use]
    pub fn is_here(&self, place: &Place) -> bool {
        self.place == Some(*place)
    }
}
