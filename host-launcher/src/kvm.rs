//! The KVM accelerator: the engine as a unikernel in a virtual machine of its own.
//!
//! The virtual machine starts in ring 3, in 64-bit mode, with its page tables, descriptor tables and control block ready
//! (`dbt_kernel::shared::layout`); there is no firmware, no interrupt controller, no device. It leaves the machine only
//! by a store to the doorbell page, which no memory backs.
//!
//! Memory is backed in large pages and populated ahead of use by a thread: on a hypervisor without hardware support each
//! small page touched costs tens of thousands of cycles.

use crate::boot::{Images, RAM_BASE, Ram, Start};
use crate::elf::{Elf, ElfError};
use crate::host_cpu;
use crate::link::{ControlRef, Link, Window};
use crate::machine::{self, CODE_BYTES, HEAP_BYTES, Options, Running};
use crate::mapping::{HUGE, Mapping};
use crate::paging::{LARGE_PAGE, PAGE, PageTables, PagingError, Rights};
use dbt_kernel::shared::{Control, doorbell, layout, nucleus, stopped};
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region, kvm_xcr, kvm_xcrs,
};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd, VmFd};
use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use x86_backend::jit::cold_part;

/// The unikernel.
static KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dbt-kernel.elf"));

/// The virtual machine's physical memory: the engine's at 0, guest RAM above 4 GiB, nothing behind the doorbell.
mod phys {
    use super::{CODE_BYTES, HEAP_BYTES, HUGE};
    pub const PAGE_TABLES: u64 = 0;
    pub const PAGE_TABLES_BYTES: u64 = 16 << 20;
    /// Nucleus, control block, stack, each in a 2 MiB page of its own; then heap, code cache, image.
    pub const NUCLEUS: u64 = PAGE_TABLES + PAGE_TABLES_BYTES;
    pub const CONTROL: u64 = NUCLEUS + HUGE as u64;
    pub const STACK: u64 = CONTROL + HUGE as u64;
    pub const HEAP: u64 = STACK + HUGE as u64;
    pub const CODE: u64 = HEAP + HEAP_BYTES as u64;
    pub const IMAGE: u64 = CODE + CODE_BYTES as u64;
    pub const IMAGE_BYTES: u64 = 16 << 20;
    pub const END: u64 = IMAGE + IMAGE_BYTES;
    pub const DOORBELL: u64 = 0xf000_0000;
    pub const RAM: u64 = 1 << 32;
}

const _: () = assert!(size_of::<Control>() <= HUGE && phys::END < phys::DOORBELL && layout::STACK_SIZE <= HUGE as u64);

