//! Differential test of the levels: on random words and states every level does to the state what O0 does, and has the same
//! effects in the same order.
//!
//! Memory, helpers and what only the IR can perform are uninterpreted functions: a hash of the operation and its operands. Vector
//! operations that replace loops over lanes are the backend's reference semantics; floating point on several lanes is that on each.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::{OptLevel, optimise_body};
use crate::eval::{Value, apply, field_value};
use crate::fixed;
use crate::model::{Model, Pattern};
use crate::ssa::{Body, FieldId, Op, Region, Stmt, Ty, ValueId, Width};
use x86_backend::emit::{VBinOp, VShiftOp, VUnOp};
use x86_backend::eval;

/// A small deterministic generator.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (x >> 29)
    }
    /// Numbers of the kind that meet corner cases.
    pub fn interesting(&mut self) -> u128 {
        match self.next() % 6 {
            0 => 0,
            1 => u128::MAX,
            2 => u128::from(self.next() % 4),
            3 => 1 << (self.next() % 128),
            _ => u128::from(self.next()) << 64 | u128::from(self.next()),
        }
    }
}

pub(super) type State = HashMap<(u32, i64), u128>;

struct Machine<'a> {
    model: &'a Model,
    body: &'a Body,
    pattern: Option<&'a Pattern>,
    word: u32,
    context: &'a State,
    state: State,
    trace: Vec<String>,
    values: Vec<Option<Value>>,
    vars: Vec<Option<Value>>,
}

/// The path is over.
struct Stopped;

fn hash(of: &impl Hash) -> u128 {
    let mut h = DefaultHasher::new();
    of.hash(&mut h);
    let low = h.finish();
    1_u8.hash(&mut h);
    u128::from(h.finish()) << 64 | u128::from(low)
}

