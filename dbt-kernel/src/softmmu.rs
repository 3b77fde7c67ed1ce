//! The software TLB's miss path: what translated code calls when an access does not hit.
//!
//! Every function here performs the whole access and, where it may, enters the translation into the TLB. A fault enters the
//! guest's exception and comes back as a nonzero status.

use crate::filled::PRIVATE;
use crate::hostmmu::{SECOND_PLACE, come_straight};
use crate::machine::Cpu;
use crate::platform::Platform;
use crate::services::second_place;
use crate::shared::add;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use x86_backend::emit::{Access, AtomicOp, HelperRet};
use x86_backend::guest::{AccessKind, BusError, Guest, Mapping, Services};
use x86_backend::runtime::{MemDesc, PAGE_BITS, TlbEntry, Vcpu};

/// A guest exception was taken instead.
pub(crate) struct Raised;

const DONE: u64 = 0;
const RAISED: HelperRet = HelperRet { value: 0, status: 1 };

fn ok(value: u64) -> HelperRet {
    HelperRet { value, status: DONE }
}

/// Where an access goes.
enum Place {
    Ram(*mut u8),
    Device(u64),
    /// Two pages, both of which permit it.
    Split(Split),
}

/// Where the two parts of an access are that runs over a page's end, if both are RAM, and how many bytes are in the first.
#[derive(Clone, Copy)]
struct Split {
    parts: Option<[*mut u8; 2]>,
    first: usize,
}

/// Reads `size` (at most 16) bytes, little-endian, of which so many are in the first part.
///
/// # Safety
/// `parts` are valid for reads of the bytes that are in them.
unsafe fn read_split(parts: [*mut u8; 2], first: usize, size: usize) -> u128 {
    let mut bytes = [0; 16];
    let (low, high) = bytes[..size].split_at_mut(first);
    // SAFETY: by the contract; no slice of ours is guest memory.
    unsafe {
        parts[0].copy_to_nonoverlapping(low.as_mut_ptr(), low.len());
        parts[1].copy_to_nonoverlapping(high.as_mut_ptr(), high.len());
    }
    u128::from_le_bytes(bytes)
}

/// Writes the low `size` (at most 16) bytes of `value`, of which so many go to the first part.
///
/// # Safety
/// `parts` are valid for writes of the bytes that go to them.
unsafe fn write_split(parts: [*mut u8; 2], first: usize, size: usize, value: u128) {
    let bytes = value.to_le_bytes();
    let (low, high) = bytes[..size].split_at(first);
    // SAFETY: by the contract; no slice of ours is guest memory.
    unsafe {
        parts[0].copy_from_nonoverlapping(low.as_ptr(), low.len());
        parts[1].copy_from_nonoverlapping(high.as_ptr(), high.len());
    }
}

/// Reads `size` (1, 2, 4, 8) bytes, little-endian.
///
/// # Safety
/// `host` is valid for reads of `size` bytes.
pub(crate) unsafe fn read_host(host: *const u8, size: u32) -> u64 {
    // SAFETY: by the contract; guest memory may change under us, hence volatile-like plain unaligned reads of bytes.
    unsafe {
        match size {
            1 => host.read().into(),
            2 => host.cast::<u16>().read_unaligned().into(),
            4 => host.cast::<u32>().read_unaligned().into(),
            _ => host.cast::<u64>().read_unaligned(),
        }
    }
}

/// Writes the low `size` (1, 2, 4, 8) bytes of `value`.
///
/// # Safety
/// `host` is valid for writes of `size` bytes.
pub(crate) unsafe fn write_host(host: *mut u8, size: u32, value: u64) {
    // SAFETY: by the contract.
    unsafe {
        match size {
            1 => host.write(value as u8),
            2 => host.cast::<u16>().write_unaligned(value as u16),
            4 => host.cast::<u32>().write_unaligned(value as u32),
            _ => host.cast::<u64>().write_unaligned(value),
        }
    }
}

