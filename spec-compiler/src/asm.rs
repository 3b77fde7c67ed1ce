//! Assembly text to instruction words and back, from the description's `asm` lines.
//!
//! Assembling matches the text against every form of every instruction. A match gives equations: this expression over the
//! fields has that value. They are solved by walking the expressions backwards (a field behind extensions, shifts and sums with
//! known terms is read off), and what resists is found by trying the values of small fields. A solution counts only if the
//! word decodes to that instruction and the form's expressions evaluate to what the text says.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::decoder::{self, Node, encoding, valid};
use crate::eval::{EvalError, Evaluator, Value, apply, field_value};
use crate::fixed;
use crate::model::{AsmForm, AsmPart, Decode, Insn, Model, PieceKind};
use crate::passes::{self, OptLevel};
use crate::ssa::{BinOp, Body, CmpOp, FieldId, Op, Region, Stmt, Ty, UnOp, ValueId, Width};

/// Combinations of small fields that are tried for one form.
const BUDGET: u32 = 1 << 14;
/// Fields of more bits are never tried value by value.
const TRY_BITS: u32 = 13;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    #[error("no instruction is written `{0}`")]
    NoMatch(String),
    #[error("line {line}: {message}")]
    Line { line: usize, message: String },
}

/// The assembly text of a word, or `None` if it is no instruction.
#[must_use]
pub fn disassemble(model: &Model, tree: &Node, word: u32, pc: u64) -> Option<String> {
    let insn = &model.insns[decoder::decode(model, tree, word)?];
    let fields = |f: FieldId| field_value(&insn.pattern, f, word);
    for form in &insn.asm {
        let mut e = Evaluator::new(&form.body, &fields, pc);
        if e.run().is_err() {
            continue;
        }
        if form.when.is_none_or(|w| e.get(w).is_ok_and(Value::truth)) {
            let mut out = String::new();
            print(model, &form.body, &form.parts, &e, &mut out).ok()?;
            return Some(out);
        }
    }
    None
}

fn print(model: &Model, body: &Body, parts: &[AsmPart], e: &Evaluator<'_>, out: &mut String) -> Result<(), EvalError> {
    for p in parts {
        match p {
            AsmPart::Text(s) => out.push_str(s),
            AsmPart::Name(table, v) => {
                let i = usize::try_from(e.get(*v)?.int()).unwrap_or(usize::MAX);
                out.push_str(model.names[*table].entries.get(i).map_or("?", String::as_str));
            }
            AsmPart::Dec(v) => {
                let _ = match body[*v].ty {
                    Ty::Int => write!(out, "#{}", e.get(*v)?.int()),
                    _ => write!(out, "#{}", e.get(*v)?.bits()),
                };
            }
            AsmPart::Hex(v) => {
                let _ = match (body[*v].ty, e.get(*v)?) {
                    (Ty::Int, Value::Int(i)) if i < 0 => write!(out, "#-{:#x}", i.unsigned_abs()),
                    (_, value) => write!(out, "#{:#x}", value.bits()),
                };
            }
            AsmPart::Address(v) => {
                let _ = write!(out, "{:#x}", e.get(*v)?.bits());
            }
            AsmPart::Choice(c, a, b) => print(model, body, if e.get(*c)?.truth() { a } else { b }, e, out)?,
        }
    }
    Ok(())
}

/// A description ready for assembling.
pub struct Assembler<'a> {
    model: &'a Model,
    /// Each instruction's forms and decode hook, with their bodies simplified.
    forms: Vec<(Vec<AsmForm>, Decode)>,
}

impl<'a> Assembler<'a> {
    #[must_use]
    pub fn new(model: &'a Model) -> Self {
        let forms = |i: &Insn| i.asm.iter().map(|f| simplified(model, f)).collect();
        Self { model, forms: model.insns.iter().map(|i| (forms(i), simplified_hook(model, &i.decode))).collect() }
    }

