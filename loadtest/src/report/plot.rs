//! Plots as SVG, to stand inside the report.

use crate::error::Failure;
use plotters::{
    coord::{
        combinators::IntoLogRange,
        ranged1d::{AsRangedCoord, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
};

const SIZE: (u32, u32) = (640, 300);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(127, 127, 127),
];

/// Lines over seconds.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: String,
    /// Whether the height is a logarithm's.
    pub(crate) log: bool,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Figures side by side: a group of bars for each name, a colour for each kind.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) kinds: Vec<String>,
    /// A name, and one figure for each kind where there is one.
    pub(crate) groups: Vec<(String, Vec<Option<f64>>)>,
}

/// An `<svg>` element.
pub(crate) fn draw(plot: &Plot) -> Result<String, Failure> {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max) * 1.35;
    let mut svg = String::new();
    let drawn = if plot.log {
        let bottom = points().map(|(_, y)| *y).filter(|y| *y > 0.0).fold(top, f64::min).max(top / 1e6);
        lines(&mut svg, plot, right, (bottom * 0.8..top.max(bottom)).log_scale())
    } else {
        lines(&mut svg, plot, right, 0.0..top)
    };
    drawn.map_err(|error| Failure::Plot(error.to_string()))?;
    Ok(svg)
}

fn lines<Y>(svg: &mut String, plot: &Plot, right: f64, height: Y) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{} ({})", plot.title, plot.unit), ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right, height)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("s").y_label_formatter(&|y| figure(*y)).draw()?;
    for (line, colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
        let above_nothing = line.points.iter().copied().filter(|(_, y)| !plot.log || *y > 0.0);
        chart
            .draw_series(LineSeries::new(above_nothing, colour.stroke_width(2)))?
            .label(&line.name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// An `<svg>` element.
pub(crate) fn draw_bars(bars: &Bars) -> Result<String, Failure> {
    let mut svg = String::new();
    bars_on(&mut svg, bars).map_err(|error| Failure::Plot(error.to_string()))?;
    Ok(svg)
}

fn bars_on(svg: &mut String, bars: &Bars) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let top = bars.groups.iter().flat_map(|(_, figures)| figures.iter().flatten()).copied().fold(f64::MIN_POSITIVE, f64::max);
    let groups = bars.groups.len();
    let name = |x: &f64| bars.groups.get(*x as usize).filter(|_| (x.fract() - 0.5).abs() < 0.01).map_or("", |(name, _)| name);
    let axis: RangedCoordf64 = (0.0..groups.max(1) as f64).into();
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{} ({})", bars.title, bars.unit), ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(axis, 0.0..top * 1.4)?;
    let format_name = |x: &f64| name(x).to_owned();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(groups * 2 + 1)
        .x_label_formatter(&format_name)
        .y_label_formatter(&|y| figure(*y))
        .draw()?;
    let width = 0.8 / bars.kinds.len().max(1) as f64;
    for ((at, kind), colour) in bars.kinds.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let bar = |(group, (_, figures)): (usize, &(String, Vec<Option<f64>>))| {
            let (height, left) = ((*figures.get(at)?)?, group as f64 + 0.1 + at as f64 * width);
            Some(Rectangle::new([(left, 0.0), (left + width * 0.9, height)], colour.filled()))
        };
        chart
            .draw_series(bars.groups.iter().enumerate().filter_map(bar))?
            .label(kind)
            .legend(|(x, y)| Rectangle::new([(x, y - 4), (x + 10, y + 4)], colour.filled()));
    }
    if bars.kinds.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{:.1}M", value / 1e6),
        large if large >= 1e4 => format!("{:.0}k", value / 1e3),
        large if large >= 10.0 || large == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_are_drawn_even_of_nothing() {
        let line = |points: &[(f64, f64)]| Line { name: "p99".into(), points: points.to_vec() };
        for points in [&[][..], &[(0.0, 0.0)], &[(0.0, 1.0), (1.0, 1000.0)]] {
            for log in [false, true] {
                let plot = Plot { title: "Latency".into(), unit: "ms".into(), log, lines: vec![line(points)] };
                let svg = draw(&plot).expect("drawn");
                assert!(svg.starts_with("<svg") && svg.contains("Latency (ms)"), "{points:?} {log}: {svg}");
            }
        }
    }

    #[test]
    fn bars_stand_under_their_names() {
        let groups = vec![("weft".to_owned(), vec![Some(1.5), Some(0.2)]), ("ws".to_owned(), vec![Some(2.2), None])];
        let kinds = vec!["single".to_owned(), "bursts".to_owned()];
        let svg = draw_bars(&Bars { title: "CPU".into(), unit: "× floor".into(), kinds, groups }).expect("drawn");
        for part in ["weft", "ws", "single", "bursts", "CPU (× floor)"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
