//! One [`Body`] to the Rust statements that perform its fixed part and emit its dynamic part.
//!
//! A fixed value is an `i64`, `bool` or `u128` of the generated function, a dynamic one a `B::V`. Fixed values used
//! once are written where they are used, so that the text resembles the description. Dynamic values are always bound by
//! a `let`: their order is the order of the emitted operations, and `b` can be borrowed by one call at a time.
//!
//! Dynamic variables assigned in an arm of a dynamic `if` travel as results of `branch_on`: the arm's closure works on
//! its own shadowing copy.

use super::text::{Names, Text};
use crate::model::{Model, Pattern, PieceKind};
use crate::ssa::{BinOp, Body, CmpOp, Op, Region, Stmt, Time, Ty, UnOp, ValueId, VarId, Width};
use std::collections::{HashMap, HashSet};

/// Longest expression that is written in place.
const INLINE_LIMIT: usize = 72;

/// Names every generated function may use for itself.
pub const RESERVED: &[&str] = &["b", "word", "pc", "context", "out", "encoding", "value"];

pub struct BodyEmitter<'a> {
    model: &'a Model,
    body: &'a Body,
    pattern: Option<&'a Pattern>,
    pub text: Text,
    names: Names,
    /// Number of uses of each value.
    uses: Vec<u32>,
    /// What to write for each value that has been emitted.
    exprs: Vec<Option<String>>,
    var_names: Vec<String>,
    /// Where each variable is declared: region and statement in it, in the order of the walk.
    homes: HashMap<(usize, usize), Vec<VarId>>,
    next_region: usize,
    declared: HashSet<VarId>,
    fields: HashMap<u32, String>,
    /// Lifted fixed values, innermost scope last.
    lifts: Vec<HashMap<(ValueId, String), String>>,
    /// What `Op::Param(i)` is.
    params: Vec<String>,
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
    fn arg_u32(&self, id: ValueId, i: usize) -> String {
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
        let mut assigned = Vec::new();
        for arm in [then, otherwise] {
            if !arm.diverges {
                collect_sets(self.body, arm, &mut assigned);
            }
        }
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
        let mut own = Vec::new();
        collect_sets(self.body, region, &mut own);
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

    fn slot(&self, id: ValueId, state: usize, indexed: bool) -> String {
        let element = &self.model.state[state];
        if element.count.is_some() && indexed {
            format!("slots::{}({})", super::text::snake(&element.name), strip(&self.expr(self.arg(id, 0))))
        } else {
            format!("slots::{}", super::text::upper(&element.name))
        }
    }

    fn sysreg_number(&self, id: ValueId) -> String {
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

    fn fixed_expr(&self, id: ValueId) -> String {
        let data = &self.body[id];
        let a = |i: usize| self.expr(data.args[i]);
        let s = |i: usize| strip(&self.expr(data.args[i]));
        let w = self.width(data.ty);
        let arg_w = |i: usize| self.width(self.body[data.args[i]].ty);
        let infix_int = |op: &str| format!("({} {op} {})", typed_int(&a(0)), a(1));
        let infix_bits = |op: &str| format!("({} {op} {})", typed_bits(&a(0)), a(1));
        match &data.op {
            Op::Int(i) if *i < 0 => format!("({i})"),
            Op::Int(i) => i.to_string(),
            Op::Bool(b) => b.to_string(),
            Op::Bits(v) if *v < 10 => v.to_string(),
            Op::Bits(v) => format!("{v:#x}"),
            Op::Field(f) => self.fields.get(&f.0).cloned().unwrap_or_default(),
            Op::Pc => "u128::from(pc)".to_owned(),
            Op::Param(i) => self.params.get(*i as usize).cloned().unwrap_or_default(),
            Op::VarGet(v) => self.var_names[v.index()].clone(),
            Op::StateGet(s) => {
                format!("u128::from(ctx::{}(context))", super::text::snake(&self.model.state[s.index()].name))
            }
            Op::IntAdd => infix_int("+"),
            Op::IntSub => infix_int("-"),
            Op::IntMul => infix_int("*"),
            Op::IntDiv => infix_int("/"),
            Op::IntRem => infix_int("%"),
            Op::IntShl => infix_int("<<"),
            Op::IntShr => infix_int(">>"),
            Op::IntAnd => infix_int("&"),
            Op::IntOr => infix_int("|"),
            Op::IntXor => infix_int("^"),
            Op::IntNeg => format!("(-{})", typed_int(&a(0))),
            Op::IntMin => format!("{}.min({})", typed_int(&a(0)), s(1)),
            Op::IntMax => format!("{}.max({})", typed_int(&a(0)), s(1)),
            Op::IntLog2 => format!("fixed::log2({})", s(0)),
            Op::IntEq => infix_int("=="),
            Op::IntLt => infix_int("<"),
            Op::IntLe => infix_int("<="),
            Op::ToInt => format!("({} as i64)", typed_bits(&a(0))),
            Op::ToIntSigned => format!("(fixed::signed({}, {}) as i64)", arg_w(0), s(0)),
            Op::IntToBits if a(0) == "0" => "0".to_owned(),
            Op::IntToBits => format!("({} as u128 & {})", typed_int(&a(0)), mask(&w)),
            Op::BitToBool => format!("({} != 0)", typed_bits(&a(0))),
            Op::BoolToBit => format!("u128::from({})", s(0)),
            Op::BoolNot if a(0).matches(" == ").count() == 1 && !a(0).contains(['&', '|', '{']) => {
                a(0).replace(" == ", " != ")
            }
            Op::BoolNot => format!("!{}", a(0)),
            Op::BoolAnd => format!("({} && {})", a(0), a(1)),
            Op::BoolOr => format!("({} || {})", a(0), a(1)),
            Op::BoolEq => format!("({} == {})", a(0), a(1)),
            Op::Un(op) => match op {
                UnOp::Not => format!("fixed::not({w}, {})", s(0)),
                UnOp::Neg => format!("fixed::neg({w}, {})", s(0)),
                UnOp::Clz => format!("fixed::clz({w}, {})", s(0)),
                UnOp::Ctz => format!("fixed::ctz({w}, {})", s(0)),
                UnOp::Popcnt => format!("fixed::popcount({})", s(0)),
                UnOp::BitRev => format!("fixed::bit_reverse({w}, {})", s(0)),
                UnOp::ByteRev => format!("fixed::byte_reverse({w}, {})", s(0)),
            },
            Op::Bin(op) => {
                let call = |name: &str| format!("fixed::{name}({w}, {}, {})", s(0), s(1));
                let by_amount = |name: &str| format!("fixed::{name}({w}, {}, fixed::amount({w}, {}))", s(0), s(1));
                match op {
                    BinOp::Add => call("add"),
                    BinOp::Sub => call("sub"),
                    BinOp::Mul => call("mul"),
                    BinOp::UMulHi => call("umulh"),
                    BinOp::SMulHi => call("smulh"),
                    BinOp::UDiv => format!("fixed::udiv({}, {})", s(0), s(1)),
                    BinOp::SDiv => call("sdiv"),
                    BinOp::And => infix_bits("&"),
                    BinOp::Or => infix_bits("|"),
                    BinOp::Xor => infix_bits("^"),
                    BinOp::Shl => by_amount("shl"),
                    BinOp::Shr => by_amount("shr"),
                    BinOp::Sar => by_amount("sar"),
                    BinOp::Ror => by_amount("ror"),
                }
            }
            Op::Cmp(op) => {
                let signed = |i: usize| format!("fixed::signed({}, {})", arg_w(i), s(i));
                match op {
                    CmpOp::Eq => infix_bits("=="),
                    CmpOp::Ne => infix_bits("!="),
                    CmpOp::Ult => infix_bits("<"),
                    CmpOp::Ule => infix_bits("<="),
                    CmpOp::Slt => format!("({} < {})", signed(0), signed(1)),
                    CmpOp::Sle => format!("({} <= {})", signed(0), signed(1)),
                }
            }
            Op::ShlInt => format!("fixed::shl({w}, {}, {})", s(0), s(1)),
            Op::ShrInt => format!("fixed::shr({w}, {}, {})", s(0), s(1)),
            Op::SarInt => format!("fixed::sar({w}, {}, {})", s(0), s(1)),
            Op::RorInt => format!("fixed::ror({w}, {}, {})", s(0), s(1)),
            Op::Zext => a(0),
            Op::Sext => format!("fixed::sext({}, {w}, {})", arg_w(0), s(0)),
            Op::Extract if a(1) == "0" => format!("({} & {})", typed_bits(&a(0)), mask(&w)),
            Op::Extract => format!("fixed::extract({}, {}, {w})", s(0), s(1)),
            Op::Insert => format!("fixed::insert({}, {}, {}, {})", s(0), s(1), arg_w(2), s(2)),
            Op::Concat => format!("fixed::concat({}, {}, {})", s(0), arg_w(1), s(1)),
            Op::Replicate => format!("fixed::replicate({}, {}, {})", arg_w(0), s(0), s(1)),
            Op::Select => format!("(if {} {{ {} }} else {{ {} }})", s(0), s(1), s(2)),
            Op::AddFlags => format!("fixed::add_flags({}, {}, {}, {})", arg_w(0), s(0), s(1), s(2)),
            Op::LogicFlags => format!("fixed::logic_flags({}, {})", arg_w(0), s(0)),
            Op::PackFlags | Op::UnpackFlags => a(0),
            Op::CondHolds => format!("fixed::cond_holds({}, {})", s(0), s(1)),
            Op::Lane => format!("fixed::lane({}, {}, {})", as_u32(&a(0)), s(1), s(2)),
            Op::SetLane => format!("fixed::set_lane({}, {}, {}, {})", as_u32(&a(0)), s(1), s(2), s(3)),
            Op::Splat => format!("fixed::splat({}, {})", as_u32(&a(0)), s(1)),
            other => format!("compile_error!(\"{other:?} on fixed values\")"),
        }
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

    fn dynamic_expr(&mut self, id: ValueId) -> String {
        let body = self.body;
        let data = &body[id];
        let args = &data.args;
        let w = self.width(data.ty);
        let arg_w = |e: &Self, i: usize| e.width(body[args[i]].ty);
        match &data.op {
            Op::VarGet(v) => self.var_names[v.index()].clone(),
            Op::StateGet(s) => format!("b.get({})", self.slot(id, s.index(), args.len() == 1)),
            Op::BitToBool | Op::BoolToBit => self.dynamic(args[0]),
            Op::BoolNot => format!("b.un(UnOp::Not, 1, {})", self.dynamic(args[0])),
            Op::BoolAnd | Op::BoolOr => {
                let name = if data.op == Op::BoolAnd { "And" } else { "Or" };
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.bin(BinOp::{name}, 1, {x}, {y})")
            }
            Op::BoolEq => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.cmp(CmpOp::Eq, 1, {x}, {y})")
            }
            Op::Un(op) => format!("b.un(UnOp::{op:?}, {w}, {})", self.dynamic(args[0])),
            Op::Bin(op) => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.bin(BinOp::{op:?}, {w}, {x}, {y})")
            }
            Op::Cmp(op) => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.cmp(CmpOp::{op:?}, {}, {x}, {y})", arg_w(self, 0))
            }
            Op::ShlInt | Op::ShrInt | Op::SarInt | Op::RorInt => {
                let name = match data.op {
                    Op::ShlInt => "shl_int",
                    Op::ShrInt => "shr_int",
                    Op::SarInt => "sar_int",
                    _ => "ror_int",
                };
                let x = self.dynamic(args[0]);
                format!("support::{name}(b, {w}, {x}, {})", strip(&self.expr(args[1])))
            }
            Op::Zext | Op::Sext => {
                let name = if data.op == Op::Zext { "zext" } else { "sext" };
                let from = arg_w(self, 0);
                let x = self.dynamic(args[0]);
                match (times_const(body[args[0]].ty), times_const(data.ty)) {
                    (Some(a), Some(b)) if a == b => x,
                    (Some(_), Some(_)) => format!("b.{name}({from}, {w}, {x})"),
                    _ => format!("support::{name}(b, {from}, {w}, {x})"),
                }
            }
            Op::Extract => {
                let from = arg_w(self, 0);
                let x = self.dynamic(args[0]);
                let lo = strip(&self.expr(args[1]));
                match (times_const(body[args[0]].ty), times_const(data.ty), lo.parse::<u32>()) {
                    (Some(a), Some(b), Ok(0)) if a == b => x,
                    (Some(_), Some(_), Ok(_)) => format!("b.extract({from}, {x}, {lo}, {w})"),
                    _ => format!("support::extract(b, {from}, {x}, {lo}, {w})"),
                }
            }
            Op::Insert => {
                let (x, piece) = (self.dynamic(args[0]), self.dynamic(args[2]));
                format!("support::insert(b, {w}, {x}, {}, {}, {piece})", strip(&self.expr(args[1])), arg_w(self, 2))
            }
            Op::Concat => {
                let (hi, lo) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.concat({}, {hi}, {}, {lo})", arg_w(self, 0), arg_w(self, 1))
            }
            Op::Replicate => {
                let x = self.dynamic(args[0]);
                format!("support::replicate(b, {}, {x}, {})", arg_w(self, 0), strip(&self.expr(args[1])))
            }
            Op::Select => {
                let (x, y) = (self.dynamic(args[1]), self.dynamic(args[2]));
                if body[args[0]].time == Time::Fixed {
                    format!("if {} {{ {x} }} else {{ {y} }}", strip(&self.expr(args[0])))
                } else {
                    format!("b.select({w}, {}, {x}, {y})", self.expr(args[0]))
                }
            }
            Op::AddFlags => {
                let (x, y, c) = (self.dynamic(args[0]), self.dynamic(args[1]), self.dynamic(args[2]));
                format!("b.add_flags({}, {x}, {y}, {c})", arg_w(self, 0))
            }
            Op::LogicFlags => {
                let x = self.dynamic(args[0]);
                format!("b.logic_flags({}, {x})", arg_w(self, 0))
            }
            Op::PackFlags => format!("b.pack_flags({})", self.dynamic(args[0])),
            Op::UnpackFlags => format!("b.unpack_flags({})", self.dynamic(args[0])),
            Op::CondHolds => {
                let f = self.dynamic(args[0]);
                format!("b.cond({f}, Cond::from_bits({}))", as_u32(&self.expr(args[1])))
            }
            Op::Lane => {
                let v = self.dynamic(args[1]);
                format!("b.lane({}, {v}, {})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::SetLane => {
                let (v, x) = (self.dynamic(args[1]), self.dynamic(args[3]));
                format!("b.set_lane({}, {v}, {}, {x})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::Splat => {
                let x = self.dynamic(args[1]);
                format!("b.splat({}, {x})", self.arg_u32(id, 0))
            }
            Op::VUn(op) => {
                let v = self.dynamic(args[1]);
                format!("b.vun(VUnOp::{op}, {}, {v})", self.arg_u32(id, 0))
            }
            Op::VBin(op) => {
                let (x, y) = (self.dynamic(args[1]), self.dynamic(args[2]));
                format!("b.vbin(VBinOp::{op}, {}, {x}, {y})", self.arg_u32(id, 0))
            }
            Op::VShift(op) => {
                let v = self.dynamic(args[1]);
                format!("b.vshift(VShiftOp::{op}, {}, {v}, {})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::Shuffle => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                let bytes: Vec<String> = args[2..].iter().map(|&i| as_cast(&self.expr(i), "u8")).collect();
                format!("b.shuffle({x}, {y}, [{}])", bytes.join(", "))
            }
            Op::Ext => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("support::ext(b, {x}, {y}, {})", strip(&self.expr(args[2])))
            }
            Op::FpUn(op) => {
                let x = self.dynamic(args[2]);
                format!("b.fp_un(FpUnOp::{op}, {}, {}, {x})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpRoundInt => {
                let x = self.dynamic(args[2]);
                let rounding = rounding(&self.expr(args[3]));
                let exact = strip(&self.expr(args[4]));
                let op = format!("FpUnOp::RoundInt {{ rounding: {rounding}, exact: {exact} }}");
                format!("b.fp_un({op}, {}, {}, {x})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpBin(op) => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_bin(FpBinOp::{op}, {}, {}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpFma => {
                let (a, x, y) = (self.dynamic(args[2]), self.dynamic(args[3]), self.dynamic(args[4]));
                format!("b.fp_fma({}, {}, {a}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpCmp(op) => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_cmp(FpCmpOp::{op}, {}, {}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpCmpFlags => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_cmp_flags({}, {}, {x}, {y})", self.format(args[0]), strip(&self.expr(args[1])))
            }
            Op::FpConvert => {
                let x = self.dynamic(args[2]);
                let rounding = rounding(&self.expr(args[3]));
                format!("b.fp_convert({}, {}, {rounding}, {x})", self.format(args[0]), self.format(args[1]))
            }
            Op::FpToInt => {
                let x = self.dynamic(args[4]);
                let (n, signed, fbits) = (self.arg_u32(id, 1), strip(&self.expr(args[2])), self.arg_u32(id, 3));
                let rounding = rounding(&self.expr(args[5]));
                format!("b.fp_to_int({}, {n}, {signed}, {fbits}, {rounding}, {x})", self.format(args[0]))
            }
            Op::IntToFp => {
                let x = self.dynamic(args[4]);
                let (n, signed, fbits) = (self.arg_u32(id, 0), strip(&self.expr(args[1])), self.arg_u32(id, 2));
                format!("b.int_to_fp({n}, {signed}, {fbits}, {}, {x})", self.format(args[3]))
            }
            Op::MemRead => {
                let addr = self.dynamic(args[1]);
                format!("b.load({}, {addr}, {})?", self.arg_u32(id, 0), access(&self.expr(args[2])))
            }
            Op::MemAtomic => {
                let (addr, v) = (self.dynamic(args[2]), self.dynamic(args[3]));
                let op = atomic_op(&self.expr(args[0]));
                format!("b.atomic({op}, {}, {addr}, {v}, {})?", self.arg_u32(id, 1), access(&self.expr(args[4])))
            }
            Op::MemCas => {
                let (addr, e, n) = (self.dynamic(args[1]), self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.cas({}, {addr}, {e}, {n}, {})?", self.arg_u32(id, 0), access(&self.expr(args[4])))
            }
            Op::SysregRead => format!("sysreg_access::sysreg_read(b, {}, pc, context)?", self.sysreg_number(id)),
            other => format!("compile_error!(\"{other:?} on dynamic values\")"),
        }
    }

    fn format(&self, v: ValueId) -> String {
        let text = self.expr(v);
        match text.as_str() {
            "16" | "32" | "64" => format!("FpFmt::F{text}"),
            _ => format!("FpFmt::of_width({})", as_u32(&text)),
        }
    }
}

fn times_const(ty: Ty) -> Option<u32> {
    crate::passes::times::const_width(ty)
}

/// The Rust type of a value.
fn rust_type(ty: Ty, time: Time) -> &'static str {
    match (time, ty) {
        (Time::Dynamic, _) => "B::V",
        (_, Ty::Int) => "i64",
        (_, Ty::Bool) => "bool",
        (_, Ty::Bits(_) | Ty::Flags) => "u128",
        (_, Ty::Unit) => "()",
    }
}

/// `let a: T = `, `let (a, b): (T, U) = `, or nothing.
fn binding(names: &[String], types: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("let {one}: {} = ", types[0]),
        _ => format!("let ({}): ({}) = ", names.join(", "), types.join(", ")),
    }
}

fn tuple(values: &[String]) -> String {
    match values {
        [one] => strip(one),
        _ => format!("({})", values.join(", ")),
    }
}

fn ends_in_return(out: &str) -> bool {
    out.trim_end().ends_with("return Err(Stop);")
}

fn is_literal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A literal that must not be taken for an `i32`.
fn typed_int(text: &str) -> String {
    if is_literal(text) {
        format!("{text}_i64")
    } else if let Some(negative) = text.strip_prefix("(-").and_then(|t| t.strip_suffix(')'))
        && is_literal(negative)
    {
        format!("(-{negative}_i64)")
    } else {
        text.to_owned()
    }
}

fn typed_bits(text: &str) -> String {
    if is_literal(text) { format!("{text}_u128") } else { text.to_owned() }
}

fn as_cast(text: &str, ty: &str) -> String {
    if is_literal(text) {
        return text.to_owned();
    }
    // Through `i64` and on: once is enough for what fits both.
    let direct = text.strip_prefix('(').and_then(|t| t.strip_suffix(" as i64)")).filter(|t| is_word(t));
    format!("{} as {ty}", direct.unwrap_or(text))
}

fn as_u32(text: &str) -> String {
    as_cast(text, "u32")
}

/// Without the parentheses around it.
fn strip(text: &str) -> String {
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else { return text.to_owned() };
    let mut depth = 0_i32;
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text.to_owned();
        }
    }
    inner.to_owned()
}

