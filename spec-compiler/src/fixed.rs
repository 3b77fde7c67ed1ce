//! Arithmetic on fixed values: what the compiler does when it evaluates a description, and what generated code does
//! while it translates an instruction.
//!
//! The text of this file is also part of every generated file, so that the compiler's constant folding and the
//! generated translators cannot differ. It therefore depends on nothing. A bit vector of width `n` (1..=64 or 128)
//! is a `u128` with the excess bits zero; operations are modulo 2^n. Flags are the four bits N:Z:C:V.

/// The low `n` bits set.
#[must_use]
pub const fn mask(n: u32) -> u128 {
    if n >= 128 { u128::MAX } else { (1 << n) - 1 }
}

#[must_use]
pub const fn add(n: u32, a: u128, b: u128) -> u128 {
    a.wrapping_add(b) & mask(n)
}

#[must_use]
pub const fn sub(n: u32, a: u128, b: u128) -> u128 {
    a.wrapping_sub(b) & mask(n)
}

#[must_use]
pub const fn mul(n: u32, a: u128, b: u128) -> u128 {
    a.wrapping_mul(b) & mask(n)
}

#[must_use]
pub const fn neg(n: u32, a: u128) -> u128 {
    a.wrapping_neg() & mask(n)
}

#[must_use]
pub const fn not(n: u32, a: u128) -> u128 {
    !a & mask(n)
}

/// The value as a signed number.
#[must_use]
pub const fn signed(n: u32, a: u128) -> i128 {
    let unused = 128 - n;
    ((a << unused) as i128) >> unused
}

#[must_use]
pub const fn sext(from: u32, to: u32, a: u128) -> u128 {
    signed(from, a) as u128 & mask(to)
}

/// High `n` bits of the unsigned product (`n` at most 64).
#[must_use]
pub const fn umulh(n: u32, a: u128, b: u128) -> u128 {
    (a.wrapping_mul(b) >> n) & mask(n)
}

/// High `n` bits of the signed product (`n` at most 64).
#[must_use]
pub const fn smulh(n: u32, a: u128, b: u128) -> u128 {
    (signed(n, a).wrapping_mul(signed(n, b)) >> n) as u128 & mask(n)
}

#[must_use]
pub const fn udiv(a: u128, b: u128) -> u128 {
    match a.checked_div(b) {
        Some(q) => q,
        None => 0,
    }
}

#[must_use]
pub const fn sdiv(n: u32, a: u128, b: u128) -> u128 {
    if b == 0 { 0 } else { signed(n, a).wrapping_div(signed(n, b)) as u128 & mask(n) }
}

/// Shifts by a fixed `int`; amounts of `n` and more give 0 or the sign, negative ones nothing sensible (0).
#[must_use]
pub const fn shl(n: u32, a: u128, k: i64) -> u128 {
    if k < 0 || k >= n as i64 { 0 } else { (a << k) & mask(n) }
}

#[must_use]
pub const fn shr(n: u32, a: u128, k: i64) -> u128 {
    if k < 0 || k >= n as i64 { 0 } else { a >> k }
}

#[must_use]
pub const fn sar(n: u32, a: u128, k: i64) -> u128 {
    let k = if k < 0 || k >= n as i64 { n as i64 - 1 } else { k };
    (signed(n, a) >> k) as u128 & mask(n)
}

#[must_use]
pub const fn ror(n: u32, a: u128, k: i64) -> u128 {
    let k = k.rem_euclid(n as i64);
    if k == 0 { a } else { ((a >> k) | (a << (n as i64 - k))) & mask(n) }
}

/// An amount that is a bit vector, taken modulo the width.
#[must_use]
pub const fn amount(n: u32, b: u128) -> i64 {
    (b % n as u128) as i64
}

/// Bits `lo..lo+len`.
#[must_use]
pub const fn extract(a: u128, lo: i64, len: u32) -> u128 {
    if lo < 0 || lo >= 128 { 0 } else { (a >> lo) & mask(len) }
}

/// `a` with the `len` bits from `lo` on replaced.
#[must_use]
pub const fn insert(a: u128, lo: i64, len: u32, piece: u128) -> u128 {
    if lo < 0 || lo >= 128 { a } else { (a & !(mask(len) << lo)) | (piece << lo) }
}

/// `hi:lo`, with `lo` of `lo_n` bits.
#[must_use]
pub const fn concat(hi: u128, lo_n: u32, lo: u128) -> u128 {
    if lo_n >= 128 { lo } else { (hi << lo_n) | lo }
}

/// `count` copies of a value of `n` bits.
#[must_use]
pub const fn replicate(n: u32, a: u128, count: i64) -> u128 {
    let mut r = 0;
    let mut i = 0;
    while i < count {
        r = concat(r, n, a);
        i += 1;
    }
    r
}

#[must_use]
pub const fn clz(n: u32, a: u128) -> u128 {
    (a.leading_zeros() - (128 - n)) as u128
}

#[must_use]
pub const fn ctz(n: u32, a: u128) -> u128 {
    if a == 0 { n as u128 } else { a.trailing_zeros() as u128 }
}

#[must_use]
pub const fn popcount(a: u128) -> u128 {
    a.count_ones() as u128
}

#[must_use]
pub const fn bit_reverse(n: u32, a: u128) -> u128 {
    a.reverse_bits() >> (128 - n)
}

#[must_use]
pub const fn byte_reverse(n: u32, a: u128) -> u128 {
    a.swap_bytes() >> (128 - n)
}

/// Lane `i` of `e` bits, replacing it, and all lanes the same.
#[must_use]
pub const fn lane(e: u32, a: u128, i: i64) -> u128 {
    extract(a, i * e as i64, e)
}

#[must_use]
pub const fn set_lane(e: u32, a: u128, i: i64, piece: u128) -> u128 {
    insert(a, i * e as i64, e, piece)
}

#[must_use]
pub const fn splat(e: u32, piece: u128) -> u128 {
    replicate(e, piece, 128 / e as i64)
}

/// Floor of the binary logarithm; 0 for what has none.
#[must_use]
pub const fn log2(i: i64) -> i64 {
    if i <= 0 { 0 } else { i.ilog2() as i64 }
}

/// N:Z:C:V of `a + b + carry`.
#[must_use]
pub const fn add_flags(n: u32, a: u128, b: u128, carry: u128) -> u128 {
    let r = add(n, add(n, a, b), carry);
    let sign = 1 << (n - 1);
    let c = a + b + carry > mask(n);
    let v = (a ^ r) & (b ^ r) & sign != 0;
    logic_flags(n, r) | (c as u128) << 1 | v as u128
}

/// N and Z of `a`.
#[must_use]
pub const fn logic_flags(n: u32, a: u128) -> u128 {
    (a >> (n - 1) & 1) << 3 | ((a == 0) as u128) << 2
}

/// Whether N:Z:C:V satisfy the condition with that 4-bit encoding.
#[must_use]
pub const fn cond_holds(nzcv: u128, cc: i64) -> bool {
    let n = nzcv & 8 != 0;
    let z = nzcv & 4 != 0;
    let c = nzcv & 2 != 0;
    let v = nzcv & 1 != 0;
    let base = match cc >> 1 & 7 {
        0 => z,
        1 => c,
        2 => n,
        3 => v,
        4 => c && !z,
        5 => n == v,
        6 => n == v && !z,
        _ => return true,
    };
    base != (cc & 1 != 0)
}
