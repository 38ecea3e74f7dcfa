//! What is asked of the ledger: one question for its page and for every form that machines read.

use super::chooser::{query, set};
use super::feed_query::Found;
use crate::audit;
use crate::broker::Broker;
use crate::broker::export::Reader;
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::ids::GrantId;
use crate::store::{EntryFilter, Notable, StoreError};
use crate::web::csrf::Fields;
use crate::web::{Error, Result};
use chrono::{
    DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// How many changes of one object are looked into for one of its fields; the pager goes on from there.
const LOOKED_INTO: usize = 2_000;
const CHUNK: u32 = 200;

/// The question. Links carry times in UTC, so that they ask the same of everybody.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of this kind.
    pub kind: Option<EntryKind>,
    /// Of this team.
    pub team: Option<String>,
    /// Of this cluster.
    pub cluster: Option<String>,
    /// Of this grant.
    pub grant: Option<GrantId>,
    /// Done by somebody of this name.
    pub person: Option<String>,
    /// On this object, in the words of the record.
    pub object: Option<String>,
    /// Of that object: what may have written this field.
    pub field: Option<String>,
    /// From then on.
    pub from: Option<Time>,
    /// Until then.
    pub to: Option<Time>,
    /// Below this index.
    pub before: Option<u64>,
    /// A time was given by the reader's clock.
    pub is_local: bool,
}

impl Asked {
    /// Reads the parameters. Unknown kinds mean "all", as for a page that was linked long ago.
    ///
    /// # Errors
    /// A time that is none: the answer to another question would be believed.
    pub fn read(raw: Option<String>, tz: Tz) -> Result<Self> {
        let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
        let (from, local_from) = time(fields.get("from"), tz, false)?;
        let (to, local_to) = time(fields.get("to"), tz, true)?;
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(Error::Bad(
                "the time this ends at is before the time it begins at".to_owned(),
            ));
        }
        Ok(Self {
            kind: EntryKind::from_name(fields.get("kind")),
            team: set(fields.get("team")),
            cluster: set(fields.get("cluster")),
            grant: fields.get("grant").parse().ok(),
            person: set(fields.get("person")),
            object: set(fields.get("object")),
            field: set(fields.get("field")),
            from,
            to,
            before: fields.get("before").parse().ok(),
            is_local: local_from || local_to,
        })
    }

    /// Its parameters.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, Option<String>)> {
        let utc = |time: Time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        vec![
            ("kind", self.kind.map(|kind| kind.name().to_owned())),
            ("team", self.team.clone()),
            ("cluster", self.cluster.clone()),
            ("grant", self.grant.map(|grant| grant.to_string())),
            ("person", self.person.clone()),
            ("object", self.object.clone()),
            ("field", self.field.clone()),
            ("from", self.from.map(utc)),
            ("to", self.to.map(utc)),
            ("before", self.before.map(|before| before.to_string())),
        ]
    }

    /// The question without the place in the list.
    #[must_use]
    pub fn text(&self) -> String {
        query(self.pairs().into_iter().filter(|(name, _)| *name != "before"))
    }

    /// Up to `limit` lines, newest first; by when it happened, where a time is asked for.
    ///
    /// # Errors
    /// The store's; or a segment cannot be read.
    pub async fn find(&self, broker: &Broker, limit: u32) -> std::result::Result<Found, StoreError> {
        let store = broker.store.as_ref();
        let field = self.field.as_ref().filter(|_| self.object.is_some());
        let mut filter = EntryFilter {
            kinds: self.kind.into_iter().collect(),
            team: self.team.clone(),
            cluster: self.cluster.clone(),
            grant: self.grant,
            person: self.person.clone(),
            object: self.object.clone(),
            from: self.from,
            to: self.to,
            before: self.before,
            notable: field.map(|_| Notable::Change),
            limit: if field.is_some() { CHUNK } else { limit },
            ..EntryFilter::default()
        };
        let mut reader = Reader::new(store);
        let mut found = Found::default();
        let mut looked_into = 0;
        loop {
            let lines = store.entries(filter.clone()).await?;
            let is_last = lines.len() < filter.limit as usize;
            for line in lines {
                filter.before = Some(line.index);
                looked_into += 1;
                if let Some(field) = field {
                    let payload = reader.payload(line.index).await?;
                    let event = payload
                        .as_ref()
                        .and_then(|payload| payload.pointer("/facts/event"));
                    if event.is_some_and(|event| !audit::may_write(event, field)) {
                        continue;
                    }
                }
                found.lines.push(line);
                if found.lines.len() == limit as usize {
                    found.next = filter.before;
                    return Ok(found);
                }
            }
            if is_last || looked_into >= LOOKED_INTO {
                found.next = filter.before.filter(|_| !is_last);
                return Ok(found);
            }
        }
    }
}

