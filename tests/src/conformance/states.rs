//! States for instructions: registers full of values at which results change their kind, and addresses near memory.

use super::words::{self, Operands};
use super::{Case, MEMORY, MEMORY_SIZE, SLOTS};

/// A small generator with good enough bits, xorshift64* (Vigna, 2016).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1 | 1);
        for _ in 0..8 {
            rng.word();
        }
        rng
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.word() >> 16) as usize % n
    }

    fn lanes(&mut self, width: u32, mut lane: impl FnMut(&mut Self) -> u64) -> u128 {
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        (0..128 / width).fold(0, |v, _| v << width | u128::from(lane(self) & mask))
    }

    /// An integer: small, extreme, one bit, a run of bits, anything.
    pub fn integer(&mut self) -> u64 {
        let k = self.below(64) as u32;
        match self.below(10) {
            0 => self.below(4) as u64,
            1 => (self.below(4) as u64).wrapping_neg(),
            2 => 1 << k,
            3 => (1u64 << k).wrapping_sub(1),
            4 => (i64::MIN >> k) as u64,
            5 => 0x8000_0000 + self.below(3) as u64 - 1,
            6 => self.word() & 0xffff_ffff,
            7 => (self.word() as i32 as i64) as u64,
            _ => self.word(),
        }
    }

    /// Zeros, infinities, NaNs, limits of formats and integers, in lanes.
    pub fn vector(&mut self) -> u128 {
        const F64: &[u64] = &[
            0,
            1 << 63,
            0x7ff << 52,
            0xfff << 52,
            0x7ff8_0000_0000_0001,
            0x7ff0_0000_0000_0001,
            0xfff4_0000_0000_0000,
            0x3ff0_0000_0000_0000,
            0xbff0_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x0010_0000_0000_0000,
            0x000f_ffff_ffff_ffff,
            1,
            0x4000_0000_0000_0000,
            0x3fe0_0000_0000_0000,
            0x41df_ffff_ffc0_0000,
            0x41e0_0000_0000_0000,
            0x43e0_0000_0000_0000,
            0xc1e0_0000_0000_0000,
            0x43ef_ffff_ffff_ffff,
            0x4330_0000_0000_0001,
            0x3ff8_0000_0000_0000,
            0x4004_0000_0000_0000,
            0x3680_0000_0000_0000,
            0x47ef_ffff_e000_0000,
            0x3810_0000_0000_0000,
            0x380f_ffff_ffff_ffff,
        ];
        const F32: &[u64] = &[
            0,
            1 << 31,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0001,
            0x7f80_0001,
            0xffa0_0000,
            0x3f80_0000,
            0xbf80_0000,
            0x7f7f_ffff,
            0x0080_0000,
            0x007f_ffff,
            1,
            0x4000_0000,
            0x3f00_0000,
            0x4eff_ffff,
            0x4f00_0000,
            0x5f00_0000,
            0xcf00_0000,
            0x4b00_0001,
            0x3fc0_0000,
            0x8000_0001,
            0x7f7f_8000,
            0x3380_0000,
            0x477f_e000,
            0x387f_c000,
        ];
        const F16: &[u64] = &[
            0, 0x8000, 0x7c00, 0xfc00, 0x7e01, 0x7c01, 0xfd00, 0x3c00, 0xbc00, 0x7bff, 0x0400, 0x03ff, 1, 0x4000,
            0x3800, 0x7fff, 0x8001, 0xffff, 0x00ff, 0x0100, 0x7f80, 0x7fc0, 0xff80,
        ];
        const I8: &[u64] = &[0, 1, 0x7f, 0x80, 0xff, 2, 0x40, 0xc0, 8, 7, 0xf8];
        match self.below(13) {
            0 | 1 => self.lanes(64, Self::word),
            2 => self.lanes(64, |r| F64[r.below(F64.len())]),
            3 => self.lanes(32, |r| F32[r.below(F32.len())]),
            4 => self.lanes(16, |r| F16[r.below(F16.len())]),
            5 => self.lanes(8, |r| I8[r.below(I8.len())]),
            6 => self.lanes(64, |r| (f64::from(r.word() as i32) / 65536.0).to_bits()),
            7 => self.lanes(32, |r| (f32::from(r.word() as i16) / 64.0).to_bits().into()),
            8 => self.lanes(16, |r| (r.word() % 64) | if r.below(3) == 0 { 0xffc0 } else { 0 }),
            // Near a special value, and anything with a special neighbour.
            9 => self.lanes(64, |r| F64[r.below(F64.len())].wrapping_add(r.below(5) as u64).wrapping_sub(2)),
            10 => self.lanes(32, |r| F32[r.below(F32.len())].wrapping_add(r.below(5) as u64).wrapping_sub(2)),
            11 => self.lanes(64, |r| if r.below(2) == 0 { r.word() } else { F64[r.below(F64.len())] }),
            _ => self.lanes(32, |r| if r.below(2) == 0 { r.word() } else { F32[r.below(F32.len())] }),
        }
    }
}