    /// The word for one instruction at `pc`.
    ///
    /// # Errors
    /// No form matches.
    pub fn assemble(&self, text: &str, pc: u64) -> Result<u32, AsmError> {
        let normal = normalise(text);
        // First words that are written like this, then ones for which another way is preferred.
        for preferred in [true, false] {
            for (insn, (forms, hook)) in self.model.insns.iter().zip(&self.forms) {
                for (i, form) in forms.iter().enumerate() {
                    let mut found = None;
                    let mut m = Matcher { model: self.model, body: &form.body };
                    let work: Vec<&AsmPart> = form.parts.iter().rev().collect();
                    let before = if preferred { &forms[..i] } else { &[] };
                    m.go(&work, normal.as_bytes(), b' ', &mut Vec::new(), &mut |equations| {
                        found = Solver::new(insn, form, before, hook, equations, pc).solve();
                        found.is_some()
                    });
                    if let Some(word) = found {
                        return Ok(word);
                    }
                }
            }
        }
        Err(AsmError::NoMatch(text.trim().to_owned()))
    }

    /// A small program: labels, instructions, `.word`, `.quad`, `.ascii`, `.asciz`, `.align`, `.space`, `//` comments. A label as an
    /// operand stands for its address.
    ///
    /// # Errors
    /// The first line that can't be assembled.
    pub fn program(&self, text: &str, base: u64) -> Result<Vec<u8>, AsmError> {
        let unit = u64::from(self.model.word_bits / 8);
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(i, l)| (i + 1, l.split("//").next().unwrap_or("").trim()))
            .filter(|(_, l)| !l.is_empty())
            .collect();
        let mut labels = HashMap::new();
        let mut at = base;
        for &(line, text) in &lines {
            if let Some(label) = text.strip_suffix(':') {
                labels.insert(label.trim().to_owned(), at);
            } else {
                at += directive_size(text, at).map_err(|message| AsmError::Line { line, message })?.unwrap_or(unit);
            }
        }
        let mut out = Vec::new();
        for &(line, text) in &lines {
            if text.ends_with(':') {
                continue;
            }
            let fail = |message: String| AsmError::Line { line, message };
            let pc = base + out.len() as u64;
            if text.starts_with('.') {
                directive(text, pc, &labels, &mut out).map_err(fail)?;
            } else {
                let word = self.assemble(&substitute(text, &labels), pc).map_err(|e| fail(e.to_string()))?;
                out.extend_from_slice(&word.to_le_bytes()[..unit as usize]);
            }
        }
        Ok(out)
    }
}

/// Assembles one instruction; for many, keep an [`Assembler`].
///
/// # Errors
/// See [`Assembler::assemble`].
pub fn assemble(model: &Model, text: &str, pc: u64) -> Result<u32, AsmError> {
    Assembler::new(model).assemble(text, pc)
}

/// The form with its body simplified, its values still findable: they become the root's results meanwhile.
fn simplified(model: &Model, form: &AsmForm) -> AsmForm {
    let mut form = form.clone();
    let mut values = Vec::new();
    values.extend(form.when);
    visit(&mut form.parts, &mut |v| values.push(*v));
    form.body.root.results = values;
    passes::optimise_body(model, &mut form.body, OptLevel::O2);
    let mut results = std::mem::take(&mut form.body.root.results).into_iter();
    if let Some(w) = &mut form.when
        && let Some(v) = results.next()
    {
        *w = v;
    }
    visit(&mut form.parts, &mut |v| {
        if let Some(new) = results.next() {
            *v = new;
        }
    });
    form
}

fn simplified_hook(model: &Model, hook: &Decode) -> Decode {
    let mut hook = hook.clone();
    hook.body.root.results = hook.valid.into_iter().collect();
    passes::optimise_body(model, &mut hook.body, OptLevel::O2);
    hook.valid = std::mem::take(&mut hook.body.root.results).pop().or(hook.valid);
    hook
}

fn visit(parts: &mut [AsmPart], f: &mut dyn FnMut(&mut ValueId)) {
    for p in parts {
        match p {
            AsmPart::Text(_) => {}
            AsmPart::Name(_, v) | AsmPart::Dec(v) | AsmPart::Hex(v) | AsmPart::Address(v) => f(v),
            AsmPart::Choice(v, a, b) => {
                f(v);
                visit(a, f);
                visit(b, f);
            }
        }
    }
}

/// One space between words, none after commas; case of everything but quoted text is the writer's business.
fn normalise(text: &str) -> String {
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

type Equation = (ValueId, Value);

struct Matcher<'a> {
    model: &'a Model,
    body: &'a Body,
}