/// A time of a form or of a link, and whether it went by the reader's clock. One given to the minute, or the day, is all
/// of it: `until` its end.
fn time(text: &str, tz: Tz, until: bool) -> Result<(Option<Time>, bool)> {
    let text = text.trim();
    if text.is_empty() {
        return Ok((None, false));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok((Some(time.with_timezone(&Utc)), false));
    }
    let wrong = || {
        Error::Bad(format!(
            "{text:?} is no time: write it as 2026-11-19T14:32, by your own clock, or with its zone as 2026-11-19T14:32:00Z"
        ))
    };
    let whole = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok();
    let (naive, more) = if let Some(second) = whole(text) {
        (second, TimeDelta::milliseconds(999))
    } else if let Ok(minute) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M") {
        (minute, TimeDelta::milliseconds(59_999))
    } else if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        (day.and_time(NaiveTime::MIN), TimeDelta::milliseconds(86_399_999))
    } else {
        return Err(wrong());
    };
    let naive = if until {
        naive.checked_add_signed(more).ok_or_else(wrong)?
    } else {
        naive
    };
    let local = match tz.from_local_datetime(&naive) {
        LocalResult::Single(time) => time,
        // The hour that comes twice is meant whole.
        LocalResult::Ambiguous(first, second) => {
            if until {
                second
            } else {
                first
            }
        }
        LocalResult::None => {
            return Err(Error::Bad(format!(
                "{text} did not happen in {}: the clocks were put forward over it",
                tz.name()
            )));
        }
    };
    Ok((Some(local.with_timezone(&Utc)), true))
}

/// As a field of a form shows it: by the reader's clock, to the second.
#[must_use]
pub fn shown(time: Option<Time>, tz: Tz) -> String {
    time.map_or_else(String::new, |time| {
        time.with_timezone(&tz).format("%Y-%m-%dT%H:%M:%S").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str, tz: Tz) -> Asked {
        Asked::read(Some(raw.to_owned()), tz).unwrap()
    }

    #[test]
    fn a_minute_by_the_readers_clock_is_all_of_it_and_is_linked_in_utc() {
        let asked = read("from=2026-11-19T14:32&to=2026-11-19T14:32", Tz::Europe__Berlin);
        assert!(asked.is_local);
        assert_eq!(
            asked.text(),
            "?from=2026-11-19T13%3A32%3A00Z&to=2026-11-19T13%3A32%3A59.999Z"
        );
        let again = read(asked.text().trim_start_matches('?'), Tz::Asia__Tokyo);
        assert_eq!(
            (again.from, again.to, again.is_local),
            (asked.from, asked.to, false)
        );
        assert_eq!(shown(again.from, Tz::Asia__Tokyo), "2026-11-19T22:32:00");
        // What the form shows is asked again by pressing the button.
        let fields = format!(
            "from={}&to={}",
            shown(asked.from, Tz::UTC),
            shown(asked.to, Tz::UTC)
        );
        assert_eq!(read(&fields, Tz::UTC).to, asked.to);
    }

    #[test]
    fn the_hour_that_comes_twice_is_meant_whole_and_one_that_never_was_is_refused() {
        let twice = read("from=2026-10-25T02:30&to=2026-10-25T02:30", Tz::Europe__Berlin);
        let over = twice.to.unwrap() - twice.from.unwrap();
        assert_eq!(over, TimeDelta::milliseconds(3_600_000 + 59_999));
        let never = Asked::read(Some("from=2026-03-29T02:30".to_owned()), Tz::Europe__Berlin);
        assert!(never.unwrap_err().to_string().contains("did not happen"));
    }

    #[test]
    fn a_time_that_is_none_is_said_to_be_none() {
        for bad in [
            "from=yesterday",
            "to=2026-13-01",
            "from=14:32",
            "to=2026-11-19T25:00",
        ] {
            let error = Asked::read(Some(bad.to_owned()), Tz::UTC)
                .unwrap_err()
                .to_string();
            assert!(error.contains("is no time"), "{error}");
        }
        let backwards = Asked::read(Some("from=2026-11-20&to=2026-11-19".to_owned()), Tz::UTC);
        assert!(
            backwards
                .unwrap_err()
                .to_string()
                .contains("before the time it begins")
        );
    }

    #[test]
    fn a_question_survives_being_written_and_read() {
        let raw = "kind=audit-event&team=payments&person=Olga+Oncall&object=Deployment+payments%2Fweb&field=spec.replicas&before=12";
        let asked = read(raw, Tz::UTC);
        assert_eq!(asked.object.as_deref(), Some("Deployment payments/web"));
        assert_eq!(format!("{}&before=12", asked.text()), format!("?{raw}"));
    }
}
