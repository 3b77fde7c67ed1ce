//! Inline lowerings against the reference semantics: each operation is compiled on its own and run over random and
//! special operands, with every host feature and with none, under every rounding mode; result and cumulative
//! floating-point flags must be the same bit for bit.

use std::alloc::{Layout, alloc_zeroed};
use std::mem::offset_of;
use x86_backend::emit::{
    BinOp, Emit, FLAGS, FpBinOp, FpCmpOp, FpFmt, FpUnOp, HelperRet, Rounding, Slot, VBinOp, VShiftOp, VTernOp, VUnOp,
    Width, flags,
};
use x86_backend::eval::entry::{EvalOp, Negated, eval_entry};
use x86_backend::eval::splat;
use x86_backend::jit::{BlockContext, Builder, HostFeatures, Jit, JitConfig, Mechanisms, Windows};
use x86_backend::runtime::{FpEnv, Runtime, Vcpu};

#[repr(C)]
struct State {
    args: [u128; 3],
    result: u128,
    nzcv: u16,
    pc: u64,
    /// As large as a real guest's: block heads are laid out for that.
    rest: [u64; 64],
}

extern "sysv64" fn no_memory(_: *mut u8, _: u64, _: u32) -> HelperRet {
    HelperRet { value: 0, status: 1 }
}

fn vcpu() -> Box<Vcpu<State>> {
    // SAFETY: everything is valid when zero but the function pointers, which are written before the value is used.
    unsafe {
        let cpu = alloc_zeroed(Layout::new::<Vcpu<State>>()).cast::<Vcpu<State>>();
        let slow = &raw mut (*cpu).rt.slow;
        slow.cast::<[usize; 5]>().write([no_memory as *const () as usize; 5]);
        (&raw mut (*slow).eval).write(eval_entry as extern "sysv64" fn(*mut Runtime, u64) -> HelperRet);
        Box::from_raw(cpu)
    }
}

const CODE: usize = 1 << 20;

fn jit(features: HostFeatures) -> Jit {
    let config = JitConfig {
        rt_offset: offset_of!(Vcpu<State>, rt) as u32,
        state_size: size_of::<State>() as u32,
        pc_offset: offset_of!(State, pc) as u32,
        insn_bytes: 4,
        features,
        count: false,
        parallel: true,
        windows: Windows::Never,
        without: Mechanisms::empty(),
        helpers: &[],

        layout: &[],
    };
    // SAFETY: a fresh private mapping, never unmapped, given to one compiler.
    unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let code = libc::mmap(std::ptr::null_mut(), CODE, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(code, libc::MAP_FAILED);
        Jit::new(config, code.cast(), CODE)
    }
}

fn host_features() -> HostFeatures {
    let mut f = HostFeatures::empty();
    for (have, bit) in [
        (is_x86_feature_detected!("sse4.1"), HostFeatures::SSE41),
        (is_x86_feature_detected!("sse4.2"), HostFeatures::SSE42),
        (is_x86_feature_detected!("ssse3"), HostFeatures::SSSE3),
        (is_x86_feature_detected!("popcnt"), HostFeatures::POPCNT),
        (is_x86_feature_detected!("avx"), HostFeatures::AVX),
        (is_x86_feature_detected!("avx2"), HostFeatures::AVX2),
        (is_x86_feature_detected!("bmi1"), HostFeatures::BMI1),
        (is_x86_feature_detected!("bmi2"), HostFeatures::BMI2),
        (is_x86_feature_detected!("lzcnt"), HostFeatures::LZCNT),
        (is_x86_feature_detected!("fma"), HostFeatures::FMA),
        (is_x86_feature_detected!("aes"), HostFeatures::AES),
        (is_x86_feature_detected!("pclmulqdq"), HostFeatures::PCLMUL),
        (is_x86_feature_detected!("sha"), HostFeatures::SHA),
        (is_x86_feature_detected!("f16c"), HostFeatures::F16C),
    ] {
        if have {
            f |= bit;
        }
    }
    f
}

