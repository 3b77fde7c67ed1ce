//! Address translation control, TLB and cache maintenance.
//!
//! The `op` of an operation is op1:CRn:CRm:op2 of its system instruction. Caches are coherent, so that what is left of cache
//! maintenance is the check of its address and, for instructions, dropping translations.

use crate::context;
use crate::exceptions::{self, ISS_CM};
use crate::isa::Cpu;
use crate::mmu::{Fault, Mode, Regime, Translation, sctlr};
use x86_backend::emit::Stop;
use x86_backend::guest::AccessKind;
use x86_backend::runtime::{PAGE_BITS, TLB_ENTRIES};

/// Bytes of a cache line, instruction and data.
const LINE: u64 = 64;

fn crm(op: u64) -> u64 {
    op >> 3 & 15
}

/// Tells the engine when another ASID has come into use. Translations made under one ASID stay valid under it whatever the
/// table base registers hold: guests have to invalidate them explicitly.
fn announce_address_space(cpu: &mut Cpu) {
    let asid = Regime::of(&cpu.state).asid();
    if asid != cpu.state.current_asid {
        cpu.state.current_asid = asid;
        cpu.services().address_space_changed(asid.into());
    }
}

/// SCTLR_EL1 changed in these bits. Few of them have to do with translation; kernels switch others when they switch tasks.
pub fn sctlr_written(cpu: &mut Cpu, changed: u64) {
    if changed & (sctlr::M | sctlr::WXN) != 0 {
        mmu_control_written(cpu);
    } else {
        context::update(&mut cpu.state);
    }
}

/// What controls translation changed: any translation may have.
pub fn mmu_control_written(cpu: &mut Cpu) {
    context::update(&mut cpu.state);
    let services = cpu.services();
    services.tlb_flush(None);
    services.fetch_mapping_changed(None);
    announce_address_space(cpu);
}

pub fn ttbr_written(cpu: &mut Cpu, _which: u64) {
    announce_address_space(cpu);
}

/// By address: that page in every address space. By ASID: what isn't global of that one.
pub fn tlbi(cpu: &mut Cpu, op: u64, v: u64) {
    let va = match op & 7 {
        0 => None,
        2 => {
            let asid = Regime::of(&cpu.state).asid_in(v);
            return cpu.services().forget_address_space(asid.into());
        }
        // VA bits 55:12; bit 55 says which half, and so what is above.
        _ => Some(((v << 20) as i64 >> 8) as u64),
    };
    let services = cpu.services();
    services.tlb_flush(va);
    services.fetch_mapping_changed(va);
}

/// Translates for the current level without regard to PSTATE.PAN, as maintenance by address does.
fn translate(cpu: &mut Cpu, va: u64, kind: AccessKind) -> Result<Translation, Fault> {
    let regime = Regime::of(&cpu.state);
    let mode = if cpu.state.el == 0 { Mode::User } else { Mode::Kernel };
    regime.translate(cpu.services(), va, kind, mode)
}

/// Takes the abort of a maintenance instruction: reported as a write, and as what it is.
fn maintenance_abort(cpu: &mut Cpu, fault: Fault, va: u64) -> Stop {
    exceptions::abort(cpu, fault, va, AccessKind::Write, ISS_CM);
    Stop
}

