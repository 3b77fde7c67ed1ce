//! A vCPU, a little guest memory behind a fake TLB, slow paths that record what they see, and helpers.

use super::window::Memory;
use crate::emit::{Access, FLAGS, HelperDecl, HelperRet, Slot, Stop, Width};
use crate::eval;
use crate::guest::Elements;
use crate::interp::{EngineMemory, Interp};
use crate::jit::{BlockContext, Builder, HostFeatures, Jit, JitConfig, Mechanisms, Windows};
use crate::runtime::{FpEnv, MemDesc, Runtime, SlowPaths, TLB_ENTRIES, TlbEntry, Vcpu};
use core::mem::offset_of;

#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct State {
    pub x: [u64; 8],
    pub v: [u128; 4],
    pub w: [u32; 4],
    pub h: [u16; 4],
    pub b: [u8; 8],
    pub nzcv: u16,
    pub pc: u64,
}

/// Guest-virtual address of the memory: pages are, in turn, in the TLB, read-only in it, not in it, and faulting.
pub const BASE: u64 = 0xffff_8000_0010_0000;
pub const PAGES: usize = 4;
pub const START: u64 = 0xffff_8000_0000_1000;

/// What slow paths and impure helpers saw: the whole state, precise, their operands, and the cumulative floating-point flags.
pub type Seen = (State, [u64; 4], [u128; 2], u32);

pub struct Engine {
    pub memory: Memory,
    pub seen: Vec<Seen>,
    /// Only calls that both executors make are recorded.
    pub record: bool,
    /// The host's unit holds floating-point flags of the guest: translated code runs.
    pub translated: bool,
}

pub struct Machine {
    pub cpu: Box<Vcpu<State>>,
    pub engine: Box<Engine>,
}

impl State {
    /// Without the bits of the flags' storage that mean nothing.
    pub fn normal(&self) -> State {
        State { nzcv: self.nzcv & 0xc101, ..self.clone() }
    }
}

/// Cumulative flags in MXCSR, as the guest's.
pub fn guest_flags(mxcsr: u32) -> u32 {
    let bit = |from: u32, to: u32| if mxcsr & (1 << from) != 0 { to } else { 0 };
    bit(0, FpEnv::INVALID)
        | bit(2, FpEnv::DIV_BY_ZERO)
        | bit(3, FpEnv::OVERFLOW)
        | bit(4, FpEnv::UNDERFLOW)
        | bit(5, FpEnv::INEXACT)
}

impl Engine {
    /// The guest's cumulative flags at a call.
    fn raised(&self, fp: &FpEnv) -> u32 {
        if !self.translated {
            return fp.raised;
        }
        let mut mxcsr = 0u32;
        // SAFETY: stores a register to a local variable.
        unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack)) };
        fp.raised | guest_flags(mxcsr)
    }
}

fn parts<'a>(vcpu: *mut u8) -> (&'a mut Vcpu<State>, &'a mut Engine) {
    // SAFETY: called with the vCPU of a `Machine`, whose engine pointer leads to its engine; nothing else uses either
    // while a slow path or helper runs.
    unsafe {
        let cpu = &mut *vcpu.cast::<Vcpu<State>>();
        let engine = &mut *cpu.rt.engine.cast::<Engine>();
        (cpu, engine)
    }
}

fn ok(value: u128, cpu: &mut Vcpu<State>) -> HelperRet {
    cpu.rt.scratch[0] = value;
    HelperRet { value: value as u64, status: 0 }
}

const FAULT: HelperRet = HelperRet { value: 0x5a5a, status: 1 };