#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    #[error("/dev/kvm can't be opened: {0}")]
    Open(kvm_ioctls::Error),
    #[error("KVM refused {what}: {source}")]
    Refused { what: &'static str, source: kvm_ioctls::Error },
    #[error("the host gives no memory or thread: {0}")]
    Host(#[from] io::Error),
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("the engine's address space can't be built: {0}")]
    Paging(#[from] PagingError),
    #[error("the unikernel's image doesn't fit its place")]
    Image,
}

fn refused(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
    move |source| KvmError::Refused { what, source }
}

/// Whether KVM can be used here.
///
/// # Errors
/// Why not.
pub fn usable() -> Result<(), KvmError> {
    Elf::parse(KERNEL)?;
    let kvm = Kvm::new().map_err(KvmError::Open)?;
    kvm.create_vm().map_err(refused("a virtual machine"))?;
    Ok(())
}

/// A running virtual machine.
pub struct KvmMachine {
    link: Arc<Link>,
    kicked: Arc<AtomicBool>,
    vcpu: Option<JoinHandle<()>>,
}

impl KvmMachine {
    /// Builds the virtual machine and starts its vCPU.
    ///
    /// # Errors
    /// KVM or the host refused something.
    pub fn start(images: &Images, ram: &Arc<Ram>, start: &Start, options: Options) -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        let vm = kvm.create_vm().map_err(refused("a virtual machine"))?;
        if kvm.check_extension(Cap::SetTssAddr) {
            // Some hosts need three pages of their own below 4 GiB; others don't care.
            let _ = vm.set_tss_address(0xfffb_d000);
        }
        let engine = Arc::new(Mapping::new(phys::END as usize, false)?);
        engine.populate(0, phys::HEAP as usize + 2 * HUGE);
        for part in code_parts() {
            engine.populate(part, HUGE);
        }
        slot(&vm, 0, 0, &engine)?;
        slot(&vm, 1, phys::RAM, &ram.mapping)?;

        let elf = Elf::parse(KERNEL)?;
        let (root, used) = build_address_space(&engine, &elf, ram)?;

        let mut control = machine::control(images, ram, start, options);
        control.ram[0].engine_addr = layout::PHYSMAP + RAM_BASE;
        control.ram[0].vm_phys = phys::RAM;
        control.heap_base = layout::HEAP;
        control.heap_size = HEAP_BYTES as u64;
        control.code_base = layout::CODE;
        control.code_size = CODE_BYTES as u64;
        control.page_tables_phys = phys::PAGE_TABLES;
        control.page_tables_size = phys::PAGE_TABLES_BYTES;
        control.page_tables_used = used;
        control.page_tables_root = root;
        let vcpu = make_vcpu(&kvm, &vm, root, elf.entry)?;
        if let (true, Ok(khz)) = (kvm.check_extension(Cap::GetTscKhz), vcpu.get_tsc_khz()) {
            log::debug!("TSC: {} kHz says KVM, {} Hz measured", khz, control.tsc_hz);
        }
        let control = ControlRef::place(&engine, phys::CONTROL as usize, control);
        let local = |at: u64| engine.addr() as usize + at as usize;
        let windows = vec![
            Window { engine: layout::HEAP, size: HEAP_BYTES as u64, local: local(phys::HEAP) },
            Window { engine: layout::CONTROL, size: size_of::<Control>() as u64, local: local(phys::CONTROL) },
        ];
        let link = Arc::new(Link::new(control, windows)?);
        let kicked = Arc::new(AtomicBool::new(false));
        populate_ahead(Arc::clone(&engine), Arc::clone(ram), Arc::clone(&link))?;
        let mut run =
            Run { vcpu, vm, link: Arc::clone(&link), engine, _ram: Arc::clone(ram), kicked: Arc::clone(&kicked) };
        install_kick_handler();
        let thread = thread::Builder::new().name("vcpu0".to_owned()).spawn(move || {
            let failure = run.until_stopped().err();
            run.link.end(failure);
        })?;
        Ok(Self { link, kicked, vcpu: Some(thread) })
    }
}

