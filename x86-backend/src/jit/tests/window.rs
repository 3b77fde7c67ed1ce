//! A window as the engine's page tables make it, out of this process's own mappings: guest memory seen at its place in a
//! span of 512 GiB where nothing else is, with the rights the fake TLB has, and page faults that signals report.

use super::machine::{BASE, Machine, PAGES};
use crate::jit::Jit;
use crate::runtime::{SPAN_BITS, SPANS, Span};
use std::cell::Cell;
use std::sync::Once;

/// Memory that can be seen in two places.
pub struct Memory {
    at: *mut u8,
    len: usize,
    file: i32,
}

fn map(at: *mut u8, len: usize, prot: i32, flags: i32, file: i32) -> *mut u8 {
    // SAFETY: a new mapping, or one in place of a reservation of `Window`'s own.
    let mapped = unsafe { libc::mmap(at.cast(), len, prot, flags, file, 0) };
    assert_ne!(mapped, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    mapped.cast()
}

impl Memory {
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: makes a file of its own.
        let file = unsafe {
            let file = libc::memfd_create(c"guest".as_ptr(), 0);
            assert!(file >= 0 && libc::ftruncate(file, bytes.len() as i64) == 0);
            file
        };
        let at = map(std::ptr::null_mut(), bytes.len(), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file);
        let mut memory = Self { at, len: bytes.len(), file };
        memory.copy_from_slice(bytes);
        memory
    }
}

impl std::ops::Deref for Memory {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped as long as the value lives; translated code that changes it runs while no reference exists.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }
}

impl std::ops::DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nobody uses the mapping or the file after this.
        unsafe {
            libc::munmap(self.at.cast(), self.len);
            libc::close(self.file);
        }
    }
}

/// Room for accesses that run over a span's ends.
const MARGIN: usize = 1 << 20;
const SIZE: usize = (1 << SPAN_BITS) + 2 * MARGIN;

/// The span around [`BASE`].
pub struct Window {
    at: *mut u8,
}

thread_local! {
    static RUNNING: Cell<*const Jit> = const { Cell::new(std::ptr::null()) };
}

extern "C" fn on_fault(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted context; the compiler that `enter` named lives until `enter` returns.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
        match RUNNING.get().as_ref().and_then(|jit| jit.fault_target(*rip as u64)) {
            Some(target) => *rip = target as i64,
            // Anything else is a crash like any other.
            None => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

impl Window {
    /// Shows the machine's memory and points some of the compiler's accesses at it: those whose number has its bit set.
    pub fn open(machine: &mut Machine, jit: &mut Jit, which: u64) -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: all-zero is a valid `sigaction` to fill.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fault as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
                libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut());
            }
        });
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = map(std::ptr::null_mut(), SIZE, libc::PROT_NONE, reserve, -1);
        let start = BASE >> SPAN_BITS << SPAN_BITS;
        let addend = (at as u64 + MARGIN as u64).wrapping_sub(start);
        let memory = &machine.engine.memory;
        let seen = BASE.wrapping_add(addend) as *mut u8;
        map(seen, memory.len, libc::PROT_NONE, libc::MAP_SHARED | libc::MAP_FIXED, memory.file);
        // SAFETY: pages of the mapping just made.
        unsafe {
            libc::mprotect(seen.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE);
            libc::mprotect(seen.wrapping_add(4096).cast(), 4096, libc::PROT_READ);
        }
        assert!(memory.len >= 2 * 4096 && memory.len < PAGES * 4096);
        for mode in &mut machine.cpu.rt.spans {
            mode[0] = Span { key: BASE >> SPAN_BITS, addend };
            mode[SPANS] = Span::NONE;
        }
        machine.cpu.rt.patience.fill(i32::MAX);
        for site in 0..jit.generator.sites.0.len() as u32 {
            if which >> (site % 64) & 1 != 0 {
                jit.aim(site, 0, 0);
            }
        }
        Self { at }
    }

    /// Runs translated code whose faults the window's owner knows what to do with.
    pub fn enter(&self, jit: &Jit, vcpu: *mut u8, entry: u64) {
        RUNNING.set(jit);
        jit.enter(vcpu, entry);
        RUNNING.set(std::ptr::null());
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: nobody uses the reservation after this.
        unsafe { libc::munmap(self.at.cast(), SIZE) };
    }
}
