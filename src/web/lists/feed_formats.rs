//! The feed for programs: Atom, JSON Feed 1.1, CSV. The same filter as the page, with every fact.

use super::feed::target;
use super::feed_query::{FeedQuery, Told, tell};
use super::must_open;
use crate::audit::visible;
use crate::domain::transition::About;
use crate::web::csrf::Fields;
use crate::web::pages::Place;
use crate::web::{App, Error, Result, Signed};
use atom_syndication as atom;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Value, json};

/// Entries of a document that is fetched again and again.
const FEED: u32 = 100;
/// Rows of a table that is fetched once.
const TABLE: u32 = 10_000;

/// A feed with where it came from.
struct Reading {
    told: Vec<Told>,
    next: Option<u64>,
    query: FeedQuery,
    base: String,
    /// The newest checkpoint: whoever keeps the feed can hold the log to it.
    checkpoint: String,
}

async fn read(app: &App, signed: &Signed, raw: Option<String>, form: &str, limit: u32) -> Result<Reading> {
    must_open(app, signed, Place::Feed)?;
    let query = FeedQuery::read(&Fields::parse(raw.unwrap_or_default().as_bytes()));
    let asked = format!("the feed as {form} {}", query.text());
    app.broker
        .note_read(&signed.person, asked.trim_end(), About::default())
        .await?;
    let found = query.find(&app.broker, limit).await?;
    let told = tell(&app.broker, found.lines).await?;
    Ok(Reading {
        told,
        next: found.next,
        query,
        checkpoint: app.broker.newest_checkpoint().await?,
        base: app.config().server.public_url.base().to_owned(),
    })
}

/// `GET /feed.atom` (RFC 4287).
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn atom(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let reading = read(&app, &signed, raw, "Atom", FEED).await?;
    let updated = reading
        .told
        .first()
        .map_or_else(|| app.broker.now(), |told| told.line.entered);
    let address = format!("{}/feed.atom{}", reading.base, reading.query.text());
    let feed = atom::Feed {
        title: "Emergency access".into(),
        id: address.clone(),
        updated: updated.fixed_offset(),
        subtitle: Some(atom::Text::plain(format!(
            "Newest checkpoint of the ledger:\n{}",
            reading.checkpoint
        ))),
        authors: vec![atom::Person {
            name: "breakglass".into(),
            ..atom::Person::default()
        }],
        links: vec![
            atom::Link {
                href: address,
                rel: "self".into(),
                ..atom::Link::default()
            },
            atom::Link {
                href: format!("{}/feed{}", reading.base, reading.query.text()),
                rel: "alternate".into(),
                ..atom::Link::default()
            },
        ],
        entries: reading
            .told
            .iter()
            .map(|told| atom_entry(told, &reading.base))
            .collect(),
        ..atom::Feed::default()
    };
    Ok((
        [(header::CONTENT_TYPE, "application/atom+xml; charset=utf-8")],
        feed.to_string(),
    )
        .into_response())
}

fn atom_entry(told: &Told, base: &str) -> atom::Entry {
    let line = &told.line;
    // Characters that XML cannot hold come in object names too.
    let facts = facts(told)
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", visible(&value)));
    let text: Vec<_> = std::iter::once(visible(&line.sentence)).chain(facts).collect();
    let own = format!("{base}/ledger/entries/{}", line.index);
    let about = target(&line.about).map_or_else(|| own.clone(), |(path, _)| format!("{base}{path}"));
    atom::Entry {
        title: visible(&line.sentence).into(),
        id: own.clone(),
        updated: line.entered.fixed_offset(),
        published: Some(line.at.fixed_offset()),
        categories: vec![atom::Category {
            term: line.kind.name().to_owned(),
            ..atom::Category::default()
        }],
        links: vec![
            atom::Link {
                href: about,
                rel: "alternate".into(),
                ..atom::Link::default()
            },
            atom::Link {
                href: own,
                rel: "via".into(),
                ..atom::Link::default()
            },
        ],
        content: Some(atom::Content {
            value: Some(text.join("\n")),
            content_type: Some("text".into()),
            ..atom::Content::default()
        }),
        ..atom::Entry::default()
    }
}

/// `GET /feed.json` (JSON Feed 1.1).
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn json(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let reading = read(&app, &signed, raw, "JSON", FEED).await?;
    let (base, text) = (&reading.base, reading.query.text());
    let mut feed = json!({
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Emergency access",
        "home_page_url": format!("{base}/feed{text}"),
        "feed_url": format!("{base}/feed.json{text}"),
        "_breakglass": {"checkpoint": reading.checkpoint},
        "items": reading.told.iter().map(|told| item(told, base)).collect::<Vec<_>>(),
    });
    if let Some(next) = reading.next {
        let before = if text.is_empty() { "?before=" } else { "&before=" };
        feed["next_url"] = format!("{base}/feed.json{text}{before}{next}").into();
    }
    Ok((
        [(header::CONTENT_TYPE, "application/feed+json; charset=utf-8")],
        feed.to_string(),
    )
        .into_response())
}

