//! One operation of [`crate::emit::Emit`] as a value, its encoding in 64 bits, and the fallback that translated code
//! calls for what it does not do inline.
//!
//! The encoding is bytes, lowest first: the operation's kind, then up to seven parameters in the order of the
//! variant's fields. It lives only as an immediate of translated code in the same process.

use super::{fp, mask};
use crate::emit::{
    BinOp, CmpOp, Cond, FpBinOp, FpCmpOp, FpFmt, FpUnOp, HelperRet, Rounding, UnOp, VBinOp, VShiftOp, VTernOp, VUnOp,
    Width,
};
use crate::runtime::{FpEnv, Runtime, event};
use core::sync::atomic::Ordering;

/// An operation with its fixed parameters; its operands are those of the trait's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvalOp {
    Un {
        op: UnOp,
        n: Width,
    },
    Bin {
        op: BinOp,
        n: Width,
    },
    Cmp {
        op: CmpOp,
        n: Width,
    },
    Zext {
        from: Width,
        to: Width,
    },
    Sext {
        from: Width,
        to: Width,
    },
    Extract {
        n: Width,
        lo: u32,
        len: Width,
    },
    Concat {
        hi_n: Width,
        lo_n: Width,
    },
    /// Operands in the order condition, then, otherwise.
    Select {
        n: Width,
    },
    AddFlags {
        n: Width,
    },
    LogicFlags {
        n: Width,
    },
    PackFlags,
    UnpackFlags,
    Cond {
        cond: Cond,
    },
    Lane {
        e: Width,
        i: u32,
    },
    SetLane {
        e: Width,
        i: u32,
    },
    Splat {
        e: Width,
    },
    VUn {
        op: VUnOp,
        e: Width,
    },
    VBin {
        op: VBinOp,
        e: Width,
    },
    VShift {
        op: VShiftOp,
        e: Width,
        amount: u32,
    },
    /// The indices are the third operand.
    Shuffle,
    VTern {
        op: VTernOp,
        e: Width,
    },
    FpUn {
        op: FpUnOp,
        fmt: FpFmt,
        lanes: u32,
    },
    FpBin {
        op: FpBinOp,
        fmt: FpFmt,
        lanes: u32,
    },
    /// The sum of the first operand and the product of the others, after changes of sign.
    FpFma {
        fmt: FpFmt,
        lanes: u32,
        negated: Negated,
    },
    FpCmp {
        op: FpCmpOp,
        fmt: FpFmt,
        lanes: u32,
    },
    FpCmpFlags {
        fmt: FpFmt,
        signaling: bool,
    },
    FpConvert {
        from: FpFmt,
        to: FpFmt,
        rounding: Rounding,
    },
    FpToInt {
        fmt: FpFmt,
        n: Width,
        signed: bool,
        fbits: u32,
        rounding: Rounding,
    },
    IntToFp {
        n: Width,
        signed: bool,
        fbits: u32,
        fmt: FpFmt,
    },
}

/// Which operands of a fused multiplication and addition have their signs changed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Negated {
    None,
    Addend,
    /// The first factor.
    Product,
    Both,
}

impl Negated {
    #[must_use]
    pub const fn new(addend: bool, product: bool) -> Self {
        match (addend, product) {
            (false, false) => Self::None,
            (true, false) => Self::Addend,
            (false, true) => Self::Product,
            (true, true) => Self::Both,
        }
    }

    #[must_use]
    pub const fn addend(self) -> bool {
        matches!(self, Self::Addend | Self::Both)
    }

    #[must_use]
    pub const fn product(self) -> bool {
        matches!(self, Self::Product | Self::Both)
    }
}

/// Enumerations without fields, by discriminant.
trait Code: Copy + 'static {
    const ALL: &'static [Self];
    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

macro_rules! code {
    ($($name:ident: $($variant:ident)+;)+) => {
        $(impl Code for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];
        })+
    };
}

