//! System registers: the table for debuggers, and what an access emits.
//!
//! Registers that are plain storage share two functions; the others get one each. The encoding is known at translation
//! time, so the dispatch is a `match` that runs once per translated instruction.

use super::body::BodyEmitter;
use super::text::{Text, quote, snake, upper};
use super::{ALLOW, IMPORTS};
use crate::model::{Model, Sysreg};
use crate::passes::times;
use crate::ssa::{Body, Time};

pub fn emit(model: &Model, t: &mut Text) {
    table(model, t);
    t.line("/// What an access to a system register emits.");
    t.line(ALLOW);
    t.open("mod sysreg_access {");
    t.lines(IMPORTS);
    support(model, t);
    for write in [false, true] {
        dispatch(model, write, t);
    }
    for r in &model.sysregs {
        if r.read_level.is_some() && !plain_read(r) {
            read(model, r, t);
        }
        if r.write_level.is_some() && !plain_write(r) {
            write(model, r, t);
        }
    }
    t.close("}");
    t.line("");
}

fn plain_read(r: &Sysreg) -> bool {
    r.get.is_none() && r.read_when.is_none()
}

fn plain_write(r: &Sysreg) -> bool {
    r.set.is_none() && r.write_when.is_none() && r.storage.is_some()
}

fn level(l: Option<u8>) -> String {
    l.map_or("None".to_owned(), |l| format!("Some({l})"))
}

fn table(model: &Model, t: &mut Text) {
    t.line("/// A system register, for debuggers and documentation.");
    t.line("#[derive(Clone, Copy, Debug)]");
    t.open("pub struct SysregInfo {");
    t.line("pub name: &'static str,");
    t.line("/// op0:op1:CRn:CRm:op2 as a 16-bit number.");
    t.line("pub encoding: u16,");
    t.line("/// Least privilege level that may read, write.");
    t.line("pub read_level: Option<u8>,");
    t.line("pub write_level: Option<u8>,");
    t.line("/// Offset of its storage in [`State`].");
    t.line("pub offset: Option<u32>,");
    t.line("/// Value after reset.");
    t.line("pub reset: u64,");
    t.close("}");
    t.line("");
    t.line("/// All system registers.");
    t.open("pub static SYSREGS: &[SysregInfo] = &[");
    for r in &model.sysregs {
        let offset = r.storage.as_ref().map_or("None".to_owned(), |s| format!("Some(slots::{}.offset)", upper(s)));
        t.open("SysregInfo {");
        t.line(format!("name: {},", quote(&r.name)));
        t.line(format!("encoding: {:#06x},", r.number()));
        t.line(format!("read_level: {},", level(r.read_level)));
        t.line(format!("write_level: {},", level(r.write_level)));
        t.line(format!("offset: {offset},"));
        t.line(format!("reset: {:#x},", r.value.unwrap_or(r.reset)));
        t.close("},");
    }
    t.close("];");
    t.line("");
    t.line("/// Writes a register's name in small letters, or the generic one.");
    t.line(ALLOW);
    t.open("fn sysreg_name(number: u16, out: &mut dyn core::fmt::Write) -> core::fmt::Result {");
    t.open("let name = match number {");
    for r in &model.sysregs {
        t.line(format!("{:#06x} => {},", r.number(), quote(&r.name.to_ascii_lowercase())));
    }
    t.line("_ => {");
    t.line("    let (op0, op1, op2) = (number >> 14, number >> 11 & 7, number & 7);");
    t.line("    return write!(out, \"s{op0}_{op1}_c{}_c{}_{op2}\", number >> 7 & 15, number >> 3 & 15);");
    t.line("}");
    t.close("};");
    t.line("out.write_str(name)");
    t.close("}");
    t.line("");
}

fn support(model: &Model, t: &mut Text) {
    let has = |name: &str| model.helpers.iter().any(|h| h.name == name);
    let el = if model.state.iter().any(|e| e.context && e.name == "el") { "ctx::el(context)" } else { "3" };
    t.line("");
    t.line("/// The current privilege level.");
    t.open("fn current_level(context: u64) -> u64 {");
    t.line(el);
    t.close("}");
    for (name, helper) in [("undefined", "sysreg_undefined"), ("trap", "sysreg_trap")] {
        t.line("");
        t.open(format!("fn {name}<B: Emit>(b: &mut B, encoding: u16) -> Stop {{"));
        if has(helper) {
            t.line("let number = b.konst(64, u128::from(encoding));");
            t.line(format!("let _ = b.call(helper::{}, &[number]);", upper(helper)));
        }
        t.line("Stop");
        t.close("}");
    }
    t.lines(
        "
fn check<B: Emit>(b: &mut B, encoding: u16, level: u64, context: u64) -> Result<(), Stop> {
    if current_level(context) < level { Err(undefined(b, encoding)) } else { Ok(()) }
}

fn read_plain<B: Emit>(b: &mut B, encoding: u16, level: u64, slot: Slot, context: u64) -> Result<B::V, Stop> {
    check(b, encoding, level, context)?;
    Ok(b.get(slot))
}

fn read_value<B: Emit>(b: &mut B, encoding: u16, level: u64, value: u64, context: u64) -> Result<B::V, Stop> {
    check(b, encoding, level, context)?;
    Ok(b.konst(64, u128::from(value)))
}

/// The value with the bits outside `mask` as after reset.
fn masked<B: Emit>(b: &mut B, value: B::V, mask: u64, reset: u64) -> B::V {
    if mask == u64::MAX {
        return value;
    }
    let mask_v = b.konst(64, u128::from(mask));
    let kept = b.bin(BinOp::And, 64, value, mask_v);
    if reset & !mask == 0 {
        return kept;
    }
    let fixed_v = b.konst(64, u128::from(reset & !mask));
    b.bin(BinOp::Or, 64, kept, fixed_v)
}

fn write_plain<B: Emit>(
    b: &mut B,
    encoding: u16,
    level: u64,
    slot: Slot,
    (mask, reset): (u64, u64),
    value: B::V,
    context: u64,
) -> Result<(), Stop> {
    check(b, encoding, level, context)?;
    let value = masked(b, value, mask, reset);
    b.put(slot, value);
    Ok(())
}
",
    );
}