/// The bytes of an access, or a fault, which changes the state.
fn access<'a>(
    vcpu: *mut u8,
    va: u64,
    desc: u32,
    args: [u64; 2],
    n: usize,
) -> Option<(&'a mut Vcpu<State>, &'a mut [u8])> {
    let (cpu, engine) = parts(vcpu);
    let desc = MemDesc(desc);
    let size = desc.size() as usize;
    if engine.record {
        let mut scratch = [0; 2];
        if size == 16 {
            scratch[..n].copy_from_slice(&cpu.rt.scratch[..n]);
        }
        let args = if size == 16 { [0; 2] } else { args };
        let raised = engine.raised(&cpu.rt.fp);
        engine.seen.push((cpu.state.normal(), [va, u64::from(desc.0), args[0], args[1]], scratch, raised));
    }
    let offset = va.wrapping_sub(BASE) as usize;
    let strict = desc.access().intersects(Access::ALIGNED | Access::ATOMIC | Access::EXCLUSIVE);
    let aligned = !strict || va.is_multiple_of(size as u64);
    let end = PAGES * 4096 - 4096;
    if offset > end || offset + size > end || !aligned {
        cpu.state.x[7] = 0xfa17;
        cpu.state.pc += 0x1000;
        return None;
    }
    Some((cpu, &mut engine.memory[offset..offset + size]))
}

fn value(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
}

fn write(bytes: &mut [u8], v: u128) {
    let n = bytes.len();
    bytes.copy_from_slice(&v.to_le_bytes()[..n]);
}

extern "sysv64" fn slow_load(vcpu: *mut u8, va: u64, desc: u32) -> HelperRet {
    match access(vcpu, va, desc, [0; 2], 0) {
        Some((cpu, bytes)) => ok(value(bytes), cpu),
        None => FAULT,
    }
}
extern "sysv64" fn slow_store(vcpu: *mut u8, va: u64, desc: u32, v: u64) -> HelperRet {
    match access(vcpu, va, desc, [v, 0], 1) {
        Some((cpu, bytes)) => {
            let v = if bytes.len() == 16 { cpu.rt.scratch[0] } else { u128::from(v) };
            write(bytes, v);
            ok(0, cpu)
        }
        None => FAULT,
    }
}
extern "sysv64" fn slow_atomic(vcpu: *mut u8, va: u64, desc: u32, v: u64) -> HelperRet {
    match access(vcpu, va, desc, [v, 0], 1) {
        Some((cpu, bytes)) => {
            use crate::emit::AtomicOp::*;
            let op = [Swap, Add, Clear, Xor, Or, SMax, SMin, UMax, UMin][MemDesc(desc).atomic_bits() as usize];
            let old = value(bytes);
            let n = bytes.len() as u32 * 8;
            write(bytes, eval::atomic(op, n, old, u128::from(v)));
            ok(old, cpu)
        }
        None => FAULT,
    }
}
extern "sysv64" fn slow_cas(vcpu: *mut u8, va: u64, desc: u32, expected: u64, new: u64) -> HelperRet {
    match access(vcpu, va, desc, [expected, new], 2) {
        Some((cpu, bytes)) => {
            let wide = bytes.len() == 16;
            let scratch = cpu.rt.scratch;
            let (e, n) = if wide { (scratch[0], scratch[1]) } else { (u128::from(expected), u128::from(new)) };
            let old = value(bytes);
            if old == e {
                write(bytes, n);
            }
            ok(old, cpu)
        }
        None => FAULT,
    }
}

