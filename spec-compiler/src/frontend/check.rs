//! Checks that need no types: what is never used, and context writes that don't end the block.

use std::collections::HashSet;

use super::ast::{self, Block, Hook, StmtKind};
use super::program::Program;
use super::uses::{Names, block_names, bound_names, expr_names, part_names, type_names, walk_blocks};
use crate::diag::{Error, Session, Span};
use crate::model::Model;
use crate::ssa::{Body, Op, Region, StateId, Stmt};

/// Reports fields, variables and functions that nothing mentions.
pub fn unused(session: &mut Session, prog: &Program, insns: &[Box<ast::Insn>], sysregs: &[Box<ast::Sysreg>]) {
    for i in insns {
        fields(session, i);
        i.exec.iter().for_each(|b| variables(session, b));
    }
    let mut fns: Vec<&ast::Fn> = prog.fns.values().collect();
    fns.sort_by_key(|f| (f.name.span.file, f.name.span.start));
    for f in &fns {
        variables(session, &f.body);
    }
    for v in prog.views.values() {
        v.get.iter().chain(v.set.iter().map(|(_, b)| b)).for_each(|b| variables(session, b));
    }
    for r in sysregs {
        r.get.iter().chain(r.set.iter().map(|(_, b)| b)).for_each(|b| variables(session, b));
    }

    // What instructions and registers reach.
    let mut reached = Names::new();
    for i in insns {
        insn_names(i, &mut reached);
    }
    for r in sysregs {
        super::items::sysreg_names(r, &mut reached);
    }
    for f in prog.asm_fns.values() {
        part_names(&f.body, &mut reached);
    }
    let mut done: HashSet<String> = HashSet::new();
    loop {
        let next: Vec<String> = reached.iter().filter(|n| !done.contains(*n)).cloned().collect();
        if next.is_empty() {
            break;
        }
        for n in next {
            if let Some(f) = prog.fns.get(&n) {
                f.params.iter().for_each(|p| type_names(&p.ty, &mut reached));
                f.result.iter().for_each(|t| type_names(t, &mut reached));
                all_names(&f.body, &mut reached);
            }
            if let Some(v) = prog.views.get(&n) {
                type_names(&v.ty, &mut reached);
                v.params.iter().for_each(|p| type_names(&p.ty, &mut reached));
                v.get.iter().chain(v.set.iter().map(|(_, b)| b)).for_each(|b| all_names(b, &mut reached));
            }
            if let Some(c) = prog.consts.get(&n) {
                expr_names(&c.value, &mut reached);
            }
            done.insert(n);
        }
    }
    for f in fns {
        if !reached.contains(&f.name.name) && !f.name.name.starts_with('_') {
            session.error(Error::new(f.name.span, format!("function `{}` is never used", f.name.name)));
        }
    }
}

fn all_names(b: &Block, out: &mut Names) {
    block_names(b, out);
    super::uses::assigned_names(b, out);
}

fn insn_names(i: &ast::Insn, out: &mut Names) {
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
    i.exec.iter().for_each(|b| all_names(b, out));
}

fn fields(session: &mut Session, i: &ast::Insn) {
    let mut names = Names::new();
    insn_names(i, &mut names);
    let mut asm = Names::new();
    for a in &i.asm {
        part_names(&a.parts, &mut asm);
        a.when.iter().for_each(|e| expr_names(e, &mut asm));
    }
    for h in i.hook.iter().rev() {
        match h {
            Hook::Let(b, ty, e) => {
                let mut bound = Vec::new();
                bound_names(b, &mut bound);
                if bound.iter().any(|n| asm.contains(&n.name)) {
                    ty.iter().for_each(|t| type_names(t, &mut asm));
                    expr_names(e, &mut asm);
                }
            }
            Hook::Undefined(e) => expr_names(e, &mut asm),
        }
    }
    i.where_.iter().for_each(|e| expr_names(e, &mut asm));
    let mut seen = HashSet::new();
    for p in &i.pattern {
        if let ast::PatternPieceKind::Field(name, _) = &p.kind {
            if !seen.insert(name) {
                continue;
            }
            if !names.contains(name) {
                let e = Error::new(p.span, format!("field `{name}` is never used"));
                session.error(e.note("`x` stands for bits that don't matter"));
            } else if !i.asm.is_empty() && !asm.contains(name) {
                session.error(Error::new(
                    p.span,
                    format!("no `asm` line of `{}` says what field `{name}` is", i.name.name),
                ));
            }
        }
    }
}

