//! Binding times: which values are known while an instruction is translated.
//!
//! Recomputed from nothing after the other passes, because they may have made values more fixed than the front end
//! could see (a variable that was replaced by its one value), and because the emitter relies on the exact rules: a
//! vector or floating-point operation is dynamic even on fixed operands, since only the online IR can perform it.

use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, VarId, Width};
use std::collections::HashSet;

/// Whether the operation can only be performed by the online IR.
#[must_use]
pub fn dynamic_by_nature(model: &Model, op: &Op) -> bool {
    match op {
        Op::StateGet(id) => !model.state[id.index()].context,
        Op::VUn(_)
        | Op::VBin(_)
        | Op::VTern(_)
        | Op::VShift(_)
        | Op::Shuffle
        | Op::Ext
        | Op::FpUn(_)
        | Op::FpRoundInt
        | Op::FpBin(_)
        | Op::FpFma
        | Op::FpCmp(_)
        | Op::FpCmpFlags
        | Op::FpConvert
        | Op::FpToInt
        | Op::IntToFp
        | Op::MemRead
        | Op::MemAtomic
        | Op::MemCas
        | Op::Call(_)
        | Op::SysregRead => true,
        _ => false,
    }
}

/// Sets the time of every value and variable of the body. Parameters keep theirs.
pub fn infer(model: &Model, body: &mut Body) {
    for v in &mut body.values {
        if !matches!(v.op, Op::Param(_)) {
            v.time = Time::Fixed;
        }
    }
    for v in &mut body.vars {
        v.time = Time::Fixed;
    }
    let root = std::mem::take(&mut body.root);
    loop {
        let mut pass = Pass { model, body, changed: false, declared: HashSet::new(), outside: HashSet::new() };
        pass.region(&root);
        if !pass.changed {
            break;
        }
    }
    body.root = root;
}

struct Pass<'a> {
    model: &'a Model,
    body: &'a mut Body,
    changed: bool,
    /// Variables met so far.
    declared: HashSet<VarId>,
    /// Variables that existed before the innermost dynamic `if`.
    outside: HashSet<VarId>,
}

impl Pass<'_> {
    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(id) => {
                    let data = &self.body[*id];
                    let by_args = data.args.iter().any(|&a| self.body[a].time == Time::Dynamic);
                    match data.op {
                        Op::VarSet(var) => {
                            self.declared.insert(var);
                            let int = self.body.vars[var.index()].ty == Ty::Int;
                            if !int && (by_args || self.outside.contains(&var)) {
                                self.var_dynamic(var);
                            }
                        }
                        Op::VarGet(var) => {
                            if self.body.vars[var.index()].time == Time::Dynamic {
                                self.dynamic(*id);
                            }
                        }
                        Op::Param(_) | Op::Index | Op::IfResult => {}
                        ref op => {
                            if by_args || dynamic_by_nature(self.model, op) {
                                self.dynamic(*id);
                            }
                        }
                    }
                }
                Stmt::If { cond, then, otherwise, results } => {
                    let dynamic = self.body[*cond].time == Time::Dynamic;
                    let saved = self.outside.clone();
                    if dynamic {
                        self.outside = self.declared.clone();
                    }
                    self.region(then);
                    self.region(otherwise);
                    self.outside = saved;
                    for (i, &r) in results.iter().enumerate() {
                        let arm = [then, otherwise]
                            .iter()
                            .filter(|a| !a.diverges)
                            .any(|a| a.results.get(i).is_some_and(|&v| self.body[v].time == Time::Dynamic));
                        if dynamic || arm {
                            self.dynamic(r);
                        }
                    }
                }
                Stmt::For { body, .. } => self.region(body),
            }
        }
    }

    fn dynamic(&mut self, id: crate::ssa::ValueId) {
        if self.body[id].time == Time::Fixed {
            self.body[id].time = Time::Dynamic;
            self.changed = true;
        }
    }

    fn var_dynamic(&mut self, var: VarId) {
        let var = &mut self.body.vars[var.index()];
        if var.time == Time::Fixed {
            var.time = Time::Dynamic;
            self.changed = true;
        }
    }
}

/// The width a type travels with at run time.
#[must_use]
pub fn const_width(ty: Ty) -> Option<u32> {
    match ty {
        Ty::Int => Some(64),
        Ty::Bool => Some(1),
        Ty::Bits(Width::Const(n)) => Some(n),
        Ty::Flags => Some(0),
        Ty::Bits(Width::Value(_)) | Ty::Unit => None,
    }
}
