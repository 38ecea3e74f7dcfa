//! Charts, drawn by the server so that they need no script. The colours written here are names: the
//! stylesheet gives each its meaning in light and dark.

use super::Svg;
use plotters::prelude::*;
use thiserror::Error;

/// Paid in time.
const DONE: RGBColor = RGBColor(0x1f, 0x6b, 0x3a);
/// Paid late.
const LATE: RGBColor = RGBColor(0xb4, 0x23, 0x18);
/// Words and axes.
const SOFT: RGBColor = RGBColor(0x57, 0x5b, 0x62);
/// Lines behind.
const LINE: RGBColor = RGBColor(0xde, 0xda, 0xd2);

/// What one week closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    /// Its name, e.g. "W47".
    pub name: String,
    /// Follow-ups closed in time.
    pub in_time: u32,
    /// Follow-ups closed late.
    pub late: u32,
}

/// The drawing library refused to draw.
#[derive(Debug, Error)]
#[error("drawing the chart by week: {0}")]
pub struct ChartError(String);

/// Bars by week, in time below, late on top. Nothing when there is no week.
///
/// # Errors
/// When the drawing library fails; the table beside the chart holds the same numbers.
pub fn by_week(weeks: &[Week]) -> Result<Option<Svg>, ChartError> {
    if weeks.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    draw(weeks, &mut svg).map_err(|error| ChartError(error.to_string()))?;
    Ok(Some(Svg(svg)))
}

fn draw(weeks: &[Week], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let most = weeks
        .iter()
        .map(|week| week.in_time.saturating_add(week.late))
        .max()
        .unwrap_or(0)
        .max(4);
    let words = ("sans-serif", 16).into_font().color(&SOFT);
    let area = SVGBackend::with_string(svg, (560, 220)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(28)
        .build_cartesian_2d((0..weeks.len() - 1).into_segmented(), 0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINE)
        .axis_style(SOFT)
        .label_style(words)
        .x_labels(weeks.len())
        .y_labels(4)
        .x_label_formatter(&|at| match at {
            SegmentValue::CenterOf(i) => weeks.get(*i).map_or_else(String::new, |week| week.name.clone()),
            _ => String::new(),
        })
        .draw()?;
    for (from, to, colour) in [(0, 1, DONE), (1, 2, LATE)] {
        chart.draw_series(weeks.iter().enumerate().filter_map(|(i, week)| {
            let heights = [0, week.in_time, week.in_time.saturating_add(week.late)];
            (heights[from] < heights[to]).then(|| {
                let bounds = [
                    (SegmentValue::Exact(i), heights[from]),
                    (SegmentValue::Exact(i + 1), heights[to]),
                ];
                let mut bar = Rectangle::new(bounds, colour.filled());
                bar.set_margin(0, 0, 9, 9);
                bar
            })
        }))?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(name: &str, in_time: u32, late: u32) -> Week {
        Week {
            name: name.to_owned(),
            in_time,
            late,
        }
    }

    #[test]
    fn each_week_has_a_bar_for_what_it_closed_and_none_for_nothing() {
        let svg = by_week(&[week("W46", 5, 1), week("W47", 3, 0), week("W48", 0, 0)])
            .unwrap()
            .unwrap()
            .0;
        assert_eq!(
            (svg.matches("#1F6B3A").count(), svg.matches("#B42318").count()),
            (2, 1),
            "{svg}"
        );
        assert!(
            ["W46", "W47", "W48"].iter().all(|name| svg.contains(name)),
            "{svg}"
        );
        assert!(
            !svg.contains("style="),
            "a strict content security policy refuses inline style"
        );
    }

    #[test]
    fn no_week_is_no_chart_and_one_week_is_one() {
        assert_eq!(by_week(&[]).unwrap(), None);
        assert!(
            by_week(&[week("<W&1>", 1, 0)])
                .unwrap()
                .unwrap()
                .0
                .contains("&lt;W&amp;1&gt;")
        );
    }
}