/// The vCPU and its engine from the pointer that translated code passes.
///
/// # Safety
/// `vcpu` is a block that [`Cpu`] made, whose `engine` is alive and in no other use.
unsafe fn parts<'a, 'c, G: Guest, P: Platform>(vcpu: *mut u8) -> (&'a mut Vcpu<G::State>, &'a mut Cpu<'c, G, P>) {
    // SAFETY: by the contract; the two objects are distinct, and the engine touches only those parts of the vCPU block
    // through its own pointer that this module doesn't (TLB, jump key, events).
    unsafe {
        let cpu = &mut *vcpu.cast::<Vcpu<G::State>>();
        let engine = &mut *cpu.rt.engine.cast::<Cpu<'c, G, P>>();
        (cpu, engine)
    }
}

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    fn raise(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        fault: G::Fault,
        va: u64,
        kind: AccessKind,
        access: Access,
    ) -> Raised {
        G::raise(cpu, fault, va, kind, access);
        Raised
    }

    /// The guest's tables don't map the address, or not for this.
    fn raise_walk(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        fault: G::Fault,
        va: u64,
        kind: AccessKind,
        desc: MemDesc,
    ) -> Raised {
        self.note_guest_fault(desc.mmu_mode());
        let stats = &self.shared().control.stats;
        let counter = if kind == AccessKind::Write { &stats.faults_store } else { &stats.faults_load };
        add(counter, 1);
        self.raise(cpu, fault, va, kind, desc.access())
    }

    /// The address is not aligned as the access demands.
    fn raise_alignment(&mut self, cpu: &mut Vcpu<G::State>, va: u64, kind: AccessKind, access: Access) -> Raised {
        add(&self.shared().control.stats.faults_alignment, 1);
        self.raise(cpu, G::alignment_fault(kind), va, kind, access)
    }

    /// Nothing at the physical address answers.
    fn raise_bus(&mut self, cpu: &mut Vcpu<G::State>, va: u64, kind: AccessKind, access: Access) -> Raised {
        add(&self.shared().control.stats.faults_bus, 1);
        self.raise(cpu, G::bus_fault(kind), va, kind, access)
    }

    /// What the software TLB has for an access that came here because it runs over a page's end, or was probed with another, or
    /// goes to a device.
    ///
    /// An access through a window walks: it is how windows learn what to map. But those to devices that have not just faulted have
    /// nothing to learn, nor have those for which no window is open.
    fn tlb_hit(&mut self, mode: usize, va: u64, kind: AccessKind) -> Option<(Mapping, Option<*mut u8>)> {
        let page = va >> PAGE_BITS << PAGE_BITS;
        let tag = |entry: &TlbEntry| if kind == AccessKind::Write { entry.write } else { entry.read };
        let mut entry = *self.tlb_entry(mode, (va >> PAGE_BITS) as usize);
        if tag(&entry) != page && kind != AccessKind::Fetch {
            let second = *self.tlb_entry(mode, second_place(va));
            if tag(&second) == page {
                self.restore_entry(mode, va);
                entry = second;
            }
        }
        let device = tag(&entry) == page | TlbEntry::DEVICE;
        if (tag(&entry) != page && !device) || kind == AccessKind::Fetch || !self.needs_no_walk(mode, device) {
            return None;
        }
        if !device {
            self.note_miss(mode, SECOND_PLACE);
        }
        let mapping = Mapping {
            phys: phys_in(&entry, va),
            size_bits: PAGE_BITS,
            read: kind == AccessKind::Read,
            write: kind == AccessKind::Write,
            fetch: false,
            device,
            global: entry.phys & PRIVATE == 0,
            code_context: 0,
        };
        Some((mapping, (!device).then(|| va.wrapping_add(entry.addend) as *mut u8)))
    }

    /// Translates one page's worth; fills the TLB if it may. `None` for a host pointer: a device.
    fn translate(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        va: u64,
        kind: AccessKind,
        desc: MemDesc,
        len: u32,
    ) -> Result<(Mapping, Option<*mut u8>), Raised> {
        let mode = desc.mmu_mode();
        if let Some(hit) = self.tlb_hit(mode, va, kind) {
            return Ok(hit);
        }
        let mapping = match G::walk(cpu, va, kind, mode) {
            Ok(mapping) => mapping,
            Err(fault) => return Err(self.raise_walk(cpu, fault, va, kind, desc)),
        };
        add(&self.shared().control.stats.tlb_misses, 1);
        if kind == AccessKind::Write {
            self.invalidate_code(mapping.phys, len.into());
        }
        self.fill_windows(cpu, mode, va, &mapping, kind);
        let Some(host) = self.shared().ram.pointer(mapping.phys, len.into()) else {
            if mapping.device {
                self.fill_tlb_device(mode, va, &mapping);
            }
            return Ok((mapping, None));
        };
        if !mapping.device {
            let writable = !self.shared().ram.has_code(mapping.phys);
            self.fill_tlb(mode, va, &mapping, host, writable);
        }
        Ok((mapping, Some(host)))
    }

    /// Checks and translates an access of `size` bytes.
    fn locate(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        va: u64,
        size: u32,
        kind: AccessKind,
        desc: MemDesc,
    ) -> Result<Place, Raised> {
        let aligned = va & u64::from(size - 1) == 0;
        let access = desc.access();
        let refused = || access.contains(Access::ALIGNED) && !G::tolerates_unaligned(cpu, va, size, access);
        if !aligned && (G::strict_alignment(G::context(&cpu.state)) || refused()) {
            return Err(self.raise_alignment(cpu, va, kind, desc.access()));
        }
        let left = (1u64 << PAGE_BITS) - (va & ((1 << PAGE_BITS) - 1));
        if u64::from(size) > left {
            let first_len = left as u32;
            // Both pages are checked before anything is read or written.
            let (first, low) = self.translate(cpu, va, kind, desc, first_len)?;
            let second_va = va.wrapping_add(left);
            let (second, high) = self.translate(cpu, second_va, kind, desc, size - first_len)?;
            if first.device || second.device {
                return Err(self.raise_alignment(cpu, va, kind, desc.access()));
            }
            let parts = low.zip(high).map(|(low, high)| [low, high]);
            return Ok(Place::Split(Split { parts, first: first_len as usize }));
        }
        let (mapping, host) = self.translate(cpu, va, kind, desc, size)?;
        if mapping.device && !aligned {
            return Err(self.raise_alignment(cpu, va, kind, desc.access()));
        }
        Ok(match host {
            Some(host) => Place::Ram(host),
            None => Place::Device(mapping.phys),
        })
    }

    fn load_part(&mut self, cpu: &mut Vcpu<G::State>, va: u64, size: u32, desc: MemDesc) -> Result<u64, Raised> {
        match self.locate(cpu, va, size, AccessKind::Read, desc)? {
            // SAFETY: `locate` gave `size` bytes of guest RAM.
            Place::Ram(host) => Ok(unsafe { read_host(host, size) }),
            Place::Device(phys) => match self.phys_read(phys, size) {
                Ok(value) => Ok(value),
                Err(_) => Err(self.raise_bus(cpu, va, AccessKind::Read, desc.access())),
            },
            Place::Split(Split { parts: Some(parts), first }) => {
                // SAFETY: `locate` gave guest RAM for all bytes.
                Ok(unsafe { read_split(parts, first, size as usize) } as u64)
            }
            Place::Split(_) => {
                let mut value = 0;
                for i in 0..size {
                    value |= self.load_part(cpu, va.wrapping_add(i.into()), 1, byte(desc))? << (8 * i);
                }
                Ok(value)
            }
        }
    }

    fn store_part(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        va: u64,
        size: u32,
        desc: MemDesc,
        value: u64,
    ) -> Result<(), Raised> {
        match self.locate(cpu, va, size, AccessKind::Write, desc)? {
            Place::Ram(host) => {
                // SAFETY: `locate` gave `size` bytes of guest RAM.
                unsafe { write_host(host, size, value) };
                Ok(())
            }
            Place::Device(phys) => match self.phys_write(phys, size, value) {
                Ok(()) => Ok(()),
                Err(_) => Err(self.raise_bus(cpu, va, AccessKind::Write, desc.access())),
            },
            Place::Split(Split { parts: Some(parts), first }) => {
                // SAFETY: `locate` gave guest RAM for all bytes.
                unsafe { write_split(parts, first, size as usize, value.into()) };
                Ok(())
            }
            Place::Split(_) => {
                for i in 0..size {
                    self.store_part(cpu, va.wrapping_add(i.into()), 1, byte(desc), value >> (8 * i) & 0xff)?;
                }
                Ok(())
            }
        }
    }

    /// The physical address of a device's register, where the software TLB has its page and nothing else is to be checked or
    /// learnt: a guest that talks to a device does little else.
    fn known_register(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc, kind: AccessKind) -> Option<u64> {
        let size = u64::from(desc.size());
        let entry = *self.tlb_entry(desc.mmu_mode(), (va >> PAGE_BITS) as usize);
        let tag = if kind == AccessKind::Write { entry.write } else { entry.read };
        let page = va >> PAGE_BITS << PAGE_BITS;
        let known = tag == page | TlbEntry::DEVICE && va & (size - 1) == 0 && size <= 8 && cpu.rt.faulted == 0;
        known.then(|| {
            come_straight(cpu);
            phys_in(&entry, va)
        })
    }

    fn load_any(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc) -> Result<u64, Raised> {
        add(&self.shared().control.stats.slow_accesses, 1);
        if let Some(phys) = self.known_register(cpu, va, desc, AccessKind::Read) {
            let value = self.device_read(phys, desc.size());
            return value.map_err(|BusError| self.raise_bus(cpu, va, AccessKind::Read, desc.access()));
        }
        self.arrive(cpu, va, desc);
        if desc.size() < 16 {
            return self.load_part(cpu, va, desc.size(), desc);
        }
        // Both halves are checked first, so that a fault on the second leaves nothing half done.
        let value = match self.locate(cpu, va, 16, AccessKind::Read, desc)? {
            // SAFETY: `locate` gave 16 bytes of guest RAM.
            Place::Ram(host) => unsafe { host.cast::<u128>().read_unaligned() },
            // SAFETY: `locate` gave guest RAM for all bytes.
            Place::Split(Split { parts: Some(parts), first }) => unsafe { read_split(parts, first, 16) },
            _ => return self.load_halves(cpu, va, desc),
        };
        cpu.rt.scratch[0] = value;
        Ok(value as u64)
    }

    fn load_halves(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc) -> Result<u64, Raised> {
        let low = self.load_part(cpu, va, 8, half(desc))?;
        let high = self.load_part(cpu, va.wrapping_add(8), 8, half(desc))?;
        cpu.rt.scratch[0] = u128::from(low) | u128::from(high) << 64;
        Ok(low)
    }

    fn store_any(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc, value: u64) -> Result<(), Raised> {
        add(&self.shared().control.stats.slow_accesses, 1);
        if let Some(phys) = self.known_register(cpu, va, desc, AccessKind::Write) {
            let done = self.device_write(phys, desc.size(), value);
            return done.map_err(|BusError| self.raise_bus(cpu, va, AccessKind::Write, desc.access()));
        }
        self.arrive(cpu, va, desc);
        if desc.size() < 16 {
            return self.store_part(cpu, va, desc.size(), desc, value);
        }
        let value = cpu.rt.scratch[0];
        match self.locate(cpu, va, 16, AccessKind::Write, desc)? {
            // SAFETY: `locate` gave 16 bytes of guest RAM.
            Place::Ram(host) => unsafe { host.cast::<u128>().write_unaligned(value) },
            // SAFETY: `locate` gave guest RAM for all bytes.
            Place::Split(Split { parts: Some(parts), first }) => unsafe { write_split(parts, first, 16, value) },
            _ => {
                self.store_part(cpu, va, 8, half(desc), value as u64)?;
                self.store_part(cpu, va.wrapping_add(8), 8, half(desc), (value >> 64) as u64)?;
            }
        }
        Ok(())
    }

    /// The place of a read-modify-write access: readable and writable.
    fn locate_rmw(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc) -> Result<Place, Raised> {
        self.arrive(cpu, va, desc);
        add(&self.shared().control.stats.slow_accesses, 1);
        let desc = desc.and(Access::ATOMIC);
        // Half of a pair of exclusives only writes. Anything else is reported as a read if reading would have failed, too.
        if !desc.access().contains(Access::EXCLUSIVE) {
            self.locate(cpu, va, desc.size(), AccessKind::Read, desc)?;
        }
        let place = self.locate(cpu, va, desc.size(), AccessKind::Write, desc)?;
        if matches!(place, Place::Split(_)) || (matches!(place, Place::Device(_)) && desc.size() == 16) {
            return Err(self.raise_alignment(cpu, va, AccessKind::Write, desc.access()));
        }
        Ok(place)
    }

    fn atomic_any(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc, operand: u64) -> Result<u64, Raised> {
        let size = desc.size();
        match self.locate_rmw(cpu, va, desc)? {
            Place::Ram(host) => {
                loop {
                    // SAFETY: guest RAM of `size` bytes.
                    let old = unsafe { read_host(host, size) };
                    let new = modify(desc.atomic_bits(), size, old, operand);
                    // SAFETY: as above.
                    if unsafe { compare_exchange(host, size, old, new) } == old {
                        return Ok(old);
                    }
                }
            }
            _ => {
                let old = self.load_part(cpu, va, size, desc)?;
                self.store_part(cpu, va, size, desc, modify(desc.atomic_bits(), size, old, operand))?;
                Ok(old)
            }
        }
    }

    fn cas_any(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        va: u64,
        desc: MemDesc,
        expected: u64,
        new: u64,
    ) -> Result<u64, Raised> {
        let size = desc.size();
        match self.locate_rmw(cpu, va, desc)? {
            Place::Ram(host) if size == 16 => {
                let [expected, new] = [cpu.rt.scratch[0], cpu.rt.scratch[1]];
                // SAFETY: 16 bytes of guest RAM, aligned: a 128-bit compare-and-swap that isn't was refused by
                // `Access::ALIGNED`, which all of them carry.
                let old = unsafe { compare_exchange_128(host, expected, new) };
                cpu.rt.scratch[0] = old;
                Ok(old as u64)
            }
            // SAFETY: guest RAM of `size` bytes.
            Place::Ram(host) => Ok(unsafe { compare_exchange(host, size, expected, new) }),
            _ => {
                let old = self.load_part(cpu, va, size, desc)?;
                if old == expected {
                    self.store_part(cpu, va, size, desc, new)?;
                }
                Ok(old)
            }
        }
    }
}

