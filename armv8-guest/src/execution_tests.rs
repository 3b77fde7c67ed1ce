//! Guest programs run by the reference interpreter over the real address translation and exception model.

use crate::isa::{self, Cpu, State};
use crate::testing::{AP_EL0, Machine, PAGE_RW, RAM_BASE};
use crate::{Armv8, context, exceptions};
use x86_backend::emit::{Access, AtomicOp, BranchKind, Stop, Width, flags};
use x86_backend::guest::{AccessKind, Guest};
use x86_backend::interp::{self, InterpMemory};

/// Memory as the architecture defines it: every byte through a walk, aborts taken.
struct GuestMemory;

impl GuestMemory {
    fn locate(cpu: &mut Cpu, addr: u64, kind: AccessKind, acc: Access) -> Result<u64, Stop> {
        let mode = Armv8::mmu_mode(cpu.state.context(), acc.contains(Access::UNPRIV));
        Armv8::walk(cpu, addr, kind, mode).map(|m| m.phys).map_err(|fault| {
            Armv8::raise(cpu, fault, addr, kind, acc);
            Stop
        })
    }

    fn aligned(cpu: &mut Cpu, n: Width, addr: u64, kind: AccessKind, acc: Access) -> Result<(), Stop> {
        let strict = acc.contains(Access::ALIGNED) || Armv8::strict_alignment(cpu.state.context());
        if strict && !addr.is_multiple_of(u64::from(n / 8)) {
            Armv8::raise(cpu, Armv8::alignment_fault(kind), addr, kind, acc);
            return Err(Stop);
        }
        Ok(())
    }
}

impl InterpMemory<State> for GuestMemory {
    fn load(&mut self, cpu: &mut Cpu, n: Width, addr: u64, acc: Access) -> Result<u128, Stop> {
        Self::aligned(cpu, n, addr, AccessKind::Read, acc)?;
        let mut value = 0;
        for i in 0..n / 8 {
            let phys = Self::locate(cpu, addr.wrapping_add(i.into()), AccessKind::Read, acc)?;
            let byte = cpu.services().phys_read(phys, 1).map_err(|_| Stop)?;
            value |= u128::from(byte) << (8 * i);
        }
        Ok(value)
    }
    fn store(&mut self, cpu: &mut Cpu, n: Width, addr: u64, v: u128, acc: Access) -> Result<(), Stop> {
        Self::aligned(cpu, n, addr, AccessKind::Write, acc)?;
        for i in 0..n / 8 {
            let phys = Self::locate(cpu, addr.wrapping_add(i.into()), AccessKind::Write, acc)?;
            cpu.services().phys_write(phys, 1, (v >> (8 * i)) as u64 & 0xff).map_err(|_| Stop)?;
        }
        Ok(())
    }
    fn atomic(&mut self, cpu: &mut Cpu, op: AtomicOp, n: Width, addr: u64, v: u128, acc: Access) -> Result<u128, Stop> {
        let old = self.load(cpu, n, addr, acc)?;
        let new = match op {
            AtomicOp::Swap => v,
            AtomicOp::Add => old.wrapping_add(v),
            AtomicOp::Clear => old & !v,
            AtomicOp::Xor => old ^ v,
            AtomicOp::Or => old | v,
            AtomicOp::UMax => old.max(v),
            AtomicOp::UMin => old.min(v),
            AtomicOp::SMax | AtomicOp::SMin => panic!("not in these programs"),
        };
        self.store(cpu, n, addr, new, acc)?;
        Ok(old)
    }
    fn cas(&mut self, cpu: &mut Cpu, n: Width, addr: u64, exp: u128, new: u128, acc: Access) -> Result<u128, Stop> {
        let old = self.load(cpu, n, addr, acc)?;
        if old == exp {
            self.store(cpu, n, addr, new, acc)?;
        }
        Ok(old)
    }
}

impl Machine {
    /// Puts a program at a physical address.
    fn program(&mut self, phys: u64, words: &[u32]) {
        for (i, word) in words.iter().enumerate() {
            self.services_write(phys + 4 * i as u64, *word);
        }
    }

