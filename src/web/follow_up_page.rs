//! What the follow-up's page says, from what is stored.

use super::error::{Result, sentence};
use super::follow_up_diff::diffs;
use super::form_link;
use super::pages::follow_up::{
    FollowUpCan, FollowUpPage, FollowUpState as Shown, ManualItem, ObjectBack, PullRequest as ShownPull,
    WayBack,
};
use super::pages::{Badge, DeadlineBar, Href, Look, Note, Shell, Text, Timeline, TimelineItem, Words};
use super::session::Signed;
use super::shell::{self, person_ref};
use super::words::{history, incident};
use super::{App, waits};
use crate::domain::deadline::{Deadline, DeadlineState};
use crate::domain::follow_up::{FollowUp, FollowUpState, Item, PullRequest};
use crate::domain::grant::Grant;
use crate::domain::job::JobKind;
use crate::domain::person::Person;
use crate::domain::policy::{Role, has_role};
use crate::store::EntryFilter;
use chrono::TimeDelta;

/// The page for this reader; `error`: why what they tried was not taken.
///
/// # Errors
/// The store's.
pub(super) async fn page_of(
    app: &App,
    signed: &Signed,
    follow_up: &FollowUp,
    error: Option<Text>,
) -> Result<FollowUpPage> {
    let title = format!("{} on {}: follow-up", follow_up.profile, follow_up.cluster);
    let shell = shell::shell(app, signed, title, None).await?;
    let grant = app.broker.store.grant(follow_up.grant).await?;
    let mut about = Words::default()
        .person(person_ref(app, &follow_up.requester))
        .and(format!(
            " of {} · {} on {} · ended ",
            follow_up.team, follow_up.profile, follow_up.cluster
        ))
        .at(shell.when(follow_up.from));
    if let Some(text) = grant.as_ref().and_then(|grant| grant.incident.as_ref()) {
        about = about.and(" · ");
        about.0.extend(incident(text).0);
    }
    let next = (!follow_up.is_closed()).then(|| Words::say(waits(follow_up)));
    let filter = EntryFilter {
        grant: Some(follow_up.grant),
        ..EntryFilter::default()
    };
    let told = history(app, signed, &shell, filter, next).await?;
    Ok(FollowUpPage {
        id: follow_up.id,
        grant: Href::path(format!("/grants/{}", follow_up.grant)),
        about,
        state: state(app, &shell, follow_up),
        diffs: diffs(follow_up),
        items: follow_up
            .items
            .iter()
            .map(|item| item_of(app, follow_up, item, &signed.person))
            .collect(),
        pull: follow_up
            .pull
            .as_ref()
            .map(|pull| pull_of(&shell, follow_up, pull)),
        way_back: way_back(&shell, follow_up, grant.as_ref()),
        deadlines: follow_up
            .deadlines
            .iter()
            .map(|deadline| bar(&shell, deadline))
            .collect(),
        notes: notes(app, &shell, follow_up).await?,
        can: can(app, follow_up, &signed.person),
        error,
        history: with_remarks(told, &shell, follow_up),
        shell,
    })
}

/// Remarks stand among the entries by their time; what comes next stays last.
fn with_remarks(Timeline(mut items): Timeline, shell: &Shell, follow_up: &FollowUp) -> Timeline {
    for remark in &follow_up.remarks {
        let words = Words::say(Text::prose(&remark.text).sentence());
        let known = items.iter().any(|item| item.words == words);
        if !known {
            let at = items
                .iter()
                .position(|item| item.when.as_ref().is_none_or(|when| when.at > remark.at))
                .unwrap_or(items.len());
            items.insert(at, TimelineItem::new(Look::Info, shell.when(remark.at), words));
        }
    }
    Timeline(items)
}