fn mask(width: &str) -> String {
    match width.parse::<u32>() {
        Ok(n) => format!("{:#x}", crate::fixed::mask(n)),
        Err(_) => format!("fixed::mask({width})"),
    }
}

fn access(text: &str) -> String {
    match text {
        "0" => "Access::empty()".to_owned(),
        _ => format!("Access::from_bits_truncate({})", as_cast(text, "u16")),
    }
}

fn rounding(text: &str) -> String {
    const NAMES: [&str; 7] = ["Nearest", "Up", "Down", "Zero", "NearestAway", "Odd", "Dynamic"];
    named(text, "Rounding", &NAMES, "support::rounding")
}

fn atomic_op(text: &str) -> String {
    const NAMES: [&str; 9] = ["Swap", "Add", "Clear", "Xor", "Or", "SMax", "SMin", "UMax", "UMin"];
    named(text, "AtomicOp", &NAMES, "support::atomic_op")
}

fn branch_kind(text: &str) -> String {
    named(text, "BranchKind", &["Jump", "Call", "Return"], "support::branch_kind")
}

fn named(text: &str, ty: &str, names: &[&str], convert: &str) -> String {
    match text.parse::<usize>().ok().and_then(|i| names.get(i)) {
        Some(name) => format!("{ty}::{name}"),
        None => format!("{convert}({})", strip(text)),
    }
}

