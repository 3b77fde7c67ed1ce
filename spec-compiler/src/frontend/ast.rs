//! The syntax tree.

use crate::diag::Span;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    pub name: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Int(u128),
    /// `'0101'`; `x` only in patterns.
    BitStr(String),
    Bool(bool),
    Name(String),
    Call(Ident, Vec<Expr>),
    /// `base[i, ...]`: state array, view or bit.
    Index(Box<Expr>, Vec<Expr>),
    /// `base[hi:lo]`
    Slice(Box<Expr>, Box<Expr>, Box<Expr>),
    Un(Un, Box<Expr>),
    Bin(Bin, Box<Expr>, Box<Expr>),
    As(Box<Expr>, Box<Type>),
    If(Box<Expr>, Box<Block>, Option<Box<Expr>>),
    Match(Box<Expr>, Vec<Arm>),
    Block(Box<Block>),
    Tuple(Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Un {
    Neg,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bin {
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Shl,
    Shr,
    Sar,
    And,
    Xor,
    Or,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    AndAnd,
    OrOr,
}

#[derive(Clone, Debug)]
pub struct Arm {
    pub pats: Vec<Pat>,
    pub body: Expr,
    pub span: Span,
}

/// Pattern of a `match`.
#[derive(Clone, Debug)]
pub enum Pat {
    Any(Span),
    Value(Expr),
    /// The bound, and whether it is included.
    Range(Expr, Expr, bool),
    Bits(String, Span),
    Tuple(Vec<Pat>, Span),
}

#[derive(Clone, Debug)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum TypeKind {
    Int,
    Bool,
    Bits(Box<Expr>),
    Flags,
    Tuple(Vec<Type>),
}

#[derive(Clone, Debug)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub tail: Option<Expr>,
    pub span: Span,
}

/// What `let` and `var` bind.
#[derive(Clone, Debug)]
pub enum Binder {
    Ignore(Span),
    Name(Ident),
    Tuple(Vec<Binder>, Span),
}

#[derive(Clone, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StmtKind {
    Let(Binder, Option<Type>, Expr),
    Var(Binder, Option<Type>, Expr),
    Assign(Expr, Expr),
    For(Ident, Expr, Expr, Block),
    Expr(Expr),
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: Ident,
    pub ty: Type,
}

#[derive(Clone, Debug)]
pub enum Item {
    Feature { name: Ident, on: bool, doc: String },
    Const { name: Ident, ty: Option<Type>, value: Expr },
    Names { name: Ident, entries: Vec<String> },
    State(Vec<StateItem>),
    Fn(Fn),
    View(View),
    Extern(Extern),
    AsmFn(AsmFn),
    Insn(Box<Insn>),
    Sysreg(Box<Sysreg>),
}

#[derive(Clone, Debug)]
pub struct StateItem {
    pub name: Ident,
    /// `None`: the program counter.
    pub ty: Option<Type>,
    pub count: Option<Expr>,
    pub reset: Option<Expr>,
    pub context: bool,
    pub doc: String,
}

#[derive(Clone, Debug)]
pub struct Fn {
    pub name: Ident,
    pub params: Vec<Param>,
    pub result: Option<Type>,
    pub body: Block,
    /// Becomes a function in Rust, which translated code calls.
    pub outlined: bool,
    pub doc: String,
}

#[derive(Clone, Debug)]
pub struct View {
    pub name: Ident,
    pub params: Vec<Param>,
    pub ty: Type,
    pub get: Option<Block>,
    pub set: Option<(Ident, Block)>,
}

#[derive(Clone, Debug)]
pub struct Extern {
    pub name: Ident,
    pub params: Vec<Param>,
    pub result: Option<Type>,
    pub pure_: bool,
    pub raises: bool,
    pub never: bool,
    pub ends_block: bool,
    pub doc: String,
}

#[derive(Clone, Debug)]
pub struct AsmFn {
    pub name: Ident,
    pub params: Vec<Param>,
    pub body: Vec<Part>,
}

/// Piece of an assembly template.
#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Name(Ident, Expr),
    Call(Ident, Vec<Expr>),
    Dec(Expr),
    Hex(Expr),
    Address(Expr),
    /// A system register by its number.
    Register(Expr),
    Choice(Expr, Vec<Part>, Vec<Part>),
}

#[derive(Clone, Debug)]
pub struct PatternPiece {
    pub kind: PatternPieceKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum PatternPieceKind {
    /// A run of `0`, `1`, `x`.
    Bits(String),
    Field(String, u32),
}

#[derive(Clone, Debug)]
pub struct Insn {
    pub name: Ident,
    pub doc: String,
    pub pattern: Vec<PatternPiece>,
    pub pattern_span: Span,
    pub requires: Vec<Ident>,
    pub overrides: Vec<Ident>,
    pub where_: Option<Expr>,
    pub hook: Vec<Hook>,
    /// `lands when`
    pub lands: Option<Expr>,
    pub asm: Vec<AsmLine>,
    pub exec: Option<Block>,
}

/// Statement of the decode hook.
#[derive(Clone, Debug)]
pub enum Hook {
    Let(Binder, Option<Type>, Expr),
    Undefined(Expr),
}

#[derive(Clone, Debug)]
pub struct AsmLine {
    pub parts: Vec<Part>,
    pub when: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Sysreg {
    pub prefix: Ident,
    /// Parameter, bounds and the rest of the name.
    pub family: Option<(Ident, Expr, Expr, String)>,
    pub doc: String,
    pub encoding: Vec<Expr>,
    pub requires: Vec<Ident>,
    pub access: Vec<Access>,
    pub reset: Option<Expr>,
    pub mask: Option<Expr>,
    pub value: Option<Expr>,
    pub get: Option<Block>,
    pub set: Option<(Ident, Block)>,
}

#[derive(Clone, Debug)]
pub struct Access {
    pub level: u8,
    pub read: bool,
    pub write: bool,
    pub when: Option<Expr>,
}
