//! Ledger: is the record whole? What the broker itself found, and how to find out without it.

use super::chooser::{self, filter, names, query};
use super::entry::LOG;
use super::kept::{Kept, kept};
use super::ledger_query::Asked;
use super::{must_open, timeline};
use crate::broker::verify::Checked;
use crate::broker::witness::Cosigned;
use crate::config::Config;
use crate::domain::entry_kind::EntryKind;
use crate::domain::transition::About;
use crate::ledger::{SignedCheckpoint, VerifierKey};
use crate::store::Head;
use crate::web::pages::ledger::LedgerPage;
use crate::web::pages::{Badge, Facts, Href, Look, Place, Shell, Text, Words, count};
use crate::web::{App, Error, Result, Signed, page as answer, shell};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

const PAGE: u32 = 50;

/// `GET /ledger`.
///
/// # Errors
/// Not a reader of the ledger, or the store's.
pub async fn page(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    must_open(&app, &signed, Place::Ledger)?;
    let asked = Asked::read(raw, signed.tz)?;
    if asked.is_local {
        return Ok(Redirect::to(&format!("/ledger{}", query(asked.pairs()))).into_response());
    }
    let broker = &app.broker;
    broker
        .note_read(
            &signed.person,
            format!("its list {}", asked.text()).trim_end(),
            About::default(),
        )
        .await?;
    let shell = shell::shell(&app, &signed, "Ledger", Some(Place::Ledger)).await?;
    let head = broker.store.head().await?;
    let checked = broker.ledger_checked().await?;
    let found = asked.find(broker, PAGE).await?;
    let shown = found
        .lines
        .first()
        .zip(found.lines.last())
        .map(|(first, last)| (first.index, last.index));
    // Beside the first page of lines: others' events have no place in the list to go on from.
    let others = match asked.before {
        None => kept(&asked, broker, PAGE as usize * 4).await?,
        Some(_) => Kept::default(),
    };
    let keys = broker
        .verifier_keys()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let checkpoint = broker.newest_checkpoint().await?;
    let (integrity, completeness) = verdicts(&shell, checked.as_ref());
    let config = app.config();
    let kinds = EntryKind::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), kind.name().replace('-', " ")));
    let view = LedgerPage {
        headline: headline(checked.as_ref()),
        integrity,
        completeness,
        facts: witnesses(
            &shell,
            facts(&shell, &head, &keys, checked.as_ref()),
            &broker.cosigned().await?,
            config,
        ),
        checkpoint: Text::prose(&checkpoint),
        verify: commands(&keys, config.server.public_url.base()),
        gaps: gaps(checked.as_ref()),
        filters: vec![
            filter("kind", "Kind", asked.kind.map(EntryKind::name), kinds),
            filter("team", "Team", asked.team.as_deref(), names(config.teams.keys())),
            filter(
                "cluster",
                "Cluster",
                asked.cluster.as_deref(),
                names(config.clusters.keys()),
            ),
        ],
        typed: timeline::typed(&asked, signed.tz),
        notes: timeline::notes(&asked),
        exports: timeline::exports(&asked),
        entries: timeline::table(broker, &shell, &found.lines, asked.object.is_some()).await?,
        others: timeline::others(broker, &shell, &others).await?,
        pager: chooser::pager("/ledger", &asked.pairs(), shown, found.next),
        shell,
    };
    answer(&view)
}

fn headline(checked: Option<&Checked>) -> Words {
    match checked {
        None => Words::say("The record has not been checked since this service started."),
        Some(checked) if !checked.whole => Words::say("The record was altered. Do not rely on it."),
        Some(checked) if checked.holes_total > 0 => {
            Words::say("The record is unaltered. It knows of holes in itself.")
        }
        Some(_) => Words::say("The record is unaltered. It knows of no hole in itself."),
    }
}

/// Two verdicts, each with what it does not say.
fn verdicts(shell: &Shell, checked: Option<&Checked>) -> ((Badge, Words), (Badge, Words)) {
    let Some(checked) = checked else {
        let unknown = || {
            (
                Badge::new(Look::Info, "not checked yet"),
                Words::say("The first check runs at the start of the service."),
            )
        };
        return (unknown(), unknown());
    };
    let integrity = if checked.whole {
        let words = Words::say(format!(
            "Every one of the first {} entries is what was signed, and {} approval{} by the sign-in provider; the \
             broker itself checked this ",
            checked.size,
            checked.approvals,
            if checked.approvals == 1 { " holds, signed" } else { "s hold, each signed" },
        ))
        .at(shell.when(checked.at))
        .and(". A cut tail or a rewritten log shows only against a checkpoint that you hold.");
        (Badge::new(Look::Done, "unaltered"), words)
    } else {
        let words = Words::say("The broker's own check found, ")
            .at(shell.when(checked.at))
            .and(format!(": {}", checked.problems.join(" · ")));
        (Badge::new(Look::Late, "altered"), words)
    };
    let completeness = if checked.holes_total == 0 && checked.silent.is_empty() {
        let words = Words::say(
            "No lost event, no unreadable payload and no silent audit is known: what each API server counts is held \
             against what came. Where one cannot be counted, the ",
        )
        .link(Href::path("/clusters"), "clusters")
        .and(
            " say so. That nothing was left out of this log by whoever runs it, an API server's own audit log shows: \
             breakglass verify --audit-log.",
        );
        (Badge::new(Look::Done, "no hole known"), words)
    } else {
        let silent = if checked.silent.is_empty() {
            String::new()
        } else {
            format!(" Audit is silent now on {}.", checked.silent.join(", "))
        };
        let words = format!(
            "{} may be missing something, or say so of a time.{silent}",
            count(
                usize::try_from(checked.holes_total).unwrap_or(usize::MAX),
                "entry says that the record",
                "entries say that the record"
            )
        );
        (Badge::new(Look::Late, "holes known"), Words::say(words))
    };
    (integrity, completeness)
}

