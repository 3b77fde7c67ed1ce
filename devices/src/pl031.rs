//! PL031 real-time clock: seconds since 1970 plus an offset that the guest may set, and one alarm.

use crate::{Bus, Device, primecell_id, read_words, write_words};

const ID: [u8; 8] = [0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

const DATA: u64 = 0x00;
const MATCH: u64 = 0x04;
const LOAD: u64 = 0x08;
const CONTROL: u64 = 0x0c;
const MASK: u64 = 0x10;
const RAW: u64 = 0x14;
const MASKED: u64 = 0x18;
const CLEAR: u64 = 0x1c;

#[derive(Clone, Copy, Debug)]
pub struct Pl031 {
    spi: u32,
    /// Guest time minus host time.
    offset: u32,
    load: u32,
    alarm: u32,
    /// The alarm lies ahead and has not fired.
    armed: bool,
    mask: bool,
    raw: bool,
}

impl Pl031 {
    #[must_use]
    pub const fn new(spi: u32) -> Self {
        Self { spi, offset: 0, load: 0, alarm: 0, armed: false, mask: false, raw: false }
    }

    fn now(&self, bus: &dyn Bus) -> u32 {
        (bus.unix_time() as u32).wrapping_add(self.offset)
    }

    fn update(&self, bus: &mut dyn Bus) {
        bus.set_irq(self.spi, self.raw && self.mask);
    }

    fn check_alarm(&mut self, bus: &mut dyn Bus) {
        // Wrapping comparison: the alarm has been reached when it is not in the future half of the 32-bit circle.
        if self.armed && (self.now(bus).wrapping_sub(self.alarm) as i32) >= 0 {
            self.armed = false;
            self.raw = true;
            self.update(bus);
        }
    }
}

impl Device for Pl031 {
    fn read(&mut self, offset: u64, size: u32, bus: &mut dyn Bus) -> u64 {
        self.check_alarm(bus);
        read_words(offset, size, |at| match at {
            DATA => self.now(bus),
            MATCH => self.alarm,
            LOAD => self.load,
            CONTROL => 1,
            MASK => u32::from(self.mask),
            RAW => u32::from(self.raw),
            MASKED => u32::from(self.raw && self.mask),
            _ => primecell_id(ID, at).unwrap_or(0),
        })
    }

    fn write(&mut self, offset: u64, size: u32, value: u64, bus: &mut dyn Bus) {
        write_words(offset, size, value, |at, value, _| match at {
            MATCH => {
                self.alarm = value;
                self.armed = true;
            }
            LOAD => {
                self.load = value;
                self.offset = value.wrapping_sub(bus.unix_time() as u32);
            }
            MASK => self.mask = value & 1 != 0,
            CLEAR if value & 1 != 0 => self.raw = false,
            _ => {}
        });
        self.check_alarm(bus);
        self.update(bus);
    }

    fn reset(&mut self) {
        *self = Self::new(self.spi);
    }

    fn poll(&mut self, bus: &mut dyn Bus) {
        self.check_alarm(bus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn probe_reads_the_primecell_id_and_the_time() {
        let bus = &mut Recorder { time: 1_700_000_000, ..Recorder::default() };
        let mut rtc = Pl031::new(2);
        let ids: Vec<u64> = (0..8).map(|i| rtc.read(0xfe0 + 4 * i, 4, bus)).collect();
        assert_eq!(ids, [0x31, 0x10, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1]);
        assert_eq!(rtc.read(DATA, 4, bus), 1_700_000_000);
        assert_eq!(rtc.read(CONTROL, 4, bus), 1);
    }

    #[test]
    fn the_time_can_be_set_and_goes_on() {
        let bus = &mut Recorder { time: 1000, ..Recorder::default() };
        let mut rtc = Pl031::new(2);
        rtc.write(LOAD, 4, 5000, bus);
        bus.time += 7;
        assert_eq!(rtc.read(DATA, 4, bus), 5007);
    }

    #[test]
    fn an_alarm_interrupts_until_cleared() {
        let bus = &mut Recorder { time: 1000, ..Recorder::default() };
        let mut rtc = Pl031::new(2);
        rtc.write(MATCH, 4, 1010, bus);
        rtc.write(MASK, 4, 1, bus);
        bus.time = 1009;
        rtc.poll(bus);
        assert!(!bus.irq(2));
        bus.time = 1010;
        rtc.poll(bus);
        assert!(bus.irq(2));
        assert_eq!(rtc.read(MASKED, 4, bus), 1);
        rtc.write(CLEAR, 4, 1, bus);
        assert!(!bus.irq(2));
        bus.time = 1011;
        rtc.poll(bus);
        assert!(!bus.irq(2));
    }
}
