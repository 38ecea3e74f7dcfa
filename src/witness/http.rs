//! Over HTTP.

use super::{Answer, NoAnswer, Witnesses};
use crate::causes::chain;
use crate::config::Ledger;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

/// A witness that takes longer is down.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes: a few signature lines.
const LONGEST: usize = 16 << 10;

/// The witnesses of a configuration.
#[derive(Debug)]
pub struct HttpWitnesses {
    client: reqwest::Client,
    urls: BTreeMap<String, String>,
}

impl HttpWitnesses {
    /// The witnesses that `ledger` names.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(ledger: &Ledger) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| format!("the HTTP client for witnesses: {}", chain(&error)))?;
        let urls = ledger
            .witnesses
            .iter()
            .map(|(name, witness)| (name.clone(), format!("{}/add-checkpoint", witness.url.base())))
            .collect();
        Ok(Self { client, urls })
    }
}

async fn text(mut answer: reqwest::Response) -> Result<String, NoAnswer> {
    let mut bytes = vec![];
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| NoAnswer(chain(&error.without_url())))?
    {
        if bytes.len() + chunk.len() > LONGEST {
            return Err(NoAnswer(format!("its answer is longer than {LONGEST} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[async_trait]
impl Witnesses for HttpWitnesses {
    async fn add_checkpoint(&self, witness: &str, body: &str) -> Result<Answer, NoAnswer> {
        let url = self
            .urls
            .get(witness)
            .ok_or_else(|| NoAnswer("it is not configured".to_owned()))?;
        let answer = self
            .client
            .post(url)
            .body(body.to_owned())
            .send()
            .await
            .map_err(|error| NoAnswer(chain(&error.without_url())))?;
        let status = answer.status().as_u16();
        let said = text(answer).await?;
        match status {
            200 => Ok(Answer::Lines(said)),
            409 => said
                .trim()
                .parse()
                .map(Answer::Knows)
                .map_err(|_| NoAnswer("it answers 409 without a size".to_owned())),
            _ => Ok(Answer::Refuses(status, said.trim().chars().take(200).collect())),
        }
    }
}