impl Running for KvmMachine {
    fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn kick(&self) {
        self.kicked.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.vcpu {
            // SAFETY: the thread isn't joined yet, so its handle is valid; the signal has a handler that does nothing.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        }
    }
}

impl Drop for KvmMachine {
    fn drop(&mut self) {
        if !self.link.ended() {
            self.kick();
        }
        if let Some(thread) = self.vcpu.take() {
            let _ = thread.join();
        }
    }
}

/// The signal's only effect is that KVM_RUN returns.
fn install_kick_handler() {
    extern "C" fn nothing(_: i32) {}
    let handler: extern "C" fn(i32) = nothing;
    // SAFETY: all-zero is a valid `sigaction` to fill; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
}

fn slot(vm: &VmFd, slot: u32, guest_phys_addr: u64, mapping: &Mapping) -> Result<(), KvmError> {
    let region = kvm_userspace_memory_region {
        slot,
        guest_phys_addr,
        memory_size: mapping.size() as u64,
        userspace_addr: mapping.addr() as u64,
        flags: 0,
    };
    // SAFETY: the mapping outlives the virtual machine: the vCPU's thread owns both.
    unsafe { vm.set_user_memory_region(region) }.map_err(refused("the virtual machine's memory"))
}

/// Loads the unikernel and builds the page tables; gives their root and the bytes they take.
fn build_address_space(engine: &Mapping, elf: &Elf<'_>, ram: &Ram) -> Result<(u64, u64), KvmError> {
    const DATA: Rights = Rights { user: true, write: true, execute: false };
    let mut tables = PageTables::new(engine, phys::PAGE_TABLES)?;
    for segment in &elf.segments {
        let user = segment.address >= layout::IMAGE;
        // Both parts keep their offsets, so that aligned segments stay aligned.
        let (base, room, target) = if user {
            (layout::IMAGE, phys::IMAGE_BYTES, phys::IMAGE)
        } else {
            (layout::NUCLEUS, HUGE as u64, phys::NUCLEUS)
        };
        let offset = segment.address.checked_sub(base).ok_or(KvmError::Image)?;
        let unit = if user { LARGE_PAGE } else { PAGE };
        let size = segment.memory_size.checked_next_multiple_of(unit).ok_or(KvmError::Image)?;
        if offset % unit != 0 || offset.checked_add(size).is_none_or(|end| end > room) {
            return Err(KvmError::Image);
        }
        engine.write((target + offset) as usize, segment.bytes);
        let rights = Rights { user, write: segment.writable, execute: segment.executable };
        tables.map(segment.address, target + offset, size, rights)?;
    }
    let frame = nucleus::STACK - layout::NUCLEUS + phys::NUCLEUS;
    tables.map(layout::FAULT_FRAME, frame, PAGE, Rights { write: false, ..DATA })?;
    tables.map(layout::CONTROL, phys::CONTROL, HUGE as u64, DATA)?;
    tables.map(layout::STACK, phys::STACK, HUGE as u64, DATA)?;
    tables.map(layout::HEAP, phys::HEAP, HEAP_BYTES as u64, DATA)?;
    tables.map(layout::CODE, phys::CODE, CODE_BYTES as u64, Rights { execute: true, ..DATA })?;
    tables.map(layout::PAGE_TABLES, phys::PAGE_TABLES, phys::PAGE_TABLES_BYTES, DATA)?;
    tables.map(layout::DOORBELL, phys::DOORBELL, PAGE, DATA)?;
    tables.map(layout::PHYSMAP + RAM_BASE, phys::RAM, ram.mapping.size() as u64, DATA)?;
    Ok((tables.root(), tables.used()))
}

/// A vCPU about to execute `entry` in ring 3.
fn make_vcpu(kvm: &Kvm, vm: &VmFd, root: u64, entry: u64) -> Result<VcpuFd, KvmError> {
    const CR0: u64 = 0x8005_0033; // PG AM WP NE ET MP PE
    const CR4: u64 = 0x620; // OSXMMEXCPT OSFXSR PAE
    const CR4_OSXSAVE: u64 = 1 << 18;
    const CR4_FSGSBASE: u64 = 1 << 16;
    const EFER: u64 = 0xd00; // NXE LMA LME
    const DIRECTION_OF_RESERVED_FLAG: u64 = 2;

    let vcpu = vm.create_vcpu(0).map_err(refused("a vCPU"))?;
    if let Ok(cpuid) = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES) {
        vcpu.set_cpuid2(&cpuid).map_err(refused("its own CPUID"))?;
    }
    let mut sregs: kvm_sregs = vcpu.get_sregs().map_err(refused("to tell the vCPU's registers"))?;
    let segment = |selector: u16, type_: u8, code: bool| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: (selector & 3) as u8,
        db: u8::from(!code),
        s: 1,
        l: u8::from(code),
        g: 1,
        ..kvm_segment::default()
    };
    sregs.cs = segment(nucleus::USER_CODE, 0xb, true);
    let data = segment(nucleus::USER_DATA, 0x3, false);
    (sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: nucleus::TSS,
        limit: nucleus::TSS_LIMIT,
        selector: nucleus::TASK,
        type_: 0xb,
        present: 1,
        ..kvm_segment::default()
    };
    sregs.ldt = kvm_segment { unusable: 1, ..kvm_segment::default() };
    sregs.gdt = kvm_dtable { base: nucleus::GDT, limit: nucleus::GDT_LIMIT, ..kvm_dtable::default() };
    sregs.idt = kvm_dtable { base: nucleus::IDT, limit: nucleus::IDT_LIMIT, ..kvm_dtable::default() };
    sregs.cr3 = root;
    sregs.cr0 = CR0;
    sregs.efer = EFER;
    // Not every host offers the optional ones; without them the engine finds the features missing and does without.
    let mut accepted = Err(kvm_ioctls::Error::new(libc::EINVAL));
    for optional in [CR4_OSXSAVE | CR4_FSGSBASE, CR4_OSXSAVE, 0] {
        sregs.cr4 = CR4 | optional;
        accepted = vcpu.set_sregs(&sregs);
        if accepted.is_ok() {
            log::debug!("CR4 is {:#x}", sregs.cr4);
            break;
        }
    }
    accepted.map_err(refused("64-bit mode"))?;
    enable_avx(&vcpu);
    let regs = kvm_regs {
        rip: entry,
        rsp: layout::STACK + layout::STACK_SIZE,
        rflags: DIRECTION_OF_RESERVED_FLAG,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs).map_err(refused("the vCPU's registers"))?;
    Ok(vcpu)
}

