//! What floating-point, AdvSIMD and cryptographic instructions compute, against QEMU.
//!
//! Every form in `data/disasm_simd.txt` runs on [`RUNS`] states drawn from a generator that likes special values, under all
//! combinations of FPCR's fields. `data/simd_semantics.txt` holds a hash of what QEMU 7.2 made of each (registers, flags,
//! FPSR, memory). The interpreter must agree, and so must translated code, with and without the host's optional features.
//!
//! `cargo test -p tests --test simd_semantics -- --ignored record` runs QEMU again (needs qemu-aarch64 and
//! aarch64-linux-gnu-gcc), rewrites the hashes and shows how the interpreter differs.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::mem::offset_of;
use std::process::{Command, Stdio};

use armv8_guest::isa::{self, Cpu, State};
use armv8_guest::{Armv8, helpers};
use x86_backend::emit::{Access, AtomicOp, HelperRet, Stop, Width, flags};
use x86_backend::eval::entry::eval_entry;
use x86_backend::guest::Guest;
use x86_backend::interp::{Interp, InterpMemory};
use x86_backend::jit::{BlockContext, HostFeatures, Jit, JitConfig, Windows};
use x86_backend::runtime::{MMU_MODES, MemDesc, Runtime, SlowPaths, TLB_ENTRIES, TlbEntry, Vcpu};

/// States per instruction.
const RUNS: usize = 4;
/// The page of guest memory that loads and stores use.
const MEMORY: u64 = 0x4001_0000;
const MEMORY_SIZE: usize = 0x1000;
const PC: u64 = 0x1000;
/// Cumulative flags of FPSR.
const FPSR_MASK: u64 = 0x0800_009f;

// Prepared states.

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    fn lanes(&mut self, width: u32, mut lane: impl FnMut(&mut Self) -> u64) -> u128 {
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        (0..128 / width).fold(0, |v, _| v << width | u128::from(lane(self) & mask))
    }

    /// Zeros, infinities, NaNs, limits of formats and integers.
    fn vector(&mut self) -> u128 {
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
        ];
        const F16: &[u64] = &[
            0, 0x8000, 0x7c00, 0xfc00, 0x7e01, 0x7c01, 0xfd00, 0x3c00, 0xbc00, 0x7bff, 0x0400, 0x03ff, 1, 0x4000,
            0x3800, 0x7fff, 0x8001, 0xffff, 0x00ff, 0x0100,
        ];
        const I8: &[u64] = &[0, 1, 0x7f, 0x80, 0xff, 2, 0x40, 0xc0, 8, 7, 0xf8];
        match self.below(9) {
            0 | 1 => self.lanes(64, Self::next),
            2 => self.lanes(64, |r| F64[r.below(F64.len())]),
            3 => self.lanes(32, |r| F32[r.below(F32.len())]),
            4 => self.lanes(16, |r| F16[r.below(F16.len())]),
            5 => self.lanes(8, |r| I8[r.below(I8.len())]),
            6 => self.lanes(64, |r| (f64::from(r.next() as i32) / 65536.0).to_bits()),
            7 => self.lanes(32, |r| (f32::from(r.next() as i16) / 64.0).to_bits().into()),
            _ => self.lanes(16, |r| (r.next() % 64) | if r.below(3) == 0 { 0xffc0 } else { 0 }),
        }
    }
}

#[derive(Clone)]
struct Prepared {
    word: u32,
    fpcr: u32,
    nzcv: u64,
    v: [u128; 32],
    x: [u64; 31],
}

