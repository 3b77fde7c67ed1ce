//! Pointer authentication (Arm ARM, D8.10): codes, and pointers with them.
//!
//! The bits of a pointer that are not address are its field: those above what is translated, except for a tag. Bit 55 is one of them
//! and says which half of the address space is meant; the others hold the code. The function that computes codes is the
//! implementation's choice. This one takes a few cycles: it keeps mistakes and simple forgeries out, but it is no cipher.

const BIT_55: u64 = 1 << 55;

/// Both halves of a 128-bit product, XORed.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The code of a value under a modifier and a key.
#[must_use]
pub fn pac_code(value: u64, modifier: u64, low: u64, high: u64) -> u64 {
    let mixed = fold(value ^ low, modifier ^ high.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
    fold(mixed ^ high, low ^ 0xd6e8_feb8_6659_fd93)
}

/// What `pac_how` of the description packs: where fields begin in the lower half (6 bits) and the upper one, whether there are tags
/// (for instructions in the lower and the upper half, for data in both), whether this is about data, about a B key, and whether
/// pointers are mostly of the upper half. The bits above are the field in that half.
#[derive(Clone, Copy)]
struct How(u64);

impl How {
    const fn data(self) -> bool {
        self.0 >> 16 & 1 != 0
    }
    const fn b_key(self) -> bool {
        self.0 >> 17 & 1 != 0
    }
    const fn mostly_upper(self) -> bool {
        self.0 >> 18 & 1 != 0
    }
    const fn usual_field(self) -> u64 {
        self.0 & !0xff_ffff
    }
    const fn tagged(self, upper: bool) -> bool {
        self.0 >> (12 + 2 * self.data() as u32 + upper as u32) & 1 != 0
    }
    /// The highest bit of the field, and the field.
    const fn field(self, upper: bool) -> (u32, u64) {
        let bottom = self.0 >> if upper { 6 } else { 0 } & 63;
        let top = if self.tagged(upper) { 55 } else { 63 };
        (top, (u64::MAX >> (63 - top)) & (u64::MAX << bottom))
    }
}

/// The pointer with its field all like bit 55.
const fn plain(pointer: u64, field: u64, upper: bool) -> u64 {
    if upper { pointer | field } else { pointer & !field }
}

/// The pointer with its code. One whose field is no sign extension gets a code that is wrong.
#[must_use]
pub fn pac_insert(pointer: u64, modifier: u64, low: u64, high: u64, how: u64) -> u64 {
    let how = How(how);
    let field = how.usual_field();
    if plain(pointer, field, how.mostly_upper()) != pointer {
        return insert_any(pointer, modifier, low, high, how);
    }
    let place = field & !BIT_55;
    pointer & !place | pac_code(pointer, modifier, low, high) & place
}

#[cold]
fn insert_any(pointer: u64, modifier: u64, low: u64, high: u64, how: How) -> u64 {
    // Where no byte is a tag the highest bit says which half is meant.
    let sign = if how.tagged(false) || how.tagged(true) { 55 } else { 63 };
    let upper = pointer >> sign & 1 != 0;
    let (top, field) = how.field(upper);
    let plain = plain(pointer, field, upper);
    let code = pac_code(plain, modifier, low, high);
    let code = if plain == pointer { code } else { code ^ 1 << (top - 1) };
    let place = field & !BIT_55;
    plain & !place | code & place
}

/// The pointer without its code. One with a wrong code is made one that does not translate, and tells the key.
#[must_use]
pub fn pac_remove(pointer: u64, modifier: u64, low: u64, high: u64, how: u64) -> u64 {
    let how = How(how);
    let field = how.usual_field();
    let plain = plain(pointer, field, how.mostly_upper());
    let wrong = pac_code(plain, modifier, low, high) ^ pointer;
    // Bit 55 is in both, unless the pointer is of the other half.
    if (wrong & (field & !BIT_55)) | ((plain ^ pointer) & BIT_55) == 0 {
        return plain;
    }
    remove_any(pointer, modifier, low, high, how)
}

#[cold]
fn remove_any(pointer: u64, modifier: u64, low: u64, high: u64, how: How) -> u64 {
    let upper = pointer & BIT_55 != 0;
    let (top, field) = how.field(upper);
    let plain = plain(pointer, field, upper);
    if (pac_code(plain, modifier, low, high) ^ pointer) & field & !BIT_55 == 0 {
        return plain;
    }
    let error = if how.b_key() { 2 } else { 1 };
    plain & !(3 << (top - 2)) | error << (top - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 48 bits in both halves; the lower half's top byte is a tag; mostly upper.
    const HOW: u64 = how(48 << 6 | 48 | 0b0101 << 12, true);
    const DATA: u64 = 1 << 16;
    const B_KEY: u64 = 1 << 17;
    const KERNEL: u64 = 0xffff_8000_1234_5678;
    const USER: u64 = 0x0000_7fff_1234_5678;

    const fn how(geometry: u64, upper: bool) -> u64 {
        let packed = geometry | (upper as u64) << 18;
        packed | How(packed).field(upper).1
    }

    fn insert(pointer: u64, how: u64) -> u64 {
        pac_insert(pointer, 1, 2, 3, how)
    }
    fn remove(pointer: u64, how: u64) -> u64 {
        pac_remove(pointer, 1, 2, 3, how)
    }

    #[test]
    fn codes_go_into_fields_and_out_again() {
        let geometries = [0x5c30, 0x5c30 | DATA, 0xc30, 0xfc30, 39 << 6 | 36];
        for how in geometries.into_iter().flat_map(|g| [how(g, false), how(g, true)]) {
            for pointer in [0xffff_fff0_1234_5678, USER & 0xf_ffff_ffff, 0, u64::MAX] {
                let signed = insert(pointer, how);
                assert_eq!(remove(signed, how), pointer, "{pointer:x} {how:x}");
                assert_eq!((signed ^ pointer) & ((1 << 36) - 1), 0);
                assert_eq!((signed ^ pointer) & BIT_55, 0);
                assert_eq!(signed, insert_any(pointer, 1, 2, 3, How(how)));
                let broken = signed ^ 1 << 54;
                assert_eq!(remove(broken, how), remove_any(broken, 1, 2, 3, How(how)));
            }
        }
        let tagged = USER | 0xab << 56;
        assert_eq!(insert(tagged, HOW) >> 56, 0xab);
        assert_eq!(remove(insert(tagged, HOW), HOW), tagged);
        assert_eq!(insert(USER, how(0xc30, true)) & !(0xff7f << 48), USER);
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
            let (_, field) = How(HOW).field(upper);
            assert_ne!(removed, plain(removed, field, upper), "{pointer:x}");
        }
        // Without tags the highest bit decides which half is meant.
        assert_eq!(insert(1 << 63 | USER, how(0xc30, true)) & BIT_55, BIT_55);
    }
}