/// A `var` whose name is read nowhere in the body.
fn variables(session: &mut Session, b: &Block) {
    let mut names = Names::new();
    block_names(b, &mut names);
    let mut declared = Vec::new();
    walk_blocks(b, &mut |b| {
        for s in &b.stmts {
            if let StmtKind::Var(binder, ..) = &s.kind {
                bound_names(binder, &mut declared);
            }
        }
    });
    for v in declared {
        if !names.contains(&v.name) && !v.name.starts_with('_') {
            session.error(Error::new(v.span, format!("variable `{}` is never read", v.name)));
        }
    }
}

/// A context element may only be written when the block surely ends after the instruction.
pub fn context_writes(session: &mut Session, model: &Model) {
    for i in &model.insns {
        context_body(session, model, &i.exec);
    }
    for r in &model.sysregs {
        r.get.iter().chain(&r.set).for_each(|b| context_body(session, model, b));
    }
}

fn context_body(session: &mut Session, model: &Model, body: &Body) {
    let mut found = Vec::new();
    unended(model, body, &body.root, false, &mut found);
    for (span, name) in found {
        let e = Error::new(span, format!("writing the context element `{name}` needs `end_block()` on the same path"));
        session.error(e.note("translated code of this block is only valid for the old value"));
    }
    let mut stale = Vec::new();
    stale_reads(model, body, &body.root, &mut HashSet::new(), &mut stale);
    for (span, name) in stale {
        let e =
            Error::new(span, format!("`{name}` has been written by this instruction, but a read gives the old value"));
        session.error(e.note("context elements are read during translation; keep the new value in a variable"));
    }
}

/// Reads of context elements after writes.
fn stale_reads(
    model: &Model,
    body: &Body,
    r: &Region,
    written: &mut HashSet<StateId>,
    found: &mut Vec<(Span, String)>,
) {
    for s in &r.stmts {
        match s {
            Stmt::Eval(v) => match body[*v].op {
                Op::StateSet(id) if model.state[id.index()].context => {
                    written.insert(id);
                }
                Op::StateGet(id) if written.contains(&id) => {
                    found.push((body[*v].span, model.state[id.index()].name.clone()));
                }
                _ => {}
            },
            Stmt::If { then, otherwise, .. } => {
                let mut arms = [written.clone(), written.clone()];
                stale_reads(model, body, then, &mut arms[0], found);
                stale_reads(model, body, otherwise, &mut arms[1], found);
                for (arm, region) in arms.into_iter().zip([then, otherwise]) {
                    if !region.diverges {
                        written.extend(arm);
                    }
                }
            }
            Stmt::For { body: inner, .. } => stale_reads(model, body, inner, written, found),
        }
    }
}

/// Does every path through the region end the block?
fn ends(model: &Model, body: &Body, r: &Region) -> bool {
    r.stmts.iter().any(|s| match s {
        Stmt::Eval(v) => match body[*v].op {
            Op::EndBlock => true,
            Op::Call(h) => {
                let h = &model.helpers[h.index()];
                h.never || h.ends_block
            }
            _ => false,
        },
        Stmt::If { then, otherwise, .. } => ends(model, body, then) && ends(model, body, otherwise),
        Stmt::For { .. } => false,
    })
}

fn unended(model: &Model, body: &Body, r: &Region, outside: bool, found: &mut Vec<(Span, String)>) {
    let ended = outside || ends(model, body, r);
    if ended {
        return;
    }
    for s in &r.stmts {
        match s {
            Stmt::Eval(v) => {
                if let Op::StateSet(id) = body[*v].op {
                    let e = &model.state[id.index()];
                    if e.context {
                        found.push((body[*v].span, e.name.clone()));
                    }
                }
            }
            Stmt::If { then, otherwise, .. } => {
                unended(model, body, then, ended, found);
                unended(model, body, otherwise, ended, found);
            }
            Stmt::For { body: inner, .. } => unended(model, body, inner, ended, found),
        }
    }
}
