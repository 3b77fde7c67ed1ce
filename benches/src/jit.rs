//! The `jit` suite: what translation costs, from the launcher's statistics of a boot to the shell.
//!
//! Whatever times (`..._cycles`) the launcher reports are shown; those of the translator's phases (`translate_..._cycles`) also per
//! guest instruction. With statistics on, blocks count themselves, so code is a little larger than it is otherwise.

use crate::figures::Statistic;
use crate::session::Session;
use crate::subject::{Machine, Subject};
use crate::table::Table;
use serde_json::{Map, Value};

/// A figure from one run; all are costs.
#[derive(Debug, PartialEq)]
struct Figure {
    name: String,
    group: &'static str,
    value: f64,
}

const PER_INSTRUCTION: &str = "per guest instruction translated";
const SECONDS: &str = "seconds";
const COUNTS: &str = "thousands";

/// The last JSON object in the launcher's messages.
fn parse(errors: &str) -> Result<Map<String, Value>, String> {
    let object = errors.lines().rev().find_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    object.ok_or_else(|| format!("the launcher gave no statistics:\n{errors}"))
}

fn figures(stats: &Map<String, Value>) -> Vec<Figure> {
    let number = |name: &str| stats.get(name).and_then(Value::as_f64);
    let hz = number("tsc_hz").filter(|&hz| hz > 0.0);
    let instructions = number("insns_translated").filter(|&n| n > 0.0);
    let mut figures = Vec::new();
    let mut add = |name: &str, group, value: Option<f64>| {
        figures.extend(value.map(|value| Figure { name: name.replace('_', " "), group, value }));
    };
    let seconds = |cycles: f64| Some(cycles / hz?);
    add("host bytes", PER_INSTRUCTION, number("code_bytes").and_then(|bytes| Some(bytes / instructions?)));
    for (name, value) in stats {
        let Some((phase, cycles)) = name.strip_suffix("_cycles").zip(value.as_f64()) else { continue };
        if phase.starts_with("translate") {
            let nanoseconds = seconds(cycles).and_then(|s| Some(s * 1e9 / instructions?));
            add(&format!("{phase} ns"), PER_INSTRUCTION, nanoseconds);
        }
    }
    add("wall", SECONDS, number("wall_seconds"));
    for (name, value) in stats {
        if let Some((phase, cycles)) = name.strip_suffix("_cycles").zip(value.as_f64()) {
            add(phase, SECONDS, seconds(cycles));
        }
    }
    for (name, value) in stats {
        let is_count =
            !name.ends_with("_cycles") && value.is_u64() && !["tsc_hz", "exit_code"].contains(&name.as_str());
        if is_count {
            add(name, COUNTS, value.as_f64().map(|count| count / 1000.0));
        }
    }
    figures
}

pub fn measure(machine: &Machine, subjects: &[Subject], runs: usize, statistic: Statistic) -> Result<Table, String> {
    let mut table = Table::new("Translation, in a boot to the shell", subjects);
    table.overall = false;
    for run in 1..=runs {
        for (column, subject) in subjects.iter().enumerate() {
            eprintln!("boot {run} of {runs}: {}", subject.name);
            let failed = |e| format!("{}: {e}", subject.name);
            let mut command = subject.command(machine).map_err(failed)?;
            command.arg("--stats=json");
            let end = Session::boot(command).and_then(Session::finish).map_err(failed)?;
            for figure in figures(&parse(&end.errors).map_err(failed)?) {
                let known = table.rows.iter().position(|row| row.name == figure.name && row.group == figure.group);
                let row = match known {
                    Some(row) => &mut table.rows[row],
                    None => table.add(&figure.name, figure.group),
                };
                row.cells[column].runs.push(figure.value);
            }
        }
    }
    for (column, subject) in subjects.iter().enumerate() {
        let translate = table.rows.iter().find(|row| row.name == "translate ns");
        if let Some(nanoseconds) = translate.and_then(|row| row.cells[column].figure(statistic)) {
            let rate = 1000.0 / nanoseconds;
            table.notes.push(format!("{}: {rate:.2} million guest instructions translated per second", subject.name));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "host-launcher: something\n{\"wall_seconds\":2.5,\"tsc_hz\":1000000000,\"exit_code\":0,\
        \"insns_translated\":1000,\"code_bytes\":9000,\"translate_cycles\":500000,\"translate_decode_cycles\":100000,\
        \"run_cycles\":2000000000,\"chains\":12,\"accel\":\"kvm\"}\n";

    fn value(figures: &[Figure], name: &str, group: &str) -> f64 {
        figures.iter().find(|f| f.name == name && f.group == group).unwrap().value
    }

    #[test]
    fn phases_are_found_by_their_names() {
        let figures = figures(&parse(STATS).unwrap());
        assert_eq!(value(&figures, "host bytes", PER_INSTRUCTION), 9.0);
        assert_eq!(value(&figures, "translate ns", PER_INSTRUCTION), 500.0);
        assert_eq!(value(&figures, "translate decode ns", PER_INSTRUCTION), 100.0);
        assert_eq!(value(&figures, "run", SECONDS), 2.0);
        assert_eq!(value(&figures, "wall", SECONDS), 2.5);
        assert_eq!(value(&figures, "chains", COUNTS), 0.012);
        assert!(!figures.iter().any(|f| f.name.contains("tsc") || f.name.contains("exit")));
    }

    #[test]
    fn missing_statistics_are_an_error_and_missing_fields_are_not() {
        assert!(parse("host-launcher: engine bug\n").is_err());
        assert_eq!(figures(&parse("{\"translate_cycles\":5}").unwrap()), []);
    }
}
