//! What the engine needs of the machine it runs on, beyond memory: a clock, waiting, stopping.
//!
//! Two implementations: the unikernel's (doorbell exits to the launcher) and the launcher's hosted mode (threads of its own
//! process).

/// The engine's platform.
pub trait Platform {
    /// The host's time stamp counter.
    fn tsc(&self) -> u64;
    /// Blocks until an event is pending for vCPU `vcpu` or its `Control::deadline` has passed. May return early.
    fn wait(&self, vcpu: u32);
    /// Asks the launcher to drain the output ring and the log; returns when it has made room.
    fn drain(&self);
    /// Whether guest memory is to be mapped by the host's MMU ([`crate::hostmmu`]), in page tables that the next two concern.
    fn host_mmu(&self) -> bool {
        false
    }
    /// Makes the processor forget its translation of the page, or large page, with the engine address `at`.
    fn forget_translation(&self, _at: u64) {}
    /// Makes the processor forget all translations.
    fn flush_translations(&self) {}
}
