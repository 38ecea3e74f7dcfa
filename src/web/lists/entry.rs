//! One entry of the ledger with its proof, and the exports that are checked without this service: of an entry, of a
//! grant, of the whole log.

use super::kept;
use crate::broker::export::{for_eyes, proved};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::Grant;
use crate::domain::transition::About;
use crate::ids::GrantId;
use crate::store::EntryLine;
use crate::web::pages::ledger::LedgerEntryPage;
use crate::web::pages::{Facts, Href, Place, Text, Words};
use crate::web::{App, Error, Result, Signed, page as answer, shell};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::header;
use serde_json::Value;

/// `GET /ledger/entries/{index}`: for readers of the ledger, and for whoever may see the grant it is about.
///
/// # Errors
/// There is no such entry, or the reader may not know of it.
pub async fn page(State(app): State<App>, signed: Signed, Path(index): Path<String>) -> Result<Response> {
    let index: u64 = index.parse().map_err(|_| Error::NotFound)?;
    let store = app.broker.store.as_ref();
    let line = store.entry(index).await?.ok_or(Error::NotFound)?;
    let is_reader = shell::may_open(app.config(), &signed.person, Place::Ledger);
    if !is_reader && !is_concerned(&app, &signed, &line).await? {
        return Err(Error::NotFound);
    }
    app.broker
        .note_read(&signed.person, &format!("entry {index}"), line.about.clone())
        .await?;
    let shell = shell::shell(&app, &signed, format!("Entry {index}"), Some(Place::Ledger)).await?;
    let proved = proved(store, index).await?.ok_or(Error::NotFound)?;
    // What is shown is what was proved, not what the look-up row says.
    let payload: Option<Value> = match &proved.entry.payload {
        Some((_, bytes)) => serde_json::from_slice(bytes)
            .map(Some)
            .map_err(|error| Error::Internal(error.to_string()))?,
        None => None,
    };
    let about = payload
        .as_ref()
        .and_then(|payload| serde_json::from_value(payload["about"].clone()).ok());
    let about: About = about.unwrap_or_default();
    let is_event = line.kind == EntryKind::AuditEvent;
    let bytes = proved.entry.payload.as_ref().filter(|_| is_event);
    let kept = bytes.and_then(|(_, bytes)| kept::told(bytes));
    let of_others = kept.map(|(told, _)| format!("{} {}", told.user, told.words.text));
    let says = of_others
        .as_deref()
        .or_else(|| payload.as_ref()?["says"].as_str());
    let pretty = payload
        .clone()
        .map(for_eyes)
        .map(|payload| serde_json::to_string_pretty(&payload).unwrap_or_default());
    let facts = facts(&line, &about).with("Entered", Words::default().at(shell.when(line.entered)));
    let entry_path = |index: u64| Href::path(format!("/ledger/entries/{index}"));
    let kind = proved
        .entry
        .read()
        .map_or(line.kind.name(), |read| read.kind)
        .to_owned();
    let view = LedgerEntryPage {
        index,
        kind: kind.replace('-', " ").into(),
        at: shell.when(line.at),
        words: Words::say(says.unwrap_or("What it said was erased; that it was entered stands.")),
        facts,
        controls: line
            .kind
            .controls()
            .iter()
            .map(|control| Text::from(*control))
            .collect(),
        payload: pretty.map(Text::prose),
        payload_missing: payload.is_none().then(|| {
            Words::say(
                "The payload was erased. Its digest is in the entry, so that the log can still be proved.",
            )
        }),
        leaf: hex::encode(proved.leaf).into(),
        proof: proved
            .entry
            .proof
            .iter()
            .map(|hash| Text::from(hex::encode(hash)))
            .collect(),
        head: format!(
            "{} entries, root {}",
            proved.head.size,
            BASE64.encode(proved.head.root)
        )
        .into(),
        checkpoint: Text::prose(&proved.checkpoint),
        download: Words::say("Download ")
            .link(
                Href::path(format!("/ledger/export/{}", file_of(index))),
                file_of(index),
            )
            .and(": this entry, its proof and the checkpoint. Then, with the public key had from elsewhere:"),
        verify: Text::prose(command(&app, index)?),
        neighbours: (
            (index > 0).then(|| entry_path(index - 1)),
            (index + 1 < proved.head.size).then(|| entry_path(index + 1)),
        ),
        shell,
    };
    answer(&view)
}

