//! What makes translated code fast and could be left out: to see what each gives, or which one is wrong.

use bitflags::bitflags;

bitflags! {
    /// Mechanisms, as bits of what the launcher says. Without any, guests do the same, slower.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Mechanisms: u64 {
        /// Direct jumps within a page lead to their target's code, and not to the dispatcher.
        const CHAINING = 1 << 0;
        /// Other jumps look their target up in the jump cache.
        const JUMP_CACHE = 1 << 1;
        /// A region that is a loop keeps state in registers from turn to turn.
        const LOOPS = 1 << 2;
        /// Loops have more than one way round.
        const BRANCHES = 1 << 3;
        /// Two accesses next to each other are one.
        const PAIRS = 1 << 4;
        /// Accesses around one address share their way to memory.
        const SHARING = 1 << 5;
        /// State that is overwritten before anybody looks is not stored.
        const DEAD_STORES = 1 << 6;
        /// Floating-point operations use the host's unit.
        const FP_INLINE = 1 << 7;
        /// Their results are checked together.
        const FP_GROUPS = 1 << 8;
    }
}