/// Rust for a field of the instruction word, a `u32`.
#[must_use]
pub fn field_expr(pattern: &Pattern, field: u32) -> String {
    let mut text = String::new();
    for piece in &pattern.pieces {
        if piece.kind != PieceKind::Field(crate::ssa::FieldId(field)) {
            continue;
        }
        let bits = match piece.lo {
            0 => format!("word & {:#x}", crate::fixed::mask(piece.width)),
            lo if lo + piece.width == 32 => format!("word >> {lo}"),
            lo => format!("word >> {lo} & {:#x}", crate::fixed::mask(piece.width)),
        };
        text = if text.is_empty() { bits } else { format!("(({text}) << {} | ({bits}))", piece.width) };
    }
    text
}

/// Counts the uses of every value by statements, results and widths.
fn count_uses(body: &Body, region: &Region, uses: &mut [u32]) {
    let width_uses = |ty: Ty, uses: &mut [u32]| {
        if let Ty::Bits(Width::Value(w)) = ty {
            uses[w.index()] += 1;
        }
    };
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                let data = &body[*v];
                for &a in &data.args {
                    uses[a.index()] += 1;
                }
                width_uses(data.ty, uses);
                for &a in &data.args {
                    width_uses(body[a].ty, uses);
                }
            }
            Stmt::If { cond, then, otherwise, results } => {
                uses[cond.index()] += 1;
                for &r in results {
                    width_uses(body[r].ty, uses);
                }
                for arm in [then, otherwise] {
                    count_uses(body, arm, uses);
                }
            }
            Stmt::For { lo, hi, body: inner, .. } => {
                uses[lo.index()] += 1;
                uses[hi.index()] += 1;
                count_uses(body, inner, uses);
            }
        }
    }
    for &r in &region.results {
        uses[r.index()] += 1;
    }
}