fn item(told: &Told, base: &str) -> Value {
    let line = &told.line;
    let own = format!("{base}/ledger/entries/{}", line.index);
    json!({
        "id": own,
        "url": target(&line.about).map_or_else(|| own.clone(), |(path, _)| format!("{base}{path}")),
        "external_url": own,
        "title": visible(&line.sentence),
        "content_text": visible(&line.sentence),
        "date_published": line.at.to_rfc3339(),
        "date_modified": line.entered.to_rfc3339(),
        "tags": [line.kind.name()],
        // The format leaves names that begin with an underscore to whoever writes it.
        "_breakglass": {
            "index": line.index,
            "kind": line.kind.name(),
            "controls": line.kind.controls(),
            "about": line.about,
            "facts": told.facts,
        },
    })
}

/// `GET /feed.csv`.
///
/// # Errors
/// Not a reader of the feed, or the store's.
pub async fn csv(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let reading = read(&app, &signed, raw, "CSV", TABLE).await?;
    table("feed.csv", &COLUMNS, reading.told.iter().map(cells))
}

/// The columns of lines of the ledger as a table.
pub const COLUMNS: [&str; 14] = [
    "entry",
    "kind",
    "happened",
    "entered",
    "what",
    "person",
    "team",
    "cluster",
    "profile",
    "request",
    "grant",
    "follow_up",
    "controls",
    "facts",
];

/// A line under [`COLUMNS`].
#[must_use]
pub fn cells(told: &Told) -> Vec<String> {
    let (line, about) = (&told.line, &told.line.about);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        line.index.to_string(),
        line.kind.name().to_owned(),
        line.at.to_rfc3339(),
        line.entered.to_rfc3339(),
        line.sentence.clone(),
        text(&about.person),
        text(&about.team),
        text(&about.cluster),
        text(&about.profile),
        about.request.map(|id| id.to_string()).unwrap_or_default(),
        about.grant.map(|id| id.to_string()).unwrap_or_default(),
        about.follow_up.map(|id| id.to_string()).unwrap_or_default(),
        line.kind.controls().join("; "),
        told.facts.to_string(),
    ]
}

/// A CSV document (RFC 4180) whose cells no spreadsheet runs.
pub fn table(name: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<Response> {
    let failed = |error: ::csv::Error| Error::Internal(format!("a table could not be written: {error}"));
    let mut writer = ::csv::Writer::from_writer(vec![]);
    writer.write_record(head).map_err(failed)?;
    for row in rows {
        writer
            .write_record(row.iter().map(|cell| inert(cell)))
            .map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::Internal(format!("a table could not be written: {error}")))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// A cell that spreadsheets take as text: what begins like a formula is led by an apostrophe
/// (OWASP, CSV injection), and control characters are written out.
fn inert(cell: &str) -> String {
    let cell = visible(cell);
    // Full-width forms begin a formula in some locales.
    if cell
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '|', '%'])
    {
        format!("'{cell}")
    } else {
        cell
    }
}

/// The facts of an entry, flat.
fn facts(told: &Told) -> Vec<(String, String)> {
    let about = serde_json::to_value(&told.line.about).unwrap_or_default();
    let mut flat = vec![];
    for (name, value) in about.as_object().into_iter().flatten() {
        flat.push((name.clone(), plain(value)));
    }
    for (name, value) in told.facts.as_object().into_iter().flatten() {
        flat.push((name.clone(), plain(value)));
    }
    flat
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::domain::entry_kind::EntryKind;
    use crate::store::EntryLine;

    fn told(sentence: &str) -> Told {
        let line = EntryLine {
            index: 7,
            kind: EntryKind::FirstChange,
            at: Time::UNIX_EPOCH,
            entered: Time::UNIX_EPOCH,
            about: About {
                team: Some("payments".into()),
                ..About::default()
            },
            sentence: sentence.to_owned(),
        };
        Told {
            line,
            facts: json!({"n": 1, "note": "=1+1"}),
        }
    }

    #[test]
    fn a_spreadsheet_runs_nothing_somebody_typed() {
        for formula in [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            " =1",
            "\r=1",
            "＝1",
        ] {
            let cell = inert(formula);
            assert!(cell.starts_with(['\'', '\\']), "{formula:?} became {cell:?}");
        }
        assert_eq!(inert("scaled payments/web 2 → 5"), "scaled payments/web 2 → 5");
    }

    #[test]
    fn atom_holds_any_text_and_reads_back() {
        let feed = atom::Feed {
            entries: vec![atom_entry(
                &told("a <b> & \u{1}\u{202e} \u{fffe}"),
                "https://b.test",
            )],
            ..atom::Feed::default()
        };
        let text = feed.to_string();
        let read = atom::Feed::read_from(text.as_bytes()).unwrap();
        let entry = &read.entries[0];
        assert!(
            entry.title.value.contains("a <b> & \\u{1}"),
            "{}",
            entry.title.value
        );
        assert_eq!(entry.id, "https://b.test/ledger/entries/7");
        assert!(
            entry
                .content
                .as_ref()
                .unwrap()
                .value
                .as_ref()
                .unwrap()
                .contains("team: payments")
        );
    }

    #[test]
    fn a_json_feed_item_holds_every_fact() {
        let item = item(&told("scaled"), "https://b.test");
        assert_eq!(item["_breakglass"]["facts"]["note"], "=1+1");
        assert_eq!(item["_breakglass"]["about"]["team"], "payments");
        assert_eq!(item["url"], "https://b.test/ledger/entries/7");
    }
}