/// Operand widths, and the result's.
fn widths(op: EvalOp) -> (Vec<Width>, Width) {
    let fp = |fmt: FpFmt, lanes: u32| if lanes == 1 { fmt.width() } else { 128 };
    match op {
        EvalOp::VUn { .. } | EvalOp::VShift { .. } => (vec![128], 128),
        EvalOp::VBin { .. } | EvalOp::Shuffle => (vec![128; 2], 128),
        EvalOp::VTern { .. } => (vec![128; 3], 128),
        EvalOp::FpUn { fmt, lanes, .. } => (vec![fp(fmt, lanes)], fp(fmt, lanes)),
        EvalOp::FpBin { fmt, lanes, .. } | EvalOp::FpCmp { fmt, lanes, .. } => {
            (vec![fp(fmt, lanes); 2], fp(fmt, lanes))
        }
        EvalOp::FpFma { fmt, lanes, .. } => (vec![fp(fmt, lanes); 3], fp(fmt, lanes)),
        EvalOp::FpCmpFlags { fmt, .. } => (vec![fmt.width(); 2], FLAGS),
        EvalOp::FpConvert { from, to, .. } => (vec![from.width()], to.width()),
        EvalOp::FpToInt { fmt, n, .. } => (vec![fmt.width()], n),
        EvalOp::IntToFp { n, fmt, .. } => (vec![n], fmt.width()),
        _ => unreachable!("not in the tables"),
    }
}

fn emit<B: Emit>(b: &mut B, op: EvalOp, args: &[B::V], idx: [u8; 16]) -> B::V {
    match op {
        EvalOp::VUn { op, e } => b.vun(op, e, args[0]),
        EvalOp::VBin { op, e } => b.vbin(op, e, args[0], args[1]),
        EvalOp::VShift { op, e, amount } => b.vshift(op, e, args[0], amount),
        EvalOp::VTern { op, e } => b.vtern(op, e, args[0], args[1], args[2]),
        EvalOp::Shuffle => b.shuffle(args[0], args[1], idx),
        EvalOp::FpUn { op, fmt, lanes } => b.fp_un(op, fmt, lanes, args[0]),
        EvalOp::FpBin { op, fmt, lanes } => b.fp_bin(op, fmt, lanes, args[0], args[1]),
        EvalOp::FpFma { fmt, lanes, negated } => {
            let (n, sign) = (fmt.width(), 1u128 << (fmt.width() - 1));
            let signs = if lanes == 1 { b.konst(n, sign) } else { b.konst(128, splat(n, sign)) };
            let n = if lanes == 1 { n } else { 128 };
            let addend = if negated.addend() { b.bin(BinOp::Xor, n, args[0], signs) } else { args[0] };
            let factor = if negated.product() { b.bin(BinOp::Xor, n, args[1], signs) } else { args[1] };
            b.fp_fma(fmt, lanes, addend, factor, args[2])
        }
        EvalOp::FpCmp { op, fmt, lanes } => b.fp_cmp(op, fmt, lanes, args[0], args[1]),
        EvalOp::FpCmpFlags { fmt, signaling } => b.fp_cmp_flags(fmt, signaling, args[0], args[1]),
        EvalOp::FpConvert { from, to, rounding } => b.fp_convert(from, to, rounding, args[0]),
        EvalOp::FpToInt { fmt, n, signed, fbits, rounding } => b.fp_to_int(fmt, n, signed, fbits, rounding, args[0]),
        EvalOp::IntToFp { n, signed, fbits, fmt } => b.int_to_fp(n, signed, fbits, fmt, args[0]),
        _ => unreachable!("not in the tables"),
    }
}

fn slot(offset: usize, width: Width) -> Slot {
    Slot { offset: offset as u32, width, is_flags: width == FLAGS }
}

/// `through_vectors`: scalars are lane 0 of vector registers, as in a guest with vector registers. Only the bits in `masks` of
/// vector operands are taken.
fn record(b: &mut Builder<'_>, op: EvalOp, idx: [u8; 16], through_vectors: bool, masks: [u128; 3]) {
    let (operands, result) = widths(op);
    b.begin_insn(0x1000);
    let mut args = Vec::new();
    for (i, &n) in operands.iter().enumerate() {
        let at = offset_of!(State, args) + 16 * i;
        args.push(if through_vectors && n < 128 {
            let v = b.get(slot(at, 128));
            b.lane(n, v, 0)
        } else {
            let v = b.get(slot(at, n));
            if n == 128 && masks[i] != u128::MAX {
                let mask = b.konst(128, masks[i]);
                b.bin(BinOp::And, 128, v, mask)
            } else {
                v
            }
        });
    }
    let r = emit(b, op, &args, idx);
    if result == FLAGS {
        b.put(slot(offset_of!(State, nzcv), FLAGS), r);
    } else {
        let wide = if result < 128 { b.zext(result, 128, r) } else { r };
        b.put(slot(offset_of!(State, result), 128), wide);
    }
}

