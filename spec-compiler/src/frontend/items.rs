//! Items: the tables of names from the syntax trees, then the model.

use std::collections::{HashMap, HashSet};

use super::ast::{self, AsmLine, Expr, Hook, Ident, Item, PatternPieceKind, StateItem};
use super::lower::{Binding, Lowerer, Res, T, Val, run};
use super::parser::Reported;
use super::program::{Const, Program, builtin_const};
use super::uses::{Names, block_names, bound_names, expr_names, part_names, type_names};
use super::vector::is_vector_builtin;
use crate::diag::{Error, Session, Span};
use crate::model::{
    AsmForm, AsmPart, Decode, Feature, Field, Helper, Insn, Model, NameTable, Pattern, Piece, PieceKind, StateElement,
    Sysreg,
};
use crate::ssa::{Body, FieldId, HelperId, Op, Region, StateId, Stmt, Time, Ty, ValueId, Width};

/// Functions that the language defines (beside the vector ones).
const BUILTINS: &[&str] = &[
    "fence", "end_block", "unallocated", "sint", "uint", "clz", "ctz", "popcount", "bit_reverse", "byte_reverse",
    "log2", "is_zero", "logic_flags", "pack_flags", "unpack_flags", "assert", "zext", "sext", "trunc", "bits",
    "replicate", "udiv", "sdiv", "umulh", "smulh", "ror", "slt", "sle", "sgt", "sge", "min", "max", "cond_holds",
    "branch", "select", "add_flags", "select_flags", "mem_read", "mem_write", "mem_atomic", "mem_cas", "sysreg_read",
    "sysreg_write", "concat",
];

