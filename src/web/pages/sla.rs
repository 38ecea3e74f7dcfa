//! SLA: are we paying our debts?

use super::{Figure, Filter, Href, Look, Note, Shell, Svg, Table, count};
use askama::Template;

/// `GET /sla`.
#[derive(Debug, Clone, Template)]
#[template(path = "sla.html")]
pub struct SlaPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// How many follow-ups are open.
    pub open: usize,
    /// How many of them are late.
    pub late: usize,
    /// The time and teams shown.
    pub filters: Vec<Filter>,
    /// The numbers; each links to what it counts.
    pub figures: Vec<Figure>,
    /// What is owed now, worst first.
    pub owed: Table,
    /// Teams whose requests need one more approval, and why.
    pub consequences: Vec<Note>,
    /// Closed in time and late by week, drawn.
    pub chart: Option<Svg>,
    /// The same as numbers.
    pub weeks: Table,
    /// By team.
    pub teams: Table,
    /// The CSV of this filter.
    pub csv: Href,
}

impl SlaPage {
    /// The answer in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        match (self.open, self.late) {
            (0, _) => "Nothing is owed to git.".to_owned(),
            (open, 0) => format!("{} open, none is late.", count(open, "debt is", "debts are")),
            (open, late) => {
                format!(
                    "{} open, {late} {} late.",
                    count(open, "debt is", "debts are"),
                    if late == 1 { "is" } else { "are" }
                )
            }
        }
    }

    /// How the answer looks.
    #[must_use]
    pub fn look(&self) -> Look {
        match (self.open, self.late) {
            (0, _) => Look::Done,
            (_, 0) => Look::Wait,
            _ => Look::Late,
        }
    }
}
