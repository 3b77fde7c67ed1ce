//! Tables of figures: a row per benchmark, a column per subject; how many times faster ours is than the fastest QEMU and how
//! many times slower than this machine itself; a geometric mean of those ratios per group.

use crate::figures::{Statistic, geometric_mean};
use crate::subject::{Kind, Subject};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

#[derive(Clone, Serialize)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

#[derive(Default)]
pub struct Cell {
    /// A figure per counted run.
    pub runs: Vec<f64>,
    /// Why there is none.
    pub error: Option<String>,
}

impl Cell {
    pub fn figure(&self, statistic: Statistic) -> Option<f64> {
        (self.error.is_none() && !self.runs.is_empty()).then(|| statistic.of(&self.runs))
    }
}

pub struct Row {
    pub name: String,
    pub group: String,
    /// As many as columns.
    pub cells: Vec<Cell>,
}

pub struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// How its figures come from those of the rounds.
    pub statistic: Statistic,
    /// Whether a mean over all groups makes sense.
    pub overall: bool,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// How a row's or group's columns compare; `None` where a figure is missing.
#[derive(Debug, Default, PartialEq)]
pub struct Ratios {
    /// The best QEMU's figure over each of ours: above 1, ours is better.
    pub qemu: Vec<Option<f64>>,
    /// The first of ours over each of the others of ours: above 1, the other one is better.
    pub first: Vec<Option<f64>>,
    /// The first of ours over this machine's.
    pub native: Option<f64>,
}

