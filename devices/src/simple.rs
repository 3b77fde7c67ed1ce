//! Regions without a model: what absent hardware answers.

use crate::{Bus, Device};

/// Reads as a constant pattern, ignores writes.
#[derive(Clone, Copy, Debug)]
pub struct Constant(u64);

impl Constant {
    /// Reads as zero, writes ignored.
    pub const ZEROS: Self = Self(0);
    /// Reads as all ones, writes ignored: an empty PCI configuration space.
    pub const ONES: Self = Self(u64::MAX);
}

impl Device for Constant {
    fn read(&mut self, _offset: u64, size: u32, _bus: &mut dyn Bus) -> u64 {
        self.0 >> (64 - 8 * size)
    }
    fn write(&mut self, _offset: u64, _size: u32, _value: u64, _bus: &mut dyn Bus) {}
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn an_empty_pci_bus_reads_as_ones_of_the_access_size() {
        let bus = &mut Recorder::default();
        let mut ecam = Constant::ONES;
        assert_eq!(ecam.read(0, 2, bus), 0xffff);
        assert_eq!(ecam.read(0, 4, bus), 0xffff_ffff);
        ecam.write(0, 4, 0, bus);
        assert_eq!(ecam.read(0, 8, bus), u64::MAX);
        let mut hole = Constant::ZEROS;
        assert_eq!(hole.read(8, 4, bus), 0);
    }
}