impl Machine<'_> {
    fn get(&self, v: ValueId) -> Value {
        match (self.values[v.index()], &self.body[v].op) {
            (Some(value), _) => value,
            (None, Op::Int(i)) => Value::Int(*i),
            (None, Op::Bool(b)) => Value::Bool(*b),
            (None, Op::Bits(b)) => Value::Bits(*b),
            (None, Op::Field(f)) => self.field(*f),
            (None, Op::Pc) => Value::Bits(0x4000),
            (None, Op::Param(i)) => Value::Bits(hash(i) & fixed::mask(64)),
            (None, op) => panic!("v{} ({op:?}) has no value", v.0),
        }
    }

    fn field(&self, f: FieldId) -> Value {
        Value::Bits(self.pattern.map_or(0, |p| field_value(p, f, self.word)))
    }

    fn width(&self, ty: Ty) -> u32 {
        match ty {
            Ty::Bits(Width::Const(n)) => n,
            Ty::Bits(Width::Value(w)) => self.get(w).int() as u32,
            Ty::Bool => 1,
            Ty::Int => 64,
            Ty::Flags => 4,
            Ty::Unit => 0,
        }
    }

    fn typed(&self, ty: Ty, bits: u128) -> Value {
        match ty {
            Ty::Bool => Value::Bool(bits & 1 != 0),
            Ty::Flags => Value::Flags(bits as u8 & 15),
            Ty::Unit => Value::Unit,
            _ => Value::Bits(bits & fixed::mask(self.width(ty))),
        }
    }

    /// An effect that others see, with the state as it is.
    fn effect(&mut self, what: String) -> u128 {
        let mut state: Vec<_> = self.state.iter().collect();
        state.sort();
        let key = hash(&(what.as_str(), self.trace.len()));
        self.trace.push(format!("{what} {:x}", hash(&state) as u64));
        key
    }

    fn region(&mut self, region: &Region) -> Result<(), Stopped> {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(v) => self.eval(*v)?,
                Stmt::If { cond, then, otherwise, results } => {
                    let arm = if self.get(*cond).truth() { then } else { otherwise };
                    self.region(arm)?;
                    for (&r, &v) in results.iter().zip(&arm.results) {
                        self.values[r.index()] = Some(self.get(v));
                    }
                }
                Stmt::For { index, lo, hi, body } => {
                    for i in self.get(*lo).int()..self.get(*hi).int() {
                        self.values[index.index()] = Some(Value::Int(i));
                        self.region(body)?;
                    }
                }
            }
        }
        if region.diverges { Err(Stopped) } else { Ok(()) }
    }

    fn eval(&mut self, v: ValueId) -> Result<(), Stopped> {
        let data = &self.body[v];
        let args: Vec<Value> = data.args.iter().map(|&a| self.get(a)).collect();
        let raw: Vec<u128> = args.iter().map(|a| a.bits()).collect();
        let value = match &data.op {
            Op::VarSet(var) => {
                self.vars[var.index()] = Some(args[0]);
                Value::Unit
            }
            Op::VarGet(var) => self.vars[var.index()].expect("set before"),
            Op::StateGet(s) => {
                let element = &self.model.state[s.index()];
                let key = (s.0, args.first().map_or(0, |i| i.int()));
                let from = if element.context { self.context } else { &self.state };
                self.typed(element.ty, from.get(&key).copied().unwrap_or(0))
            }
            Op::StateSet(s) => {
                let index = if args.len() == 2 { args[0].int() } else { 0 };
                self.state.insert((s.0, index), raw[raw.len() - 1]);
                Value::Unit
            }
            Op::Call(h) if self.model.helpers[h.index()].pure_ => self.typed(data.ty, hash(&("pure", h, &raw))),
            Op::Call(_)
            | Op::MemRead
            | Op::MemWrite
            | Op::MemAtomic
            | Op::MemCas
            | Op::Fence
            | Op::SysregRead
            | Op::SysregWrite
            | Op::Branch
            | Op::EndBlock => {
                let key = self.effect(format!("{:?} {raw:x?}", data.op));
                if matches!(data.op, Op::Call(_) | Op::SysregRead | Op::SysregWrite) {
                    // Whoever is called may change the state.
                    for (i, element) in self.model.state.iter().enumerate() {
                        if element.count.is_none() && !element.context {
                            let new = self.typed(element.ty, hash(&(key, i)));
                            self.state.insert((i as u32, 0), new.bits());
                        }
                    }
                }
                self.typed(data.ty, key)
            }
            Op::Field(_) | Op::Pc | Op::Param(_) => self.get(v),
            op => {
                let widths: Vec<u32> = data.args.iter().map(|&a| self.width(self.body[a].ty)).collect();
                match apply(op, self.width(data.ty), &args, &widths) {
                    Ok(value) => value,
                    Err(_) => match vector(op, &raw) {
                        Some(v) => Value::Bits(v),
                        None => self.typed(data.ty, hash(&(format!("{op:?}"), &raw))),
                    },
                }
            }
        };
        self.values[v.index()] = Some(value);
        Ok(())
    }
}

/// A vector operation that a loop over lanes may become.
fn vector(op: &Op, raw: &[u128]) -> Option<u128> {
    let e = raw[0] as u32;
    Some(match *op {
        Op::VUn(name) => {
            let all = [VUnOp::Neg, VUnOp::Clz, VUnOp::Popcnt, VUnOp::ZextLow, VUnOp::Narrow];
            let op = all.into_iter().find(|op| format!("{op:?}") == name)?;
            eval::vun(op, e, raw[1])
        }
        Op::VBin(name) => {
            let all = [
                VBinOp::Add,
                VBinOp::Sub,
                VBinOp::Mul,
                VBinOp::CmpEq,
                VBinOp::CmpSgt,
                VBinOp::CmpSge,
                VBinOp::CmpUgt,
                VBinOp::CmpUge,
                VBinOp::UShlVar,
                VBinOp::SShlVar,
            ];
            let op = all.into_iter().find(|op| format!("{op:?}") == name)?;
            eval::vbin(op, e, raw[1], raw[2])
        }
        Op::VShift(name) => {
            let op = [VShiftOp::Shl, VShiftOp::Shr, VShiftOp::Sar].into_iter().find(|op| format!("{op:?}") == name)?;
            eval::vshift(op, e, raw[1], raw[2] as u32)
        }
        Op::Ext => {
            let idx = std::array::from_fn(|i| i as u8 + raw[2] as u8);
            eval::shuffle(raw[0], raw[1], idx)
        }
        Op::FpUn(_) | Op::FpRoundInt | Op::FpBin(_) | Op::FpFma | Op::FpCmp(_) if raw[1] != 1 => {
            let operands = if *op == Op::FpRoundInt { 2..3 } else { 2..raw.len() };
            (0..raw[1] as u32).fold(0, |r, i| {
                let mut one = raw.to_vec();
                one[1] = 1;
                for k in operands.clone() {
                    one[k] = eval::lane(e, raw[k], i);
                }
                eval::set_lane(e, r, i, hash(&(format!("{op:?}"), one)))
            })
        }
        _ => return None,
    })
}