extern "sysv64" fn help_pure(_: *mut u8, a: u64, b: u64) -> HelperRet {
    clobber_vectors();
    HelperRet { value: a.wrapping_mul(3) ^ b, status: 0 }
}
extern "sysv64" fn help_impure(vcpu: *mut u8, a: u64, b: u64, c: u64, d: u64, e: u64) -> HelperRet {
    clobber_vectors();
    let (cpu, engine) = parts(vcpu);
    let raised = engine.raised(&cpu.rt.fp);
    engine.seen.push((cpu.state.normal(), [a, b, c, d], [u128::from(e), 0], raised));
    cpu.state.x[0] = cpu.state.x[0].wrapping_add(a);
    cpu.state.v[1] ^= u128::from(b) << 60;
    cpu.state.nzcv ^= 0x4001;
    HelperRet { value: c.wrapping_add(e), status: 0 }
}
extern "sysv64" fn help_raising(vcpu: *mut u8, a: u64) -> HelperRet {
    let (cpu, engine) = parts(vcpu);
    let raised = engine.raised(&cpu.rt.fp);
    engine.seen.push((cpu.state.normal(), [a, 0, 0, 0], [0; 2], raised));
    if a.is_multiple_of(4) {
        cpu.state.pc ^= 0x123_0000;
        return FAULT;
    }
    HelperRet { value: a / 4, status: 0 }
}
extern "sysv64" fn help_wide(vcpu: *mut u8, b: u64) -> HelperRet {
    clobber_vectors();
    let (cpu, _) = parts(vcpu);
    let r = cpu.rt.scratch[0].rotate_left(13) ^ u128::from(b) ^ cpu.rt.scratch[2];
    cpu.rt.scratch[0] = r;
    HelperRet { value: r as u64, status: 0 }
}
extern "sysv64" fn help_never(vcpu: *mut u8) -> HelperRet {
    let (cpu, engine) = parts(vcpu);
    let raised = engine.raised(&cpu.rt.fp);
    engine.seen.push((cpu.state.normal(), [0; 4], [0; 2], raised));
    cpu.state.pc = 0x4444;
    HelperRet { value: 0, status: 1 }
}

/// Overwrites the vector registers, as any called function may.
fn clobber_vectors() {
    // SAFETY: declares what it destroys.
    unsafe {
        core::arch::asm!(
            "pcmpeqd xmm0, xmm0", "pcmpeqd xmm1, xmm1", "pcmpeqd xmm2, xmm2", "pcmpeqd xmm3, xmm3",
            "pcmpeqd xmm4, xmm4", "pcmpeqd xmm5, xmm5", "pcmpeqd xmm6, xmm6", "pcmpeqd xmm7, xmm7",
            "pcmpeqd xmm8, xmm8", "pcmpeqd xmm9, xmm9", "pcmpeqd xmm10, xmm10", "pcmpeqd xmm11, xmm11",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
        );
    }
}

const fn helper(name: &'static str, params: &'static [Width], result: Option<Width>, entry: *const ()) -> HelperDecl {
    HelperDecl { name, params, result, pure_: false, raises: false, never: false, entry }
}

pub static HELPERS: &[HelperDecl] = &[
    HelperDecl { pure_: true, ..helper("pure", &[64, 64], Some(64), help_pure as *const ()) },
    helper("impure", &[64, 64, 32, 64, 64], Some(64), help_impure as *const ()),
    HelperDecl { raises: true, ..helper("raising", &[64], Some(64), help_raising as *const ()) },
    HelperDecl { pure_: true, ..helper("wide", &[128, 64, 128], Some(128), help_wide as *const ()) },
    HelperDecl { raises: true, never: true, ..helper("never", &[], None, help_never as *const ()) },
];

const fn elements(offset: usize, size: u32, count: u32) -> Elements {
    Elements { offset: offset as u32, size, count }
}

pub static LAYOUT: &[Elements] = &[
    elements(offset_of!(State, x), 8, 8),
    elements(offset_of!(State, v), 16, 4),
    elements(offset_of!(State, w), 4, 4),
    elements(offset_of!(State, h), 2, 4),
    elements(offset_of!(State, b), 1, 8),
    elements(offset_of!(State, nzcv), 2, 1),
    elements(offset_of!(State, pc), 8, 1),
];

