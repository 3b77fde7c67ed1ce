//! QEMU's firmware configuration device: a selector and a byte stream. The traditional interface only (no DMA), with the
//! items every driver looks for and an empty file directory.

use crate::{Bus, Device};

const SIGNATURE: u16 = 0x00;
const ID: u16 = 0x01;
const FILE_DIR: u16 = 0x19;

/// Register offsets in the memory-mapped variant.
const DATA: u64 = 0;
const SELECTOR: u64 = 8;

#[derive(Clone, Copy, Debug, Default)]
pub struct FwCfg {
    key: u16,
    position: usize,
}

impl FwCfg {
    /// Bytes of the selected item; past their end the stream is zeros.
    fn item(&self) -> &'static [u8] {
        match self.key {
            SIGNATURE => b"QEMU",
            // Bit 0: traditional interface.
            ID => &[1, 0, 0, 0],
            // A big-endian count of files.
            FILE_DIR => &[0, 0, 0, 0],
            _ => &[],
        }
    }

    fn next(&mut self) -> u8 {
        let byte = self.item().get(self.position).copied().unwrap_or(0);
        self.position = self.position.saturating_add(1);
        byte
    }
}

impl Device for FwCfg {
    fn read(&mut self, offset: u64, size: u32, _bus: &mut dyn Bus) -> u64 {
        // The data register is a window on the stream: a wide access gives that many bytes in memory order.
        if (DATA..SELECTOR).contains(&offset) {
            (0..size).fold(0, |value, i| value | (u64::from(self.next()) << (8 * i)))
        } else {
            0
        }
    }
    fn write(&mut self, offset: u64, size: u32, value: u64, _bus: &mut dyn Bus) {
        // The selector is big-endian.
        if offset == SELECTOR && size == 2 {
            self.key = (value as u16).swap_bytes();
            self.position = 0;
        }
    }
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    fn select(device: &mut FwCfg, key: u16, bus: &mut Recorder) {
        device.write(8, 2, u64::from(key.to_be()), bus);
    }

    #[test]
    fn a_driver_finds_signature_revision_and_no_files() {
        let bus = &mut Recorder::default();
        let mut device = FwCfg::default();
        select(&mut device, SIGNATURE, bus);
        let signature: Vec<u8> = (0..4).map(|_| device.read(0, 1, bus) as u8).collect();
        assert_eq!(signature, b"QEMU");
        assert_eq!(device.read(0, 1, bus), 0);
        select(&mut device, ID, bus);
        assert_eq!(device.read(0, 4, bus), 1);
        select(&mut device, FILE_DIR, bus);
        assert_eq!(device.read(0, 4, bus), 0);
        select(&mut device, SIGNATURE, bus);
        assert_eq!(device.read(0, 8, bus), u64::from(u32::from_le_bytes(*b"QEMU")));
    }
}
