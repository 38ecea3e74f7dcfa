//! A log by its address: every entry and every tile of it, read over HTTP in the form of C2SP tlog-tiles.

use super::audit_log::AuditLog;
use super::progress::Bar;
use crate::broker::verify::{Judged, Piece, judge_stream, send};
use crate::causes::chain;
use crate::config::HttpUrl;
use crate::ledger::checkpoint::MAX_NOTE;
use crate::ledger::tile::{WIDTH, append, hashes_at, read_entry_bundle, read_hash_tile};
use crate::ledger::{Frontier, Node, SignedCheckpoint, TileKind, TilePath, VerifierKey};
use crate::store::StoreError;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How many tiles are asked for at a time.
const AHEAD: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest tile or bundle that the form allows, in bytes.
const LONGEST: usize = 256 * (2 + u16::MAX as usize);

/// A log to be read.
pub(super) struct Address {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Address {
    /// The log at `url`, read with a bearer token; `ca_file` holds further authorities in PEM.
    pub(super) fn new(url: &str, token: Option<String>, ca_file: Option<&Path>) -> Result<Self, String> {
        let url: HttpUrl = url.parse()?;
        if token.is_some() && !url.is_https() && !url.is_loopback() {
            return Err("the token would be sent over the network without encryption: use https".to_owned());
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        if let Some(path) = ca_file {
            let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("{}: {}", path.display(), chain(&error)))?;
            builder = certificates
                .into_iter()
                .fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        Ok(Self {
            client: builder.build().map_err(|error| chain(&error))?,
            base: url.base().to_owned(),
            token,
        })
    }

    async fn get(&self, path: &str, longest: usize) -> Result<Vec<u8>, String> {
        let mut request = self.client.get(format!("{}/{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let failed = |error: reqwest::Error| format!("{path}: {}", chain(&error.without_url()));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut bytes = vec![];
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > longest {
                return Err(format!("{path}: the answer is longer than {longest} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        match status.as_u16() {
            200 => Ok(bytes),
            300..=399 | 401 | 403 => Err(format!(
                "{path}: the log lets nobody in without a token that it knows ({status}): set BREAKGLASS_LOG_TOKEN"
            )),
            _ => {
                let said: String = String::from_utf8_lossy(&bytes).trim().chars().take(200).collect();
                Err(format!("{path}: {status} {}", crate::audit::visible(&said)))
            }
        }
    }

    async fn tile(&self, path: TilePath) -> Result<Vec<u8>, String> {
        self.get(&format!("tile/{path}"), LONGEST).await
    }

    /// A bundle with the leaf hashes beside it.
    async fn pair(&self, number: u64, width: u64) -> Result<Piece, String> {
        let path = |kind| TilePath { kind, number, width };
        let (hashes, bundle) = (path(TileKind::Hashes(0)), path(TileKind::Entries));
        let (leaves, entries) = tokio::try_join!(self.tile(hashes), self.tile(bundle))?;
        let short = |path| format!("tile/{path}: it does not hold {width} whole pieces");
        Ok(Piece::Bundle {
            leaves: read_hash_tile(&leaves, width).ok_or_else(|| short(hashes))?,
            entries: read_entry_bundle(&entries, width)
                .ok_or_else(|| short(bundle))?
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect(),
        })
    }

    /// The log's newest checkpoint, as it is served.
    pub(super) async fn checkpoint(&self) -> Result<String, String> {
        let bytes = self.get("checkpoint", MAX_NOTE).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Judges the log up to `note`. What cannot be read to its end is said beside what was found.
    pub(super) async fn judge(
        &self,
        note: String,
        keys: Vec<VerifierKey>,
        held: Vec<String>,
        audit_log: Option<&AuditLog>,
    ) -> Result<(Judged, Option<String>), StoreError> {
        // How much to read is believed of a checkpoint alone that one of the keys signed.
        let size = SignedCheckpoint::parse(&note)
            .ok()
            .filter(|signed| signed.verify(&keys).is_ok())
            .map_or(0, |signed| signed.checkpoint().size);
        let mut cut_off = None;
        let heads = audit_log.map(|log| log.heads.clone()).unwrap_or_default();
        let count = heads.len();
        let mut judged = judge_stream(keys, held, async |pieces| {
            for (size, root) in heads {
                send(&pieces, Piece::Carried(size, root)).await;
            }
            send(&pieces, Piece::Checkpoint(note)).await;
            if let Err(why) = self.feed(size, &pieces).await {
                cut_off = Some(why);
            }
            Ok::<(), StoreError>(())
        })
        .await?;
        judged.compared = audit_log.map(|_| {
            format!(
                "audit log: {count} heads of this log carried by canaries; a log by its address has no payloads, so \
                 events of grants were not compared: check a copy of the store"
            )
        });
        Ok((judged, cut_off))
    }

    async fn feed(&self, size: u64, pieces: &Sender<Piece>) -> Result<(), String> {
        let mut bar = Bar::of(size);
        let (mut tree, mut nodes) = (Frontier::new(), vec![]);
        let mut found = futures::stream::iter(0..size.div_ceil(WIDTH))
            .map(|number| self.pair(number, WIDTH.min(size - number * WIDTH)))
            .buffered(AHEAD);
        while let Some(piece) = found.try_next().await? {
            if let Piece::Bundle { leaves, .. } = &piece {
                for leaf in leaves {
                    append(&mut tree, leaf, &mut nodes);
                }
            }
            send(pieces, piece).await;
            bar.at(tree.size());
        }
        self.above(size, nodes, pieces).await
    }

    /// Holds each tile above the leaves to the hashes that those below it made.
    async fn above(&self, size: u64, nodes: Vec<Node>, pieces: &Sender<Piece>) -> Result<(), String> {
        let mut levels: BTreeMap<u8, Vec<_>> = BTreeMap::new();
        for node in nodes {
            levels.entry(node.level).or_default().push(node.hash);
        }
        for (level, hashes) in levels {
            debug_assert_eq!(hashes.len() as u64, hashes_at(level, size));
            for (number, expected) in (0..).zip(hashes.chunks(usize::try_from(WIDTH).unwrap_or(256))) {
                let path = TilePath {
                    kind: TileKind::Hashes(level),
                    number,
                    width: expected.len() as u64,
                };
                let tile = self.tile(path).await?;
                if read_hash_tile(&tile, path.width).as_deref() != Some(expected) {
                    send(pieces, Piece::BadTile(path)).await;
                }
            }
        }
        Ok(())
    }
}