/// Bits of a format, and of its fraction.
fn layout(fmt: FpFmt) -> (u32, u32) {
    match fmt {
        FpFmt::F16 => (16, 10),
        FpFmt::F32 => (32, 23),
        FpFmt::F64 => (64, 52),
    }
}

/// xorshift64*: deterministic, so that a failure repeats.
struct Random {
    state: u64,
    /// Floating-point operands are at the edge of underflow.
    edges: bool,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// A number whose products, sums and quotients with others of these are about as small as normal numbers get.
    fn edge(&mut self, fmt: FpFmt) -> u64 {
        let (width, fraction) = layout(fmt);
        let bias = (1u64 << (width - 2 - fraction)) - 1;
        let least = 1u64 << fraction;
        // Powers of two, whose pairs multiply to the least normal number and its neighbours, or numbers next to them.
        let power = match self.below(4) {
            0 => bias,
            1 => bias - 1 + self.below(3),
            2 => bias.div_ceil(2) + self.below(2),
            _ => return self.edge_magnitude(least, width),
        } << fraction;
        (self.next() & 1) << (width - 1) | (power + self.below(5) - 2)
    }
    fn edge_magnitude(&mut self, least: u64, width: u32) -> u64 {
        let special = [0, 1, least - 1, least, least + 1, 2 * least - 1, 2 * least];
        (self.next() & 1) << (width - 1) | special[self.below(7) as usize]
    }
    fn float(&mut self, fmt: FpFmt) -> u64 {
        let (width, fraction) = layout(fmt);
        let ones = (1u64 << (width - 1 - fraction)) - 1;
        let top = (1u64 << fraction) - 1;
        let exp = match self.below(10) {
            0 | 1 => self.next() & ones,
            2 => self.below(3),
            3 if self.below(3) == 0 => self.below(2),
            3 => ones,
            4 => ones - 1 - self.below(2),
            // Products and quotients near the least normal number.
            5 => (ones / 4) + self.below(3),
            6 => (ones * 3 / 4) + self.below(3),
            7 => ones / 2 - 3 + self.below(7),
            _ => (ones / 2 + self.below(70)).min(ones),
        };
        let frac = match self.below(6) {
            0 | 1 => self.next() & top,
            2 => 0,
            3 => self.next() & 3,
            4 => top & !self.below(2),
            _ => 1 << self.below(fraction.into()) | self.below(2),
        };
        (self.next() & 1) << (width - 1) | exp << fraction | frac
    }
    fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => self.next() >> self.below(64),
            2 => (self.next() as i64 >> self.below(64)) as u64,
            _ => (1u64 << self.below(64)).wrapping_sub(self.below(3)),
        }
    }
    fn bytes(&mut self) -> u128 {
        let special = [0, 1, 0x7f, 0x80, 0xff, 0x0f, 0x10];
        u128::from_le_bytes(std::array::from_fn(|_| match self.below(3) {
            0 => special[self.below(7) as usize],
            _ => self.next() as u8,
        }))
    }
    fn operand(&mut self, op: EvalOp) -> u128 {
        match op {
            EvalOp::FpUn { fmt, .. }
            | EvalOp::FpBin { fmt, .. }
            | EvalOp::FpFma { fmt, .. }
            | EvalOp::FpCmp { fmt, .. }
            | EvalOp::FpCmpFlags { fmt, .. }
            | EvalOp::FpConvert { from: fmt, .. }
            | EvalOp::FpToInt { fmt, .. } => {
                // Garbage above a scalar must not matter.
                let w = fmt.width();
                let edge = self.edges;
                let mut lane = || if edge { self.edge(fmt) } else { self.float(fmt) };
                (0..128 / w).fold(0, |v, i| v | u128::from(lane()) << (i * w))
            }
            EvalOp::IntToFp { .. } => u128::from(self.integer()) | u128::from(self.next()) << 64,
            _ => self.bytes(),
        }
    }
}

