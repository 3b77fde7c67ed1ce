//! One [`Body`] to the Rust statements that perform its fixed part and emit its dynamic part.
//!
//! A fixed value is an `i64`, `bool` or `u128` of the generated function, a dynamic one a `B::V`. Fixed values used
//! once are written where they are used, so that the text resembles the description. Dynamic values are always bound by
//! a `let`: their order is the order of the emitted operations, and `b` can be borrowed by one call at a time.
//!
//! Dynamic variables assigned in an arm of a dynamic `if` travel as results of `branch_on`: the arm's closure works on
//! its own shadowing copy.

use super::expr::{as_u32, binding, ends_in_return, is_word, rust_type, strip, tuple, typed_int};
use super::ops::{access, branch_kind};
use super::text::{Names, Text};
use super::usage::{count_uses, field_expr, var_homes};
use crate::model::{Model, Pattern};
use crate::passes::util::sets;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, ValueId, VarId, Width};
use std::collections::{HashMap, HashSet};

/// Longest expression that is written in place.
const INLINE_LIMIT: usize = 72;

/// Names every generated function may use for itself.
pub const RESERVED: &[&str] = &["b", "word", "pc", "context", "out", "encoding", "value"];

pub struct BodyEmitter<'a> {
    pub(super) model: &'a Model,
    pub(super) body: &'a Body,
    pub(super) pattern: Option<&'a Pattern>,
    pub text: Text,
    names: Names,
    /// Number of uses of each value.
    pub(super) uses: Vec<u32>,
    /// What to write for each value that has been emitted.
    pub(super) exprs: Vec<Option<String>>,
    pub(super) var_names: Vec<String>,
    /// Where each variable is declared: region and statement in it, in the order of the walk.
    homes: HashMap<(usize, usize), Vec<VarId>>,
    next_region: usize,
    declared: HashSet<VarId>,
    pub(super) fields: HashMap<u32, String>,
    /// Lifted fixed values, innermost scope last.
    lifts: Vec<HashMap<(ValueId, String), String>>,
    /// What `Op::Param(i)` is.
    pub(super) params: Vec<String>,
}

impl<'a> BodyEmitter<'a> {
    /// Prepares to emit `body` (with its times inferred) at an indentation.
    #[must_use]
    pub fn new(model: &'a Model, body: &'a Body, pattern: Option<&'a Pattern>, indent: usize) -> Self {
        let mut names = Names::reserving(RESERVED);
        let mut uses = vec![0; body.values.len()];
        count_uses(body, &body.root, &mut uses);
        let var_names = body.vars.iter().map(|v| names.fresh(&v.name)).collect();
        Self {
            model,
            body,
            pattern,
            text: Text::at(indent),
            names,
            uses,
            exprs: vec![None; body.values.len()],
            var_names,
            homes: var_homes(body),
            next_region: 0,
            declared: HashSet::new(),
            fields: HashMap::new(),
            lifts: vec![HashMap::new()],
            params: Vec::new(),
        }
    }

    /// Gives the body's parameters names of the enclosing function.
    #[must_use]
    pub fn with_params(mut self, params: &[&str]) -> Self {
        self.params = params.iter().map(|&p| p.to_owned()).collect();
        self
    }

