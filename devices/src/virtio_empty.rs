//! A virtio-mmio transport with nothing behind it: device ID 0, which tells a driver to leave the slot alone.
//!
//! Answers as QEMU's `virt` machine does for an empty slot (legacy interface, version 1).

use crate::{Bus, Device, read_words};

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VENDOR: u32 = u32::from_le_bytes(*b"QEMU");

/// An empty slot. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct VirtioEmpty;

impl Device for VirtioEmpty {
    fn read(&mut self, offset: u64, size: u32, _bus: &mut dyn Bus) -> u64 {
        read_words(offset, size, |at| match at {
            0x00 => MAGIC,
            0x04 => 1,
            0x0c => VENDOR,
            _ => 0,
        })
    }
    fn write(&mut self, _offset: u64, _size: u32, _value: u64, _bus: &mut dyn Bus) {}
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn a_driver_finds_a_transport_without_a_device() {
        let bus = &mut Recorder::default();
        let mut slot = VirtioEmpty;
        assert_eq!(slot.read(0, 4, bus), 0x7472_6976);
        assert_eq!(slot.read(4, 4, bus), 1);
        assert_eq!(slot.read(8, 4, bus), 0);
        assert_eq!(slot.read(12, 4, bus), 0x554d_4551);
        slot.write(0x70, 4, 1, bus);
        assert_eq!(slot.read(0x70, 4, bus), 0);
    }
}
