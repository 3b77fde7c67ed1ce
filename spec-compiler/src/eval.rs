//! Evaluates fixed computations inside the compiler: decode hooks for the decoder's checks, assembly forms for the
//! assembler and disassembler, constant operands for folding.

use crate::fixed;
use crate::model::Pattern;
use crate::model::PieceKind;
use crate::ssa::{BinOp, Body, CmpOp, FieldId, Op, Region, Stmt, Ty, UnOp, ValueId, Width};

/// A fixed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Int(i64),
    Bool(bool),
    /// Without excess bits.
    Bits(u128),
    /// N:Z:C:V.
    Flags(u8),
    Unit,
}

impl Value {
    #[must_use]
    pub fn int(self) -> i64 {
        match self {
            Value::Int(i) => i,
            Value::Bool(b) => i64::from(b),
            Value::Bits(v) => v as i64,
            Value::Flags(f) => i64::from(f),
            Value::Unit => 0,
        }
    }

    #[must_use]
    pub fn bits(self) -> u128 {
        match self {
            Value::Int(i) => i as u128,
            Value::Bool(b) => u128::from(b),
            Value::Bits(v) => v,
            Value::Flags(f) => u128::from(f),
            Value::Unit => 0,
        }
    }

    #[must_use]
    pub fn truth(self) -> bool {
        self.bits() != 0
    }
}

/// Why a computation has no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// It depends on guest state or needs the online IR.
    Dynamic,
    /// Integer overflow, a width out of range, a division by zero.
    Arithmetic,
    /// The path never returns.
    Diverged,
}

/// Reads a field of an instruction word.
#[must_use]
pub fn field_value(pattern: &Pattern, field: FieldId, word: u32) -> u128 {
    let mut value = 0;
    for piece in &pattern.pieces {
        if piece.kind == PieceKind::Field(field) {
            value = value << piece.width | (u128::from(word) >> piece.lo & fixed::mask(piece.width));
        }
    }
    value
}

/// One evaluation of a body.
pub struct Evaluator<'a> {
    body: &'a Body,
    fields: &'a dyn Fn(FieldId) -> u128,
    pc: u64,
    values: Vec<Option<Value>>,
    vars: Vec<Option<Value>>,
}

impl<'a> Evaluator<'a> {
    pub fn new(body: &'a Body, fields: &'a dyn Fn(FieldId) -> u128, pc: u64) -> Self {
        Self { body, fields, pc, values: vec![None; body.values.len()], vars: vec![None; body.vars.len()] }
    }

    /// Runs all statements.
    ///
    /// # Errors
    /// See [`EvalError`].
    pub fn run(&mut self) -> Result<(), EvalError> {
        let root = &self.body.root;
        self.region(root)
    }

    /// A value after [`Evaluator::run`].
    ///
    /// # Errors
    /// It has not been computed.
    pub fn get(&self, id: ValueId) -> Result<Value, EvalError> {
        if let Some(v) = self.values[id.index()] {
            return Ok(v);
        }
        let data = &self.body[id];
        match data.op {
            Op::Int(_) | Op::Bool(_) | Op::Bits(_) | Op::Field(_) | Op::Pc => self.compute(id),
            _ => Err(EvalError::Dynamic),
        }
    }