impl Prepared {
    /// A state for `word`. Loads and stores are changed to use X28 and X27 as base and index, and offsets that stay within the
    /// page.
    fn new(word: u32, run: usize) -> Self {
        let mut rng = Rng((u64::from(word) << 8 | run as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        let mut word = word;
        let memory = is_memory(word);
        let field = |word: u32, lo: u32, v: u32| word & !(31 << lo) | v << lo;
        if memory {
            word = field(word, 5, 28);
            let structure = word & 0xbe00_0000 == 0x0c00_0000;
            let unsigned_offset = word & 0x3f00_0000 == 0x3d00_0000;
            let register_offset = word & 0x3f20_0c00 == 0x3c20_0800;
            let post_indexed_by_register = structure && word >> 23 & 1 == 1 && rng.below(2) == 0;
            if unsigned_offset {
                word &= !(0x3f << 16);
            }
            if register_offset || post_indexed_by_register {
                word = field(word, 16, 27);
            }
        }
        let control = rng.next() as u32;
        let mut fpcr = (control & 3) << 22;
        for (i, bit) in [24, 25, 26, 19].into_iter().enumerate() {
            // The first run has the default environment but for the rounding.
            if run > 0 && control >> (2 + i) & 1 == 1 {
                fpcr |= 1 << bit;
            }
        }
        if word & 0xffff_fc00 == 0x1e7e_0000 {
            // This QEMU's FJCVTZS takes a flushed denormal for exact.
            fpcr &= !(1 << 24);
        }
        let nzcv = (rng.next() & 15) << 28;
        let v = std::array::from_fn(|_| rng.vector());
        let mut x = std::array::from_fn(|_| if rng.below(4) == 0 { rng.vector() as u64 } else { rng.next() });
        if memory {
            x[28] = MEMORY + 0x800;
            // Negative offsets, unless zero-extended from 32 bits.
            let signed = !(word & 0x3f20_0c00 == 0x3c20_0800 && word >> 13 & 7 == 2);
            x[27] = (rng.below(128) as u64).wrapping_sub(if signed { 64 } else { 0 });
        }
        Self { word, fpcr, nzcv, v, x }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.word.to_le_bytes());
        out.extend(self.fpcr.to_le_bytes());
        out.extend(self.nzcv.to_le_bytes());
        self.v.iter().for_each(|v| out.extend(v.to_le_bytes()));
        self.x.iter().for_each(|x| out.extend(x.to_le_bytes()));
        out
    }
}

fn is_memory(word: u32) -> bool {
    word & 0x0a00_0000 == 0x0800_0000
}

/// Instructions to run: the forms of `disasm_simd.txt` but PC-relative loads, and what this QEMU gets wrong (it leaves the upper
/// half of a scalar half-precision result of the fixed-point conversions sign-extended).
fn words() -> impl Iterator<Item = u32> {
    include_str!("../data/disasm_simd.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| u32::from_str_radix(l.split(' ').nth(1).expect("three columns"), 16).expect("a hexadecimal number"))
        .filter(|w| w & 0x3b00_0000 != 0x1800_0000 && w & 0xdff0_fc00 != 0x5f10_fc00)
}

fn pattern() -> Vec<u8> {
    (0..MEMORY_SIZE).map(|i| (i * 37 + (i >> 8) * 101 + 11) as u8).collect()
}

// Results.

#[derive(Clone, PartialEq)]
struct Outcome {
    v: [u128; 32],
    x: [u64; 31],
    nzcv: u64,
    fpsr: u64,
    memory: u64,
    stopped: bool,
}

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

const FNV_START: u64 = 1_469_598_103_934_665_603;

impl Outcome {
    fn hash(&self) -> u32 {
        let mut h = FNV_START;
        self.v.iter().for_each(|v| h = fnv(h, &v.to_le_bytes()));
        self.x.iter().for_each(|x| h = fnv(h, &x.to_le_bytes()));
        for part in [self.nzcv, self.fpsr, self.memory, self.stopped.into()] {
            h = fnv(h, &part.to_le_bytes());
        }
        (h ^ h >> 32) as u32
    }

    /// From a record of the oracle.
    fn read(record: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
        Self {
            v: std::array::from_fn(|i| u128::from(word(16 * i)) | u128::from(word(16 * i + 8)) << 64),
            x: std::array::from_fn(|i| word(512 + 8 * i)),
            nzcv: word(760),
            fpsr: word(768) & FPSR_MASK,
            memory: word(776),
            stopped: word(784) != 0,
        }
    }

    fn difference(&self, wanted: &Self) -> String {
        let mut out = String::new();
        for i in 0..32 {
            if self.v[i] != wanted.v[i] {
                let _ = write!(out, " v{i} {:032x} not {:032x}", self.v[i], wanted.v[i]);
            }
        }
        for i in 0..31 {
            if self.x[i] != wanted.x[i] {
                let _ = write!(out, " x{i} {:x} not {:x}", self.x[i], wanted.x[i]);
            }
        }
        let rest = [
            ("nzcv", self.nzcv, wanted.nzcv),
            ("fpsr", self.fpsr, wanted.fpsr),
            ("memory", self.memory, wanted.memory),
            ("stopped", self.stopped.into(), wanted.stopped.into()),
        ];
        for (name, a, b) in rest.into_iter().filter(|(_, a, b)| a != b) {
            let _ = write!(out, " {name} {a:x} not {b:x}");
        }
        out
    }
}

const RECORD: usize = 512 + 248 + 32;

// Our side.

/// A page of guest memory, also the engine behind the slow paths.
#[repr(align(4096))]
struct Page([u8; MEMORY_SIZE]);

impl Page {
    fn range(&mut self, addr: u64, bytes: usize) -> Result<&mut [u8], Stop> {
        let at = usize::try_from(addr.wrapping_sub(MEMORY)).map_err(|_| Stop)?;
        self.0.get_mut(at..at.saturating_add(bytes)).ok_or(Stop)
    }
    fn read(&mut self, addr: u64, bytes: usize) -> Result<u128, Stop> {
        Ok(self.range(addr, bytes)?.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b)))
    }
    fn write(&mut self, addr: u64, bytes: usize, v: u128) -> Result<(), Stop> {
        self.range(addr, bytes)?.copy_from_slice(&v.to_le_bytes()[..bytes]);
        Ok(())
    }
}