    fn services_write(&mut self, phys: u64, word: u32) {
        use x86_backend::guest::Services;
        self.services().phys_write(phys, 4, word.into()).expect("RAM");
    }

    /// Executes one instruction.
    fn step(&mut self) {
        let cpu = &mut self.cpu;
        let pc = cpu.state.pc;
        let mode = Armv8::mmu_mode(cpu.state.context(), false);
        let mapping = match Armv8::walk(cpu, pc, AccessKind::Fetch, mode) {
            Ok(mapping) => mapping,
            Err(fault) => return Armv8::raise(cpu, fault, pc, AccessKind::Fetch, Access::empty()),
        };
        let word = cpu.services().phys_read(mapping.phys, 4).expect("RAM") as u32;
        let context = cpu.state.context() | mapping.code_context;
        interp::step_in::<Armv8, _>(cpu, &mut GuestMemory, word, context);
    }

    /// Executes until the program counter is `end`.
    fn run_to(&mut self, end: u64) {
        for _ in 0..10_000 {
            if self.cpu.state.pc == end {
                return;
            }
            self.step();
        }
        panic!("the program did not reach {end:#x}; it is at {:#x}", self.cpu.state.pc);
    }
}

#[test]
fn a_function_call_a_drop_to_el0_and_a_system_call() {
    let mut m = Machine::new();
    m.program(
        RAM_BASE,
        &[
            0xd280_0c80, // mov x0, #100
            0x9400_000c, // bl sum
            0x1000_3fc1, // adr x1, vectors
            0xd518_c001, // msr vbar_el1, x1
            0x1000_00a2, // adr x2, user
            0xd518_4022, // msr elr_el1, x2
            0xd280_7803, // mov x3, #0x3c0
            0xd518_4003, // msr spsr_el1, x3
            0xd69f_03e0, // eret
            // user:
            0x9100_0400, // add x0, x0, #1
            0xd53b_4204, // mrs x4, nzcv
            0xd400_00e1, // svc #7
            0x1400_0000, // b .
            // sum:
            0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
            0xaa00_03e1, // mov x1, x0
            0xd280_0000, // mov x0, #0
            0x8b01_0000, // add x0, x0, x1
            0xf100_0421, // subs x1, x1, #1
            0x54ff_ffc1, // b.ne -8
            0xa8c1_7bfd, // ldp x29, x30, [sp], #16
            0xd65f_03c0, // ret
        ],
    );
    m.program(RAM_BASE + 0xc00, &[0xd538_5205, 0xd538_4246]); // mrs x5, esr_el1; mrs x6, currentel
    m.cpu.state.pc = RAM_BASE;
    m.cpu.state.sp_el1 = RAM_BASE + 0x8000;
    m.run_to(RAM_BASE + 0xc08);
    let state = &m.cpu.state;
    assert_eq!(state.x[0], 5051);
    assert_eq!(state.x[5], 0x5600_0007);
    assert_eq!(state.x[6], 4);
    assert_eq!(state.sp_el1, RAM_BASE + 0x8000);
    assert_eq!(state.elr_el1, RAM_BASE + 0x30);
    assert_eq!(flags::to_nzcv(state.nzcv), 0, "ERET loaded them from SPSR_EL1");
}

#[test]
fn user_accesses_fault_as_their_pages_say() {
    let mut m = Machine::with_mmu();
    let (code, data, kernel) = (0x40_0000, 0x41_0000, 0x42_0000);
    m.map(code, RAM_BASE, PAGE_RW | AP_EL0);
    m.map(data, RAM_BASE + 0x1000, PAGE_RW | AP_EL0);
    m.map(kernel, RAM_BASE + 0x2000, PAGE_RW);
    // str x1, [x0]; ldr x2, [x0], #8; nop
    m.program(RAM_BASE, &[0xf900_0001, 0xf840_8402, 0xd503_201f]);
    m.cpu.state.vbar_el1 = 0x8000;
    let mut run = |address: u64| {
        let state = &mut m.cpu.state;
        (state.el, state.spsel, state.pc) = (0, 0, code);
        state.x[0] = address;
        state.x[1] = 0x1122_3344_5566_7788;
        state.x[2] = 0;
        context::update(state);
        while m.cpu.state.el == 0 && m.cpu.state.pc != code + 8 {
            m.step();
        }
        (m.cpu.state.pc, m.cpu.state.x[2], m.cpu.state.x[0])
    };
    assert_eq!(run(data + 0x10), (code + 8, 0x1122_3344_5566_7788, data + 0x18));
    // Across the end of the page.
    assert_eq!(run(data + 0xffc).0, 0x8400);
    assert_eq!(run(kernel).0, 0x8400);
    let state = &m.cpu.state;
    assert_eq!((state.esr_el1, state.far_el1, state.elr_el1), (0x9200_004f, kernel, code));
}

