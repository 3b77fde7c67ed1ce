//! Tables of figures: one row per benchmark, one column per subject, and how many times faster the first subject is than the
//! fastest of the others.

use crate::subject::Subject;
use serde::Serialize;
use std::fmt;
use std::path::Path;

#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub figures: Vec<f64>,
}

impl Row {
    /// The best other subject's figure over ours: above 1, ours is better.
    fn ratio(&self) -> f64 {
        let (ours, others) = self.figures.split_first().expect("a row has our figure");
        others.iter().copied().fold(f64::INFINITY, f64::min) / ours
    }
}

#[derive(Serialize)]
pub struct Table {
    pub title: String,
    pub subjects: Vec<String>,
    pub rows: Vec<Row>,
}

impl Table {
    pub fn new(title: &str, subjects: &[Subject]) -> Self {
        Self { title: title.to_owned(), subjects: subjects.iter().map(|s| s.name.clone()).collect(), rows: Vec::new() }
    }

    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        write!(f, "{:<24}", "")?;
        for subject in &self.subjects {
            write!(f, "{subject:>26}")?;
        }
        writeln!(f, "{:>12}", "QEMU / ours")?;
        for row in &self.rows {
            write!(f, "{:<24}", row.name)?;
            for figure in &row.figures {
                write!(f, "{figure:>26.3}")?;
            }
            writeln!(f, "{:>12.2}", row.ratio())?;
        }
        let timed: Vec<f64> = self.rows.iter().filter(|r| !r.name.starts_with("memory")).map(Row::ratio).collect();
        if timed.len() > 1 {
            let mean = (timed.iter().map(|r| r.ln()).sum::<f64>() / timed.len() as f64).exp();
            writeln!(f, "geometric mean of the times' ratios: {mean:.2}")?;
        }
        Ok(())
    }
}