/// Names declared so far, to find duplicates.
#[derive(Default)]
struct Declared {
    values: HashMap<String, Span>,
    functions: HashMap<String, Span>,
    other: HashMap<(&'static str, String), Span>,
}

fn declare(map: &mut HashMap<String, Span>, session: &mut Session, name: &Ident) {
    if let Some(before) = map.insert(name.name.clone(), name.span) {
        let e = Error::new(name.span, format!("`{}` is declared twice", name.name));
        session.error(e.related(before, "here first"));
    }
}

impl Declared {
    fn value(&mut self, session: &mut Session, name: &Ident) {
        if builtin_const(&name.name).is_some() || name.name == "PC" {
            session.error(Error::new(name.span, format!("`{}` is a constant of the language", name.name)));
        }
        declare(&mut self.values, session, name);
    }
    fn function(&mut self, session: &mut Session, name: &Ident) {
        if BUILTINS.contains(&name.name.as_str()) || is_vector_builtin(&name.name) {
            session.error(Error::new(name.span, format!("`{}` is a function of the language", name.name)));
        }
        declare(&mut self.functions, session, name);
    }
    fn other(&mut self, session: &mut Session, kind: &'static str, name: &Ident) {
        if let Some(before) = self.other.insert((kind, name.name.clone()), name.span) {
            let e = Error::new(name.span, format!("{kind} `{}` is declared twice", name.name));
            session.error(e.related(before, "here first"));
        }
    }
}

/// The constant value of an expression, with some names bound to numbers.
fn const_expr(
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

/// One register of a family (or the only one).
struct Register<'a> {
    name: String,
    names: Vec<(String, i64)>,
    decl: &'a ast::Sysreg,
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
                declared.value(session, &name);
                prog.features.insert(name.name.clone(), on);
                model.features.push(Feature { name: name.name, on, doc });
            }
            Item::Const { name, ty, value } => {
                declared.value(session, &name);
                prog.consts.insert(name.name, Const { ty, value, span: name.span });
            }
            Item::Names { name, entries } => {
                declared.other(session, "table", &name);
                prog.name_ids.insert(name.name.clone(), prog.names.len());
                prog.names.push(NameTable { name: name.name, entries });
            }
            Item::State(mut s) => state.append(&mut s),
            Item::Fn(f) => {
                declared.function(session, &f.name);
                prog.fns.insert(f.name.name.clone(), f);
            }
            Item::View(v) => {
                declared.value(session, &v.name);
                prog.views.insert(v.name.name.clone(), v);
            }
            Item::Extern(x) => {
                declared.function(session, &x.name);
                externs.push(x);
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
        declared.value(session, &s.name);
        state_element(&mut prog, session, s);
    }
    for x in &externs {
        helper(&mut prog, session, x);
    }
    let mut consts: Vec<(&String, &Const)> = prog.consts.iter().collect();
    consts.sort_by_key(|(_, c)| (c.span.file, c.span.start));
    for (name, c) in consts {
        let e = Expr { kind: ast::ExprKind::Name(name.clone()), span: c.value.span };
        const_expr(&prog, session, &e, &[], None);
    }
    let registers = expand(&prog, session, &sysregs, &mut declared);
    for r in &registers {
        storage(&mut prog, r, &mentioned);
    }
    if session.has_errors() {
        // Errors in declarations would only be repeated by every use.
        let fatal = prog.state.is_empty() && prog.fns.is_empty();
        if fatal {
            return None;
        }
    }
    for i in &insns {
        if let Some(i) = insn(&prog, session, i, model.word_bits) {
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
        if let Some(r) = register(&prog, session, r) {
            model.sysregs.push(r);
        }
    }
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

fn check_features(prog: &Program, session: &mut Session, names: &[Ident]) {
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

fn helper(prog: &mut Program, session: &mut Session, x: &ast::Extern) {
    let mut params = Vec::new();
    for p in &x.params {
        let Some(ty) = const_type(prog, session, &p.ty) else { return };
        if ty == Ty::Flags {
            session.error(Error::new(p.ty.span, "an extern function takes `int`, `bool` or `bits(W)`"));
            return;
        }
        params.push((p.name.name.clone(), ty));
    }
    let result = match &x.result {
        None => None,
        Some(t) => match const_type(prog, session, t) {
            Some(ty @ (Ty::Bool | Ty::Bits(_))) => Some(ty),
            Some(_) => {
                session.error(Error::new(t.span, "an extern function gives `bool` or `bits(W)`"));
                return;
            }
            None => return,
        },
    };
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
    });
}

// System registers

fn expand<'a>(
    prog: &Program,
    session: &mut Session,
    sysregs: &'a [Box<ast::Sysreg>],
    declared: &mut Declared,
) -> Vec<Register<'a>> {
    let mut out = Vec::new();
    for r in sysregs {
        let mut add = |session: &mut Session, name: String, names| {
            declared.other(session, "system register", &Ident { name: name.clone(), span: r.prefix.span });
            out.push(Register { name, names, decl: r });
        };
        match &r.family {
            None => add(session, r.prefix.name.clone(), Vec::new()),
            Some((n, lo, hi, rest)) => {
                let lo = const_expr(prog, session, lo, &[], Some(Ty::Int));
                let hi = const_expr(prog, session, hi, &[], Some(Ty::Int));
                let (Some(lo), Some(hi)) = (lo, hi) else { continue };
                for i in lo..hi.min(lo + 256) {
                    add(session, format!("{}{i}{rest}", r.prefix.name), vec![(n.name.clone(), i as i64)]);
                }
            }
        }
    }
    out
}

fn level(r: &ast::Sysreg, read: bool) -> Option<u8> {
    r.access.iter().filter(|a| if read { a.read } else { a.write }).map(|a| a.level).min()
}

fn storage(prog: &mut Program, r: &Register<'_>, mentioned: &Names) {
    let d = r.decl;
    let name = r.name.to_lowercase();
    if prog.state_ids.contains_key(&name) {
        return;
    }
    let needed = d.value.is_none() && (d.get.is_none() || (d.set.is_none() && level(d, false).is_some()))
        && (level(d, true).is_some() || d.set.is_none());
    if !needed && !mentioned.contains(&name) {
        return;
    }
    prog.state_ids.insert(name.clone(), StateId(prog.state.len() as u32));
    prog.state.push(StateElement {
        name,
        ty: Ty::Bits(Width::Const(64)),
        count: None,
        reset: 0,
        context: false,
        pc: false,
        sysreg: true,
        doc: format!("Storage of {}", r.name),
    });
}