impl Matcher<'_> {
    /// Matches the parts (last first) against `text`; `last` is the character before it. `found` says whether to stop.
    fn go(
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

/// The text after `template`; white space in either counts as in [`normalise`].
fn eat<'t>(template: &[u8], mut text: &'t [u8], mut last: u8) -> Option<(&'t [u8], u8)> {
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
fn number(text: &[u8]) -> Option<(i128, &[u8])> {
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

/// What is known of the word: bits of fields.
#[derive(Clone, Copy)]
struct Known {
    mask: u32,
    value: u32,
}

struct Solver<'a> {
    insn: &'a Insn,
    form: &'a AsmForm,
    /// Forms that must not apply.
    before: &'a [AsmForm],
    hook: &'a Decode,
    equations: Vec<Equation>,
    /// Conditions that the equations imply.
    assumed: HashMap<ValueId, bool>,
    pc: u64,
    budget: u32,
    /// All fields, small ones first.
    fields: Vec<FieldId>,
}

impl<'a> Solver<'a> {
    fn new(
        insn: &'a Insn,
        form: &'a AsmForm,
        before: &'a [AsmForm],
        hook: &'a Decode,
        equations: &[Equation],
        pc: u64,
    ) -> Self {
        let mut equations = equations.to_vec();
        equations.extend(form.when.map(|w| (w, Value::Bool(true))));
        let mut assumed = HashMap::new();
        for &(v, value) in &equations {
            if let Value::Bool(truth) = value {
                assume(&form.body, v, truth, &mut assumed);
            }
        }
        let mut fields: Vec<FieldId> = (0..insn.pattern.fields.len() as u32).map(FieldId).collect();
        fields.sort_by_key(|f| insn.pattern.fields[f.index()].width);
        Self { insn, form, before, hook, equations, assumed, pc, budget: BUDGET, fields }
    }

    fn solve(&mut self) -> Option<u32> {
        let e = encoding(self.insn);
        self.search(Known { mask: e.mask, value: e.value })
    }

    fn search(&mut self, mut known: Known) -> Option<u32> {
        let nothing = HashMap::new();
        loop {
            let before = known.mask;
            let fields = |f| self.known_field(known, f);
            let partial = Partial::run(&self.form.body, &fields, self.pc, &self.assumed);
            let hook = Partial::run(&self.hook.body, &fields, self.pc, &nothing);
            for &(v, value) in &self.equations {
                if partial.invert(self, v, value, &mut known).is_err() {
                    return None;
                }
            }
            if let Some(valid) = self.hook.valid
                && hook.invert(self, valid, Value::Bool(true), &mut known).is_err()
            {
                return None;
            }
            if known.mask == before {
                break;
            }
        }
        if self.budget == 0 {
            return None;
        }
        let unknown = self.fields.iter().copied().find(|&f| self.known_field(known, f).is_none());
        let Some(f) = unknown else {
            self.budget -= 1;
            return self.accept(known.value);
        };
        // A field that no equation mentions is zero unless a condition wants otherwise: small values come first.
        let width = self.insn.pattern.fields[f.index()].width;
        let tries = if width > TRY_BITS { 1 } else { 1_u32 << width };
        for n in 0..tries {
            let mut next = known;
            if self.set_field(f, u128::from(n), fixed::mask(width), &mut next).is_ok()
                && let Some(word) = self.search(next)
            {
                return Some(word);
            }
            if self.budget == 0 {
                return None;
            }
            self.budget -= 1;
        }
        None
    }

    /// The word, if it is this instruction and says what the text said.
    fn accept(&self, word: u32) -> Option<u32> {
        let e = encoding(self.insn);
        if word & e.mask != e.value || !valid(self.insn, word) {
            return None;
        }
        let fields = |f: FieldId| field_value(&self.insn.pattern, f, word);
        let mut evaluator = Evaluator::new(&self.form.body, &fields, self.pc);
        evaluator.run().ok()?;
        let holds = self.equations.iter().all(|&(v, want)| {
            evaluator.get(v).is_ok_and(|got| match (got, want) {
                (Value::Int(a), _) => a == want.int(),
                _ => got.bits() == want.bits(),
            })
        });
        let preferred = self.before.iter().any(|form| {
            let mut e = Evaluator::new(&form.body, &fields, self.pc);
            e.run().is_ok() && form.when.is_none_or(|w| e.get(w).is_ok_and(Value::truth))
        });
        (holds && !preferred).then_some(word)
    }

    fn known_field(&self, known: Known, f: FieldId) -> Option<u128> {
        let mut value = 0;
        for piece in &self.insn.pattern.pieces {
            if piece.kind == PieceKind::Field(f) {
                let m = (fixed::mask(piece.width) as u32) << piece.lo;
                if known.mask & m != m {
                    return None;
                }
                value = value << piece.width | u128::from((known.value & m) >> piece.lo);
            }
        }
        Some(value)
    }

    /// Sets those bits of a field that `mask` selects; an error if they are known to be different.
    fn set_field(&self, f: FieldId, value: u128, mask: u128, known: &mut Known) -> Result<(), Contradiction> {
        let mut left = self.insn.pattern.fields[f.index()].width;
        if value & !fixed::mask(left) & mask != 0 {
            return Err(Contradiction);
        }
        for piece in &self.insn.pattern.pieces {
            if piece.kind != PieceKind::Field(f) {
                continue;
            }
            left -= piece.width;
            let m = ((mask >> left & fixed::mask(piece.width)) as u32) << piece.lo;
            let v = ((value >> left & fixed::mask(piece.width)) as u32) << piece.lo & m;
            if (known.value ^ v) & known.mask & m != 0 {
                return Err(Contradiction);
            }
            known.mask |= m;
            known.value |= v;
        }
        Ok(())
    }
}

struct Contradiction;

/// Notes what follows from "this condition is `truth`".
fn assume(body: &Body, v: ValueId, truth: bool, assumed: &mut HashMap<ValueId, bool>) {
    assumed.insert(v, truth);
    let data = &body[v];
    match data.op {
        Op::BoolNot => assume(body, data.args[0], !truth, assumed),
        Op::BoolAnd if truth => data.args.iter().for_each(|&a| assume(body, a, true, assumed)),
        Op::BoolOr if !truth => data.args.iter().for_each(|&a| assume(body, a, false, assumed)),
        _ => {}
    }
}

/// The values of a body as far as the known fields determine them.
struct Partial<'a> {
    body: &'a Body,
    values: Vec<Option<Value>>,
    /// Results of `if`s with a known condition: the arm's value.
    alias: HashMap<ValueId, ValueId>,
    assumed: &'a HashMap<ValueId, bool>,
}

