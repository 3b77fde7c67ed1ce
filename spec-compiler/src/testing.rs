//! A builder of bodies for unit tests.

use crate::diag::Span;
use crate::model::{Field, Helper, Insn, Model, Pattern, Piece, PieceKind, StateElement};
use crate::ssa::{Body, FieldId, Op, Region, StateId, Stmt, Time, Ty, ValueId, VarId, Width};

/// `bits(n)`.
pub const fn bits(n: u32) -> Ty {
    Ty::Bits(Width::Const(n))
}

#[derive(Default)]
pub struct Builder {
    pub body: Body,
    regions: Vec<Region>,
}

impl Builder {
    pub fn new() -> Self {
        Self { body: Body::default(), regions: vec![Region::default()] }
    }

    pub fn top(&mut self) -> &mut Region {
        self.regions.last_mut().expect("a region is open")
    }

    pub fn op(&mut self, op: Op, args: &[ValueId], ty: Ty) -> ValueId {
        let dynamic = args.iter().any(|&a| self.body[a].time == Time::Dynamic)
            || matches!(op, Op::StateGet(_) | Op::MemRead | Op::Call(_));
        let time = if dynamic { Time::Dynamic } else { Time::Fixed };
        let v = self.body.value(op, args.to_vec(), ty, time, Span::default());
        self.top().stmts.push(Stmt::Eval(v));
        v
    }

    pub fn int(&mut self, i: i64) -> ValueId {
        self.op(Op::Int(i), &[], Ty::Int)
    }

    pub fn konst(&mut self, n: u32, v: u128) -> ValueId {
        self.op(Op::Bits(v), &[], bits(n))
    }

    pub fn field(&mut self, i: u32, n: u32) -> ValueId {
        self.op(Op::Field(FieldId(i)), &[], bits(n))
    }

    pub fn get(&mut self, state: u32, n: u32) -> ValueId {
        self.op(Op::StateGet(StateId(state)), &[], bits(n))
    }

    pub fn set(&mut self, state: u32, v: ValueId) -> ValueId {
        self.op(Op::StateSet(StateId(state)), &[v], Ty::Unit)
    }

    pub fn var(&mut self, name: &str, ty: Ty, init: ValueId) -> VarId {
        let var = self.body.var(name, ty, Time::Fixed);
        self.assign(var, init);
        var
    }

    pub fn assign(&mut self, var: VarId, v: ValueId) {
        self.op(Op::VarSet(var), &[v], Ty::Unit);
    }

    pub fn read(&mut self, var: VarId) -> ValueId {
        let ty = self.body.vars[var.index()].ty;
        self.op(Op::VarGet(var), &[], ty)
    }

    /// `if` with arms that give results.
    pub fn if_(
        &mut self,
        cond: ValueId,
        types: &[Ty],
        then: impl FnOnce(&mut Self) -> Vec<ValueId>,
        otherwise: impl FnOnce(&mut Self) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let then = self.arm(then);
        let otherwise = self.arm(otherwise);
        let results: Vec<ValueId> = types
            .iter()
            .map(|&ty| self.body.value(Op::IfResult, Vec::new(), ty, Time::Fixed, Span::default()))
            .collect();
        self.top().diverges = then.diverges && otherwise.diverges;
        self.top().stmts.push(Stmt::If { cond, then, otherwise, results: results.clone() });
        results
    }

    fn arm(&mut self, f: impl FnOnce(&mut Self) -> Vec<ValueId>) -> Region {
        self.regions.push(Region::default());
        let results = f(self);
        let mut r = self.regions.pop().expect("pushed above");
        r.results = if r.diverges { Vec::new() } else { results };
        r
    }

    pub fn for_(&mut self, lo: ValueId, hi: ValueId, f: impl FnOnce(&mut Self, ValueId)) {
        let index = self.body.value(Op::Index, Vec::new(), Ty::Int, Time::Fixed, Span::default());
        self.regions.push(Region::default());
        f(self, index);
        let body = self.regions.pop().expect("pushed above");
        self.top().stmts.push(Stmt::For { index, lo, hi, body });
    }

    pub fn finish(mut self) -> Body {
        self.body.root = self.regions.pop().expect("the root");
        self.body
    }
}

/// State `a`, `b` (64 bits), `f` (flags), `el` (context, 2 bits), `pc`, `x`, `y` (128 bits); one helper `raise_undefined`; no instructions.
pub fn model() -> Model {
    let element = |name: &str, ty: Ty| StateElement {
        name: name.to_owned(),
        ty,
        count: None,
        reset: 0,
        context: name == "el",
        pc: name == "pc",
        sysreg: false,
        doc: String::new(),
    };
    Model {
        name: "test".to_owned(),
        word_bits: 32,
        state: vec![
            element("a", bits(64)),
            element("b", bits(64)),
            element("f", Ty::Flags),
            element("el", bits(2)),
            element("pc", bits(64)),
            element("x", bits(128)),
            element("y", bits(128)),
        ],
        helpers: vec![Helper {
            name: "raise_undefined".to_owned(),
            params: Vec::new(),
            result: None,
            pure_: false,
            raises: true,
            never: true,
            ends_block: false,
            doc: String::new(),
            body: None,
        }],
        ..Model::default()
    }
}

/// An instruction `name` with an 8-bit opcode and fields of the widths given below it, padded with zeros.
pub fn insn(name: &str, opcode: u32, fields: &[(&str, u32)], exec: Body) -> Insn {
    let mut pieces = vec![Piece { lo: 24, width: 8, kind: PieceKind::Fixed(opcode) }];
    let mut lo = 24;
    for (i, (_, width)) in fields.iter().enumerate() {
        lo -= width;
        pieces.push(Piece { lo, width: *width, kind: PieceKind::Field(FieldId(i as u32)) });
    }
    if lo > 0 {
        pieces.push(Piece { lo: 0, width: lo, kind: PieceKind::Fixed(0) });
    }
    let fields = fields.iter().map(|(n, width)| Field { name: (*n).to_owned(), width: *width }).collect();
    Insn {
        name: name.to_owned(),
        doc: String::new(),
        span: Span::default(),
        pattern: Pattern { pieces, fields },
        requires: Vec::new(),
        overrides: Vec::new(),
        decode: crate::model::Decode::default(),
        lands: None,
        asm: Vec::new(),
        exec,
    }
}