impl InterpMemory<State> for Page {
    fn load(&mut self, _: &mut Vcpu<State>, n: Width, addr: u64, _: Access) -> Result<u128, Stop> {
        self.read(addr, n as usize / 8)
    }
    fn store(&mut self, _: &mut Vcpu<State>, n: Width, addr: u64, v: u128, _: Access) -> Result<(), Stop> {
        self.write(addr, n as usize / 8, v)
    }
    fn atomic(&mut self, _: &mut Cpu, _: AtomicOp, _: Width, _: u64, _: u128, _: Access) -> Result<u128, Stop> {
        Err(Stop)
    }
    fn cas(&mut self, _: &mut Cpu, _: Width, _: u64, _: u128, _: u128, _: Access) -> Result<u128, Stop> {
        Err(Stop)
    }
}

const FAULT: HelperRet = HelperRet { value: 0, status: 1 };

fn parts<'a>(vcpu: *mut u8) -> (&'a mut Cpu, &'a mut Page) {
    // SAFETY: translated code passes the vCPU of a `Machine`, whose engine pointer leads to its page; nothing else uses
    // either while a slow path runs.
    unsafe {
        let cpu = &mut *vcpu.cast::<Cpu>();
        let page = &mut *cpu.rt.engine.cast::<Page>();
        (cpu, page)
    }
}

extern "sysv64" fn slow_load(vcpu: *mut u8, va: u64, desc: u32) -> HelperRet {
    let (cpu, page) = parts(vcpu);
    page.read(va, MemDesc(desc).size() as usize).map_or(FAULT, |v| {
        cpu.rt.scratch[0] = v;
        HelperRet { value: v as u64, status: 0 }
    })
}
extern "sysv64" fn slow_store(vcpu: *mut u8, va: u64, desc: u32, v: u64) -> HelperRet {
    let (cpu, page) = parts(vcpu);
    let size = MemDesc(desc).size() as usize;
    let v = if size == 16 { cpu.rt.scratch[0] } else { v.into() };
    page.write(va, size, v).map_or(FAULT, |()| HelperRet { value: 0, status: 0 })
}
extern "sysv64" fn no_atomic(_: *mut u8, _: u64, _: u32, _: u64) -> HelperRet {
    FAULT
}
extern "sysv64" fn no_cas(_: *mut u8, _: u64, _: u32, _: u64, _: u64) -> HelperRet {
    FAULT
}

struct Machine {
    cpu: Box<Cpu>,
    page: Box<Page>,
}

