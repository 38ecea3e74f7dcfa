//! What work waits for that is held up from outside, and since when, in words.

use super::error::{Result, sentence};
use super::pages::{Look, Note, Shell, Text, Words};
use super::{App, Error};
use crate::domain::grant::{Grant, GrantState};
use crate::domain::job::{Job, JobKind};
use crate::identity::Refusal;
use crate::ids::RequestId;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// So many failing jobs are looked through for a page.
const MANY: u32 = 500;

/// The job that moves a grant on in the state it is in, and that may be held up.
pub(super) fn job_of(grant: &Grant) -> Option<JobKind> {
    match grant.state {
        GrantState::Provisioning => Some(JobKind::Provision { grant: grant.id }),
        GrantState::Ending => Some(JobKind::End { grant: grant.id }),
        _ => None,
    }
}

/// The job of that kind, where its last try failed.
///
/// # Errors
/// The store's.
pub(super) async fn failing(app: &App, kind: Option<JobKind>) -> Result<Option<Job>> {
    let Some(kind) = kind else {
        return Ok(None);
    };
    let job = app.broker.store.job(&kind.key()).await?;
    Ok(job.filter(|job| job.failing_since.is_some()))
}

/// "Waiting for the forge since …: …": what a failing job waits for.
pub(super) fn note(shell: &Shell, job: &Job) -> Note {
    Note::new(Look::Wait, title(job), words(Words::default(), shell, job, 1))
}

fn title(job: &Job) -> String {
    format!("Waiting for {}", job.waits_for.as_deref().unwrap_or("what fails"))
}

/// `words` go on with what `job` waits for; `things`: how many jobs wait for the same.
fn words(words: Words, shell: &Shell, job: &Job, things: usize) -> Words {
    let since = shell.when(job.failing_since.unwrap_or(job.due));
    let why = job.error.as_deref().unwrap_or("no reason is known");
    let mut words = words
        .and("since ")
        .at(since)
        .and(": ")
        .and(Text::prose(sentence(why)).sentence());
    if things > 1 {
        words = words.and(format!(" {things} things wait for it."));
    }
    words
        .and(" It is tried again by itself, next ")
        .at(shell.when(job.due))
        .and(".")
}

/// Each party that something waits for, with the job that waits longest and how many do.
pub(super) struct Party {
    /// The job that waits longest.
    pub job: Job,
    things: usize,
}

impl Party {
    /// Whom it waits for, since when, why, and when it is tried again.
    pub fn words(&self, shell: &Shell) -> Words {
        let begun = Words::default().strong(title(&self.job)).and(" ");
        words(begun, shell, &self.job, self.things)
    }
}

fn parties(jobs: Vec<Job>) -> Vec<Party> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        *counts.entry(title(job)).or_default() += 1;
    }
    // Those that wait longest come first.
    jobs.into_iter()
        .filter_map(|job| {
            let things = counts.remove(&title(&job))?;
            Some(Party { job, things })
        })
        .collect()
}

/// Everybody outside that something waits for now.
///
/// # Errors
/// The store's.
pub(super) async fn all(app: &App) -> Result<Vec<Party>> {
    Ok(parties(app.broker.store.failing_jobs(MANY).await?))
}

/// The channels by which the notices of a request could not go out yet.
///
/// # Errors
/// The store's.
pub(super) async fn of_request(app: &App, shell: &Shell, request: RequestId) -> Result<Vec<Note>> {
    let mut own = vec![];
    for job in app.broker.store.failing_jobs(MANY).await? {
        if let JobKind::Deliver { notice, .. } = &job.kind
            && let Some(notice) = app.broker.store.notice(*notice).await?
            && notice.request == Some(request)
        {
            own.push(job);
        }
    }
    let note = |party: Party| {
        let words = words(Words::default(), shell, &party.job, party.things);
        Note::new(Look::Wait, title(&party.job), words)
    };
    Ok(parties(own).into_iter().map(note).collect())
}

/// That the store cannot be written, on every page: nothing new is taken meanwhile.
pub(super) fn of_store(app: &App, shell: &Shell) -> Option<Note> {
    let failure = app.broker.store_failure()?;
    let (until, then) = match app.broker.store.halted() {
        None => ("until it can", "when there is room"),
        Some(_) => ("until this service is started again", "after that"),
    };
    let words = Words::say("since ")
        .at(shell.when(failure.since))
        .and(": ")
        .and(Text::prose(sentence(&failure.why)).sentence())
        .and(format!(
            " Nothing new is taken {until}: no request, no approval, no key. Access is taken away all the same, and \
             written down {then}."
        ));
    Some(Note::new(Look::Late, "The store cannot be written", words))
}

/// The provider could not be asked for a fresh sign-in.
pub(super) fn of_provider(refusal: &Refusal, tz: Tz) -> Error {
    let since = match refusal {
        Refusal::ProviderUnreachable { since, .. } => {
            let since = since.with_timezone(&tz).format("%H:%M:%S %Z");
            format!(" It has not answered since {since}.")
        }
        _ => String::new(),
    };
    Error::Unavailable {
        what: format!("{refusal}{since}"),
        detail: refusal.kind().to_owned(),
    }
}

/// An end that was done and could not be written down yet.
pub(super) fn of_unwritten(app: &App, shell: &Shell, grant: &Grant) -> Option<Note> {
    let end = app.broker.unwritten_end(grant.id)?;
    let mut words = Words::say("It was decided ").at(shell.when(end.since)).and(": ");
    words = words.and(Text::prose(end.cause.words()).sentence()).and(". ");
    words = match end.refused_after {
        Some(at) => words
            .and("Every further request is refused since ")
            .at(shell.when(at))
            .and(". "),
        None => words.and("Its rights are being deleted in the cluster. "),
    };
    if let Some(at) = end.removed_at {
        words = words
            .and("The key and its account are gone since ")
            .at(shell.when(at))
            .and(". ");
    }
    Some(Note::new(
        Look::Late,
        "This end is not written down yet.",
        words.and("That, and the proof of death, follow when the store can be written."),
    ))
}
