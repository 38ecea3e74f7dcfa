//! Is the record whole? The ledger's own proofs, and the approvals in it: each must be signed by the
//! sign-in provider for the request that was really filed, by enough different people, none of them
//! the requester.

use super::{Broker, BrokerError, Result};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::domain::request::{Approval, Request};
use crate::domain::transition::About;
use crate::identity::{ApprovalClaim, check_approval_token};
use crate::ids::RequestId;
use crate::ledger::{
    self, Bundle, Checks, Hash, Integrity, KeyError, Report, Signer, TilePath, Verifier, VerifierKey,
};
use crate::store::{EntryFilter, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where the outcome of the broker's own check is kept between starts.
const CHECKED: &str = "ledger-checked";
/// How many segments may wait for the judge: each is held in memory.
const AHEAD: usize = 4;

/// What a judge is given, in order.
#[derive(Debug)]
pub enum Piece {
    /// A checkpoint stored with the log: before the segments it covers.
    Checkpoint(String),
    /// The next segment.
    Segment {
        /// The index of its first entry, as its row says.
        row: u64,
        /// Its bytes.
        bytes: Vec<u8>,
        /// It may hold a filed request.
        filed: bool,
    },
    /// The next entries of a log that is read by its address, with the leaf hashes that a tile gives.
    Bundle {
        /// Leaf hashes.
        leaves: Vec<Hash>,
        /// As many entries.
        entries: Vec<Vec<u8>>,
    },
    /// A head that a canary carried into an API server's own audit log.
    Carried(u64, Hash),
    /// A tile that does not fit those below it.
    BadTile(TilePath),
}

/// A key of a sign-in provider that approvals rest on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderKey {
    /// The provider.
    pub issuer: String,
    /// The broker's name there.
    pub client_id: String,
    /// The key's RFC 7638 thumbprint.
    pub thumbprint: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judged {
    /// The ledger's two verdicts and every problem.
    pub report: Report,
    /// The providers' keys, each with the number of approvals that hold by it. An approval is as good
    /// as its key: whoever can write the store could add a key of their own.
    pub keys: BTreeMap<ProviderKey, u64>,
    /// What was compared with an audit log, in a sentence.
    pub compared: Option<String>,
}

/// Judges a log, fed piece by piece. Works through everything at once: keep it off the threads that
/// answer people.
pub fn judge_log(keys: &[VerifierKey], held: &[String], pieces: impl Iterator<Item = Piece>) -> Judged {
    let approvals = RefCell::new(Approvals::default());
    let mut check = |approval: &ledger::Approval<'_>| approvals.borrow_mut().check(approval);
    let mut verifier = Verifier::new(Checks {
        keys,
        held,
        approvals: Some(&mut check),
    });
    for piece in pieces {
        match piece {
            Piece::Checkpoint(note) => verifier.stored_checkpoint(&note),
            Piece::Bundle { leaves, entries } => verifier.bundle(&leaves, &entries),
            Piece::Carried(size, root) => verifier.carried_head(size, root),
            Piece::BadTile(path) => verifier.bad_tile(path),
            Piece::Segment { row, bytes, filed } => {
                if filed && let Ok(open) = ledger::open(&bytes) {
                    for position in 0..open.count() {
                        if open.entry(position).kind() == Some(EntryKind::RequestFiled) {
                            approvals.borrow_mut().file(open.payload(position));
                        }
                    }
                }
                verifier.segment(row, &bytes);
            }
        }
    }
    let report = verifier.finish();
    Judged {
        report,
        keys: approvals.into_inner().keys,
        compared: None,
    }
}

/// Judges an export.
#[must_use]
pub fn judge_bundle(keys: &[VerifierKey], held: &[String], bundle: &Bundle) -> Judged {
    let mut approvals = Approvals::default();
    for entry in &bundle.entries {
        let filed = entry
            .read()
            .is_ok_and(|read| read.kind() == Some(EntryKind::RequestFiled));
        if filed {
            approvals.file(entry.payload.as_ref().map(|(_, payload)| payload.as_slice()));
        }
    }
    let mut check = |approval: &ledger::Approval<'_>| approvals.check(approval);
    let report = ledger::verify_bundle(
        bundle,
        Checks {
            keys,
            held,
            approvals: Some(&mut check),
        },
    );
    Judged {
        report,
        keys: approvals.keys,
        compared: None,
    }
}

/// Follows the approvals through the log in its order.
#[derive(Default)]
struct Approvals {
    filed: HashMap<RequestId, Request>,
    given: HashMap<RequestId, Vec<Person>>,
    keys: BTreeMap<ProviderKey, u64>,
}

impl Approvals {
    /// A request was filed. The first one of an id counts: a second could only be there to be approved
    /// in the place of the first.
    fn file(&mut self, payload: Option<&[u8]>) {
        #[derive(Deserialize)]
        struct Payload {
            facts: Facts,
        }
        #[derive(Deserialize)]
        struct Facts {
            request: Request,
        }
        if let Some(Ok(Payload {
            facts: Facts { request },
        })) = payload.map(serde_json::from_slice)
        {
            self.filed.entry(request.id).or_insert(request);
        }
    }

    fn check(&mut self, entry: &ledger::Approval<'_>) -> std::result::Result<(), String> {
        #[derive(Deserialize)]
        struct Payload {
            about: About,
            facts: Facts,
        }
        #[derive(Deserialize)]
        struct Facts {
            approval: Approval,
        }
        let Payload {
            about,
            facts: Facts { approval },
        } = serde_json::from_slice(entry.payload).map_err(|error| format!("it cannot be read: {error}"))?;
        let id = about.request.ok_or("it names no request")?;
        let request = self
            .filed
            .get(&id)
            .ok_or("the request it is for is not in the record before it")?;
        let hash = request.hash();
        if approval.request_hash != hash {
            return Err(format!(
                "it was given for the hash {}, but the request that was filed has {hash}",
                approval.request_hash
            ));
        }
        if request.ask.requester.same_person(&approval.by) {
            return Err("the requester approved their own request".to_owned());
        }
        if approval.duration_s > request.ask.duration_s {
            return Err("it allows more time than was asked for".to_owned());
        }
        let given = self.given.entry(id).or_default();
        if given.iter().any(|other| other.same_person(&approval.by)) {
            return Err("the same person had approved before".to_owned());
        }
        let proof = &approval.proof;
        let claim = ApprovalClaim {
            issuer: &proof.issuer,
            client_id: &proof.client_id,
            request_hash: &bytes(&hash).ok_or("its hash is not 32 bytes of hex")?,
            salt: &bytes(&proof.salt).ok_or("its salt is not 32 bytes of hex")?,
            person: &approval.by,
            person_claim: None,
            approved_at: approval.at,
        };
        let proved =
            check_approval_token(&proof.id_token, &proof.jwk, &claim).map_err(|error| error.to_string())?;
        given.push(approval.by);
        let key = ProviderKey {
            issuer: approval.proof.issuer,
            client_id: approval.proof.client_id,
            thumbprint: proved.key_thumbprint,
        };
        *self.keys.entry(key).or_default() += 1;
        let (have, need) = (given.len(), request.ask.approvals_needed as usize);
        if entry.kind == EntryKind::RequestApproved && have < need {
            return Err(format!(
                "the request needed {need} approvals that hold and had {have}"
            ));
        }
        Ok(())
    }
}

fn bytes(hex_digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex_digits, &mut bytes).ok()?;
    Some(bytes)
}

