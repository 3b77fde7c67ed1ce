//! Structured SSA: what a fixed or dynamic computation of the description is between the front end and Rust.
//!
//! Control flow stays structured (`If` with results, `For`), so that every pass is a walk over regions, binding
//! times are local, and the emitted Rust has the shape of the description. Mutable variables of the source are [`Var`]s
//! at O0; passes turn them into values.
//!
//! Invariants (checked by the verifier): a value is defined once, before its uses, in a region that dominates them; a region that
//! diverges has no results; widths are fixed `int` values; a value's [`Time`] is the join of its operands' unless the operation is
//! dynamic by nature.

use crate::diag::Span;

macro_rules! id {
    ($(#[$m:meta])* $name:ident) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
id!(
    /// A value of a [`Body`].
    ValueId
);
id!(
    /// A mutable variable of a [`Body`].
    VarId
);
id!(
    /// Index into [`crate::model::Model::state`].
    StateId
);
id!(
    /// Index into [`crate::model::Model::helpers`].
    HelperId
);
id!(
    /// Index into the instruction's [`crate::model::Pattern::fields`].
    FieldId
);

/// Width of a bit vector: known to the compiler, or a fixed `int` value of the same body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    Const(u32),
    Value(ValueId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    Int,
    Bool,
    Bits(Width),
    Flags,
    /// No value (stores, calls for effect).
    Unit,
}

/// Binding time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Time {
    Fixed,
    Dynamic,
}

/// Operations. Operands are in [`ValueData::args`], in the order given; fixed parameters that are `int` values are
/// operands too. "Same" means: of one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Constants.
    Int(i64),
    Bool(bool),
    Bits(u128),
    /// A decode field, `Bits(k)`; the address of the instruction; always fixed.
    Field(FieldId),
    Pc,
    /// A parameter of the body (`where`/`let` values handed from the decode hook, a sysreg setter's value), by position.
    Param(u32),
    /// `lo..hi` loop index (defined by its `For`), result of an `If` (defined by it), or nothing yet.
    Index,
    IfResult,

    VarGet(VarId),
    /// Unit.
    VarSet(VarId),
    /// A state element; an array element takes its index (fixed `int`) as operand. Context elements are fixed.
    StateGet(StateId),
    StateSet(StateId),

    // int x int, fixed
    IntAdd,
    IntSub,
    IntMul,
    IntDiv,
    IntRem,
    IntShl,
    IntShr,
    IntAnd,
    IntOr,
    IntXor,
    IntNeg,
    IntMin,
    IntMax,
    IntLog2,
    /// Comparisons of `int`s.
    IntEq,
    IntLt,
    IntLe,
    /// `Bits` to `Int` (fixed), unsigned / signed; `Int` to `Bits` of the value's type, truncating.
    ToInt,
    ToIntSigned,
    IntToBits,
    /// `Bits(1)` <-> `Bool`.
    BitToBool,
    BoolToBit,

    // bool
    BoolNot,
    BoolAnd,
    BoolOr,
    BoolEq,

    // bits
    Un(UnOp),
    Bin(BinOp),
    Cmp(CmpOp),
    /// Bits shifted by a fixed `int` amount (second operand); amounts >= width give 0 or the sign.
    ShlInt,
    ShrInt,
    SarInt,
    RorInt,
    /// To the value's own type.
    Zext,
    Sext,
    /// Operands: value, lo (`int`); the width is the value's type.
    Extract,
    /// Operands: value, lo (`int`), piece: bits `lo..` replaced.
    Insert,
    /// Most significant first, two operands.
    Concat,
    /// Operands: value, count (`int`).
    Replicate,
    /// Asserts that the operand has the value's width.
    AsWidth,
    /// Operands: condition, a, b; of the value's type (any).
    Select,

    // flags
    AddFlags,
    LogicFlags,
    PackFlags,
    UnpackFlags,
    /// Operands: flags, condition code (fixed `int`).
    CondHolds,

    // vectors; the first operand is the lane width E (`int`)
    /// E, vector, index.
    Lane,
    /// E, vector, index, piece.
    SetLane,
    /// E, piece.
    Splat,
    /// E, vector. The name is that of `x86_backend::emit::VUnOp`.
    VUn(&'static str),
    VBin(&'static str),
    VTern(&'static str),
    /// E, vector, amount (`int`).
    VShift(&'static str),
    /// a, b, then sixteen `int`s.
    Shuffle,
    /// a, b, byte count (`int`).
    Ext,

    // floating point; operands begin with F and L (`int`) where the builtin has them
    FpUn(&'static str),
    /// F, L, a, rounding (`int`), exact (`bool`, fixed).
    FpRoundInt,
    FpBin(&'static str),
    /// F, L, addend, x, y.
    FpFma,
    FpCmp(&'static str),
    /// F, signaling (`bool`, fixed), a, b.
    FpCmpFlags,
    /// F, G, a, rounding.
    FpConvert,
    /// F, N, signed, fbits, a, rounding.
    FpToInt,
    /// N, signed, fbits, F, a.
    IntToFp,

    // memory; N and acc are `int`s
    /// N, addr, acc.
    MemRead,
    /// N, addr, v, acc.
    MemWrite,
    /// op (`int`), N, addr, v, acc.
    MemAtomic,
    /// N, addr, expected, new, acc.
    MemCas,
    Fence,

    /// A helper call; Unit or a value.
    Call(HelperId),
    /// op0, op1, CRn, CRm, op2 / and the value.
    SysregRead,
    SysregWrite,
    /// Target, kind (`int`: 0 jump, 1 call, 2 return). Diverges.
    Branch,
    EndBlock,
    Assert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    Not,
    Neg,
    Clz,
    Ctz,
    Popcnt,
    BitRev,
    ByteRev,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    UMulHi,
    SMulHi,
    UDiv,
    SDiv,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Sar,
    Ror,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Ult,
    Ule,
    Slt,
    Sle,
}

#[derive(Clone, Debug)]
pub struct ValueData {
    pub op: Op,
    pub args: Vec<ValueId>,
    pub ty: Ty,
    pub time: Time,
    pub span: Span,
    /// The source's name for it, for readable output.
    pub name: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Var {
    pub name: String,
    pub ty: Ty,
    /// Dynamic if any assignment is, or any assignment is under dynamic control.
    pub time: Time,
}

#[derive(Clone, Debug)]
pub enum Stmt {
    /// Computes a value (or performs an effect).
    Eval(ValueId),
    /// `results[i]` (operation [`Op::IfResult`]) is the i-th result of the region taken. When one arm diverges, the
    /// results are the other's.
    If { cond: ValueId, then: Region, otherwise: Region, results: Vec<ValueId> },
    /// Runs the body for `index` (operation [`Op::Index`]) = lo..hi, both fixed.
    For { index: ValueId, lo: ValueId, hi: ValueId, body: Region },
}

impl Stmt {
    /// The regions in it.
    pub fn regions(&self) -> impl DoubleEndedIterator<Item = &Region> {
        let (first, second) = match self {
            Self::Eval(_) => (None, None),
            Self::If { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Self::For { body, .. } => (Some(body), None),
        };
        first.into_iter().chain(second)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Region {
    pub stmts: Vec<Stmt>,
    pub results: Vec<ValueId>,
    /// Ends in a statement that never returns.
    pub diverges: bool,
}

impl Region {
    /// This region's statements and those of the regions in them, each before what is in it.
    pub fn statements(&self) -> impl Iterator<Item = &Stmt> {
        let mut open = vec![self.stmts.iter()];
        std::iter::from_fn(move || {
            loop {
                if let Some(stmt) = open.last_mut()?.next() {
                    open.extend(stmt.regions().rev().map(|region| region.stmts.iter()));
                    return Some(stmt);
                }
                open.pop();
            }
        })
    }

    /// The values that it and the regions in it evaluate.
    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        self.statements().filter_map(|stmt| if let Stmt::Eval(v) = stmt { Some(*v) } else { None })
    }

    /// The regions' results, its own first, and those of the regions in it.
    pub fn all_results(&self) -> impl Iterator<Item = ValueId> {
        let inner = self.statements().flat_map(Stmt::regions).flat_map(|region| &region.results);
        self.results.iter().chain(inner).copied()
    }
}

/// The body of an instruction's `exec`, of a decode hook, of a condition, of a system register's accessor.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub values: Vec<ValueData>,
    pub vars: Vec<Var>,
    pub root: Region,
}

impl Body {
    /// Adds a value without placing it.
    pub fn value(&mut self, op: Op, args: Vec<ValueId>, ty: Ty, time: Time, span: Span) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(ValueData { op, args, ty, time, span, name: None });
        id
    }

    pub fn var(&mut self, name: &str, ty: Ty, time: Time) -> VarId {
        let id = VarId(u32::try_from(self.vars.len()).expect("fewer than 2^32 variables"));
        self.vars.push(Var { name: name.to_owned(), ty, time });
        id
    }
}

impl std::ops::Index<ValueId> for Body {
    type Output = ValueData;
    fn index(&self, id: ValueId) -> &ValueData {
        &self.values[id.index()]
    }
}

impl std::ops::IndexMut<ValueId> for Body {
    fn index_mut(&mut self, id: ValueId) -> &mut ValueData {
        &mut self.values[id.index()]
    }
}