fn register(prog: &Program, session: &mut Session, r: &Register<'_>) -> Option<Sysreg> {
    let d = r.decl;
    let span = d.prefix.span;
    if d.encoding.len() != 5 {
        session.error(Error::new(span, "the encoding is (op0, op1, CRn, CRm, op2)"));
        return None;
    }
    check_features(prog, session, &d.requires);
    let mut encoding = [0u8; 5];
    for ((slot, e), limit) in encoding.iter_mut().zip(&d.encoding).zip([4u128, 8, 16, 16, 8]) {
        let v = const_expr(prog, session, e, &r.names, Some(Ty::Int))?;
        if v >= limit {
            session.error(Error::new(e.span, format!("this part of the encoding is less than {limit}")));
            return None;
        }
        *slot = v as u8;
    }
    let b64 = Ty::Bits(Width::Const(64));
    let constant = |session: &mut Session, e: &Option<Expr>| {
        e.as_ref().map(|e| const_expr(prog, session, e, &r.names, Some(b64)).map(|v| v as u64))
    };
    let reset = constant(session, &d.reset).unwrap_or(Some(0))?;
    let mask = constant(session, &d.mask).unwrap_or(Some(u64::MAX))?;
    let value = match constant(session, &d.value) {
        Some(v) => Some(v?),
        None => None,
    };
    let bind = |l: &mut Lowerer<'_>| {
        for (n, i) in &r.names {
            let v = l.int(*i, span);
            l.bind(n, Binding::Val(Val::Leaf(v)));
        }
    };
    let condition = |session: &mut Session, read: bool| -> Option<Option<Body>> {
        let when = d.access.iter().find(|a| a.level == 0 && if read { a.read } else { a.write }).and_then(|a| a.when.as_ref());
        let Some(e) = when else { return Some(None) };
        let (mut body, v) = run(prog, session, &[], |l| {
            bind(l);
            l.bool_expr(e)
        })?;
        body.root.results = vec![v];
        Some(Some(body))
    };
    let read_when = condition(session, true)?;
    let write_when = condition(session, false)?;
    let get = match &d.get {
        None => None,
        Some(b) => {
            let (mut body, v) = run(prog, session, &[], |l| {
                bind(l);
                let t = T::Leaf(b64);
                let v = l.block(b, Some(&t))?;
                match l.coerce(v, &t, b.tail.as_ref().map_or(b.span, |e| e.span))? {
                    Val::Leaf(v) => Ok(Some(v)),
                    _ => Ok(None),
                }
            })?;
            body.root.results = v.into_iter().collect();
            Some(body)
        }
    };
    let set = match &d.set {
        None => None,
        Some((param, b)) => {
            let (body, ()) = run(prog, session, &[], |l| {
                bind(l);
                let v = l.emit(Op::Param(0), Vec::new(), b64, param.span);
                l.bind(&param.name, Binding::Val(Val::Leaf(v)));
                l.block_effect(b).map(|_| ())
            })?;
            Some(body)
        }
    };
    let lower = r.name.to_lowercase();
    Some(Sysreg {
        name: r.name.clone(),
        doc: d.doc.clone(),
        span,
        requires: d.requires.iter().map(|i| i.name.clone()).collect(),
        encoding,
        read_level: level(d, true),
        write_level: level(d, false),
        read_when,
        write_when,
        reset,
        mask,
        storage: (value.is_none() && prog.state_ids.contains_key(&lower)).then_some(lower),
        value,
        get,
        set,
    })
}

// Instructions