code! {
    UnOp: Not Neg Clz Ctz Popcnt BitRev ByteRev;
    BinOp: Add Sub Mul UMulHi SMulHi UDiv SDiv And Or Xor Shl Shr Sar Ror;
    CmpOp: Eq Ne Ult Ule Slt Sle;
    Cond: Eq Ne Cs Cc Mi Pl Vs Vc Hi Ls Ge Lt Gt Le Al Nv;
    VUnOp: Neg Abs Popcnt Clz ZextLow SextLow Narrow NarrowSatSS NarrowSatUU NarrowSatSU AesSubShift AesInvSubShift
        AesMixColumns AesInvMixColumns;
    VBinOp: Add Sub Mul CmpEq CmpSgt CmpSge CmpUgt CmpUge SMin SMax UMin UMax SAddSat UAddSat SSubSat USubSat UAvgRound
        UAbd SAbd UMulLow SMulLow PMulLow AddPairs UShlVar SShlVar ZipLow ZipHigh UnzipEven UnzipOdd TransEven TransOdd
        Table SatDiff Sha1Choose Sha1Parity Sha1Majority Sha1Schedule Sha256Schedule0 Sha256Schedule1;
    VTernOp: Sha256Rounds;
    VShiftOp: Shl Shr Sar;
    FpFmt: F16 F32 F64;
    Rounding: Nearest Up Down Zero NearestAway Odd Dynamic;
    FpBinOp: Add Sub Mul Div Min Max MinNum MaxNum MulX RecipStep RsqrtStep Abd AddOdd MulOdd;
    FpCmpOp: Eq Ge Gt;
    Negated: None Addend Product Both;
}