/// x87, SSE and AVX state in XCR0, where the host has it.
fn enable_avx(vcpu: &VcpuFd) {
    if !std::arch::is_x86_feature_detected!("avx") {
        return;
    }
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..kvm_xcrs::default() };
    xcrs.xcrs[0] = kvm_xcr { xcr: 0, value: 7, ..kvm_xcr::default() };
    if let Err(error) = vcpu.set_xcrs(&xcrs) {
        log::info!("no AVX in the virtual machine: {error}");
    }
}

/// Where the parts of the code cache begin.
fn code_parts() -> [usize; 2] {
    [0, cold_part(CODE_BYTES)].map(|part| phys::CODE as usize + part)
}

/// Backs memory before the virtual machine touches it: first what every boot uses, then RAM from both ends, because kernels
/// allocate from the top. It goes on only while the guest works: what an idle guest doesn't use costs nothing.
fn populate_ahead(engine: Arc<Mapping>, ram: Arc<Ram>, link: Arc<Link>) -> io::Result<()> {
    /// 2 MiB pages of heap, of each part of the code cache, and of RAM: what a boot uses. Backing all of RAM made nothing faster.
    const HEAP_CHUNKS: usize = 8;
    const CODE_CHUNKS: usize = 12;
    const RAM_CHUNKS: usize = 64;
    const IDLE_NAP: Duration = Duration::from_millis(5);

    let chunks = ram.mapping.size() / HUGE;
    thread::Builder::new().name("populate".to_owned()).spawn(move || {
        // The vCPU comes first where processors are scarce.
        // SAFETY: changes this thread's priority; no memory involved.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, libc::gettid() as libc::id_t, 5) };
        let heap = (phys::HEAP as usize..).step_by(HUGE).take(HEAP_CHUNKS);
        let code = (0..CODE_CHUNKS).flat_map(|chunk| code_parts().map(|part| part + chunk * HUGE));
        let mut own = heap.chain(code);
        for step in 0..chunks.min(RAM_CHUNKS) {
            while link.waiting() && !link.ended() {
                thread::sleep(IDLE_NAP);
            }
            if link.ended() {
                break;
            }
            let chunk = if step % 2 == 0 { step / 2 } else { chunks - 1 - step / 2 };
            ram.mapping.populate(chunk * HUGE, HUGE);
            if let Some(offset) = own.next() {
                engine.populate(offset, HUGE);
            }
        }
    })?;
    Ok(())
}