pub fn slot(kind: u32, i: usize) -> Slot {
    let (offset, width) = match kind {
        0 => (offset_of!(State, x) + 8 * (i % 8), 64),
        1 => (offset_of!(State, v) + 16 * (i % 4), 128),
        2 => (offset_of!(State, w) + 4 * (i % 4), 32),
        3 => (offset_of!(State, h) + 2 * (i % 4), 16),
        4 => (offset_of!(State, b) + i % 8, [8, 1, 4, 7][i % 4]),
        5 => (offset_of!(State, nzcv), FLAGS),
        // Parts of others.
        6 => (offset_of!(State, x) + 8 * (i % 8), 32),
        7 => (offset_of!(State, v) + 16 * (i % 4), 64),
        8 => (offset_of!(State, v) + 16 * (i % 4) + 8, 64),
        _ => (offset_of!(State, v) + 16 * (i % 4) + 4, 32),
    };
    Slot { offset: offset as u32, width, is_flags: width == FLAGS }
}

pub fn pc_slot() -> Slot {
    Slot { offset: offset_of!(State, pc) as u32, width: 64, is_flags: false }
}

impl Machine {
    pub fn new(state: &State, record: bool) -> Machine {
        let bytes: Vec<u8> = (0..(PAGES - 1) * 4096).map(|i| (i * 37 + i / 256) as u8).collect();
        let mut engine = Box::new(Engine { memory: Memory::new(&bytes), seen: Vec::new(), record, translated: false });
        let mut cpu = Box::<Vcpu<State>>::new_uninit();
        // SAFETY: all bytes are valid when zero but for the function pointers and the option, written next.
        let mut cpu = unsafe {
            cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Vcpu<State>>());
            let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
            (&raw mut (*rt).slow).write(SlowPaths {
                load: slow_load,
                store: slow_store,
                atomic: slow_atomic,
                cas: slow_cas,
                eval: eval::entry::eval_entry,
            });
            (&raw mut (*rt).services).write(None);
            cpu.assume_init()
        };
        cpu.state = state.clone();
        cpu.rt.fp.mxcsr = 0x1f80;
        cpu.rt.jump_key = 0x77;
        cpu.rt.arrival_keys = [0x77; 3];
        // No address hits an entry that nobody made.
        for (i, entry) in cpu.rt.jump.iter_mut().enumerate() {
            entry.tag = ((i as u64 ^ 1) << 2) ^ 0x77;
        }
        cpu.rt.engine = (&raw mut *engine).cast();
        cpu.rt.tlb_flush_all();
        Machine { cpu, engine }
    }

    /// Floating point flushes denormals from now on.
    pub fn flush(&mut self) {
        let fp = &mut self.cpu.rt.fp;
        fp.mxcsr |= 0x8040;
        fp.control |= FpEnv::FLUSH;
        fp.raised |= FpEnv::INEXACT;
    }

    /// Puts page 0 (read and write) and page 1 (read) into the TLB.
    pub fn fill_tlb(&mut self) {
        for page in 0..2u64 {
            let va = BASE + page * 4096;
            let host = self.engine.memory.as_mut_ptr() as u64 + page * 4096;
            let write = if page == 0 { va } else { TlbEntry::INVALID };
            let entry = TlbEntry { read: va, write, addend: host.wrapping_sub(va), phys: 0 };
            for mode in 0..2 {
                self.cpu.rt.tlb[mode][(va >> 12) as usize & (TLB_ENTRIES - 1)] = entry;
            }
        }
    }

    pub fn ptr(&mut self) -> *mut u8 {
        (&raw mut *self.cpu).cast()
    }

    /// Runs semantics in the interpreter; the result is where execution goes on (`None`: the state says).
    pub fn interpret(
        &mut self,
        fallthrough: u64,
        f: impl FnOnce(&mut Interp<'_, State, EngineMemory>) -> Result<(), Stop>,
    ) -> Option<u64> {
        let mut memory = EngineMemory { mode: 0, unprivileged_mode: 1 };
        let mut i = Interp::new(&mut self.cpu, &mut memory, HELPERS);
        let r = f(&mut i);
        match (r, i.next_pc()) {
            (Ok(()), _) => Some(fallthrough),
            (Err(Stop), next) => next,
        }
    }
}

