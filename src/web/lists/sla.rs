//! SLA: are we paying our debts?

use super::chooser::{filter, names, query, set};
use super::feed_formats::table;
use super::feed_query::MANY;
use super::sla_figures::{Figures, Show, figures, monday_of, was_late, worst_first};
use crate::clock::Time;
use crate::domain::follow_up::{FollowUp, FollowUpState};
use crate::store::FollowUpFilter;
use crate::web::csrf::Fields;
use crate::web::pages::chart::{self, Week};
use crate::web::pages::sla::SlaPage;
use crate::web::pages::{
    Badge, Figure, Href, Look, Note, Place, Shell, Table, Words, count as counted, rough,
};
use crate::web::{App, Result, Signed, page as answer, shell};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::{Datelike, NaiveDate, TimeDelta};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The times that can be looked at, in weeks; the second is the default.
const WEEKS: &[(&str, &str)] = &[
    ("4", "4 weeks"),
    ("13", "13 weeks"),
    ("26", "26 weeks"),
    ("52", "52 weeks"),
];
const DEFAULT_WEEKS: i64 = 13;

/// What is asked for.
#[derive(Debug, Clone)]
struct Asked {
    team: Option<String>,
    weeks: i64,
    show: Show,
    week: Option<NaiveDate>,
}

impl Asked {
    fn read(raw: Option<String>) -> Self {
        let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
        let weeks = WEEKS.iter().any(|(value, _)| *value == fields.get("weeks"));
        Self {
            team: set(fields.get("team")),
            weeks: if weeks {
                fields.get("weeks").parse().unwrap_or(DEFAULT_WEEKS)
            } else {
                DEFAULT_WEEKS
            },
            show: Show::of(fields.get("show")),
            week: fields.get("week").parse().ok(),
        }
    }

    fn href(&self, path: &str, team: Option<&str>, show: Show, week: Option<NaiveDate>) -> String {
        let team = team.map_or_else(|| self.team.clone(), |team| Some(team.to_owned()));
        let query = query([
            ("team", team),
            (
                "weeks",
                (self.weeks != DEFAULT_WEEKS).then(|| self.weeks.to_string()),
            ),
            ("show", (show != Show::Owed).then(|| show.name().to_owned())),
            ("week", week.map(|week| week.to_string())),
        ]);
        format!("{path}{query}")
    }

    fn list(&self, team: Option<&str>, show: Show, week: Option<NaiveDate>) -> Href {
        Href::path(format!("{}#owed", self.href("/sla", team, show, week)))
    }

    /// Whether the list that is asked for has `follow_up`.
    fn lists(&self, follow_up: &FollowUp) -> bool {
        let of_week = |week: NaiveDate| match self.show {
            Show::InTime | Show::ClosedLate => follow_up.closed_at.is_some_and(|at| monday_of(at) == week),
            _ => monday_of(follow_up.from) == week,
        };
        self.show.has(follow_up) && self.week.is_none_or(of_week)
    }
}

/// Debts of that time, and every open one whatever its age: an old debt is the worst of all.
async fn read(app: &App, asked: &Asked, now: Time) -> Result<(Vec<Arc<FollowUp>>, Time)> {
    let since = now - TimeDelta::weeks(asked.weeks);
    let filter = FollowUpFilter {
        team: asked.team.clone(),
        limit: MANY,
        ..FollowUpFilter::default()
    };
    let mut found = app
        .broker
        .store
        .follow_ups(FollowUpFilter {
            since: Some(since),
            ..filter.clone()
        })
        .await?;
    let known: BTreeSet<_> = found.iter().map(|follow_up| follow_up.id).collect();
    let open = app
        .broker
        .store
        .follow_ups(FollowUpFilter { open: true, ..filter })
        .await?;
    found.extend(
        open.into_iter()
            .filter(|follow_up| !known.contains(&follow_up.id)),
    );
    worst_first(&mut found);
    Ok((found, since))
}

/// `GET /sla`.
///
/// # Errors
/// The store's.
pub async fn page(State(app): State<App>, signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let asked = Asked::read(raw);
    let now = app.broker.now();
    let shell = shell::shell(&app, &signed, "SLA", Some(Place::Sla)).await?;
    let (found, since) = read(&app, &asked, now).await?;
    let numbers = figures(&found, since, now);
    let drawn = weeks(&numbers);
    let chart = chart::by_week(&drawn).unwrap_or_else(|error| {
        // The table beside it holds the same numbers.
        tracing::error!(%error, "the chart could not be drawn");
        None
    });
    let view = SlaPage {
        open: numbers.counts["owed"],
        late: numbers.counts["late"],
        filters: vec![
            filter(
                "team",
                "Team",
                asked.team.as_deref(),
                names(app.config().teams.keys()),
            ),
            filter(
                "weeks",
                "Time",
                Some(asked.weeks.to_string().as_str()),
                WEEKS
                    .iter()
                    .map(|(value, words)| ((*value).to_owned(), (*words).to_owned())),
            ),
        ],
        figures: shown(&numbers, &asked),
        owed: listed(&app, &shell, &found, &asked),
        consequences: consequences(&found),
        chart,
        weeks: week_table(&numbers, &asked),
        teams: team_table(&numbers, &asked),
        csv: Href::path(asked.href("/sla.csv", None, asked.show, asked.week)),
        shell,
    };
    answer(&view)
}

