//! Items: the tables of names from the syntax trees, then the model.

use std::collections::{HashMap, HashSet};

use super::ast::{self, Expr, Hook, Ident, Item, StateItem};
use super::lower::{Binding, T, Val, run};
use super::program::{Const, Program, builtin_const};
use super::uses::{Names, block_names, expr_names, part_names, type_names};
use super::vector::is_vector_builtin;
use crate::diag::{Error, Session, Span};
use crate::model::{Feature, Helper, Model, NameTable, StateElement, Sysreg};
use crate::ssa::{HelperId, StateId, Ty, Width};

/// Functions that the language defines (beside the vector ones).
const BUILTINS: &[&str] = &[
    "fence",
    "end_block",
    "unallocated",
    "sint",
    "uint",
    "clz",
    "ctz",
    "popcount",
    "bit_reverse",
    "byte_reverse",
    "log2",
    "is_zero",
    "logic_flags",
    "pack_flags",
    "unpack_flags",
    "assert",
    "zext",
    "sext",
    "trunc",
    "bits",
    "replicate",
    "udiv",
    "sdiv",
    "umulh",
    "smulh",
    "ror",
    "slt",
    "sle",
    "sgt",
    "sge",
    "min",
    "max",
    "cond_holds",
    "branch",
    "select",
    "add_flags",
    "select_flags",
    "mem_read",
    "mem_write",
    "mem_atomic",
    "mem_cas",
    "sysreg_read",
    "sysreg_write",
    "concat",
];

