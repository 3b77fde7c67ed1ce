//! Which names a piece of syntax mentions.

use std::collections::HashSet;

use super::ast::*;

pub type Names = HashSet<String>;

pub fn expr_names(e: &Expr, out: &mut Names) {
    match &e.kind {
        ExprKind::Int(_) | ExprKind::BitStr(_) | ExprKind::Bool(_) => {}
        ExprKind::Name(n) => {
            out.insert(n.clone());
        }
        ExprKind::Call(f, args) => {
            out.insert(f.name.clone());
            args.iter().for_each(|a| expr_names(a, out));
        }
        ExprKind::Index(base, indices) => {
            expr_names(base, out);
            indices.iter().for_each(|a| expr_names(a, out));
        }
        ExprKind::Slice(a, b, c) => [a, b, c].into_iter().for_each(|e| expr_names(e, out)),
        ExprKind::Un(_, a) => expr_names(a, out),
        ExprKind::Bin(_, a, b) => {
            expr_names(a, out);
            expr_names(b, out);
        }
        ExprKind::As(a, ty) => {
            expr_names(a, out);
            type_names(ty, out);
        }
        ExprKind::If(c, then, otherwise) => {
            expr_names(c, out);
            block_names(then, out);
            if let Some(e) = otherwise {
                expr_names(e, out);
            }
        }
        ExprKind::Match(s, arms) => {
            expr_names(s, out);
            for arm in arms {
                arm.pats.iter().for_each(|p| pat_names(p, out));
                expr_names(&arm.body, out);
            }
        }
        ExprKind::Block(b) => block_names(b, out),
        ExprKind::Tuple(es) => es.iter().for_each(|e| expr_names(e, out)),
    }
}

fn pat_names(p: &Pat, out: &mut Names) {
    match p {
        Pat::Any(_) | Pat::Bits(..) => {}
        Pat::Value(e) => expr_names(e, out),
        Pat::Range(a, b, _) => {
            expr_names(a, out);
            expr_names(b, out);
        }
        Pat::Tuple(ps, _) => ps.iter().for_each(|p| pat_names(p, out)),
    }
}

pub fn type_names(t: &Type, out: &mut Names) {
    match &t.kind {
        TypeKind::Int | TypeKind::Bool | TypeKind::Flags => {}
        TypeKind::Bits(w) => expr_names(w, out),
        TypeKind::Tuple(ts) => ts.iter().for_each(|t| type_names(t, out)),
    }
}

pub fn block_names(b: &Block, out: &mut Names) {
    for s in &b.stmts {
        match &s.kind {
            StmtKind::Let(_, ty, e) | StmtKind::Var(_, ty, e) => {
                if let Some(ty) = ty {
                    type_names(ty, out);
                }
                expr_names(e, out);
            }
            StmtKind::Assign(target, e) => {
                // A variable that is only assigned is not used.
                if !matches!(target.kind, ExprKind::Name(_)) {
                    expr_names(target, out);
                }
                expr_names(e, out);
            }
            StmtKind::For(_, lo, hi, body) => {
                expr_names(lo, out);
                expr_names(hi, out);
                block_names(body, out);
            }
            StmtKind::Expr(e) => expr_names(e, out),
        }
    }
    if let Some(e) = &b.tail {
        expr_names(e, out);
    }
}

/// Names assigned whole (`v = e`), which [`block_names`] leaves out.
pub fn assigned_names(b: &Block, out: &mut Names) {
    walk_blocks(b, &mut |b| {
        for s in &b.stmts {
            if let StmtKind::Assign(Expr { kind: ExprKind::Name(n), .. }, _) = &s.kind {
                out.insert(n.clone());
            }
        }
    });
}

pub fn part_names(parts: &[Part], out: &mut Names) {
    for p in parts {
        match p {
            Part::Text(_) => {}
            Part::Name(table, e) => {
                out.insert(table.name.clone());
                expr_names(e, out);
            }
            Part::Call(f, args) => {
                out.insert(f.name.clone());
                args.iter().for_each(|a| expr_names(a, out));
            }
            Part::Dec(e) | Part::Hex(e) | Part::Address(e) | Part::Register(e) => expr_names(e, out),
            Part::Choice(c, a, b) => {
                expr_names(c, out);
                part_names(a, out);
                part_names(b, out);
            }
        }
    }
}

pub fn bound_names(b: &Binder, out: &mut Vec<Ident>) {
    match b {
        Binder::Ignore(_) => {}
        Binder::Name(n) => out.push(n.clone()),
        Binder::Tuple(bs, _) => bs.iter().for_each(|b| bound_names(b, out)),
    }
}

/// Calls `f` with every block within, `b` first.
pub fn walk_blocks(b: &Block, f: &mut dyn FnMut(&Block)) {
    f(b);
    for s in &b.stmts {
        match &s.kind {
            StmtKind::Let(_, _, e) | StmtKind::Var(_, _, e) | StmtKind::Expr(e) => walk_expr(e, f),
            StmtKind::Assign(t, e) => {
                walk_expr(t, f);
                walk_expr(e, f);
            }
            StmtKind::For(_, lo, hi, body) => {
                walk_expr(lo, f);
                walk_expr(hi, f);
                walk_blocks(body, f);
            }
        }
    }
    if let Some(e) = &b.tail {
        walk_expr(e, f);
    }
}

fn walk_expr(e: &Expr, f: &mut dyn FnMut(&Block)) {
    match &e.kind {
        ExprKind::Int(_) | ExprKind::BitStr(_) | ExprKind::Bool(_) | ExprKind::Name(_) => {}
        ExprKind::Call(_, es) | ExprKind::Tuple(es) => es.iter().for_each(|e| walk_expr(e, f)),
        ExprKind::Index(a, es) => {
            walk_expr(a, f);
            es.iter().for_each(|e| walk_expr(e, f));
        }
        ExprKind::Slice(a, b, c) => [a, b, c].into_iter().for_each(|e| walk_expr(e, f)),
        ExprKind::Un(_, a) | ExprKind::As(a, _) => walk_expr(a, f),
        ExprKind::Bin(_, a, b) => {
            walk_expr(a, f);
            walk_expr(b, f);
        }
        ExprKind::If(c, then, otherwise) => {
            walk_expr(c, f);
            walk_blocks(then, f);
            if let Some(e) = otherwise {
                walk_expr(e, f);
            }
        }
        ExprKind::Match(s, arms) => {
            walk_expr(s, f);
            arms.iter().for_each(|a| walk_expr(&a.body, f));
        }
        ExprKind::Block(b) => walk_blocks(b, f),
    }
}
