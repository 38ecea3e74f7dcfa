//! Compliance feed: what happened, is it reviewed, is anything wrong?

use super::{Badge, Choice, Filter, Href, Look, Pager, Shell, Text, When, Words, count};
use askama::Template;

/// `GET /feed`. The same filter as `/feed.atom`, `/feed.json`, `/feed.csv`. Live at `GET /feed/live`
/// (event `#feed-new`: how many entries are newer than this page).
#[derive(Debug, Clone, Template)]
#[template(path = "feed.html")]
pub struct FeedPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// How many emergencies are running.
    pub running: usize,
    /// How many ended emergencies nobody of compliance has reviewed.
    pub unreviewed: usize,
    /// What needs somebody: findings and notices that could not be delivered.
    pub pinned: Vec<FeedEntry>,
    /// What happened, newest first.
    pub entries: Vec<FeedEntry>,
    /// The filters, as they are set.
    pub filters: Vec<Filter>,
    /// The query of the filters, with `?`, for the machine-readable forms; or nothing.
    pub query: String,
    /// Whether the reader may mark emergencies as reviewed.
    pub can_review: bool,
    /// The way through the list.
    pub pager: Pager,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct FeedEntry {
    /// The anchor of the entry on the page: the notice's id.
    pub anchor: String,
    /// Its state.
    pub badge: Badge,
    /// When.
    pub when: When,
    /// A sentence with links.
    pub words: Words,
    /// More about it.
    pub detail: Option<Words>,
    /// What is to be written somewhere to put it right, as it is written there.
    pub lines: Option<Text>,
    /// Where a note that it was reviewed is sent (field `note`); nothing when there is nothing to
    /// review or the reader may not.
    pub review: Option<Href>,
    /// Who reviewed it, when, with what note.
    pub reviewed: Option<Words>,
    /// What may be said of changes without a grant; nothing when the reader may say nothing.
    pub bypass: Option<BypassForms>,
}

/// What may be said of changes without a grant.
#[derive(Debug, Clone)]
pub struct BypassForms {
    /// Where it is sent to which request they belong (fields `changes`, `request`, `note`).
    pub attach: Href,
    /// Where it is sent that they were expected (fields `changes`, `reason`).
    pub expected: Href,
    /// How many changes the reader is shown.
    pub changes: u64,
    /// The requests to choose from.
    pub requests: Vec<Choice>,
}

/// How many entries came since the page was made. Replaced live as `#feed-new`.
#[derive(Debug, Clone, Template)]
#[template(
    ext = "html",
    source = r#"<p id="feed-new" role="status">{% if count > 0 %}<a class="button" href="/feed">{{ count }} newer: show</a>{% endif %}</p>"#
)]
pub struct FeedNew {
    /// How many.
    pub count: usize,
}

impl FeedPage {
    /// The answer in one or two sentences.
    #[must_use]
    pub fn headline(&self) -> String {
        let running = match self.running {
            0 => "No emergency is running.".to_owned(),
            n => format!("{} running.", count(n, "emergency is", "emergencies are")),
        };
        let mut needs = Vec::new();
        let wrong = self.pinned.len();
        if wrong > 0 {
            needs.push(format!("{} you", count(wrong, "thing needs", "things need")));
        }
        if self.unreviewed > 0 {
            needs.push(format!(
                "{} to be reviewed",
                count(self.unreviewed, "emergency is", "emergencies are")
            ));
        }
        match needs.len() {
            0 => format!("{running} Nothing needs you."),
            _ => format!("{running} {}.", needs.join("; ")),
        }
    }

    /// Whether anything is wrong.
    #[must_use]
    pub fn look(&self) -> Look {
        if self.pinned.is_empty() {
            Look::Done
        } else {
            Look::Wait
        }
    }

    /// What to say when nothing matches.
    #[must_use]
    pub fn empty(&self) -> Text {
        if self.query.is_empty() {
            "Nothing has happened yet.".into()
        } else {
            "Nothing matches this filter.".into()
        }
    }
}