fn shown(numbers: &Figures, asked: &Asked) -> Vec<Figure> {
    let figure = |label: &str, value: String, detail: &str, show: Show, look: Option<Look>| Figure {
        label: label.into(),
        value: value.into(),
        detail: Words::say(detail),
        href: asked.list(None, show, None),
        look,
    };
    let count = |name: &str| numbers.counts[name];
    let share =
        |percent: Option<usize>| percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"));
    let time = |time: Option<TimeDelta>| time.map_or_else(|| "–".to_owned(), rough);
    let late = count("late");
    vec![
        figure(
            "Owed now",
            count("owed").to_string(),
            "open debts, of any age",
            Show::Owed,
            None,
        ),
        figure(
            "Late now",
            late.to_string(),
            "missed a deadline and still open",
            Show::Late,
            (late > 0).then_some(Look::Late),
        ),
        figure(
            "Closed in time",
            share(numbers.in_time_percent),
            "of all that were closed",
            Show::InTime,
            None,
        ),
        figure(
            "Closed late",
            count("closed-late").to_string(),
            "a deadline was missed on the way",
            Show::ClosedLate,
            None,
        ),
        figure(
            "Time to git, median",
            time(numbers.to_git_median),
            "from the end of the access to the merge",
            Show::ToGit,
            None,
        ),
        figure(
            "Time to git, 9 of 10",
            time(numbers.to_git_p90),
            "were merged within this",
            Show::ToGit,
            None,
        ),
        figure(
            "No drift",
            share(numbers.no_drift_percent),
            "of the emergencies left git as it was",
            Show::NoDrift,
            None,
        ),
        figure(
            "Emergencies",
            count("all").to_string(),
            "in this time, and older ones still open",
            Show::All,
            None,
        ),
    ]
}

fn listed(app: &App, shell: &Shell, found: &[Arc<FollowUp>], asked: &Asked) -> Table {
    let title = match asked.week {
        Some(week) => format!("{}, week of {week}", asked.show.title()),
        None => asked.show.title().to_owned(),
    };
    let empty = if asked.show == Show::Owed {
        "Nothing is owed."
    } else {
        "Nothing is in this list."
    };
    let mut table = Table::new(
        title,
        &["State", "Team", "Emergency", "Whose", "Next", "Pull request"],
        empty,
    );
    for follow_up in found.iter().filter(|follow_up| asked.lists(follow_up)) {
        let name = format!("{} on {}", follow_up.profile, follow_up.cluster);
        let emergency = Words::default().link(Href::path(format!("/follow-ups/{}", follow_up.id)), name);
        let whose = Words::default().person(shell::person_ref(app, &follow_up.requester));
        let next = match (follow_up.next_deadline(), follow_up.closed_at) {
            (Some(deadline), _) => {
                let words = if deadline.is_breached() {
                    "should have been "
                } else {
                    ""
                };
                Words::say(format!("{words}{} by ", deadline.goal.name())).at(shell.when(deadline.due))
            }
            (None, Some(closed)) => Words::say("closed ").at(shell.when(closed)),
            (None, None) => Words::say("nothing has a date"),
        };
        let pull = follow_up.pull.as_ref().map_or_else(
            || Words::say("none"),
            |pull| Words::default().link_if_safe(&pull.url, format!("#{}", pull.number)),
        );
        let badge = badge(follow_up);
        let look = follow_up.is_breached().then_some(Look::Late);
        let cells = vec![
            Words::default().badge(badge),
            Words::say(&follow_up.team),
            emergency,
            whose,
            next,
            pull,
        ];
        table = table.row(look, cells);
    }
    table
}

fn badge(follow_up: &FollowUp) -> Badge {
    let look = match follow_up.state {
        _ if follow_up.is_breached() => Look::Late,
        FollowUpState::Capturing => Look::Info,
        FollowUpState::Owed | FollowUpState::Merged | FollowUpState::Rejected => Look::Wait,
        _ if !follow_up.is_closed() => Look::Wait,
        _ => Look::Done,
    };
    let word = if follow_up.is_breached() {
        format!("{}, late", follow_up.state.name())
    } else {
        follow_up.state.name().to_owned()
    };
    Badge::new(look, word)
}

