//! Witnesses: asked for each new head, named when they are down or disagree, never waited for. A log that
//! was rewritten, and whose witnesses saw it before, cannot get their cosignatures again.

use super::log::Tiles;
use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::transition::About;
use crate::ledger::cosignature::add_checkpoint;
use crate::ledger::{ProofPlan, SignedCheckpoint, WitnessKey};
use crate::store::{Head, StoreError};
use crate::witness::Answer;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where what witnesses said is kept between starts.
const SEEN: &str = "witnesses";
/// Down for so long, people are told.
const TOLD_AFTER: TimeDelta = TimeDelta::seconds(60);
/// A cosigned checkpoint is served for so long after its head was passed.
const FRESH: TimeDelta = TimeDelta::minutes(2);

/// How it goes with one witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// The size of the newest checkpoint that it countersigned.
    pub size: u64,
    /// When it did.
    pub at: Option<Time>,
    /// Since when it has not answered as it should.
    pub failing_since: Option<Time>,
    /// Why not, in words.
    pub why: Option<String>,
}

/// What witnesses said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigned {
    /// The newest checkpoint that any of them countersigned, with their signatures.
    pub note: Option<String>,
    /// When it was countersigned.
    pub at: Option<Time>,
    /// Each of them.
    pub witnesses: BTreeMap<String, Witnessed>,
}

/// Why a witness did not countersign.
enum Failure {
    /// It may come back.
    Down(String),
    /// It contradicts this log: people must look at once.
    Disagrees(String),
}

impl Broker {
    /// What witnesses said so far; of those that are configured.
    ///
    /// # Errors
    /// The store's.
    pub async fn cosigned(&self) -> Result<Cosigned> {
        let kept = self.store.setting(SEEN).await?;
        // What an older version wrote is as good as nothing: they are asked again.
        let mut cosigned: Cosigned = kept
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        cosigned
            .witnesses
            .retain(|name, _| self.config.ledger.witnesses.contains_key(name));
        Ok(cosigned)
    }

    /// The checkpoint to hand out: the newest one that witnesses countersigned while that is fresh, and
    /// the log's newest otherwise. No witness can keep the log from showing its head.
    ///
    /// # Errors
    /// The store's.
    pub async fn newest_checkpoint(&self) -> Result<String> {
        let head = self.store.head().await?;
        if self.config.ledger.witnesses.is_empty() {
            return Ok(head.checkpoint);
        }
        let Cosigned { note, at, .. } = self.cosigned().await?;
        let fresh = at.is_some_and(|at| self.now() - at < FRESH);
        Ok(note.filter(|_| fresh).unwrap_or(head.checkpoint))
    }

    /// Loop: asks each witness for its cosignature of the newest head.
    ///
    /// # Errors
    /// The store's. A witness's failure is none.
    pub async fn ask_witnesses(&self) -> Result<()> {
        let configured = &self.config.ledger.witnesses;
        if configured.is_empty() {
            return Ok(());
        }
        let head = self.store.head().await?;
        let note = SignedCheckpoint::parse(&head.checkpoint).map_err(|error| StoreError::Corrupt {
            what: "a checkpoint",
            why: error.to_string(),
        })?;
        let before = self.cosigned().await?;
        let mut cosigned = before.clone();
        let mut lines = String::new();
        for (name, witness) in configured {
            let mut seen = before.witnesses.get(name).cloned().unwrap_or_default();
            let is_done = seen.size == head.size && seen.at.is_some() && seen.failing_since.is_none();
            if head.size == 0 || is_done {
                continue;
            }
            let now = self.now();
            match self.ask(name, &witness.key, &head, &note, seen.size).await? {
                Ok(own) => {
                    lines.push_str(&own);
                    seen = Witnessed {
                        size: head.size,
                        at: Some(now),
                        failing_since: None,
                        why: None,
                    };
                }
                Err(failure) => self.named(name, &mut seen, failure, now).await?,
            }
            cosigned.witnesses.insert(name.clone(), seen);
        }
        if !lines.is_empty() {
            // Those who countersigned this very head in an earlier round stay on it.
            let base = before
                .note
                .as_deref()
                .and_then(|kept| SignedCheckpoint::parse(kept).ok())
                .filter(|kept| kept.body() == note.body())
                .unwrap_or(note);
            let with = base.with_lines(&lines).map_err(|error| StoreError::Corrupt {
                what: "a countersigned checkpoint",
                why: error.to_string(),
            })?;
            cosigned.note = Some(with.text().to_owned());
            cosigned.at = Some(self.now());
        }
        if cosigned != before {
            let text = serde_json::to_string(&cosigned).map_err(|error| StoreError::Corrupt {
                what: "what witnesses said",
                why: error.to_string(),
            })?;
            self.store.set_setting(SEEN, &text).await?;
        }
        Ok(())
    }

