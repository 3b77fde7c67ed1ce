//! Text against the parts of an `asm` line: every way to match gives equations.

use crate::eval::Value;
use crate::fixed;
use crate::model::{AsmPart, Model};
use crate::ssa::{Body, Ty, ValueId, Width};

pub(super) type Equation = (ValueId, Value);

/// One space between words, none after commas; case of everything but quoted text is the writer's business.
pub(super) fn normalise(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if c.is_whitespace() {
            if !out.ends_with([' ', ',', '[', '{']) {
                out.push(' ');
            }
        } else {
            if matches!(c, ']' | ',' | '}') && out.ends_with(' ') {
                out.pop();
            }
            out.push(c.to_ascii_lowercase());
        }
    }
    out
}

pub(super) struct Matcher<'a> {
    pub(super) model: &'a Model,
    pub(super) body: &'a Body,
}

impl Matcher<'_> {
    /// The number of a system register, by its own or its generic name.
    fn register(&self, name: &str) -> Option<u16> {
        let known = self.model.sysregs.iter().find(|r| r.name.eq_ignore_ascii_case(name));
        known.map(crate::model::Sysreg::number).or_else(|| generic_number(name))
    }

    /// Matches the parts (last first) against `text`; `last` is the character before it. `found` says whether to stop.
    pub(super) fn go(
        &mut self,
        work: &[&AsmPart],
        text: &[u8],
        last: u8,
        equations: &mut Vec<Equation>,
        found: &mut dyn FnMut(&[Equation]) -> bool,
    ) -> bool {
        let Some((part, rest)) = work.split_last() else { return text.is_empty() && found(equations) };
        match part {
            AsmPart::Text(s) => match eat(s.as_bytes(), text, last) {
                Some((rest_text, last)) => self.go(rest, rest_text, last, equations, found),
                None => false,
            },
            AsmPart::Name(table, v) => {
                let entries = &self.model.names[*table].entries;
                for (i, entry) in entries.iter().enumerate() {
                    if let Some((rest_text, last)) = eat(entry.to_ascii_lowercase().as_bytes(), text, last) {
                        equations.push((*v, Value::Int(i as i64)));
                        let done = self.go(rest, rest_text, last, equations, found);
                        equations.pop();
                        if done {
                            return true;
                        }
                    }
                }
                false
            }
            AsmPart::Dec(v) | AsmPart::Hex(v) | AsmPart::Address(v) => {
                let Some((number, rest_text)) = number(text) else { return false };
                let value = match self.body[*v].ty {
                    Ty::Int => match i64::try_from(number) {
                        Ok(i) => Value::Int(i),
                        Err(_) => return false,
                    },
                    Ty::Bits(Width::Const(n)) => Value::Bits(number as u128 & fixed::mask(n)),
                    _ => Value::Bits(number as u128),
                };
                equations.push((*v, value));
                let done = self.go(rest, rest_text, b'0', equations, found);
                equations.pop();
                done
            }
            AsmPart::Register(v) => {
                let len = text.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
                let (name, rest_text) = text.split_at(len);
                let Some(number) = self.register(&String::from_utf8_lossy(name)) else { return false };
                equations.push((*v, Value::Bits(number.into())));
                let done = self.go(rest, rest_text, b'0', equations, found);
                equations.pop();
                done
            }
            AsmPart::Choice(c, a, b) => {
                for (arm, truth) in [(a, true), (b, false)] {
                    let mut inner: Vec<&AsmPart> = rest.to_vec();
                    inner.extend(arm.iter().rev());
                    equations.push((*c, Value::Bool(truth)));
                    let done = self.go(&inner, text, last, equations, found);
                    equations.pop();
                    if done {
                        return true;
                    }
                }
                false
            }
        }
    }
}

/// `s3_0_c1_c0_0` as a number.
fn generic_number(name: &str) -> Option<u16> {
    let mut parts = name.strip_prefix('s')?.split('_');
    let mut part = |prefix: &str, limit: u16| {
        let value: u16 = parts.next()?.strip_prefix(prefix)?.parse().ok()?;
        (value < limit).then_some(value)
    };
    let (op0, op1) = (part("", 4)?, part("", 8)?);
    let (n, m, op2) = (part("c", 16)?, part("c", 16)?, part("", 8)?);
    parts.next().is_none().then_some(op0 << 14 | op1 << 11 | n << 7 | m << 3 | op2)
}

/// The text after `template`; white space in either counts as in [`normalise`].
pub(super) fn eat<'t>(template: &[u8], mut text: &'t [u8], mut last: u8) -> Option<(&'t [u8], u8)> {
    for &c in template {
        let c = c.to_ascii_lowercase();
        if c == b' ' {
            if matches!(last, b' ' | b',' | b'[' | b'{') {
                continue;
            }
            // Nothing may follow where normalising removed the space before punctuation.
            if text.first() == Some(&b' ') {
                text = &text[1..];
                last = b' ';
                continue;
            }
            return None;
        }
        if text.first() != Some(&c) {
            return None;
        }
        text = &text[1..];
        last = c;
    }
    Some((text, last))
}

/// `#`, optional sign, decimal or hexadecimal digits.
pub(super) fn number(text: &[u8]) -> Option<(i128, &[u8])> {
    let mut t = text.strip_prefix(b"#").unwrap_or(text);
    let negative = t.first() == Some(&b'-');
    if negative {
        t = &t[1..];
    }
    let (radix, digits) = match t.strip_prefix(b"0x") {
        Some(rest) => (16, rest),
        None => (10, t),
    };
    let len = digits.iter().take_while(|c| (**c as char).is_digit(radix)).count();
    let value = i128::from_str_radix(std::str::from_utf8(&digits[..len]).ok()?, radix).ok()?;
    Some((if negative { -value } else { value }, &digits[len..]))
}
