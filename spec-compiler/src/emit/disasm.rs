//! The disassembler: one small function per instruction, its `asm` lines in order.

use super::ALLOW;
use super::body::BodyEmitter;
use super::text::{Text, camel, quote, snake, upper};
use crate::model::{AsmForm, AsmPart, Insn, Model};
use crate::passes::times;
use crate::ssa::{Ty, ValueId};

pub fn emit(model: &Model, t: &mut Text) {
    t.line("/// Writes the assembly text of the instruction `word` at `pc`.");
    t.line("///");
    t.line("/// # Errors");
    t.line("/// Those of `out`.");
    t.open("pub fn disassemble(word: u32, pc: u64, out: &mut dyn core::fmt::Write) -> core::fmt::Result {");
    t.line("let Some(insn) = decode(word) else { return write!(out, \".word {word:#x}\") };");
    t.open("match insn {");
    for insn in &model.insns {
        t.line(format!("Insn::{} => disassembler::{}(word, pc, out),", camel(&insn.name), snake(&insn.name)));
    }
    t.close("}");
    t.close("}");
    t.line("");
    t.line(ALLOW);
    t.open("mod disassembler {");
    t.line("use super::{fixed, names, sysreg_name};");
    t.line("use core::fmt::{Result, Write};");
    for insn in &model.insns {
        t.line("");
        t.open(format!("pub fn {}(word: u32, pc: u64, out: &mut dyn Write) -> Result {{", snake(&insn.name)));
        let mut closed = false;
        for form in &insn.asm {
            emit_form(model, insn, form, t);
            if form.when.is_none() {
                closed = true;
                break;
            }
        }
        if !closed {
            t.line(format!("write!(out, \".word {{word:#x}} // {}\")", insn.name));
        }
        t.close("}");
    }
    t.close("}");
    t.line("");
}

fn emit_form(model: &Model, insn: &Insn, form: &AsmForm, t: &mut Text) {
    let mut body = form.body.clone();
    let mut roots = Vec::new();
    roots.extend(form.when);
    collect(&form.parts, &mut roots);
    crate::passes::dead::run(model, &mut body, &roots);
    times::infer(model, &mut body);
    let mut e = BodyEmitter::new(model, &body, Some(&insn.pattern), 2);
    for &r in &roots {
        e.note_use(r);
    }
    if form.when.is_some() {
        t.open("{");
    }
    e.run();
    t.lines_at(&e.text.out);
    if let Some(when) = form.when {
        t.open(format!("if {} {{", e.expr(when)));
        parts(model, &body, &form.parts, &e, t);
        t.line("return Ok(());");
        t.close("}");
        t.close("}");
    } else {
        parts(model, &body, &form.parts, &e, t);
        t.line("Ok(())");
    }
}

fn collect(parts: &[AsmPart], out: &mut Vec<ValueId>) {
    for p in parts {
        match p {
            AsmPart::Text(_) => {}
            AsmPart::Name(_, v) | AsmPart::Dec(v) | AsmPart::Hex(v) | AsmPart::Address(v) | AsmPart::Register(v) => {
                out.push(*v);
            }
            AsmPart::Choice(v, a, b) => {
                out.push(*v);
                collect(a, out);
                collect(b, out);
            }
        }
    }
}

fn parts(model: &Model, body: &crate::ssa::Body, list: &[AsmPart], e: &BodyEmitter<'_>, t: &mut Text) {
    for p in list {
        match p {
            AsmPart::Text(s) => t.line(format!("out.write_str({})?;", quote(s))),
            AsmPart::Name(table, v) => t.line(format!(
                "out.write_str(names::{}.get({} as usize).copied().unwrap_or(\"?\"))?;",
                upper(&model.names[*table].name),
                e.expr(*v)
            )),
            AsmPart::Dec(v) => t.line(format!("write!(out, \"#{{}}\", {})?;", typed(body, *v, &e.expr(*v)))),
            AsmPart::Hex(v) if body[*v].ty == Ty::Int => {
                let text = typed(body, *v, &e.expr(*v));
                t.line(format!("let value: i64 = {text};"));
                t.line("write!(out, \"#{}{:#x}\", if value < 0 { \"-\" } else { \"\" }, value.unsigned_abs())?;");
            }
            AsmPart::Hex(v) => t.line(format!("write!(out, \"#{{:#x}}\", {})?;", typed(body, *v, &e.expr(*v)))),
            AsmPart::Address(v) => t.line(format!("write!(out, \"{{:#x}}\", {})?;", typed(body, *v, &e.expr(*v)))),
            AsmPart::Register(v) => t.line(format!("sysreg_name({} as u16, out)?;", typed(body, *v, &e.expr(*v)))),
            AsmPart::Choice(c, a, b) => {
                t.open(format!("if {} {{", e.expr(*c)));
                parts(model, body, a, e, t);
                if !b.is_empty() {
                    t.reopen("} else {");
                    parts(model, body, b, e, t);
                }
                t.close("}");
            }
        }
    }
}

/// Literals need their type said.
fn typed(body: &crate::ssa::Body, v: ValueId, text: &str) -> String {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{text}{}", if body[v].ty == Ty::Int { "_i64" } else { "_u128" })
    } else {
        text.to_owned()
    }
}