/// A state for the instructions, of which the first that accesses memory gets an address in or near it.
#[must_use]
pub fn case(words: Vec<u32>, number: u64, rng: &mut Rng) -> Case {
    let control = rng.word();
    let mut fpcr = (control as u32 & 3) << 22;
    if control >> 32 & 1 == 1 {
        for (i, bit) in [24, 25, 26, 19].into_iter().enumerate() {
            if control >> (8 + i) & 1 == 1 {
                fpcr |= 1 << bit;
            }
        }
    }
    let mut case = Case {
        slot: number % SLOTS,
        fpcr,
        nzcv: (rng.word() & 15) << 28,
        sp: (MEMORY + 0x1000 + rng.word() % 0x400) & !15,
        x: std::array::from_fn(|_| if rng.below(6) == 0 { rng.vector() as u64 } else { rng.integer() }),
        v: std::array::from_fn(|_| rng.vector()),
        words,
        turns: 1,
    };
    let mut placed = false;
    for i in 0..case.words.len() {
        let word = case.words[i];
        if !words::is_memory(word) {
            continue;
        }
        match words::operands(word) {
            Some(operands) if !placed => {
                place(&mut case, operands, rng);
                placed = true;
            }
            Some(_) => {}
            None => case.words[i] = words::literal(word, case.pc() + 4 * i as u64, MEMORY + rng.word() % MEMORY_SIZE),
        }
    }
    case
}

/// Sets base and index registers so that the access is at an address that often is interesting: unaligned, across the two
/// pages, partly or wholly outside.
fn place(case: &mut Case, o: Operands, rng: &mut Rng) {
    let size = o.bytes;
    let anywhere = rng.word() % (MEMORY_SIZE - size);
    let target = match rng.below(16) {
        0 => MEMORY_SIZE / 2 - 1 - rng.word() % size.max(2),
        1 => MEMORY_SIZE - 1 - rng.word() % size.max(2),
        2 => 0u64.wrapping_sub(1 + rng.word() % size.max(2)),
        _ => anywhere,
    };
    let align = |a: u64| a & !(o.alignment - 1);
    let mut target = align(MEMORY.wrapping_add(target));
    if rng.below(4) == 0 {
        target &= !(size - 1);
    }
    let mut base = target.wrapping_sub(o.offset as u64);
    if let Some((register, extend, shift)) = o.index
        && register != 31
    {
        let index = (rng.below(256) as i64) - if extend & 4 != 0 || extend == 3 { 128 } else { 0 };
        if register != o.base {
            base = base.wrapping_sub((index << shift) as u64);
        }
        // Only the part that the extension takes matters.
        let noise = if extend & 1 == 0 { rng.word() << 32 } else { 0 };
        case.x[register] = (index as u64 & if extend & 1 == 0 { 0xffff_ffff } else { u64::MAX }) | noise;
    }
    // The top byte of an address is a tag.
    if rng.below(8) == 0 && o.base != 31 {
        base ^= rng.word() << 56;
    }
    if o.base == 31 {
        case.sp = base
    } else {
        case.x[o.base] = base
    }
    if let Some((register, pair)) = o.expected
        && register != 31
        && register != o.base
        && rng.below(2) == 0
    {
        // A comparison that succeeds.
        let pattern = super::pattern();
        let at = |a: u64| {
            let offset = a.wrapping_sub(MEMORY);
            let word = |i: u64| pattern.get(i as usize).copied().unwrap_or(0);
            let (low, shift) = (word(offset / 8), 8 * (offset % 8));
            if shift == 0 { low } else { low >> shift | word(offset / 8 + 1) << (64 - shift) }
        };
        case.x[register] = at(target);
        if pair && register < 30 {
            let half = size / 2;
            case.x[register + 1] = at(target + half);
        }
    }
}