/// Address translation: the outcome goes to PAR_EL1.
///
/// # Errors
/// Memory with a descriptor does not answer.
pub fn at(cpu: &mut Cpu, op: u64, va: u64) -> Result<(), Stop> {
    let write = op & 1 != 0;
    let user = op & 2 != 0;
    let with_pan = crm(op) == 9;
    let mode = match (user, with_pan && cpu.state.pan != 0) {
        (true, _) => Mode::User,
        (_, true) => Mode::KernelPan,
        _ => Mode::Kernel,
    };
    let kind = if write { AccessKind::Write } else { AccessKind::Read };
    let regime = Regime::of(&cpu.state);
    cpu.state.par_el1 = match regime.translate(cpu.services(), va, kind, mode) {
        Ok(t) => {
            // Bit 9: the address is in the non-secure space. Device memory is outer shareable whatever its descriptor says.
            let shareability = if t.mapping.device { 2 } else { u64::from(t.shareability) };
            (t.mapping.phys & 0x0000_ffff_ffff_f000)
                | u64::from(t.attributes) << 56
                | shareability << 7
                | 1 << 9
                | 1 << 11
        }
        Err(fault @ Fault::ExternalOnWalk(_)) => {
            exceptions::abort(cpu, fault, va, kind, 0);
            return Err(Stop);
        }
        Err(fault) => 1 | u64::from(fault.status()) << 1 | 1 << 11,
    };
    Ok(())
}

/// # Errors
/// The address does not translate, or not to memory that may be read (written, for invalidation without cleaning).
pub fn dc_va(cpu: &mut Cpu, op: u64, va: u64) -> Result<(), Stop> {
    let invalidate_only = crm(op) == 6;
    // What the software TLB lets this level do needs no walk.
    let mode = if cpu.state.el == 0 { Mode::User } else { Mode::Kernel } as usize;
    let entry = &cpu.rt.tlb[mode][(va >> PAGE_BITS) as usize & (TLB_ENTRIES - 1)];
    let page = if invalidate_only { entry.write } else { entry.read };
    if page == va & !((1 << PAGE_BITS) - 1) {
        return Ok(());
    }
    let kind = if invalidate_only { AccessKind::Write } else { AccessKind::Read };
    match translate(cpu, va, kind) {
        Ok(_) => Ok(()),
        Err(fault) => Err(maintenance_abort(cpu, fault, va)),
    }
}

/// # Errors
/// The address does not translate, or not to memory that may be read.
pub fn ic_ivau(cpu: &mut Cpu, va: u64) -> Result<(), Stop> {
    match translate(cpu, va, AccessKind::Read) {
        Ok(t) => {
            cpu.services().invalidate_code(t.mapping.phys & !(LINE - 1), LINE);
            Ok(())
        }
        Err(fault) => Err(maintenance_abort(cpu, fault, va)),
    }
}

/// Stores into memory that code was translated from drop it by themselves: there is nothing stale, and what runs ends with this
/// instruction.
pub fn ic_all(_: &mut Cpu) {}

