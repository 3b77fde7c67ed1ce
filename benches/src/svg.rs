//! Bar plots of a table's ratios to QEMU, as SVG.

use crate::table::Table;
use std::fmt::Write;
use std::path::Path;

const BAR: f64 = 16.0;
const GAP: f64 = 4.0;
const LEFT: f64 = 150.0;
const PLOT: f64 = 560.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 46.0;
/// One per group; readable on white and on dark backgrounds.
const COLOURS: [&str; 6] = ["#3b78c3", "#d0743c", "#4c9f70", "#8e63b5", "#b8982f", "#5f6b7a"];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A horizontal bar per benchmark on a logarithmic scale, and a line at "as fast as QEMU".
pub fn render(table: &Table) -> String {
    let mut bars: Vec<(String, f64, usize)> = Vec::new();
    for (number, group) in table.groups().into_iter().enumerate() {
        for row in table.rows.iter().filter(|row| row.group == group) {
            if let Some(&Some(ratio)) = table.ratios(row).qemu.first() {
                bars.push((row.name.clone(), ratio, number));
            }
        }
    }
    let lowest = bars.iter().map(|b| b.1).fold(0.5, f64::min).log2().floor();
    let highest = bars.iter().map(|b| b.1).fold(2.0, f64::max).log2().ceil();
    let x = |ratio: f64| LEFT + PLOT * (ratio.log2() - lowest) / (highest - lowest);
    let height = TOP + (BAR + GAP) * bars.len() as f64 + 30.0;
    let bottom = height - 24.0;
    let mut svg = String::new();
    let mut line = |text: String| {
        let _ = writeln!(svg, "{text}");
    };
    line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">",
        LEFT + PLOT + RIGHT
    ));
    line("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>".to_owned());
    line(format!("<text x=\"8\" y=\"16\" font-size=\"13\">{}</text>", escape(&table.title)));
    let mut at = LEFT;
    for (number, group) in table.groups().into_iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        line(format!("<rect x=\"{at}\" y=\"24\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"));
        line(format!("<text x=\"{}\" y=\"33\">{}</text>", at + 14.0, escape(group)));
        at += 30.0 + 7.0 * group.len() as f64;
    }
    for power in lowest as i32..=highest as i32 {
        let ratio = 2f64.powi(power);
        let (x, stroke) = (x(ratio), if power == 0 { "#000" } else { "#ddd" });
        line(format!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{stroke}\"/>"));
        line(format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{ratio}x</text>", height - 8.0));
    }
    for (i, (name, ratio, group)) in bars.iter().enumerate() {
        let y = TOP + (BAR + GAP) * i as f64 + GAP / 2.0;
        let (from, to) = (x(1.0).min(x(*ratio)), x(1.0).max(x(*ratio)));
        let colour = COLOURS[group % COLOURS.len()];
        line(format!(
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>",
            to - from
        ));
        line(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, y + 12.0, escape(name)));
        line(format!("<text x=\"{:.1}\" y=\"{:.1}\">{ratio:.2}</text>", to + 4.0, y + 12.0));
    }
    line("</svg>".to_owned());
    svg
}

pub fn write(table: &Table, path: &Path) -> Result<(), String> {
    std::fs::write(path, render(table)).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_per_ratio_left_or_right_of_one() {
        let svg = render(&crate::table::tests::sample());
        // The background, a legend entry per group, and a bar per row.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3);
        assert!(svg.contains(">2.00</text>") && svg.contains(">1.12</text>"));
        assert_eq!(svg.matches("stroke=\"#000\"").count(), 1);
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn names_are_escaped() {
        let mut table = crate::table::tests::sample();
        table.rows[0].name = "a<b & c".into();
        assert!(render(&table).contains("a&lt;b &amp; c"));
    }
}