impl Table {
    pub fn new(title: &str, subjects: &[Subject]) -> Self {
        Self {
            title: title.to_owned(),
            columns: subjects.iter().map(|s| Column { name: s.name.clone(), kind: s.kind }).collect(),
            rows: Vec::new(),
            statistic: Statistic::default(),
            overall: true,
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds a row without figures.
    pub fn add(&mut self, name: &str, group: &str) -> &mut Row {
        let cells = self.columns.iter().map(|_| Cell::default()).collect();
        self.rows.push(Row { name: name.into(), group: group.into(), cells });
        self.rows.last_mut().expect("just pushed")
    }

    /// Adds the rows of a table with the same columns.
    pub fn merge(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.notes.extend(other.notes);
        self.warnings.extend(other.warnings);
    }

    /// Warns if a hypervisor gave much of the machine's time to others: such a part of what it wanted.
    pub fn warn_of_stolen_time(&mut self, part: f64) {
        if part > 0.02 {
            let percent = part * 100.0;
            self.warnings.push(format!(
                "{percent:.0} % of the processors' time went to other virtual machines: times are too long, by turns"
            ));
        }
    }

    fn of_kind<'a>(&'a self, row: &'a Row, kind: Kind) -> impl Iterator<Item = Option<f64>> + 'a {
        let cells = self.columns.iter().zip(&row.cells).filter(move |(c, _)| c.kind == kind);
        cells.map(|(_, cell)| cell.figure(self.statistic))
    }

    fn has(&self, kind: Kind) -> bool {
        self.columns.iter().any(|c| c.kind == kind)
    }

    pub fn ratios(&self, row: &Row) -> Ratios {
        let ours: Vec<Option<f64>> = self.of_kind(row, Kind::Ours).collect();
        let qemu = self.of_kind(row, Kind::Qemu).flatten().reduce(f64::min);
        let native = self.of_kind(row, Kind::Native).flatten().next();
        let over = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let first = ours.first().copied().flatten();
        Ratios {
            qemu: ours.iter().map(|&o| over(qemu, o)).collect(),
            first: ours.iter().skip(1).map(|&o| over(first, o)).collect(),
            native: over(first, native),
        }
    }

    /// Geometric means over those rows that have the figures.
    fn means(&self, group: Option<&str>) -> Ratios {
        let rows = self.rows.iter().filter(|row| group.is_none_or(|g| row.group == g));
        let ratios: Vec<Ratios> = rows.map(|row| self.ratios(row)).collect();
        let ours = self.columns.iter().filter(|c| c.kind == Kind::Ours).count();
        Ratios {
            qemu: (0..ours).map(|i| geometric_mean(ratios.iter().filter_map(|r| r.qemu[i]))).collect(),
            first: (1..ours).map(|i| geometric_mean(ratios.iter().filter_map(|r| r.first[i - 1]))).collect(),
            native: geometric_mean(ratios.iter().filter_map(|r| r.native)),
        }
    }

    /// The groups in the order of their first rows.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !groups.contains(&row.group.as_str()) {
                groups.push(&row.group);
            }
        }
        groups
    }

    /// Names of the ratios' columns.
    fn ratio_names(&self) -> Vec<String> {
        let ours: Vec<&str> = self.columns.iter().filter(|c| c.kind == Kind::Ours).map(|c| c.name.as_str()).collect();
        let mut names = Vec::new();
        if self.has(Kind::Qemu) {
            match ours.as_slice() {
                [_] => names.push("QEMU/ours".to_owned()),
                many => names.extend(many.iter().map(|name| format!("QEMU/{name}"))),
            }
        }
        if let Some((first, others)) = ours.split_first() {
            names.extend(others.iter().map(|name| format!("{first}/{name}")));
            if self.has(Kind::Native) {
                names.push(format!("{}/native", if others.is_empty() { "ours" } else { first }));
            }
        }
        names
    }

    /// In the order of [`Table::ratio_names`].
    fn ratio_figures(&self, ratios: &Ratios) -> Vec<Option<f64>> {
        let mut figures = Vec::new();
        if self.has(Kind::Qemu) {
            figures.extend(&ratios.qemu);
        }
        figures.extend(&ratios.first);
        if self.has(Kind::Ours) && self.has(Kind::Native) {
            figures.push(ratios.native);
        }
        figures
    }

    pub fn json(&self) -> Value {
        let named = |ratios: &Ratios| -> Value {
            self.ratio_names().into_iter().zip(self.ratio_figures(ratios)).map(|(n, f)| (n, json!(f))).collect()
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let cells: Vec<Value> = row
                    .cells
                    .iter()
                    .map(|cell| json!({ "median": cell.figure(Statistic::Median), "runs": cell.runs, "error": cell.error }))
                    .collect();
                json!({ "name": row.name, "group": row.group, "figures": cells, "ratios": named(&self.ratios(row)) })
            })
            .collect();
        let mut means: serde_json::Map<String, Value> =
            self.groups().into_iter().map(|g| (g.to_owned(), named(&self.means(Some(g))))).collect();
        if self.overall {
            means.insert("all".into(), named(&self.means(None)));
        }
        json!({ "title": self.title, "columns": self.columns, "rows": rows, "geometric_means": means, "notes": self.notes, "warnings": self.warnings })
    }

    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        let text = format!("{:#}\n", self.json());
        std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// What went wrong, one text per column and cause.
    pub fn errors(&self) -> Vec<String> {
        let mut errors: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for row in &self.rows {
            for (column, cell) in self.columns.iter().zip(&row.cells) {
                let Some(error) = &cell.error else { continue };
                match errors.iter_mut().find(|(c, e, _)| *c == column.name && e == error) {
                    Some((.., rows)) => rows.push(&row.name),
                    None => errors.push((&column.name, error, vec![&row.name])),
                }
            }
        }
        errors.into_iter().map(|(column, error, rows)| format!("{column}, {}: {error}", rows.join(", "))).collect()
    }

    fn write_means(&self, f: &mut fmt::Formatter<'_>, name: &str, width: usize, means: &Ratios) -> fmt::Result {
        let figures = self.ratio_figures(means);
        if figures.iter().all(Option::is_none) {
            return Ok(());
        }
        let used: usize = self.columns.iter().map(|c| column_width(&c.name)).sum();
        write!(f, "{name:<width$}{:used$}", "")?;
        for (name, figure) in self.ratio_names().iter().zip(figures) {
            write_figure(f, figure, column_width(name), 2)?;
        }
        writeln!(f)
    }
}

fn column_width(name: &str) -> usize {
    name.len().max(8) + 2
}

