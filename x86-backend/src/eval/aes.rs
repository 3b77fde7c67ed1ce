//! The pieces of AES rounds (FIPS 197) on the 16-byte state, column-major as in the standard.
//!
//! The S-box is computed at compile time from its definition: inversion in GF(2^8), then the affine map.

/// Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn gf_mul(mut a: u8, mut b: u8) -> u8 {
    let mut r = 0;
    while b != 0 {
        if b & 1 != 0 {
            r ^= a;
        }
        a = (a << 1) ^ (if a & 0x80 != 0 { 0x1b } else { 0 });
        b >>= 1;
    }
    r
}

/// x^254: the inverse, and 0 for 0.
const fn gf_inverse(x: u8) -> u8 {
    let mut r = 1;
    let mut square = x;
    let mut i = 1;
    while i < 8 {
        square = gf_mul(square, square);
        r = gf_mul(r, square);
        i += 1;
    }
    r
}

const SBOX: [u8; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = gf_inverse(i as u8);
        t[i] = x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        i += 1;
    }
    t
};

const INV_SBOX: [u8; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        t[SBOX[i] as usize] = i as u8;
        i += 1;
    }
    t
};

/// ShiftRows and SubBytes.
pub(super) fn sub_shift(state: u128) -> u128 {
    let s = state.to_le_bytes();
    // Row r of column c comes from column c + r.
    u128::from_le_bytes(core::array::from_fn(|i| SBOX[s[(i + 4 * (i % 4)) % 16] as usize]))
}

/// InvShiftRows and InvSubBytes.
pub(super) fn inv_sub_shift(state: u128) -> u128 {
    let s = state.to_le_bytes();
    u128::from_le_bytes(core::array::from_fn(|i| INV_SBOX[s[(i + 12 * (i % 4)) % 16] as usize]))
}

fn mix(state: u128, factors: [u8; 4]) -> u128 {
    let s = state.to_le_bytes();
    u128::from_le_bytes(core::array::from_fn(|i| {
        let column = i & !3;
        (0..4).fold(0, |sum, k| sum ^ gf_mul(s[column + (i + k) % 4], factors[k]))
    }))
}

pub(super) fn mix_columns(state: u128) -> u128 {
    mix(state, [2, 3, 1, 1])
}

pub(super) fn inv_mix_columns(state: u128) -> u128 {
    mix(state, [14, 11, 13, 9])
}
