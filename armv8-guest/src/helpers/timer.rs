//! The generic timer: two comparators on one counter, the virtual offset being zero.

use crate::exceptions;
use crate::isa::{Cpu, State};

const ENABLE: u64 = 1;
const IMASK: u64 = 2;
const ISTATUS: u64 = 4;

/// Private interrupts of the physical and the virtual timer.
const IRQ: [u32; 2] = [30, 27];

/// Control and compare value of a timer: 0 the physical one, 1 the virtual one.
fn timer(state: &State, which: u64) -> (u64, u64) {
    if which == 0 { (state.cntp_ctl, state.cntp_cval_el0) } else { (state.cntv_ctl, state.cntv_cval_el0) }
}

/// Brings the timers' interrupt outputs and the engine's deadline up to date.
pub(crate) fn update(cpu: &mut Cpu) {
    let timers = [timer(&cpu.state, 0), timer(&cpu.state, 1)];
    let services = cpu.services();
    let now = services.ticks();
    let mut deadline = u64::MAX;
    for ((control, compare), irq) in timers.into_iter().zip(IRQ) {
        let enabled = control & (ENABLE | IMASK) == ENABLE;
        let reached = now >= compare;
        services.set_private_irq(irq, enabled && reached);
        if enabled && !reached {
            deadline = deadline.min(compare);
        }
    }
    services.set_deadline(deadline);
}

/// After software changed a timer: the interrupt input may have risen.
fn reprogrammed(cpu: &mut Cpu) {
    update(cpu);
    if cpu.services().irq_asserted() {
        cpu.state.irq_line = 1;
        exceptions::mask_changed(cpu);
    }
}

pub fn read_cntvct(cpu: &mut Cpu) -> u64 {
    cpu.services().ticks()
}

pub fn read_cntpct(cpu: &mut Cpu) -> u64 {
    cpu.services().ticks()
}

pub fn timer_written(cpu: &mut Cpu, _which: u64) {
    reprogrammed(cpu);
}

pub fn timer_ctl_read(cpu: &mut Cpu, which: u64) -> u64 {
    let (control, compare) = timer(&cpu.state, which);
    let reached = control & ENABLE != 0 && cpu.services().ticks() >= compare;
    (control & (ENABLE | IMASK)) | if reached { ISTATUS } else { 0 }
}

/// The signed 32-bit distance to the compare value.
pub fn timer_tval_read(cpu: &mut Cpu, which: u64) -> u64 {
    let (_, compare) = timer(&cpu.state, which);
    compare.wrapping_sub(cpu.services().ticks()) & 0xffff_ffff
}

pub fn timer_tval_written(cpu: &mut Cpu, which: u64, v: u64) {
    let compare = cpu.services().ticks().wrapping_add(i64::from(v as i32) as u64);
    if which == 0 {
        cpu.state.cntp_cval_el0 = compare;
    } else {
        cpu.state.cntv_cval_el0 = compare;
    }
    reprogrammed(cpu);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    #[test]
    fn a_timer_fires_when_its_time_has_come() {
        let mut m = Machine::new();
        m.services().ticks = 1000;
        timer_tval_written(&mut m.cpu, 1, 50);
        assert_eq!(m.services().deadline, u64::MAX, "not enabled");
        m.cpu.state.cntv_ctl = ENABLE;
        timer_written(&mut m.cpu, 1);
        assert_eq!(m.services().deadline, 1050);
        assert_eq!(timer_tval_read(&mut m.cpu, 1), 50);
        assert_eq!(timer_ctl_read(&mut m.cpu, 1), ENABLE);
        m.services().ticks = 1051;
        update(&mut m.cpu);
        assert_eq!(m.services().private_irqs.get(&27), Some(&true));
        assert_eq!(m.services().private_irqs.get(&30), Some(&false));
        assert_eq!(timer_ctl_read(&mut m.cpu, 1), ENABLE | ISTATUS);
        assert_eq!(timer_tval_read(&mut m.cpu, 1), 0xffff_ffff);
        assert_eq!(m.services().deadline, u64::MAX);
        m.cpu.state.cntv_ctl = ENABLE | IMASK;
        timer_written(&mut m.cpu, 1);
        assert_eq!(m.services().private_irqs.get(&27), Some(&false));
    }
}
