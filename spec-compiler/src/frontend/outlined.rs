//! Functions that become functions in Rust (`outlined fn`), for what would be long written out at each use.
//!
//! Inside one everything is fixed, the parameters too: the generated function computes with numbers. So it can contain what can be
//! computed during translation and nothing else. A call of it with fixed arguments only is inlined, like that of any function.

use super::ast;
use super::items::signature;
use super::lower::{Binding, Lowerer, Res, T, Val, run};
use super::program::Program;
use crate::diag::{Error, Session};
use crate::model::Helper;
use crate::ssa::{Body, HelperId, Op, Time, Ty};

/// Declares the description's outlined functions; gives those whose declarations are right.
pub fn declare(prog: &mut Program, session: &mut Session) -> Vec<ast::Fn> {
    let mut all: Vec<ast::Fn> = prog.fns.values().filter(|f| f.outlined).cloned().collect();
    all.sort_by_key(|f| (f.name.span.file, f.name.span.start));
    all.retain(|f| {
        let Some((params, result)) = signature(prog, session, "outlined", &f.params, f.result.as_ref()) else {
            return false;
        };
        if result.is_none() {
            session.error(Error::new(f.name.span, "an outlined function gives a value: it has no other effect"));
            return false;
        }
        prog.helper_ids.insert(f.name.name.clone(), HelperId(prog.helpers.len() as u32));
        prog.helpers.push(Helper {
            name: f.name.name.clone(),
            params,
            result,
            pure_: true,
            raises: false,
            never: false,
            ends_block: false,
            doc: f.doc.clone(),
            body: None,
        });
        true
    });
    all
}

/// Lowers their bodies.
pub fn bodies(prog: &mut Program, session: &mut Session, outlined: &[ast::Fn]) {
    for f in outlined {
        let id = prog.helper_ids[&f.name.name].index();
        let types: Vec<Ty> = prog.helpers[id].params.iter().map(|(_, ty)| *ty).collect();
        let Some((body, ())) = run(prog, session, &[], |l| lower(l, f, &types)) else { continue };
        check(session, f, &body);
        prog.helpers[id].body = Some(body);
    }
}

fn lower(l: &mut Lowerer<'_>, f: &ast::Fn, types: &[Ty]) -> Res<()> {
    let Some(result) = &f.result else { return Ok(()) };
    let mut scope = Vec::new();
    for (i, (p, ty)) in f.params.iter().zip(types).enumerate() {
        let v = l.bare(Op::Param(i as u32), *ty, Time::Fixed, p.name.span);
        l.body[v].name = Some(p.name.name.clone());
        scope.push((p.name.name.clone(), Binding::Val(Val::Leaf(v))));
    }
    l.inlined(&f.name.name, f.name.span, scope, |l| {
        let t: T = l.resolve_ty(result)?;
        let v = l.block(&f.body, Some(&t))?;
        let at = f.body.tail.as_ref().map_or(f.body.span, |e| e.span);
        match l.coerce(v, &t, at)? {
            Val::Never => {}
            v => {
                let v = l.leaf(v, at)?;
                l.region().results = vec![v];
            }
        }
        Ok(())
    })
}

/// What an operation is that only the instruction can do when it runs.
fn impossible(op: &Op) -> Option<&'static str> {
    Some(match op {
        Op::StateGet(_) | Op::StateSet(_) => "can't use guest state",
        Op::SysregRead | Op::SysregWrite => "can't use system registers",
        Op::MemRead | Op::MemWrite | Op::MemAtomic | Op::MemCas | Op::Fence => "can't use memory",
        Op::Branch | Op::EndBlock => "can't change the flow of control",
        Op::Pc => "has no address of its own: hand it `PC`",
        Op::Call(_) => "can't call extern functions",
        Op::VUn(_) | Op::VBin(_) | Op::VTern(_) | Op::VShift(_) | Op::Shuffle | Op::Ext => {
            "can't use vector operations: only the translated instruction has them"
        }
        Op::FpUn(_)
        | Op::FpRoundInt
        | Op::FpBin(_)
        | Op::FpFma
        | Op::FpCmp(_)
        | Op::FpCmpFlags
        | Op::FpConvert
        | Op::FpToInt
        | Op::IntToFp => "can't use floating-point operations: only the translated instruction has them",
        _ => return None,
    })
}

fn check(session: &mut Session, f: &ast::Fn, body: &Body) {
    for v in body.root.values() {
        if let Some(what) = impossible(&body[v].op) {
            let span = body[v].span;
            let e = Error::new(span, format!("the outlined function `{}` {what}", f.name.name));
            let e = if span.file == f.name.span.file { e.related(f.name.span, "declared here") } else { e };
            session.error(e.note("an outlined function computes with its arguments only"));
        }
    }
}
