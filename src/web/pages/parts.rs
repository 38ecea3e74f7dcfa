//! The parts every page is made of. Each is a typed view here and a macro in `templates/parts.html`;
//! written into a template (`{{ badge }}`) a part renders itself.

use super::text::{Href, Text};
use super::when::When;
use askama::Template;
use askama::filters::HtmlSafe;

/// What a state looks like. Each look has a shape and a word besides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The glass is broken: access exists, or something is wrong right now.
    Live,
    /// Somebody must act.
    Wait,
    /// Whole, converged, paid.
    Done,
    /// To be known, nothing to do.
    Info,
    /// Too late.
    Late,
    /// Not yet.
    Next,
}

impl Look {
    /// The class of the stylesheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Wait => "wait",
            Self::Done => "done",
            Self::Info => "info",
            Self::Late => "late",
            Self::Next => "next",
        }
    }

    /// The shape shown before the word.
    #[must_use]
    pub fn shape(self) -> &'static str {
        match self {
            Self::Live => "●",
            Self::Wait => "◔",
            Self::Done => "✓",
            Self::Info => "○",
            Self::Late => "!",
            Self::Next => "·",
        }
    }
}

/// A state in one or two words.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::badge(self) }}"#
)]
pub struct Badge {
    /// How it looks.
    pub look: Look,
    /// What it says.
    pub word: Text,
}

impl HtmlSafe for Badge {}

impl Badge {
    /// A badge of that look and word.
    pub fn new(look: Look, word: impl Into<Text>) -> Self {
        Self {
            look,
            word: word.into(),
        }
    }
}

/// A person as shown: the name, and the claim that says who it is.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::person(self) }}"#
)]
pub struct PersonRef {
    /// The display name.
    pub name: Text,
    /// The claim the person was told by, e.g. `employee_id e-1001`.
    pub claim: Text,
}

impl HtmlSafe for PersonRef {}

impl PersonRef {
    /// A person by name and claim.
    pub fn new(name: impl Into<Text>, claim: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            claim: claim.into(),
        }
    }
}

/// One stretch of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Plain(Text),
    /// What the sentence is about.
    Strong(Text),
    /// Something a machine reads: a name, a command, a digest.
    Code(Text),
    /// A link. An address that must not be followed became [`Piece::Plain`].
    Link(Href, Text),
    /// A time.
    When(When),
    /// A badge within the sentence.
    Badge(Badge),
    /// A person.
    Person(PersonRef),
}

/// A sentence with links, times and badges in it, built piece by piece; all of it escaped.
/// The caller writes the spaces: `Words::say("approved by ").person(p).and(" at ").at(when)`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::words(self) }}"#
)]
pub struct Words(pub Vec<Piece>);

impl HtmlSafe for Words {}

impl Words {
    /// Begins a sentence.
    pub fn say(text: impl Into<Text>) -> Self {
        Self(vec![Piece::Plain(text.into().sentence())])
    }

    fn with(mut self, piece: Piece) -> Self {
        self.0.push(piece);
        self
    }

    /// Goes on.
    #[must_use]
    pub fn and(self, text: impl Into<Text>) -> Self {
        self.with(Piece::Plain(text.into().sentence()))
    }