/// What it waits for, in words that go on a sentence.
fn waits(follow_up: &FollowUp) -> String {
    let open_items = follow_up
        .items
        .iter()
        .filter(|item| item.accepted.is_none())
        .count();
    let items = (open_items > 0).then(|| super::pages::count(open_items, "manual item", "manual items"));
    let base = match follow_up.state {
        FollowUpState::Capturing => "the record to settle and what drifted to be worked out",
        FollowUpState::NoDrift => "a review by somebody else",
        FollowUpState::Owed if follow_up.pull.is_some() => {
            "its pull request to be approved by somebody else and merged"
        }
        FollowUpState::Owed => return items.unwrap_or_else(|| "what must be done by hand".to_owned()),
        FollowUpState::Merged => "the cluster to become what was merged",
        FollowUpState::Rejected if follow_up.revert.is_some() => "the cluster to equal git again",
        FollowUpState::Rejected => {
            "a decision: revert the cluster, or explain and open the pull request again"
        }
        _ => "nothing",
    };
    match items {
        Some(items) => format!("{base}, and {items}"),
        None => base.to_owned(),
    }
}

fn state(app: &App, shell: &Shell, follow_up: &FollowUp) -> Shown {
    let closed = shell.when(follow_up.closed_at.unwrap_or(shell.now));
    let waits = Words::say(waits(follow_up));
    let next = follow_up.next_deadline();
    let by = shell.when(next.map_or(shell.now, |deadline| deadline.due));
    let late = next.is_some_and(|deadline| deadline.due < shell.now);
    match follow_up.state {
        FollowUpState::Capturing => Shown::Capturing { waits },
        FollowUpState::NoDrift => Shown::NoDrift {
            review_by: (follow_up.review_owed.is_some() && !follow_up.is_closed()).then_some(by),
        },
        FollowUpState::Owed => Shown::Owed { waits, by, late },
        FollowUpState::Merged => Shown::Merged { waits, by, late },
        FollowUpState::Converged => Shown::Converged { at: closed },
        FollowUpState::Reverted => Shown::Reverted { at: closed },
        FollowUpState::Rejected => {
            let said = follow_up.remarks.last().map_or(shell.now, |remark| remark.at);
            Shown::Rejected {
                by: "somebody at the forge".into(),
                at: shell.when(said),
            }
        }
        FollowUpState::Waived => match &follow_up.waived {
            Some((by, reason, at)) => Shown::Waived {
                by: person_ref(app, by),
                at: shell.when(*at),
                reason: Text::prose(reason),
            },
            None => Shown::Converged { at: closed },
        },
    }
}

/// What a chosen revert waits for, object by object, and the emergency to do it in.
fn way_back(shell: &Shell, follow_up: &FollowUp, grant: Option<&Grant>) -> Option<WayBack> {
    let (by, at) = follow_up.revert.as_ref()?;
    if follow_up.state != FollowUpState::Rejected {
        return None;
    }
    let objects = follow_up.inverse.iter().map(|own| ObjectBack {
        object: (&own.object).into(),
        badge: if own.equal {
            Badge::new(Look::Done, "equals git")
        } else {
            Badge::new(Look::Wait, "differs from git")
        },
        differs: (!own.differs.is_empty() && !own.equal).then(|| Text::prose(&own.differs).sentence()),
        command: (!own.command.is_empty() && !own.equal).then(|| Text::whole(&own.command)),
        by_hand: (!own.by_hand.is_empty() && !own.equal).then(|| Text::prose(&own.by_hand)),
    });
    Some(WayBack {
        by: (&by.name).into(),
        at: shell.when(*at),
        ask: grant.map(|grant| ask_for_revert(follow_up, grant)),
        objects: objects.collect(),
    })
}

/// The request form, filled in with the access that this emergency had.
fn ask_for_revert(follow_up: &FollowUp, grant: &Grant) -> Href {
    let pull = follow_up.pull.as_ref().map_or_else(String::new, |pull| {
        format!(" Pull request #{} was closed unmerged.", pull.number)
    });
    let reason = format!("Revert what emergency {} changed.{pull}", grant.id.short());
    let mut more = vec![("reason", reason.as_str())];
    more.extend(grant.incident.as_deref().map(|incident| ("incident", incident)));
    form_link::filled(&super::grants::like(grant), &more)
}

