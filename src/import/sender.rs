//! Batches on their way to the broker.

use super::Options;
use crate::audit::Wrapping;
use crate::causes::chain;
use crate::config::HttpUrl;
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use std::io::Write as _;
use std::time::Duration;

/// How long one answer may take: a batch is entered before it comes.
const PATIENCE: Duration = Duration::from_mins(2);
/// After which waits a batch that was not taken is sent again.
const AGAIN: [u64; 6] = [1, 2, 5, 10, 20, 30];

/// Sends to one cluster's import.
pub(super) struct Sender {
    client: reqwest::Client,
    address: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Taken {
    entered: u64,
}

impl Sender {
    /// Whither and by which proof `options` say.
    pub(super) fn of(options: &Options) -> Result<Self, String> {
        let url: HttpUrl = options.url.parse()?;
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let token = match &options.token_file {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
            None => std::env::var("BREAKGLASS_AUDIT_TOKEN")
                .ok()
                .map(|token| token.trim().to_owned()),
        };
        let token = token.filter(|token| !token.is_empty());
        if token.is_none() && options.certificate_file.is_none() {
            return Err(
                "nothing proves that this may write the cluster's record: give --token-file, \
                        BREAKGLASS_AUDIT_TOKEN or --certificate-file"
                    .to_owned(),
            );
        }
        if token.is_some() && !url.is_https() && !url.is_loopback() {
            return Err("the token would be sent over the network without encryption: use https".to_owned());
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        if let Some(path) = &options.ca_file {
            let authorities = reqwest::Certificate::from_pem_bundle(&read(path)?)
                .map_err(|error| format!("{}: {}", path.display(), chain(&error)))?;
            builder = authorities
                .into_iter()
                .fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        if let Some(path) = &options.certificate_file {
            let identity = reqwest::Identity::from_pem(&read(path)?)
                .map_err(|error| format!("{}: {}", path.display(), chain(&error)))?;
            builder = builder.identity(identity);
        }
        let cluster: String = url::form_urlencoded::byte_serialize(options.cluster.as_bytes()).collect();
        Ok(Self {
            client: builder.build().map_err(|error| chain(&error))?,
            address: format!("{}/hooks/import/{cluster}", url.base()),
            token,
        })
    }

    /// Sends a batch until it is taken; returns how many entries came of it.
    pub(super) async fn send(&self, wrapping: Wrapping, batch: Vec<u8>) -> Result<u64, String> {
        let packed = pack(&batch).map_err(|error| format!("a batch cannot be packed: {error}"))?;
        let mut waits = AGAIN.iter();
        loop {
            let why = match self.once(wrapping, packed.clone()).await {
                Ok(entered) => return Ok(entered),
                Err(Refusal::ForGood(why)) => return Err(why),
                Err(Refusal::ForNow(why)) => why,
            };
            let Some(wait) = waits.next() else {
                return Err(format!("the broker does not take it: {why}"));
            };
            super::say(&format!("{why}; sent again in {wait} s"));
            tokio::time::sleep(Duration::from_secs(*wait)).await;
        }
    }

    async fn once(&self, wrapping: Wrapping, packed: Vec<u8>) -> Result<u64, Refusal> {
        let mut request = self
            .client
            .post(format!("{}?from={}", self.address, wrapping.name()))
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(packed);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let failed = |error: reqwest::Error| Refusal::ForNow(chain(&error.without_url()));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        match status.as_u16() {
            200 => {
                let taken: Taken = answer.json().await.map_err(failed)?;
                Ok(taken.entered)
            }
            401 => Err(Refusal::ForGood(
                "the broker does not know this token or certificate as the cluster's, or no such cluster"
                    .to_owned(),
            )),
            429 | 500..=599 => Err(Refusal::ForNow(format!("the broker answered {status}"))),
            _ => Err(Refusal::ForGood(format!("the broker answered {status}"))),
        }
    }
}

enum Refusal {
    ForNow(String),
    ForGood(String),
}

fn pack(batch: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(batch)?;
    encoder.finish()
}