impl EvalOp {
    /// The operation in 64 bits.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let bytes = match self {
            EvalOp::Un { op, n } => [0, op as u8, n as u8, 0, 0, 0],
            EvalOp::Bin { op, n } => [1, op as u8, n as u8, 0, 0, 0],
            EvalOp::Cmp { op, n } => [2, op as u8, n as u8, 0, 0, 0],
            EvalOp::Zext { from, to } => [3, from as u8, to as u8, 0, 0, 0],
            EvalOp::Sext { from, to } => [4, from as u8, to as u8, 0, 0, 0],
            EvalOp::Extract { n, lo, len } => [5, n as u8, lo as u8, len as u8, 0, 0],
            EvalOp::Concat { hi_n, lo_n } => [6, hi_n as u8, lo_n as u8, 0, 0, 0],
            EvalOp::Select { n } => [7, n as u8, 0, 0, 0, 0],
            EvalOp::AddFlags { n } => [8, n as u8, 0, 0, 0, 0],
            EvalOp::LogicFlags { n } => [9, n as u8, 0, 0, 0, 0],
            EvalOp::PackFlags => [10, 0, 0, 0, 0, 0],
            EvalOp::UnpackFlags => [11, 0, 0, 0, 0, 0],
            EvalOp::Cond { cond } => [12, cond as u8, 0, 0, 0, 0],
            EvalOp::Lane { e, i } => [13, e as u8, i as u8, 0, 0, 0],
            EvalOp::SetLane { e, i } => [14, e as u8, i as u8, 0, 0, 0],
            EvalOp::Splat { e } => [15, e as u8, 0, 0, 0, 0],
            EvalOp::VUn { op, e } => [16, op as u8, e as u8, 0, 0, 0],
            EvalOp::VBin { op, e } => [17, op as u8, e as u8, 0, 0, 0],
            EvalOp::VShift { op, e, amount } => [18, op as u8, e as u8, amount as u8, 0, 0],
            EvalOp::Shuffle => [19, 0, 0, 0, 0, 0],
            EvalOp::VTern { op, e } => [20, op as u8, e as u8, 0, 0, 0],
            EvalOp::FpUn { op, fmt, lanes } => {
                let (code, rounding, exact) = match op {
                    FpUnOp::Sqrt => (0, 0, false),
                    FpUnOp::RoundInt { rounding, exact } => (1, rounding as u8, exact),
                    FpUnOp::RecipEstimate => (2, 0, false),
                    FpUnOp::RsqrtEstimate => (3, 0, false),
                    FpUnOp::RecipExponent => (4, 0, false),
                };
                [21, code, fmt as u8, lanes as u8, rounding, exact as u8]
            }
            EvalOp::FpBin { op, fmt, lanes } => [22, op as u8, fmt as u8, lanes as u8, 0, 0],
            EvalOp::FpFma { fmt, lanes, negated } => [23, fmt as u8, lanes as u8, negated as u8, 0, 0],
            EvalOp::FpCmp { op, fmt, lanes } => [24, op as u8, fmt as u8, lanes as u8, 0, 0],
            EvalOp::FpCmpFlags { fmt, signaling } => [25, fmt as u8, signaling as u8, 0, 0, 0],
            EvalOp::FpConvert { from, to, rounding } => [26, from as u8, to as u8, rounding as u8, 0, 0],
            EvalOp::FpToInt { fmt, n, signed, fbits, rounding } => {
                [27, fmt as u8, n as u8, signed as u8, fbits as u8, rounding as u8]
            }
            EvalOp::IntToFp { n, signed, fbits, fmt } => [28, n as u8, signed as u8, fbits as u8, fmt as u8, 0],
        };
        let [a, b, c, d, e, f] = bytes;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The inverse of [`EvalOp::pack`]; `None` for what it cannot give.
    #[must_use]
    pub fn unpack(word: u64) -> Option<Self> {
        let [kind, a, b, c, d, e, ..] = word.to_le_bytes();
        let w = u32::from;
        Some(match kind {
            0 => EvalOp::Un { op: Code::of(a)?, n: w(b) },
            1 => EvalOp::Bin { op: Code::of(a)?, n: w(b) },
            2 => EvalOp::Cmp { op: Code::of(a)?, n: w(b) },
            3 => EvalOp::Zext { from: w(a), to: w(b) },
            4 => EvalOp::Sext { from: w(a), to: w(b) },
            5 => EvalOp::Extract { n: w(a), lo: w(b), len: w(c) },
            6 => EvalOp::Concat { hi_n: w(a), lo_n: w(b) },
            7 => EvalOp::Select { n: w(a) },
            8 => EvalOp::AddFlags { n: w(a) },
            9 => EvalOp::LogicFlags { n: w(a) },
            10 => EvalOp::PackFlags,
            11 => EvalOp::UnpackFlags,
            12 => EvalOp::Cond { cond: Code::of(a)? },
            13 => EvalOp::Lane { e: w(a), i: w(b) },
            14 => EvalOp::SetLane { e: w(a), i: w(b) },
            15 => EvalOp::Splat { e: w(a) },
            16 => EvalOp::VUn { op: Code::of(a)?, e: w(b) },
            17 => EvalOp::VBin { op: Code::of(a)?, e: w(b) },
            18 => EvalOp::VShift { op: Code::of(a)?, e: w(b), amount: w(c) },
            19 => EvalOp::Shuffle,
            20 => EvalOp::VTern { op: Code::of(a)?, e: w(b) },
            21 => {
                let op = match a {
                    0 => FpUnOp::Sqrt,
                    1 => FpUnOp::RoundInt { rounding: Code::of(d)?, exact: e != 0 },
                    2 => FpUnOp::RecipEstimate,
                    3 => FpUnOp::RsqrtEstimate,
                    4 => FpUnOp::RecipExponent,
                    _ => return None,
                };
                EvalOp::FpUn { op, fmt: Code::of(b)?, lanes: w(c) }
            }
            22 => EvalOp::FpBin { op: Code::of(a)?, fmt: Code::of(b)?, lanes: w(c) },
            23 => EvalOp::FpFma { fmt: Code::of(a)?, lanes: w(b), negated: Code::of(c)? },
            24 => EvalOp::FpCmp { op: Code::of(a)?, fmt: Code::of(b)?, lanes: w(c) },
            25 => EvalOp::FpCmpFlags { fmt: Code::of(a)?, signaling: b != 0 },
            26 => EvalOp::FpConvert { from: Code::of(a)?, to: Code::of(b)?, rounding: Code::of(c)? },
            27 => EvalOp::FpToInt { fmt: Code::of(a)?, n: w(b), signed: c != 0, fbits: w(d), rounding: Code::of(e)? },
            28 => EvalOp::IntToFp { n: w(a), signed: b != 0, fbits: w(c), fmt: Code::of(d)? },
            _ => return None,
        })
    }

    /// Whether the operation depends on the floating-point environment or changes it.
    #[must_use]
    pub const fn uses_fp_env(self) -> bool {
        matches!(
            self,
            EvalOp::FpUn { .. }
                | EvalOp::FpBin { .. }
                | EvalOp::FpFma { .. }
                | EvalOp::FpCmp { .. }
                | EvalOp::FpCmpFlags { .. }
                | EvalOp::FpConvert { .. }
                | EvalOp::FpToInt { .. }
                | EvalOp::IntToFp { .. }
        )
    }

    /// Performs the operation on as many of `args` as it has operands.
    #[must_use]
    pub fn eval(self, env: &mut FpEnv, args: [u128; 3]) -> u128 {
        let [a, b, c] = args;
        match self {
            EvalOp::Un { op, n } => super::un(op, n, a),
            EvalOp::Bin { op, n } => super::bin(op, n, a, b),
            EvalOp::Cmp { op, n } => super::cmp(op, n, a, b),
            EvalOp::Zext { from, to } => super::zext(from, to, a),
            EvalOp::Sext { from, to } => super::sext(from, to, a),
            EvalOp::Extract { n, lo, len } => super::extract(n, a, lo, len),
            EvalOp::Concat { hi_n, lo_n } => super::concat(hi_n, a, lo_n, b),
            EvalOp::Select { n } => super::select(a, b, c) & mask(if n == crate::emit::FLAGS { 4 } else { n }),
            EvalOp::AddFlags { n } => super::add_flags(n, a, b, c),
            EvalOp::LogicFlags { n } => super::logic_flags(n, a),
            EvalOp::PackFlags | EvalOp::UnpackFlags => a & 15,
            EvalOp::Cond { cond } => super::cond(a, cond),
            EvalOp::Lane { e, i } => super::lane(e, a, i),
            EvalOp::SetLane { e, i } => super::set_lane(e, a, i, b),
            EvalOp::Splat { e } => super::splat(e, a),
            EvalOp::VUn { op, e } => super::vun(op, e, a),
            EvalOp::VBin { op, e } => super::vbin(op, e, a, b),
            EvalOp::VShift { op, e, amount } => super::vshift(op, e, a, amount),
            EvalOp::Shuffle => super::shuffle(a, b, c.to_le_bytes()),
            EvalOp::VTern { op, e } => super::vtern(op, e, a, b, c),
            EvalOp::FpUn { op, fmt, lanes } => fp::un(env, op, fmt, lanes, a),
            EvalOp::FpBin { op, fmt, lanes } => fp::bin(env, op, fmt, lanes, a, b),
            EvalOp::FpFma { fmt, lanes, negated } => {
                let sign = super::splat(fmt.width(), 1 << (fmt.width() - 1));
                let change = |v: u128, yes: bool| if yes { v ^ sign } else { v };
                fp::fma(env, fmt, lanes, change(a, negated.addend()), change(b, negated.product()), c)
            }
            EvalOp::FpCmp { op, fmt, lanes } => fp::cmp(env, op, fmt, lanes, a, b),
            EvalOp::FpCmpFlags { fmt, signaling } => fp::cmp_flags(env, fmt, signaling, a, b),
            EvalOp::FpConvert { from, to, rounding } => fp::convert(env, from, to, rounding, a),
            EvalOp::FpToInt { fmt, n, signed, fbits, rounding } => fp::to_int(env, fmt, n, signed, fbits, rounding, a),
            EvalOp::IntToFp { n, signed, fbits, fmt } => fp::from_int(env, n, signed, fbits, fmt, a),
        }
    }
}