    fn region(&mut self, region: &Region) -> Result<(), EvalError> {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(id) => {
                    let value = match self.body[*id].op {
                        Op::VarSet(var) => {
                            self.vars[var.index()] = Some(self.get(self.body[*id].args[0])?);
                            Value::Unit
                        }
                        Op::VarGet(var) => self.vars[var.index()].ok_or(EvalError::Dynamic)?,
                        _ => self.compute(*id)?,
                    };
                    self.values[id.index()] = Some(value);
                }
                Stmt::If { cond, then, otherwise, results } => {
                    let arm = if self.get(*cond)?.truth() { then } else { otherwise };
                    self.region(arm)?;
                    for (&from, &to) in arm.results.iter().zip(results) {
                        self.values[to.index()] = Some(self.get(from)?);
                    }
                }
                Stmt::For { index, lo, hi, body } => {
                    for i in self.get(*lo)?.int()..self.get(*hi)?.int() {
                        self.values[index.index()] = Some(Value::Int(i));
                        self.region(body)?;
                    }
                }
            }
        }
        if region.diverges { Err(EvalError::Diverged) } else { Ok(()) }
    }

    fn width(&self, ty: Ty) -> Result<u32, EvalError> {
        let n = match ty {
            Ty::Bits(Width::Const(n)) => n,
            Ty::Bits(Width::Value(v)) => u32::try_from(self.get(v)?.int()).map_err(|_| EvalError::Arithmetic)?,
            Ty::Bool => 1,
            Ty::Int => 64,
            Ty::Flags => 4,
            Ty::Unit => 0,
        };
        if n == 0 || n > 128 { Err(EvalError::Arithmetic) } else { Ok(n) }
    }

    fn compute(&self, id: ValueId) -> Result<Value, EvalError> {
        let data = &self.body[id];
        match data.op {
            Op::Field(f) => return Ok(Value::Bits((self.fields)(f))),
            Op::Pc => return Ok(Value::Bits(u128::from(self.pc))),
            _ => {}
        }
        let mut args = Vec::with_capacity(data.args.len());
        let mut widths = Vec::with_capacity(data.args.len());
        for &a in &data.args {
            args.push(self.get(a)?);
            widths.push(self.width(self.body[a].ty).unwrap_or(0));
        }
        let width = if data.ty == Ty::Unit { 0 } else { self.width(data.ty)? };
        apply(&data.op, width, &args, &widths)
    }
}