fn collect_sets(body: &Body, region: &Region, out: &mut Vec<VarId>) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                if let Op::VarSet(var) = body[*v].op
                    && !out.contains(&var)
                {
                    out.push(var);
                }
            }
            Stmt::If { then, otherwise, .. } => {
                collect_sets(body, then, out);
                collect_sets(body, otherwise, out);
            }
            Stmt::For { body: inner, .. } => collect_sets(body, inner, out),
        }
    }
}

/// For each variable the innermost region that holds all its uses, and the first statement there that has one.
fn var_homes(body: &Body) -> HashMap<(usize, usize), Vec<VarId>> {
    fn walk(
        body: &Body,
        region: &Region,
        path: &mut Vec<(usize, usize)>,
        next: &mut usize,
        homes: &mut HashMap<VarId, Vec<(usize, usize)>>,
    ) {
        let this = *next;
        *next += 1;
        for (i, stmt) in region.stmts.iter().enumerate() {
            path.push((this, i));
            match stmt {
                Stmt::Eval(v) => {
                    if let Op::VarGet(var) | Op::VarSet(var) = body[*v].op {
                        match homes.entry(var) {
                            std::collections::hash_map::Entry::Vacant(e) => {
                                e.insert(path.clone());
                            }
                            std::collections::hash_map::Entry::Occupied(mut e) => {
                                let home = e.get_mut();
                                // The common regions; the statement is that of the first use.
                                let common = home.iter().zip(path.iter()).take_while(|(a, b)| a.0 == b.0).count();
                                home.truncate(common);
                            }
                        }
                    }
                }
                Stmt::If { then, otherwise, .. } => {
                    walk(body, then, path, next, homes);
                    walk(body, otherwise, path, next, homes);
                }
                Stmt::For { body: inner, .. } => walk(body, inner, path, next, homes),
            }
            path.pop();
        }
    }
    let mut homes = HashMap::new();
    walk(body, &body.root, &mut Vec::new(), &mut 0, &mut homes);
    let mut result: HashMap<(usize, usize), Vec<VarId>> = HashMap::new();
    let mut sorted: Vec<_> = homes.into_iter().collect();
    sorted.sort();
    for (var, path) in sorted {
        if let Some(&at) = path.last() {
            result.entry(at).or_default().push(var);
        }
    }
    result
}