/// The vCPU's thread. It owns what the virtual machine uses.
struct Run {
    vcpu: VcpuFd,
    vm: VmFd,
    link: Arc<Link>,
    engine: Arc<Mapping>,
    _ram: Arc<Ram>,
    kicked: Arc<AtomicBool>,
}

impl Run {
    /// Runs until the engine stops or is kicked out.
    ///
    /// # Errors
    /// What went wrong in the virtual machine.
    fn until_stopped(&mut self) -> Result<(), String> {
        loop {
            if self.kicked.load(Ordering::SeqCst) {
                self.link
                    .control
                    .stopped
                    .compare_exchange(stopped::RUNNING, stopped::REQUESTED, Ordering::SeqCst, Ordering::SeqCst)
                    .ok();
                return Ok(());
            }
            let (what, code) = match self.vcpu.run() {
                Ok(VcpuExit::MmioWrite(phys::DOORBELL, data)) => {
                    ("doorbell", data.iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte)))
                }
                Ok(VcpuExit::Intr) => {
                    self.link.control.stats.vm_exits_other.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(VcpuExit::Shutdown) => return Err(self.report("a triple fault")),
                Ok(VcpuExit::InternalError) => return Err(self.report("KVM can't go on (internal error)")),
                Ok(exit) => {
                    let what = format!("an unexpected exit: {exit:?}");
                    return Err(self.report(&what));
                }
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                    self.link.control.stats.vm_exits_other.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(error) => return Err(self.report(&format!("KVM_RUN failed: {error}"))),
            };
            let stats = &self.link.control.stats;
            let counter = match code {
                doorbell::WAIT => &stats.vm_exits_wait,
                doorbell::DRAIN => &stats.vm_exits_drain,
                _ => &stats.vm_exits_other,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            match code {
                doorbell::WAIT => self.link.wait(0),
                doorbell::DRAIN => {
                    self.link.drain();
                }
                doorbell::READY => self.ready(),
                doorbell::STOP => return Ok(()),
                doorbell::DOUBLE_FAULT => return Err(self.report("an exception within the report of an exception")),
                _ => return Err(self.report(&format!("an unknown {what} code {code}"))),
            }
        }
    }

    /// The engine is alive and has just read its clock: where it differs from ours by more than the way here can have taken
    /// on a busy host, the hypervisor offsets it.
    fn ready(&self) {
        let control = &self.link.control;
        let ahead = control.tsc_probe.load(Ordering::SeqCst).wrapping_sub(host_cpu::tsc()) as i64;
        let noise = control.tsc_hz as i64;
        if ahead.abs() > noise {
            log::debug!("the virtual machine's clock is {ahead} cycles ahead");
            self.link.set_tsc_offset(ahead);
            self.link.set_tsc_origin(control.tsc_origin.wrapping_add_signed(ahead));
        }
    }

    /// Everything known about a virtual machine that can't go on.
    fn report(&self, what: &str) -> String {
        let mut text = format!("{what} in the virtual machine");
        if let Ok(regs) = self.vcpu.get_regs() {
            text += &format!("\n{regs:#x?}");
        }
        if let Ok(sregs) = self.vcpu.get_sregs() {
            text += &format!(
                "\nring {}, cr0 {:#x}, cr2 {:#x}, cr3 {:#x}, cr4 {:#x}, efer {:#x}",
                sregs.cs.dpl, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer
            );
        }
        let end = phys::NUCLEUS + (nucleus::STACK_END - layout::NUCLEUS);
        let at = end as usize - size_of::<nucleus::Frame>();
        if let Some(frame) = self.engine.at(at, size_of::<nucleus::Frame>()) {
            // SAFETY: eight-byte aligned plain numbers within the mapping; the vCPU doesn't run.
            text += &format!("\nlast exception: {:#x?}", unsafe { frame.cast::<nucleus::Frame>().read() });
        }
        let _ = &self.vm;
        text
    }
}

#[cfg(test)]
mod tests;
