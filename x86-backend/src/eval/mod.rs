//! Reference semantics of the operations of [`crate::emit::Emit`], as pure functions.
//!
//! One definition serves the interpreter, the constant folding of the IR builder, the fallback that translated code
//! calls ([`entry`]) and the tests of the emitted code. Every value is a `u128` whose bits above its width are zero;
//! every function is total: an argument outside an operation's domain gives some value, never a panic. Names and
//! arguments are those of the trait. Floating point ([`fp`]) takes the guest's environment besides.

mod aes;
pub mod entry;
pub mod fp;
mod sha;
mod vector;

pub use vector::{lane, set_lane, shuffle, splat, vbin, vshift, vtern, vun};

use crate::emit::{AtomicOp, BinOp, CmpOp, Cond, UnOp, Width};

/// The low `n` bits set.
#[inline]
#[must_use]
pub const fn mask(n: Width) -> u128 {
    if n >= 128 { u128::MAX } else { (1 << n) - 1 }
}

/// The value of `a` (of width `n`) read as a signed number.
#[inline]
#[must_use]
pub const fn signed(n: Width, a: u128) -> i128 {
    if n == 0 || n >= 128 {
        return a as i128;
    }
    ((a << (128 - n)) as i128) >> (128 - n)
}

#[inline]
#[must_use]
pub fn un(op: UnOp, n: Width, a: u128) -> u128 {
    let a = a & mask(n);
    match op {
        UnOp::Not => !a & mask(n),
        UnOp::Neg => a.wrapping_neg() & mask(n),
        UnOp::Clz => u128::from(n.saturating_sub(128 - a.leading_zeros())),
        UnOp::Ctz => u128::from(a.trailing_zeros().min(n)),
        UnOp::Popcnt => u128::from(a.count_ones()),
        UnOp::BitRev => a.reverse_bits().checked_shr(128u32.saturating_sub(n)).unwrap_or(0),
        UnOp::ByteRev => a.swap_bytes().checked_shr(128u32.saturating_sub(n)).unwrap_or(0),
    }
}

#[inline]
#[must_use]
pub fn bin(op: BinOp, n: Width, a: u128, b: u128) -> u128 {
    let (a, b) = (a & mask(n), b & mask(n));
    let amount = (b % u128::from(n.max(1))) as u32;
    let r = match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::UMulHi => a.wrapping_mul(b).checked_shr(n).unwrap_or(0),
        BinOp::SMulHi => signed(n, a).wrapping_mul(signed(n, b)).checked_shr(n).unwrap_or(0) as u128,
        BinOp::UDiv => a.checked_div(b).unwrap_or(0),
        BinOp::SDiv if b == 0 => 0,
        BinOp::SDiv => signed(n, a).wrapping_div(signed(n, b)) as u128,
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl => a << amount,
        BinOp::Shr => a >> amount,
        BinOp::Sar => (signed(n, a) >> amount) as u128,
        BinOp::Ror if amount == 0 => a,
        BinOp::Ror => (a >> amount) | (a << (n - amount)),
    };
    r & mask(n)
}

#[inline]
#[must_use]
pub fn cmp(op: CmpOp, n: Width, a: u128, b: u128) -> u128 {
    let (a, b) = (a & mask(n), b & mask(n));
    u128::from(match op {
        CmpOp::Eq => a == b,
        CmpOp::Ne => a != b,
        CmpOp::Ult => a < b,
        CmpOp::Ule => a <= b,
        CmpOp::Slt => signed(n, a) < signed(n, b),
        CmpOp::Sle => signed(n, a) <= signed(n, b),
    })
}

#[inline]
#[must_use]
pub fn zext(from: Width, to: Width, a: u128) -> u128 {
    a & mask(from) & mask(to)
}

#[inline]
#[must_use]
pub fn sext(from: Width, to: Width, a: u128) -> u128 {
    signed(from, a) as u128 & mask(to)
}

#[inline]
#[must_use]
pub fn extract(n: Width, a: u128, lo: u32, len: Width) -> u128 {
    (a & mask(n)).checked_shr(lo).unwrap_or(0) & mask(len)
}

#[inline]
#[must_use]
pub fn concat(hi_n: Width, hi: u128, lo_n: Width, lo: u128) -> u128 {
    (hi & mask(hi_n)).checked_shl(lo_n).unwrap_or(0) | (lo & mask(lo_n))
}

/// `c ? a : b`.
#[inline]
#[must_use]
pub fn select(c: u128, a: u128, b: u128) -> u128 {
    if c & 1 != 0 { a } else { b }
}

/// N:Z:C:V of `a + b + carry_in`.
#[inline]
#[must_use]
pub fn add_flags(n: Width, a: u128, b: u128, carry_in: u128) -> u128 {
    let n = n.clamp(1, 64);
    let (a, b) = (a & mask(n), b & mask(n));
    let sum = a + b + (carry_in & 1);
    let r = sum & mask(n);
    let overflow = !(a ^ b) & (a ^ r);
    let top = n - 1;
    ((r >> top) << 3) | (u128::from(r == 0) << 2) | ((sum >> n) << 1) | ((overflow >> top) & 1)
}

/// N:Z:0:0 of `a`.
#[inline]
#[must_use]
pub fn logic_flags(n: Width, a: u128) -> u128 {
    let a = a & mask(n);
    (extract(n, a, n.saturating_sub(1), 1) << 3) | (u128::from(a == 0) << 2)
}

/// Whether `cond` holds for the flags N:Z:C:V.
#[inline]
#[must_use]
pub fn cond(nzcv: u128, cond: Cond) -> u128 {
    let n = nzcv & 8 != 0;
    let z = nzcv & 4 != 0;
    let c = nzcv & 2 != 0;
    let v = nzcv & 1 != 0;
    u128::from(match cond {
        Cond::Eq => z,
        Cond::Ne => !z,
        Cond::Cs => c,
        Cond::Cc => !c,
        Cond::Mi => n,
        Cond::Pl => !n,
        Cond::Vs => v,
        Cond::Vc => !v,
        Cond::Hi => c && !z,
        Cond::Ls => !c || z,
        Cond::Ge => n == v,
        Cond::Lt => n != v,
        Cond::Gt => !z && n == v,
        Cond::Le => z || n != v,
        Cond::Al | Cond::Nv => true,
    })
}

/// The value an atomic read-modify-write leaves in memory.
#[inline]
#[must_use]
pub fn atomic(op: AtomicOp, n: Width, old: u128, operand: u128) -> u128 {
    let (old, operand) = (old & mask(n), operand & mask(n));
    let (s_old, s_operand) = (signed(n, old), signed(n, operand));
    match op {
        AtomicOp::Swap => operand,
        AtomicOp::Add => old.wrapping_add(operand) & mask(n),
        AtomicOp::Clear => old & !operand,
        AtomicOp::Xor => old ^ operand,
        AtomicOp::Or => old | operand,
        AtomicOp::SMax => s_old.max(s_operand) as u128 & mask(n),
        AtomicOp::SMin => s_old.min(s_operand) as u128 & mask(n),
        AtomicOp::UMax => old.max(operand),
        AtomicOp::UMin => old.min(operand),
    }
}

#[cfg(test)]
mod tests;
