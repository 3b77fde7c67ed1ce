//! The checked description: what the front end hands to the passes and the emitters.

use crate::diag::Span;
use crate::ssa::{Body, FieldId, Ty, ValueId};

/// A whole description after resolution, type checking and lowering.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// `isa "name"`.
    pub name: String,
    /// Bits in an instruction word: 16 or 32.
    pub word_bits: u32,
    pub features: Vec<Feature>,
    pub names: Vec<NameTable>,
    pub state: Vec<StateElement>,
    pub helpers: Vec<Helper>,
    pub insns: Vec<Insn>,
    pub sysregs: Vec<Sysreg>,
    /// For the statistics.
    pub source_lines: usize,
}

#[derive(Clone, Debug)]
pub struct Feature {
    pub name: String,
    pub on: bool,
    pub doc: String,
}

#[derive(Clone, Debug)]
pub struct NameTable {
    pub name: String,
    pub entries: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct StateElement {
    pub name: String,
    /// `Bits(Const)` or `Flags`.
    pub ty: Ty,
    /// `None`: a scalar.
    pub count: Option<u32>,
    pub reset: u128,
    pub context: bool,
    /// The program counter's storage.
    pub pc: bool,
    /// Declared implicitly by a system register.
    pub sysreg: bool,
    pub doc: String,
}

#[derive(Clone, Debug)]
pub struct Helper {
    pub name: String,
    /// `Int`, `Bool` or `Bits(Const)`.
    pub params: Vec<(String, Ty)>,
    pub result: Option<Ty>,
    pub pure_: bool,
    pub raises: bool,
    pub never: bool,
    pub ends_block: bool,
    pub doc: String,
    /// Of an `outlined fn`: all values are fixed, the parameters are [`Op::Param`](crate::ssa::Op::Param)s, the root region's one result
    /// is the function's. `None`: a function of the guest crate.
    pub body: Option<Body>,
}

/// One piece of an encoding pattern, most significant first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Lowest bit in the instruction word.
    pub lo: u32,
    pub width: u32,
    pub kind: PieceKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind {
    Fixed(u32),
    Any,
    Field(FieldId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Total width; pieces are concatenated in pattern order, the first most significant.
    pub width: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Pattern {
    pub pieces: Vec<Piece>,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Insn {
    pub name: String,
    pub doc: String,
    pub span: Span,
    pub pattern: Pattern,
    pub requires: Vec<String>,
    /// Names of the instructions that this one is tried before.
    pub overrides: Vec<String>,
    /// The decode hook, all fixed: evaluates `where`, the `let`s and `undefined when`; see [`Decode`].
    pub decode: Decode,
    /// Whether branches whose target may ask may lead here: a body over fields and context whose root region has one `bool` result.
    /// `None`: they may not.
    pub lands: Option<Body>,
    pub asm: Vec<AsmForm>,
    /// `exec`. Begins with its own copy of the `let`s it uses (they are fixed values like any other).
    pub exec: Body,
}

#[derive(Clone, Debug, Default)]
pub struct Decode {
    /// A body over the fields only.
    pub body: Body,
    /// A `bool`: `where` && !`undefined when`. `None`: always valid.
    pub valid: Option<ValueId>,
}

/// One `asm` line. Its expressions are values of its own all-fixed body (which begins with a copy of the `let`s).
#[derive(Clone, Debug, Default)]
pub struct AsmForm {
    pub body: Body,
    /// A `bool`.
    pub when: Option<ValueId>,
    pub parts: Vec<AsmPart>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum AsmPart {
    Text(String),
    /// Entry of a name table (by its index in [`Model::names`]); the value is an `int`.
    Name(usize, ValueId),
    /// `#` and a signed decimal / hexadecimal number; the value is an `int` or `bits`.
    Dec(ValueId),
    Hex(ValueId),
    /// An address; the value is `bits`.
    Address(ValueId),
    /// A system register: the value is its number, op0:op1:CRn:CRm:op2.
    Register(ValueId),
    /// Text by a `bool`.
    Choice(ValueId, Vec<AsmPart>, Vec<AsmPart>),
}

/// The name of a system register that the description doesn't have.
#[must_use]
pub fn generic_register(number: u16) -> String {
    let (op0, op1, op2) = (number >> 14, number >> 11 & 7, number & 7);
    format!("s{op0}_{op1}_c{}_c{}_{op2}", number >> 7 & 15, number >> 3 & 15)
}

#[derive(Clone, Debug)]
pub struct Sysreg {
    pub name: String,
    pub doc: String,
    pub span: Span,
    pub requires: Vec<String>,
    /// op0, op1, CRn, CRm, op2.
    pub encoding: [u8; 5],
    /// Least level (0 or 1) that may read / write, `None`: nobody.
    pub read_level: Option<u8>,
    pub write_level: Option<u8>,
    /// Condition for access from level 0: a body whose root region has one `bool` result.
    pub read_when: Option<Body>,
    pub write_when: Option<Body>,
    pub reset: u64,
    /// Writable bits.
    pub mask: u64,
    /// Name of the storage in [`Model::state`], if it has any.
    pub storage: Option<String>,
    /// A fixed value.
    pub value: Option<u64>,
    /// Root region's one result is the value (`bits(64)`); `None`: the storage or the fixed value.
    pub get: Option<Body>,
    /// Takes the value as `Op::Param(0)`, already masked; `None`: the storage.
    pub set: Option<Body>,
}

impl Sysreg {
    /// op0:op1:CRn:CRm:op2.
    #[must_use]
    pub fn number(&self) -> u16 {
        let [op0, op1, crn, crm, op2] = self.encoding.map(u16::from);
        (op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 15) << 7 | (crm & 15) << 3 | op2 & 7
    }
}
