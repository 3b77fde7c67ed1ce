//! Exceptions that instructions raise.

use crate::context;
use crate::exceptions::{self, ISS_COND_ALWAYS, class};
use crate::isa::Cpu;
use crate::mmu::{Mode, Regime};
use x86_backend::emit::Stop;
use x86_backend::guest::AccessKind;

/// The engine's log tells which instructions those were: one that a program needs and this machine lacks shows there.
pub fn raise_undefined(cpu: &mut Cpu) {
    let pc = cpu.state.pc;
    if let Some(word) = instruction_word(cpu) {
        cpu.services().undefined_instruction(word.into(), pc);
    }
    exceptions::synchronous(cpu, class::UNKNOWN, 0);
}

pub fn raise_svc(cpu: &mut Cpu, imm: u64) {
    let next = cpu.state.pc.wrapping_add(4);
    exceptions::synchronous_from(cpu, class::SVC, imm as u32 & 0xffff, next);
}

/// There is no EL3: undefined.
pub fn raise_smc(cpu: &mut Cpu, _imm: u64) {
    raise_undefined(cpu);
}

pub fn raise_brk(cpu: &mut Cpu, imm: u64) {
    exceptions::synchronous(cpu, class::BRK, imm as u32 & 0xffff);
}

pub fn raise_fp_access(cpu: &mut Cpu) {
    exceptions::synchronous(cpu, class::FP_ACCESS, ISS_COND_ALWAYS);
}

pub fn raise_sp_alignment(cpu: &mut Cpu) {
    exceptions::synchronous(cpu, class::SP_ALIGNMENT, 0);
}

pub fn raise_branch_target(cpu: &mut Cpu) {
    let btype = cpu.state.btype.into();
    exceptions::synchronous(cpu, class::BRANCH_TARGET, btype);
}

pub fn raise_wfx_trap(cpu: &mut Cpu, which: u64) {
    exceptions::synchronous(cpu, class::WFX, ISS_COND_ALWAYS | (which as u32 & 1));
}

pub fn exception_return(cpu: &mut Cpu, target: u64) {
    exceptions::exception_return(cpu, target);
}

pub fn sysreg_undefined(cpu: &mut Cpu, _encoding: u64) {
    raise_undefined(cpu);
}

pub fn sysreg_trap(cpu: &mut Cpu, encoding: u64) {
    // The register operand and the direction stand in the instruction word only.
    let word = instruction_word(cpu).unwrap_or(0);
    let encoding = encoding as u32;
    let (op0, op1) = (encoding >> 14 & 3, encoding >> 11 & 7);
    let (crn, crm, op2) = (encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7);
    let (rt, read) = (word & 31, word >> 21 & 1);
    let iss = (op0 << 20) | (op2 << 17) | (op1 << 14) | (crn << 10) | (rt << 5) | (crm << 1) | read;
    exceptions::synchronous(cpu, class::SYSREG, iss);
}

/// The instruction at the PC. It has been fetched before, so failing is a race of the guest with itself.
fn instruction_word(cpu: &mut Cpu) -> Option<u32> {
    let regime = Regime::of(&cpu.state);
    let mode = if cpu.state.el == 0 { Mode::User } else { Mode::Kernel };
    let pc = cpu.state.pc;
    let services = cpu.services();
    let phys = regime.translate(services, pc, AccessKind::Fetch, mode).ok()?.mapping.phys;
    services.phys_read(phys, 4).ok().map(|word| word as u32)
}

/// # Errors
/// The check of the stack pointer's alignment starts or ends: goes on at the next instruction.
pub fn stack_changed(cpu: &mut Cpu) -> Result<(), Stop> {
    let check = context::sp_check(&cpu.state);
    if check == cpu.state.sp_check {
        return Ok(());
    }
    cpu.state.sp_check = check;
    cpu.state.pc = cpu.state.pc.wrapping_add(4);
    Err(Stop)
}

pub fn cpacr_written(cpu: &mut Cpu) {
    context::update(&mut cpu.state);
}
