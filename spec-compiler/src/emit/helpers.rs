//! The helper table and the `extern "sysv64"` wrappers around the guest crate's safe functions.
//!
//! Arguments of at most 64 bits arrive in registers after the vCPU pointer; argument `i` of 128 bits is in
//! `Runtime::scratch[i]` and takes no register. A 128-bit result goes to `scratch[0]`.
//!
//! What the description writes out itself (`outlined fn`) becomes a function here, in place of one of the guest crate.

use super::ALLOW;
use super::body::BodyEmitter;
use super::text::{Text, quote, snake, upper};
use crate::model::{Helper, Model};
use crate::passes::times::{self, const_width};
use crate::ssa::{Body, Ty};

fn width(ty: Ty) -> u32 {
    const_width(ty).unwrap_or(64)
}

pub fn emit(model: &Model, t: &mut Text) {
    t.line("/// Numbers of the helpers: indices into [`HELPERS`].");
    t.line(ALLOW);
    t.open("pub mod helper {");
    t.line("use x86_backend::emit::HelperId;");
    for (i, h) in model.helpers.iter().enumerate() {
        t.line(format!("pub const {}: HelperId = HelperId({i});", upper(&h.name)));
    }
    t.close("}");
    t.line("");
    t.line("/// The functions the description declares `extern` or `outlined`.");
    t.open("pub static HELPERS: &[x86_backend::emit::HelperDecl] = &[");
    for h in &model.helpers {
        let params: Vec<String> = h.params.iter().map(|(_, ty)| width(*ty).to_string()).collect();
        let result = h.result.map_or("None".to_owned(), |ty| format!("Some({})", width(ty)));
        t.open("x86_backend::emit::HelperDecl {");
        t.line(format!("name: {},", quote(&h.name)));
        t.line(format!("params: &[{}],", params.join(", ")));
        t.line(format!("result: {result},"));
        t.line(format!("pure_: {},", h.pure_));
        t.line(format!("raises: {},", h.raises || h.never));
        t.line(format!("never: {},", h.never));
        t.line(format!("entry: wrappers::{} as *const (),", snake(&h.name)));
        t.close("},");
    }
    t.close("];");
    t.line("");
    t.line(ALLOW);
    t.open("mod wrappers {");
    t.line("use super::super::helpers;");
    t.line("use super::Cpu;");
    t.line("use x86_backend::emit::HelperRet;");
    for h in &model.helpers {
        t.line("");
        wrapper(h, t);
    }
    t.close("}");
    t.line("");
    if model.helpers.iter().all(|h| h.body.is_none()) {
        return;
    }
    t.line("/// The functions the description declares `outlined`.");
    t.line(ALLOW);
    t.open("pub mod outlined {");
    t.line("use super::fixed;");
    for h in &model.helpers {
        if let Some(body) = &h.body {
            t.line("");
            function(model, h, body, t);
        }
    }
    t.close("}");
    t.line("");
}

/// Types of parameters and results, as the wrappers pass them.
fn passed(ty: Ty) -> &'static str {
    if width(ty) == 128 { "u128" } else { "u64" }
}

fn function(model: &Model, h: &Helper, body: &Body, t: &mut Text) {
    let mut body = body.clone();
    times::infer(model, &mut body);
    let mut e = BodyEmitter::new(model, &body, None, 2);
    let names = e.name_params(h.params.iter().map(|(name, _)| name.as_str()));
    let params: Vec<String> =
        names.iter().zip(&h.params).map(|(name, (_, ty))| format!("{name}: {}", passed(*ty))).collect();
    let (result, head) = (h.result.unwrap_or(Ty::Bool), params.join(", "));
    t.doc(&h.doc);
    // Into the wrapper, which is what is called.
    t.line("#[inline(always)]");
    t.open(format!("pub fn {}({head}) -> {} {{", snake(&h.name), passed(result)));
    for (name, (_, ty)) in names.iter().zip(&h.params) {
        match ty {
            Ty::Int => t.line(format!("let {name} = {name} as i64;")),
            Ty::Bool => t.line(format!("let {name} = {name} != 0;")),
            _ => t.line(format!("let {name} = {name} as u128;")),
        }
    }
    if let Some(&v) = body.root.results.first() {
        e.note_use(v);
        e.run();
        t.out.push_str(&e.text.out);
        t.line(format!("({}) as {}", e.expr(v), passed(result)));
    }
    t.close("}");
}

fn wrapper(h: &Helper, t: &mut Text) {
    let name = snake(&h.name);
    let mut params = String::new();
    let mut args = Vec::new();
    if !h.pure_ {
        args.push("cpu".to_owned());
    }
    let mut wide = Text::at(2);
    for (i, (_, ty)) in h.params.iter().enumerate() {
        if width(*ty) == 128 {
            wide.line(format!("let a{i} = cpu.rt.scratch[{i}];"));
        } else {
            params.push_str(&format!(", a{i}: u64"));
        }
        args.push(format!("a{i}"));
    }
    t.doc(&h.doc);
    t.open(format!("pub unsafe extern \"sysv64\" fn {name}(cpu: *mut Cpu{params}) -> HelperRet {{"));
    let wide_result = h.result.is_some_and(|ty| width(ty) == 128);
    if !h.pure_ || wide_result || !wide.out.is_empty() {
        t.line(
            "// SAFETY: translated code and the interpreter pass the vCPU they run, which nothing else uses meanwhile.",
        );
        t.line("let cpu = unsafe { &mut *cpu };");
    }
    t.out.push_str(&wide.out);
    let place = if h.body.is_some() { "super::outlined" } else { "helpers" };
    let call = format!("{place}::{name}({})", args.join(", "));
    let value = if wide_result {
        "{ cpu.rt.scratch[0] = value; 0 }"
    } else if h.result.is_some() {
        "value"
    } else {
        "0"
    };
    if h.never {
        t.line(format!("{call};"));
        t.line("HelperRet { value: 0, status: 1 }");
    } else if h.raises {
        t.open(format!("match {call} {{"));
        t.line(format!("Ok(value) => HelperRet {{ value: {value}, status: 0 }},"));
        t.line("Err(_) => HelperRet { value: 0, status: 1 },");
        t.close("}");
    } else {
        t.line(format!("let value = {call};"));
        t.line(format!("HelperRet {{ value: {value}, status: 0 }}"));
    }
    t.close("}");
}
