//! What needs to be known beside an access: what holds it up, how it died, when its key does.

use super::error::{Result, sentence};
use super::pages::{Look, Note, Shell, Text, Words};
use super::{App, waits};
use crate::broker::losses::Loss;
use crate::domain::grant::{Grant, GrantState};
use chrono::TimeDelta;

/// The notes of a grant, what is most urgent first.
///
/// # Errors
/// The store's.
pub(super) async fn notes(app: &App, shell: &Shell, grant: &Grant) -> Result<Vec<Note>> {
    let mut notes: Vec<Note> = waits::of_unwritten(app, shell, grant).into_iter().collect();
    if let Some(job) = waits::failing(app, waits::job_of(grant)).await? {
        notes.push(waits::note(shell, &job));
    }
    notes.extend(lost(shell, &app.broker.losses(grant).await?));
    if let Some(ending) = &grant.ending {
        if let Some(error) = ending
            .error
            .as_ref()
            .filter(|_| grant.state == GrantState::Ending)
        {
            let words =
                Words::say(Text::prose(sentence(error)).sentence()).and(" It is tried again until it works.");
            notes.push(Note::new(Look::Late, "Taking it away fails.", words));
        }
        if let Some(proof) = &ending.proof {
            let words = Words::say(Text::prose(sentence(proof)).sentence());
            notes.push(Note::new(Look::Done, "Proved dead.", words));
        }
    }
    if grant.first_change_at.is_none() && grant.state == GrantState::Active {
        notes.push(Note::new(Look::Info, "Nothing was changed yet.", ""));
    }
    if let Some(expires) = grant
        .reveals
        .iter()
        .filter(|r| r.over_at.is_none())
        .filter_map(|r| r.expires_at)
        .next_back()
        && grant.state == GrantState::Active
        // A token's whole seconds are no reason to worry anybody.
        && grant.ends_at.is_some_and(|ends| expires + TimeDelta::minutes(1) < ends)
    {
        let words = Words::say("The API server gave this key until ")
            .at(shell.when(expires))
            .and("; reveal a new one then.");
        notes.push(Note::new(
            Look::Wait,
            "The key dies before the access does.",
            words,
        ));
    }
    Ok(notes)
}

/// How many events of the time in which it was held did not come, and that there may be some of its own among them.
fn lost(shell: &Shell, losses: &[Loss]) -> Option<Note> {
    let (first, last) = (losses.first()?, losses.iter().map(|loss| loss.to).max()?);
    let events = losses.iter().map(|loss| loss.events).sum::<u64>();
    let (noun, verb) = if events == 1 {
        ("event", "is")
    } else {
        ("events", "are")
    };
    let words = Words::say(format!("{events} {noun} that its API server counted between "))
        .at(shell.when(first.from))
        .and(" and ")
        .at(shell.when(last))
        .and(format!(
            " {verb} lost to this record, and may be of this access. Which, only the API server's own log tells: hold \
             it against the ledger with breakglass verify --audit-log."
        ));
    Some(Note::new(
        Look::Late,
        "Some of what was done may be missing.",
        words,
    ))
}
