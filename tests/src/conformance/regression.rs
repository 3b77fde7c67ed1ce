//! Cases in files, with what they should do.
//!
//! A line is a name and a hexadecimal number; what isn't there is zero. Names after `expect` are of the outcome.

use super::{Case, End, MAX_WORDS, Outcome, SLOTS};
use std::fmt::Write as _;

/// The text of a case and its outcome; `comment` says what it is about.
#[must_use]
pub fn write(comment: &str, case: &Case, expected: &Outcome) -> String {
    let mut out = String::new();
    comment.lines().for_each(|l| {
        let _ = writeln!(out, "# {l}");
    });
    let mut line = |name: &str, v: u128| {
        if v != 0 {
            let _ = writeln!(out, "{name} {v:x}");
        }
    };
    line("slot", case.slot.into());
    case.words.iter().for_each(|&w| line("word", w.into()));
    line("turns", if case.turns == 1 { 0 } else { case.turns.into() });
    line("fpcr", case.fpcr.into());
    line("nzcv", case.nzcv.into());
    line("sp", case.sp.into());
    registers(&mut line, "", &case.x, &case.v);
    let (end, other) = match expected.end {
        End::Ran => (1, 0),
        End::Fault => (2, 0),
        End::Undefined => (3, 0),
        End::Other(n) => (4, n),
        End::Foreign => (5, 0),
    };
    line("expect.end", end);
    line("expect.other", other.into());
    line("expect.pc", expected.pc.into());
    line("expect.nzcv", expected.nzcv.into());
    line("expect.fpsr", expected.fpsr.into());
    line("expect.sp", expected.sp.into());
    line("expect.memory", expected.memory.into());
    registers(&mut line, "expect.", &expected.x, &expected.v);
    out
}

fn registers(line: &mut impl FnMut(&str, u128), prefix: &str, x: &[u64; 31], v: &[u128; 32]) {
    x.iter().enumerate().for_each(|(i, x)| line(&format!("{prefix}x{i}"), (*x).into()));
    v.iter().enumerate().for_each(|(i, v)| line(&format!("{prefix}v{i}"), *v));
}

/// Reads what [`write`] gave.
///
/// # Errors
/// The line that isn't understood.
pub fn read(text: &str) -> Result<(Case, Outcome), String> {
    let mut case = Case { slot: 0, words: Vec::new(), turns: 1, fpcr: 0, nzcv: 0, sp: 0, x: [0; 31], v: [0; 32] };
    let mut expected = Outcome { end: End::Ran, pc: 0, nzcv: 0, fpsr: 0, sp: 0, memory: 0, x: [0; 31], v: [0; 32] };
    let (mut end, mut other) = (1, 0);
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let wrong = || format!("not understood: {line}");
        let (name, number) = line.split_once(' ').ok_or_else(wrong)?;
        let value = u128::from_str_radix(number.trim(), 16).map_err(|_| wrong())?;
        let small = value as u64;
        let index = |name: &str| name[1..].parse::<usize>().ok();
        match name {
            "slot" => case.slot = small % SLOTS,
            "word" if case.words.len() < MAX_WORDS => case.words.push(small as u32),
            "turns" => case.turns = small,
            "fpcr" => case.fpcr = small as u32,
            "nzcv" => case.nzcv = small,
            "sp" => case.sp = small,
            "expect.end" => end = small,
            "expect.other" => other = small,
            "expect.pc" => expected.pc = small,
            "expect.nzcv" => expected.nzcv = small,
            "expect.fpsr" => expected.fpsr = small,
            "expect.sp" => expected.sp = small,
            "expect.memory" => expected.memory = small,
            _ => {
                let (x, v, register) = match name.strip_prefix("expect.") {
                    Some(register) => (&mut expected.x, &mut expected.v, register),
                    None => (&mut case.x, &mut case.v, name),
                };
                let i = index(register).ok_or_else(wrong)?;
                match register.as_bytes()[0] {
                    b'x' => *x.get_mut(i).ok_or_else(wrong)? = small,
                    b'v' => *v.get_mut(i).ok_or_else(wrong)? = value,
                    _ => return Err(wrong()),
                }
            }
        }
    }
    if case.turns.checked_mul(case.words.len() as u64).is_none_or(|n| n > MAX_WORDS as u64) {
        return Err("too many turns".to_owned());
    }
    expected.end = match end {
        1 => End::Ran,
        2 => End::Fault,
        3 => End::Undefined,
        5 => End::Foreign,
        _ => End::Other(other),
    };
    Ok((case, expected))
}
