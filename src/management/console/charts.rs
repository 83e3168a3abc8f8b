//! Small charts, drawn on the server: shapes with numbers, which the templates put into SVG.

/// Drawn in a box of these units.
pub const WIDTH: u32 = 600;
pub const HEIGHT: u32 = 120;

/// A bar for each step of time.
pub struct Bars {
    pub bars: Vec<Bar>,
    pub most: u64,
    pub first: String,
    pub last: String,
}

pub struct Bar {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub title: String,
}

/// A line over the same steps.
pub struct Line {
    /// For `points` of a polyline.
    pub points: String,
    pub name: &'static str,
    pub class: &'static str,
}

/// One row of a list with its share of the largest.
pub struct Share {
    pub name: String,
    pub link: String,
    pub total: String,
    /// Percent.
    pub share: u64,
}

pub fn bars(series: Vec<(String, u64)>) -> Bars {
    let most = series.iter().map(|(_, total)| *total).max().unwrap_or(0);
    let step = f64::from(WIDTH) / series.len().max(1) as f64;
    let bar = |(at, (label, total)): (usize, &(String, u64))| {
        let height = scaled(*total as f64, most as f64);
        Bar {
            x: round(at as f64 * step + step * 0.1),
            y: round(f64::from(HEIGHT) - height),
            width: round(step * 0.8),
            height: round(height),
            title: format!("{label}: {total}"),
        }
    };
    let label = |pair: Option<&(String, u64)>| pair.map(|(label, _)| label.clone()).unwrap_or_default();
    Bars {
        first: label(series.first()),
        last: label(series.last()),
        bars: series.iter().enumerate().map(bar).collect(),
        most,
    }
}

/// `None` in a series: there was no measurement in that step.
pub fn line(name: &'static str, class: &'static str, series: &[Option<f64>], most: f64) -> Line {
    let step = f64::from(WIDTH) / series.len().max(1) as f64;
    // A value spans its whole step, so that a single one is visible, too.
    let point = |(at, value): (usize, &Option<f64>)| {
        let (from, to) = (round(at as f64 * step), round((at + 1) as f64 * step));
        value.map(|value| {
            let y = round(f64::from(HEIGHT) - scaled(value, most));
            format!("{from},{y} {to},{y}")
        })
    };
    let points: Vec<String> = series.iter().enumerate().filter_map(point).collect();
    Line { points: points.join(" "), name, class }
}

pub fn shares(rows: Vec<(String, String, u64)>) -> Vec<Share> {
    let most = rows.iter().map(|(_, _, total)| *total).max().unwrap_or(0).max(1);
    let share = |(name, link, total): (String, String, u64)| Share {
        name,
        link,
        total: super::words::number(total),
        share: (total * 100).div_ceil(most),
    };
    rows.into_iter().map(share).collect()
}

/// A value above zero is at least two units high, so that it can be seen.
fn scaled(value: f64, most: f64) -> f64 {
    if value <= 0.0 || most <= 0.0 { 0.0 } else { (value / most * f64::from(HEIGHT - 4)).max(2.0) }
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_in_their_box() {
        let bars = bars(vec![("a".to_owned(), 0), ("b".to_owned(), 1), ("c".to_owned(), 1000)]);
        assert_eq!(bars.most, 1000);
        assert!(bars.bars.iter().all(|bar| bar.y >= 0.0 && bar.x + bar.width <= f64::from(WIDTH)));
        assert_eq!((bars.bars[0].height, bars.bars[1].height), (0.0, 2.0));
        assert_eq!(line("p50", "x", &[None, Some(10.0)], 10.0).points, "300,4 600,4");
        assert_eq!(shares(vec![("a".to_owned(), String::new(), 3), ("b".to_owned(), String::new(), 1)])[1].share, 34);
    }
}
