//! FPCR and FPSR. Cumulative exceptions collect in three places: MXCSR (operations the host's unit did), `FpEnv::raised`
//! (operations done in software) and the stored FPSR.

use crate::context::{self, fpcr};
use crate::isa::Cpu;

/// QC, IDC, IXC, UFC, OFC, DZC, IOC.
const FPSR_MASK: u64 = 0x0800_009f;
const MXCSR_FLAGS: u32 = 0x3f;

/// MXCSR's sticky flags at FPSR's places. Its denormal-operand flag has no counterpart: Arm's input denormal means "flushed".
fn host_flags(mxcsr: u32) -> u64 {
    let bit = |from: u32, to: u32| u64::from(mxcsr >> from & 1) << to;
    bit(0, 0) | bit(2, 1) | bit(3, 2) | bit(4, 3) | bit(5, 4)
}

pub fn fpsr_read(cpu: &mut Cpu) -> u64 {
    (cpu.state.fpsr | host_flags(cpu.rt.fp.mxcsr) | u64::from(cpu.rt.fp.raised)) & FPSR_MASK
}

pub fn fpsr_written(cpu: &mut Cpu, v: u64) {
    cpu.state.fpsr = v & FPSR_MASK;
    cpu.rt.fp.mxcsr &= !MXCSR_FLAGS;
    cpu.rt.fp.raised = 0;
    context::update(&mut cpu.state);
}

/// Cumulative Inexact may have been raised, on which the context depends under FPCR.FZ. Gives whether that changed it.
pub fn note_inexact(cpu: &mut Cpu) -> bool {
    if cpu.state.fpcr & fpcr::FZ == 0 || cpu.state.fp_flush != 0 {
        return false;
    }
    cpu.state.fpsr = fpsr_read(cpu);
    context::update(&mut cpu.state);
    cpu.state.fp_flush != 0
}

pub fn fpcr_written(cpu: &mut Cpu, v: u64) {
    // The context looks at what is stored.
    cpu.state.fpsr = fpsr_read(cpu);
    cpu.state.fpcr = v & fpcr::MASK;
    let (mxcsr, control) = context::fp_environment(cpu.state.fpcr);
    cpu.rt.fp.mxcsr = mxcsr | (cpu.rt.fp.mxcsr & MXCSR_FLAGS);
    cpu.rt.fp.control = control;
    context::update(&mut cpu.state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;
    use x86_backend::runtime::FpEnv;

    #[test]
    fn rounding_reaches_the_host_and_keeps_its_flags() {
        let mut m = Machine::new();
        m.cpu.rt.fp.mxcsr = 0x1f80 | 0x20;
        for (arm, host) in [(0, 0), (1, 2), (2, 1), (3, 3)] {
            fpcr_written(&mut m.cpu, arm << 22);
            assert_eq!(m.cpu.rt.fp.mxcsr, 0x1fa0 | (host << 13));
            assert_eq!(m.cpu.rt.fp.control, arm as u32);
            assert_eq!(m.cpu.state.fp_slow, 0);
        }
        fpcr_written(&mut m.cpu, u64::MAX);
        assert_eq!(m.cpu.state.fpcr, 0x07c8_0000);
        assert_eq!(m.cpu.rt.fp.control, 0x3f);
        assert_eq!(m.cpu.state.fp_slow, 1);
        fpcr_written(&mut m.cpu, fpcr::DN);
        assert_eq!((m.cpu.rt.fp.control, m.cpu.state.fp_slow), (FpEnv::DEFAULT_NAN, 0));
    }

    #[test]
    fn the_host_flushes_once_inexact_is_set() {
        let mut m = Machine::new();
        let context = |m: &Machine| (m.cpu.state.fp_slow, m.cpu.state.fp_flush);
        fpcr_written(&mut m.cpu, fpcr::FZ);
        assert_eq!(m.cpu.rt.fp.mxcsr, 0x9fc0);
        assert_eq!(context(&m), (1, 0));
        assert!(!note_inexact(&mut m.cpu));
        m.cpu.rt.fp.raised = FpEnv::INEXACT;
        assert!(note_inexact(&mut m.cpu) && !note_inexact(&mut m.cpu));
        assert_eq!(context(&m), (0, 1));
        // It stays so when exceptions are taken, until the guest clears it.
        context::update(&mut m.cpu.state);
        assert_eq!(context(&m), (0, 1));
        fpsr_written(&mut m.cpu, 0x8f);
        assert_eq!(context(&m), (1, 0));
        fpsr_written(&mut m.cpu, 0x10);
        assert_eq!(context(&m), (0, 1));
        fpcr_written(&mut m.cpu, fpcr::FZ | fpcr::FZ16);
        assert_eq!(context(&m), (1, 0));
        // What the host raised before counts, too.
        fpsr_written(&mut m.cpu, 0);
        fpcr_written(&mut m.cpu, 0);
        assert_eq!((context(&m), m.cpu.rt.fp.mxcsr), ((0, 0), 0x1f80));
        m.cpu.rt.fp.mxcsr |= 0x20;
        fpcr_written(&mut m.cpu, fpcr::FZ);
        assert_eq!(context(&m), (0, 1));
    }

    #[test]
    fn cumulative_flags_come_from_everywhere_and_are_cleared_everywhere() {
        let mut m = Machine::new();
        m.cpu.state.fpsr = 1 << 27;
        m.cpu.rt.fp.mxcsr = 0x1f80 | 0b10_0111;
        m.cpu.rt.fp.raised = 0x84;
        assert_eq!(fpsr_read(&mut m.cpu), 0x0800_0097);
        fpsr_written(&mut m.cpu, 0);
        assert_eq!(fpsr_read(&mut m.cpu), 0);
        assert_eq!(m.cpu.rt.fp.mxcsr, 0x1f80);
        fpsr_written(&mut m.cpu, u64::MAX);
        assert_eq!(fpsr_read(&mut m.cpu), FPSR_MASK);
    }
}