#[test]
fn what_does_not_decode_is_undefined() {
    let mut m = Machine::new();
    m.cpu.state.vbar_el1 = 0x8000;
    for word in [0x0000_0000, 0xffff_ffff, 0xd5ff_ffff] {
        m.program(RAM_BASE, &[word]);
        m.cpu.state.pc = RAM_BASE;
        m.step();
        assert_eq!(m.cpu.state.pc, 0x8200, "{word:#x}");
        assert_eq!(m.cpu.state.esr_el1 >> 26, u64::from(exceptions::class::UNKNOWN));
    }
}

#[test]
fn floating_point_needs_to_be_enabled() {
    let mut m = Machine::new();
    m.cpu.state.vbar_el1 = 0x8000;
    // fadd d0, d1, d2
    m.program(RAM_BASE, &[0x1e62_2820]);
    m.cpu.state.v[1] = 1.5f64.to_bits().into();
    m.cpu.state.v[2] = u128::from(2.25f64.to_bits()) | 7 << 64;
    m.cpu.state.v[0] = u128::MAX;
    m.cpu.state.pc = RAM_BASE;
    m.step();
    assert_eq!(m.cpu.state.esr_el1, 0x1fe0_0000);
    m.cpu.state.cpacr_el1 = 3 << 20;
    context::update(&mut m.cpu.state);
    m.cpu.state.pc = RAM_BASE;
    m.step();
    assert_eq!(m.cpu.state.v[0], u128::from(3.75f64.to_bits()));
}

#[test]
fn control_registers_reach_the_context() {
    let mut m = Machine::new();
    // msr cpacr_el1, x0; msr sctlr_el1, x1; msr spsel, #0; msr pan, #1; msr fpcr, x2; mrs x3, sctlr_el1
    m.program(RAM_BASE, &[0xd518_1040, 0xd518_1001, 0xd500_40bf, 0xd500_419f, 0xd51b_4402, 0xd538_1003]);
    let state = &mut m.cpu.state;
    state.pc = RAM_BASE;
    state.sp_el1 = RAM_BASE + 0x1000;
    state.sp_el0 = RAM_BASE + 0x1008;
    state.x[0] = u64::MAX;
    state.x[1] = state.sctlr_el1 | 0b1010;
    state.x[2] = 0x0300_0000;
    let sctlr = state.x[1];
    m.run_to(RAM_BASE + 24);
    let state = &m.cpu.state;
    assert_eq!((state.fp_off, state.strict_align, state.spsel, state.pan), (0, 1, 0, 1));
    assert_eq!((state.sp_check, state.fp_slow), (1, 1));
    assert_eq!(m.cpu.rt.fp.control, 0xc);
    assert_eq!(state.x[3], sctlr);
    assert_eq!(isa::ctx::sp_check(state.context()), 1);
}

