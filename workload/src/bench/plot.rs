//! The figures of a bench as a picture: rate and latency over the number of connections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::Row;

const SIZE: (u32, u32) = (1_000, 440);
/// Told apart also by whoever cannot tell red from green (Okabe and Ito's palette).
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 0, 0), RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws `rows` into the SVG `file`, one line per subject.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(file: &Path, title: &str, rows: &[Row]) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    draw_on(&root, title, rows).map_err(|detail| anyhow!("drawing {}: {detail}", file.display()))
}

fn draw_on(root: &Area, title: &str, rows: &[Row]) -> Result<(), String> {
    let text = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    root.fill(&WHITE).map_err(text)?;
    let body = root.titled(title, ("sans-serif", 18)).map_err(text)?;
    let (left, right) = body.split_horizontally(SIZE.0 / 2);
    panel(&left, "per second", rows, |row| row.per_second)?;
    panel(&right, "p99, ms", rows, |row| row.p99_ms)?;
    root.present().map_err(text)
}

fn panel(area: &Area, what: &str, rows: &[Row], figure: impl Fn(&Row) -> f64) -> Result<(), String> {
    let text = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        #[allow(clippy::cast_precision_loss, reason = "a number of connections is small")]
        lines.entry(&row.subject).or_default().push((row.connections as f64, figure(row)));
    }
    let points = || lines.values().flatten();
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
    let measured: BTreeSet<usize> = rows.iter().map(|row| row.connections).collect();
    #[allow(clippy::cast_precision_loss, reason = "a number of connections is small")]
    let measured = measured.into_iter().map(|connections| connections as f64).collect();
    let across = (least(|p| p.0) * 0.8..most(|p| p.0) * 1.25).log_scale().with_key_points(measured);
    let up = (least(|p| p.1) * 0.7..most(|p| p.1) * 1.4).log_scale();
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(across, up)
        .map_err(text)?;
    chart
        .configure_mesh()
        .x_desc("connections")
        .y_desc(what)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if *y < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
        .max_light_lines(0)
        .draw()
        .map_err(text)?;
    for ((subject, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        let colour = *colour;
        chart
            .draw_series(line)
            .map_err(text)?
            .label(*subject)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    // Where rates are still low and latencies too, few lines pass.
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()
        .map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_a_line_with_its_name() {
        let row = |subject: &str, connections, per_second| Row {
            bench: "commands",
            subject: subject.into(),
            connections,
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        draw(file.path(), "t", &[row("kafka", 1, 10.0), row("kafka", 64, 99.0), row("cqrs-es", 1, 3.0)]).unwrap();
        let svg = std::fs::read_to_string(file.path()).unwrap();
        assert!(svg.contains("kafka") && svg.contains("cqrs-es") && svg.contains("polyline"), "{svg}");
    }
}