    /// One witness's own signature lines, checked.
    async fn ask(
        &self,
        name: &str,
        key: &str,
        head: &Head,
        note: &SignedCheckpoint,
        known: u64,
    ) -> Result<std::result::Result<String, Failure>> {
        let key: WitnessKey = match key.parse() {
            Ok(key) => key,
            Err(error) => {
                return Ok(Err(Failure::Down(format!(
                    "its configured key cannot be read: {error}"
                ))));
            }
        };
        if known > head.size {
            return Ok(Err(longer(known, head.size)));
        }
        let mut old = known;
        // A witness may know another size than the one it told us: it is believed once.
        for last in [false, true] {
            let plan = ProofPlan::consistency(old, head.size).map_err(|error| StoreError::Corrupt {
                what: "a ledger",
                why: error.to_string(),
            })?;
            let proof = Tiles::new(self.store.as_ref()).make(&plan).await?;
            let body = add_checkpoint(old, &proof, note);
            match self.witnesses.add_checkpoint(name, &body).await {
                Ok(Answer::Lines(lines)) => {
                    let own = key.own_lines(&lines);
                    let checked = note.with_lines(&own).and_then(|with| key.verify(&with));
                    return Ok(match checked {
                        Ok(_) => Ok(own),
                        Err(error) => Err(Failure::Disagrees(format!("its answer does not count: {error}"))),
                    });
                }
                Ok(Answer::Knows(size)) if size > head.size => return Ok(Err(longer(size, head.size))),
                Ok(Answer::Knows(size)) if !last => old = size,
                Ok(Answer::Knows(size)) => {
                    return Ok(Err(Failure::Down(format!(
                        "it says now {old} entries and now {size}"
                    ))));
                }
                Ok(Answer::Refuses(422, why)) => {
                    return Ok(Err(Failure::Disagrees(format!(
                        "it says that this log does not extend the one of {old} entries that it saw ({why}): the log \
                         was rewritten, or the witness is wrong"
                    ))));
                }
                Ok(Answer::Refuses(status, why)) => {
                    return Ok(Err(Failure::Down(format!("it answers {status}: {why}"))));
                }
                Err(error) => return Ok(Err(Failure::Down(error.to_string()))),
            }
        }
        Ok(Err(Failure::Down("it does not settle on a size".to_owned())))
    }

    /// Writes down how a witness fails, and tells people when it is time.
    async fn named(&self, name: &str, seen: &mut Witnessed, failure: Failure, now: Time) -> Result<()> {
        let since = *seen.failing_since.get_or_insert(now);
        let (why, at_once) = match failure {
            Failure::Down(why) => (why, false),
            Failure::Disagrees(why) => (why, true),
        };
        let why = crate::audit::visible(&why);
        tracing::warn!(witness = name, why, "a witness did not countersign");
        if at_once || now - since >= TOLD_AFTER {
            let text = format!(
                "The witness {name} does not countersign checkpoints: {why}. The log goes on without it; a rewritten \
                 log would need one witness less"
            );
            self.find(&format!("witness {name}"), About::default(), &text, None)
                .await?;
        }
        seen.why = Some(why);
        Ok(())
    }
}

fn longer(known: u64, size: u64) -> Failure {
    Failure::Disagrees(format!(
        "it has countersigned {known} entries, and this log has {size}: the store was rolled back, or the witness is \
         wrong"
    ))
}