/// CCSIDR_EL1: 32 KiB of each kind in level 1, 512 KiB unified in level 2; lines of 64 bytes.
pub fn cache_id_read(cpu: &mut Cpu) -> u64 {
    let size = |sets: u64, ways: u64| (sets - 1) << 13 | (ways - 1) << 3 | 2;
    match cpu.state.csselr_el1 & 0xf {
        0 | 1 => size(128, 4),
        2 => size(1024, 8),
        // No such cache.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{AP_RO, Machine, PAGE_RW};

    const S1E1R: u64 = (7 << 7) | (8 << 3);
    const S1E0W: u64 = S1E1R | 3;
    const CVAC: u64 = (3 << 11) | (7 << 7) | (10 << 3) | 1;

    #[test]
    fn only_another_asid_is_announced() {
        let mut m = Machine::new();
        m.cpu.state.tcr_el1 = 1 << 36 | 1 << 22;
        m.cpu.state.ttbr1_el1 = 7 << 48;
        ttbr_written(&mut m.cpu, 1);
        m.cpu.state.ttbr0_el1 = 0x1234_0000_0000_1000;
        ttbr_written(&mut m.cpu, 0);
        m.cpu.state.ttbr1_el1 = 8 << 48;
        ttbr_written(&mut m.cpu, 1);
        assert_eq!(m.services().address_spaces, [7, 8]);
        m.cpu.state.tcr_el1 = 0;
        mmu_control_written(&mut m.cpu);
        // Now eight bits of TTBR0's.
        assert_eq!(m.services().address_spaces, [7, 8, 0x34]);
        assert_eq!(m.services().tlb_flushes, [None]);
    }

    #[test]
    fn only_control_bits_of_translation_flush() {
        let mut m = Machine::new();
        m.cpu.state.sctlr_el1 |= sctlr::EN_IA | sctlr::A;
        sctlr_written(&mut m.cpu, sctlr::EN_IA | sctlr::A);
        assert_eq!((m.cpu.state.pac_on, m.cpu.state.strict_align), (1, 1));
        assert!(m.services().tlb_flushes.is_empty());
        m.cpu.state.sctlr_el1 |= sctlr::M;
        sctlr_written(&mut m.cpu, sctlr::M);
        assert_eq!(m.services().tlb_flushes, [None]);
    }

    #[test]
    fn a_cached_translation_permits_what_it_permits() {
        const IVAC: u64 = (7 << 7) | (6 << 3) | 1;
        let mut m = Machine::with_mmu();
        m.map(0x40_0000, 0x4008_0000, PAGE_RW | AP_RO);
        let mode = Mode::Kernel as usize;
        m.cpu.rt.tlb[mode][(0x40_0000 >> PAGE_BITS) & (TLB_ENTRIES - 1)].read = 0x40_0000;
        assert_eq!(dc_va(&mut m.cpu, CVAC, 0x40_0040), Ok(()));
        assert_eq!(dc_va(&mut m.cpu, IVAC, 0x40_0040), Err(Stop));
        assert_eq!(m.cpu.state.esr_el1 & 0x1ff, 0x14f);
    }

    #[test]
    fn tlb_maintenance_by_address_extends_the_sign() {
        let mut m = Machine::new();
        tlbi(&mut m.cpu, 0x438 | 1, 0x00ff_0fff_8000_1234);
        tlbi(&mut m.cpu, 0x438 | 7, 0x0000_0000_0040_0000);
        tlbi(&mut m.cpu, 0x438, 0);
        tlbi(&mut m.cpu, 0x438 | 2, 5 << 48);
        let kernel = 0xffff_f800_0123_4000;
        assert_eq!(m.services().tlb_flushes, [Some(kernel), Some(0x4_0000_0000), None]);
        assert_eq!(m.services().fetch_changes.len(), 3);
        assert_eq!(m.services().forgotten_spaces, [5]);
    }

    #[test]
    fn address_translation_reports_in_par() {
        let mut m = Machine::with_mmu();
        m.map(0x40_0000, 0x4008_0000, PAGE_RW);
        at(&mut m.cpu, S1E1R, 0x40_0123).unwrap();
        assert_eq!(m.cpu.state.par_el1, 0xff00_0000_4008_0b80);
        at(&mut m.cpu, S1E0W, 0x40_0123).unwrap();
        assert_eq!(m.cpu.state.par_el1, 1 | 0x0f << 1 | 1 << 11);
        at(&mut m.cpu, S1E1R, 0x80_0000).unwrap();
        assert_eq!(m.cpu.state.par_el1 & 1, 1);
    }

    #[test]
    fn maintenance_of_an_unmapped_address_aborts() {
        let mut m = Machine::with_mmu();
        m.map(0x40_0000, 0x4008_0000, PAGE_RW);
        m.cpu.state.pc = 0x40_0000;
        assert_eq!(dc_va(&mut m.cpu, CVAC, 0x40_0040), Ok(()));
        assert_eq!(ic_ivau(&mut m.cpu, 0x40_0050), Ok(()));
        assert_eq!(m.services().invalidated, [(0x4008_0040, 64)]);
        assert_eq!(dc_va(&mut m.cpu, CVAC, 0x50_0000), Err(Stop));
        let esr = m.cpu.state.esr_el1;
        assert_eq!(esr >> 26, 0x25);
        assert_eq!(esr & 0x1ff, 0x147);
        assert_eq!(m.cpu.state.far_el1, 0x50_0000);
    }
}
