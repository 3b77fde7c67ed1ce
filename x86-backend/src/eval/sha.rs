//! Rounds and message schedules of SHA-1 and SHA-256 (FIPS 180-4) on vectors of four words.

use super::lane;

fn words(v: u128) -> [u32; 4] {
    core::array::from_fn(|i| lane(32, v, i as u32) as u32)
}

fn vector(words: [u32; 4]) -> u128 {
    words.iter().rev().fold(0, |v, w| v << 32 | u128::from(*w))
}

/// `Ch`, `Parity` and `Maj` of the standard.
pub(super) fn choose(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (!x & z)
}
pub(super) fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}
pub(super) fn majority(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (x & z) ^ (y & z)
}

/// Four rounds of SHA-1 on a, b, c, d in lanes 3 to 0 with one of the functions above. Lanes 3 to 0 of `inputs` are what the
/// rounds add besides: words of the schedule with their constants, and e in the first.
pub(super) fn sha1_rounds(f: fn(u32, u32, u32) -> u32, state: u128, inputs: u128) -> u128 {
    let [mut d, mut c, mut b, mut a] = words(state);
    let mut e = 0;
    for input in words(inputs).into_iter().rev() {
        let t = a.rotate_left(5).wrapping_add(f(b, c, d)).wrapping_add(e).wrapping_add(input);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, t);
    }
    vector([d, c, b, a])
}

/// Words of the SHA-1 schedule, the first in lane 3: `sums` are the three words each that are XORed, without those that this
/// operation makes, and `last` the four words before.
pub(super) fn sha1_schedule(sums: u128, last: u128) -> u128 {
    let (s, w) = (words(sums), words(last));
    let first = (s[3] ^ w[2]).rotate_left(1);
    vector([(s[0] ^ first).rotate_left(1), (s[1] ^ w[0]).rotate_left(1), (s[2] ^ w[1]).rotate_left(1), first])
}

/// Two rounds of SHA-256. Lanes 3 to 0 of `abef` are a, b, e, f; of `cdgh` c, d, g, h. Lanes 0 and 1 of `inputs` are the
/// schedule's words plus their constants. The result is a, b, e, f after the rounds; c, d, g, h are then what `abef` was.
pub(super) fn sha256_rounds(abef: u128, cdgh: u128, inputs: u128) -> u128 {
    let ([mut f, mut e, mut b, mut a], [mut h, mut g, mut d, mut c]) = (words(abef), words(cdgh));
    for input in &words(inputs)[..2] {
        let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = h.wrapping_add(sigma1).wrapping_add(choose(e, f, g)).wrapping_add(*input);
        let u = sigma0.wrapping_add(majority(a, b, c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t), c, b, a, t.wrapping_add(u));
    }
    vector([f, e, b, a])
}

/// The first half of four words of the SHA-256 schedule: the words sixteen places before, in `words0`, plus sigma0 of those
/// after them, of which the fourth is in lane 0 of `words4`.
pub(super) fn sha256_schedule0(words0: u128, words4: u128) -> u128 {
    let ([a, b, c, d], e) = (words(words0), words(words4)[0]);
    let sigma0 = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
    vector([(a, b), (b, c), (c, d), (d, e)].map(|(w, x)| w.wrapping_add(sigma0(x))))
}

