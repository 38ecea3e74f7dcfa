//! Every page in every state, with words as they come in an emergency, or hostile ones in their
//! place. Rendered into `pages/` of the target directory, to be looked at.

mod access;
mod ask;
mod checks;
mod rest;
mod watch;

use super::approvals::ApprovalsPage;
use super::clusters::{ClusterView, ClustersPage, ServerView};
use super::feed::{BypassForms, FeedEntry, FeedPage};
use super::follow_up::{
    FollowUpCan, FollowUpPage, FollowUpState, ManualItem, ObjectBack, PullRequest, WayBack,
};
use super::grant::{
    ActionRow, Counts, GrantActions, GrantCan, GrantHeadline, GrantPage, GrantSide, GrantState,
};
use super::ledger::{LedgerEntryPage, LedgerPage};
use super::plain::{
    ConflictPage, ErrorPage, ForbiddenPage, NotFoundPage, SignInRefusal, SignInRefusedPage, SignedOutPage,
    ZonePage,
};
use super::policy::{PolicyPage, ProfileView, Question};
use super::request::{Decision, RequestPage, RequestState};
use super::request_form::{FormErrors, Preview, RequestForm, RequestFormPage, Verdict};
use super::requests::RequestsPage;
use super::reveal::{RevealFailed, RevealHead, RevealStep, RevealTail};
use super::sla::SlaPage;
use super::start::StartPage;
use super::step_up::StepUpPage;
use super::*;
use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, ItemId, RequestId};
use askama::Template;
use chrono::TimeDelta;
use chrono_tz::Tz;

/// Where the words of the sample pages come from.
pub struct Sample {
    hostile: Option<String>,
    tz: Tz,
}

const GRANT: &str = "/grants/0193f2a0-0000-7000-8000-000000000001";
const NOW: &str = "2026-11-19T01:33:00Z";

impl Sample {
    /// Pages as they are on an ordinary night, read in Berlin.
    pub fn plain() -> Self {
        Self {
            hostile: None,
            tz: Tz::Europe__Berlin,
        }
    }

    /// The same pages with this in place of every foreign word.
    pub fn hostile(with: &str) -> Self {
        Self {
            hostile: Some(with.to_owned()),
            tz: Tz::UTC,
        }
    }

    pub(super) fn raw(&self, text: &str) -> String {
        self.hostile.clone().unwrap_or_else(|| text.to_owned())
    }

    pub(super) fn t(&self, text: &str) -> Text {
        self.raw(text).into()
    }

    pub(super) fn prose(&self, text: &str) -> Text {
        Text::prose(self.raw(text))
    }

    pub(super) fn say(&self, text: &str) -> Words {
        Words::say(self.t(text))
    }

    pub(super) fn person(&self, name: &str, id: &str) -> PersonRef {
        PersonRef::new(self.t(name), self.t(&format!("employee_id {id}")))
    }

    pub(super) fn engineer(&self) -> PersonRef {
        self.person("on-call engineer", "e-1001")
    }

    pub(super) fn second(&self) -> PersonRef {
        self.person("second engineer", "e-1002")
    }

    pub(super) fn approver(&self) -> PersonRef {
        self.person("first approver", "e-2001")
    }

    pub(super) fn compliance(&self) -> PersonRef {
        self.person("compliance officer", "e-3001")
    }

    pub(super) fn badge(&self, look: Look, word: &str) -> Badge {
        Badge::new(look, self.t(word))
    }

    pub(super) fn when(&self, seconds_from_now: i64) -> When {
        let now: Time = NOW.parse().unwrap();
        When {
            at: now + TimeDelta::seconds(seconds_from_now),
            now,
            tz: self.tz,
            shown: Shown::Full,
        }
    }

    pub(super) fn choice(&self, value: &str, label: &str, chosen: bool) -> Choice {
        // A choice is offered by the server: a value is bounded, but may say anything.
        Choice::new(
            self.raw(value).chars().take(300).collect::<String>(),
            self.t(label),
            chosen,
        )
    }

    pub(super) fn shell(&self, title: &str, place: Option<Place>) -> Shell {
        Shell {
            title: self.t(title),
            place,
            person: Some(Signed {
                name: self.t("on-call engineer"),
                team: self.t("payments"),
                csrf: "csrf-token".to_owned(),
                places: Place::ALL.to_vec(),
                waiting: 1,
            }),
            livebars: Vec::new(),
            alarms: Vec::new(),
            notes: Vec::new(),
            now: NOW.parse().unwrap(),
            tz: self.tz,
        }
    }

    pub(super) fn live_shell(&self, title: &str, place: Option<Place>) -> Shell {
        let mut shell = self.shell(title, place);
        shell
            .livebars
            .push(self.live_bar(LivePhase::Active(self.when(2_472))));
        shell
    }

    pub(super) fn live_bar(&self, phase: LivePhase) -> LiveBar {
        LiveBar {
            href: Href::path(GRANT),
            profile: self.t("payments-admin"),
            cluster: self.t("prod-eu"),
            namespaces: self.t("payments, orders"),
            phase,
        }
    }

    pub(super) fn out_shell(&self, title: &str) -> Shell {
        Shell {
            person: None,
            ..self.shell(title, None)
        }
    }

    pub(super) fn card(&self, title: &str, badge: Option<Badge>, detail: Words) -> Card {
        Card {
            href: Href::path("/requests/1"),
            title: self.t(title),
            badge,
            detail,
        }
    }
}

/// A page as it is sent.
pub(super) fn html(page: &impl Template) -> String {
    page.render().expect("a page of plain values renders")
}
