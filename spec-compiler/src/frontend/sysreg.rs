//! System registers: families, storage, accessors.

use super::ast::{self, Expr, Ident};
use super::items::{Declared, check_features, const_expr};
use super::lower::{Binding, Lowerer, T, Val, run};
use super::program::Program;
use super::uses::Names;
use crate::diag::{Error, Session};
use crate::model::{StateElement, Sysreg};
use crate::ssa::{Body, Op, StateId, Ty, Width};

/// One register of a family (or the only one).
pub struct Register<'a> {
    name: String,
    names: Vec<(String, i64)>,
    decl: &'a ast::Sysreg,
}

/// Every register, families expanded.
pub(super) fn expand<'a>(
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

/// Declares the register's storage, if it needs any.
pub fn storage(prog: &mut Program, r: &Register<'_>, mentioned: &Names) {
    let d = r.decl;
    let name = r.name.to_lowercase();
    if prog.state_ids.contains_key(&name) {
        return;
    }
    let needed = d.value.is_none()
        && (d.get.is_none() || (d.set.is_none() && level(d, false).is_some()))
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

pub fn register(prog: &Program, session: &mut Session, r: &Register<'_>) -> Option<Sysreg> {
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
        let when =
            d.access.iter().find(|a| a.level == 0 && if read { a.read } else { a.write }).and_then(|a| a.when.as_ref());
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
    let get = d.get.as_ref().map(|b| {
        run(prog, session, &[], |l| {
            bind(l);
            let t = T::Leaf(b64);
            let v = l.block(b, Some(&t))?;
            match l.coerce(v, &t, b.tail.as_ref().map_or(b.span, |e| e.span))? {
                Val::Leaf(v) => Ok(Some(v)),
                _ => Ok(None),
            }
        })
        .map(|(mut body, v)| {
            body.root.results = v.into_iter().collect();
            body
        })
    });
    let set = d.set.as_ref().map(|(param, b)| {
        run(prog, session, &[], |l| {
            bind(l);
            let v = l.emit(Op::Param(0), Vec::new(), b64, param.span);
            l.bind(&param.name, Binding::Val(Val::Leaf(v)));
            l.block_effect(b).map(|_| ())
        })
        .map(|(body, ())| body)
    });
    let get = match get {
        Some(b) => Some(b?),
        None => None,
    };
    let set = match set {
        Some(b) => Some(b?),
        None => None,
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