/// The physical address of `va`, whose page `entry` has.
fn phys_in(entry: &TlbEntry, va: u64) -> u64 {
    entry.phys >> PAGE_BITS << PAGE_BITS | va & ((1 << PAGE_BITS) - 1)
}

/// The same access, of one byte / of eight bytes: parts of one already checked for alignment.
fn byte(desc: MemDesc) -> MemDesc {
    MemDesc::new(1, desc.mmu_mode() as u32, desc.access() - Access::ALIGNED)
}
fn half(desc: MemDesc) -> MemDesc {
    MemDesc::new(8, desc.mmu_mode() as u32, desc.access() - Access::ALIGNED)
}

/// The result of an atomic operation on `size` bytes.
fn modify(op: u32, size: u32, old: u64, operand: u64) -> u64 {
    let shift = 64 - 8 * size;
    let signed = |v: u64| ((v << shift) as i64) >> shift;
    let mask = u64::MAX >> shift;
    let (old, operand) = (old & mask, operand & mask);
    let new = match op {
        x if x == AtomicOp::Swap as u32 => operand,
        x if x == AtomicOp::Add as u32 => old.wrapping_add(operand),
        x if x == AtomicOp::Clear as u32 => old & !operand,
        x if x == AtomicOp::Xor as u32 => old ^ operand,
        x if x == AtomicOp::Or as u32 => old | operand,
        x if x == AtomicOp::SMax as u32 => signed(old).max(signed(operand)) as u64,
        x if x == AtomicOp::SMin as u32 => signed(old).min(signed(operand)) as u64,
        x if x == AtomicOp::UMax as u32 => old.max(operand),
        _ => old.min(operand),
    };
    new & mask
}