/// The fallback of translated code, see [`crate::runtime::SlowPaths::eval`]. `rt` is the running vCPU's runtime.
#[allow(clippy::not_unsafe_ptr_arg_deref, reason = "called from translated code only, through a plain pointer type")]
pub extern "sysv64" fn eval_entry(rt: *mut Runtime, op: u64) -> HelperRet {
    // SAFETY: translated code passes its own vCPU's runtime, which nothing else refers to while that code runs;
    // only the three fields used here are borrowed.
    let (env, scratch, events) = unsafe { (&mut (*rt).fp, &mut (*rt).scratch, &(*rt).events) };
    let before = env.raised;
    let result = EvalOp::unpack(op).map_or(0, |op| op.eval(env, [scratch[0], scratch[1], scratch[2]]));
    scratch[0] = result;
    if env.control & FpEnv::FLUSH != 0 && env.raised & !before & FpEnv::INEXACT != 0 {
        events.fetch_or(event::INEXACT, Ordering::Relaxed);
    }
    HelperRet { value: result as u64, status: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every<T: Code>(f: impl Fn(T) -> EvalOp) -> Vec<EvalOp> {
        T::ALL.iter().map(|&op| f(op)).collect()
    }

    #[test]
    fn packing_round_trips() {
        let fmt = FpFmt::F64;
        let mut ops = every(|op| EvalOp::Un { op, n: 64 });
        ops.extend(every(|op| EvalOp::Bin { op, n: 128 }));
        ops.extend(every(|op| EvalOp::Cmp { op, n: 8 }));
        ops.extend(every(|cond| EvalOp::Cond { cond }));
        ops.extend(every(|op| EvalOp::VUn { op, e: 8 }));
        ops.extend(every(|op| EvalOp::VBin { op, e: 32 }));
        ops.extend(every(|op| EvalOp::VShift { op, e: 16, amount: 16 }));
        ops.extend(every(|op| EvalOp::VTern { op, e: 32 }));
        ops.extend(every(|op| EvalOp::FpBin { op, fmt, lanes: 2 }));
        ops.extend(every(|op| EvalOp::FpCmp { op, fmt, lanes: 2 }));
        ops.extend(every(|fmt| EvalOp::FpFma { fmt, lanes: 1, negated: Negated::Both }));
        ops.extend(every(|negated| EvalOp::FpFma { fmt, lanes: 2, negated }));
        ops.extend(every(|rounding| EvalOp::FpConvert { from: FpFmt::F16, to: FpFmt::F32, rounding }));
        ops.extend(every(|rounding| EvalOp::FpToInt { fmt, n: 32, signed: true, fbits: 31, rounding }));
        ops.extend(every(|rounding| EvalOp::FpUn { op: FpUnOp::RoundInt { rounding, exact: true }, fmt, lanes: 4 }));
        for op in [FpUnOp::Sqrt, FpUnOp::RecipEstimate, FpUnOp::RsqrtEstimate, FpUnOp::RecipExponent] {
            ops.push(EvalOp::FpUn { op, fmt, lanes: 1 });
        }
        ops.extend([
            EvalOp::Zext { from: 1, to: 128 },
            EvalOp::Sext { from: 1, to: 128 },
            EvalOp::Extract { n: 128, lo: 127, len: 1 },
            EvalOp::Concat { hi_n: 1, lo_n: 63 },
            EvalOp::Select { n: 0 },
            EvalOp::AddFlags { n: 64 },
            EvalOp::LogicFlags { n: 32 },
            EvalOp::PackFlags,
            EvalOp::UnpackFlags,
            EvalOp::Lane { e: 8, i: 15 },
            EvalOp::SetLane { e: 8, i: 15 },
            EvalOp::Splat { e: 32 },
            EvalOp::Shuffle,
            EvalOp::FpCmpFlags { fmt, signaling: true },
            EvalOp::IntToFp { n: 64, signed: false, fbits: 64, fmt },
        ]);
        for op in ops {
            assert_eq!(EvalOp::unpack(op.pack()), Some(op));
            assert_eq!(op.pack() & 255 >= crate::jit::ir::FIRST_FP, op.uses_fp_env(), "{op:?}");
        }
        assert_eq!(EvalOp::unpack(0xff), None);
    }
}
