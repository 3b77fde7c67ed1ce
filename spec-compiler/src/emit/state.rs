//! `State`, its reset values, the context word and the slots.

use super::ALLOW;
use super::text::{Text, snake, upper};
use crate::model::{Model, StateElement};
use crate::passes::times::const_width;
use crate::ssa::Ty;

/// Bits of storage of an element: the next of 8, 16, 32, 64, 128.
fn storage(e: &StateElement) -> u32 {
    match e.ty {
        Ty::Flags => 16,
        ty => const_width(ty).unwrap_or(64).next_power_of_two().max(8),
    }
}

fn reset_value(e: &StateElement) -> String {
    let value = match e.ty {
        Ty::Flags => u128::from(((e.reset & 0b1100) << 12 | (e.reset & 0b10) << 7 | e.reset & 1) as u16),
        _ => e.reset,
    };
    let text = if value < 10 { value.to_string() } else { format!("{value:#x}") };
    match e.count {
        Some(n) => format!("[{text}; {n}]"),
        None => text,
    }
}

pub fn emit(model: &Model, t: &mut Text) {
    t.line("/// The architectural state of one processor.");
    t.line("#[derive(Clone, Debug)]");
    t.line("#[repr(C)]");
    t.open("pub struct State {");
    for e in &model.state {
        t.doc(&e.doc);
        let ty = format!("u{}", storage(e));
        let ty = e.count.map_or(ty.clone(), |n| format!("[{ty}; {n}]"));
        t.line(format!("pub {}: {ty},", snake(&e.name)));
    }
    t.close("}");
    t.line("");
    t.open("impl State {");
    t.line("/// The state at power-on.");
    t.line("#[must_use]");
    t.open("pub fn reset() -> Self {");
    t.open("Self {");
    for e in &model.state {
        t.line(format!("{}: {},", snake(&e.name), reset_value(e)));
    }
    t.close("}");
    t.close("}");
    t.line("");
    t.line("/// The context word: everything a translated block depends on.");
    t.line("#[must_use]");
    t.line(ALLOW);
    t.open("pub fn context(&self) -> u64 {");
    let mut at = 0;
    let mut terms = Vec::new();
    let mut accessors = Text::at(1);
    for e in model.state.iter().filter(|e| e.context) {
        let width = const_width(e.ty).unwrap_or(64);
        let mask = format!("{:#x}", crate::fixed::mask(width));
        let shifted = if at == 0 { String::new() } else { format!(" << {at}") };
        terms.push(format!("(u64::from(self.{}) & {mask}){shifted}", snake(&e.name)));
        accessors.doc(&e.doc);
        accessors.line("#[must_use]");
        accessors.open(format!("pub const fn {}(context: u64) -> u64 {{", snake(&e.name)));
        accessors.line(if at == 0 { format!("context & {mask}") } else { format!("context >> {at} & {mask}") });
        accessors.close("}");
        at += width;
    }
    t.line(if terms.is_empty() { "0".to_owned() } else { terms.join(" | ") });
    t.close("}");
    t.close("}");
    t.line("");
    t.line("/// The elements of the context word.");
    t.line(ALLOW);
    t.open("pub mod ctx {");
    t.out.push_str(&accessors.out);
    t.close("}");
    t.line("");
    if let Some(pc) = model.state.iter().find(|e| e.pc) {
        t.line("/// Where the program counter is in [`State`].");
        t.line(format!("pub const PC_OFFSET: u32 = core::mem::offset_of!(State, {}) as u32;", snake(&pc.name)));
        t.line("");
    }
    layout(model, t);
    slots(model, t);
}

fn layout(model: &Model, t: &mut Text) {
    t.line("/// The elements of [`State`], in order.");
    t.open("pub const LAYOUT: &[x86_backend::guest::Elements] = &[");
    for e in &model.state {
        t.line(format!(
            "x86_backend::guest::Elements {{ offset: core::mem::offset_of!(State, {}) as u32, size: {}, count: {} }},",
            snake(&e.name),
            storage(e) / 8,
            e.count.unwrap_or(1)
        ));
    }
    t.close("];");
    t.line("");
}

fn slots(model: &Model, t: &mut Text) {
    t.line("/// Where each element is.");
    t.line(ALLOW);
    t.open("pub mod slots {");
    t.line("use super::State;");
    t.line("use x86_backend::emit::{FLAGS, Slot};");
    for e in &model.state {
        let name = snake(&e.name);
        let (width, is_flags) = match e.ty {
            Ty::Flags => ("FLAGS".to_owned(), true),
            ty => (const_width(ty).unwrap_or(64).to_string(), false),
        };
        t.line(format!(
            "pub const {}: Slot = Slot {{ offset: core::mem::offset_of!(State, {name}) as u32, width: {width}, is_flags: {is_flags} }};",
            upper(&e.name)
        ));
        if let Some(count) = e.count {
            t.open(format!("pub const fn {name}(i: i64) -> Slot {{"));
            t.line(format!("super::support::element({}, {}, {count}, i)", upper(&e.name), storage(e) / 8));
            t.close("}");
        }
    }
    t.close("}");
    t.line("");
}
