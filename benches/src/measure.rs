//! Runs a list of jobs on all subjects in alternation, compares results and clocks, and makes the table.

use crate::job::{Job, Outcome, Runner};
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
    // Natively first, for the results to expect.
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    order.sort_by_key(|&column| subjects[column].kind != Kind::Native);
    // The expected result of each job and who gave it: this machine where it can.
    let mut expected: Vec<Option<(String, String)>> = vec![None; plan.jobs.len()];
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let mut runners: Vec<Runner<'_>> = subjects.iter().map(|subject| Runner::new(subject, plan.machine)).collect();
        let mut done: Vec<Vec<Outcome>> = vec![Vec::new(); subjects.len()];
        for (row, (job, expected)) in table.rows.iter_mut().zip(plan.jobs.iter().zip(&mut expected)) {
            eprintln!("  {}", job.name);
            for &column in &order {
                let (runner, cell) = (&mut runners[column], &mut row.cells[column]);
                let native = runner.subject.kind == Kind::Native;
                // What failed once isn't tried again: it may take its whole time limit.
                if cell.error.is_some() || (native && job.native.is_none()) {
                    continue;
                }
                let name = &runner.subject.name;
                match runner.run(job, plan.limit) {
                    Ok(outcome) => {
                        eprintln!("    {name:<24}{:>10.3}", outcome.seconds);
                        match differs(&outcome, name, expected, !native || job.portable) {
                            None => cell.runs.push(if plan.cpu_time { outcome.cpu_seconds } else { outcome.seconds }),
                            wrong => cell.error = wrong,
                        }
                        done[column].push(outcome);
                    }
                    Err(error) => {
                        eprintln!("    {name:<24}    failed: {}", error.lines().next().unwrap_or_default());
                        cell.error = Some(error);
                    }
                }
            }
        }
        for (runner, done) in runners.into_iter().zip(&done) {
            if runner.subject.kind != Kind::Native {
                table.warnings.extend(clock_warning(&runner.subject.name, done));
            }
            runner.finish();
        }
    }
    table
}

/// What is wrong with the result that `name` gave, if others have to give the same. The first one counts.
fn differs(outcome: &Outcome, name: &str, expected: &mut Option<(String, String)>, portable: bool) -> Option<String> {
    if !portable {
        return None;
    }
    let (result, from) = expected.get_or_insert_with(|| (outcome.result.clone(), name.to_owned()));
    (*result != outcome.result).then(|| format!("gives {}, {from} gives {result}", outcome.result))
}

/// Compares what the guest's clock and the host's say about the whole.
fn clock_warning(name: &str, done: &[Outcome]) -> Option<String> {
    let count = |(n, guest, host): (f64, f64, f64), o: &Outcome| (n + 1.0, guest + o.seconds, host + o.host_seconds);
    let (n, guest, host) = done.iter().fold((0.0, 0.0, 0.0), count);
    let off = (guest - host).abs() > (CLOCK_TOLERANCE.0 * host).max(CLOCK_TOLERANCE.1 * n);
    (host > 0.0 && off).then(|| format!("{name}: {guest:.2} s by the guest's clock, {host:.2} s by the host's"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Clock, InGuest};

    fn outcome(seconds: f64, host_seconds: f64) -> Outcome {
        Outcome { seconds, host_seconds, cpu_seconds: 0.0, result: String::new() }
    }

    #[test]
    fn every_round_runs_what_did_not_fail() {
        let job = |name: &str, says: &str| Job {
            name: name.into(),
            group: "g".into(),
            clock: Clock::Program,
            portable: true,
            guest: InGuest::Line(String::new()),
            native: Some(("sh".into(), vec!["-c".into(), says.into()])),
        };
        let directory = tempfile::tempdir().unwrap();
        let turns = directory.path().join("turns").display().to_string();
        let count = |name: &str, rest: &str| job(name, &format!("echo {name} >> {turns}; {rest}"));
        let jobs = [
            count("fine", "echo seconds=2 checksum=7"),
            count("fails", "exit 3"),
            count("changes", &format!("echo seconds=1 checksum=$(wc -l < {turns})")),
        ];
        let machine = Machine { kernel: "".into(), initrd: None, memory: 1, append: String::new() };
        let limit = Duration::from_secs(60);
        let plan = Plan { title: "t", machine: &machine, jobs: &jobs, rounds: 2, cpu_time: false, limit };
        let table = measure(&plan, &[Subject::native()]);
        let cells: Vec<_> = table.rows.iter().map(|row| &row.cells[0]).collect();
        assert_eq!((cells[0].runs.as_slice(), &cells[0].error), (&[2.0, 2.0][..], &None));
        assert!(cells[1].runs.is_empty() && cells[1].error.as_ref().is_some_and(|e| e.contains("exit status: 3")));
        assert!(
            cells[2].runs.len() == 1 && cells[2].error.as_deref() == Some("gives 5, native gives 3"),
            "{:?}",
            cells[2].error
        );
        assert_eq!(std::fs::read_to_string(&turns).unwrap(), "fine\nfails\nchanges\nfine\nchanges\n");
    }

    #[test]
    fn clocks_that_agree_are_fine() {
        assert_eq!(clock_warning("x", &[outcome(1.0, 1.1), outcome(2.0, 2.0)]), None);
        assert_eq!(clock_warning("x", &[]), None);
    }

    #[test]
    fn starting_many_short_programs_is_no_slow_clock() {
        assert_eq!(clock_warning("x", &vec![outcome(0.1, 0.14); 60]), None);
        assert!(clock_warning("x", &vec![outcome(0.1, 0.2); 60]).is_some());
    }

    #[test]
    fn results_are_compared_with_the_first() {
        let gives = |result: &str| Outcome { result: result.into(), ..outcome(1.0, 1.0) };
        let mut expected = None;
        assert_eq!(differs(&gives("a"), "x", &mut expected, false), None);
        assert_eq!(differs(&gives("b"), "y", &mut expected, true), None);
        assert_eq!(differs(&gives("b"), "z", &mut expected, true), None);
        assert_eq!(differs(&gives("a"), "z", &mut expected, true).as_deref(), Some("gives a, y gives b"));
    }

    #[test]
    fn a_slow_or_fast_guest_clock_is_told() {
        assert!(clock_warning("x", &[outcome(1.0, 2.0)]).unwrap().contains("1.00 s by the guest's clock"));
        assert!(clock_warning("x", &[outcome(3.0, 2.0)]).is_some());
    }
}
