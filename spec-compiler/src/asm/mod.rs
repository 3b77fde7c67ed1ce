//! Assembly text to instruction words and back, from the description's `asm` lines.
//!
//! Assembling matches the text against every form of every instruction. A match gives equations: this expression over the
//! fields has that value. They are solved by walking the expressions backwards (a field behind extensions, shifts and sums with
//! known terms is read off), and what resists is found by trying the values of small fields. A solution counts only if the
//! word decodes to that instruction and the form's expressions evaluate to what the text says.

mod invert;
mod matching;
mod program;
mod solve;

use std::fmt::Write as _;

use self::matching::{Matcher, normalise};
use self::solve::Solver;
use crate::decoder::{self, Node};
use crate::eval::{EvalError, Evaluator, Value, field_value};
use crate::model::{AsmForm, AsmPart, Decode, Insn, Model, generic_register};
use crate::passes::{self, OptLevel};
use crate::ssa::{Body, FieldId, Ty, ValueId};

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
            AsmPart::Register(v) => {
                let number = e.get(*v)?.bits() as u16;
                match model.sysregs.iter().find(|r| r.number() == number) {
                    Some(r) => out.push_str(&r.name.to_ascii_lowercase()),
                    None => out.push_str(&generic_register(number)),
                }
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
            AsmPart::Name(_, v) | AsmPart::Dec(v) | AsmPart::Hex(v) | AsmPart::Address(v) | AsmPart::Register(v) => {
                f(v);
            }
            AsmPart::Choice(v, a, b) => {
                f(v);
                visit(a, f);
                visit(b, f);
            }
        }
    }
}
