//! The firmware interface by HVC: Arm's Power State Coordination Interface 1.0 of a machine with one CPU, and the SMC calling
//! convention's own discovery.

use super::{events, exceptions};
use crate::isa::Cpu;
use core::sync::atomic::Ordering;
use x86_backend::emit::Stop;
use x86_backend::guest::SystemEvent;
use x86_backend::runtime::event;

const SMCCC_VERSION: u32 = 0x8000_0000;
const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
const VERSION: u32 = 0x8400_0000;
const CPU_SUSPEND: u32 = 0x8400_0001;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_ON: u32 = 0x8400_0003;
const AFFINITY_INFO: u32 = 0x8400_0004;
const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const FEATURES: u32 = 0x8400_000a;
const SYSTEM_RESET2: u32 = 0x8400_0012;
/// In a function identifier: arguments have 64 bits.
const SMC64: u32 = 0x4000_0000;

const SUCCESS: i64 = 0;
const NOT_SUPPORTED: i64 = -1;
const INVALID_PARAMETERS: i64 = -2;
const DENIED: i64 = -3;
const ALREADY_ON: i64 = -4;

/// Functions that exist with 64-bit arguments, too.
const fn has_64_bit_form(function: u32) -> bool {
    matches!(function, CPU_SUSPEND | CPU_ON | AFFINITY_INFO | SYSTEM_RESET2)
}

const fn implemented(function: u32) -> bool {
    let base = if has_64_bit_form(function & !SMC64) { function & !SMC64 } else { function };
    matches!(
        base,
        SMCCC_VERSION
            | SMCCC_ARCH_FEATURES
            | VERSION
            | CPU_SUSPEND
            | CPU_OFF
            | CPU_ON
            | AFFINITY_INFO
            | MIGRATE_INFO_TYPE
            | SYSTEM_OFF
            | SYSTEM_RESET
            | FEATURES
            | SYSTEM_RESET2
    )
}

/// Affinity fields of an MPIDR: the CPU's name.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// # Errors
/// From EL0 the instruction is undefined.
pub fn hvc(cpu: &mut Cpu, _imm: u64) -> Result<(), Stop> {
    if cpu.state.el == 0 {
        exceptions::raise_undefined(cpu);
        return Err(Stop);
    }
    let function = cpu.state.x[0] as u32;
    let target = cpu.state.x[1] & if function & SMC64 != 0 { u64::MAX } else { 0xffff_ffff };
    let this_cpu = target & AFFINITY == 0;
    let result = if !implemented(function) {
        NOT_SUPPORTED
    } else {
        match function & !SMC64 {
            _ if function == SMCCC_VERSION => 0x1_0001,
            // No workaround is needed.
            _ if function == SMCCC_ARCH_FEATURES => match cpu.state.x[1] as u32 {
                SMCCC_VERSION | SMCCC_ARCH_FEATURES => SUCCESS,
                _ => NOT_SUPPORTED,
            },
            VERSION => 0x1_0000,
            CPU_SUSPEND => {
                events::wfi(cpu);
                SUCCESS
            }
            CPU_OFF => DENIED,
            CPU_ON if this_cpu => ALREADY_ON,
            // 0: on.
            AFFINITY_INFO if this_cpu => SUCCESS,
            CPU_ON | AFFINITY_INFO => INVALID_PARAMETERS,
            // No trusted operating system to migrate.
            MIGRATE_INFO_TYPE => 2,
            FEATURES if implemented(cpu.state.x[1] as u32) => SUCCESS,
            FEATURES => NOT_SUPPORTED,
            SYSTEM_OFF => system(cpu, SystemEvent::PowerOff),
            _ => system(cpu, SystemEvent::Reset),
        }
    };
    cpu.state.x[0] = result as u64;
    Ok(())
}

fn system(cpu: &mut Cpu, what: SystemEvent) -> i64 {
    cpu.services().system_event(what);
    cpu.rt.events.fetch_or(event::LEAVE, Ordering::Relaxed);
    SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    fn call(m: &mut Machine, function: u32, argument: u64) -> i64 {
        m.cpu.state.x[0] = function.into();
        m.cpu.state.x[1] = argument;
        hvc(&mut m.cpu, 0).expect("EL1 may call");
        m.cpu.state.x[0] as i64
    }

    #[test]
    fn a_driver_probes_the_version_and_features() {
        let mut m = Machine::new();
        assert_eq!(call(&mut m, VERSION, 0), 0x1_0000);
        assert_eq!(call(&mut m, FEATURES, SYSTEM_RESET2.into()), 0);
        assert_eq!(call(&mut m, FEATURES, u64::from(CPU_ON | SMC64)), 0);
        assert_eq!(call(&mut m, FEATURES, 0x8400_0050), -1);
        assert_eq!(call(&mut m, MIGRATE_INFO_TYPE, 0), 2);
        assert_eq!(call(&mut m, SMCCC_VERSION, 0), 0x1_0001);
        assert_eq!(call(&mut m, SMCCC_ARCH_FEATURES, 0x8000_8000), -1);
        assert_eq!(call(&mut m, 0x1234, 0), -1);
        assert_eq!(call(&mut m, VERSION | SMC64, 0), -1);
    }

    #[test]
    fn there_is_one_cpu() {
        let mut m = Machine::new();
        assert_eq!(call(&mut m, CPU_ON | SMC64, 0), ALREADY_ON);
        assert_eq!(call(&mut m, CPU_ON | SMC64, 1), INVALID_PARAMETERS);
        assert_eq!(call(&mut m, AFFINITY_INFO, 0), 0);
        assert_eq!(call(&mut m, CPU_OFF, 0), DENIED);
    }

    #[test]
    fn power_off_and_reset_reach_the_machine() {
        let mut m = Machine::new();
        call(&mut m, SYSTEM_OFF, 0);
        call(&mut m, SYSTEM_RESET, 0);
        call(&mut m, SYSTEM_RESET2 | SMC64, 0);
        assert_eq!(m.services().system, [SystemEvent::PowerOff, SystemEvent::Reset, SystemEvent::Reset]);
    }

    #[test]
    fn user_code_may_not_call() {
        let mut m = Machine::new();
        m.cpu.state.el = 0;
        m.cpu.state.x[0] = SYSTEM_OFF.into();
        assert_eq!(hvc(&mut m.cpu, 0), Err(Stop));
        assert_eq!(m.cpu.state.esr_el1 >> 26, 0);
        assert!(m.services().system.is_empty());
    }
}
