//! The system bus: guest-physical ranges, the devices behind them, and their wires to the interrupt controller.
//!
//! The bus owns the devices and the interrupt controller; what lies outside (console, clock) is a [`Host`] that each call
//! brings along. An address that nothing answers at is an error for the caller to report, never a panic.

use crate::gicv2::GicV2;
use crate::{Bus, Device};
use alloc::boxed::Box;
use alloc::vec::Vec;
use thiserror::Error;

/// What the machine offers to its devices.
pub trait Host {
    /// A byte for the console.
    fn console_write(&mut self, byte: u8);
    /// Seconds since 1970.
    fn unix_time(&self) -> u64;
}

/// Nothing answers at this address, or the access crosses the end of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no device at {address:#x}")]
pub struct Unmapped {
    pub address: u64,
}

/// A region could not be put on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MapError {
    #[error("the region {base:#x}, {size:#x} bytes, overlaps another device")]
    Overlap { base: u64, size: u64 },
    #[error("the region {base:#x}, {size:#x} bytes, is empty or wraps around")]
    Invalid { base: u64, size: u64 },
    #[error("a machine has one interrupt controller")]
    SecondController,
}

/// A device of the machine, as a description of it (a device tree) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Region: the distributor. The CPU interface stands elsewhere.
    GicV2 {
        cpu_base: u64,
        cpu_size: u64,
    },
    /// Message-signalled interrupt frame of the interrupt controller.
    V2mFrame,
    Pl011 {
        spi: u32,
    },
    Pl031 {
        spi: u32,
    },
    Pl061 {
        spi: u32,
    },
    VirtioEmpty,
    FwCfg,
    /// A known device without a model: reads as zero, ignores writes.
    ReadsZeros,
    /// Reads as all ones, ignores writes.
    ReadsOnes,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Distributor,
    CpuInterface,
    Device(usize),
}

#[derive(Clone, Copy, Debug)]
struct Region {
    base: u64,
    /// First address beyond.
    end: u64,
    target: Target,
}

/// The bus with everything on it.
pub struct DeviceBus {
    /// Sorted by base, disjoint.
    regions: Vec<Region>,
    devices: Vec<Box<dyn Device + Send>>,
    gic: GicV2,
    has_gic: bool,
}

/// A device's view of the machine during one call.
struct Wires<'a> {
    gic: &'a mut GicV2,
    host: &'a mut dyn Host,
}

impl Bus for Wires<'_> {
    fn set_irq(&mut self, spi: u32, level: bool) {
        self.gic.set_spi(spi, level);
    }
    fn console_write(&mut self, byte: u8) {
        self.host.console_write(byte);
    }
    fn unix_time(&self) -> u64 {
        self.host.unix_time()
    }
}

