//! Hosted mode's last resort: a fault in translated code or in the engine becomes a report and exit code 70.
//!
//! In hosted mode the engine shares the launcher's process, so that a bug in it may show as SIGSEGV. The handler only uses
//! what a signal handler may: it formats into a buffer on its stack and writes that.

use crate::terminal;
use dbt_kernel::shared::Control;
use std::fmt::Write;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The running machine's control block, for the report.
static CONTROL: AtomicPtr<Control> = AtomicPtr::new(ptr::null_mut());

const SIGNALS: [(i32, &str); 5] = [
    (libc::SIGSEGV, "invalid memory access"),
    (libc::SIGBUS, "memory access without backing"),
    (libc::SIGILL, "invalid instruction"),
    (libc::SIGFPE, "arithmetic fault"),
    (libc::SIGTRAP, "breakpoint"),
];

/// Installs the handler. Threads of `std` have an alternate signal stack, so that a stack overflow is reported too.
pub fn install() {
    CONTROL.store(ptr::null_mut(), Ordering::SeqCst);
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = report;
    for (signal, _) in SIGNALS {
        // SAFETY: all-zero is a valid `sigaction` to fill; the handler has the signature SA_SIGINFO asks for and is
        // async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The machine a report is about; a null pointer ends that.
pub fn watch(control: *const Control) {
    CONTROL.store(control.cast_mut(), Ordering::SeqCst);
}

/// Text without allocation.
struct Text {
    bytes: [u8; 2048],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = s.len().min(room.len());
        room[..len].copy_from_slice(&s.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

const REGISTERS: [(&str, i32); 18] = [
    ("rax", libc::REG_RAX),
    ("rbx", libc::REG_RBX),
    ("rcx", libc::REG_RCX),
    ("rdx", libc::REG_RDX),
    ("rsi", libc::REG_RSI),
    ("rdi", libc::REG_RDI),
    ("rbp", libc::REG_RBP),
    ("rsp", libc::REG_RSP),
    ("r8", libc::REG_R8),
    ("r9", libc::REG_R9),
    ("r10", libc::REG_R10),
    ("r11", libc::REG_R11),
    ("r12", libc::REG_R12),
    ("r13", libc::REG_R13),
    ("r14", libc::REG_R14),
    ("r15", libc::REG_R15),
    ("rip", libc::REG_RIP),
    ("efl", libc::REG_EFL),
];

extern "C" fn report(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    terminal::restore();
    let mut text = Text { bytes: [0; 2048], len: 0 };
    let what = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("signal", |(_, what)| *what);
    // SAFETY: the kernel passes valid pointers to an SA_SIGINFO handler.
    let (address, registers) =
        unsafe { ((*info).si_addr() as u64, (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs) };
    let _ = writeln!(text, "host-launcher: engine bug: {what} at address {address:#x}");
    // SAFETY: whoever set the pointer keeps the block and its machine until it is reset.
    if let Some(control) = unsafe { CONTROL.load(Ordering::SeqCst).as_ref() } {
        let rip = registers[libc::REG_RIP as usize] as u64;
        let code = control.code_base..control.code_base + control.code_size;
        let place = if code.contains(&rip) { "translated code" } else { "the engine or the launcher" };
        // SAFETY: as above.
        let _ = writeln!(text, "in {place}, guest pc {:#x}", unsafe { crate::engine::guest_pc(control) });
    }
    for (index, (name, register)) in REGISTERS.iter().enumerate() {
        let end = if index % 4 == 3 { '\n' } else { ' ' };
        let _ = write!(text, "{name:>4} {:016x}{end}", registers[*register as usize]);
    }
    let _ = writeln!(text);
    // SAFETY: writes from the buffer, then ends the process without running anything else.
    unsafe {
        libc::write(2, text.bytes.as_ptr().cast(), text.len);
        libc::_exit(70);
    }
}
