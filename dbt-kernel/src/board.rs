//! The devices of the machine, as the launcher found them in the device tree, and their view of the outside.

use crate::platform::Platform;
use crate::shared::{Control, DeviceKind};
use devices::bus::{DeviceBus, Host, Model};

/// The device bus with the launcher's rings behind it.
pub struct Board {
    bus: DeviceBus,
}

struct Outside<'a, P> {
    control: &'a Control,
    platform: &'a P,
    tsc_hz: u64,
}

impl<P: Platform> Host for Outside<'_, P> {
    fn console_write(&mut self, byte: u8) {
        while !self.control.console_out.push(byte) {
            self.platform.drain();
        }
    }

    fn unix_time(&self) -> u64 {
        let elapsed = self.platform.tsc().saturating_sub(self.control.tsc_origin);
        self.control.unix_origin + elapsed / self.tsc_hz
    }
}

fn outside<'a, P: Platform>(control: &'a Control, platform: &'a P) -> Outside<'a, P> {
    Outside { control, platform, tsc_hz: control.tsc_hz.max(1) }
}

impl Board {
    /// The devices `control` lists. One whose region overlaps another's is left out: the launcher reports those before
    /// the machine starts.
    #[must_use]
    pub fn new(control: &Control) -> Self {
        let mut bus = DeviceBus::new(control.vcpus.clamp(1, crate::shared::MAX_VCPUS as u32) as usize);
        for desc in &control.devices {
            let model = match desc.kind {
                DeviceKind::None => continue,
                DeviceKind::Pl011 => Model::Pl011 { spi: desc.spi },
                DeviceKind::Pl031 => Model::Pl031 { spi: desc.spi },
                DeviceKind::Pl061 => Model::Pl061 { spi: desc.spi },
                DeviceKind::GicV2 => Model::GicV2 { cpu_base: desc.base2, cpu_size: desc.size2 },
                DeviceKind::V2mFrame => Model::V2mFrame,
                DeviceKind::VirtioEmpty => Model::VirtioEmpty,
                DeviceKind::RazWi => Model::ReadsZeros,
                DeviceKind::ReadsOnes => Model::ReadsOnes,
                DeviceKind::FwCfg => Model::FwCfg,
            };
            let _ = bus.add(model, desc.base, desc.size);
        }
        Self { bus }
    }

    /// `None`: nothing answers.
    pub fn read<P: Platform>(
        &mut self,
        phys: u64,
        size: u32,
        cpu: u32,
        control: &Control,
        platform: &P,
    ) -> Option<u64> {
        self.bus.read(cpu as usize, phys, size, &mut outside(control, platform)).ok()
    }

    /// `None`: nothing answers.
    pub fn write<P: Platform>(
        &mut self,
        phys: u64,
        size: u32,
        value: u64,
        cpu: u32,
        control: &Control,
        platform: &P,
    ) -> Option<()> {
        self.bus.write(cpu as usize, phys, size, value, &mut outside(control, platform)).ok()
    }

    /// The launcher has news: takes typed characters, lets alarms look at the clock.
    pub fn host_event<P: Platform>(&mut self, control: &Control, platform: &P) {
        let mut outside = outside(control, platform);
        while let Some(byte) = control.console_in.pop() {
            self.bus.console_input(byte, &mut outside);
        }
        self.bus.poll(&mut outside);
    }

    pub fn set_private_irq(&mut self, cpu: u32, irq: u32, level: bool) {
        self.bus.set_private_irq(cpu as usize, irq, level);
    }

    #[must_use]
    pub fn irq_asserted(&self, cpu: u32) -> bool {
        self.bus.irq_asserted(cpu as usize)
    }
}