    /// Goes on with these.
    #[must_use]
    pub fn followed_by(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// What the sentence is about.
    #[must_use]
    pub fn strong(self, text: impl Into<Text>) -> Self {
        self.with(Piece::Strong(text.into().sentence()))
    }

    /// Something a machine reads.
    #[must_use]
    pub fn code(self, text: impl Into<Text>) -> Self {
        self.with(Piece::Code(text.into().sentence()))
    }

    /// A link to one of our own pages.
    #[must_use]
    pub fn link(self, to: Href, text: impl Into<Text>) -> Self {
        self.with(Piece::Link(to, text.into().sentence()))
    }

    /// A link to an address somebody typed: followed only when [`Href::new`] allows it, else shown.
    #[must_use]
    pub fn link_if_safe(self, address: &str, text: impl Into<Text>) -> Self {
        match Href::new(address) {
            Some(href) => self.link(href, text),
            None => self.and(text),
        }
    }

    /// A time.
    #[must_use]
    pub fn at(self, when: When) -> Self {
        self.with(Piece::When(when))
    }

    /// A badge.
    #[must_use]
    pub fn badge(self, badge: Badge) -> Self {
        self.with(Piece::Badge(badge))
    }

    /// A person.
    #[must_use]
    pub fn person(self, person: PersonRef) -> Self {
        self.with(Piece::Person(person))
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::say(text)
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::say(text)
    }
}

impl From<Text> for Words {
    fn from(text: Text) -> Self {
        Self::say(text)
    }
}

impl From<PersonRef> for Words {
    fn from(person: PersonRef) -> Self {
        Self(vec![Piece::Person(person)])
    }
}

impl From<When> for Words {
    fn from(when: When) -> Self {
        Self(vec![Piece::When(when)])
    }
}

impl From<Badge> for Words {
    fn from(badge: Badge) -> Self {
        Self(vec![Piece::Badge(badge)])
    }
}

/// Things known, each under its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::facts(self) }}"#
)]
pub struct Facts(pub Vec<(Text, Words)>);

impl HtmlSafe for Facts {}

impl Facts {
    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: impl Into<Text>, is: impl Into<Words>) -> Self {
        self.0.push((name.into(), is.into()));
        self
    }
}

/// One thing that happened, or is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineItem {
    /// How it looks; [`Look::Next`] for what has not happened yet.
    pub look: Look,
    /// When; nothing for what has not happened yet.
    pub when: Option<When>,
    /// Its state, if it has one.
    pub badge: Option<Badge>,
    /// What happened, a sentence.
    pub words: Words,
    /// More about it, in small print.
    pub detail: Option<Words>,
}

impl TimelineItem {
    /// Something that happened.
    pub fn new(look: Look, when: When, words: impl Into<Words>) -> Self {
        Self {
            look,
            when: Some(when),
            badge: None,
            words: words.into(),
            detail: None,
        }
    }

    /// Something still to come.
    pub fn next(words: impl Into<Words>) -> Self {
        Self {
            look: Look::Next,
            when: None,
            badge: None,
            words: words.into(),
            detail: None,
        }
    }

    /// With small print.
    #[must_use]
    pub fn detail(mut self, words: impl Into<Words>) -> Self {
        self.detail = Some(words.into());
        self
    }

    /// With a badge.
    #[must_use]
    pub fn badge(mut self, badge: Badge) -> Self {
        self.badge = Some(badge);
        self
    }
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::timeline(self) }}"#
)]
pub struct Timeline(pub Vec<TimelineItem>);

impl HtmlSafe for Timeline {}

/// A line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffLine {
    /// Stands in both.
    Same(Text),
    /// Stood there before.
    Removed(Text),
    /// Stands there now.
    Added(Text),
    /// So many lines left out, the same in both.
    Skipped(usize),
}

/// One row of the side by side view: what stood on the left, what stands on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffRow<'a> {
    /// The line before.
    pub before: Option<&'a Text>,
    /// The line after.
    pub after: Option<&'a Text>,
    /// Whether both are the same line.
    pub same: bool,
    /// So many lines left out here instead.
    pub skipped: usize,
}

/// One object or file, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(ext = "html", source = r#"{% import "parts.html" as p %}{{ p::diff(self) }}"#)]
pub struct Diff {
    /// Which object, e.g. `Deployment payments/web`.
    pub object: Text,
    /// Which file of the repository, when it was found there.
    pub path: Option<Text>,
    /// What the pull request does with it, or why it cannot.
    pub outcome: Option<Badge>,
    /// The lines, in order; removed lines stand before the added ones that replace them.
    pub lines: Vec<DiffLine>,
}

impl HtmlSafe for Diff {}