/// Performs one operation. `width` is the result's, `widths` the operands' (0 where they have none).
///
/// # Errors
/// See [`EvalError`].
pub fn apply(op: &Op, width: u32, args: &[Value], widths: &[u32]) -> Result<Value, EvalError> {
    let int = |i: usize| args[i].int();
    let bits = |i: usize| args[i].bits();
    let lane_width = || u32::try_from(int(0)).ok().filter(|e| (1..=128).contains(e)).ok_or(EvalError::Arithmetic);
    let checked = |v: Option<i64>| v.map(Value::Int).ok_or(EvalError::Arithmetic);
    let arg_width = |i: usize| if widths[i] == 0 { Err(EvalError::Arithmetic) } else { Ok(widths[i]) };
    let w = width;
    Ok(match op {
        Op::Int(i) => Value::Int(*i),
        Op::Bool(b) => Value::Bool(*b),
        Op::Bits(v) => Value::Bits(*v & fixed::mask(w)),
        Op::IntAdd => return checked(int(0).checked_add(int(1))),
        Op::IntSub => return checked(int(0).checked_sub(int(1))),
        Op::IntMul => return checked(int(0).checked_mul(int(1))),
        Op::IntDiv => return checked(int(0).checked_div(int(1))),
        Op::IntRem => return checked(int(0).checked_rem(int(1))),
        Op::IntShl => {
            let r = u32::try_from(int(1)).ok().and_then(|k| int(0).checked_shl(k));
            return checked(r.filter(|r| r >> int(1) == int(0)));
        }
        Op::IntShr => return checked(u32::try_from(int(1)).ok().and_then(|k| int(0).checked_shr(k))),
        Op::IntAnd => Value::Int(int(0) & int(1)),
        Op::IntOr => Value::Int(int(0) | int(1)),
        Op::IntXor => Value::Int(int(0) ^ int(1)),
        Op::IntNeg => return checked(int(0).checked_neg()),
        Op::IntMin => Value::Int(int(0).min(int(1))),
        Op::IntMax => Value::Int(int(0).max(int(1))),
        Op::IntLog2 => Value::Int(fixed::log2(int(0))),
        Op::IntEq => Value::Bool(int(0) == int(1)),
        Op::IntLt => Value::Bool(int(0) < int(1)),
        Op::IntLe => Value::Bool(int(0) <= int(1)),
        Op::ToInt => Value::Int(bits(0) as i64),
        Op::ToIntSigned => Value::Int(fixed::signed(arg_width(0)?, bits(0)) as i64),
        Op::IntToBits => Value::Bits(int(0) as u128 & fixed::mask(w)),
        Op::BitToBool => Value::Bool(bits(0) != 0),
        Op::BoolToBit => Value::Bits(bits(0)),
        Op::BoolNot => Value::Bool(!args[0].truth()),
        Op::BoolAnd => Value::Bool(args[0].truth() && args[1].truth()),
        Op::BoolOr => Value::Bool(args[0].truth() || args[1].truth()),
        Op::BoolEq => Value::Bool(args[0].truth() == args[1].truth()),
        Op::Un(op) => Value::Bits(match op {
            UnOp::Not => fixed::not(w, bits(0)),
            UnOp::Neg => fixed::neg(w, bits(0)),
            UnOp::Clz => fixed::clz(w, bits(0)),
            UnOp::Ctz => fixed::ctz(w, bits(0)),
            UnOp::Popcnt => fixed::popcount(bits(0)),
            UnOp::BitRev => fixed::bit_reverse(w, bits(0)),
            UnOp::ByteRev => fixed::byte_reverse(w, bits(0)),
        }),
        Op::Bin(op) => {
            let (a, b) = (bits(0), bits(1));
            Value::Bits(match op {
                BinOp::Add => fixed::add(w, a, b),
                BinOp::Sub => fixed::sub(w, a, b),
                BinOp::Mul => fixed::mul(w, a, b),
                BinOp::UMulHi => fixed::umulh(w, a, b),
                BinOp::SMulHi => fixed::smulh(w, a, b),
                BinOp::UDiv => fixed::udiv(a, b),
                BinOp::SDiv => fixed::sdiv(w, a, b),
                BinOp::And => a & b,
                BinOp::Or => a | b,
                BinOp::Xor => a ^ b,
                BinOp::Shl => fixed::shl(w, a, fixed::amount(w, b)),
                BinOp::Shr => fixed::shr(w, a, fixed::amount(w, b)),
                BinOp::Sar => fixed::sar(w, a, fixed::amount(w, b)),
                BinOp::Ror => fixed::ror(w, a, fixed::amount(w, b)),
            })
        }
        Op::Cmp(op) => {
            let n = arg_width(0)?;
            let (a, b) = (bits(0), bits(1));
            Value::Bool(match op {
                CmpOp::Eq => a == b,
                CmpOp::Ne => a != b,
                CmpOp::Ult => a < b,
                CmpOp::Ule => a <= b,
                CmpOp::Slt => fixed::signed(n, a) < fixed::signed(n, b),
                CmpOp::Sle => fixed::signed(n, a) <= fixed::signed(n, b),
            })
        }
        Op::ShlInt => Value::Bits(fixed::shl(w, bits(0), int(1))),
        Op::ShrInt => Value::Bits(fixed::shr(w, bits(0), int(1))),
        Op::SarInt => Value::Bits(fixed::sar(w, bits(0), int(1))),
        Op::RorInt => Value::Bits(fixed::ror(w, bits(0), int(1))),
        Op::Zext | Op::AsWidth => Value::Bits(bits(0)),
        Op::Sext => Value::Bits(fixed::sext(arg_width(0)?, w, bits(0))),
        Op::Extract => Value::Bits(fixed::extract(bits(0), int(1), w)),
        Op::Insert => Value::Bits(fixed::insert(bits(0), int(1), arg_width(2)?, bits(2))),
        Op::Concat => Value::Bits(fixed::concat(bits(0), arg_width(1)?, bits(1))),
        Op::Replicate => Value::Bits(fixed::replicate(arg_width(0)?, bits(0), int(1))),
        Op::Select => {
            if args[0].truth() {
                args[1]
            } else {
                args[2]
            }
        }
        Op::AddFlags => Value::Flags(fixed::add_flags(arg_width(0)?, bits(0), bits(1), bits(2)) as u8),
        Op::LogicFlags => Value::Flags(fixed::logic_flags(arg_width(0)?, bits(0)) as u8),
        Op::PackFlags => Value::Flags(bits(0) as u8 & 15),
        Op::UnpackFlags => Value::Bits(bits(0)),
        Op::CondHolds => Value::Bool(fixed::cond_holds(bits(0), int(1))),
        Op::Lane => Value::Bits(fixed::lane(lane_width()?, bits(1), int(2))),
        Op::SetLane => Value::Bits(fixed::set_lane(lane_width()?, bits(1), int(2), bits(3))),
        Op::Splat => Value::Bits(fixed::splat(lane_width()?, bits(1))),
        Op::Assert => Value::Unit,
        _ => return Err(EvalError::Dynamic),
    })
}
