//! SSA as text, for dumps, golden files and failing tests.
//!
//! ```text
//! v5: int = if v4 { v6: int = 64 -> v6 } else { ... }
//! v9: bits(v5) ~ bin add v7, v8        // `~` dynamic, `=` fixed
//! ```

use std::fmt::Write as _;

use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, ValueId, Width};

/// The whole body.
#[must_use]
pub fn body(model: &Model, body: &Body) -> String {
    let mut out = String::new();
    region(model, body, &body.root, 0, &mut out);
    out
}

fn list(values: &[ValueId]) -> String {
    values.iter().map(|v| format!("v{}", v.0)).collect::<Vec<_>>().join(", ")
}

/// `bits(64)`, `bits(v3)`, `int`...
#[must_use]
pub fn ty(ty: Ty) -> String {
    match ty {
        Ty::Int => "int".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::Bits(Width::Const(n)) => format!("bits({n})"),
        Ty::Bits(Width::Value(v)) => format!("bits(v{})", v.0),
        Ty::Flags => "flags".to_owned(),
        Ty::Unit => "unit".to_owned(),
    }
}

fn op(model: &Model, body: &Body, op: &Op) -> String {
    match op {
        Op::Int(i) => format!("{i}"),
        Op::Bool(b) => format!("{b}"),
        Op::Bits(v) => format!("{v:#x}"),
        Op::Field(f) => format!("field {}", f.0),
        Op::Param(i) => format!("param {i}"),
        Op::VarGet(v) => format!("get {}.{}", body.vars[v.index()].name, v.0),
        Op::VarSet(v) => format!("set {}.{}", body.vars[v.index()].name, v.0),
        Op::StateGet(s) => format!("load {}", model.state[s.index()].name),
        Op::StateSet(s) => format!("store {}", model.state[s.index()].name),
        Op::Call(h) => format!("call {}", model.helpers[h.index()].name),
        Op::Un(o) => format!("{o:?}").to_lowercase(),
        Op::Bin(o) => format!("{o:?}").to_lowercase(),
        Op::Cmp(o) => format!("cmp_{o:?}").to_lowercase(),
        Op::VUn(n) | Op::VBin(n) | Op::VTern(n) | Op::VShift(n) => format!("v_{n}").to_lowercase(),
        Op::FpUn(n) | Op::FpBin(n) | Op::FpCmp(n) => format!("fp_{n}").to_lowercase(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn region(model: &Model, b: &Body, r: &Region, depth: usize, out: &mut String) {
    let pad = depth * 2;
    for stmt in &r.stmts {
        match stmt {
            Stmt::Eval(v) => {
                let data = &b[*v];
                let text = format!("{} {}", op(model, b, &data.op), list(&data.args));
                let text = text.trim_end();
                if data.ty == Ty::Unit {
                    let _ = writeln!(out, "{:pad$}{text}", "");
                } else {
                    let sign = if data.time == Time::Dynamic { '~' } else { '=' };
                    let _ = writeln!(out, "{:pad$}v{}: {} {sign} {text}", "", v.0, ty(data.ty));
                }
            }
            Stmt::If { cond, then, otherwise, results } => {
                let names: Vec<String> = results.iter().map(|&r| format!("v{}: {}", r.0, ty(b[r].ty))).collect();
                let names = if names.is_empty() { String::new() } else { format!("{} = ", names.join(", ")) };
                let _ = writeln!(out, "{:pad$}{names}if v{} {{", "", cond.0);
                region(model, b, then, depth + 1, out);
                let _ = writeln!(out, "{:pad$}}} else {{", "");
                region(model, b, otherwise, depth + 1, out);
                let _ = writeln!(out, "{:pad$}}}", "");
            }
            Stmt::For { index, lo, hi, body } => {
                let _ = writeln!(out, "{:pad$}for v{} in v{}..v{} {{", "", index.0, lo.0, hi.0);
                region(model, b, body, depth + 1, out);
                let _ = writeln!(out, "{:pad$}}}", "");
            }
        }
    }
    if r.diverges {
        let _ = writeln!(out, "{:pad$}never", "");
    } else if !r.results.is_empty() {
        let _ = writeln!(out, "{:pad$}-> {}", "", list(&r.results));
    }
}