fn pattern(session: &mut Session, i: &ast::Insn, word_bits: u32) -> Option<Pattern> {
    let width = |k: &PatternPieceKind| match k {
        PatternPieceKind::Bits(b) => b.len() as u32,
        PatternPieceKind::Field(_, w) => *w,
    };
    let total: u32 = i.pattern.iter().map(|p| width(&p.kind)).sum();
    if total != word_bits {
        session.error(Error::new(i.pattern_span, format!("the pattern has {total} bits; an instruction has {word_bits}")));
        return None;
    }
    let mut at = word_bits;
    let mut out = Pattern::default();
    for p in &i.pattern {
        match &p.kind {
            PatternPieceKind::Field(name, w) => {
                at -= w;
                let known = out.fields.iter().position(|f| f.name == *name);
                let id = known.unwrap_or_else(|| {
                    out.fields.push(Field { name: name.clone(), width: 0 });
                    out.fields.len() - 1
                });
                out.fields[id].width += w;
                out.pieces.push(Piece { lo: at, width: *w, kind: PieceKind::Field(FieldId(id as u32)) });
            }
            PatternPieceKind::Bits(bits) => {
                let mut rest = bits.as_str();
                while !rest.is_empty() {
                    let any = rest.starts_with('x');
                    let n = rest.bytes().position(|c| (c == b'x') != any).unwrap_or(rest.len());
                    at -= n as u32;
                    let kind = if any {
                        PieceKind::Any
                    } else {
                        PieceKind::Fixed(rest[..n].bytes().fold(0, |v, c| v << 1 | u32::from(c == b'1')))
                    };
                    out.pieces.push(Piece { lo: at, width: n as u32, kind });
                    rest = &rest[n..];
                }
            }
        }
    }
    Some(out)
}

/// The `let`s of the hook that the names need, in order.
fn needed<'a>(hook: &'a [Hook], mut names: Names) -> Vec<&'a Hook> {
    let mut out = Vec::new();
    for h in hook.iter().rev() {
        if let Hook::Let(b, ty, e) = h {
            let mut bound = Vec::new();
            bound_names(b, &mut bound);
            if bound.iter().any(|n| names.contains(&n.name)) {
                expr_names(e, &mut names);
                if let Some(t) = ty {
                    type_names(t, &mut names);
                }
                out.push(h);
            }
        }
    }
    out.reverse();
    out
}

fn lower_lets(l: &mut Lowerer<'_>, hooks: &[&Hook]) -> Res<()> {
    let mut result = Ok(());
    for h in hooks {
        if let Hook::Let(b, ty, e) = h {
            if let Err(r) = lower_let(l, b, ty.as_ref(), e) {
                l.poison_binder(b);
                result = Err(r);
            }
        }
    }
    result
}

fn lower_let(l: &mut Lowerer<'_>, b: &ast::Binder, ty: Option<&ast::Type>, e: &Expr) -> Res<()> {
    let v = l.typed(ty, e)?;
    let v = match v {
        Val::Big(_) => return l.fail(e.span, "a number this large needs a type: `let name: bits(W) = ...`"),
        v => v,
    };
    check_fixed(l, &v, e.span)?;
    l.bind_let(b, v, e.span)
}

fn check_fixed(l: &mut Lowerer<'_>, v: &Val, span: Span) -> Res<()> {
    match v {
        Val::Leaf(v) if l.time(*v) == Time::Dynamic => {
            let e = Error::new(span, "the decode hook is computed during translation, but this is known only when the instruction runs");
            Err(l.error(e.note("compute it in `exec`")))
        }
        Val::Tuple(vs) => vs.iter().try_for_each(|v| check_fixed(l, v, span)),
        _ => Ok(()),
    }
}

fn fixed_condition(l: &mut Lowerer<'_>, e: &Expr) -> Res<ValueId> {
    let v = l.bool_expr(e)?;
    check_fixed(l, &Val::Leaf(v), e.span)?;
    Ok(v)
}

