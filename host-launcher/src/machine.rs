//! What both accelerators share: a fresh control block for a start of the guest, and the shape of a running engine.

use crate::boot::{Images, RAM_BASE, Ram, Start};
use crate::cli::Mmu;
use crate::host_cpu;
use dbt_kernel::shared::{Control, MAX_DEVICES, RamRegion, option};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use x86_backend::jit::Mechanisms;

/// Room for what is known of code and for four bytes of each page of guest RAM, up to 128 GiB. What isn't used isn't backed.
pub const HEAP_BYTES: usize = 256 << 20;
/// What is known of blocks takes about half as much of the heap. All that isn't guest RAM has to stay below 192 MiB.
pub const CODE_BYTES: usize = 96 << 20;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub count: bool,
    pub no_reboot: bool,
    pub hot_after: u32,
    pub without: Mechanisms,
    pub mmu: Mmu,
}

/// A running engine: something to serve, and to get out of translated code by force.
pub trait Running {
    fn link(&self) -> &Arc<crate::link::Link>;
    /// Makes the vCPU's thread leave translated code, if it can.
    fn kick(&self);
}

/// The control block's boot part, but for what depends on the engine's address space.
#[must_use]
pub fn control(images: &Images, ram: &Ram, start: &Start, options: Options) -> Control {
    let mut control = Control::new();
    control.vcpus = images.cpus();
    let flag = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
    control.options = flag(options.count, option::COUNT)
        | flag(options.no_reboot, option::NO_REBOOT)
        | flag(options.mmu == Mmu::Host, option::HOST_MMU)
        | flag(options.mmu == Mmu::Auto, option::HOST_MMU_ON_DEMAND);
    control.hot_after = options.hot_after;
    control.without = options.without.bits();
    control.host_features = host_cpu::features();
    control.ram[0] = RamRegion { guest_phys: RAM_BASE, size: ram.size, engine_addr: 0, vm_phys: 0 };
    // Their number was checked when the device tree was.
    for (slot, device) in control.devices.iter_mut().zip(start.devices.iter().take(MAX_DEVICES)) {
        *slot = *device;
    }
    control.guest_entry = start.entry;
    control.guest_arg0 = start.arg0;
    control.tsc_hz = host_cpu::tsc_hz();
    control.tsc_origin = host_cpu::tsc();
    control.unix_origin = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    control
}
