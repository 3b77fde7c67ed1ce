//! Which loops make the lanes of vectors, and of what.

use std::collections::{HashMap, HashSet};

use super::Loop;
use crate::model::Model;
use crate::passes::dead::has_effect;
use crate::passes::times::const_width;
use crate::ssa::{BinOp, Body, Op, Region, StateId, Stmt, Ty, ValueId, VarId, Width};

/// What a turn does for others than itself.
#[derive(Clone, Copy)]
pub enum Effect {
    /// Sets a lane of a variable that has the lanes of the turns before.
    SetLane { var: VarId, set_lane: ValueId },
    /// ORs the last `bits` into an element of guest state.
    Accumulate { state: StateId, bits: ValueId, width: Ty },
}

/// A loop whose turns are independent of each other.
pub struct Shape {
    /// Width of the lanes that all values of a turn fit in.
    pub e: u32,
    /// Values and statements that differ from turn to turn.
    pub varying: HashSet<ValueId>,
    /// Variables that live for one turn.
    pub own: HashSet<VarId>,
    /// By the statement that has it: `VarSet` or `StateSet`.
    pub effects: HashMap<ValueId, Effect>,
    /// Values that are part of an effect, and of nothing else.
    pub parts: HashSet<ValueId>,
}

/// More possible values of a fixed number than this are not followed.
const CHOICES: usize = 16;

/// The shape of a loop, if it is one of those. `original` is the loop's body as it is in `root`.
pub fn analyse(model: &Model, body: &Body, root: &Region, of: Loop, original: &Region) -> Option<Shape> {
    let counts = possible(body, root, of.hi)?;
    if body[of.lo].op != Op::Int(0) || !counts.iter().all(|&n| n >= 2) {
        return None;
    }
    let mut shape = Shape {
        e: 8,
        varying: HashSet::from([of.index]),
        own: HashSet::new(),
        effects: HashMap::new(),
        parts: HashSet::new(),
    };
    let uses = Uses::of(body, of.turn);
    for stmt in &of.turn.stmts {
        if let Stmt::Eval(v) = *stmt {
            shape.find_effect(model, body, &uses, v);
        }
    }
    if !shape.harmless(model, body, of.turn) || !shape.keeps_to_itself(body, root, original, of.turn) {
        return None;
    }
    shape.spread(body, of.turn)?;
    shape.e = shape.lane_width(body, of.turn)?;
    counts.iter().all(|n| n * i64::from(shape.e) <= 128).then_some(shape)
}

/// Who uses the values of a region.
struct Uses {
    by: HashMap<ValueId, Vec<ValueId>>,
    sets: HashMap<VarId, usize>,
    gets: HashMap<VarId, Vec<ValueId>>,
    accesses: HashMap<StateId, usize>,
    /// Results and conditions.
    control: HashSet<ValueId>,
}

impl Uses {
    fn of(body: &Body, r: &Region) -> Self {
        let mut uses = Self {
            by: HashMap::new(),
            sets: HashMap::new(),
            gets: HashMap::new(),
            accesses: HashMap::new(),
            control: HashSet::new(),
        };
        for v in r.values() {
            let data = &body[v];
            for &a in &data.args {
                uses.by.entry(a).or_default().push(v);
            }
            match data.op {
                Op::VarSet(var) => *uses.sets.entry(var).or_default() += 1,
                Op::VarGet(var) => uses.gets.entry(var).or_default().push(v),
                Op::StateGet(s) | Op::StateSet(s) => *uses.accesses.entry(s).or_default() += 1,
                _ => {}
            }
        }
        control(r, &mut uses.control);
        uses
    }

    /// Whether `user` is the only one.
    fn only(&self, v: ValueId, user: ValueId) -> bool {
        self.by.get(&v).is_some_and(|by| by[..] == [user]) && !self.control.contains(&v)
    }
}

/// What control flow uses.
fn control(r: &Region, into: &mut HashSet<ValueId>) {
    into.extend(r.all_results());
    for stmt in r.statements() {
        match stmt {
            Stmt::Eval(_) => {}
            Stmt::If { cond, .. } => _ = into.insert(*cond),
            Stmt::For { lo, hi, .. } => into.extend([lo, hi]),
        }
    }
}