impl<'a> Partial<'a> {
    fn run(
        body: &'a Body,
        fields: &dyn Fn(FieldId) -> Option<u128>,
        pc: u64,
        assumed: &'a HashMap<ValueId, bool>,
    ) -> Self {
        let mut p = Self { body, values: vec![None; body.values.len()], alias: HashMap::new(), assumed };
        for (i, data) in body.values.iter().enumerate() {
            p.values[i] = match data.op {
                Op::Field(f) => fields(f).map(Value::Bits),
                Op::Int(v) => Some(Value::Int(v)),
                Op::Bool(v) => Some(Value::Bool(v)),
                Op::Bits(v) => Some(Value::Bits(v)),
                Op::Pc => Some(Value::Bits(u128::from(pc))),
                _ => None,
            };
        }
        p.region(&body.root);
        p
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(v) => {
                    if self.values[v.index()].is_none() {
                        self.values[v.index()] = self.compute(*v);
                    }
                }
                Stmt::If { cond, then, otherwise, results } => match self.truth(*cond) {
                    Some(c) => {
                        let arm = if c { then } else { otherwise };
                        self.region(arm);
                        for (&r, &v) in results.iter().zip(&arm.results) {
                            self.values[r.index()] = self.values[v.index()];
                            self.alias.insert(r, v);
                        }
                    }
                    None => {
                        self.region(then);
                        self.region(otherwise);
                    }
                },
                // What variables carry through a loop is left to trying.
                Stmt::For { .. } => {}
            }
        }
    }

    fn truth(&self, cond: ValueId) -> Option<bool> {
        self.values[cond.index()].map(Value::truth).or_else(|| self.assumed.get(&cond).copied())
    }

    fn width(&self, ty: Ty) -> Option<u32> {
        let n = match ty {
            Ty::Bits(Width::Const(n)) => n,
            Ty::Bits(Width::Value(w)) => u32::try_from(self.values[w.index()]?.int()).ok()?,
            Ty::Bool => 1,
            Ty::Int => 64,
            Ty::Flags | Ty::Unit => return None,
        };
        (1..=128).contains(&n).then_some(n)
    }

    fn compute(&self, v: ValueId) -> Option<Value> {
        let data = &self.body[v];
        if matches!(data.op, Op::VarGet(_) | Op::VarSet(_) | Op::IfResult | Op::Index) {
            return None;
        }
        let known = |i: usize| self.values[data.args.get(i)?.index()];
        // One side can decide.
        match data.op {
            Op::BoolAnd if [known(0), known(1)].contains(&Some(Value::Bool(false))) => return Some(Value::Bool(false)),
            Op::BoolOr if [known(0), known(1)].contains(&Some(Value::Bool(true))) => return Some(Value::Bool(true)),
            _ => {}
        }
        let args: Vec<Value> = data.args.iter().map(|a| self.values[a.index()]).collect::<Option<_>>()?;
        let widths: Vec<u32> = data.args.iter().map(|&a| self.width(self.body[a].ty).unwrap_or(0)).collect();
        apply(&data.op, self.width(data.ty).unwrap_or(0), &args, &widths).ok()
    }

    /// Learns fields from "`v` is `want`".
    fn invert(&self, s: &Solver<'_>, v: ValueId, want: Value, known: &mut Known) -> Result<(), Contradiction> {
        if let Some(got) = self.values[v.index()] {
            let same = match got {
                Value::Int(a) => a == want.int(),
                _ => got.bits() == want.bits(),
            };
            return if same { Ok(()) } else { Err(Contradiction) };
        }
        if let Some(&to) = self.alias.get(&v) {
            return self.invert(s, to, want, known);
        }
        let data = &self.body[v];
        let arg = |i: usize| data.args[i];
        let value = |i: usize| self.values[data.args[i].index()];
        let width = |i: usize| self.width(self.body[data.args[i]].ty);
        // The operand that isn't known, and the one that is.
        let other = || match (value(0), value(1)) {
            (None, Some(k)) => Some((0, k)),
            (Some(k), None) => Some((1, k)),
            _ => None,
        };
        let next: Option<(usize, Value)> = match data.op {
            Op::Field(f) => {
                let all = fixed::mask(s.insn.pattern.fields[f.index()].width);
                return s.set_field(f, want.bits(), all, known);
            }
            Op::ToInt => match (width(0), u128::try_from(want.int())) {
                (Some(n), Ok(x)) if x <= fixed::mask(n) => Some((0, Value::Bits(x))),
                (Some(_), _) => return Err(Contradiction),
                _ => None,
            },
            Op::ToIntSigned => match width(0) {
                Some(n) => {
                    let x = want.int() as u128 & fixed::mask(n);
                    if fixed::signed(n, x) != i128::from(want.int()) {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Bits(x)))
                }
                None => None,
            },
            Op::IntToBits => self.width(data.ty).filter(|n| *n <= 62).map(|_| (0, Value::Int(want.bits() as i64))),
            Op::IntAdd => other().and_then(|(i, k)| Some((i, Value::Int(want.int().checked_sub(k.int())?)))),
            Op::IntSub => match other() {
                Some((0, k)) => want.int().checked_add(k.int()).map(|x| (0, Value::Int(x))),
                Some((_, k)) => k.int().checked_sub(want.int()).map(|x| (1, Value::Int(x))),
                None => None,
            },
            Op::IntMul => match other() {
                Some((i, k)) if k.int() != 0 => {
                    if want.int() % k.int() != 0 {
                        return Err(Contradiction);
                    }
                    Some((i, Value::Int(want.int() / k.int())))
                }
                _ => None,
            },
            Op::IntShl => match other() {
                Some((0, k)) if (0..63).contains(&k.int()) => {
                    if want.int() & ((1 << k.int()) - 1) != 0 {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Int(want.int() >> k.int())))
                }
                _ => None,
            },
            Op::IntNeg => Some((0, Value::Int(want.int().wrapping_neg()))),
            Op::BitToBool | Op::BoolToBit => {
                Some((0, if data.op == Op::BitToBool { Value::Bits(want.bits()) } else { Value::Bool(want.truth()) }))
            }
            Op::BoolNot => Some((0, Value::Bool(!want.truth()))),
            Op::BoolAnd if want.truth() => {
                self.invert(s, arg(0), want, known)?;
                Some((1, want))
            }
            Op::BoolOr if !want.truth() => {
                self.invert(s, arg(0), want, known)?;
                Some((1, want))
            }
            Op::IntEq if want.truth() => other().map(|(i, k)| (i, Value::Int(k.int()))),
            Op::Cmp(CmpOp::Eq) if want.truth() => other().map(|(i, k)| (i, Value::Bits(k.bits()))),
            Op::Cmp(CmpOp::Ne) if !want.truth() => other().map(|(i, k)| (i, Value::Bits(k.bits()))),
            Op::Un(UnOp::Not) => self.width(data.ty).map(|n| (0, Value::Bits(fixed::not(n, want.bits())))),
            Op::Un(UnOp::Neg) => self.width(data.ty).map(|n| (0, Value::Bits(fixed::neg(n, want.bits())))),
            Op::Bin(BinOp::Add) => match (other(), self.width(data.ty)) {
                (Some((i, k)), Some(n)) => Some((i, Value::Bits(fixed::sub(n, want.bits(), k.bits())))),
                _ => None,
            },
            Op::Bin(BinOp::Sub) => match (other(), self.width(data.ty)) {
                (Some((0, k)), Some(n)) => Some((0, Value::Bits(fixed::add(n, want.bits(), k.bits())))),
                (Some((_, k)), Some(n)) => Some((1, Value::Bits(fixed::sub(n, k.bits(), want.bits())))),
                _ => None,
            },
            Op::Bin(BinOp::Xor) => other().map(|(i, k)| (i, Value::Bits(want.bits() ^ k.bits()))),
            Op::Zext => match width(0) {
                Some(n) if want.bits() > fixed::mask(n) => return Err(Contradiction),
                Some(_) => Some((0, Value::Bits(want.bits()))),
                None => None,
            },
            Op::Sext => match (width(0), self.width(data.ty)) {
                (Some(n), Some(to)) => {
                    let x = want.bits() & fixed::mask(n);
                    if fixed::sext(n, to, x) != want.bits() {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Bits(x)))
                }
                _ => None,
            },
            Op::ShlInt => match (value(1), self.width(data.ty)) {
                (Some(k), Some(n)) if (0..i64::from(n)).contains(&k.int()) => {
                    let k = k.int();
                    if want.bits() & fixed::mask(k as u32) != 0 {
                        return Err(Contradiction);
                    }
                    // The bits shifted out stay open.
                    return self.partly(s, arg(0), want.bits() >> k, fixed::mask(n - k as u32), known);
                }
                _ => None,
            },
            Op::Concat => {
                let Some(n) = width(1) else { return Ok(()) };
                self.invert(s, arg(0), Value::Bits(want.bits() >> n), known)?;
                Some((1, Value::Bits(want.bits() & fixed::mask(n))))
            }
            Op::Extract => match (value(1), self.width(data.ty)) {
                (Some(lo), Some(n)) if (0..64).contains(&lo.int()) => {
                    let lo = lo.int();
                    return self.partly(s, arg(0), want.bits() << lo, fixed::mask(n) << lo, known);
                }
                _ => None,
            },
            Op::AsWidth => Some((0, want)),
            Op::Select => match value(0) {
                Some(c) => Some((if c.truth() { 1 } else { 2 }, want)),
                None => None,
            },
            _ => None,
        };
        match next {
            Some((i, want)) => self.invert(s, arg(i), want, known),
            None => Ok(()),
        }
    }

    /// Learns from "these bits of `v` are known".
    fn partly(
        &self,
        s: &Solver<'_>,
        v: ValueId,
        bits: u128,
        mask: u128,
        known: &mut Known,
    ) -> Result<(), Contradiction> {
        if let Some(got) = self.values[v.index()] {
            return if (got.bits() ^ bits) & mask == 0 { Ok(()) } else { Err(Contradiction) };
        }
        if let Some(&to) = self.alias.get(&v) {
            return self.partly(s, to, bits, mask, known);
        }
        let data = &self.body[v];
        let own = self.width(self.body[v].ty).map(fixed::mask);
        match data.op {
            Op::Field(f) => {
                let all = fixed::mask(s.insn.pattern.fields[f.index()].width);
                s.set_field(f, bits & all, mask & all, known)
            }
            _ if own.is_some_and(|own| own & !mask == 0) => {
                self.invert(s, v, Value::Bits(bits & own.unwrap_or(0)), known)
            }
            // Low bits of a sum depend on low bits only.
            Op::Bin(BinOp::Add) if mask & mask.wrapping_add(1) == 0 => {
                let (a, b) = (self.values[data.args[0].index()], self.values[data.args[1].index()]);
                match (a, b) {
                    (None, Some(k)) => self.partly(s, data.args[0], bits.wrapping_sub(k.bits()) & mask, mask, known),
                    (Some(k), None) => self.partly(s, data.args[1], bits.wrapping_sub(k.bits()) & mask, mask, known),
                    _ => Ok(()),
                }
            }
            Op::Zext => match self.width(self.body[data.args[0]].ty).map(fixed::mask) {
                Some(inner) if bits & mask & !inner != 0 => Err(Contradiction),
                Some(inner) => self.partly(s, data.args[0], bits & inner, mask & inner, known),
                None => Ok(()),
            },
            // The sign must repeat above the operand; its own bits are learnt, `accept` checks the rest.
            Op::Sext => match self.width(self.body[data.args[0]].ty).map(fixed::mask) {
                Some(inner) => self.partly(s, data.args[0], bits & inner, mask & inner, known),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Bytes of a directive, `None` for an instruction.
fn directive_size(text: &str, at: u64) -> Result<Option<u64>, String> {
    let Some(text) = text.strip_prefix('.') else { return Ok(None) };
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let items = rest.split(',').count() as u64;
    Ok(Some(match name {
        "byte" => items,
        "word" => 4 * items,
        "quad" => 8 * items,
        "ascii" => string(rest)?.len() as u64,
        "asciz" => string(rest)?.len() as u64 + 1,
        "align" => padding(rest, at)?,
        "space" => constant(rest, &HashMap::new())?,
        _ => return Err(format!("unknown directive .{name}")),
    }))
}

fn padding(rest: &str, at: u64) -> Result<u64, String> {
    let align = 1_u64.checked_shl(u32::try_from(constant(rest, &HashMap::new())?).unwrap_or(64)).unwrap_or(1);
    Ok(at.wrapping_neg() & (align - 1))
}

fn directive(text: &str, at: u64, labels: &HashMap<String, u64>, out: &mut Vec<u8>) -> Result<(), String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let width = match name {
        ".byte" => 1,
        ".word" => 4,
        ".quad" => 8,
        ".ascii" | ".asciz" => {
            out.extend(string(rest)?);
            out.extend((name == ".asciz").then_some(0));
            return Ok(());
        }
        _ => {
            let n = directive_size(text, at)?.unwrap_or(0);
            out.resize(out.len() + usize::try_from(n).map_err(|e| e.to_string())?, 0);
            return Ok(());
        }
    };
    for item in rest.split(',') {
        out.extend_from_slice(&constant(item, labels)?.to_le_bytes()[..width]);
    }
    Ok(())
}

fn constant(text: &str, labels: &HashMap<String, u64>) -> Result<u64, String> {
    let text = text.trim();
    if let Some(&address) = labels.get(text) {
        return Ok(address);
    }
    match number(text.as_bytes()) {
        Some((v, [])) => Ok(v as u64),
        _ => Err(format!("`{text}` is no number and no label")),
    }
}

fn string(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.trim().strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut out = Vec::new();
    let mut chars = inner.ok_or("expected a string in quotes")?.bytes();
    while let Some(c) = chars.next() {
        out.push(match c {
            b'\\' => match chars.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(c) => c,
                None => return Err("a backslash at the end of a string".to_owned()),
            },
            c => c,
        });
    }
    Ok(out)
}

/// Labels among the operands become addresses.
fn substitute(text: &str, labels: &HashMap<String, u64>) -> String {
    let (mnemonic, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut out = mnemonic.to_owned();
    out.push(' ');
    let mut word = String::new();
    for c in operands.chars().chain(Some(' ')) {
        if c.is_alphanumeric() || c == '_' || c == '.' {
            word.push(c);
            continue;
        }
        match labels.get(&word) {
            Some(address) => {
                let _ = write!(out, "{address:#x}");
            }
            None => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    out
}
