//! Random numbers for the guest.

use crate::isa::Cpu;

/// 64 random bits from the host; zero stands for "none at the moment".
pub fn random_number(cpu: &mut Cpu) -> u64 {
    cpu.services().random().unwrap_or(0)
}
