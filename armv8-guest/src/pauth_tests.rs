//! Pointer authentication (Arm ARM, D8.10): the description's functions for codes, and pointers with them.

use crate::isa::outlined::{pac_code, pac_insert_lower, pac_insert_upper, pac_remove_lower, pac_remove_upper};

const BIT_55: u64 = 1 << 55;

/// 48 bits in both halves; the lower half's top byte is a tag; mostly upper.
const HOW: u64 = how(48 << 6 | 48 | 0b0101 << 12, true);
const DATA: u64 = 1 << 16;
const B_KEY: u64 = 1 << 17;
/// Here only, where the functions have nothing: which of them is meant.
const UPPER: u64 = 1 << 18;
const KERNEL: u64 = 0xffff_8000_1234_5678;
const USER: u64 = 0x0000_7fff_1234_5678;

/// The bits that are not address, in one half.
const fn field(how: u64, upper: bool) -> u64 {
    let bottom = how >> if upper { 6 } else { 0 } & 63;
    let tag = how >> (12 + (how >> 16 & 1) * 2 + upper as u64) & 1;
    (u64::MAX >> (8 * tag)) & (u64::MAX << bottom)
}

/// As `pac_how` of the description packs it, for a level that usually has pointers of that half.
const fn how(geometry: u64, upper: bool) -> u64 {
    geometry | if upper { UPPER } else { 0 } | field(geometry, upper)
}

fn insert(pointer: u64, how: u64) -> u64 {
    let insert = if how & UPPER != 0 { pac_insert_upper } else { pac_insert_lower };
    insert(pointer, 1, 2, 3, how)
}
fn remove(pointer: u64, how: u64) -> u64 {
    let remove = if how & UPPER != 0 { pac_remove_upper } else { pac_remove_lower };
    remove(pointer, 1, 2, 3, how)
}

#[test]
fn codes_go_into_fields_and_out_again() {
    for geometry in [0x5c30, 0x5c30 | DATA, 0xc30, 0xfc30, 39 << 6 | 36] {
        let hows = [how(geometry, false), how(geometry, true)];
        for pointer in [0xffff_fff0_1234_5678, USER & 0xf_ffff_ffff, 0, u64::MAX] {
            for how in hows {
                let signed = insert(pointer, how);
                assert_eq!(remove(signed, how), pointer, "{pointer:x} {how:x}");
                assert_eq!((signed ^ pointer) & ((1 << 36) - 1), 0);
                assert_eq!((signed ^ pointer) & BIT_55, 0);
                let code = pac_code(pointer, 1, 2, 3);
                assert_eq!((signed ^ code) & field(how, pointer & BIT_55 != 0) & !BIT_55, 0);
            }
            // Which half is the usual one makes no difference.
            let signed = hows.map(|how| insert(pointer, how));
            assert_eq!(signed[0], signed[1]);
            let broken = signed[0] ^ 1 << 54;
            assert_eq!(remove(broken, hows[0]), remove(broken, hows[1]));
            assert_ne!(remove(broken, hows[0]), pointer);
        }
    }
    let tagged = USER | 0xab << 56;
    assert_eq!(insert(tagged, HOW) >> 56, 0xab);
    assert_eq!(remove(insert(tagged, HOW), HOW), tagged);
    assert_eq!(insert(USER, how(0xc30, true)) & !(0xff7f << 48), USER);
}

/// The codes themselves: guests never see how they are made, but a change of the function should be meant.
#[test]
fn codes_are_a_folded_product() {
    for (value, modifier, low, high) in [(KERNEL, 1, 2, 3_u64), (USER, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef)] {
        let other = modifier ^ high ^ 0x9e37_79b9_7f4a_7c15;
        let product = u128::from((value ^ low).rotate_left(32)) * u128::from(other);
        assert_eq!(pac_code(value, modifier, low, high), product as u64 ^ (product >> 64) as u64);
    }
}

#[test]
fn codes_depend_on_everything() {
    let code = pac_code(KERNEL, 1, 2, 3);
    for other in [(KERNEL ^ 8, 1, 2, 3), (KERNEL, 0, 2, 3), (KERNEL, 1, 0, 3), (KERNEL, 1, 2, 1 << 63)] {
        let (value, modifier, low, high) = other;
        assert_ne!(pac_code(value, modifier, low, high) >> 48, code >> 48);
    }
}

#[test]
fn a_wrong_code_tells_the_key() {
    let signed = insert(KERNEL, HOW) ^ 1 << 60;
    assert_eq!(remove(signed, HOW), 0xbfff_8000_1234_5678);
    assert_eq!(remove(signed, HOW | B_KEY), 0xdfff_8000_1234_5678);
    let signed = insert(USER, HOW) ^ 1 << 50;
    assert_eq!(remove(signed, HOW), 0x0020_7fff_1234_5678);
    assert_eq!(remove(signed, HOW | B_KEY), 0x0040_7fff_1234_5678);
}

#[test]
fn what_is_not_canonical_gets_a_wrong_code() {
    for pointer in [KERNEL ^ 1 << 48, USER ^ 1 << 50] {
        let removed = remove(insert(pointer, HOW), HOW);
        let upper = removed & BIT_55 != 0;
        let field = field(HOW, upper);
        assert_ne!(removed & field, if upper { field } else { 0 }, "{pointer:x}");
    }
    // Without tags the highest bit decides which half is meant.
    assert_eq!(insert(1 << 63 | USER, how(0xc30, true)) & BIT_55, BIT_55);
}
