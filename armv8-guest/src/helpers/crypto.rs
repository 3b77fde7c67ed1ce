//! Rounds of SHA1, SHA256 and SM4 as the cryptographic instructions define them (Arm ARM, C7.2).
//!
//! A vector is a `u128` whose lane 0 is the lowest; the hash states have their first word in lane 0. All functions are
//! pure: they may be called, merged or dropped at will.

fn words(v: u128) -> [u32; 4] {
    core::array::from_fn(|i| (v >> (32 * i)) as u32)
}

fn vector(w: [u32; 4]) -> u128 {
    w.iter().rev().fold(0, |v, w| (v << 32) | u128::from(*w))
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    z ^ (x & (y ^ z))
}

fn majority(x: u32, y: u32, z: u32) -> u32 {
    (x & y) | ((x | y) & z)
}

fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

/// Four rounds of SHA1 on the state `abcd` and `e`; `wk` holds the schedule plus the round constant.
fn sha1_rounds(f: fn(u32, u32, u32) -> u32, abcd: u128, e: u64, wk: u128) -> u128 {
    let [mut a, mut b, mut c, mut d] = words(abcd);
    let mut e = e as u32;
    for w in words(wk) {
        let t = e.wrapping_add(a.rotate_left(5)).wrapping_add(f(b, c, d)).wrapping_add(w);
        (a, b, c, d, e) = (t, a, b.rotate_left(30), c, d);
    }
    vector([a, b, c, d])
}

/// SHA1C.
pub fn sha1_choose(abcd: u128, e: u64, wk: u128) -> u128 {
    sha1_rounds(choose, abcd, e, wk)
}

/// SHA1P.
pub fn sha1_parity(abcd: u128, e: u64, wk: u128) -> u128 {
    sha1_rounds(parity, abcd, e, wk)
}

/// SHA1M.
pub fn sha1_majority(abcd: u128, e: u64, wk: u128) -> u128 {
    sha1_rounds(majority, abcd, e, wk)
}

/// Four rounds of SHA256; gives the new `abcd` and `efgh`.
fn sha256_rounds(abcd: u128, efgh: u128, wk: u128) -> (u128, u128) {
    let [mut a, mut b, mut c, mut d] = words(abcd);
    let [mut e, mut f, mut g, mut h] = words(efgh);
    for w in words(wk) {
        let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = h.wrapping_add(sigma1).wrapping_add(choose(e, f, g)).wrapping_add(w);
        let u = sigma0.wrapping_add(majority(a, b, c));
        (a, b, c, d, e, f, g, h) = (t.wrapping_add(u), a, b, c, d.wrapping_add(t), e, f, g);
    }
    (vector([a, b, c, d]), vector([e, f, g, h]))
}

/// SHA256H.
pub fn sha256_hash(abcd: u128, efgh: u128, wk: u128) -> u128 {
    sha256_rounds(abcd, efgh, wk).0
}

/// SHA256H2.
pub fn sha256_hash2(efgh: u128, abcd: u128, wk: u128) -> u128 {
    sha256_rounds(abcd, efgh, wk).1
}

/// SHA256SU0: the schedule's words 0..4 plus sigma0 of words 1..5.
pub fn sha256_schedule0(w0: u128, w4: u128) -> u128 {
    let w = words(w0);
    let next = words((w4 << 96) | (w0 >> 32));
    vector(core::array::from_fn(|i| {
        let x = next[i];
        w[i].wrapping_add(x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3))
    }))
}

/// SHA256SU1: adds words 9..13 and sigma1 of words 14..18, of which the last two are this function's first two results.
pub fn sha256_schedule1(d: u128, w8: u128, w12: u128) -> u128 {
    let sigma1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
    let mut r = words(d);
    let w9 = words((w12 << 96) | (w8 >> 32));
    let w12 = words(w12);
    for i in 0..4 {
        let x = if i < 2 { w12[i + 2] } else { r[i - 2] };
        r[i] = r[i].wrapping_add(w9[i]).wrapping_add(sigma1(x));
    }
    vector(r)
}

/// The SM4 substitution: an affine map, the inverse in GF(2^8) modulo x^8+x^7+x^6+x^5+x^4+x^2+1, and the map again.
const fn sm4_table() -> [u8; 256] {
    const fn affine(x: u8) -> u8 {
        let mut r = 0xd3;
        let mut bit = 0;
        while bit < 8 {
            let row = 0xa7u8.rotate_left(bit);
            if (x & row).count_ones() & 1 != 0 {
                r ^= 1 << bit;
            }
            bit += 1;
        }
        r
    }
    const fn product(a: u8, b: u8) -> u8 {
        let mut r = 0u16;
        let mut i = 0;
        while i < 8 {
            if b >> i & 1 != 0 {
                r ^= (a as u16) << i;
            }
            i += 1;
        }
        let mut i = 15;
        while i >= 8 {
            if r >> i & 1 != 0 {
                r ^= 0x1f5 << (i - 8);
            }
            i -= 1;
        }
        r as u8
    }
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = affine(i as u8);
        // x^254 is the inverse, and 0 for 0.
        let mut inverse = 1;
        let mut square = x;
        let mut k = 0;
        while k < 7 {
            square = product(square, square);
            inverse = product(inverse, square);
            k += 1;
        }
        table[i] = affine(inverse);
        i += 1;
    }
    table
}