impl Diff {
    /// The rows of the side by side view: a run of removed lines beside the run of added ones.
    #[must_use]
    pub fn rows(&self) -> Vec<DiffRow<'_>> {
        let mut rows = Vec::new();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for line in &self.lines {
            match line {
                DiffLine::Removed(text) if added.is_empty() => removed.push(text),
                DiffLine::Removed(text) => {
                    pair_up(&mut rows, &mut removed, &mut added);
                    removed.push(text);
                }
                DiffLine::Added(text) => added.push(text),
                DiffLine::Same(text) => {
                    pair_up(&mut rows, &mut removed, &mut added);
                    rows.push(DiffRow {
                        before: Some(text),
                        after: Some(text),
                        same: true,
                        skipped: 0,
                    });
                }
                DiffLine::Skipped(count) => {
                    pair_up(&mut rows, &mut removed, &mut added);
                    rows.push(DiffRow {
                        before: None,
                        after: None,
                        same: true,
                        skipped: *count,
                    });
                }
            }
        }
        pair_up(&mut rows, &mut removed, &mut added);
        rows
    }
}

fn pair_up<'a>(rows: &mut Vec<DiffRow<'a>>, removed: &mut Vec<&'a Text>, added: &mut Vec<&'a Text>) {
    for i in 0..removed.len().max(added.len()) {
        rows.push(DiffRow {
            before: removed.get(i).copied(),
            after: added.get(i).copied(),
            same: false,
            skipped: 0,
        });
    }
    removed.clear();
    added.clear();
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; on a phone it stands before each value.
    pub head: Text,
    /// Whether it holds numbers: they align.
    pub numeric: bool,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// A mark at its edge for what needs a look.
    pub look: Option<Look>,
    /// One cell a column.
    pub cells: Vec<Words>,
}

/// A table, with what to say when it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::table(self) }}"#
)]
pub struct Table {
    /// What it shows, for those who cannot see where it stands.
    pub caption: Text,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<TableRow>,
    /// The sentence shown instead of no rows.
    pub empty: Words,
}

impl HtmlSafe for Table {}

impl Table {
    /// A table of these columns; a name that begins with `#` is a column of numbers.
    pub fn new(caption: impl Into<Text>, columns: &[&str], empty: impl Into<Words>) -> Self {
        let columns = columns
            .iter()
            .map(|name| Column {
                head: name.trim_start_matches('#').into(),
                numeric: name.starts_with('#'),
            })
            .collect();
        Self {
            caption: caption.into(),
            columns,
            rows: Vec::new(),
            empty: empty.into(),
        }
    }

    /// Adds a row.
    #[must_use]
    pub fn row(mut self, look: Option<Look>, cells: Vec<Words>) -> Self {
        self.rows.push(TableRow { look, cells });
        self
    }

    /// The cells of a row, each with its column.
    #[must_use]
    pub fn cells<'a>(&'a self, row: &'a TableRow) -> Vec<(&'a Column, &'a Words)> {
        self.columns.iter().zip(&row.cells).collect()
    }
}

/// Something to be told beside the rest.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(ext = "html", source = r#"{% import "parts.html" as p %}{{ p::note(self) }}"#)]
pub struct Note {
    /// How it looks.
    pub look: Look,
    /// Its first words, strong.
    pub title: Text,
    /// What it says.
    pub words: Words,
}

impl HtmlSafe for Note {}

impl Note {
    /// A note of that look.
    pub fn new(look: Look, title: impl Into<Text>, words: impl Into<Words>) -> Self {
        Self {
            look,
            title: title.into(),
            words: words.into(),
        }
    }
}

/// A number that links to what it counts.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::figure(self) }}"#
)]
pub struct Figure {
    /// What it counts.
    pub label: Text,
    /// The number, with its unit.
    pub value: Text,
    /// More about it.
    pub detail: Words,
    /// The list of what it counts.
    pub href: Href,
    /// A mark when it is not as it should be.
    pub look: Option<Look>,
}

impl HtmlSafe for Figure {}

