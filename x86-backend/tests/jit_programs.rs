//! Random straight-line and branching programs of integer, flags, vector and floating-point operations: translated code
//! against the interpreter. Many values stay live, so that registers run out; operands are special values often, so
//! that out-of-line evaluations happen in the middle of everything else.

use std::alloc::{Layout, alloc_zeroed};
use std::mem::offset_of;
use x86_backend::emit::{
    Access, AtomicOp, BinOp, CmpOp, Cond, Emit, FLAGS, FpBinOp, FpCmpOp, FpFmt, FpUnOp, HelperRet, Rounding, Slot,
    Stop, UnOp, VBinOp, VShiftOp, VUnOp, Width,
};
use x86_backend::eval::entry::eval_entry;
use x86_backend::interp::{Interp, InterpMemory};
use x86_backend::jit::{BlockContext, HostFeatures, Jit, JitConfig, Mechanisms, Windows};
use x86_backend::runtime::{FpEnv, Runtime, Vcpu};

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct State {
    x: [u64; 8],
    v: [u128; 8],
    nzcv: u16,
    pc: u64,
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

/// No program accesses memory.
struct NoMemory;

impl InterpMemory<State> for NoMemory {
    fn load(&mut self, _: &mut Vcpu<State>, _: Width, _: u64, _: Access) -> Result<u128, Stop> {
        Err(Stop)
    }
    fn store(&mut self, _: &mut Vcpu<State>, _: Width, _: u64, _: u128, _: Access) -> Result<(), Stop> {
        Err(Stop)
    }
    fn atomic(&mut self, _: &mut Vcpu<State>, _: AtomicOp, _: Width, _: u64, _: u128, _: Access) -> Result<u128, Stop> {
        Err(Stop)
    }
    fn cas(&mut self, _: &mut Vcpu<State>, _: Width, _: u64, _: u128, _: u128, _: Access) -> Result<u128, Stop> {
        Err(Stop)
    }
}

/// xorshift64*: the same seed gives the same program to every consumer.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
    /// An interesting pattern of 64 bits, for integers and both formats.
    fn pattern(&mut self) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => self.pick(&[0x7ff8 << 48, 0x7ff0 << 48, 0xfff0 << 48 | 1, 0x8000 << 48, 0x0010 << 48]),
            4 => self.pick(&[0x7fc0_0000, 0x7f80_0000, 0xff80_0001, 0x8000_0000, 0x0080_0000, 0x3f80_0000]),
            5 | 6 => (self.next() as i64 as f64 / 65536.0).to_bits(),
            7 => u64::from((self.next() as i32 as f32 / 256.0).to_bits()),
            8 => (self.below(100) as f64).to_bits(),
            9 => u64::from((self.below(100) as f32 - 50.5).to_bits()) << 32 | 0x3f00_0000,
            10 => self.next() & 0x800f_ffff_807f_ffff,
            _ => self.next(),
        }
    }
}

/// Values made so far, by width.
struct Pool<V> {
    ints: Vec<(V, Width)>,
    vectors: Vec<V>,
    flags: Vec<V>,
}

impl<V: Copy> Pool<V> {
    fn len(&self) -> (usize, usize, usize) {
        (self.ints.len(), self.vectors.len(), self.flags.len())
    }
    fn truncate(&mut self, to: (usize, usize, usize)) {
        self.ints.truncate(to.0);
        self.vectors.truncate(to.1);
        self.flags.truncate(to.2);
    }
}

const fn x_slot(i: usize) -> Slot {
    Slot { offset: (offset_of!(State, x) + 8 * i) as u32, width: 64, is_flags: false }
}
const fn v_slot(i: usize) -> Slot {
    Slot { offset: (offset_of!(State, v) + 16 * i) as u32, width: 128, is_flags: false }
}
const NZCV: Slot = Slot { offset: offset_of!(State, nzcv) as u32, width: FLAGS, is_flags: true };

struct Gen<'a, B: Emit> {
    b: &'a mut B,
    r: Random,
    pool: Pool<B::V>,
    depth: u32,
}