/// Names declared so far, to find duplicates.
#[derive(Default)]
pub(super) struct Declared {
    values: HashMap<String, Span>,
    functions: HashMap<String, Span>,
    other: HashMap<(&'static str, String), Span>,
}

fn declare(map: &mut HashMap<String, Span>, session: &mut Session, name: &Ident) -> bool {
    if let Some(before) = map.get(&name.name) {
        let e = Error::new(name.span, format!("`{}` is declared twice", name.name));
        session.error(e.related(*before, "here first"));
        return false;
    }
    map.insert(name.name.clone(), name.span);
    true
}

impl Declared {
    /// Is the name free? (If not, that has been reported.)
    fn value(&mut self, session: &mut Session, name: &Ident) -> bool {
        if builtin_const(&name.name).is_some() || name.name == "PC" {
            session.error(Error::new(name.span, format!("`{}` is a constant of the language", name.name)));
            return false;
        }
        declare(&mut self.values, session, name)
    }
    fn function(&mut self, session: &mut Session, name: &Ident) -> bool {
        if BUILTINS.contains(&name.name.as_str()) || is_vector_builtin(&name.name) {
            session.error(Error::new(name.span, format!("`{}` is a function of the language", name.name)));
            return false;
        }
        declare(&mut self.functions, session, name)
    }
    pub(super) fn other(&mut self, session: &mut Session, kind: &'static str, name: &Ident) {
        if let Some(before) = self.other.insert((kind, name.name.clone()), name.span) {
            let e = Error::new(name.span, format!("{kind} `{}` is declared twice", name.name));
            session.error(e.related(before, "here first"));
        }
    }
}

/// The constant value of an expression, with some names bound to numbers.
pub(super) fn const_expr(
    prog: &Program,
    session: &mut Session,
    e: &Expr,
    names: &[(String, i64)],
    ty: Option<Ty>,
) -> Option<u128> {
    let (_, v) = run(prog, session, &[], |l| {
        for (n, i) in names {
            let v = l.int(*i, e.span);
            l.bind(n, Binding::Val(Val::Leaf(v)));
        }
        let v = match ty {
            Some(ty) => l.expr_as(e, &T::Leaf(ty))?,
            None => l.expr(e, None)?,
        };
        match v {
            Val::Big(b) => Ok(b),
            Val::Leaf(v) => {
                if let Some(i) = l.const_int(v) {
                    Ok(i128::from(i) as u128)
                } else if let Some((b, _)) = l.const_bits(v) {
                    Ok(b)
                } else if let Some(b) = l.const_bool(v) {
                    Ok(u128::from(b))
                } else {
                    l.fail(e.span, "expected a constant")
                }
            }
            _ => l.fail(e.span, "expected a constant"),
        }
    })?;
    Some(v)
}

/// A type with constant widths.
fn const_type(prog: &Program, session: &mut Session, ty: &ast::Type) -> Option<Ty> {
    let (_, t) = run(prog, session, &[], |l| match l.resolve_ty(ty)? {
        T::Leaf(Ty::Bits(Width::Value(_))) => l.fail(ty.span, "the width must be a constant here"),
        T::Leaf(t) => Ok(t),
        _ => l.fail(ty.span, "a tuple is not possible here"),
    })?;
    Some(t)
}

pub fn build(session: &mut Session, isa: Option<(String, u32, Span)>, items: Vec<Item>) -> Option<Model> {
    let mut prog = Program::default();
    let mut model = Model::default();
    let mut declared = Declared::default();
    match isa {
        Some((name, width, _)) => {
            model.name = name;
            model.word_bits = width;
        }
        None => session.error(Error::new(Span::default(), "the root file needs `isa \"name\";`")),
    }
    let mut mentioned = Names::new();
    for item in &items {
        item_names(item, &mut mentioned);
    }

    let mut state = Vec::new();
    let mut externs = Vec::new();
    let mut insns = Vec::new();
    let mut sysregs = Vec::new();
    for item in items {
        match item {
            Item::Feature { name, on, doc } => {
                if declared.value(session, &name) {
                    prog.features.insert(name.name.clone(), on);
                    model.features.push(Feature { name: name.name, on, doc });
                }
            }
            Item::Const { name, ty, value } => {
                if declared.value(session, &name) {
                    prog.consts.insert(name.name, Const { ty, value, span: name.span });
                }
            }
            Item::Names { name, entries } => {
                declared.other(session, "table", &name);
                prog.name_ids.insert(name.name.clone(), prog.names.len());
                prog.names.push(NameTable { name: name.name, entries });
            }
            Item::State(mut s) => state.append(&mut s),
            Item::Fn(f) => {
                if declared.function(session, &f.name) {
                    prog.fns.insert(f.name.name.clone(), f);
                }
            }
            Item::View(v) => {
                if declared.value(session, &v.name) {
                    prog.views.insert(v.name.name.clone(), v);
                }
            }
            Item::Extern(x) => {
                if declared.function(session, &x.name) {
                    externs.push(x);
                }
            }
            Item::AsmFn(f) => {
                declared.other(session, "asm fn", &f.name);
                prog.asm_fns.insert(f.name.name.clone(), f);
            }
            Item::Insn(i) => {
                declared.other(session, "instruction", &i.name);
                insns.push(i);
            }
            Item::Sysreg(s) => sysregs.push(s),
        }
    }
    for s in &state {
        if declared.value(session, &s.name) {
            state_element(&mut prog, session, s);
        }
    }
    for x in &externs {
        helper(&mut prog, session, x);
    }
    let outlined = super::outlined::declare(&mut prog, session);
    let mut consts: Vec<(&String, &Const)> = prog.consts.iter().collect();
    consts.sort_by_key(|(_, c)| (c.span.file, c.span.start));
    for (name, c) in consts {
        let e = Expr { kind: ast::ExprKind::Name(name.clone()), span: c.value.span };
        const_expr(&prog, session, &e, &[], None);
    }
    let registers = super::sysreg::expand(&prog, session, &sysregs, &mut declared);
    for r in &registers {
        super::sysreg::storage(&mut prog, r, &mentioned);
    }
    super::outlined::bodies(&mut prog, session, &outlined);
    for i in &insns {
        if let Some(i) = super::insn::insn(&prog, session, i, model.word_bits) {
            model.insns.push(i);
        }
    }
    let known: HashSet<&str> = insns.iter().map(|i| i.name.name.as_str()).collect();
    for i in &insns {
        for o in &i.overrides {
            if !known.contains(o.name.as_str()) {
                session.error(Error::new(o.span, format!("there is no instruction `{}`", o.name)));
            }
        }
        check_features(&prog, session, &i.requires);
    }
    for r in &registers {
        if let Some(r) = super::sysreg::register(&prog, session, r) {
            model.sysregs.push(r);
        }
    }
    same_encodings(&prog, session, &model.sysregs);
    super::check::unused(session, &prog, &insns, &sysregs);
    model.names = prog.names;
    model.state = prog.state;
    // The storage that a register declared begins with the register's reset value.
    for r in &model.sysregs {
        if let Some(element) = model.state.iter_mut().find(|e| e.sysreg && r.storage.as_ref() == Some(&e.name)) {
            element.reset = r.reset.into();
        }
    }
    model.helpers = prog.helpers;
    super::check::context_writes(session, &model);
    if session.has_errors() { None } else { Some(model) }
}

/// Two registers of this build with one encoding.
fn same_encodings(prog: &Program, session: &mut Session, sysregs: &[Sysreg]) {
    let mut seen: HashMap<[u8; 5], &Sysreg> = HashMap::new();
    for r in sysregs.iter().filter(|r| r.requires.iter().all(|f| prog.features.get(f) != Some(&false))) {
        if let Some(other) = seen.insert(r.encoding, r) {
            let e = Error::new(r.span, format!("{} has the encoding of {}", r.name, other.name));
            session.error(e.related(other.span, "declared here"));
        }
    }
}

pub(super) fn check_features(prog: &Program, session: &mut Session, names: &[Ident]) {
    for f in names {
        if !prog.features.contains_key(&f.name) {
            session.error(Error::new(f.span, format!("there is no feature `{}`", f.name)));
        }
    }
}

/// Every name an item mentions.
pub fn item_names(item: &Item, out: &mut Names) {
    match item {
        Item::Feature { .. } | Item::Names { .. } => {}
        Item::Const { value, .. } => expr_names(value, out),
        Item::State(items) => {
            for s in items {
                s.ty.iter().for_each(|t| type_names(t, out));
                s.count.iter().chain(&s.reset).for_each(|e| expr_names(e, out));
            }
        }
        Item::Fn(f) => {
            f.params.iter().for_each(|p| type_names(&p.ty, out));
            f.result.iter().for_each(|t| type_names(t, out));
            block_names(&f.body, out);
            super::uses::assigned_names(&f.body, out);
        }
        Item::View(v) => {
            v.params.iter().for_each(|p| type_names(&p.ty, out));
            type_names(&v.ty, out);
            for b in v.get.iter().chain(v.set.iter().map(|(_, b)| b)) {
                block_names(b, out);
                super::uses::assigned_names(b, out);
            }
        }
        Item::Extern(x) => {
            x.params.iter().for_each(|p| type_names(&p.ty, out));
            x.result.iter().for_each(|t| type_names(t, out));
        }
        Item::AsmFn(f) => part_names(&f.body, out),
        Item::Insn(i) => {
            i.where_.iter().for_each(|e| expr_names(e, out));
            for h in &i.hook {
                match h {
                    Hook::Let(_, ty, e) => {
                        ty.iter().for_each(|t| type_names(t, out));
                        expr_names(e, out);
                    }
                    Hook::Undefined(e) => expr_names(e, out),
                }
            }
            i.lands.iter().for_each(|e| expr_names(e, out));
            for a in &i.asm {
                part_names(&a.parts, out);
                a.when.iter().for_each(|e| expr_names(e, out));
            }
            if let Some(b) = &i.exec {
                block_names(b, out);
                super::uses::assigned_names(b, out);
            }
        }
        Item::Sysreg(r) => sysreg_names(r, out),
    }
}

pub fn sysreg_names(r: &ast::Sysreg, out: &mut Names) {
    r.encoding.iter().for_each(|e| expr_names(e, out));
    for a in &r.access {
        a.when.iter().for_each(|e| expr_names(e, out));
    }
    r.reset.iter().chain(&r.mask).chain(&r.value).for_each(|e| expr_names(e, out));
    for b in r.get.iter().chain(r.set.iter().map(|(_, b)| b)) {
        block_names(b, out);
        super::uses::assigned_names(b, out);
    }
}

fn state_element(prog: &mut Program, session: &mut Session, s: &StateItem) {
    let ty = match &s.ty {
        None => Some(Ty::Bits(Width::Const(64))),
        Some(t) => match const_type(prog, session, t) {
            Some(Ty::Bool) => Some(Ty::Bits(Width::Const(1))),
            Some(Ty::Int) => {
                session.error(Error::new(t.span, "`int`s are fixed and can't be state; use `bits(W)`"));
                None
            }
            t => t,
        },
    };
    let Some(ty) = ty else { return };
    let count = s.count.as_ref().and_then(|e| const_expr(prog, session, e, &[], Some(Ty::Int)).map(|c| c as u32));
    let reset_ty = match ty {
        Ty::Flags => Ty::Bits(Width::Const(4)),
        t => t,
    };
    let reset = s.reset.as_ref().and_then(|e| const_expr(prog, session, e, &[], Some(reset_ty))).unwrap_or(0);
    if s.context && (count.is_some() || !matches!(ty, Ty::Bits(_))) {
        session.error(Error::new(s.name.span, "a context element is a scalar of bits"));
    }
    prog.state_ids.insert(s.name.name.clone(), StateId(prog.state.len() as u32));
    prog.state.push(StateElement {
        name: s.name.name.clone(),
        ty,
        count,
        reset,
        context: s.context,
        pc: s.ty.is_none(),
        sysreg: false,
        doc: s.doc.clone(),
    });
}

/// Parameters, and the result's type.
pub(super) type Signature = (Vec<(String, Ty)>, Option<Ty>);

/// The types of a function that translated code calls. `kind` is for messages.
pub(super) fn signature(
    prog: &Program,
    session: &mut Session,
    kind: &str,
    params: &[ast::Param],
    result: Option<&ast::Type>,
) -> Option<Signature> {
    let mut types = Vec::new();
    for p in params {
        let ty = const_type(prog, session, &p.ty)?;
        if ty == Ty::Flags {
            session.error(Error::new(p.ty.span, format!("an {kind} function takes `int`, `bool` or `bits(W)`")));
            return None;
        }
        types.push((p.name.name.clone(), ty));
    }
    let result = match result {
        None => None,
        Some(t) => match const_type(prog, session, t)? {
            ty @ (Ty::Bool | Ty::Bits(_)) => Some(ty),
            _ => {
                session.error(Error::new(t.span, format!("an {kind} function gives `bool` or `bits(W)`")));
                return None;
            }
        },
    };
    Some((types, result))
}

fn helper(prog: &mut Program, session: &mut Session, x: &ast::Extern) {
    let Some((params, result)) = signature(prog, session, "extern", &x.params, x.result.as_ref()) else { return };
    if x.never && result.is_some() {
        session.error(Error::new(x.name.span, "a `never` function has no result"));
    }
    prog.helper_ids.insert(x.name.name.clone(), HelperId(prog.helpers.len() as u32));
    prog.helpers.push(Helper {
        name: x.name.name.clone(),
        params,
        result,
        pure_: x.pure_,
        raises: x.raises,
        never: x.never,
        ends_block: x.ends_block,
        doc: x.doc.clone(),
        body: None,
    });
}