fn facts(line: &EntryLine, about: &About) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in [
        ("Who", &about.person),
        ("Team", &about.team),
        ("Cluster", &about.cluster),
        ("Profile", &about.profile),
    ] {
        if let Some(value) = value {
            facts = facts.with(name, Words::say(value));
        }
    }
    let pages = [
        (
            "Request",
            about
                .request
                .map(|id| (format!("/requests/{id}"), id.to_string())),
        ),
        (
            "Grant",
            about.grant.map(|id| (format!("/grants/{id}"), id.to_string())),
        ),
        (
            "Follow-up",
            about
                .follow_up
                .map(|id| (format!("/follow-ups/{id}"), id.to_string())),
        ),
        (
            "Export",
            about.grant.map(|id| {
                (
                    format!("/ledger/export/{id}.bgx"),
                    "everything about this grant, with proofs".to_owned(),
                )
            }),
        ),
    ];
    for (name, page) in pages {
        if let Some((path, words)) = page {
            facts = facts.with(name, Words::default().link(Href::path(path), words));
        }
    }
    facts.with("Kind", Words::default().code(line.kind.name()))
}

/// The name of an entry's export.
fn file_of(index: u64) -> String {
    format!("entry-{index}.bgx")
}

/// The line that checks the export as it was downloaded.
fn command(app: &App, index: u64) -> Result<String> {
    let keys = app
        .broker
        .verifier_keys()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let keys: Vec<_> = keys.iter().map(|key| format!("--key '{key}'")).collect();
    Ok(format!("breakglass verify {} {}", keys.join(" "), file_of(index)))
}

async fn is_concerned(app: &App, signed: &Signed, line: &EntryLine) -> Result<bool> {
    let Some(grant) = line.about.grant else {
        return Ok(false);
    };
    let grant: Option<Grant> = app.broker.store.grant(grant).await?;
    Ok(grant.is_some_and(|grant| shell::may_see_grant(app.config(), &signed.person, &grant)))
}

/// `GET /ledger/export/{file}`: `ledger.bgl`, `GRANT.bgx` or `entry-INDEX.bgx`; the last also for whoever may open the
/// entry's page.
///
/// # Errors
/// There is no such grant or entry, or the reader may not read it.
pub async fn export(State(app): State<App>, signed: Signed, Path(file): Path<String>) -> Result<Response> {
    if let Some(index) = entry_in(&file) {
        let line = app.broker.store.entry(index).await?.ok_or(Error::NotFound)?;
        let is_reader = shell::may_open(app.config(), &signed.person, Place::Ledger);
        if !is_reader && !is_concerned(&app, &signed, &line).await? {
            return Err(Error::NotFound);
        }
        let exported = app.broker.export_entry(index, &signed.person, is_reader).await?;
        return Ok(download(&file, JSON, exported.to_json().into()));
    }
    super::must_open(&app, &signed, Place::Ledger)?;
    if file == LOG {
        let log = app.broker.export_log(&signed.person).await?;
        return Ok(download(LOG, "application/octet-stream", Body::from_stream(log)));
    }
    let grant: GrantId = file
        .strip_suffix(".bgx")
        .and_then(|id| id.parse().ok())
        .ok_or(Error::NotFound)?;
    let exported = app.broker.export(grant, &signed.person).await?;
    Ok(download(&format!("{grant}.bgx"), JSON, exported.to_json().into()))
}

/// The whole log's name.
pub(super) const LOG: &str = "ledger.bgl";
const JSON: &str = "application/json; charset=utf-8";

fn entry_in(file: &str) -> Option<u64> {
    file.strip_prefix("entry-")?.strip_suffix(".bgx")?.parse().ok()
}

fn download(name: &str, kind: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, body).into_response()
}
