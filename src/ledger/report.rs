//! What a verification found: two verdicts that are never mixed, integrity (nothing altered) and
//! completeness (nothing known to be missing).

pub use super::completeness::{Completeness, Gap, Holder, Hole};
use super::problem::Problem;
use super::tree::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::fmt;

/// How many problems and holes are listed one by one; further ones are counted.
pub const MAX_LISTED: usize = 1000;

/// Whether anything was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// Everything is as it was signed.
    Whole,
    /// At least one problem.
    Broken,
}

/// What became of the approvals' proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApprovalCount {
    /// Checked and good.
    pub good: u64,
    /// Checked and failed: each is a problem.
    pub failed: u64,
    /// Their payload was pruned, so that there is nothing to check.
    pub pruned: u64,
    /// No check was given.
    pub unchecked: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many entries were looked at.
    pub entries: u64,
    /// How many segments were looked at.
    pub segments: u64,
    /// How many checkpoints were good and agree with the entries.
    pub checkpoints: u64,
    /// The size of the newest of them.
    pub size: u64,
    /// Its root.
    pub root: Option<Hash>,
    /// How many payloads were pruned.
    pub pruned: u64,
    /// The approvals.
    pub approvals: ApprovalCount,
    /// What is wrong, in the order it was met.
    pub problems: Vec<Problem>,
    /// How many more problems were not listed.
    pub problems_left_off: u64,
    /// The other verdict.
    pub completeness: Completeness,
}

impl Report {
    /// The verdict on integrity.
    #[must_use]
    pub fn integrity(&self) -> Integrity {
        if self.problems.is_empty() {
            Integrity::Whole
        } else {
            Integrity::Broken
        }
    }

    pub(super) fn found(&mut self, problem: Problem) {
        if self.problems.len() < MAX_LISTED {
            self.problems.push(problem);
        } else {
            self.problems_left_off += 1;
        }
    }
}

/// Control characters made visible: names in a log may be hostile, and this goes to a terminal.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() {
                write!(f, "{}", c.escape_unicode())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A log that is read by its address or an export has no segments.
        let segments = match self.segments {
            0 => String::new(),
            count => format!("{count} segments, "),
        };
        writeln!(
            f,
            "{} entries, {segments}{} checkpoints",
            self.entries, self.checkpoints
        )?;
        if let Some(root) = self.root {
            writeln!(
                f,
                "newest checkpoint: size {}, root {}",
                self.size,
                BASE64.encode(root)
            )?;
        }
        if self.pruned > 0 {
            writeln!(
                f,
                "{} payloads were pruned or left out; their entries and proofs stand",
                self.pruned
            )?;
        }
        let ApprovalCount {
            good,
            failed,
            pruned,
            unchecked,
        } = self.approvals;
        if good + failed + pruned + unchecked > 0 {
            writeln!(
                f,
                "approvals: {good} hold, {failed} fail, {pruned} pruned, {unchecked} not checked"
            )?;
        }
        match self.integrity() {
            Integrity::Whole => writeln!(f, "integrity: whole")?,
            Integrity::Broken => {
                let count = self.problems.len() as u64 + self.problems_left_off;
                writeln!(f, "integrity: BROKEN, {count} found")?;
                for problem in &self.problems {
                    writeln!(f, "  {}: {}", problem.name(), Plain(&problem.to_string()))?;
                }
                if self.problems_left_off > 0 {
                    writeln!(f, "  and {} more", self.problems_left_off)?;
                }
            }
        }
        write!(f, "{}", self.completeness)
    }
}