impl<B: Emit> Gen<'_, B> {
    fn int(&mut self, n: Width) -> B::V {
        match self.r.below(8) {
            0 => {
                let k = u128::from(self.r.pattern());
                self.b.konst(n, k & ((1 << n) - 1))
            }
            1..=3 => {
                let i = self.r.below(8);
                let v = self.b.get(x_slot(i));
                if n == 64 { v } else { self.b.extract(64, v, 0, n) }
            }
            _ => {
                let recent = self.pool.ints.len().min(24);
                if recent == 0 {
                    return self.b.konst(n, 5);
                }
                let i = self.pool.ints.len() - 1 - self.r.below(recent);
                let (v, from) = self.pool.ints[i];
                if from == n {
                    v
                } else if from < n {
                    if self.r.below(2) == 0 { self.b.zext(from, n, v) } else { self.b.sext(from, n, v) }
                } else {
                    self.b.extract(from, v, 0, n)
                }
            }
        }
    }

    fn vector(&mut self) -> B::V {
        match self.r.below(8) {
            0 => {
                let k = u128::from(self.r.pattern()) << 64 | u128::from(self.r.pattern());
                self.b.konst(128, k)
            }
            1..=3 => {
                let i = self.r.below(8);
                self.b.get(v_slot(i))
            }
            _ => {
                let recent = self.pool.vectors.len().min(24);
                if recent == 0 {
                    return self.b.konst(128, 7);
                }
                let i = self.pool.vectors.len() - 1 - self.r.below(recent);
                self.pool.vectors[i]
            }
        }
    }

    fn flags(&mut self) -> B::V {
        if self.pool.flags.is_empty() || self.r.below(3) == 0 {
            return self.b.get(NZCV);
        }
        let i = self.r.below(self.pool.flags.len());
        self.pool.flags[i]
    }

    fn truth(&mut self) -> B::V {
        if self.r.below(2) == 0 {
            let f = self.flags();
            let c = Cond::from_bits(self.r.below(16) as u32);
            return self.b.cond(f, c);
        }
        let n = self.r.pick(&[32, 64]);
        let (a, b) = (self.int(n), self.int(n));
        let op = self.r.pick(&[CmpOp::Eq, CmpOp::Ne, CmpOp::Ult, CmpOp::Ule, CmpOp::Slt, CmpOp::Sle]);
        self.b.cmp(op, n, a, b)
    }

    /// A floating-point scalar: lane 0 of a vector, or an integer's bits.
    fn scalar(&mut self, fmt: FpFmt) -> B::V {
        if self.r.below(4) == 0 {
            return self.int(fmt.width());
        }
        let v = self.vector();
        self.b.lane(fmt.width(), v, 0)
    }

    fn put_int(&mut self, n: Width, v: B::V) {
        self.pool.ints.push((v, n));
        if self.r.below(2) == 0 {
            let wide = if n < 64 { self.b.zext(n, 64, v) } else { v };
            let i = self.r.below(8);
            self.b.put(x_slot(i), wide);
        }
    }

    fn put_vector(&mut self, v: B::V) {
        self.pool.vectors.push(v);
        if self.r.below(2) == 0 {
            let i = self.r.below(8);
            self.b.put(v_slot(i), v);
        }
    }

    fn put_flags(&mut self, f: B::V) {
        self.pool.flags.push(f);
        if self.r.below(2) == 0 {
            self.b.put(NZCV, f);
        }
    }

    fn put_scalar(&mut self, fmt: FpFmt, v: B::V) {
        self.pool.ints.push((v, fmt.width()));
        let wide = self.b.zext(fmt.width(), 128, v);
        self.put_vector(wide);
    }

    fn integer_op(&mut self) {
        let n = self.r.pick(&[8, 16, 32, 32, 64, 64]);
        match self.r.below(6) {
            0..=2 => {
                let op = self.r.pick(&[
                    BinOp::Add,
                    BinOp::Sub,
                    BinOp::Mul,
                    BinOp::And,
                    BinOp::Or,
                    BinOp::Xor,
                    BinOp::Shl,
                    BinOp::Shr,
                    BinOp::Sar,
                    BinOp::Ror,
                    BinOp::UDiv,
                    BinOp::SDiv,
                    BinOp::UMulHi,
                    BinOp::SMulHi,
                ]);
                let n = if n < 32 && matches!(op, BinOp::UMulHi | BinOp::SMulHi) { 64 } else { n };
                let (a, b) = (self.int(n), self.int(n));
                let v = self.b.bin(op, n, a, b);
                self.put_int(n, v);
            }
            3 => {
                let op = self.r.pick(&[
                    UnOp::Not,
                    UnOp::Neg,
                    UnOp::Clz,
                    UnOp::Ctz,
                    UnOp::Popcnt,
                    UnOp::BitRev,
                    UnOp::ByteRev,
                ]);
                let a = self.int(n);
                let v = self.b.un(op, n, a);
                self.put_int(n, v);
            }
            4 => {
                let (c, a, b) = (self.truth(), self.int(n), self.int(n));
                let v = self.b.select(n, c, a, b);
                self.put_int(n, v);
            }
            _ => {
                let (a, b) = (self.int(n), self.int(n));
                let f = match self.r.below(4) {
                    0 => {
                        let not = self.b.un(UnOp::Not, n, b);
                        let one = self.b.konst(1, 1);
                        self.b.add_flags(n, a, not, one)
                    }
                    1 => {
                        let zero = self.b.konst(1, 0);
                        self.b.add_flags(n, a, b, zero)
                    }
                    2 => {
                        let old = self.flags();
                        let c = self.b.cond(old, Cond::Cs);
                        self.b.add_flags(n, a, b, c)
                    }
                    _ => self.b.logic_flags(n, a),
                };
                self.put_flags(f);
            }
        }
    }

    fn vector_op(&mut self) {
        let e = self.r.pick(&[8, 16, 32, 64]);
        let v = match self.r.below(9) {
            0..=2 => {
                use VBinOp as O;
                let op = self.r.pick(&[
                    O::Add,
                    O::Sub,
                    O::CmpEq,
                    O::CmpSgt,
                    O::CmpUge,
                    O::UMax,
                    O::SMin,
                    O::UAddSat,
                    O::SSubSat,
                    O::UAbd,
                    O::AddPairs,
                    O::UShlVar,
                    O::SShlVar,
                    O::ZipLow,
                    O::ZipHigh,
                    O::UnzipEven,
                    O::UnzipOdd,
                    O::TransEven,
                    O::TransOdd,
                ]);
                let (a, b) = (self.vector(), self.vector());
                self.b.vbin(op, e, a, b)
            }
            3 => {
                let op = self.r.pick(&[VUnOp::Neg, VUnOp::Abs, VUnOp::Clz]);
                let a = self.vector();
                self.b.vun(op, e, a)
            }
            4 => {
                let amount = 1 + self.r.below(e as usize - 1) as u32;
                let op = self.r.pick(&[VShiftOp::Shl, VShiftOp::Shr, VShiftOp::Sar]);
                let a = self.vector();
                self.b.vshift(op, e, a, amount)
            }
            5 => {
                let (a, b) = (self.vector(), self.vector());
                let op = self.r.pick(&[BinOp::And, BinOp::Or, BinOp::Xor]);
                self.b.bin(op, 128, a, b)
            }
            6 => {
                let (a, x, i) = (self.vector(), self.int(e), self.r.below((128 / e) as usize) as u32);
                self.b.set_lane(e, a, i, x)
            }
            7 => {
                let x = self.int(e);
                self.b.splat(e, x)
            }
            _ => {
                let (a, i) = (self.vector(), self.r.below((128 / e) as usize) as u32);
                let x = self.b.lane(e, a, i);
                self.put_int(e, x);
                return;
            }
        };
        self.put_vector(v);
    }

    fn fp_op(&mut self) {
        let fmt = self.r.pick(&[FpFmt::F32, FpFmt::F64, FpFmt::F64]);
        let op = self.r.pick(&[
            FpBinOp::Add,
            FpBinOp::Sub,
            FpBinOp::Mul,
            FpBinOp::Div,
            FpBinOp::Min,
            FpBinOp::MaxNum,
            FpBinOp::Abd,
            FpBinOp::MulX,
        ]);
        match self.r.below(11) {
            0..=2 => {
                let (a, b) = (self.scalar(fmt), self.scalar(fmt));
                let v = self.b.fp_bin(op, fmt, 1, a, b);
                self.put_scalar(fmt, v);
            }
            3 => {
                let lanes = if fmt == FpFmt::F64 { 2 } else { self.r.pick(&[2, 4]) };
                let (a, b) = (self.vector(), self.vector());
                let v = self.b.fp_bin(op, fmt, lanes, a, b);
                self.put_vector(v);
            }
            4 => {
                let (a, b, c) = (self.scalar(fmt), self.scalar(fmt), self.scalar(fmt));
                // Negated operands, as multiply-subtract has them.
                let sign = self.b.konst(fmt.width(), 1 << (fmt.width() - 1));
                let b = self.b.bin(BinOp::Xor, fmt.width(), b, sign);
                let v = self.b.fp_fma(fmt, 1, a, b, c);
                self.put_scalar(fmt, v);
            }
            5 => {
                let rounding =
                    self.r.pick(&[Rounding::Nearest, Rounding::Zero, Rounding::Dynamic, Rounding::NearestAway]);
                let op =
                    self.r.pick(&[FpUnOp::Sqrt, FpUnOp::RoundInt { rounding, exact: false }, FpUnOp::RecipEstimate]);
                let a = self.scalar(fmt);
                let v = self.b.fp_un(op, fmt, 1, a);
                self.put_scalar(fmt, v);
            }
            6 => {
                let (a, b) = (self.scalar(fmt), self.scalar(fmt));
                let signaling = self.r.below(2) == 0;
                let f = self.b.fp_cmp_flags(fmt, signaling, a, b);
                self.put_flags(f);
            }
            7 => {
                let (a, b) = (self.scalar(fmt), self.scalar(fmt));
                let op = self.r.pick(&[FpCmpOp::Eq, FpCmpOp::Ge, FpCmpOp::Gt]);
                let v = self.b.fp_cmp(op, fmt, 1, a, b);
                self.put_scalar(fmt, v);
            }
            8 => {
                let n = self.r.pick(&[32, 64]);
                let signed = self.r.below(2) == 0;
                let rounding = self.r.pick(&[Rounding::Zero, Rounding::Up, Rounding::NearestAway]);
                let a = self.scalar(fmt);
                let v = self.b.fp_to_int(fmt, n, signed, 0, rounding, a);
                self.put_int(n, v);
            }
            9 => {
                let n = self.r.pick(&[32, 64]);
                let signed = self.r.below(2) == 0;
                let fmt = self.r.pick(&[fmt, fmt, FpFmt::F16]);
                let a = self.int(n);
                let v = self.b.int_to_fp(n, signed, 0, fmt, a);
                self.put_scalar(fmt, v);
            }
            _ => {
                let (from, to) = self.r.pick(&[
                    (FpFmt::F32, FpFmt::F64),
                    (FpFmt::F64, FpFmt::F32),
                    (FpFmt::F32, FpFmt::F16),
                    (FpFmt::F16, FpFmt::F32),
                ]);
                let a = self.scalar(from);
                let v = self.b.fp_convert(from, to, Rounding::Dynamic, a);
                self.put_scalar(to, v);
            }
        }
    }

    fn branch(&mut self) {
        let c = self.truth();
        let seeds = [self.r.next(), self.r.next()];
        self.depth += 1;
        let widths = [64, 128, 32];
        let before = self.pool.len();
        // The consumers take the builder; everything else of the generator is shared by both arms.
        let (r, depth) = (self.r.clone(), self.depth);
        let pool = std::cell::RefCell::new(std::mem::replace(
            &mut self.pool,
            Pool { ints: Vec::new(), vectors: Vec::new(), flags: Vec::new() },
        ));
        let arm = |b: &mut B, seed: u64| {
            let mut pool = pool.borrow_mut();
            let taken =
                std::mem::replace(&mut *pool, Pool { ints: Vec::new(), vectors: Vec::new(), flags: Vec::new() });
            let mut inner = Gen { b, r: Random::new(seed), pool: taken, depth };
            let steps = inner.r.below(6);
            for _ in 0..steps {
                inner.step();
            }
            let out = [inner.int(64), inner.vector(), inner.int(32)];
            inner.pool.truncate(before);
            *pool = inner.pool;
            Ok::<_, Stop>(out)
        };
        let result = self.b.branch_on(c, widths, |b| arm(b, seeds[0]), |b| arm(b, seeds[1]));
        self.pool = pool.into_inner();
        self.r = r;
        self.depth -= 1;
        if let Ok([a, v, w]) = result {
            self.put_int(64, a);
            self.put_vector(v);
            self.put_int(32, w);
        }
    }

    fn step(&mut self) {
        match self.r.below(10) {
            0..=2 => self.integer_op(),
            3..=5 => self.vector_op(),
            6..=8 => self.fp_op(),
            _ if self.depth < 2 => self.branch(),
            _ => self.integer_op(),
        }
    }
}