impl Machine {
    fn new() -> Self {
        let mut page = Box::new(Page([0; MEMORY_SIZE]));
        let mut cpu = Box::<Cpu>::new_uninit();
        // SAFETY: what is not written is valid when zero.
        let mut cpu = unsafe {
            cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Cpu>());
            (&raw mut (*cpu.as_mut_ptr()).state).write(Armv8::reset_state());
            let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
            let slow =
                SlowPaths { load: slow_load, store: slow_store, atomic: no_atomic, cas: no_cas, eval: eval_entry };
            (&raw mut (*rt).slow).write(slow);
            (&raw mut (*rt).services).write(None);
            cpu.assume_init()
        };
        cpu.rt.engine = (&raw mut *page).cast();
        cpu.rt.fp.mxcsr = 0x1f80;
        cpu.state.cpacr_el1 = 3 << 20;
        Self { cpu, page }
    }

    fn prepare(&mut self, p: &Prepared, fill_tlb: bool) {
        let cpu = &mut self.cpu;
        self.page.0.copy_from_slice(&pattern());
        cpu.state.v = p.v;
        cpu.state.x = p.x;
        cpu.state.pc = PC;
        cpu.state.nzcv = flags::from_nzcv((p.nzcv >> 28) as u8);
        helpers::fpsr_written(cpu, 0);
        helpers::fpcr_written(cpu, p.fpcr.into());
        cpu.rt.tlb_flush_all();
        if fill_tlb {
            let addend = (&raw const *self.page as u64).wrapping_sub(MEMORY);
            for mode in 0..MMU_MODES {
                cpu.rt.tlb[mode][(MEMORY >> 12) as usize & (TLB_ENTRIES - 1)] =
                    TlbEntry { read: MEMORY, write: MEMORY, addend, phys: 0 };
            }
        }
    }

    fn outcome(&mut self, stopped: bool) -> Outcome {
        Outcome {
            v: self.cpu.state.v,
            x: self.cpu.state.x,
            nzcv: u64::from(flags::to_nzcv(self.cpu.state.nzcv)) << 28,
            fpsr: helpers::fpsr_read(&mut self.cpu) & FPSR_MASK,
            memory: fnv(FNV_START, &self.page.0),
            stopped,
        }
    }

    fn interpret(&mut self, p: &Prepared) -> Outcome {
        self.prepare(p, false);
        let context = self.cpu.state.context();
        let mut interp = Interp::new(&mut self.cpu, &mut *self.page, isa::HELPERS);
        let stopped = isa::translate(&mut interp, p.word, PC, context).is_err();
        self.outcome(stopped)
    }

    fn translate(&mut self, jit: &mut Jit, p: &Prepared, fill_tlb: bool) -> Outcome {
        self.prepare(p, fill_tlb);
        let context = self.cpu.state.context();
        if jit.capacity() - jit.used() < 1 << 16 {
            jit.reset();
        }
        let mut builder = jit.begin(BlockContext {
            pc: PC,
            mmu_mode: Armv8::mmu_mode(context, false) as u32,
            unpriv_mode: Armv8::mmu_mode(context, true) as u32,
            fp_inline: Armv8::fp_inline(context),
            strict_align: Armv8::strict_alignment(context),
        });
        builder.begin_insn(PC);
        let left = isa::translate(&mut builder, p.word, PC, context).is_err();
        let block = builder.finish(PC + 4).expect("there is room");
        jit.enter((&raw mut *self.cpu).cast(), block.entry);
        self.outcome(left)
    }
}

/// A compiler with executable memory of its own.
fn compiler(features: HostFeatures) -> Jit {
    const SIZE: usize = 1 << 20;
    // SAFETY: an anonymous mapping, never unmapped.
    let code = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(code, libc::MAP_FAILED, "executable memory");
    let config = JitConfig {
        rt_offset: offset_of!(Cpu, rt) as u32,
        state_size: size_of::<State>() as u32,
        pc_offset: Armv8::PC_OFFSET,
        insn_bytes: 4,
        features,
        count: false,
        windows: Windows::Never,
        helpers: isa::HELPERS,
        layout: isa::LAYOUT,
    };
    // SAFETY: the mapping is used by nothing else.
    unsafe { Jit::new(config, code.cast(), SIZE) }
}

fn host_features() -> HostFeatures {
    let mut f = BASELINE;
    for (have, bit) in [
        (is_x86_feature_detected!("bmi1"), HostFeatures::BMI1),
        (is_x86_feature_detected!("bmi2"), HostFeatures::BMI2),
        (is_x86_feature_detected!("lzcnt"), HostFeatures::LZCNT),
        (is_x86_feature_detected!("avx"), HostFeatures::AVX),
        (is_x86_feature_detected!("avx2"), HostFeatures::AVX2),
        (is_x86_feature_detected!("fma"), HostFeatures::FMA),
        (is_x86_feature_detected!("f16c"), HostFeatures::F16C),
        (is_x86_feature_detected!("aes"), HostFeatures::AES),
        (is_x86_feature_detected!("pclmulqdq"), HostFeatures::PCLMUL),
        (is_x86_feature_detected!("sha"), HostFeatures::SHA),
        (is_x86_feature_detected!("movbe"), HostFeatures::MOVBE),
        (is_x86_feature_detected!("cmpxchg16b"), HostFeatures::CX16),
    ] {
        f.set(bit, have);
    }
    f
}