fn item_of(app: &App, follow_up: &FollowUp, item: &Item, reader: &Person) -> ManualItem {
    let (badge, more) = match (&item.accepted, &item.done) {
        (Some((by, _)), _) => (
            Badge::new(Look::Done, "accepted"),
            Some((" Accepted by ", by, String::new())),
        ),
        (None, Some((by, how, _))) => (
            Badge::new(Look::Wait, "to be accepted"),
            Some((" Done, says ", by, format!(": {how}"))),
        ),
        (None, None) => (Badge::new(Look::Wait, "to be done"), None),
    };
    let mut words = Words::say(Text::prose(sentence(&item.why)).sentence())
        .and(" ")
        .and(Text::prose(sentence(&item.how)).sentence());
    if let Some((said, by, how)) = more {
        words = words
            .and(said)
            .person(person_ref(app, by))
            .and(Text::prose(how).sentence())
            .and(".");
    }
    let open = !follow_up.is_closed() && app.broker.may_work_on(follow_up, reader);
    ManualItem {
        id: item.id,
        object: (&item.object).into(),
        words,
        patch: (!item.patch.is_empty()).then(|| Text::whole(&item.patch)),
        badge,
        can_link: open && item.accepted.is_none() && item.done.is_none(),
        can_accept: open
            && item.accepted.is_none()
            && !follow_up.requester.same_person(reader)
            && item
                .done
                .as_ref()
                .is_some_and(|(by, _, _)| !by.same_person(reader)),
    }
}

fn pull_of(shell: &Shell, follow_up: &FollowUp, pull: &PullRequest) -> ShownPull {
    let badge = match (follow_up.state, &pull.merge_sha) {
        (_, Some(_)) => Badge::new(Look::Done, "merged"),
        (FollowUpState::Rejected | FollowUpState::Reverted, None) => {
            Badge::new(Look::Late, "closed unmerged")
        }
        _ => Badge::new(Look::Wait, "open"),
    };
    let reviews = pull
        .reviews
        .iter()
        .map(|words| {
            // Whether an approval counts is said by the check alone: it knows whose it is.
            let badge = if words.ends_with(" approved") {
                Badge::new(Look::Done, "approved")
            } else if words.ends_with(" asked for changes") {
                Badge::new(Look::Late, "changes wanted")
            } else {
                Badge::new(Look::Info, "noted")
            };
            (badge, Words::say(Text::from(words).sentence()))
        })
        .collect();
    let checks = if pull.check.is_empty() {
        vec![]
    } else {
        vec![(
            Badge::new(Look::Info, "breakglass"),
            Words::say(Text::from(&pull.check).sentence()),
        )]
    };
    let seen = follow_up
        .remarks
        .last()
        .map_or(pull.opened_at, |remark| remark.at.max(pull.opened_at));
    ShownPull {
        href: Href::new(&*pull.url),
        name: format!("#{}", pull.number).into(),
        badge,
        seen: shell.when(seen),
        reviews,
        checks,
    }
}

fn bar(shell: &Shell, deadline: &Deadline) -> DeadlineBar {
    let until = deadline.met_at.unwrap_or(shell.now);
    let badge = match (deadline.met_at, deadline.state) {
        (Some(_), _) if deadline.was_late() => Badge::new(Look::Late, "met late"),
        (Some(_), _) => Badge::new(Look::Done, "met"),
        (None, DeadlineState::Breached) => Badge::new(Look::Late, "breached"),
        (None, _) if shell.now >= deadline.due => Badge::new(Look::Late, "late"),
        (None, DeadlineState::DueSoon) => Badge::new(Look::Wait, "due soon"),
        (None, DeadlineState::OnTime) => Badge::new(Look::Info, "on time"),
    };
    DeadlineBar {
        name: deadline.goal.name().into(),
        due: shell.when(deadline.due),
        met: deadline.met_at.map(|at| shell.when(at)),
        used: used(until - deadline.from, deadline.due - deadline.from),
        badge,
    }
}

