//! The user's terminal: raw while the guest runs, as it was on every way out.
//!
//! What the terminal was before is kept for the whole process, because a panic hook and a signal handler must be able to
//! restore it; `tcsetattr` may be called from both.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

struct Saved(libc::termios);

static SAVED: OnceLock<Saved> = OnceLock::new();
static RAW: AtomicBool = AtomicBool::new(false);

/// Raw mode for as long as this lives; nothing if standard input is no terminal.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    #[must_use]
    pub fn enter() -> Self {
        // SAFETY: all-zero is a valid `termios` to be filled.
        let mut termios: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: fills the variable, which lives through the call.
        if unsafe { libc::tcgetattr(0, &raw mut termios) } != 0 {
            return Self(());
        }
        if SAVED.set(Saved(termios)).is_ok() {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                previous(info);
            }));
        }
        // SAFETY: changes only the variable.
        unsafe { libc::cfmakeraw(&raw mut termios) };
        // Messages of our own end in a bare newline; the guest's own carriage returns do no harm.
        termios.c_oflag |= libc::OPOST | libc::ONLCR;
        RAW.store(true, Ordering::SeqCst);
        // SAFETY: reads the variable, which lives through the call.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw const termios) };
        Self(())
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was. Safe to call from signal handlers, and more than once.
pub fn restore() {
    if let (true, Some(saved)) = (RAW.swap(false, Ordering::SeqCst), SAVED.get()) {
        // SAFETY: reads a `termios` that is never changed once set.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw const saved.0) };
    }
}