/// Compare and swap; gives the value found.
///
/// # Safety
/// `host` is valid for `size` bytes. On x86 a locked access may be unaligned, which Rust's atomics don't promise: an
/// unaligned one is done without atomicity, as the architecture allows for accesses that aren't single-copy atomic.
unsafe fn compare_exchange(host: *mut u8, size: u32, expected: u64, new: u64) -> u64 {
    if host as u64 & u64::from(size - 1) != 0 {
        // SAFETY: by the contract.
        unsafe {
            let old = read_host(host, size);
            if old == expected {
                write_host(host, size, new);
            }
            return old;
        }
    }
    macro_rules! exchange {
        ($atomic:ty, $int:ty) => {
            // SAFETY: valid by the contract, aligned as checked above.
            match unsafe { <$atomic>::from_ptr(host.cast()) }.compare_exchange(
                expected as $int,
                new as $int,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(old) | Err(old) => old.into(),
            }
        };
    }
    match size {
        1 => exchange!(AtomicU8, u8),
        2 => exchange!(AtomicU16, u16),
        4 => exchange!(AtomicU32, u32),
        _ => exchange!(AtomicU64, u64),
    }
}

/// 128-bit compare and swap (CMPXCHG16B, part of x86-64-v2); gives the value found.
///
/// # Safety
/// `host` is valid for 16 bytes and 16-byte aligned.
unsafe fn compare_exchange_128(host: *mut u8, expected: u128, new: u128) -> u128 {
    let (low, high): (u64, u64);
    // SAFETY: by the contract. RBX is reserved by the compiler, so it is swapped in and out by hand.
    unsafe {
        core::arch::asm!(
            "xchg rsi, rbx",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") host,
            inout("rsi") new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") expected as u64 => low,
            inout("rdx") (expected >> 64) as u64 => high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}

pub(crate) extern "sysv64" fn load<G: Guest, P: Platform>(vcpu: *mut u8, va: u64, desc: u32) -> HelperRet {
    // SAFETY: called by translated code with its own block.
    let (cpu, engine) = unsafe { parts::<G, P>(vcpu) };
    engine.load_any(cpu, va, MemDesc(desc)).map_or(RAISED, ok)
}

pub(crate) extern "sysv64" fn store<G: Guest, P: Platform>(vcpu: *mut u8, va: u64, desc: u32, value: u64) -> HelperRet {
    // SAFETY: called by translated code with its own block.
    let (cpu, engine) = unsafe { parts::<G, P>(vcpu) };
    engine.store_any(cpu, va, MemDesc(desc), value).map_or(RAISED, |()| ok(0))
}

pub(crate) extern "sysv64" fn atomic<G: Guest, P: Platform>(
    vcpu: *mut u8,
    va: u64,
    desc: u32,
    operand: u64,
) -> HelperRet {
    // SAFETY: called by translated code with its own block.
    let (cpu, engine) = unsafe { parts::<G, P>(vcpu) };
    engine.atomic_any(cpu, va, MemDesc(desc), operand).map_or(RAISED, ok)
}

pub(crate) extern "sysv64" fn cas<G: Guest, P: Platform>(
    vcpu: *mut u8,
    va: u64,
    desc: u32,
    expected: u64,
    new: u64,
) -> HelperRet {
    // SAFETY: called by translated code with its own block.
    let (cpu, engine) = unsafe { parts::<G, P>(vcpu) };
    engine.cas_any(cpu, va, MemDesc(desc), expected, new).map_or(RAISED, ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomic_operations_respect_their_size() {
        assert_eq!(modify(AtomicOp::Add as u32, 1, 0xff, 2), 1);
        assert_eq!(modify(AtomicOp::SMax as u32, 1, 0x80, 0x7f), 0x7f);
        assert_eq!(modify(AtomicOp::SMin as u32, 2, 0x8000, 1), 0x8000);
        assert_eq!(modify(AtomicOp::UMin as u32, 4, 5, 0xffff_ffff), 5);
        assert_eq!(modify(AtomicOp::Clear as u32, 8, u64::MAX, 1), u64::MAX - 1);
    }

    #[test]
    fn compare_exchange_128_swaps_on_equality_only() {
        #[repr(align(16))]
        struct Cell(u128);
        let mut cell = Cell(7);
        let host = (&raw mut cell.0).cast();
        // SAFETY: a valid, aligned 16-byte object.
        unsafe {
            assert_eq!(compare_exchange_128(host, 8, 1), 7);
            assert_eq!(cell.0, 7);
            assert_eq!(compare_exchange_128(host, 7, u128::MAX - 1), 7);
        }
        assert_eq!(cell.0, u128::MAX - 1);
    }
}