/// A compiler with its own executable memory.
pub struct Compiler {
    pub jit: Jit,
    code: *mut u8,
}

const CODE: usize = 1 << 20;

pub fn host_features() -> HostFeatures {
    let mut f = HostFeatures::empty();
    let have = [
        (std::is_x86_feature_detected!("bmi1"), HostFeatures::BMI1),
        (std::is_x86_feature_detected!("bmi2"), HostFeatures::BMI2),
        (std::is_x86_feature_detected!("lzcnt"), HostFeatures::LZCNT),
        (std::is_x86_feature_detected!("avx"), HostFeatures::AVX),
        (std::is_x86_feature_detected!("avx2"), HostFeatures::AVX2),
        (std::is_x86_feature_detected!("fma"), HostFeatures::FMA),
        (std::is_x86_feature_detected!("f16c"), HostFeatures::F16C),
        (std::is_x86_feature_detected!("aes"), HostFeatures::AES),
        (std::is_x86_feature_detected!("pclmulqdq"), HostFeatures::PCLMUL),
        (std::is_x86_feature_detected!("sha"), HostFeatures::SHA),
        (std::is_x86_feature_detected!("movbe"), HostFeatures::MOVBE),
        (std::is_x86_feature_detected!("cmpxchg16b"), HostFeatures::CX16),
    ];
    for (yes, bit) in have {
        f.set(bit, yes);
    }
    f | Compiler::BASELINE
}

impl Compiler {
    pub const BASELINE: HostFeatures =
        HostFeatures::SSE41.union(HostFeatures::SSE42).union(HostFeatures::SSSE3).union(HostFeatures::POPCNT);

    pub fn new(features: HostFeatures, count: bool) -> Compiler {
        Self::with(features, count, Windows::Never, Mechanisms::empty())
    }

    /// With windows: for accesses through a [`super::window::Window`].
    pub fn with(features: HostFeatures, count: bool, windows: Windows, without: Mechanisms) -> Compiler {
        // SAFETY: an anonymous mapping of this process's own.
        let code = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                CODE,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(code, libc::MAP_FAILED, "executable memory");
        let cfg = JitConfig {
            rt_offset: offset_of!(Vcpu<State>, rt) as u32,
            state_size: size_of::<State>() as u32,
            pc_offset: offset_of!(State, pc) as u32,
            insn_bytes: 4,
            features,
            count,
            // Either way makes the same of a guest that is alone.
            parallel: features.contains(HostFeatures::AVX),
            windows,
            without,
            helpers: HELPERS,
            layout: LAYOUT,
        };
        // SAFETY: the mapping is used by nothing else.
        let jit = unsafe { Jit::new(cfg, code.cast(), CODE) };
        Compiler { jit, code: code.cast() }
    }

    pub fn context() -> BlockContext {
        BlockContext { pc: START, unpriv_mode: 1, fp_inline: true, ..BlockContext::default() }
    }

    /// Compiles semantics into a block; its entry.
    pub fn compile(
        &mut self,
        fallthrough: u64,
        f: impl FnOnce(&mut Builder<'_>) -> Result<(), Stop>,
    ) -> crate::jit::CompiledBlock {
        self.compile_at(Self::context(), fallthrough, f)
    }

    pub fn compile_at(
        &mut self,
        ctx: BlockContext,
        fallthrough: u64,
        f: impl FnOnce(&mut Builder<'_>) -> Result<(), Stop>,
    ) -> crate::jit::CompiledBlock {
        let mut b = self.jit.begin(ctx);
        b.begin_block();
        let r = f(&mut b);
        assert!(r.is_ok() || b.ended());
        b.finish(fallthrough).expect("the buffer is large enough")
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // SAFETY: nothing runs in it any more.
        unsafe { libc::munmap(self.code.cast(), CODE) };
    }
}
