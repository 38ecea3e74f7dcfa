//! The lines that a question to the ledger finds, as a table; and the fields that it is asked by.

use super::feed::{badge, target};
use super::feed_query::follow_ups;
use super::kept::Kept;
use super::ledger_query::{Asked, shown};
use crate::broker::Broker;
use crate::domain::follow_up::FollowUp;
use crate::domain::grant::Grant;
use crate::ids::GrantId;
use crate::store::{EntryLine, StoreError};
use crate::web::pages::ledger::Typed;
use crate::web::pages::{Href, Look, Shell, Table, Words};
use crate::web::words::incident;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What is typed rather than chosen.
#[must_use]
pub fn typed(asked: &Asked, tz: Tz) -> Vec<Typed> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let field = |name, label, kind, value: String, hint| Typed {
        name,
        label,
        kind,
        value: value.into(),
        hint,
    };
    let moment = "datetime-local";
    vec![
        field("from", "From", moment, shown(asked.from, tz), ""),
        field("to", "Until", moment, shown(asked.to, tz), ""),
        field("person", "Person", "text", text(&asked.person), "name as shown"),
        field(
            "object",
            "Object",
            "text",
            text(&asked.object),
            "Deployment payments/web",
        ),
        field(
            "field",
            "Field of it",
            "text",
            text(&asked.field),
            "spec.replicas",
        ),
    ]
}

/// What the reader should know of the answer.
#[must_use]
pub fn notes(asked: &Asked) -> Vec<Words> {
    let mut notes = vec![];
    if asked.field.is_some() && asked.object.is_none() {
        notes.push(Words::say(
            "A field is of an object: name that too, as a line of the record does (Deployment payments/web). Until then \
             the field is not asked for.",
        ));
    } else if asked.field.is_some() {
        notes.push(Words::say(
            "Shown is whatever may have written this field. Where the record cannot say no, because a body was not \
             kept or the object came or went whole, the answer is yes.",
        ));
    }
    if asked.from.is_some() || asked.to.is_some() {
        notes.push(Words::say("Newest first, by when it happened."));
    }
    notes
}

/// The same answer for machines.
#[must_use]
pub fn exports(asked: &Asked) -> Words {
    let text = asked.text();
    Words::say("The same as ")
        .link(Href::path(format!("/ledger.ndjson{text}")), "NDJSON")
        .and(" or ")
        .link(Href::path(format!("/ledger.csv{text}")), "CSV")
        .and(", with all facts.")
}

/// What others did in the time that is asked for: what to know of it, and the lines; nothing where none of it is kept.
///
/// # Errors
/// The store's.
pub async fn others(
    broker: &Broker,
    shell: &Shell,
    kept: &Kept,
) -> Result<Option<(Words, Table)>, StoreError> {
    if kept.lines.is_empty() && !kept.more {
        return Ok(None);
    }
    let mut words = Words::say(
        "Events that are of no grant and are kept, newest first. Those that were imported are counted, not kept; one that \
         came more than ten minutes late is not looked for here.",
    );
    if kept.more {
        words = words.and(
            " There is more than is looked through at once: narrow the time, the cluster or the person.",
        );
    }
    Ok(Some((words, table(broker, shell, &kept.lines, false).await?)))
}

/// The lines; with why they were done and who reviewed it, where that is asked for.
///
/// # Errors
/// The store's.
pub async fn table(
    broker: &Broker,
    shell: &Shell,
    lines: &[EntryLine],
    with_why: bool,
) -> Result<Table, StoreError> {
    let columns: &[&'static str] = if with_why {
        &["#Entry", "When", "Kind", "What", "Why, and who reviewed it"]
    } else {
        &["#Entry", "When", "Kind", "What"]
    };
    let mut table = Table::new("Entries", columns, "Nothing in the record answers this.");
    let (mut grants, mut reviews) = (BTreeMap::new(), BTreeMap::new());
    if with_why {
        reviews = follow_ups(broker, lines).await?;
        for id in lines.iter().filter_map(|line| line.about.grant) {
            if let Entry::Vacant(unknown) = grants.entry(id) {
                unknown.insert(broker.store.grant(id).await?);
            }
        }
    }
    for line in lines {
        let number = Words::default().link(
            Href::path(format!("/ledger/entries/{}", line.index)),
            line.index.to_string(),
        );
        let what = match target(&line.about) {
            Some((href, name)) => Words::say(&line.sentence).and(" · ").link(Href::path(href), name),
            None => Words::say(&line.sentence),
        };
        let what = match &line.about.person {
            Some(person) if with_why => Words::default().strong(person).and(" ").followed_by(what),
            _ => what,
        };
        let badge = badge(line.kind);
        let look = (badge.look == Look::Late).then_some(Look::Late);
        let mut cells = vec![
            number,
            Words::default().at(shell.when(line.at).clock()),
            Words::default().badge(badge),
            what,
        ];
        if with_why {
            let review = line.about.request.and_then(|request| reviews.get(&request));
            cells.push(why(shell, line.about.grant, &grants, review.map(AsRef::as_ref)));
        }
        table = table.row(look, cells);
    }
    Ok(table)
}

fn why(
    shell: &Shell,
    grant: Option<GrantId>,
    grants: &BTreeMap<GrantId, Option<Grant>>,
    follow_up: Option<&FollowUp>,
) -> Words {
    let Some(Some(grant)) = grant.map(|id| grants.get(&id).and_then(Option::as_ref)) else {
        return Words::say("of no access that was lent");
    };
    let mut words = Words::say(&grant.reason);
    if let Some(text) = &grant.incident {
        words = words.and(" · ").followed_by(incident(text));
    }
    words = words.and(" · ");
    let Some(follow_up) = follow_up else {
        return words.and("the access is not over, so nobody has reviewed it");
    };
    let page = Href::path(format!("/follow-ups/{}", follow_up.id));
    match &follow_up.reviewed {
        Some((by, note, at)) => words
            .link(page, format!("reviewed by {}", by.name))
            .and(" ")
            .at(shell.when(*at))
            .and(format!(": {note}")),
        None => words.link(page, format!("not reviewed; {}", follow_up.state.name())),
    }
}
