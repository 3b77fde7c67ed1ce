//! The reference: the interpreter on memory of its own, without TLB, code cache or events.

use super::{ENTRY, Outcome, RAM_BYTES};
use dbt_kernel::shared::stopped;
use std::fmt::Arguments;
use toy_guest::isa::{Cpu, State};
use toy_guest::{Fault, Toy, UART};
use x86_backend::emit::{Access, AtomicOp, HelperRet, Stop, Width};
use x86_backend::eval::entry::eval_entry;
use x86_backend::guest::{AccessKind, BusError, Guest, Services, SystemEvent};
use x86_backend::interp::{InterpMemory, step};
use x86_backend::runtime::{PAGE_BITS, Runtime, SlowPaths};

/// RAM, the console, and the power switch.
#[derive(Default)]
struct World {
    ram: Vec<u8>,
    console: Vec<u8>,
    stopped: Option<SystemEvent>,
}

impl World {
    fn at(&mut self, phys: u64, len: u64) -> Option<&mut [u8]> {
        self.ram.get_mut(usize::try_from(phys).ok()?..usize::try_from(phys.checked_add(len)?).ok()?)
    }
}

impl Services for World {
    fn ram(&mut self, phys: u64, len: u64) -> Option<*mut u8> {
        self.at(phys, len).map(<[u8]>::as_mut_ptr)
    }
    fn phys_read(&mut self, phys: u64, size: u32) -> Result<u64, BusError> {
        let bytes = self.at(phys, size.into()).ok_or(BusError)?;
        Ok(bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)))
    }
    fn phys_write(&mut self, phys: u64, size: u32, value: u64) -> Result<(), BusError> {
        if phys == UART {
            self.console.push(value as u8);
            return Ok(());
        }
        self.at(phys, size.into()).ok_or(BusError)?.copy_from_slice(&value.to_le_bytes()[..size as usize]);
        Ok(())
    }
    fn invalidate_code(&mut self, _: u64, _: u64) {}
    fn fetch_mapping_changed(&mut self, _: Option<u64>) {}
    fn tlb_flush(&mut self, _: Option<u64>) {}
    fn address_space_changed(&mut self, _: u64) {}
    fn forget_address_space(&mut self, _: u64) {}
    fn ticks(&mut self) -> u64 {
        0
    }
    fn tick_hz(&self) -> u64 {
        1
    }
    fn set_deadline(&mut self, _: u64) {}
    fn set_private_irq(&mut self, _: u32, _: bool) {}
    fn irq_asserted(&mut self) -> bool {
        false
    }
    fn wait_for_event(&mut self) {}
    fn system_event(&mut self, event: SystemEvent) {
        self.stopped = Some(event);
    }
    fn log(&mut self, _: Arguments<'_>) {}
}

/// Memory by a walk for every access.
struct Walks;

impl Walks {
    fn raise<T>(cpu: &mut Cpu, fault: Fault, va: u64, kind: AccessKind) -> Result<T, Stop> {
        Toy::raise(cpu, fault, va, kind, Access::empty());
        Err(Stop)
    }

    /// Physical addresses of the access's two halves: before and from the page boundary.
    fn locate(cpu: &mut Cpu, va: u64, size: u32, kind: AccessKind) -> Result<(u64, u64, bool), Stop> {
        let mode = Toy::mmu_mode(Toy::context(&cpu.state), false);
        let left = (1 << PAGE_BITS) - (va & ((1 << PAGE_BITS) - 1));
        let mut walk = |va| match Toy::walk(cpu, va, kind, mode) {
            Ok(mapping) => Ok(mapping),
            Err(fault) => Self::raise(cpu, fault, va, kind),
        };
        let first = walk(va)?;
        let second = if u64::from(size) > left { walk(va.wrapping_add(left))? } else { first };
        let device = first.device || second.device;
        if device && va & u64::from(size - 1) != 0 {
            return Self::raise(cpu, Fault::Misaligned, va, kind);
        }
        let rest = if u64::from(size) > left { second.phys } else { first.phys.wrapping_add(left) };
        Ok((first.phys, rest, device))
    }
}

impl InterpMemory<State> for Walks {
    fn load(&mut self, cpu: &mut Cpu, n: Width, va: u64, _: Access) -> Result<u128, Stop> {
        let size = n / 8;
        let (first, rest, device) = Self::locate(cpu, va, size, AccessKind::Read)?;
        if device {
            return match cpu.services().phys_read(first, size) {
                Ok(value) => Ok(value.into()),
                Err(_) => Self::raise(cpu, Fault::Bus, va, AccessKind::Read),
            };
        }
        let left = (1 << PAGE_BITS) - (va & ((1 << PAGE_BITS) - 1));
        let mut value = 0;
        for i in 0..u64::from(size) {
            let phys = if i < left { first + i } else { rest + (i - left) };
            value |= u128::from(cpu.services().phys_read(phys, 1).map_err(|_| Stop)?) << (8 * i);
        }
        Ok(value)
    }

