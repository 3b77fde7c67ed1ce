//! What several passes share: substitution, type normalisation, walks.

use crate::ssa::{Body, Op, Region, Stmt, Ty, ValueId, VarId, Width};

/// Replacements of values by earlier ones.
#[derive(Debug)]
pub struct Subst {
    to: Vec<Option<ValueId>>,
}

impl Subst {
    #[must_use]
    pub fn new(body: &Body) -> Self {
        Self { to: vec![None; body.values.len()] }
    }

    /// From now on `from` is `to`.
    pub fn replace(&mut self, from: ValueId, to: ValueId) {
        let to = self.get(to);
        if from != to {
            if from.index() >= self.to.len() {
                self.to.resize(from.index() + 1, None);
            }
            self.to[from.index()] = Some(to);
        }
    }

    #[must_use]
    pub fn get(&self, mut v: ValueId) -> ValueId {
        while let Some(Some(to)) = self.to.get(v.index()) {
            v = *to;
        }
        v
    }

    pub fn list(&self, values: &mut [ValueId]) {
        for v in values {
            *v = self.get(*v);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.iter().all(Option::is_none)
    }

    /// The type with its width replaced, and known if it is a constant.
    #[must_use]
    pub fn ty(&self, body: &Body, ty: Ty) -> Ty {
        let Ty::Bits(Width::Value(w)) = ty else { return ty };
        let w = self.get(w);
        match body[w].op {
            Op::Int(n) => u32::try_from(n).map_or(ty, |n| Ty::Bits(Width::Const(n))),
            _ => Ty::Bits(Width::Value(w)),
        }
    }

    /// Rewrites operands and type of one value.
    pub fn value(&self, body: &mut Body, v: ValueId) {
        let mut args = std::mem::take(&mut body[v].args);
        self.list(&mut args);
        body[v].args = args;
        body[v].ty = self.ty(body, body[v].ty);
    }

    /// Rewrites a whole body.
    pub fn apply(&self, body: &mut Body) {
        let mut root = std::mem::take(&mut body.root);
        self.region(body, &mut root);
        body.root = root;
        self.vars(body);
    }

    /// Rewrites the variables' types.
    pub fn vars(&self, body: &mut Body) {
        for i in 0..body.vars.len() {
            body.vars[i].ty = self.ty(body, body.vars[i].ty);
        }
    }

    fn region(&self, body: &mut Body, region: &mut Region) {
        for stmt in &mut region.stmts {
            match stmt {
                Stmt::Eval(v) => self.value(body, *v),
                Stmt::If { cond, then, otherwise, results } => {
                    *cond = self.get(*cond);
                    self.region(body, then);
                    self.region(body, otherwise);
                    for &r in results.iter() {
                        self.value(body, r);
                    }
                }
                Stmt::For { lo, hi, body: inner, .. } => {
                    *lo = self.get(*lo);
                    *hi = self.get(*hi);
                    self.region(body, inner);
                }
            }
        }
        self.list(&mut region.results);
    }
}

/// Variables that some of the values set, in the order of their first being so.
pub fn sets(body: &Body, values: impl Iterator<Item = ValueId>) -> Vec<VarId> {
    let mut list = Vec::new();
    for v in values {
        if let Op::VarSet(var) = body[v].op
            && !list.contains(&var)
        {
            list.push(var);
        }
    }
    list
}

/// Whether the value is used in a region: by a value, or by control flow.
#[must_use]
pub fn mentions(body: &Body, region: &Region, v: ValueId) -> bool {
    region.results.contains(&v) || region.stmts.iter().any(|stmt| uses(body, stmt, v))
}

/// Whether a statement or what is in it uses the value.
#[must_use]
pub fn uses(body: &Body, stmt: &Stmt, v: ValueId) -> bool {
    let itself = match stmt {
        Stmt::Eval(e) => body[*e].args.contains(&v) || body[*e].ty == Ty::Bits(Width::Value(v)),
        Stmt::If { cond, .. } => *cond == v,
        Stmt::For { lo, hi, .. } => *lo == v || *hi == v,
    };
    itself || stmt.regions().any(|region| mentions(body, region, v))
}

/// Whether the value is a constant of the description.
#[must_use]
pub fn is_constant(op: &Op) -> bool {
    matches!(op, Op::Int(_) | Op::Bool(_) | Op::Bits(_))
}
