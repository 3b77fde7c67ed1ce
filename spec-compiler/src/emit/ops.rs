//! One operation as a Rust expression: computed now on fixed operands, emitted on dynamic ones.

use super::body::BodyEmitter;
use super::expr::{as_cast, as_u32, mask, strip, typed_bits, typed_int};
use crate::ssa::{BinOp, CmpOp, Op, Time, Ty, UnOp, ValueId};

impl BodyEmitter<'_> {
    pub(super) fn fixed_expr(&self, id: ValueId) -> String {
        let data = &self.body[id];
        let a = |i: usize| self.expr(data.args[i]);
        let s = |i: usize| strip(&self.expr(data.args[i]));
        let w = self.width(data.ty);
        let arg_w = |i: usize| self.width(self.body[data.args[i]].ty);
        let infix_int = |op: &str| format!("({} {op} {})", typed_int(&a(0)), a(1));
        let infix_bits = |op: &str| format!("({} {op} {})", typed_bits(&a(0)), a(1));
        match &data.op {
            Op::Int(i) if *i < 0 => format!("({i})"),
            Op::Int(i) => i.to_string(),
            Op::Bool(b) => b.to_string(),
            Op::Bits(v) if *v < 10 => v.to_string(),
            Op::Bits(v) => format!("{v:#x}"),
            Op::Field(f) => self.fields.get(&f.0).cloned().unwrap_or_default(),
            Op::Pc => "u128::from(pc)".to_owned(),
            Op::Param(i) => self.params.get(*i as usize).cloned().unwrap_or_default(),
            Op::VarGet(v) => self.var_names[v.index()].clone(),
            Op::StateGet(s) => {
                format!("u128::from(ctx::{}(context))", super::text::snake(&self.model.state[s.index()].name))
            }
            Op::IntAdd => infix_int("+"),
            Op::IntSub => infix_int("-"),
            Op::IntMul => infix_int("*"),
            Op::IntDiv => infix_int("/"),
            Op::IntRem => infix_int("%"),
            Op::IntShl => infix_int("<<"),
            Op::IntShr => infix_int(">>"),
            Op::IntAnd => infix_int("&"),
            Op::IntOr => infix_int("|"),
            Op::IntXor => infix_int("^"),
            Op::IntNeg => format!("(-{})", typed_int(&a(0))),
            Op::IntMin => format!("{}.min({})", typed_int(&a(0)), s(1)),
            Op::IntMax => format!("{}.max({})", typed_int(&a(0)), s(1)),
            Op::IntLog2 => format!("fixed::log2({})", s(0)),
            Op::IntEq => infix_int("=="),
            Op::IntLt => infix_int("<"),
            Op::IntLe => infix_int("<="),
            Op::ToInt => format!("({} as i64)", typed_bits(&a(0))),
            Op::ToIntSigned => format!("(fixed::signed({}, {}) as i64)", arg_w(0), s(0)),
            Op::IntToBits if a(0) == "0" => "0".to_owned(),
            Op::IntToBits => format!("({} as u128 & {})", typed_int(&a(0)), mask(&w)),
            Op::BitToBool => format!("({} != 0)", typed_bits(&a(0))),
            Op::BoolToBit => format!("u128::from({})", s(0)),
            Op::BoolNot if a(0).matches(" == ").count() == 1 && !a(0).contains(['&', '|', '{']) => {
                a(0).replace(" == ", " != ")
            }
            Op::BoolNot => format!("!{}", a(0)),
            Op::BoolAnd => format!("({} && {})", a(0), a(1)),
            Op::BoolOr => format!("({} || {})", a(0), a(1)),
            Op::BoolEq => format!("({} == {})", a(0), a(1)),
            Op::Un(op) => match op {
                UnOp::Not => format!("fixed::not({w}, {})", s(0)),
                UnOp::Neg => format!("fixed::neg({w}, {})", s(0)),
                UnOp::Clz => format!("fixed::clz({w}, {})", s(0)),
                UnOp::Ctz => format!("fixed::ctz({w}, {})", s(0)),
                UnOp::Popcnt => format!("fixed::popcount({})", s(0)),
                UnOp::BitRev => format!("fixed::bit_reverse({w}, {})", s(0)),
                UnOp::ByteRev => format!("fixed::byte_reverse({w}, {})", s(0)),
            },
            Op::Bin(op) => {
                let call = |name: &str| format!("fixed::{name}({w}, {}, {})", s(0), s(1));
                let by_amount = |name: &str| format!("fixed::{name}({w}, {}, fixed::amount({w}, {}))", s(0), s(1));
                match op {
                    BinOp::Add => call("add"),
                    BinOp::Sub => call("sub"),
                    BinOp::Mul => call("mul"),
                    BinOp::UMulHi => call("umulh"),
                    BinOp::SMulHi => call("smulh"),
                    BinOp::UDiv => format!("fixed::udiv({}, {})", s(0), s(1)),
                    BinOp::SDiv => call("sdiv"),
                    BinOp::And => infix_bits("&"),
                    BinOp::Or => infix_bits("|"),
                    BinOp::Xor => infix_bits("^"),
                    BinOp::Shl => by_amount("shl"),
                    BinOp::Shr => by_amount("shr"),
                    BinOp::Sar => by_amount("sar"),
                    BinOp::Ror => by_amount("ror"),
                }
            }
            Op::Cmp(op) => {
                let signed = |i: usize| format!("fixed::signed({}, {})", arg_w(i), s(i));
                match op {
                    CmpOp::Eq => infix_bits("=="),
                    CmpOp::Ne => infix_bits("!="),
                    CmpOp::Ult => infix_bits("<"),
                    CmpOp::Ule => infix_bits("<="),
                    CmpOp::Slt => format!("({} < {})", signed(0), signed(1)),
                    CmpOp::Sle => format!("({} <= {})", signed(0), signed(1)),
                }
            }
            Op::ShlInt => format!("fixed::shl({w}, {}, {})", s(0), s(1)),
            Op::ShrInt => format!("fixed::shr({w}, {}, {})", s(0), s(1)),
            Op::SarInt => format!("fixed::sar({w}, {}, {})", s(0), s(1)),
            Op::RorInt => format!("fixed::ror({w}, {}, {})", s(0), s(1)),
            Op::Zext => a(0),
            Op::Sext => format!("fixed::sext({}, {w}, {})", arg_w(0), s(0)),
            Op::Extract if a(1) == "0" => format!("({} & {})", typed_bits(&a(0)), mask(&w)),
            Op::Extract => format!("fixed::extract({}, {}, {w})", s(0), s(1)),
            Op::Insert => format!("fixed::insert({}, {}, {}, {})", s(0), s(1), arg_w(2), s(2)),
            Op::Concat => format!("fixed::concat({}, {}, {})", s(0), arg_w(1), s(1)),
            Op::Replicate => format!("fixed::replicate({}, {}, {})", arg_w(0), s(0), s(1)),
            Op::Select => format!("(if {} {{ {} }} else {{ {} }})", s(0), s(1), s(2)),
            Op::AddFlags => format!("fixed::add_flags({}, {}, {}, {})", arg_w(0), s(0), s(1), s(2)),
            Op::LogicFlags => format!("fixed::logic_flags({}, {})", arg_w(0), s(0)),
            Op::PackFlags | Op::UnpackFlags => a(0),
            Op::CondHolds => format!("fixed::cond_holds({}, {})", s(0), s(1)),
            Op::Lane => format!("fixed::lane({}, {}, {})", as_u32(&a(0)), s(1), s(2)),
            Op::SetLane => format!("fixed::set_lane({}, {}, {}, {})", as_u32(&a(0)), s(1), s(2), s(3)),
            Op::Splat => format!("fixed::splat({}, {})", as_u32(&a(0)), s(1)),
            other => format!("compile_error!(\"{other:?} on fixed values\")"),
        }
    }

    pub(super) fn dynamic_expr(&mut self, id: ValueId) -> String {
        let body = self.body;
        let data = &body[id];
        let args = &data.args;
        let w = self.width(data.ty);
        let arg_w = |e: &Self, i: usize| e.width(body[args[i]].ty);
        match &data.op {
            Op::VarGet(v) => self.var_names[v.index()].clone(),
            Op::StateGet(s) => format!("b.get({})", self.slot(id, s.index(), args.len() == 1)),
            Op::BitToBool | Op::BoolToBit => self.dynamic(args[0]),
            Op::BoolNot => format!("b.un(UnOp::Not, 1, {})", self.dynamic(args[0])),
            Op::BoolAnd | Op::BoolOr => {
                let name = if data.op == Op::BoolAnd { "And" } else { "Or" };
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.bin(BinOp::{name}, 1, {x}, {y})")
            }
            Op::BoolEq => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.cmp(CmpOp::Eq, 1, {x}, {y})")
            }
            Op::Un(op) => format!("b.un(UnOp::{op:?}, {w}, {})", self.dynamic(args[0])),
            Op::Bin(op) => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.bin(BinOp::{op:?}, {w}, {x}, {y})")
            }
            Op::Cmp(op) => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.cmp(CmpOp::{op:?}, {}, {x}, {y})", arg_w(self, 0))
            }
            Op::ShlInt | Op::ShrInt | Op::SarInt | Op::RorInt => {
                let name = match data.op {
                    Op::ShlInt => "shl_int",
                    Op::ShrInt => "shr_int",
                    Op::SarInt => "sar_int",
                    _ => "ror_int",
                };
                let x = self.dynamic(args[0]);
                format!("support::{name}(b, {w}, {x}, {})", strip(&self.expr(args[1])))
            }
            Op::Zext | Op::Sext => {
                let name = if data.op == Op::Zext { "zext" } else { "sext" };
                let from = arg_w(self, 0);
                let x = self.dynamic(args[0]);
                match (times_const(body[args[0]].ty), times_const(data.ty)) {
                    (Some(a), Some(b)) if a == b => x,
                    (Some(_), Some(_)) => format!("b.{name}({from}, {w}, {x})"),
                    _ => format!("support::{name}(b, {from}, {w}, {x})"),
                }
            }
            Op::Extract => {
                let from = arg_w(self, 0);
                let x = self.dynamic(args[0]);
                let lo = strip(&self.expr(args[1]));
                match (times_const(body[args[0]].ty), times_const(data.ty), lo.parse::<u32>()) {
                    (Some(a), Some(b), Ok(0)) if a == b => x,
                    (Some(_), Some(_), Ok(_)) => format!("b.extract({from}, {x}, {lo}, {w})"),
                    _ => format!("support::extract(b, {from}, {x}, {lo}, {w})"),
                }
            }
            Op::Insert => {
                let (x, piece) = (self.dynamic(args[0]), self.dynamic(args[2]));
                format!("support::insert(b, {w}, {x}, {}, {}, {piece})", strip(&self.expr(args[1])), arg_w(self, 2))
            }
            Op::Concat => {
                let (hi, lo) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("b.concat({}, {hi}, {}, {lo})", arg_w(self, 0), arg_w(self, 1))
            }
            Op::Replicate => {
                let x = self.dynamic(args[0]);
                format!("support::replicate(b, {}, {x}, {})", arg_w(self, 0), strip(&self.expr(args[1])))
            }
            Op::Select => {
                let (x, y) = (self.dynamic(args[1]), self.dynamic(args[2]));
                if body[args[0]].time == Time::Fixed {
                    format!("if {} {{ {x} }} else {{ {y} }}", strip(&self.expr(args[0])))
                } else {
                    format!("b.select({w}, {}, {x}, {y})", self.expr(args[0]))
                }
            }
            Op::AddFlags => {
                let (x, y, c) = (self.dynamic(args[0]), self.dynamic(args[1]), self.dynamic(args[2]));
                format!("b.add_flags({}, {x}, {y}, {c})", arg_w(self, 0))
            }
            Op::LogicFlags => {
                let x = self.dynamic(args[0]);
                format!("b.logic_flags({}, {x})", arg_w(self, 0))
            }
            Op::PackFlags => format!("b.pack_flags({})", self.dynamic(args[0])),
            Op::UnpackFlags => format!("b.unpack_flags({})", self.dynamic(args[0])),
            Op::CondHolds => {
                let f = self.dynamic(args[0]);
                format!("b.cond({f}, Cond::from_bits({}))", as_u32(&self.expr(args[1])))
            }
            Op::Lane => {
                let v = self.dynamic(args[1]);
                format!("b.lane({}, {v}, {})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::SetLane => {
                let (v, x) = (self.dynamic(args[1]), self.dynamic(args[3]));
                format!("b.set_lane({}, {v}, {}, {x})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::Splat => {
                let x = self.dynamic(args[1]);
                format!("b.splat({}, {x})", self.arg_u32(id, 0))
            }
            Op::VUn(op) => {
                let v = self.dynamic(args[1]);
                format!("b.vun(VUnOp::{op}, {}, {v})", self.arg_u32(id, 0))
            }
            Op::VBin(op) => {
                let (x, y) = (self.dynamic(args[1]), self.dynamic(args[2]));
                format!("b.vbin(VBinOp::{op}, {}, {x}, {y})", self.arg_u32(id, 0))
            }
            Op::VTern(op) => {
                let (x, y, z) = (self.dynamic(args[1]), self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.vtern(VTernOp::{op}, {}, {x}, {y}, {z})", self.arg_u32(id, 0))
            }
            Op::VShift(op) => {
                let v = self.dynamic(args[1]);
                format!("b.vshift(VShiftOp::{op}, {}, {v}, {})", self.arg_u32(id, 0), self.arg_u32(id, 2))
            }
            Op::Shuffle => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                let bytes: Vec<String> = args[2..].iter().map(|&i| as_cast(&self.expr(i), "u8")).collect();
                format!("b.shuffle({x}, {y}, [{}])", bytes.join(", "))
            }
            Op::Ext => {
                let (x, y) = (self.dynamic(args[0]), self.dynamic(args[1]));
                format!("support::ext(b, {x}, {y}, {})", strip(&self.expr(args[2])))
            }
            Op::FpUn(op) => {
                let x = self.dynamic(args[2]);
                format!("b.fp_un(FpUnOp::{op}, {}, {}, {x})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpRoundInt => {
                let x = self.dynamic(args[2]);
                let rounding = rounding(&self.expr(args[3]));
                let exact = strip(&self.expr(args[4]));
                let op = format!("FpUnOp::RoundInt {{ rounding: {rounding}, exact: {exact} }}");
                format!("b.fp_un({op}, {}, {}, {x})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpBin(op) => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_bin(FpBinOp::{op}, {}, {}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpFma => {
                let (a, x, y) = (self.dynamic(args[2]), self.dynamic(args[3]), self.dynamic(args[4]));
                format!("b.fp_fma({}, {}, {a}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpCmp(op) => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_cmp(FpCmpOp::{op}, {}, {}, {x}, {y})", self.format(args[0]), self.arg_u32(id, 1))
            }
            Op::FpCmpFlags => {
                let (x, y) = (self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.fp_cmp_flags({}, {}, {x}, {y})", self.format(args[0]), strip(&self.expr(args[1])))
            }
            Op::FpConvert => {
                let x = self.dynamic(args[2]);
                let rounding = rounding(&self.expr(args[3]));
                format!("b.fp_convert({}, {}, {rounding}, {x})", self.format(args[0]), self.format(args[1]))
            }
            Op::FpToInt => {
                let x = self.dynamic(args[4]);
                let (n, signed, fbits) = (self.arg_u32(id, 1), strip(&self.expr(args[2])), self.arg_u32(id, 3));
                let rounding = rounding(&self.expr(args[5]));
                format!("b.fp_to_int({}, {n}, {signed}, {fbits}, {rounding}, {x})", self.format(args[0]))
            }
            Op::IntToFp => {
                let x = self.dynamic(args[4]);
                let (n, signed, fbits) = (self.arg_u32(id, 0), strip(&self.expr(args[1])), self.arg_u32(id, 2));
                format!("b.int_to_fp({n}, {signed}, {fbits}, {}, {x})", self.format(args[3]))
            }
            Op::MemRead => {
                let addr = self.dynamic(args[1]);
                format!("b.load({}, {addr}, {})?", self.arg_u32(id, 0), access(&self.expr(args[2])))
            }
            Op::MemAtomic => {
                let (addr, v) = (self.dynamic(args[2]), self.dynamic(args[3]));
                let op = atomic_op(&self.expr(args[0]));
                format!("b.atomic({op}, {}, {addr}, {v}, {})?", self.arg_u32(id, 1), access(&self.expr(args[4])))
            }
            Op::MemCas => {
                let (addr, e, n) = (self.dynamic(args[1]), self.dynamic(args[2]), self.dynamic(args[3]));
                format!("b.cas({}, {addr}, {e}, {n}, {})?", self.arg_u32(id, 0), access(&self.expr(args[4])))
            }
            Op::SysregRead => format!("sysreg_access::sysreg_read(b, {}, pc, context)?", self.sysreg_number(id)),
            other => format!("compile_error!(\"{other:?} on dynamic values\")"),
        }
    }

    pub(super) fn format(&self, v: ValueId) -> String {
        let text = self.expr(v);
        match text.as_str() {
            "16" | "32" | "64" => format!("FpFmt::F{text}"),
            _ => format!("FpFmt::of_width({})", as_u32(&text)),
        }
    }
}

pub(super) fn times_const(ty: Ty) -> Option<u32> {
    crate::passes::times::const_width(ty)
}

pub(super) fn access(text: &str) -> String {
    match text {
        "0" => "Access::empty()".to_owned(),
        _ => format!("Access::from_bits_truncate({})", as_cast(text, "u16")),
    }
}

pub(super) fn rounding(text: &str) -> String {
    const NAMES: [&str; 7] = ["Nearest", "Up", "Down", "Zero", "NearestAway", "Odd", "Dynamic"];
    named(text, "Rounding", &NAMES, "support::rounding")
}

pub(super) fn atomic_op(text: &str) -> String {
    const NAMES: [&str; 9] = ["Swap", "Add", "Clear", "Xor", "Or", "SMax", "SMin", "UMax", "UMin"];
    named(text, "AtomicOp", &NAMES, "support::atomic_op")
}

pub(super) fn branch_kind(text: &str) -> String {
    named(
        text,
        "BranchKind",
        &["Jump", "Call", "Return", "IndirectJump", "IndirectCall", "Trampoline"],
        "support::branch_kind",
    )
}

pub(super) fn named(text: &str, ty: &str, names: &[&str], convert: &str) -> String {
    match text.parse::<usize>().ok().and_then(|i| names.get(i)) {
        Some(name) => format!("{ty}::{name}"),
        None => format!("{convert}({})", strip(text)),
    }
}
