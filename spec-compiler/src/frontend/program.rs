//! Names: the tables of everything declared, and the builtin constants.

use std::collections::HashMap;

use super::ast::{self, Expr};
use crate::diag::Span;
use crate::model::{Helper, NameTable, StateElement};
use crate::ssa::{HelperId, StateId};

/// A constant of the description.
#[derive(Clone, Debug)]
pub struct Const {
    pub ty: Option<ast::Type>,
    pub value: Expr,
    pub span: Span,
}

/// Everything declared, by name.
#[derive(Debug, Default)]
pub struct Program {
    pub features: HashMap<String, bool>,
    pub consts: HashMap<String, Const>,
    pub names: Vec<NameTable>,
    pub name_ids: HashMap<String, usize>,
    pub state: Vec<StateElement>,
    pub state_ids: HashMap<String, StateId>,
    pub fns: HashMap<String, ast::Fn>,
    pub views: HashMap<String, ast::View>,
    pub helpers: Vec<Helper>,
    pub helper_ids: HashMap<String, HelperId>,
    pub asm_fns: HashMap<String, ast::AsmFn>,
}

/// Constants that the language defines.
#[must_use]
pub fn builtin_const(name: &str) -> Option<i64> {
    Some(match name {
        "JUMP" => 0,
        "CALL" => 1,
        "RETURN" => 2,
        "INDIRECT_JUMP" => 3,
        "INDIRECT_CALL" => 4,
        "TRAMPOLINE" => 5,
        "RESUME" => 6,
        // `x86_backend::emit::Access`
        "ACQ" => 1,
        "REL" => 2,
        "UNPRIV" => 4,
        "ALIGNED" => 8,
        "EXCL" => 16,
        "STACK" => 64,
        // `AtomicOp`
        "A_SWAP" => 0,
        "A_ADD" => 1,
        "A_CLEAR" => 2,
        "A_XOR" => 3,
        "A_OR" => 4,
        "A_SMAX" => 5,
        "A_SMIN" => 6,
        "A_UMAX" => 7,
        "A_UMIN" => 8,
        // `Rounding`
        "RN" => 0,
        "RP" => 1,
        "RM" => 2,
        "RZ" => 3,
        "RA" => 4,
        "RX" => 5,
        "RDYN" => 6,
        _ => return None,
    })
}
