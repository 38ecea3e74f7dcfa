//! Reveal: here is your key, use it like this. The answer is one stream: [`RevealHead`], a
//! [`RevealStep`] for each thing awaited, and [`RevealTail`] or [`RevealFailed`] as its end. The key
//! is in no other answer and in no other struct.

use super::{Href, Look, Shell, Text, When, Words};
use askama::Template;

/// The beginning of the stream: the whole page up to the list of what is awaited.
#[derive(Debug, Clone, Template)]
#[template(path = "reveal_head.html")]
pub struct RevealHead {
    /// What surrounds the page.
    pub shell: Shell,
    /// The page of the grant.
    pub grant: Href,
    /// The cluster.
    pub cluster: Text,
    /// The longest this waits, in seconds.
    pub bound_seconds: u32,
    /// How long it usually takes here, in seconds, as measured.
    pub usual_seconds: Option<u32>,
}

/// One line of progress.
#[derive(Debug, Clone, Template)]
#[template(path = "reveal_step.html")]
pub struct RevealStep {
    /// [`Look::Done`] for what came, [`Look::Wait`] for what is waited for now.
    pub look: Look,
    /// What came or is awaited.
    pub words: Words,
    /// The seconds since the start of the reveal.
    pub after_seconds: u32,
}

/// The end of the stream when the key is good. Never logged: its `Debug` leaves the key out.
#[derive(Clone, Template)]
#[template(path = "reveal_tail.html")]
pub struct RevealTail {
    /// What surrounded the page.
    pub shell: Shell,
    /// The page of the grant.
    pub grant: Href,
    /// The kubeconfig.
    pub kubeconfig: String,
    /// The name it is saved under, e.g. `prod-eu.kubeconfig`.
    pub file: Text,
    /// A first command that works, e.g. `kubectl get pods -n payments`.
    pub try_it: Text,
    /// When the key dies, as the API server gave it.
    pub dies: When,
    /// Why that is earlier than what was approved, when the API server gave less.
    pub shorter: Option<Words>,
}

impl RevealTail {
    /// The lines that use the key: point `kubectl` at the file, then a first command.
    #[must_use]
    pub fn use_it(&self) -> Text {
        Text::prose(format!(
            "export KUBECONFIG=$PWD/{}\n{}",
            self.file.plain(),
            self.try_it.plain()
        ))
    }
}

impl std::fmt::Debug for RevealTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealTail")
            .field("grant", &self.grant)
            .field("dies", &self.dies)
            .finish_non_exhaustive()
    }
}

/// The end of the stream when the key was killed and nothing is shown.
#[derive(Debug, Clone, Template)]
#[template(path = "reveal_failed.html")]
pub struct RevealFailed {
    /// What surrounded the page.
    pub shell: Shell,
    /// The page of the grant, where it can be tried again.
    pub grant: Href,
    /// What did not come, or came otherwise than it must.
    pub reason: Words,
    /// Whether trying again makes sense.
    pub can_retry: bool,
}