impl Shape {
    fn find_effect(&mut self, model: &Model, body: &Body, uses: &Uses, v: ValueId) {
        match body[v].op {
            // r = set_lane(E, r, ...), with no other mention of r.
            Op::VarSet(var) => {
                let set_lane = body[v].args[0];
                let gets = uses.gets.get(&var).map_or(&[][..], Vec::as_slice);
                let is_it = body[set_lane].op == Op::SetLane
                    && uses.only(set_lane, v)
                    && uses.sets.get(&var) == Some(&1)
                    && gets == [body[set_lane].args[1]]
                    && uses.only(gets[0], set_lane);
                if is_it {
                    self.effects.insert(v, Effect::SetLane { var, set_lane });
                    self.parts.extend([set_lane, gets[0]]);
                }
            }
            // s = s | bits, with no other mention of s.
            Op::StateSet(state) => {
                let element = &model.state[state.index()];
                let or = *body[v].args.last().expect("a store has a value");
                if element.count.is_some()
                    || element.context
                    || body[or].op != Op::Bin(BinOp::Or)
                    || !uses.only(or, v)
                    || uses.accesses.get(&state) != Some(&2)
                {
                    return;
                }
                let (x, y) = (body[or].args[0], body[or].args[1]);
                let Some((old, new)) = [(x, y), (y, x)].into_iter().find(|(old, _)| {
                    body[*old].op == Op::StateGet(state) && uses.by.contains_key(old) && uses.only(*old, or)
                }) else {
                    return;
                };
                let mut bits = new;
                self.parts.extend([old, or]);
                if body[new].op == Op::Zext && uses.only(new, or) {
                    bits = body[new].args[0];
                    self.parts.insert(new);
                }
                self.effects.insert(v, Effect::Accumulate { state, bits, width: body[or].ty });
            }
            _ => {}
        }
    }

    /// Whether nothing but the effects found is done to anybody else. Floating-point operations accumulate flags, which is the
    /// same in whatever order, and once or several times.
    fn harmless(&self, model: &Model, body: &Body, r: &Region) -> bool {
        !r.diverges
            && r.stmts.iter().all(|s| match s {
                Stmt::Eval(v) => {
                    let op = &body[*v].op;
                    let flags = matches!(
                        op,
                        Op::FpUn(_) | Op::FpRoundInt | Op::FpBin(_) | Op::FpFma | Op::FpCmp(_) | Op::FpConvert
                    );
                    self.effects.contains_key(v)
                        || matches!(op, Op::VarSet(_) | Op::AsWidth | Op::Assert)
                        || flags
                        || !has_effect(model, op)
                }
                Stmt::If { then, otherwise, .. } => {
                    self.harmless(model, body, then) && self.harmless(model, body, otherwise)
                }
                Stmt::For { body: inner, .. } => self.harmless(model, body, inner),
            })
    }

    /// Finds the variables of a turn. False if one has a value from the turn before, or if anybody else reads one.
    fn keeps_to_itself(&mut self, body: &Body, root: &Region, original: &Region, turn: &Region) -> bool {
        for v in turn.values() {
            if let (Op::VarSet(var), false) = (&body[v].op, self.effects.contains_key(&v)) {
                self.own.insert(*var);
            }
        }
        let own = |v: &ValueId| matches!(body[*v].op, Op::VarGet(var) if self.own.contains(&var));
        let gets = |r: &Region| r.values().filter(own).count();
        gets(root) == gets(original) && self.set_first(body, turn, &mut HashSet::new())
    }

    fn set_first(&self, body: &Body, r: &Region, set: &mut HashSet<VarId>) -> bool {
        r.stmts.iter().all(|s| match s {
            Stmt::Eval(v) => match body[*v].op {
                Op::VarSet(var) => {
                    set.insert(var);
                    true
                }
                Op::VarGet(var) => !self.own.contains(&var) || set.contains(&var),
                _ => true,
            },
            Stmt::If { then, otherwise, .. } => {
                [then, otherwise].iter().all(|arm| self.set_first(body, arm, &mut set.clone()))
            }
            Stmt::For { body: inner, .. } => self.set_first(body, inner, &mut set.clone()),
        })
    }