fn program<B: Emit>(b: &mut B, seed: u64, steps: usize, insn: impl Fn(&mut B, u64)) {
    let pool = Pool { ints: Vec::new(), vectors: Vec::new(), flags: Vec::new() };
    let mut g = Gen { b, r: Random::new(seed), pool, depth: 0 };
    for i in 0..steps {
        insn(g.b, 0x1000 + 4 * i as u64);
        g.step();
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

#[test]
fn translated_programs_agree_with_the_interpreter() {
    let only = std::env::var("PROGRAM_SEED").ok().and_then(|s| s.parse::<u64>().ok());
    let seeds = only.map_or(0..3000, |s| s..s + 1);
    let mut cpu = vcpu();
    let mut jits = [host_features(), HostFeatures::empty(), host_features() - HostFeatures::FMA].map(jit);
    for seed in seeds {
        let steps = 1 + (seed % 40) as usize;
        let jit = &mut jits[(seed / 40 % 3) as usize];
        jit.reset();
        let flush = seed % 5 < 2;
        let context = BlockContext { pc: 0x1000, fp_inline: seed % 7 != 0, fp_flush: flush, ..BlockContext::default() };
        let mut b = jit.begin(context);
        program(&mut b, seed, steps, |b, pc| b.begin_insn(pc));
        if only.is_some() {
            println!("{}", b.ir());
        }
        let block = b.finish(1 << 20).expect("the buffer has room");
        let mut r = Random::new(!seed);
        for _ in 0..4 {
            let start = State {
                x: std::array::from_fn(|_| r.pattern()),
                v: std::array::from_fn(|_| u128::from(r.pattern()) << 64 | u128::from(r.pattern())),
                nzcv: r.next() as u16 & 0xc101,
                pc: 0x1000,
                rest: [0; 64],
            };
            let (mode, rc) = r.pick(&[(0, 0), (1, 2), (2, 1), (3, 3)]);
            let mut env = FpEnv { mxcsr: 0x1f80 | rc << 13, control: mode, ..FpEnv::default() };
            if flush {
                env.mxcsr |= 0x8040;
                env.control |= FpEnv::FLUSH;
                env.raised = FpEnv::INEXACT;
            }

            cpu.state = start;
            cpu.rt.fp = env;
            let mut memory = NoMemory;
            program(&mut Interp::new(&mut cpu, &mut memory, &[]), seed, steps, |_, _| {});
            let want = (cpu.state, cpu.rt.fp.raised);

            cpu.state = start;
            cpu.rt.fp = env;
            jit.enter((&raw mut *cpu).cast(), block.entry);
            cpu.state.pc = start.pc;
            // The host's other flags may stand in between.
            cpu.state.nzcv &= 0xc101;
            let got = (cpu.state, guest_flags(cpu.rt.fp.mxcsr) | cpu.rt.fp.raised);
            assert!(got == want, "seed {seed}\nstart {start:x?}\ngot  {got:x?}\nwant {want:x?}");
        }
    }
}