/// A link that stands by itself as a card.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(ext = "html", source = r#"{% import "parts.html" as p %}{{ p::card(self) }}"#)]
pub struct Card {
    /// Where it leads.
    pub href: Href,
    /// What it is, one line.
    pub title: Text,
    /// Its state.
    pub badge: Option<Badge>,
    /// Enough to decide whether to open it.
    pub detail: Words,
}

impl HtmlSafe for Card {}

/// One of several values to choose from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What is shown.
    pub label: Text,
    /// Whether it is chosen.
    pub chosen: bool,
}

impl Choice {
    /// A choice.
    pub fn new(value: impl Into<String>, label: impl Into<Text>, chosen: bool) -> Self {
        Self {
            value: value.into(),
            label: label.into(),
            chosen,
        }
    }
}

/// One filter of a list: a drop-down that becomes a query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The name of the query parameter.
    pub name: &'static str,
    /// What is shown beside it.
    pub label: &'static str,
    /// Its values; the first, empty one means "all".
    pub choices: Vec<Choice>,
}

/// The way through a long list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::pager(self) }}"#
)]
pub struct Pager {
    /// What part of the list this is, e.g. "1 to 50 of 212".
    pub shows: Text,
    /// The page of newer ones.
    pub newer: Option<Href>,
    /// The page of older ones.
    pub older: Option<Href>,
}

impl HtmlSafe for Pager {}

/// One of the three dates by which a follow-up must get on.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"{% import "parts.html" as p %}{{ p::deadline_bar(self) }}"#
)]
pub struct DeadlineBar {
    /// What must be done by then: "opened", "merged", "converged".
    pub name: Text,
    /// When it is due.
    pub due: When,
    /// When it was met.
    pub met: Option<When>,
    /// How much of the time is used, 0 to 100.
    pub used: u8,
    /// On time, due soon, breached, met.
    pub badge: Badge,
}

impl HtmlSafe for DeadlineBar {}

/// A reason of the policy: what it looked at, and whether it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whether it speaks for it.
    pub allows: bool,
    /// In words.
    pub words: Words,
}

/// A picture drawn by the server from numbers, as SVG. It must come from our own drawing code:
/// it is written into the page as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_renders_itself_once_escaped() {
        let badge = Badge::new(Look::Live, "<act&ive>");
        let html = Words::say("now ").badge(badge).to_string();
        assert_eq!(
            html.trim(),
            "now <span class=\"badge live\"><span aria-hidden=\"true\">●</span> &#60;act&#38;ive&#62;</span>"
        );
    }

    #[test]
    fn a_link_that_must_not_be_followed_is_shown_as_text() {
        let html = Words::say("for ")
            .link_if_safe("javascript:alert(1)", "INC-4711")
            .to_string();
        assert_eq!(html.trim(), "for INC-4711");
    }

    #[test]
    fn removed_lines_stand_beside_those_that_replace_them() {
        let line = |text: &str| Text::from(text);
        let diff = Diff {
            object: "Deployment payments/web".into(),
            path: None,
            outcome: None,
            lines: vec![
                DiffLine::Same(line("spec:")),
                DiffLine::Removed(line("a: 1")),
                DiffLine::Removed(line("b: 1")),
                DiffLine::Added(line("a: 2")),
                DiffLine::Removed(line("c: 1")),
            ],
        };
        let rows = diff.rows();
        let sides: Vec<_> = rows
            .iter()
            .map(|r| (r.before.map(Text::plain), r.after.map(Text::plain)))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            sides,
            [
                (some("spec:"), some("spec:")),
                (some("a: 1"), some("a: 2")),
                (some("b: 1"), None),
                (some("c: 1"), None)
            ]
        );
    }

    #[test]
    fn a_column_of_numbers_is_marked() {
        let table = Table::new("t", &["Time", "#Answer"], "nothing");
        assert_eq!(
            table.columns[1],
            Column {
                head: "Answer".into(),
                numeric: true
            }
        );
    }
}
