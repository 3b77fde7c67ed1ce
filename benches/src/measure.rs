//! Runs a list of jobs on all subjects in alternation, compares results and clocks, and makes the table.

use crate::job::{Job, Outcome, Outcomes, run};
use crate::subject::{Kind, Machine, Subject};
use crate::table::Table;
use std::time::Duration;

/// How far the guest's clock may be off the host's, over all programs: a part, and seconds for each program, as starting it takes time
/// that the guest's figures leave out.
const CLOCK_TOLERANCE: (f64, f64) = (0.1, 0.05);

pub struct Plan<'a> {
    pub title: &'a str,
    pub machine: &'a Machine,
    pub jobs: &'a [Job],
    pub rounds: usize,
    /// Whether processor time on the host counts, not time that passes.
    pub cpu_time: bool,
    /// Per program.
    pub limit: Duration,
}

/// Measures. Programs that fail or give wrong results are in the table's errors.
pub fn measure(plan: &Plan<'_>, subjects: &[Subject]) -> Table {
    let unit = if plan.cpu_time { "processor seconds" } else { "seconds" };
    let mut table = Table::new(&format!("{}: {unit}", plan.title), subjects);
    for job in plan.jobs {
        table.add(&job.name, &job.group);
    }
    // The expected result of each job and who gave it: this machine where it can.
    let mut expected: Vec<Option<(String, String)>> = vec![None; plan.jobs.len()];
    for round in 1..=plan.rounds {
        // Natively first, for the results to expect.
        let order = subjects.iter().enumerate().filter(|(_, s)| s.kind == Kind::Native);
        for (column, subject) in order.chain(subjects.iter().enumerate().filter(|(_, s)| s.kind != Kind::Native)) {
            eprintln!("round {round} of {}: {}", plan.rounds, subject.name);
            // What failed once isn't tried again: it may take its whole time limit.
            let rows: Vec<usize> = (0..plan.jobs.len())
                .filter(|&j| table.rows[j].cells[column].error.is_none())
                .filter(|&j| subject.kind != Kind::Native || plan.jobs[j].native.is_some())
                .collect();
            let jobs: Vec<&Job> = rows.iter().map(|&j| &plan.jobs[j]).collect();
            let outcomes = run(subject, plan.machine, &jobs, plan.limit);
            if subject.kind != Kind::Native {
                table.warnings.extend(clock_warning(&subject.name, &outcomes));
            }
            let figure = |outcome: &Outcome| if plan.cpu_time { outcome.cpu_seconds } else { outcome.seconds };
            for (&j, outcome) in rows.iter().zip(outcomes) {
                let cell = &mut table.rows[j].cells[column];
                match outcome {
                    Ok(outcome) if subject.kind == Kind::Native && !plan.jobs[j].portable => {
                        cell.runs.push(figure(&outcome));
                    }
                    Ok(outcome) => {
                        let (result, from) =
                            expected[j].get_or_insert_with(|| (outcome.result.clone(), subject.name.clone()));
                        if *result == outcome.result {
                            cell.runs.push(figure(&outcome));
                        } else {
                            cell.error = Some(format!("gives {}, {from} gives {result}", outcome.result));
                        }
                    }
                    Err(error) => cell.error = Some(error),
                }
            }
        }
    }
    table
}

/// Compares what the guest's clock and the host's say about the whole.
fn clock_warning(name: &str, outcomes: &Outcomes) -> Option<String> {
    let done = outcomes.iter().flatten();
    let count = |(n, guest, host): (f64, f64, f64), o: &Outcome| (n + 1.0, guest + o.seconds, host + o.host_seconds);
    let (n, guest, host) = done.fold((0.0, 0.0, 0.0), count);
    let off = (guest - host).abs() > (CLOCK_TOLERANCE.0 * host).max(CLOCK_TOLERANCE.1 * n);
    (host > 0.0 && off).then(|| format!("{name}: {guest:.2} s by the guest's clock, {host:.2} s by the host's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seconds: f64, host_seconds: f64) -> Result<Outcome, String> {
        Ok(Outcome { seconds, host_seconds, cpu_seconds: 0.0, result: String::new() })
    }

    #[test]
    fn clocks_that_agree_are_fine() {
        assert_eq!(clock_warning("x", &vec![outcome(1.0, 1.1), outcome(2.0, 2.0), Err("hung".into())]), None);
        assert_eq!(clock_warning("x", &vec![Err("hung".into())]), None);
    }

    #[test]
    fn starting_many_short_programs_is_no_slow_clock() {
        let short = |n| (0..n).map(|_| outcome(0.1, 0.14)).collect();
        assert_eq!(clock_warning("x", &short(60)), None);
        assert!(clock_warning("x", &(0..60).map(|_| outcome(0.1, 0.2)).collect()).is_some());
    }

    #[test]
    fn a_slow_or_fast_guest_clock_is_told() {
        assert!(clock_warning("x", &vec![outcome(1.0, 2.0)]).unwrap().contains("1.00 s by the guest's clock"));
        assert!(clock_warning("x", &vec![outcome(3.0, 2.0)]).is_some());
    }
}