    fn store(&mut self, cpu: &mut Cpu, n: Width, va: u64, v: u128, _: Access) -> Result<(), Stop> {
        let size = n / 8;
        let (first, rest, device) = Self::locate(cpu, va, size, AccessKind::Write)?;
        if device {
            return match cpu.services().phys_write(first, size, v as u64) {
                Ok(()) => Ok(()),
                Err(_) => Self::raise(cpu, Fault::Bus, va, AccessKind::Write),
            };
        }
        let left = (1 << PAGE_BITS) - (va & ((1 << PAGE_BITS) - 1));
        for i in 0..u64::from(size) {
            let phys = if i < left { first + i } else { rest + (i - left) };
            cpu.services().phys_write(phys, 1, (v >> (8 * i)) as u64 & 0xff).map_err(|_| Stop)?;
        }
        Ok(())
    }

    fn atomic(&mut self, _: &mut Cpu, _: AtomicOp, _: Width, _: u64, _: u128, _: Access) -> Result<u128, Stop> {
        unreachable!("the description has no atomic accesses")
    }
    fn cas(&mut self, _: &mut Cpu, _: Width, _: u64, _: u128, _: u128, _: Access) -> Result<u128, Stop> {
        unreachable!("the description has no atomic accesses")
    }
}

/// A vCPU without translated code.
fn vcpu(world: *mut World) -> Box<Cpu> {
    extern "sysv64" fn load(_: *mut u8, _: u64, _: u32) -> HelperRet {
        unreachable!("no translated code")
    }
    extern "sysv64" fn store(_: *mut u8, _: u64, _: u32, _: u64) -> HelperRet {
        unreachable!("no translated code")
    }
    extern "sysv64" fn cas(_: *mut u8, _: u64, _: u32, _: u64, _: u64) -> HelperRet {
        unreachable!("no translated code")
    }
    let mut cpu = Box::<Cpu>::new_uninit();
    // SAFETY: what is not written here is valid when zero, and written before the block is used as a value.
    unsafe {
        cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Cpu>());
        (&raw mut (*cpu.as_mut_ptr()).state).write(Toy::reset_state());
        let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
        (&raw mut (*rt).slow).write(SlowPaths { load, store, atomic: store, cas, eval: eval_entry });
        (&raw mut (*rt).services).write(Some(world));
        cpu.assume_init()
    }
}

/// Interprets a memory image; `None` if it does not end within `steps` instructions.
pub fn run(image: &[u8], steps: u64) -> Option<Outcome> {
    let mut world = World { ram: vec![0; RAM_BYTES], ..World::default() };
    world.ram[..image.len()].copy_from_slice(image);
    let world = Box::into_raw(Box::new(world));
    let mut cpu = vcpu(world);
    Toy::set_entry(&mut cpu.state, ENTRY, 0);
    // SAFETY: only this function's calls use the world, one at a time, and it is freed below only.
    let stopped = |_: &Cpu| unsafe { (*world).stopped };
    let mut left = steps;
    while left != 0 && stopped(&cpu).is_none() {
        left -= 1;
        if let Some(word) = fetch(&mut cpu) {
            step::<Toy, _>(&mut cpu, &mut Walks, word);
        }
    }
    let state = cpu.state.clone();
    drop(cpu);
    // SAFETY: made from a box above; the vCPU that pointed to it is gone.
    let world = unsafe { Box::from_raw(world) };
    let code = match world.stopped? {
        SystemEvent::PowerOff => stopped::POWER_OFF,
        SystemEvent::Reset => stopped::REBOOT,
    };
    Some(Outcome::new(code, &state, &world.console, &world.ram))
}

/// The instruction at the program counter, or `None` after the exception for a failed fetch.
fn fetch(cpu: &mut Cpu) -> Option<u32> {
    let pc = cpu.state.pc;
    let mode = Toy::mmu_mode(Toy::context(&cpu.state), false);
    let walked = if pc & 3 == 0 { Toy::walk(cpu, pc, AccessKind::Fetch, mode) } else { Err(Fault::Misaligned) };
    let fault = match walked {
        Ok(mapping) if mapping.device => Fault::Bus,
        Ok(mapping) => return cpu.services().phys_read(mapping.phys, 4).ok().map(|word| word as u32),
        Err(fault) => fault,
    };
    Toy::raise(cpu, fault, pc, AccessKind::Fetch, Access::empty());
    None
}