static SM4_TABLE: [u8; 256] = sm4_table();

/// Four rounds of SM4 with the linear map `mix`; the newest word of the state is in lane 3.
fn sm4_rounds(state: u128, keys: u128, mix: fn(u32) -> u32) -> u128 {
    words(keys).iter().fold(state, |state, key| {
        let s = words(state);
        let t = (s[1] ^ s[2] ^ s[3] ^ key).to_le_bytes().map(|b| SM4_TABLE[usize::from(b)]);
        (state >> 32) | (u128::from(s[0] ^ mix(u32::from_le_bytes(t))) << 96)
    })
}

/// SM4E.
pub fn sm4_encrypt(state: u128, keys: u128) -> u128 {
    sm4_rounds(state, keys, |x| x ^ x.rotate_left(2) ^ x.rotate_left(10) ^ x.rotate_left(18) ^ x.rotate_left(24))
}

/// SM4EKEY.
pub fn sm4_key(state: u128, constants: u128) -> u128 {
    sm4_rounds(state, constants, |x| x ^ x.rotate_left(13) ^ x.rotate_left(23))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: u128, b: u128) -> u128 {
        let (a, b) = (words(a), words(b));
        vector(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }

    fn block(message: &[u8]) -> [u128; 4] {
        let mut bytes = [0u8; 64];
        bytes[..message.len()].copy_from_slice(message);
        bytes[message.len()] = 0x80;
        bytes[62..].copy_from_slice(&(message.len() as u16 * 8).to_be_bytes());
        core::array::from_fn(|v| {
            vector(core::array::from_fn(|w| {
                let at = 16 * v + 4 * w;
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            }))
        })
    }

    /// FIPS 180 example "abc", with the instructions in the order in which software uses them.
    #[test]
    fn sha1_of_abc() {
        const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
        let mut w = block(b"abc");
        let start = vector([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]);
        let mut abcd = start;
        let mut e: u32 = 0xc3d2_e1f0;
        for step in 0..20 {
            let f = [sha1_choose, sha1_parity, sha1_majority, sha1_parity][step / 5];
            let next_e = words(abcd)[0].rotate_left(30);
            abcd = f(abcd, u64::from(e), add(w[0], vector([K[step / 5]; 4])));
            e = next_e;
            // Schedule: the words 16..20 from 0..16.
            let x: [u32; 16] = core::array::from_fn(|i| words(w[i / 4])[i % 4]);
            let mut new = [0; 4];
            for i in 0..4 {
                let w13 = if i < 3 { x[13 + i] } else { new[0] };
                new[i] = (x[i] ^ x[i + 2] ^ x[i + 8] ^ w13).rotate_left(1);
            }
            w = [w[1], w[2], w[3], vector(new)];
        }
        assert_eq!(words(add(abcd, start)), [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c]);
        assert_eq!(e.wrapping_add(0xc3d2_e1f0), 0x9cd0_d89d);
    }

    fn root_fraction(prime: u64, cube: bool) -> u32 {
        // First 32 fraction bits of the root: the greatest r with r^2 <= prime * 2^64, or r^3 <= prime * 2^96.
        let (mut lo, mut hi) = (0u128, 1u128 << 36);
        while hi - lo > 1 {
            let r = (lo + hi) / 2;
            let below = if cube { r * r * r <= u128::from(prime) << 96 } else { r * r <= u128::from(prime) << 64 };
            if below { lo = r } else { hi = r }
        }
        lo as u32
    }

    #[test]
    fn sha256_of_abc() {
        let primes: Vec<u64> = (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
        let h: Vec<u32> = primes[..8].iter().map(|p| root_fraction(*p, false)).collect();
        let k: Vec<u32> = primes.iter().map(|p| root_fraction(*p, true)).collect();
        let start = (vector([h[0], h[1], h[2], h[3]]), vector([h[4], h[5], h[6], h[7]]));
        let (mut abcd, mut efgh) = start;
        let mut w = block(b"abc");
        for step in 0..16 {
            let wk = add(w[0], vector(core::array::from_fn(|i| k[4 * step + i])));
            (abcd, efgh) = (sha256_hash(abcd, efgh, wk), sha256_hash2(efgh, abcd, wk));
            let new = sha256_schedule1(sha256_schedule0(w[0], w[1]), w[2], w[3]);
            w = [w[1], w[2], w[3], new];
        }
        assert_eq!(words(add(abcd, start.0)), [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223]);
        assert_eq!(words(add(efgh, start.1)), [0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad]);
    }

    /// The example of GB/T 32907-2016: key and plaintext are the same.
    #[test]
    fn sm4_example() {
        let text = vector([0x0123_4567, 0x89ab_cdef, 0xfedc_ba98, 0x7654_3210]);
        let mut key = text ^ vector([0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc]);
        let mut state = text;
        for step in 0..8u32 {
            let constants = vector(core::array::from_fn(|i| {
                u32::from_be_bytes(core::array::from_fn(|j| ((4 * (4 * step + i as u32) + j as u32) * 7) as u8))
            }));
            key = sm4_key(key, constants);
            state = sm4_encrypt(state, key);
        }
        let [a, b, c, d] = words(state);
        assert_eq!([d, c, b, a], [0x681e_df34, 0xd206_965e, 0x86b3_e94f, 0x536e_4246]);
    }
}