/// The second half: `sums` plus sigma1 of the words two places before, which are lanes 2 and 3 of `last` and the first two of
/// the result.
pub(super) fn sha256_schedule1(sums: u128, last: u128) -> u128 {
    let (s, w) = (words(sums), words(last));
    let sigma1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
    let (a, b) = (s[0].wrapping_add(sigma1(w[2])), s[1].wrapping_add(sigma1(w[3])));
    vector([a, b, s[2].wrapping_add(sigma1(a)), s[3].wrapping_add(sigma1(b))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first 32 bits of the fractional parts of the `n`-th roots of the first primes.
    fn roots<const COUNT: usize>(n: u32) -> [u32; COUNT] {
        let mut primes = (2u128..).filter(|p| (2..*p).all(|d| p % d != 0));
        core::array::from_fn(|_| {
            let p = primes.next().unwrap() << (32 * n);
            let root = (0..38).rev().fold(0u128, |r, bit| if (r | 1 << bit).pow(n) <= p { r | 1 << bit } else { r });
            root as u32
        })
    }

    /// The block of the message "abc".
    const ABC: [u32; 16] = [0x6162_6380, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24];

    fn add(a: u128, b: u128) -> u128 {
        let (a, b) = (words(a), words(b));
        vector(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
    fn reverse(v: u128) -> u128 {
        let [a, b, c, d] = words(v);
        vector([d, c, b, a])
    }
    fn vectors<const N: usize>(words: &[u32]) -> [u128; N] {
        core::array::from_fn(|i| vector(core::array::from_fn(|k| words[4 * i + k])))
    }

    #[test]
    fn sha256_of_abc() {
        let (constants, start): ([u32; 64], [u32; 8]) = (roots(3), roots(2));
        let constants: [u128; 16] = vectors(&constants);
        let mut w: [u128; 4] = vectors(&ABC);
        let [a, b, c, d, e, f, g, h] = start;
        let (mut abef, mut cdgh) = (vector([f, e, b, a]), vector([h, g, d, c]));
        for k in constants {
            let inputs = add(w[0], k);
            (abef, cdgh) = (sha256_rounds(abef, cdgh, inputs), abef);
            (abef, cdgh) = (sha256_rounds(abef, cdgh, inputs >> 64), abef);
            let sums = add(sha256_schedule0(w[0], w[1]), w[2] >> 32 | w[3] << 96);
            w = [w[1], w[2], w[3], sha256_schedule1(sums, w[3])];
        }
        let ([f, e, b, a], [h, g, d, c]) = (words(abef), words(cdgh));
        let sums: [u32; 8] = core::array::from_fn(|i| start[i].wrapping_add([a, b, c, d, e, f, g, h][i]));
        let digest =
            [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad];
        assert_eq!(sums, digest);
    }

    #[test]
    fn sha1_of_abc() {
        let mut w: [u128; 4] = vectors(&ABC);
        let [a, b, c, d, mut e] = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        let start = vector([d, c, b, a]);
        let mut state = start;
        type Function = fn(u32, u32, u32) -> u32;
        let quarters: [(Function, u32); 4] =
            [(choose, 0x5a82_7999), (parity, 0x6ed9_eba1), (majority, 0x8f1b_bcdc), (parity, 0xca62_c1d6)];
        for (f, k) in quarters.into_iter().flat_map(|quarter| [quarter; 5]) {
            let inputs = add(add(reverse(w[0]), vector([k; 4])), vector([0, 0, 0, e]));
            e = words(state)[3].rotate_left(30);
            state = sha1_rounds(f, state, inputs);
            let sums = w[0] ^ (w[0] >> 64 | w[1] << 64) ^ w[2];
            w = [w[1], w[2], w[3], reverse(sha1_schedule(reverse(sums), reverse(w[3])))];
        }
        let [d, c, b, a] = words(add(state, start));
        let digest = [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c, 0x9cd0_d89d];
        assert_eq!([a, b, c, d, e.wrapping_add(0xc3d2_e1f0)], digest);
    }

    proptest! {
        /// Against the rounds as SHA256H and SHA256H2 of the Arm manual have them, on the state in its own order.
        #[test]
        fn four_rounds(start: [u32; 8], inputs: u128) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = start;
            let second = sha256_rounds(vector([f, e, b, a]), vector([h, g, d, c]), inputs);
            let fourth = sha256_rounds(second, vector([f, e, b, a]), inputs >> 64);
            for w in words(inputs) {
                let choice = g ^ (e & (f ^ g));
                let majority = (a & b) | ((a | b) & c);
                let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
                let sigma0 = a.rotate_left(30) ^ a.rotate_left(19) ^ a.rotate_left(10);
                let t = [h, sigma1, choice, w].into_iter().fold(0, u32::wrapping_add);
                [a, b, c, d, e, f, g, h] =
                    [t.wrapping_add(sigma0).wrapping_add(majority), a, b, c, d.wrapping_add(t), e, f, g];
            }
            prop_assert_eq!((words(fourth), words(second)), ([f, e, b, a], [h, g, d, c]));
        }

        /// Against the schedule's definition, word by word.
        #[test]
        fn schedules(start: [u32; 16]) {
            let mut w = start.to_vec();
            let mut x = w.clone();
            for t in 16..20 {
                let sigma0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
                let sigma1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
                w.push([sigma0, sigma1, w[t - 16], w[t - 7]].into_iter().fold(0, u32::wrapping_add));
                x.push((x[t - 3] ^ x[t - 8] ^ x[t - 14] ^ x[t - 16]).rotate_left(1));
            }
            let v: [u128; 4] = vectors(&start);
            let sums = add(sha256_schedule0(v[0], v[1]), v[2] >> 32 | v[3] << 96);
            prop_assert_eq!(&words(sha256_schedule1(sums, v[3]))[..], &w[16..]);
            let sums = reverse(v[0] ^ (v[0] >> 64 | v[1] << 64) ^ v[2]);
            prop_assert_eq!(&words(reverse(sha1_schedule(sums, reverse(v[3]))))[..], &x[16..]);
        }
    }
}