fn gaps(checked: Option<&Checked>) -> Vec<Words> {
    let holes = checked
        .map(|checked| checked.holes.as_slice())
        .unwrap_or_default();
    let link = |index: &u64| {
        Words::default().link(
            Href::path(format!("/ledger/entries/{index}")),
            format!("entry {index}"),
        )
    };
    holes.iter().map(link).collect()
}

fn facts(shell: &Shell, head: &Head, keys: &[VerifierKey], checked: Option<&Checked>) -> Facts {
    let root = SignedCheckpoint::parse(&head.checkpoint).map_or_else(
        |error| error.to_string(),
        |note| BASE64.encode(note.checkpoint().root),
    );
    Facts::default()
        .with(
            "Size",
            Words::say(count(
                usize::try_from(head.size).unwrap_or(usize::MAX),
                "entry",
                "entries",
            )),
        )
        .with("Head", Words::default().code(root))
        .with("Signed", Words::default().at(shell.when(head.at)))
        .with("Public key", public_keys(keys))
        .with(
            "Checked by the broker",
            match checked {
                Some(checked) => Words::say(format!("{} entries ", checked.size)).at(shell.when(checked.at)),
                None => Words::say("not yet"),
            },
        )
        .with(
            "All of it",
            Words::default()
                .link(Href::path(format!("/ledger/export/{LOG}")), LOG)
                .and(", with the newest checkpoint, to be checked offline"),
        )
        .with(
            "Copies of checkpoints",
            Words::say("in each pull request and notice, in the feed, and at ")
                .link(Href::path("/log/checkpoint"), "/log/checkpoint"),
        )
}

/// Between two keys both are valid: either one checks the newest checkpoint.
fn public_keys(keys: &[VerifierKey]) -> Words {
    let (first, beside) = keys
        .split_first()
        .map_or((None, keys), |(one, rest)| (Some(one), rest));
    let mut words = first.map_or_else(Words::default, |key| Words::default().code(key.to_string()));
    for key in beside {
        words = words.and(" or ").code(key.to_string());
    }
    words
}

/// How it goes with each witness: what it countersigned last, and what is wrong with it.
fn witnesses(shell: &Shell, facts: Facts, cosigned: &Cosigned, config: &Config) -> Facts {
    config.ledger.witnesses.keys().fold(facts, |facts, name| {
        let seen = cosigned.witnesses.get(name);
        let words = match seen.and_then(|seen| seen.at.map(|at| (seen.size, at))) {
            Some((size, at)) => Words::say(format!("countersigned {size} entries ")).at(shell.when(at)),
            None => Words::say("has not countersigned yet"),
        };
        let words = match seen.and_then(|seen| seen.failing_since.zip(seen.why.as_ref())) {
            Some((since, why)) => words
                .and(format!("; does not now: {why}, since "))
                .at(shell.when(since)),
            None => words,
        };
        facts.with(format!("Witness {name}"), words)
    })
}

/// The lines that check it without this service. The key must come from elsewhere to prove anything.
fn commands(keys: &[VerifierKey], base: &str) -> Vec<Text> {
    let key: Vec<_> = keys.iter().map(|key| format!("--key '{key}'")).collect();
    let key = key.join(" ");
    vec![
        Text::prose(format!(
            "breakglass verify {key} --against checkpoint.txt {base}/log   # BREAKGLASS_LOG_TOKEN=..."
        )),
        Text::prose(format!("breakglass verify {key} --against pull-request.md {LOG}")),
        Text::prose(format!("breakglass verify {key} breakglass.db")),
        Text::prose(format!(
            "breakglass verify {key} --against checkpoint.txt grant.bgx"
        )),
        Text::prose(format!(
            "curl -H \"Authorization: Bearer $BREAKGLASS_LOG_TOKEN\" {base}/log/checkpoint > checkpoint.txt   # keep it elsewhere"
        )),
    ]
}