fn guest_flags(mxcsr: u32) -> u32 {
    let bit = |from: u32, to: u32| if mxcsr & (1 << from) != 0 { to } else { 0 };
    bit(0, FpEnv::INVALID)
        | bit(2, FpEnv::DIV_BY_ZERO)
        | bit(3, FpEnv::OVERFLOW)
        | bit(4, FpEnv::UNDERFLOW)
        | bit(5, FpEnv::INEXACT)
}

fn check(ops: &[EvalOp], cases: usize) {
    check_bits(ops, cases, [u128::MAX; 3]);
}

/// Of vector operands only the bits in `masks` are taken.
fn check_bits(ops: &[EvalOp], cases: usize, masks: [u128; 3]) {
    let full = host_features();
    let without_avx = full & !(HostFeatures::AVX | HostFeatures::AVX2 | HostFeatures::FMA | HostFeatures::F16C);
    let mut cpu = vcpu();
    let mut random = Random { state: 0x9e37_79b9_7f4a_7c15, edges: false };
    let mut wrong = Vec::new();
    for features in [full, without_avx, HostFeatures::empty()] {
        let mut jit = jit(features);
        for &op in ops {
            for (through_vectors, flush) in [(false, false), (true, false), (false, true), (true, true)] {
                jit.reset();
                let mut idx = random.bytes().to_le_bytes().map(|i| i & 0x3f);
                if random.below(3) == 0 {
                    let first = random.below(17) as u8;
                    idx = std::array::from_fn(|i| first + i as u8);
                } else if random.below(3) == 0 {
                    idx = idx.map(|i| if i > 15 { 32 } else { i });
                }
                let pc = 0x1000;
                let mut b = jit.begin(BlockContext { pc, fp_inline: true, fp_flush: flush, ..BlockContext::default() });
                record(&mut b, op, idx, through_vectors, masks);
                let block = b.finish(1 << 20).expect("the buffer has room");
                let mut failures = 0;
                for case in 0..cases {
                    random.edges = case % 2 == 1;
                    let (mode, rc) = [(0, 0), (1, 2), (2, 1), (3, 3)][random.below(4) as usize];
                    let default_nan = if random.below(4) == 0 { FpEnv::DEFAULT_NAN } else { 0 };
                    // Flushing (DAZ and FTZ) comes with Inexact set.
                    let (flags, daz_ftz, raised) =
                        if flush { (FpEnv::FLUSH, 0x8040, FpEnv::INEXACT) } else { (0, 0, 0) };
                    let control = mode | default_nan | flags;
                    let mxcsr = 0x1f80 | rc << 13 | daz_ftz;
                    let args: [u128; 3] = std::array::from_fn(|_| random.operand(op));
                    cpu.rt.fp = FpEnv { mxcsr, control, raised, ..FpEnv::default() };
                    cpu.state.args = args;
                    cpu.state.result = 0x1234;
                    jit.enter((&raw mut *cpu).cast(), block.entry);
                    let mut env = FpEnv { control, raised, ..FpEnv::default() };
                    let (operands, result) = widths(op);
                    let mut inputs = args;
                    for (i, &n) in operands.iter().enumerate() {
                        inputs[i] &= x86_backend::eval::mask(n) & if n == 128 { masks[i] } else { u128::MAX };
                    }
                    if op == EvalOp::Shuffle {
                        inputs[2] = u128::from_le_bytes(idx);
                    }
                    let want = op.eval(&mut env, inputs);
                    let got =
                        if result == FLAGS { u128::from(flags::to_nzcv(cpu.state.nzcv)) } else { cpu.state.result };
                    let raised = guest_flags(cpu.rt.fp.mxcsr) | cpu.rt.fp.raised;
                    if (got, raised) != (want, env.raised) {
                        failures += 1;
                        if failures <= 2 {
                            wrong.push(format!(
                                "{op:?} {features:?} vectors {through_vectors} flush {flush} control {control:#x} {idx:x?}\n  {:#x} {:#x} {:#x}: \
                                 {got:#x} {raised:#x}, expected {want:#x} {:#x}",
                                inputs[0], inputs[1], inputs[2], env.raised
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

const SHAPES: [(FpFmt, u32); 6] =
    [(FpFmt::F16, 1), (FpFmt::F32, 1), (FpFmt::F32, 2), (FpFmt::F32, 4), (FpFmt::F64, 1), (FpFmt::F64, 2)];

#[test]
fn vector_operations() {
    let mut ops = Vec::new();
    let lanes = [8, 16, 32, 64];
    use VUnOp as U;
    for e in lanes {
        for op in [U::Neg, U::Abs, U::Clz, U::ZextLow, U::SextLow] {
            ops.push(EvalOp::VUn { op, e });
        }
        for op in [U::Narrow, U::NarrowSatSS, U::NarrowSatUU, U::NarrowSatSU] {
            if e > 8 {
                ops.push(EvalOp::VUn { op, e });
            }
        }
    }
    for op in [U::Popcnt, U::AesSubShift, U::AesInvSubShift, U::AesMixColumns, U::AesInvMixColumns] {
        ops.push(EvalOp::VUn { op, e: 8 });
    }
    use VBinOp as B;
    for e in lanes {
        for op in [
            B::Add,
            B::Sub,
            B::Mul,
            B::CmpEq,
            B::CmpSgt,
            B::CmpSge,
            B::CmpUgt,
            B::CmpUge,
            B::SMin,
            B::SMax,
            B::UMin,
            B::UMax,
            B::SAddSat,
            B::UAddSat,
            B::SSubSat,
            B::USubSat,
            B::UAvgRound,
            B::UAbd,
            B::SAbd,
            B::AddPairs,
            B::UShlVar,
            B::SShlVar,
            B::ZipLow,
            B::ZipHigh,
            B::UnzipEven,
            B::UnzipOdd,
            B::TransEven,
            B::TransOdd,
            B::SatDiff,
        ] {
            ops.push(EvalOp::VBin { op, e });
        }
        if e < 64 {
            ops.extend([B::UMulLow, B::SMulLow].map(|op| EvalOp::VBin { op, e }));
        }
        for amount in [0, 1, 3, e / 2, e - 1, e] {
            if amount < e {
                ops.push(EvalOp::VShift { op: VShiftOp::Shl, e, amount });
            }
            if amount > 0 {
                ops.push(EvalOp::VShift { op: VShiftOp::Shr, e, amount });
                ops.push(EvalOp::VShift { op: VShiftOp::Sar, e, amount });
            }
        }
    }
    ops.extend([(B::Table, 8), (B::PMulLow, 8), (B::PMulLow, 64)].map(|(op, e)| EvalOp::VBin { op, e }));
    ops.extend(
        [B::Sha1Choose, B::Sha1Parity, B::Sha1Majority, B::Sha1Schedule, B::Sha256Schedule0, B::Sha256Schedule1]
            .map(|op| EvalOp::VBin { op, e: 32 }),
    );
    ops.push(EvalOp::VTern { op: VTernOp::Sha256Rounds, e: 32 });
    ops.extend([EvalOp::Shuffle; 40]);
    check(&ops, 60);
}

/// Where lanes are known to be small there are shorter sequences.
#[test]
fn vector_operations_on_small_lanes() {
    let splat = |e: u32, lane: u128| x86_backend::eval::splat(e, lane);
    for bits in [0x3ff, (1 << 24) - 1, 1 << 24, (1 << 25) - 1, u128::from(u32::MAX)] {
        check_bits(&[EvalOp::VUn { op: VUnOp::Clz, e: 32 }], 200, [splat(32, bits), 0, 0]);
    }
    for e in [32, 64] {
        for bits in [u128::from(e) - 1, 0x7f, 0xff] {
            for op in [VBinOp::UShlVar, VBinOp::SShlVar] {
                check_bits(&[EvalOp::VBin { op, e }], 200, [u128::MAX, splat(e, bits), 0]);
            }
        }
    }
}

#[test]
fn floating_point_arithmetic() {
    let mut ops = Vec::new();
    for (fmt, lanes) in SHAPES {
        for op in [
            FpBinOp::Add,
            FpBinOp::Sub,
            FpBinOp::Mul,
            FpBinOp::Div,
            FpBinOp::Min,
            FpBinOp::Max,
            FpBinOp::MinNum,
            FpBinOp::MaxNum,
            FpBinOp::MulX,
            FpBinOp::RecipStep,
            FpBinOp::RsqrtStep,
            FpBinOp::Abd,
        ] {
            ops.push(EvalOp::FpBin { op, fmt, lanes });
        }
        for negated in [Negated::None, Negated::Addend, Negated::Product, Negated::Both] {
            ops.push(EvalOp::FpFma { fmt, lanes, negated });
        }
        for op in [FpCmpOp::Eq, FpCmpOp::Ge, FpCmpOp::Gt] {
            ops.push(EvalOp::FpCmp { op, fmt, lanes });
        }
        for op in [FpUnOp::Sqrt, FpUnOp::RecipEstimate, FpUnOp::RsqrtEstimate, FpUnOp::RecipExponent] {
            ops.push(EvalOp::FpUn { op, fmt, lanes });
        }
        for rounding in ROUNDINGS {
            for exact in [false, true] {
                ops.push(EvalOp::FpUn { op: FpUnOp::RoundInt { rounding, exact }, fmt, lanes });
            }
        }
        ops.extend([false, true].map(|signaling| EvalOp::FpCmpFlags { fmt, signaling }));
    }
    check(&ops, 600);
}

const ROUNDINGS: [Rounding; 6] =
    [Rounding::Nearest, Rounding::Up, Rounding::Down, Rounding::Zero, Rounding::NearestAway, Rounding::Dynamic];

#[test]
fn floating_point_conversions() {
    let formats = [FpFmt::F16, FpFmt::F32, FpFmt::F64];
    let mut ops = Vec::new();
    for fmt in formats {
        for to in formats {
            if to != fmt {
                for rounding in [Rounding::Dynamic, Rounding::Odd] {
                    ops.push(EvalOp::FpConvert { from: fmt, to, rounding });
                }
            }
        }
        for n in [32, 64] {
            for signed in [false, true] {
                for fbits in [0, 1, 16, n] {
                    ops.push(EvalOp::IntToFp { n, signed, fbits, fmt });
                    for rounding in ROUNDINGS {
                        if fbits == 0 || rounding == Rounding::Zero {
                            ops.push(EvalOp::FpToInt { fmt, n, signed, fbits, rounding });
                        }
                    }
                }
            }
        }
    }
    check(&ops, 600);
}

/// More scalars wait to be stored to vector registers than the host has registers: taking one away from its value stores it.
#[test]
fn scalars_in_all_vector_registers() {
    const COUNT: usize = 24;
    for fmt in [FpFmt::F32, FpFmt::F64] {
        let w = fmt.width();
        for features in [host_features(), HostFeatures::empty()] {
            let (mut cpu, mut jit) = (vcpu(), jit(features));
            let at = |i: usize| slot(offset_of!(State, rest) + 16 * i, 128);
            let mut b = jit.begin(BlockContext { pc: 0x1000, fp_inline: true, ..BlockContext::default() });
            let mut values = Vec::new();
            for i in 0..COUNT {
                b.begin_insn(0x1000 + 4 * i as u64);
                let vector = b.get(at(i));
                let x = b.lane(w, vector, 0);
                let y = b.fp_bin(FpBinOp::Add, fmt, 1, x, x);
                let wide = b.zext(w, 128, y);
                b.put(at(i), wide);
                values.push(y);
            }
            let mut sum = values[0];
            for y in &values {
                sum = b.fp_bin(FpBinOp::Add, fmt, 1, sum, *y);
            }
            let wide = b.zext(w, 128, sum);
            b.put(slot(offset_of!(State, result), 128), wide);
            let block = b.finish(1 << 20).expect("the buffer has room");
            let number = |x: f64| if w == 64 { x.to_bits() } else { u64::from((x as f32).to_bits()) };
            for i in 0..COUNT {
                cpu.state.rest[2 * i] = number(i as f64 + 0.5);
                cpu.state.rest[2 * i + 1] = u64::MAX;
            }
            cpu.rt.fp = FpEnv { mxcsr: 0x1f80, ..FpEnv::default() };
            jit.enter((&raw mut *cpu).cast(), block.entry);
            for i in 0..COUNT {
                assert_eq!(cpu.state.rest[2 * i..2 * i + 2], [number(2.0 * i as f64 + 1.0), 0], "{fmt:?} {i}");
            }
            let total = (COUNT * COUNT) as f64 + 1.0;
            assert_eq!(cpu.state.result, u128::from(number(total)), "{fmt:?}");
        }
    }
}