fn insn(prog: &Program, session: &mut Session, i: &ast::Insn, word_bits: u32) -> Option<Insn> {
    let pattern = pattern(session, i, word_bits)?;
    let fields = &pattern.fields;
    let decode = decode(prog, session, i, fields);
    let mut asm = Vec::new();
    for line in &i.asm {
        asm.push(asm_form(prog, session, i, line, fields));
    }
    let exec = match &i.exec {
        None => {
            session.error(Error::new(i.name.span, "an instruction needs `exec { }`"));
            None
        }
        Some(b) => {
            let mut names = Names::new();
            block_names(b, &mut names);
            let hooks = needed(&i.hook, names);
            run(prog, session, fields, |l| {
                let lets = lower_lets(l, &hooks);
                let v = l.block_effect(b);
                lets?;
                v
            })
        }
    };
    Some(Insn {
        name: i.name.name.clone(),
        doc: i.doc.clone(),
        span: i.pattern_span,
        requires: i.requires.iter().map(|f| f.name.clone()).collect(),
        overrides: i.overrides.iter().map(|f| f.name.clone()).collect(),
        decode: decode?,
        asm: asm.into_iter().collect::<Option<_>>()?,
        exec: exec?.0,
        pattern,
    })
}

/// `where`, then the hook in order: each `undefined when` guards what follows it.
fn decode(prog: &Program, session: &mut Session, i: &ast::Insn, fields: &[Field]) -> Option<Decode> {
    let mut names = Names::new();
    for h in &i.hook {
        if let Hook::Undefined(e) = h {
            expr_names(e, &mut names);
        }
    }
    let lets = needed(&i.hook, names);
    let wanted = |h: &Hook| lets.iter().any(|l| std::ptr::eq(*l, h));
    let last = i.hook.iter().rposition(|h| matches!(h, Hook::Undefined(_)));
    let steps: Vec<&Hook> =
        i.hook[..last.map_or(0, |n| n + 1)].iter().filter(|h| matches!(h, Hook::Undefined(_)) || wanted(h)).collect();
    if i.where_.is_none() && steps.is_empty() {
        // The hook's other `let`s are checked where they are used.
        return Some(Decode::default());
    }
    let (body, valid) = run(prog, session, fields, |l| {
        let v = match &i.where_ {
            Some(e) => {
                let c = fixed_condition(l, e)?;
                if steps.is_empty() { c } else { guarded(l, c, true, &steps, e.span)? }
            }
            None => decode_steps(l, &steps, i.name.span)?,
        };
        Ok(v)
    })?;
    Some(Decode { body, valid: Some(valid) })
}

/// `c == go && rest`, the rest evaluated only then.
fn guarded(l: &mut Lowerer<'_>, c: ValueId, go: bool, rest: &[&Hook], span: Span) -> Res<ValueId> {
    let v = l.if_with(
        c,
        None,
        false,
        true,
        span,
        |l| if go { decode_steps(l, rest, span).map(Val::Leaf) } else { Ok(Val::Leaf(l.boolean(false, span))) },
        |l| if go { Ok(Val::Leaf(l.boolean(false, span))) } else { decode_steps(l, rest, span).map(Val::Leaf) },
    )?;
    l.leaf(v, span)
}

fn decode_steps(l: &mut Lowerer<'_>, steps: &[&Hook], span: Span) -> Res<ValueId> {
    match steps {
        [] => Ok(l.boolean(true, span)),
        [Hook::Let(b, ty, e), rest @ ..] => {
            if lower_let(l, b, ty.as_ref(), e).is_err() {
                l.poison_binder(b);
                return Err(Reported);
            }
            decode_steps(l, rest, span)
        }
        [Hook::Undefined(e), rest @ ..] => {
            let c = fixed_condition(l, e)?;
            if rest.is_empty() {
                return Ok(l.not(c, e.span));
            }
            guarded(l, c, false, rest, e.span)
        }
    }
}