    /// Marks what depends on the index. `None` if control flow does.
    fn spread(&mut self, body: &Body, r: &Region) -> Option<()> {
        for stmt in &r.stmts {
            match stmt {
                Stmt::Eval(v) => {
                    let data = &body[*v];
                    if let Ty::Bits(Width::Value(w)) = data.ty
                        && self.varying.contains(&w)
                    {
                        return None;
                    }
                    let own = matches!(data.op, Op::VarGet(var) | Op::VarSet(var) if self.own.contains(&var));
                    if own || data.args.iter().any(|a| self.varying.contains(a)) {
                        self.varying.insert(*v);
                    }
                }
                Stmt::If { cond, then, otherwise, results } => {
                    if self.varying.contains(cond) {
                        return None;
                    }
                    self.spread(body, then)?;
                    self.spread(body, otherwise)?;
                    for (i, r) in results.iter().enumerate() {
                        if [then, otherwise].iter().any(|arm| self.varying.contains(&arm.results[i])) {
                            self.varying.insert(*r);
                        }
                    }
                }
                Stmt::For { lo, hi, body: inner, .. } => {
                    if self.varying.contains(lo) || self.varying.contains(hi) {
                        return None;
                    }
                    self.spread(body, inner)?;
                }
            }
        }
        Some(())
    }

    /// The least width of lanes for everything that varies, at most 64.
    fn lane_width(&self, body: &Body, r: &Region) -> Option<u32> {
        let results = r.statements().filter_map(|stmt| match stmt {
            Stmt::If { results, .. } => Some(results.iter().copied()),
            _ => None,
        });
        let mut e = 8;
        for v in r.values().chain(results.flatten()) {
            let data = &body[v];
            let constant = |i: usize| match body[data.args[i]].op {
                Op::Int(n) => u32::try_from(n).ok(),
                _ => None,
            };
            if data.op == Op::SetLane && self.parts.contains(&v) {
                e = e.max(constant(0)?);
                continue;
            }
            if !self.varying.contains(&v) || self.parts.contains(&v) {
                continue;
            }
            e = e.max(match (&data.op, data.ty) {
                (Op::VarSet(_) | Op::StateSet(_), _) | (_, Ty::Int | Ty::Bool) => 8,
                (_, Ty::Bits(_)) => const_width(data.ty)?,
                _ => return None,
            });
        }
        (e <= 64).then(|| e.next_power_of_two())
    }
}

/// The values that a fixed number can have, if they are few.
fn possible(body: &Body, root: &Region, v: ValueId) -> Option<Vec<i64>> {
    let data = &body[v];
    let mut values = match data.op {
        Op::Int(n) => vec![n],
        Op::IfResult => {
            let (a, b) = choices(root, v)?;
            let mut all = possible(body, root, a)?;
            all.extend(possible(body, root, b)?);
            all
        }
        Op::IntAdd | Op::IntSub | Op::IntMul | Op::IntDiv | Op::IntShl | Op::IntShr => {
            let (x, y) = (possible(body, root, data.args[0])?, possible(body, root, data.args[1])?);
            let mut all = Vec::new();
            for a in x {
                for &b in &y {
                    let of = [crate::eval::Value::Int(a), crate::eval::Value::Int(b)];
                    all.push(crate::eval::apply(&data.op, 64, &of, &[64, 64]).ok()?.int());
                }
            }
            all
        }
        _ => return None,
    };
    values.sort_unstable();
    values.dedup();
    (values.len() <= CHOICES).then_some(values)
}

/// What the arms give for a result of an `if`.
fn choices(r: &Region, v: ValueId) -> Option<(ValueId, ValueId)> {
    r.statements().find_map(|stmt| {
        let Stmt::If { then, otherwise, results, .. } = stmt else { return None };
        let i = results.iter().position(|&r| r == v)?;
        Some((*then.results.get(i)?, *otherwise.results.get(i)?))
    })
}
