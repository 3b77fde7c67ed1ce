//! The search for a word that satisfies the equations of a match.

use std::collections::HashMap;

use super::invert::{Partial, narrowed};
use super::matching::Equation;
use crate::decoder::{encoding, valid};
use crate::eval::{Evaluator, Value, field_value};
use crate::fixed;
use crate::model::{AsmForm, Decode, Insn, PieceKind};
use crate::ssa::{Body, FieldId, Op, Ty, ValueId, Width};

/// Combinations of small fields that are tried for one form.
pub(super) const BUDGET: u32 = 1 << 14;

/// Fields of more bits are never tried value by value.
pub(super) const TRY_BITS: u32 = 13;

/// What is known of the word: bits of fields.
#[derive(Clone, Copy)]
pub(super) struct Known {
    mask: u32,
    value: u32,
}

pub(super) struct Solver<'a> {
    pub(super) insn: &'a Insn,
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
    pub(super) fn new(
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

    pub(super) fn solve(&mut self) -> Option<u32> {
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
                _ => {
                    let width = match self.form.body[v].ty {
                        Ty::Bits(Width::Const(n)) => Some(n),
                        Ty::Bits(Width::Value(w)) => evaluator.get(w).ok().and_then(|n| u32::try_from(n.int()).ok()),
                        _ => None,
                    };
                    got.bits() == width.map_or(want, |n| narrowed(want, n)).bits()
                }
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
    pub(super) fn set_field(
        &self,
        f: FieldId,
        value: u128,
        mask: u128,
        known: &mut Known,
    ) -> Result<(), Contradiction> {
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

pub(super) struct Contradiction;

/// Notes what follows from "this condition is `truth`".
pub(super) fn assume(body: &Body, v: ValueId, truth: bool, assumed: &mut HashMap<ValueId, bool>) {
    assumed.insert(v, truth);
    let data = &body[v];
    match data.op {
        Op::BoolNot => assume(body, data.args[0], !truth, assumed),
        Op::BoolAnd if truth => data.args.iter().for_each(|&a| assume(body, a, true, assumed)),
        Op::BoolOr if !truth => data.args.iter().for_each(|&a| assume(body, a, false, assumed)),
        _ => {}
    }
}