// Assembly

fn asm_form(prog: &Program, session: &mut Session, i: &ast::Insn, line: &AsmLine, fields: &[Field]) -> Option<AsmForm> {
    let mut names = Names::new();
    part_names(&line.parts, &mut names);
    line.when.iter().for_each(|e| expr_names(e, &mut names));
    let hooks = needed(&i.hook, names);
    let (body, (when, parts)) = run(prog, session, fields, |l| {
        lower_lets(l, &hooks)?;
        let when = match &line.when {
            Some(e) => Some(fixed_condition(l, e)?),
            None => None,
        };
        let parts = asm_parts(l, &line.parts)?;
        Ok((when, parts))
    })?;
    Some(AsmForm { body, when, parts, span: line.span })
}

fn asm_parts(l: &mut Lowerer<'_>, parts: &[ast::Part]) -> Res<Vec<AsmPart>> {
    let mut out = Vec::new();
    for p in parts {
        match p {
            ast::Part::Text(t) => out.push(AsmPart::Text(t.clone())),
            ast::Part::Name(table, e) => {
                let Some(id) = l.prog.name_ids.get(&table.name).copied() else {
                    return l.fail(table.span, format!("there is no table `{}`", table.name));
                };
                let v = l.int_expr(e)?;
                match l.const_int(v) {
                    Some(c) => match usize::try_from(c).ok().and_then(|c| l.prog.names[id].entries.get(c)) {
                        Some(text) => out.push(AsmPart::Text(text.clone())),
                        None => return l.fail(e.span, format!("`{}` has no entry {c}", table.name)),
                    },
                    None => out.push(AsmPart::Name(id, v)),
                }
            }
            ast::Part::Call(name, args) => {
                let prog = l.prog;
                let Some(f) = prog.asm_fns.get(&name.name) else {
                    return l.fail(name.span, format!("there is no `asm fn {}`", name.name));
                };
                let scope = l.bind_params(&name.name, &f.params, args, name.span)?;
                out.extend(l.inlined(&name.name, name.span, scope, |l| asm_parts(l, &f.body))?);
            }
            ast::Part::Dec(e) => out.push(AsmPart::Dec(number(l, e)?)),
            ast::Part::Hex(e) => out.push(AsmPart::Hex(number(l, e)?)),
            ast::Part::Address(e) => {
                let v = number(l, e)?;
                out.push(AsmPart::Address(v));
            }
            ast::Part::Choice(c, a, b) => {
                let v = fixed_condition(l, c)?;
                match l.const_bool(v) {
                    Some(known) => out.extend(asm_parts(l, if known { a } else { b })?),
                    None => {
                        let a = asm_parts(l, a)?;
                        let b = asm_parts(l, b)?;
                        out.push(AsmPart::Choice(v, a, b));
                    }
                }
            }
        }
    }
    Ok(out)
}

fn number(l: &mut Lowerer<'_>, e: &Expr) -> Res<ValueId> {
    let v = l.expr(e, None)?;
    let v = match v {
        Val::Big(b) => l.bits(b, 64, e.span),
        v => l.leaf(v, e.span)?,
    };
    check_fixed(l, &Val::Leaf(v), e.span)?;
    match l.ty(v) {
        Ty::Int | Ty::Bits(_) => Ok(v),
        Ty::Bool => Ok(l.bool_to_bit(v, e.span)),
        ty => {
            let found = l.describe(ty);
            l.fail(e.span, format!("expected a number, found {found}"))
        }
    }
}

/// All statements of a region, those of nested regions included.
pub fn each_value(r: &Region, f: &mut dyn FnMut(ValueId)) {
    for s in &r.stmts {
        match s {
            Stmt::Eval(v) => f(*v),
            Stmt::If { then, otherwise, .. } => {
                each_value(then, f);
                each_value(otherwise, f);
            }
            Stmt::For { body, .. } => each_value(body, f),
        }
    }
}