/// How much of `whole` has passed, 0 to 100.
fn used(passed: TimeDelta, whole: TimeDelta) -> u8 {
    let whole = whole.num_milliseconds().max(1);
    let percent = passed.num_milliseconds().clamp(0, whole).saturating_mul(100) / whole;
    u8::try_from(percent).unwrap_or(100)
}

async fn notes(app: &App, shell: &Shell, follow_up: &FollowUp) -> Result<Vec<Note>> {
    let mut notes = vec![];
    if let Some(job) = waits::failing(app, job_of(follow_up)).await? {
        notes.push(waits::note(shell, &job));
    }
    if let Some(why) = follow_up
        .review_owed
        .as_ref()
        .filter(|_| follow_up.reviewed.is_none())
    {
        notes.push(Note::new(
            Look::Wait,
            "Somebody else must look at it.",
            Words::say(Text::prose(sentence(why)).sentence()),
        ));
    }
    if let Some((by, note, at)) = &follow_up.reviewed {
        let words = Words::say(Text::prose(sentence(note)).sentence())
            .and(format!(" {}, ", by.name))
            .at(shell.when(*at));
        notes.push(Note::new(Look::Done, "Reviewed.", words));
    }
    if let Some((by, text, at)) = &follow_up.explanation {
        let words = Words::say(Text::prose(sentence(text)).sentence())
            .and(format!(" {}, ", by.name))
            .at(shell.when(*at));
        notes.push(Note::new(Look::Info, "Explained.", words));
    }
    // Where git has no file for it, what drifted is told field by field.
    if follow_up.files.is_empty() && !follow_up.drift.is_empty() {
        let told: Vec<String> = follow_up
            .drift
            .iter()
            .take(20)
            .map(|row| format!("{} {}: {} → {}", row.object, row.path, row.before, row.after))
            .collect();
        notes.push(Note::new(
            Look::Info,
            "What drifted.",
            Words::say(Text::prose(told.join("; ")).sentence()),
        ));
    }
    Ok(notes)
}

/// The job that moves it on.
fn job_of(follow_up: &FollowUp) -> Option<JobKind> {
    let id = follow_up.id;
    match follow_up.state {
        FollowUpState::Capturing => Some(JobKind::Capture { follow_up: id }),
        _ if follow_up.is_closed() => None,
        _ => Some(JobKind::Follow { follow_up: id }),
    }
}

fn can(app: &App, follow_up: &FollowUp, person: &Person) -> FollowUpCan {
    let config = app.config();
    let compliance = has_role(config, person, Role::Compliance);
    let lead = config
        .teams
        .get(&follow_up.team)
        .is_some_and(|team| team.lead_groups.iter().any(|group| person.is_in(group)));
    let independent = follow_up.is_independent(person);
    let settled = follow_up.state != FollowUpState::Capturing;
    FollowUpCan {
        waive: compliance && independent && !follow_up.is_closed(),
        revert: follow_up.state == FollowUpState::Rejected
            && follow_up.is_party(person)
            && follow_up.revert.is_none(),
        explain: follow_up.state == FollowUpState::Rejected && follow_up.is_party(person),
        review: (compliance || lead) && independent && follow_up.reviewed.is_none() && settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_used_is_never_below_none_nor_above_all() {
        assert_eq!(used(TimeDelta::minutes(15), TimeDelta::hours(1)), 25);
        assert_eq!(used(TimeDelta::hours(9), TimeDelta::hours(1)), 100);
        assert_eq!(used(-TimeDelta::hours(9), TimeDelta::hours(1)), 0);
    }
}