/// What the broker found when it last checked its own ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When it was done.
    pub at: Time,
    /// Up to how many entries.
    pub size: u64,
    /// Nothing is altered.
    pub whole: bool,
    /// What is wrong, a sentence each; the first few.
    pub problems: Vec<String>,
    /// The entries that say that the record may have a hole: index and sentence; the newest few.
    pub holes: Vec<u64>,
    /// How many of them there are.
    pub holes_total: u64,
    /// Clusters whose audit is silent.
    pub silent: Vec<String>,
    /// Approvals whose proof holds.
    pub approvals: u64,
}

impl Broker {
    /// The public key in force that checks the ledger's checkpoints.
    ///
    /// # Errors
    /// The configured key is no key.
    pub fn verifier_key(&self) -> std::result::Result<VerifierKey, KeyError> {
        let ledger = &self.config.ledger;
        Ok(Signer::from_text(&ledger.origin, ledger.signing_key.expose())?.verifier_key())
    }

    /// Every public key that checks them, the one in force first: between two keys there are both.
    ///
    /// # Errors
    /// A configured key is no key.
    pub fn verifier_keys(&self) -> std::result::Result<Vec<VerifierKey>, KeyError> {
        let ledger = &self.config.ledger;
        ledger
            .keys()
            .map(|(_, key)| Ok(Signer::from_text(&ledger.origin, key.expose())?.verifier_key()))
            .collect()
    }