fn write_figure(f: &mut fmt::Formatter<'_>, figure: Option<f64>, width: usize, digits: usize) -> fmt::Result {
    match figure {
        Some(figure) => write!(f, "{figure:>width$.digits$}"),
        None => write!(f, "{:>width$}", "-"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len() + 2).max().unwrap_or(0).max(24);
        write!(f, "{}\n\n{:width$}", self.title, "")?;
        let ratio_names = self.ratio_names();
        for name in self.columns.iter().map(|c| &c.name).chain(&ratio_names) {
            let width = column_width(name);
            write!(f, "{name:>width$}")?;
        }
        writeln!(f)?;
        let mut slower = 0;
        for group in self.groups() {
            writeln!(f, "{group}")?;
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.group == group).collect();
            for row in &rows {
                write!(f, "  {:<1$}", row.name, width - 2)?;
                for (column, cell) in self.columns.iter().zip(&row.cells) {
                    let width = column_width(&column.name);
                    match &cell.error {
                        Some(_) => write!(f, "{:>width$}", "FAILED")?,
                        None => write_figure(f, cell.figure(self.statistic), width, 3)?,
                    }
                }
                let ratios = self.ratios(row);
                for (name, figure) in ratio_names.iter().zip(self.ratio_figures(&ratios)) {
                    write_figure(f, figure, column_width(name), 2)?;
                }
                let is_slower = ratios.qemu.iter().flatten().any(|&ratio| ratio < 1.0);
                slower += u32::from(is_slower);
                writeln!(f, "{}", if is_slower { "  < QEMU" } else { "" })?;
            }
            if rows.len() > 1 {
                self.write_means(f, "  geometric mean", width, &self.means(Some(group)))?;
            }
        }
        if self.overall && self.groups().len() > 1 {
            self.write_means(f, "geometric mean of all", width, &self.means(None))?;
        }
        if slower > 0 {
            writeln!(f, "{slower} of {} slower than QEMU, marked", self.rows.len())?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two of ours, two QEMUs, native; `b`'s first QEMU failed.
    pub fn sample() -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let mut table = Table {
            title: "sample".into(),
            columns: vec![
                column("old", Kind::Ours),
                column("new", Kind::Ours),
                column("QEMU a", Kind::Qemu),
                column("QEMU b", Kind::Qemu),
                column("native", Kind::Native),
            ],
            rows: Vec::new(),
            statistic: Statistic::default(),
            overall: true,
            notes: vec!["remark".into()],
            warnings: vec!["clocks".into()],
        };
        for (name, group, figures) in [
            ("a", "integer", [2.0, 1.0, 4.0, 6.0, 0.5]),
            ("b", "integer", [1.0, 1.0, 9.0, 1.0, 0.5]),
            ("c", "fp", [4.0, 5.0, 4.5, 8.0, 0.5]),
        ] {
            let row = table.add(name, group);
            for (cell, figure) in row.cells.iter_mut().zip(figures) {
                cell.runs = vec![figure, figure, 100.0];
                cell.runs.rotate_left(1);
            }
        }
        table.rows[1].cells[2].error = Some("hung".into());
        table
    }

    #[test]
    fn ratios_take_the_better_qemu_that_ran() {
        let table = sample();
        let expected = Ratios { qemu: vec![Some(2.0), Some(4.0)], first: vec![Some(2.0)], native: Some(4.0) };
        assert_eq!(table.ratios(&table.rows[0]), expected);
        assert_eq!(table.ratios(&table.rows[1]).qemu, [Some(1.0), Some(1.0)]);
    }

    #[test]
    fn the_least_of_the_rounds_counts_if_asked_for() {
        let mut table = sample();
        table.rows[0].cells[0].runs.push(0.5);
        table.statistic = Statistic::Least;
        assert_eq!(table.ratios(&table.rows[0]).qemu, [Some(8.0), Some(4.0)]);
        assert!(table.to_string().contains("  a                          0.500"), "{table}");
    }

    #[test]
    fn missing_figures_give_no_ratio_and_do_not_disturb_the_mean() {
        let mut table = sample();
        table.rows[1].cells[0].error = Some("wrong".into());
        assert_eq!(table.ratios(&table.rows[1]).qemu, [None, Some(1.0)]);
        let means = table.means(Some("integer"));
        assert!((means.qemu[0].unwrap() - 2.0).abs() < 1e-12);
        assert!((means.qemu[1].unwrap() - 2.0).abs() < 1e-12);
        table.rows[2].cells[2].error = Some("hung".into());
        assert_eq!(table.errors(), ["old, b: wrong", "QEMU a, b, c: hung"]);
    }

    #[test]
    fn the_text_marks_slower_and_failed_ones() {
        let text = sample().to_string();
        let line = |start: &str| text.lines().find(|l| l.trim_start().starts_with(start)).unwrap();
        assert!(line("c ").ends_with("< QEMU") && !line("a ").contains('<'));
        assert!(line("b ").contains("FAILED"));
        assert!(line("geometric mean of all").contains("1.31"), "{text}");
        assert!(text.contains("1 of 3 slower than QEMU") && text.contains("\nremark\nwarning: clocks"));
        assert!(text.contains("QEMU/old") && text.contains("old/new") && text.contains("old/native"));
    }

    #[test]
    fn json_has_runs_medians_ratios_and_means() {
        let json: Value = serde_json::from_str(&sample().json().to_string()).unwrap();
        assert_eq!(json["columns"][0]["kind"], "ours");
        assert_eq!(json["rows"][0]["figures"][2]["median"], 4.0);
        assert_eq!(json["rows"][0]["figures"][2]["runs"].as_array().unwrap().len(), 3);
        assert_eq!(json["rows"][1]["figures"][2]["error"], "hung");
        assert_eq!(json["rows"][0]["ratios"]["QEMU/new"], 4.0);
        assert!(json["geometric_means"]["fp"]["QEMU/old"].as_f64().unwrap() > 1.12);
        assert!(json["geometric_means"]["all"].is_object());
    }
}
