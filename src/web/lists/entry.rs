//! One entry of the ledger with its proof, and the export of everything about one grant.

use crate::broker::export::{for_eyes, proved};
use crate::domain::grant::Grant;
use crate::domain::transition::About;
use crate::ids::GrantId;
use crate::store::EntryLine;
use crate::web::pages::ledger::LedgerEntryPage;
use crate::web::pages::{Facts, Href, Place, Text, Words};
use crate::web::{App, Error, Result, Signed, page as answer, shell};
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
    let says = payload.as_ref().and_then(|payload| payload["says"].as_str());
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
        verify: Text::prose(command(&app, about.grant)?),
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

fn command(app: &App, grant: Option<GrantId>) -> Result<String> {
    let key = app
        .broker
        .verifier_key()
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok(match grant {
        Some(grant) => format!("breakglass verify --key '{key}' {grant}.bgx"),
        None => format!("breakglass verify --key '{key}' breakglass.db"),
    })
}

async fn is_concerned(app: &App, signed: &Signed, line: &EntryLine) -> Result<bool> {
    let Some(grant) = line.about.grant else {
        return Ok(false);
    };
    let grant: Option<Grant> = app.broker.store.grant(grant).await?;
    Ok(grant.is_some_and(|grant| shell::may_see_grant(app.config(), &signed.person, &grant)))
}

/// `GET /ledger/export/{grant}.bgx`.
///
/// # Errors
/// There is no such grant, or the reader does not read the ledger.
pub async fn export(State(app): State<App>, signed: Signed, Path(file): Path<String>) -> Result<Response> {
    super::must_open(&app, &signed, Place::Ledger)?;
    let grant: GrantId = file
        .strip_suffix(".bgx")
        .and_then(|id| id.parse().ok())
        .ok_or(Error::NotFound)?;
    let bundle = app.broker.export(grant, &signed.person).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{grant}.bgx\""),
        ),
    ];
    Ok((headers, bundle.to_json()).into_response())
}