impl DeviceBus {
    /// An empty bus of a machine with `cpus` CPUs.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        Self { regions: Vec::new(), devices: Vec::new(), gic: GicV2::new(cpus), has_gic: false }
    }

    /// Puts a modelled device at `base`.
    ///
    /// # Errors
    /// The region is not usable.
    pub fn add(&mut self, model: Model, base: u64, size: u64) -> Result<(), MapError> {
        match model {
            Model::GicV2 { cpu_base, cpu_size } => {
                if self.has_gic {
                    return Err(MapError::SecondController);
                }
                self.map(base, size, Target::Distributor)?;
                self.map(cpu_base, cpu_size, Target::CpuInterface)?;
                self.has_gic = true;
                Ok(())
            }
            Model::V2mFrame => self.attach(base, size, Box::new(crate::v2m::V2mFrame)),
            Model::Pl011 { spi } => self.attach(base, size, Box::new(crate::pl011::Pl011::new(spi))),
            Model::Pl031 { spi } => self.attach(base, size, Box::new(crate::pl031::Pl031::new(spi))),
            Model::Pl061 { spi } => self.attach(base, size, Box::new(crate::pl061::Pl061::new(spi))),
            Model::VirtioEmpty => self.attach(base, size, Box::new(crate::virtio_empty::VirtioEmpty)),
            Model::FwCfg => self.attach(base, size, Box::new(crate::fw_cfg::FwCfg::default())),
            Model::ReadsZeros => self.attach(base, size, Box::new(crate::simple::Constant::ZEROS)),
            Model::ReadsOnes => self.attach(base, size, Box::new(crate::simple::Constant::ONES)),
        }
    }

    /// Puts any device at `base`.
    ///
    /// # Errors
    /// The region is not usable.
    pub fn attach(&mut self, base: u64, size: u64, device: Box<dyn Device + Send>) -> Result<(), MapError> {
        self.map(base, size, Target::Device(self.devices.len()))?;
        self.devices.push(device);
        Ok(())
    }

    fn map(&mut self, base: u64, size: u64, target: Target) -> Result<(), MapError> {
        let end = base.checked_add(size).filter(|_| size > 0).ok_or(MapError::Invalid { base, size })?;
        let at = self.regions.partition_point(|r| r.base < base);
        let after = self.regions.get(at).is_some_and(|next| next.base < end);
        let before = at > 0 && self.regions[at - 1].end > base;
        if after || before {
            return Err(MapError::Overlap { base, size });
        }
        self.regions.insert(at, Region { base, end, target });
        Ok(())
    }

    fn find(&self, address: u64, size: u32) -> Result<(Target, u64), Unmapped> {
        let at = self.regions.partition_point(|r| r.base <= address);
        let region = at.checked_sub(1).map(|i| self.regions[i]).ok_or(Unmapped { address })?;
        if address >= region.end || region.end - address < u64::from(size) {
            return Err(Unmapped { address });
        }
        Ok((region.target, address - region.base))
    }

    /// Whether some device answers at `address`.
    #[must_use]
    pub fn is_mapped(&self, address: u64) -> bool {
        self.find(address, 1).is_ok()
    }

    /// Reads 1, 2, 4 or 8 bytes as `cpu`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub fn read(&mut self, cpu: usize, address: u64, size: u32, host: &mut dyn Host) -> Result<u64, Unmapped> {
        let (target, offset) = self.find(address, size)?;
        Ok(match target {
            Target::Distributor => self.gic.dist_read(cpu, offset, size),
            Target::CpuInterface => self.gic.cpu_read(cpu, offset, size),
            Target::Device(i) => self.devices[i].read(offset, size, &mut Wires { gic: &mut self.gic, host }),
        })
    }

    /// Writes 1, 2, 4 or 8 bytes as `cpu`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub fn write(
        &mut self,
        cpu: usize,
        address: u64,
        size: u32,
        value: u64,
        host: &mut dyn Host,
    ) -> Result<(), Unmapped> {
        let (target, offset) = self.find(address, size)?;
        match target {
            Target::Distributor => self.gic.dist_write(cpu, offset, size, value),
            Target::CpuInterface => self.gic.cpu_write(cpu, offset, size, value),
            Target::Device(i) => self.devices[i].write(offset, size, value, &mut Wires { gic: &mut self.gic, host }),
        }
        Ok(())
    }

    /// A byte typed by the user, for the first device that is a console.
    pub fn console_input(&mut self, byte: u8, host: &mut dyn Host) {
        let wires = &mut Wires { gic: &mut self.gic, host };
        for device in &mut self.devices {
            if device.console_input(byte, wires) {
                break;
            }
        }
    }

    /// Lets devices with alarms look at the clock.
    pub fn poll(&mut self, host: &mut dyn Host) {
        let wires = &mut Wires { gic: &mut self.gic, host };
        for device in &mut self.devices {
            device.poll(wires);
        }
    }

    /// Level of a private interrupt (16..32) of one CPU.
    pub fn set_private_irq(&mut self, cpu: usize, irq: u32, level: bool) {
        self.gic.set_ppi(cpu, irq, level);
    }

    /// Whether the interrupt input of `cpu` is asserted.
    #[must_use]
    pub fn irq_asserted(&self, cpu: usize) -> bool {
        self.gic.irq_asserted(cpu)
    }

    /// Power-on state of everything.
    pub fn reset(&mut self) {
        for device in &mut self.devices {
            device.reset();
        }
        self.gic = GicV2::new(self.gic.cpus());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Terminal(Vec<u8>);

    impl Host for Terminal {
        fn console_write(&mut self, byte: u8) {
            self.0.push(byte);
        }
        fn unix_time(&self) -> u64 {
            1_600_000_000
        }
    }

    fn machine() -> DeviceBus {
        let mut bus = DeviceBus::new(1);
        bus.add(Model::Pl011 { spi: 1 }, 0x0900_0000, 0x1000).unwrap();
        bus.add(Model::GicV2 { cpu_base: 0x0801_0000, cpu_size: 0x1_0000 }, 0x0800_0000, 0x1_0000).unwrap();
        bus.add(Model::Pl031 { spi: 2 }, 0x0901_0000, 0x1000).unwrap();
        for i in 0..32 {
            bus.add(Model::VirtioEmpty, 0x0a00_0000 + i * 0x200, 0x200).unwrap();
        }
        bus
    }

    #[test]
    fn devices_answer_at_their_addresses() {
        let (mut bus, host) = (machine(), &mut Terminal::default());
        bus.write(0, 0x0900_0000, 1, b'x'.into(), host).unwrap();
        assert_eq!(host.0, b"x");
        assert_eq!(bus.read(0, 0x0901_0000, 4, host), Ok(1_600_000_000));
        assert_eq!(bus.read(0, 0x0a00_3e00, 4, host), Ok(0x7472_6976));
        for hole in [0, 0x0900_1000, 0x0a00_4000, 0x0900_0ffe, u64::MAX] {
            assert_eq!(bus.read(0, hole, 4, host), Err(Unmapped { address: hole }));
            assert!(bus.write(0, hole, 4, 0, host).is_err());
        }
    }

    #[test]
    fn typing_reaches_the_cpu_as_an_interrupt() {
        let (mut bus, host) = (machine(), &mut Terminal::default());
        for (address, value) in
            [(0x0800_0000, 1), (0x0800_0104, 2), (0x0801_0004, 0xf0), (0x0801_0000, 1), (0x0900_0038, 0x50)]
        {
            bus.write(0, address, 4, value, host).unwrap();
        }
        bus.console_input(b'q', host);
        assert!(bus.irq_asserted(0));
        assert_eq!(bus.read(0, 0x0801_000c, 4, host), Ok(33));
        assert_eq!(bus.read(0, 0x0900_0000, 4, host), Ok(b'q'.into()));
        bus.write(0, 0x0801_0010, 4, 33, host).unwrap();
        assert!(!bus.irq_asserted(0));
        bus.reset();
        assert_eq!(bus.read(0, 0x0800_0000, 4, host), Ok(0));
    }

    #[test]
    fn regions_must_be_disjoint() {
        let mut bus = machine();
        let err = bus.add(Model::ReadsZeros, 0x0900_0800, 0x1000);
        assert_eq!(err, Err(MapError::Overlap { base: 0x0900_0800, size: 0x1000 }));
        assert!(bus.add(Model::ReadsZeros, 0x08ff_f000, 0x2000).is_err());
        assert!(bus.add(Model::ReadsOnes, u64::MAX, 2).is_err());
        assert!(bus.add(Model::ReadsOnes, 0x1000, 0).is_err());
        let second = Model::GicV2 { cpu_base: 0x1000, cpu_size: 0x1000 };
        assert_eq!(bus.add(second, 0x3000, 0x1000), Err(MapError::SecondController));
        assert!(!bus.is_mapped(0x3000));
    }
}