/// Trace, final state and result of one run.
type Outcome = (Vec<String>, Vec<((u32, i64), u128)>, Option<u128>);

fn run(model: &Model, body: &Body, pattern: Option<&Pattern>, word: u32, state: &State) -> Outcome {
    let mut m = Machine {
        model,
        body,
        pattern,
        word,
        context: state,
        state: state.clone(),
        trace: Vec::new(),
        values: vec![None; body.values.len()],
        vars: vec![None; body.vars.len()],
    };
    let done = m.region(&body.root);
    let result = body.root.results.first().filter(|_| done.is_ok()).map(|&r| m.get(r).bits());
    let mut state: Vec<_> = m.state.into_iter().collect();
    state.sort_unstable();
    (m.trace, state, result)
}

fn random_state(model: &Model, random: &mut Random) -> State {
    let mut state = State::new();
    for (i, element) in model.state.iter().enumerate() {
        let width = if element.ty == Ty::Flags { 4 } else { super::times::const_width(element.ty).unwrap_or(64) };
        for n in 0..element.count.unwrap_or(1) {
            state.insert((i as u32, i64::from(n)), random.interesting() & fixed::mask(width));
        }
    }
    state
}

pub(super) fn compare(model: &Model, name: &str, body: &Body, pattern: Option<&Pattern>, inputs: &[(u32, State)]) {
    let mut base = body.clone();
    optimise_body(model, &mut base, OptLevel::O0);
    for level in OptLevel::ALL.into_iter().skip(1) {
        let mut optimised = body.clone();
        optimise_body(model, &mut optimised, level);
        for (word, state) in inputs {
            let want = run(model, &base, pattern, *word, state);
            let got = run(model, &optimised, pattern, *word, state);
            assert_eq!(
                got,
                want,
                "{name} {word:#x} at {level:?}\n{}\n{}",
                crate::print::body(model, &base),
                crate::print::body(model, &optimised)
            );
        }
    }
}

#[test]
fn every_level_does_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arch-specs/armv8-a/armv8-a.isa");
    let loaded = crate::frontend::load(&root).unwrap_or_else(|e| panic!("{}", e.render()));
    let model = loaded.model;
    let mut random = Random(1);
    for insn in &model.insns {
        let e = crate::decoder::encoding(insn);
        let mut inputs = Vec::new();
        for _ in 0..40 {
            let word = (random.next() as u32 & !e.mask) | e.value;
            if inputs.len() < 10 && crate::decoder::valid(insn, word) {
                inputs.push((word, random_state(&model, &mut random)));
            }
        }
        compare(&model, &insn.name, &insn.exec, Some(&insn.pattern), &inputs);
    }
    for r in &model.sysregs {
        for body in [&r.get, &r.set, &r.read_when, &r.write_when].into_iter().flatten() {
            let inputs: Vec<_> = (0..4).map(|_| (0, random_state(&model, &mut random))).collect();
            compare(&model, &r.name, body, None, &inputs);
        }
    }
}