fn dispatch(model: &Model, write: bool, t: &mut Text) {
    t.line("");
    if write {
        t.open(
            "pub fn sysreg_write<B: Emit>(b: &mut B, encoding: u16, value: B::V, pc: u64, context: u64) -> Result<(), Stop> {",
        );
    } else {
        t.open("pub fn sysreg_read<B: Emit>(b: &mut B, encoding: u16, pc: u64, context: u64) -> Result<B::V, Stop> {");
    }
    t.open("match encoding {");
    for r in &model.sysregs {
        let n = r.number();
        let name = snake(&r.name);
        let slot = r.storage.as_ref().map(|s| format!("slots::{}", upper(s)));
        let arm = if write {
            let Some(level) = r.write_level else { continue };
            match slot {
                Some(slot) if plain_write(r) => {
                    format!(
                        "write_plain(b, encoding, {level}, {slot}, ({:#x}, {:#x}), value, context)",
                        r.mask, r.reset
                    )
                }
                _ => format!("write_{name}(b, encoding, value, pc, context)"),
            }
        } else {
            let Some(level) = r.read_level else { continue };
            match (r.value, slot) {
                (Some(v), _) if plain_read(r) => format!("read_value(b, encoding, {level}, {v:#x}, context)"),
                (None, Some(slot)) if plain_read(r) => format!("read_plain(b, encoding, {level}, {slot}, context)"),
                (None, None) if plain_read(r) => format!("read_value(b, encoding, {level}, {:#x}, context)", r.reset),
                _ => format!("read_{name}(b, encoding, pc, context)"),
            }
        };
        t.line(format!("{n:#06x} => {arm},"));
    }
    t.line("_ => Err(undefined(b, encoding)),");
    t.close("}");
    t.close("}");
}

/// The check of the access level, and at level 0 of the condition.
fn access_check(model: &Model, level: u8, when: Option<&Body>, t: &mut Text) {
    if level > 0 {
        t.line(format!("check(b, encoding, {level}, context)?;"));
    }
    let Some(when) = when else { return };
    if level > 0 {
        return;
    }
    let mut body = when.clone();
    times::infer(model, &mut body);
    t.open("if current_level(context) == 0 {");
    let mut e = BodyEmitter::new(model, &body, None, 3);
    e.run();
    let Some(&condition) = body.root.results.first() else {
        t.close("}");
        return;
    };
    let text = e.expr(condition);
    t.out.push_str(&e.text.out);
    if body[condition].time == Time::Dynamic {
        t.line(format!("b.branch_on({text}, [], |_| Ok([]), |b| Err(trap(b, encoding)))?;"));
    } else {
        t.open(format!("if !({text}) {{"));
        t.line("return Err(trap(b, encoding));");
        t.close("}");
    }
    t.close("}");
}

fn read(model: &Model, r: &Sysreg, t: &mut Text) {
    t.line("");
    t.doc(&r.doc);
    t.open(format!(
        "fn read_{}<B: Emit>(b: &mut B, encoding: u16, pc: u64, context: u64) -> Result<B::V, Stop> {{",
        snake(&r.name)
    ));
    access_check(model, r.read_level.unwrap_or(0), r.read_when.as_ref(), t);
    if let Some(get) = &r.get {
        let mut body = get.clone();
        times::infer(model, &mut body);
        let mut e = BodyEmitter::new(model, &body, None, 2);
        let diverges = e.run();
        let result = body.root.results.first().filter(|_| !diverges).map(|&v| e.dynamic(v));
        t.out.push_str(&e.text.out);
        t.line(result.map_or("Err(Stop)".to_owned(), |v| format!("Ok({v})")));
    } else if let Some(storage) = r.storage.as_ref().filter(|_| r.value.is_none()) {
        t.line(format!("Ok(b.get(slots::{}))", upper(storage)));
    } else {
        t.line(format!("Ok(b.konst(64, {:#x}))", r.value.unwrap_or(r.reset)));
    }
    t.close("}");
}

fn write(model: &Model, r: &Sysreg, t: &mut Text) {
    t.line("");
    t.doc(&r.doc);
    t.open(format!(
        "fn write_{}<B: Emit>(b: &mut B, encoding: u16, value: B::V, pc: u64, context: u64) -> Result<(), Stop> {{",
        snake(&r.name)
    ));
    access_check(model, r.write_level.unwrap_or(0), r.write_when.as_ref(), t);
    if r.mask != u64::MAX {
        t.line(format!("let value = masked(b, value, {:#x}, {:#x});", r.mask, r.reset));
    }
    let mut diverges = false;
    if let Some(set) = &r.set {
        let mut body = set.clone();
        for v in &mut body.values {
            if matches!(v.op, crate::ssa::Op::Param(_)) {
                v.time = Time::Dynamic;
            }
        }
        times::infer(model, &mut body);
        let mut e = BodyEmitter::new(model, &body, None, 2).with_params(&["value"]);
        diverges = e.run();
        t.out.push_str(&e.text.out);
    } else if let Some(storage) = &r.storage {
        t.line(format!("b.put(slots::{}, value);", upper(storage)));
    }
    t.line(if diverges { "Err(Stop)" } else { "Ok(())" });
    t.close("}");
}