    /// Gives the body's parameters names that nothing else in the function has.
    pub fn name_params<'n>(&mut self, params: impl Iterator<Item = &'n str>) -> Vec<String> {
        self.params = params.map(|p| self.names.fresh(p)).collect();
        self.params.clone()
    }

    /// Counts a use from outside the body, so that values the caller mentions several times get a name.
    pub fn note_use(&mut self, v: ValueId) {
        self.uses[v.index()] += 1;
    }

    /// Emits the fields the body uses, then its statements. Returns whether the body diverges.
    pub fn run(&mut self) -> bool {
        self.declare_fields();
        let root = &self.body.root;
        self.region(root);
        root.diverges
    }

    fn declare_fields(&mut self) {
        let Some(pattern) = self.pattern else { return };
        let mut used: Vec<u32> = self
            .body
            .values
            .iter()
            .enumerate()
            .filter_map(|(i, v)| match v.op {
                Op::Field(f) if self.uses[i] > 0 => Some(f.0),
                _ => None,
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        for f in used {
            let name = self.names.fresh(&pattern.fields[f as usize].name);
            self.text.line(format!("let {name} = u128::from({});", field_expr(pattern, f)));
            self.fields.insert(f, name);
        }
    }

    /// The text of a fixed value, or the name of a dynamic one.
    #[must_use]
    pub fn expr(&self, v: ValueId) -> String {
        if let Some(text) = &self.exprs[v.index()] {
            return text.clone();
        }
        match self.body[v].op {
            Op::Int(_) | Op::Bool(_) | Op::Bits(_) | Op::Field(_) | Op::Pc | Op::Param(_) => self.fixed_expr(v),
            _ => format!("v{}_missing", v.0),
        }
    }

    /// The text of a dynamic operand; fixed ones are lifted.
    pub fn dynamic(&mut self, v: ValueId) -> String {
        if self.body[v].time == Time::Dynamic {
            return self.expr(v);
        }
        let ty = self.body[v].ty;
        let width = self.width(ty);
        let key = (v, width.clone());
        if let Some(name) = self.lifts.iter().rev().find_map(|s| s.get(&key)) {
            return name.clone();
        }
        let text = self.expr(v);
        let value = match ty {
            Ty::Int => format!("{text} as u64 as u128"),
            Ty::Bool if text == "false" => "0".to_owned(),
            Ty::Bool if text == "true" => "1".to_owned(),
            Ty::Bool => format!("u128::from({text})"),
            _ => strip(&text),
        };
        let hint = self.body[v].name.as_ref().map_or("k".to_owned(), |n| format!("{n}_v"));
        let name = self.names.fresh(&hint);
        self.text.line(format!("let {name} = b.konst({width}, {value});"));
        if let Some(scope) = self.lifts.last_mut() {
            scope.insert(key, name.clone());
        }
        name
    }

    /// The width a value of that type travels with.
    #[must_use]
    pub fn width(&self, ty: Ty) -> String {
        match ty {
            Ty::Int => "64".to_owned(),
            Ty::Bool => "1".to_owned(),
            Ty::Bits(Width::Const(n)) => n.to_string(),
            Ty::Bits(Width::Value(v)) => as_u32(&self.expr(v)),
            Ty::Flags | Ty::Unit => "FLAGS".to_owned(),
        }
    }

    fn arg(&self, id: ValueId, i: usize) -> ValueId {
        self.body[id].args[i]
    }

    /// A fixed `int` operand as `u32`.
    pub(super) fn arg_u32(&self, id: ValueId, i: usize) -> String {
        as_u32(&self.expr(self.arg(id, i)))
    }

    fn region(&mut self, region: &Region) {
        let this = self.next_region;
        self.next_region += 1;
        for (i, stmt) in region.stmts.iter().enumerate() {
            let mut inline_declare = None;
            if let Some(vars) = self.homes.get(&(this, i)).cloned() {
                for var in vars {
                    self.declared.insert(var);
                    if let Stmt::Eval(v) = stmt
                        && self.body[*v].op == Op::VarSet(var)
                    {
                        inline_declare = Some(var);
                        continue;
                    }
                    let data = &self.body.vars[var.index()];
                    let line = format!("let mut {}: {};", self.var_names[var.index()], rust_type(data.ty, data.time));
                    self.text.line(line);
                }
            }
            match stmt {
                Stmt::Eval(v) => self.eval(*v, inline_declare.is_some()),
                Stmt::If { cond, then, otherwise, results } => self.if_(*cond, then, otherwise, results),
                Stmt::For { index, lo, hi, body } => {
                    let name = self.name_of(*index, "i");
                    let lo = typed_int(&self.expr(*lo));
                    let line = format!("for {name} in {lo}..{} {{", self.expr(*hi));
                    self.exprs[index.index()] = Some(name);
                    self.text.open(line);
                    self.scoped(|e| {
                        e.region(body);
                        e.end_if_diverges(body);
                    });
                    self.text.close("}");
                }
            }
        }
    }

    fn end_if_diverges(&mut self, region: &Region) {
        if region.diverges && !ends_in_return(&self.text.out) {
            self.text.line("return Err(Stop);");
        }
    }

    fn scoped(&mut self, f: impl FnOnce(&mut Self)) {
        self.lifts.push(HashMap::new());
        f(self);
        self.lifts.pop();
    }

    fn name_of(&mut self, v: ValueId, default: &str) -> String {
        let wanted = self.body[v].name.clone().unwrap_or_else(|| default.to_owned());
        self.names.fresh(&wanted)
    }

    /// Results of an arm: as they are, or lifted where the result is dynamic.
    fn arm_results(&mut self, region: &Region, results: &[ValueId]) -> Vec<String> {
        region
            .results
            .iter()
            .zip(results)
            .map(|(&v, &r)| if self.body[r].time == Time::Dynamic { self.dynamic(v) } else { self.expr(v) })
            .collect()
    }

    fn if_(&mut self, cond: ValueId, then: &Region, otherwise: &Region, results: &[ValueId]) {
        if self.body[cond].time == Time::Dynamic {
            self.dynamic_if(cond, then, otherwise, results);
        } else {
            self.fixed_if(cond, then, otherwise, results);
        }
    }

    fn fixed_if(&mut self, cond: ValueId, then: &Region, otherwise: &Region, results: &[ValueId]) {
        let cond = strip(&self.expr(cond));
        let names: Vec<String> = results.iter().map(|&r| self.name_of(r, "r")).collect();
        let both = then.diverges && otherwise.diverges;
        let types: Vec<&str> = results.iter().map(|&r| rust_type(self.body[r].ty, self.body[r].time)).collect();
        let binding = if both { String::new() } else { binding(&names, &types) };

        // A value that fits on one line is written on one line.
        let flat = |r: &Region| !r.diverges && r.stmts.iter().all(|s| matches!(s, Stmt::Eval(_)));
        if flat(then) && flat(otherwise) {
            let saved_text = std::mem::take(&mut self.text);
            let saved = (self.next_region, self.exprs.clone(), self.declared.clone(), self.names.clone());
            let mut sides = Vec::new();
            for arm in [then, otherwise] {
                self.scoped(|e| {
                    e.region(arm);
                    let values = e.arm_results(arm, results);
                    sides.push(tuple(&values));
                });
            }
            let no_statements = self.text.out.is_empty();
            self.text = saved_text;
            let line = format!("{binding}if {cond} {{ {} }} else {{ {} }};", sides[0], sides[1]);
            if no_statements && (results.is_empty() || line.len() < 110) {
                if !results.is_empty() {
                    self.text.line(line);
                    self.bind(results, &names);
                }
                return;
            }
            (self.next_region, self.exprs, self.declared, self.names) = saved;
        }

        self.text.open(format!("{binding}if {cond} {{"));
        self.scoped(|e| e.fixed_arm(then, results));
        let mut otherwise = otherwise;
        while let Some((cond, then, rest)) = self.else_if(otherwise) {
            self.text.reopen(format!("}} else if {cond} {{"));
            self.scoped(|e| e.fixed_arm(then, results));
            otherwise = rest;
        }
        let mark = self.text.out.len();
        self.text.reopen("} else {");
        let body_mark = self.text.out.len();
        self.scoped(|e| e.fixed_arm(otherwise, results));
        if results.is_empty() && self.text.out.len() == body_mark {
            self.text.out.truncate(mark);
        }
        self.text.close(if binding.is_empty() { "}" } else { "};" });
        self.bind(results, &names);
    }

    /// Whether an `else` arm is just another fixed `if` with the same results: its condition and arms.
    fn else_if<'r>(&mut self, region: &'r Region) -> Option<(String, &'r Region, &'r Region)> {
        let (Stmt::If { cond, then, otherwise, results }, before) = region.stmts.split_last()? else { return None };
        let fixed = |v: ValueId| self.body[v].time == Time::Fixed;
        let computes = |s: &Stmt| matches!(s, Stmt::Eval(v) if fixed(*v) && self.body[*v].ty != Ty::Unit);
        let declares = self.homes.contains_key(&(self.next_region, before.len()));
        if region.diverges || *results != region.results || !fixed(*cond) || declares || !before.iter().all(computes) {
            return None;
        }
        let saved_text = std::mem::take(&mut self.text);
        let saved = (self.exprs.clone(), self.names.clone());
        for stmt in before {
            if let Stmt::Eval(v) = stmt {
                self.eval(*v, false);
            }
        }
        let in_place = self.text.out.is_empty();
        self.text = saved_text;
        if !in_place {
            (self.exprs, self.names) = saved;
            return None;
        }
        self.next_region += 1;
        Some((strip(&self.expr(*cond)), then, otherwise))
    }

    fn fixed_arm(&mut self, region: &Region, results: &[ValueId]) {
        self.region(region);
        if region.diverges {
            self.end_if_diverges(region);
        } else if !results.is_empty() {
            let values = self.arm_results(region, results);
            self.value_line(&tuple(&values));
        }
    }

    /// The value of a block; a `let` just before that only names it is dropped.
    fn value_line(&mut self, value: &str) {
        let out = &mut self.text.out;
        let last = out.trim_end().rfind('\n').map_or(0, |i| i + 1);
        let prefix = format!("let {value} = ");
        let expression = out[last..].trim().strip_prefix(&prefix).and_then(|t| t.strip_suffix(';')).map(str::to_owned);
        match expression {
            Some(expression) if is_word(value) => {
                out.truncate(last);
                self.text.line(expression);
            }
            _ => self.text.line(value),
        }
    }

    fn bind(&mut self, results: &[ValueId], names: &[String]) {
        for (&r, name) in results.iter().zip(names) {
            self.exprs[r.index()] = Some(name.clone());
        }
    }

    fn dynamic_if(&mut self, cond: ValueId, then: &Region, otherwise: &Region, results: &[ValueId]) {
        let arms = [then, otherwise].into_iter().filter(|arm| !arm.diverges);
        let mut assigned = sets(self.body, arms.flat_map(Region::values));
        assigned.retain(|v| self.declared.contains(v));
        let both = then.diverges && otherwise.diverges;
        if both {
            assigned.clear();
        }
        let cond = self.expr(cond);
        let names: Vec<String> = results.iter().map(|&r| self.name_of(r, "r")).collect();
        let var_results: Vec<String> = assigned
            .iter()
            .map(|v| {
                let name = format!("{}_new", self.var_names[v.index()]);
                self.names.fresh(&name)
            })
            .collect();
        let (mut widths, mut all) = (Vec::new(), Vec::new());
        if !both {
            widths.extend(results.iter().map(|&r| self.width(self.body[r].ty)));
            all.extend(names.iter().cloned());
        }
        widths.extend(assigned.iter().map(|v| self.width(self.body.vars[v.index()].ty)));
        all.extend(var_results.iter().cloned());
        let binding = if all.is_empty() { String::new() } else { format!("let [{}] = ", all.join(", ")) };
        let widths = widths.join(", ");

        let is_empty = |r: &Region| r.stmts.is_empty() && !r.diverges;
        let plain = all.is_empty();
        self.text.open(format!("{binding}b.branch_on({cond}, [{widths}], |b| {{"));
        self.scoped(|e| e.dynamic_arm(then, results, &assigned));
        if plain && is_empty(otherwise) {
            self.next_region += 1;
            self.text.close("}, |_| Ok([]))?;");
        } else {
            self.text.reopen("}, |b| {");
            self.scoped(|e| e.dynamic_arm(otherwise, results, &assigned));
            self.text.close("})?;");
        }
        if both {
            self.text.line("return Err(Stop);");
            return;
        }
        for (v, name) in assigned.iter().zip(&var_results) {
            let line = format!("{} = {name};", self.var_names[v.index()]);
            self.text.line(line);
        }
        self.bind(results, &names);
    }

    fn dynamic_arm(&mut self, region: &Region, results: &[ValueId], assigned: &[VarId]) {
        let mut own = sets(self.body, region.values());
        own.retain(|v| self.declared.contains(v));
        for v in own {
            let name = &self.var_names[v.index()];
            let line = format!("let mut {name} = {name};");
            self.text.line(line);
        }
        self.region(region);
        if region.diverges {
            if !ends_in_return(&self.text.out) {
                self.text.line("Err(Stop)");
            }
            return;
        }
        let mut values: Vec<String> = region.results.iter().zip(results).map(|(&v, _)| self.dynamic(v)).collect();
        values.extend(assigned.iter().map(|v| self.var_names[v.index()].clone()));
        self.text.line(format!("Ok([{}])", values.join(", ")));
    }

    /// Emits one value.
    fn eval(&mut self, id: ValueId, declare: bool) {
        let data = &self.body[id];
        match &data.op {
            Op::VarSet(var) => {
                let var_data = &self.body.vars[var.index()];
                let value = if var_data.time == Time::Dynamic {
                    self.dynamic(self.arg(id, 0))
                } else {
                    strip(&self.expr(self.arg(id, 0)))
                };
                let name = &self.var_names[var.index()];
                let line = if declare {
                    format!("let mut {name}: {} = {value};", rust_type(var_data.ty, var_data.time))
                } else {
                    format!("{name} = {value};")
                };
                self.text.line(line);
                return;
            }
            Op::StateSet(state) => {
                let value = self.dynamic(*data.args.last().expect("a store has a value"));
                let slot = self.slot(id, state.index(), data.args.len() == 2);
                self.text.line(format!("b.put({slot}, {value});"));
                return;
            }
            Op::MemWrite => {
                let (addr, value) = (self.dynamic(self.arg(id, 1)), self.dynamic(self.arg(id, 2)));
                let line = format!(
                    "b.store({}, {addr}, {value}, {})?;",
                    self.arg_u32(id, 0),
                    access(&self.expr(self.arg(id, 3)))
                );
                self.text.line(line);
                return;
            }
            Op::Fence => {
                self.text.line("b.fence();");
                return;
            }
            Op::EndBlock => {
                self.text.line("b.end_block();");
                return;
            }
            Op::Assert => {
                let line = format!("debug_assert!({});", strip(&self.expr(self.arg(id, 0))));
                self.text.line(line);
                return;
            }
            Op::Branch => {
                let target = self.dynamic(self.arg(id, 0));
                let line = format!("b.branch({target}, {})?;", branch_kind(&self.expr(self.arg(id, 1))));
                self.text.line(line);
                return;
            }
            Op::SysregWrite => {
                let number = self.sysreg_number(id);
                let value = self.dynamic(self.arg(id, 5));
                self.text.line(format!("sysreg_access::sysreg_write(b, {number}, {value}, pc, context)?;"));
                return;
            }
            Op::Call(helper) => {
                self.call(id, helper.index());
                return;
            }
            Op::AsWidth => {
                let (from, to) = (self.width(self.body[self.arg(id, 0)].ty), self.width(data.ty));
                if from != to {
                    self.text.line(format!("debug_assert_eq!({from}, {to});"));
                }
                self.exprs[id.index()] = Some(self.expr(self.arg(id, 0)));
                return;
            }
            Op::Index | Op::IfResult => return,
            _ => {}
        }
        if data.time == Time::Fixed {
            self.fixed(id);
        } else {
            self.dynamic_value(id);
        }
    }

    pub(super) fn slot(&self, id: ValueId, state: usize, indexed: bool) -> String {
        let element = &self.model.state[state];
        if element.count.is_some() && indexed {
            format!("slots::{}({})", super::text::snake(&element.name), strip(&self.expr(self.arg(id, 0))))
        } else {
            format!("slots::{}", super::text::upper(&element.name))
        }
    }

    pub(super) fn sysreg_number(&self, id: ValueId) -> String {
        let parts: Vec<String> = (0..5).map(|i| strip(&self.expr(self.arg(id, i)))).collect();
        format!("support::sysreg_number({})", parts.join(", "))
    }

    fn call(&mut self, id: ValueId, helper: usize) {
        let decl = &self.model.helpers[helper];
        let args: Vec<String> = self.body[id].args.clone().into_iter().map(|a| self.dynamic(a)).collect();
        let call = format!("helper::{}, &[{}])?;", super::text::upper(&decl.name), args.join(", "));
        if decl.result.is_some() && self.body[id].ty != Ty::Unit {
            let name = self.name_of(id, &decl.name);
            self.text.line(format!("let {name} = support::call_value(b, {call}"));
            self.exprs[id.index()] = Some(name);
        } else {
            self.text.line(format!("b.call({call}"));
        }
        if decl.ends_block && !decl.never {
            self.text.line("b.end_block();");
        }
    }

    /// Emits a fixed value: in place, or as a `let`.
    fn fixed(&mut self, id: ValueId) {
        let data = &self.body[id];
        let text = self.fixed_expr(id);
        let atom = matches!(data.op, Op::Int(_) | Op::Bool(_) | Op::Bits(_) | Op::Field(_) | Op::Pc | Op::Param(_));
        let movable = !matches!(data.op, Op::VarGet(_));
        let once = self.uses[id.index()] <= 1 && text.len() <= INLINE_LIMIT;
        if atom || (movable && once) || (movable && is_word(&text)) {
            self.exprs[id.index()] = Some(text);
            return;
        }
        let name = self.name_of(id, &format!("t{}", id.0));
        self.text.line(format!("let {name}: {} = {};", rust_type(data.ty, data.time), strip(&text)));
        self.exprs[id.index()] = Some(name);
    }

    fn dynamic_value(&mut self, id: ValueId) {
        let data = &self.body[id];
        if let Op::Param(i) = data.op {
            self.exprs[id.index()] = Some(self.params.get(i as usize).cloned().unwrap_or_default());
            return;
        }
        let call = self.dynamic_expr(id);
        if matches!(data.op, Op::BitToBool | Op::BoolToBit) {
            self.exprs[id.index()] = Some(call);
            return;
        }
        let name = self.name_of(id, &format!("t{}", id.0));
        self.text.line(format!("let {name} = {call};"));
        self.exprs[id.index()] = Some(name);
    }
}