fn consequences(found: &[Arc<FollowUp>]) -> Vec<Note> {
    let teams: BTreeSet<_> = found
        .iter()
        .filter(|follow_up| follow_up.is_breached())
        .map(|f| &f.team)
        .collect();
    let note = |team: &String| {
        let late = found
            .iter()
            .filter(|follow_up| follow_up.is_breached() && follow_up.team == *team)
            .count();
        let words = format!(
            "{} late: until closed or waived, each new request of the team needs one more approval, from outside \
             the team. Nobody is locked out of an emergency.",
            counted(late, "debt is", "debts are")
        );
        Note::new(Look::Late, format!("Team {team}"), Words::say(words))
    };
    teams.into_iter().map(note).collect()
}

fn weeks(numbers: &Figures) -> Vec<Week> {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    // A name under every bar of a year would be unreadable.
    let every = numbers.weeks.len().div_ceil(14).max(1);
    let named = |(at, (monday, week)): (usize, (&NaiveDate, &super::sla_figures::Week))| Week {
        name: if at % every == 0 {
            format!("W{}", monday.iso_week().week())
        } else {
            String::new()
        },
        in_time: small(week.in_time),
        late: small(week.late),
    };
    numbers.weeks.iter().enumerate().map(named).collect()
}

fn week_table(numbers: &Figures, asked: &Asked) -> Table {
    let columns = ["Week of", "#Began", "#Closed in time", "#Closed late"];
    let mut table = Table::new("By week", &columns, "No week is shown.");
    for (monday, week) in numbers.weeks.iter().rev() {
        let link = |count: usize, show: Show| {
            Words::default().link(asked.list(None, show, Some(*monday)), count.to_string())
        };
        let cells = vec![
            Words::say(monday.to_string()),
            link(week.opened, Show::All),
            link(week.in_time, Show::InTime),
            link(week.late, Show::ClosedLate),
        ];
        table = table.row(None, cells);
    }
    table
}

fn team_table(numbers: &Figures, asked: &Asked) -> Table {
    let columns = [
        "Team",
        "#Emergencies",
        "#Owed",
        "#Late",
        "#In time",
        "#Closed late",
    ];
    let mut table = Table::new("By team", &columns, "No team had an emergency in this time.");
    for (name, team) in &numbers.teams {
        let link = |count: usize, show: Show| {
            Words::default().link(asked.list(Some(name), show, None), count.to_string())
        };
        let cells = vec![
            Words::say(name),
            link(team.emergencies, Show::All),
            link(team.open, Show::Owed),
            link(team.late, Show::Late),
            link(team.in_time, Show::InTime),
            link(team.closed_late, Show::ClosedLate),
        ];
        table = table.row((team.late > 0).then_some(Look::Late), cells);
    }
    table
}

/// `GET /sla.csv`: the list that the page shows, with every deadline.
///
/// # Errors
/// The store's.
pub async fn csv(State(app): State<App>, _signed: Signed, RawQuery(raw): RawQuery) -> Result<Response> {
    let asked = Asked::read(raw);
    let (found, _) = read(&app, &asked, app.broker.now()).await?;
    let base = app.config().server.public_url.base();
    let rows = found
        .iter()
        .filter(|follow_up| asked.lists(follow_up))
        .map(|follow_up| {
            let time = |at: Option<Time>| at.map(|at| at.to_rfc3339()).unwrap_or_default();
            let mut row = vec![
                follow_up.id.to_string(),
                follow_up.team.clone(),
                follow_up.requester.name.clone(),
                follow_up.cluster.clone(),
                follow_up.profile.clone(),
                follow_up.state.name().to_owned(),
                if was_late(follow_up) { "yes" } else { "no" }.to_owned(),
                follow_up.from.to_rfc3339(),
            ];
            for goal in ["opened", "merged", "converged", "reviewed"] {
                let deadline = follow_up
                    .deadlines
                    .iter()
                    .find(|deadline| deadline.goal.name() == goal);
                row.push(time(deadline.map(|deadline| deadline.due)));
                row.push(time(deadline.and_then(|deadline| deadline.met_at)));
            }
            row.push(time(follow_up.closed_at));
            row.push(
                follow_up
                    .pull
                    .as_ref()
                    .map(|pull| pull.url.clone())
                    .unwrap_or_default(),
            );
            row.push(format!("{base}/follow-ups/{}", follow_up.id));
            row
        });
    let head = [
        "follow_up",
        "team",
        "whose",
        "cluster",
        "profile",
        "state",
        "late",
        "access_ended",
        "opened_due",
        "opened",
        "merged_due",
        "merged",
        "converged_due",
        "converged",
        "reviewed_due",
        "reviewed",
        "closed",
        "pull_request",
        "page",
    ];
    table("sla.csv", &head, rows)
}