/// x86-64-v2.
const BASELINE: HostFeatures =
    HostFeatures::SSE41.union(HostFeatures::SSE42).union(HostFeatures::SSSE3).union(HostFeatures::POPCNT);

/// Runs everything; `execute` must come to QEMU's results. Where it doesn't, the interpreter's tell how.
fn check(mut execute: impl FnMut(&mut Machine, &Prepared) -> Outcome) {
    let mut machine = Machine::new();
    let mut report = String::new();
    let (mut wrong, mut count) = (0, 0);
    let mut recorded = include_str!("../data/simd_semantics.txt").lines().filter(|l| !l.starts_with('#'));
    for word in words() {
        let mut columns = recorded.next().expect("a line for every instruction").split(' ');
        assert_eq!(columns.next(), Some(format!("{word:08x}").as_str()), "record the hashes again");
        for run in 0..RUNS {
            let wanted = u32::from_str_radix(columns.next().expect("a hash for every run"), 16).expect("a hash");
            let p = Prepared::new(word, run);
            let got = execute(&mut machine, &p);
            count += 1;
            if got.hash() != wanted {
                wrong += 1;
                let reference = machine.interpret(&p);
                let mut text = String::new();
                isa::disassemble(p.word, PC, &mut text).expect("writing to a string succeeds");
                let why =
                    if reference.hash() == wanted { got.difference(&reference) } else { " (see `record`)".into() };
                if wrong <= 60 {
                    let _ = writeln!(report, "{:08x} {text} fpcr {:x} run {run}:{why}", p.word, p.fpcr);
                }
            }
        }
    }
    assert!(wrong == 0, "{wrong} of {count} differ:\n{report}");
}

#[test]
fn interpreter_computes_what_qemu_does() {
    check(Machine::interpret);
}

#[test]
fn translated_code_computes_what_qemu_does() {
    let mut jit = compiler(host_features());
    check(|machine, p| machine.translate(&mut jit, p, true));
}

#[test]
fn translated_code_for_a_plain_host_computes_what_qemu_does() {
    let mut jit = compiler(BASELINE);
    check(|machine, p| machine.translate(&mut jit, p, false));
}

#[test]
#[ignore = "needs qemu-aarch64 and aarch64-linux-gnu-gcc; rewrites data/simd_semantics.txt"]
fn record() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let oracle = dir.path().join("oracle");
    let compiled = Command::new("aarch64-linux-gnu-gcc")
        .args(["-O1", "-static", "-o"])
        .arg(&oracle)
        .arg(data.join("oracle.c"))
        .status()
        .expect("the cross compiler runs");
    assert!(compiled.success(), "the oracle compiles");
    let all: Vec<Prepared> = words().flat_map(|w| (0..RUNS).map(move |run| Prepared::new(w, run))).collect();
    let bytes: Vec<u8> = all.iter().flat_map(Prepared::bytes).collect();
    let mut child = Command::new("qemu-aarch64")
        .args(["-cpu", "max"])
        .arg(&oracle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-aarch64 runs");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let mut out = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut out).expect("the oracle answers");
    writer.join().expect("no panic").expect("the oracle listens");
    assert!(child.wait().expect("qemu-aarch64 ends").success(), "the oracle succeeds");
    assert_eq!(out.len(), all.len() * RECORD, "the oracle answers everything");

    let mut text = String::from(
        "# Hashes of what QEMU 7.2 made of the instructions of disasm_simd.txt (see tests/simd_semantics.rs): word, one per state.\n",
    );
    let mut machine = Machine::new();
    let mut outcomes = all.iter().zip(out.chunks(RECORD)).map(|(p, record)| (p, Outcome::read(record)));
    for word in words() {
        let _ = write!(text, "{word:08x}");
        for (p, theirs) in outcomes.by_ref().take(RUNS) {
            let _ = write!(text, " {:08x}", theirs.hash());
            let ours = machine.interpret(p);
            if ours != theirs {
                println!("{:08x} fpcr {:x}:{}", p.word, p.fpcr, ours.difference(&theirs));
            }
        }
        text.push('\n');
    }
    std::fs::write(data.join("simd_semantics.txt"), text).expect("the data directory is writable");
}