#[test]
fn timers_and_interrupts() {
    let mut m = Machine::new();
    // msr cntv_tval_el0, x0; msr cntv_ctl_el0, x1; msr daifclr, #2; wfi; nop
    m.program(RAM_BASE, &[0xd51b_e300, 0xd51b_e321, 0xd503_42ff, 0xd503_207f, 0xd503_201f]);
    m.cpu.state.vbar_el1 = RAM_BASE + 0x8000;
    m.cpu.state.pc = RAM_BASE;
    (m.cpu.state.x[0], m.cpu.state.x[1]) = (100, 1);
    m.services().ticks = 5000;
    m.run_to(RAM_BASE + 16);
    assert_eq!(m.services().waits, 1);
    assert_eq!(m.services().deadline, 5100);
    assert!(!Armv8::poll_events(&mut m.cpu));
    m.services().ticks = 5100;
    assert!(Armv8::poll_events(&mut m.cpu));
    assert_eq!(m.cpu.state.pc, RAM_BASE + 0x8280);
    assert_eq!(m.cpu.state.elr_el1, RAM_BASE + 16);
}

#[test]
fn exclusives_and_atomics() {
    let mut m = Machine::new();
    // ldxr x1, [x0]; add x1, x1, #1; stxr w2, x1, [x0]; stxr w3, x1, [x0]; ldaddal x4, x5, [x0]; cas x6, x7, [x0]
    m.program(RAM_BASE, &[0xc85f_7c01, 0x9100_0421, 0xc802_7c01, 0xc803_7c01, 0xf8e4_0005, 0xc8a6_7c07]);
    m.write(RAM_BASE + 0x100, 41);
    let state = &mut m.cpu.state;
    state.pc = RAM_BASE;
    state.x[0] = RAM_BASE + 0x100;
    (state.x[4], state.x[6], state.x[7]) = (8, 50, 99);
    m.run_to(RAM_BASE + 24);
    let state = &m.cpu.state;
    assert_eq!((state.x[2], state.x[3], state.x[5], state.x[6]), (0, 1, 42, 50));
    assert_eq!(m.read(RAM_BASE + 0x100), 99);
}

#[test]
fn disassembly() {
    let text = |word| {
        let mut out = String::new();
        Armv8::disassemble(word, 0x1000, &mut out).expect("strings take everything");
        out
    };
    assert_eq!(text(0xa9bf_7bfd), "stp  x29, x30, [sp, #-16]!");
    assert_eq!(text(0x9400_000c), "bl  0x1030");
}

#[test]
fn branches_into_a_guarded_page_must_land_where_they_may() {
    const GUARDED: u64 = 1 << 50;
    const PAGE: u64 = 0x5000;
    // By a jump through X16, a call, another jump; by RET or a direct branch, which are always right.
    let ways = [
        (Some(BranchKind::Trampoline), 1),
        (Some(BranchKind::IndirectCall), 2),
        (Some(BranchKind::IndirectJump), 3),
        (None, 0),
    ];
    // nop, bti c, bti j
    let pads = [
        (0xd503_201f, [true, false, false, false]),
        (0xd503_245f, [true, true, true, false]),
        (0xd503_249f, [true, true, false, true]),
    ];
    for (pad, lands) in pads {
        for (kind, btype) in ways {
            for guarded in [false, true] {
                let mut m = Machine::with_mmu();
                m.cpu.state.vbar_el1 = 0x9000;
                m.map(PAGE, RAM_BASE, PAGE_RW | if guarded { GUARDED } else { 0 });
                m.program(RAM_BASE, &[pad]);
                m.cpu.state.pc = PAGE;
                let mapping = Armv8::walk(&mut m.cpu, PAGE, AccessKind::Fetch, 1).unwrap();
                assert_eq!(mapping.code_context != 0, guarded);
                if let (Some(kind), true) = (kind, guarded) {
                    Armv8::arrive(&mut m.cpu, kind, Some(pad), mapping.code_context);
                }
                m.step();
                let state = &m.cpu.state;
                assert_eq!(state.btype, 0);
                if !guarded || lands[btype as usize] {
                    assert_eq!(state.pc, PAGE + 4, "{kind:?} to {pad:#x}");
                } else {
                    assert_eq!(state.pc, 0x9200, "{kind:?} to {pad:#x}");
                    assert_eq!(state.esr_el1, 0x3600_0000 | btype);
                    assert_eq!(state.elr_el1, PAGE);
                    assert_eq!(state.spsr_el1 >> 10 & 3, btype);
                }
            }
        }
    }
}
