//! The semantics against independent formulations.

use super::*;
use crate::emit::{VBinOp, VShiftOp, VUnOp};
use proptest::prelude::*;

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(8u32), Just(16), Just(32), Just(64)]
}

/// Uniform bits, or a pattern near a boundary.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), (0u32..64).prop_map(|i| 1 << i), (0u32..64).prop_map(|i| u64::MAX >> i), 0u64..4]
}

fn bytes_of(a: u128) -> [u8; 16] {
    a.to_le_bytes()
}

proptest! {
    #[test]
    fn scalar_operations_are_those_of_machine_integers(a in value(), b in value()) {
        let (wa, wb) = (u128::from(a), u128::from(b));
        let (a32, b32) = (a as u32, b as u32);
        let u64_ = |op| bin(op, 64, wa, wb) as u64;
        let u32_ = |op| bin(op, 32, wa, wb) as u32;
        prop_assert_eq!(u64_(BinOp::Add), a.wrapping_add(b));
        prop_assert_eq!(u32_(BinOp::Sub), a32.wrapping_sub(b32));
        prop_assert_eq!(u64_(BinOp::Mul), a.wrapping_mul(b));
        prop_assert_eq!(u32_(BinOp::UMulHi), ((u64::from(a32) * u64::from(b32)) >> 32) as u32);
        prop_assert_eq!(u64_(BinOp::SMulHi), ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64);
        prop_assert_eq!(u64_(BinOp::UDiv), a.checked_div(b).unwrap_or(0));
        let quotient = if b32 == 0 { 0 } else { (a32 as i32).wrapping_div(b32 as i32) };
        prop_assert_eq!(u32_(BinOp::SDiv), quotient as u32);
        prop_assert_eq!(u32_(BinOp::Shl), a32.wrapping_shl(b32));
        prop_assert_eq!(u64_(BinOp::Shr), a.wrapping_shr(b as u32));
        prop_assert_eq!(u32_(BinOp::Sar), (a32 as i32).wrapping_shr(b32) as u32);
        prop_assert_eq!(u32_(BinOp::Ror), a32.rotate_right(b32 % 32));
        prop_assert_eq!(cmp(CmpOp::Slt, 32, wa, wb), u128::from((a32 as i32) < b32 as i32));
        prop_assert_eq!(cmp(CmpOp::Ule, 64, wa, wb), u128::from(a <= b));
        prop_assert_eq!(un(UnOp::Clz, 32, wa), u128::from(a32.leading_zeros()));
        prop_assert_eq!(un(UnOp::Ctz, 32, wa), u128::from(a32.trailing_zeros()));
        prop_assert_eq!(un(UnOp::BitRev, 32, wa), u128::from(a32.reverse_bits()));
        prop_assert_eq!(un(UnOp::ByteRev, 16, wa), u128::from((a as u16).swap_bytes()));
        prop_assert_eq!(un(UnOp::Neg, 64, wa) as u64, a.wrapping_neg());
        prop_assert_eq!(sext(32, 64, wa) as u64, a32 as i32 as u64);
        prop_assert_eq!(concat(32, wa, 32, wb) as u64, (u64::from(a32) << 32) | u64::from(b32));
        prop_assert_eq!(extract(64, wa, 7, 9) as u64, (a >> 7) & 0x1ff);
    }

    #[test]
    fn flags_order_numbers_after_a_subtraction(n in width(), a in value(), b in value()) {
        let (a, b) = (u128::from(a) & mask(n), u128::from(b) & mask(n));
        let f = add_flags(n, a, un(UnOp::Not, n, b), 1);
        let holds = |c| cond(f, c) != 0;
        prop_assert_eq!(holds(Cond::Eq), a == b);
        prop_assert_eq!(holds(Cond::Cs), a >= b);
        prop_assert_eq!(holds(Cond::Hi), a > b);
        prop_assert_eq!(holds(Cond::Ls), a <= b);
        prop_assert_eq!(holds(Cond::Ge), signed(n, a) >= signed(n, b));
        prop_assert_eq!(holds(Cond::Gt), signed(n, a) > signed(n, b));
        prop_assert_eq!(holds(Cond::Lt), signed(n, a) < signed(n, b));
        prop_assert_eq!(holds(Cond::Le), signed(n, a) <= signed(n, b));
        prop_assert_eq!(logic_flags(n, a) & 0b1100, add_flags(n, a, 0, 0) & 0b1100);
    }

    #[test]
    fn byte_vectors_are_arrays(a in any::<u128>(), b in any::<u128>()) {
        let (x, y) = (bytes_of(a), bytes_of(b));
        let zip = |f: fn(u8, u8) -> u8| u128::from_le_bytes(core::array::from_fn(|i| f(x[i], y[i])));
        prop_assert_eq!(vbin(VBinOp::Add, 8, a, b), zip(u8::wrapping_add));
        prop_assert_eq!(vbin(VBinOp::UAddSat, 8, a, b), zip(u8::saturating_add));
        prop_assert_eq!(vbin(VBinOp::SSubSat, 8, a, b), zip(|p, q| (p as i8).saturating_sub(q as i8) as u8));
        prop_assert_eq!(vbin(VBinOp::SAbd, 8, a, b), zip(|p, q| (p as i8).abs_diff(q as i8)));
        prop_assert_eq!(vbin(VBinOp::UAvgRound, 8, a, b), zip(|p, q| p.midpoint(q) + ((p ^ q) & 1)));
        prop_assert_eq!(vbin(VBinOp::CmpSgt, 8, a, b), zip(|p, q| if (p as i8) > q as i8 { 255 } else { 0 }));
        let shifts = zip(|p, q| match q as i8 {
            s @ 0..8 => p << s,
            s @ -7..0 => p >> -s,
            _ => 0,
        });
        prop_assert_eq!(vbin(VBinOp::UShlVar, 8, a, b), shifts);
        let identity: [u8; 16] = core::array::from_fn(|i| i as u8);
        prop_assert_eq!(shuffle(a, b, identity), a);
        prop_assert_eq!(shuffle(a, b, identity.map(|i| i + 16)), b);
        prop_assert_eq!(shuffle(a, b, [32; 16]), 0);
    }

    #[test]
    fn permutations_agree_with_each_other(e in width(), a in any::<u128>(), b in any::<u128>()) {
        let v = |op, a, b| vbin(op, e, a, b);
        let (low, high) = (v(VBinOp::ZipLow, a, b), v(VBinOp::ZipHigh, a, b));
        prop_assert_eq!(v(VBinOp::UnzipEven, low, high), a);
        prop_assert_eq!(v(VBinOp::UnzipOdd, low, high), b);
        let (even, odd) = (v(VBinOp::TransEven, a, b), v(VBinOp::TransOdd, a, b));
        prop_assert_eq!(v(VBinOp::TransEven, even, odd), a);
        prop_assert_eq!(v(VBinOp::TransOdd, even, odd), b);
        let sums = v(VBinOp::Add, v(VBinOp::UnzipEven, a, b), v(VBinOp::UnzipOdd, a, b));
        prop_assert_eq!(v(VBinOp::AddPairs, a, b), sums);
        for i in 0..128 / e {
            prop_assert_eq!(lane(e, set_lane(e, a, i, b), i), b & mask(e));
            prop_assert_eq!(lane(e, splat(e, b), i), b & mask(e));
        }
    }

    #[test]
    fn widening_and_narrowing_are_inverse(a in any::<u128>(), e in prop_oneof![Just(8u32), Just(16), Just(32)]) {
        let low = a & mask(64);
        for (widen, narrow) in
            [(VUnOp::ZextLow, VUnOp::NarrowSatUU), (VUnOp::SextLow, VUnOp::NarrowSatSS), (VUnOp::ZextLow, VUnOp::Narrow)]
        {
            prop_assert_eq!(vun(narrow, 2 * e, vun(widen, e, a)), low);
        }
        let product = vbin(VBinOp::SMulLow, e, a, a);
        let wide = vun(VUnOp::SextLow, e, a);
        prop_assert_eq!(product, vbin(VBinOp::Mul, 2 * e, wide, wide));
        prop_assert_eq!(vshift(VShiftOp::Sar, e, a, e), vbin(VBinOp::CmpSgt, e, 0, a));
    }

    #[test]
    fn aes_pieces_have_inverses(a in any::<u128>()) {
        prop_assert_eq!(vun(VUnOp::AesInvSubShift, 8, vun(VUnOp::AesSubShift, 8, a)), a);
        prop_assert_eq!(vun(VUnOp::AesInvMixColumns, 8, vun(VUnOp::AesMixColumns, 8, a)), a);
    }
}

/// The cipher example of FIPS 197, appendix B, round 1.
#[test]
fn aes_round_of_the_standard() {
    let start = 0x193d_e3be_a0f4_e22b_9ac6_8d2a_e9f8_4808_u128.swap_bytes();
    let after_shift = 0xd4bf_5d30_e0b4_52ae_b841_11f1_1e27_98e5_u128.swap_bytes();
    let after_mix = 0x0466_81e5_e0cb_199a_48f8_d37a_2806_264c_u128.swap_bytes();
    assert_eq!(vun(VUnOp::AesSubShift, 8, start), after_shift);
    assert_eq!(vun(VUnOp::AesMixColumns, 8, after_shift), after_mix);
}

#[test]
fn carryless_products() {
    // (x + 1)(x + 1) = x^2 + 1
    assert_eq!(vbin(VBinOp::PMulLow, 64, 3, 3), 5);
    assert_eq!(vbin(VBinOp::PMulLow, 8, 0x0303, 0x0503), 0x000f_0005);
}