    /// Loop: checks the whole ledger as `breakglass verify` does, and keeps what was found for the
    /// page. What is wrong is a finding.
    ///
    /// # Errors
    /// The store's, or the configured key's.
    pub async fn check_ledger(&self) -> Result<()> {
        let keys = self
            .verifier_keys()
            .map_err(|error| BrokerError::Refused(error.to_string()))?;
        let judged = judge_store(&self.store, keys).await?;
        let report = &judged.report;
        let whole = report.integrity() == Integrity::Whole;
        let holes = &report.completeness.holes;
        let checked = Checked {
            at: self.now(),
            size: report.size,
            whole,
            problems: report.problems.iter().take(20).map(ToString::to_string).collect(),
            holes: holes.iter().rev().take(20).map(|hole| hole.index).collect(),
            holes_total: holes.len() as u64 + report.completeness.holes_left_off,
            silent: report.completeness.silent.clone(),
            approvals: report.approvals.good,
        };
        let text = serde_json::to_string(&checked).map_err(|error| StoreError::Corrupt {
            what: "the outcome of a check",
            why: error.to_string(),
        })?;
        self.store.set_setting(CHECKED, &text).await?;
        if let Some(first) = checked.problems.first() {
            let text = format!(
                "The ledger is not whole: {first}. {} in all; stop relying on it and run breakglass verify \
                 against a checkpoint that you hold",
                report.problems.len() as u64 + report.problems_left_off
            );
            self.find("ledger not whole", About::default(), &text, None)
                .await?;
        }
        Ok(())
    }

    /// What the last check found; `None` before the first one is done.
    ///
    /// # Errors
    /// The store's.
    pub async fn ledger_checked(&self) -> Result<Option<Checked>> {
        // A value that an older version wrote is as good as none: the next check is minutes away.
        Ok(self
            .store
            .setting(CHECKED)
            .await?
            .and_then(|text| serde_json::from_str(&text).ok()))
    }
}

/// Judges everything a store holds up to its present head.
///
/// # Errors
/// The store's.
pub async fn judge_store(store: &Arc<dyn Store>, keys: Vec<VerifierKey>) -> Result<Judged> {
    let head = store.head().await?;
    let filter = EntryFilter {
        kinds: vec![EntryKind::RequestFiled],
        limit: u32::MAX,
        ..EntryFilter::default()
    };
    let filed: BTreeSet<u64> = store
        .entries(filter)
        .await?
        .iter()
        .map(|line| line.index)
        .collect();
    let store = Arc::clone(store);
    judge_stream(keys, vec![], async move |pieces| {
        send(&pieces, Piece::Checkpoint(head.checkpoint)).await;
        let mut next = 0;
        while next < head.size {
            let segments = store.segments(next, 1).await?;
            let Some(segment) = segments.into_iter().next() else {
                break;
            };
            let (row, end) = (segment.first, segment.first + u64::from(segment.count));
            // Entries committed after the head was read are the next check's.
            if row >= head.size {
                break;
            }
            let filed = filed.range(row..end).next().is_some();
            send(
                &pieces,
                Piece::Segment {
                    row,
                    bytes: segment.bytes,
                    filed,
                },
            )
            .await;
            next = end.max(row + 1);
        }
        Ok(())
    })
    .await
}

/// Judges what `feed` sends, on a thread of its own.
///
/// # Errors
/// What `feed` failed with.
pub async fn judge_stream<E>(
    keys: Vec<VerifierKey>,
    held: Vec<String>,
    feed: impl AsyncFnOnce(mpsc::Sender<Piece>) -> std::result::Result<(), E>,
) -> std::result::Result<Judged, E>
where
    E: From<StoreError>,
{
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let judge = tokio::task::spawn_blocking(move || {
        judge_log(&keys, &held, std::iter::from_fn(|| receiver.blocking_recv()))
    });
    feed(sender).await?;
    judge.await.map_err(|error| {
        E::from(StoreError::Corrupt {
            what: "a ledger",
            why: format!("it could not be judged: {error}"),
        })
    })
}

/// Hands a piece on. Nobody there to take it means that the judge failed, which is said when it is awaited.
pub async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) {
    let _ = pieces.send(piece).await;
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(compared) = &self.compared {
            writeln!(f, "{compared}")?;
        }
        write!(f, "{}", self.report)?;
        if !self.keys.is_empty() {
            writeln!(
                f,
                "approvals rest on these keys; compare them with what the provider publishes:"
            )?;
        }
        for (key, count) in &self.keys {
            let line = format!("{} (client {})", key.issuer, key.client_id);
            writeln!(
                f,
                "  {count} by {}: {}",
                crate::audit::visible(&line),
                key.thumbprint
            )?;
        }
        Ok(())
    }
}
