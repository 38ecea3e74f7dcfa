//! Ledger: is the record whole? Two verdicts, never mixed: nothing altered, nothing missing.

use super::{Badge, Facts, Filter, Href, Pager, Shell, Table, Text, When, Words};
use askama::Template;

/// `GET /ledger`.
#[derive(Debug, Clone, Template)]
#[template(path = "ledger.html")]
pub struct LedgerPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// Nothing altered: a badge and a sentence.
    pub integrity: (Badge, Words),
    /// Nothing missing: a badge and a sentence.
    pub completeness: (Badge, Words),
    /// The answer to both in one line, e.g. "The record is unaltered. It is whole."
    pub headline: Words,
    /// Size, head, when it was signed, where copies of checkpoints lie.
    pub facts: Facts,
    /// The newest signed checkpoint, as it is published.
    pub checkpoint: Text,
    /// The commands that check it without trusting this service.
    pub verify: Vec<Text>,
    /// The stretches of time whose record may have holes, a sentence each.
    pub gaps: Vec<Words>,
    /// The filters of the list, as they are set.
    pub filters: Vec<Filter>,
    /// The fields that are typed.
    pub typed: Vec<Typed>,
    /// What to know of the answer.
    pub notes: Vec<Words>,
    /// Where the same answer is for machines.
    pub exports: Words,
    /// Entries: number, time, kind, in words.
    pub entries: Table,
    /// The way through the list.
    pub pager: Pager,
    /// What others did in the time that is asked for, where that is kept: what to know of it, and the entries.
    pub others: Option<(Words, Table)>,
}

/// A field of the list's question that is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The name of the query parameter.
    pub name: &'static str,
    /// What is shown beside it.
    pub label: &'static str,
    /// The type of the input.
    pub kind: &'static str,
    /// What was typed.
    pub value: Text,
    /// An example.
    pub hint: &'static str,
}

/// `GET /ledger/entries/{index}`.
#[derive(Debug, Clone, Template)]
#[template(path = "ledger_entry.html")]
pub struct LedgerEntryPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// Its number in the log, from 0.
    pub index: u64,
    /// Its kind.
    pub kind: Text,
    /// When it was entered.
    pub at: When,
    /// What it says, in words.
    pub words: Words,
    /// What it is about: who, cluster, grant.
    pub facts: Facts,
    /// The controls it supports with evidence.
    pub controls: Vec<Text>,
    /// The payload as stored, redacted; nothing when it was erased or the reader may not see it.
    pub payload: Option<Text>,
    /// Why there is no payload.
    pub payload_missing: Option<Words>,
    /// Its leaf hash, hex.
    pub leaf: Text,
    /// The hashes from the leaf up to the head.
    pub proof: Vec<Text>,
    /// The head they lead to, and its size.
    pub head: Text,
    /// The signed checkpoint over that head.
    pub checkpoint: Text,
    /// Where it is to be had as a file.
    pub download: Words,
    /// The command that checks that file.
    pub verify: Text,
    /// The entries before and after.
    pub neighbours: (Option<Href>, Option<Href>),
}
