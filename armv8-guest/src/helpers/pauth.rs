//! Authentication codes in pointers, in all generality; the usual case is written out in the description (`pauth.isa`, which also
//! says what a field is and where codes come from).

use crate::isa::Cpu;
use crate::mmu::Regime;

const BIT_55: u64 = 1 << 55;

/// The field of the pointers of one half, and its highest bit.
fn field(regime: &Regime, upper: bool, data: bool) -> (u64, u32) {
    let top = if regime.tag_ignored(upper, data) { 55 } else { 63 };
    ((u64::MAX >> (63 - top)) & (u64::MAX << regime.input_bits(upper)), top)
}

/// The pointer with its field all like bit 55.
fn plain(pointer: u64, field: u64, upper: bool) -> u64 {
    if upper { pointer | field } else { pointer & !field }
}

/// A pointer whose field is no sign extension gets a code that is wrong.
pub fn pac_insert(cpu: &mut Cpu, pointer: u64, code: u64, data: u64) -> u64 {
    let regime = Regime::of(&cpu.state);
    let data = data != 0;
    // Where no byte is a tag the highest bit says which half is meant.
    let sign = if regime.tag_ignored(false, data) || regime.tag_ignored(true, data) { 55 } else { 63 };
    let upper = pointer >> sign & 1 != 0;
    let (field, top) = field(&regime, upper, data);
    let plain = plain(pointer, field, upper);
    let spoilt = if plain == pointer { code } else { code ^ 1 << (top - 1) };
    plain ^ (spoilt & field & !BIT_55)
}

/// A pointer with a wrong code is made one that does not translate, and tells the key.
pub fn pac_remove(cpu: &mut Cpu, pointer: u64, code: u64, data: u64, b_key: u64) -> u64 {
    let regime = Regime::of(&cpu.state);
    let upper = pointer & BIT_55 != 0;
    let (field, top) = field(&regime, upper, data != 0);
    let plain = plain(pointer, field, upper);
    if plain ^ (code & field & !BIT_55) == pointer {
        return plain;
    }
    let error = if b_key != 0 { 2 } else { 1 };
    plain & !(3 << (top - 2)) | error << (top - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    const CODE: u64 = 0x5a5a_5a5a_5a5a_5a5a;
    const KERNEL: u64 = 0xffff_8000_1234_5678;
    const USER: u64 = 0x0000_7fff_1234_5678;

    /// 48 bits in both halves; the lower half's top byte is a tag.
    fn machine() -> Machine {
        let mut m = Machine::new();
        m.cpu.state.tcr_el1 = 16 | 16 << 16 | 1 << 37;
        m
    }

    #[test]
    fn codes_go_into_fields_and_out_again() {
        let mut m = machine();
        let signed = pac_insert(&mut m.cpu, KERNEL, CODE, 0);
        assert_eq!(signed, 0xa5a5_8000_1234_5678);
        assert_eq!(pac_remove(&mut m.cpu, signed, CODE, 0, 0), KERNEL);
        let tagged = USER | 0xab << 56;
        let signed = pac_insert(&mut m.cpu, tagged, CODE, 0);
        assert_eq!(signed, 0xab5a_7fff_1234_5678);
        assert_eq!(pac_remove(&mut m.cpu, signed, CODE, 0, 1), tagged);
        // Instruction pointers without tags.
        m.cpu.state.tcr_el1 |= 1 << 51;
        let signed = pac_insert(&mut m.cpu, USER, CODE, 0);
        assert_eq!(signed, 0x5a5a_7fff_1234_5678);
        assert_eq!(pac_remove(&mut m.cpu, signed, CODE, 0, 1), USER);
        assert_eq!(pac_insert(&mut m.cpu, USER, CODE, 1), 0x005a_7fff_1234_5678);
    }

    #[test]
    fn a_wrong_code_tells_the_key() {
        let mut m = machine();
        let signed = pac_insert(&mut m.cpu, KERNEL, CODE, 0);
        assert_eq!(pac_remove(&mut m.cpu, signed ^ 1 << 60, CODE, 0, 0), 0xbfff_8000_1234_5678);
        assert_eq!(pac_remove(&mut m.cpu, signed ^ 1 << 60, CODE, 0, 1), 0xdfff_8000_1234_5678);
        let signed = pac_insert(&mut m.cpu, USER, CODE, 1);
        assert_eq!(pac_remove(&mut m.cpu, signed, !CODE, 1, 0), 0x0020_7fff_1234_5678);
        assert_eq!(pac_remove(&mut m.cpu, signed, !CODE, 1, 1), 0x0040_7fff_1234_5678);
    }

    #[test]
    fn what_is_not_canonical_gets_a_wrong_code() {
        let mut m = machine();
        for pointer in [KERNEL ^ 1 << 48, USER ^ 1 << 50] {
            let signed = pac_insert(&mut m.cpu, pointer, CODE, 0);
            let removed = pac_remove(&mut m.cpu, signed, CODE, 0, 0);
            assert_ne!(removed, plain(pointer, 0xff << 48, removed & BIT_55 != 0));
        }
        // Without tags the highest bit decides which half is meant, and its field is filled.
        m.cpu.state.tcr_el1 &= !(1 << 37);
        let signed = pac_insert(&mut m.cpu, 1 << 63 | USER, 0, 0);
        assert_eq!(signed & BIT_55, BIT_55);
    }
}
