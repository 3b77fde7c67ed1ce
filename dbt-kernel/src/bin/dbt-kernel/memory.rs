//! What `core` and `alloc` expect of a C library, and the engine's heap.
//!
//! The copying loops are assembly, because the compiler recognises such loops and would turn them into calls of the very
//! functions they implement.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use talc::{ErrOnOom, Span, Talc};

/// Above this many bytes the string instructions beat loops of 16-byte moves.
const STRING_MIN: usize = 512;

/// Copies up to 16 bytes, all loads before all stores: overlap doesn't matter.
///
/// # Safety
/// As for `memmove`.
unsafe fn move_small(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: every access lies within `len` bytes of either pointer.
    unsafe {
        if len >= 8 {
            let (first, last) = (from.cast::<u64>().read_unaligned(), from.add(len - 8).cast::<u64>().read_unaligned());
            to.cast::<u64>().write_unaligned(first);
            to.add(len - 8).cast::<u64>().write_unaligned(last);
        } else if len >= 4 {
            let (first, last) = (from.cast::<u32>().read_unaligned(), from.add(len - 4).cast::<u32>().read_unaligned());
            to.cast::<u32>().write_unaligned(first);
            to.add(len - 4).cast::<u32>().write_unaligned(last);
        } else if len >= 2 {
            let (first, last) = (from.cast::<u16>().read_unaligned(), from.add(len - 2).cast::<u16>().read_unaligned());
            to.cast::<u16>().write_unaligned(first);
            to.add(len - 2).cast::<u16>().write_unaligned(last);
        } else if len == 1 {
            *to = *from;
        }
    }
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: all accesses lie within `len` bytes of either pointer.
    unsafe {
        if len <= 16 {
            move_small(to, from, len);
        } else if len < STRING_MIN {
            let last = _mm_loadu_si128(from.add(len - 16).cast::<__m128i>());
            asm!(
                "2:",
                "movdqu {x}, [{from}]",
                "movdqu [{to}], {x}",
                "add {from}, 16",
                "add {to}, 16",
                "sub {left}, 16",
                "ja 2b",
                x = out(xmm_reg) _,
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                left = inout(reg) len - 16 => _,
                options(nostack),
            );
            _mm_storeu_si128(to.add(len - 16).cast::<__m128i>(), last);
        } else {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
    }
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: all accesses lie within `len` bytes of either pointer; the direction is the one that reads before it
    // overwrites.
    unsafe {
        if len <= 16 {
            move_small(to, from, len);
        } else if (to as usize).wrapping_sub(from as usize) >= len {
            // Not overlapping, or downwards: forwards in steps no longer than the distance.
            if (from as usize).wrapping_sub(to as usize) >= len {
                memcpy(to, from, len);
            } else {
                asm!(
                    "rep movsb",
                    inout("rcx") len => _,
                    inout("rdi") to => _,
                    inout("rsi") from => _,
                    options(nostack, preserves_flags),
                );
            }
        } else {
            let first = from.cast::<u64>().read_unaligned();
            asm!(
                "2:",
                "mov {x}, [{from} + {left} - 8]",
                "mov [{to} + {left} - 8], {x}",
                "sub {left}, 8",
                "cmp {left}, 8",
                "ja 2b",
                x = out(reg) _,
                from = in(reg) from,
                to = in(reg) to,
                left = inout(reg) len => _,
                options(nostack),
            );
            to.cast::<u64>().write_unaligned(first);
        }
    }
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    let pattern = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: all accesses lie within `len` bytes.
    unsafe {
        if (8..=64).contains(&len) {
            asm!(
                "2:",
                "mov [{at}], {pattern}",
                "add {at}, 8",
                "sub {left}, 8",
                "ja 2b",
                at = inout(reg) to => _,
                pattern = in(reg) pattern,
                left = inout(reg) len - 8 => _,
                options(nostack),
            );
            to.add(len - 8).cast::<u64>().write_unaligned(pattern);
        } else {
            asm!(
                "rep stosb",
                inout("rcx") len => _,
                inout("rdi") to => _,
                in("al") byte as u8,
                options(nostack, preserves_flags),
            );
        }
    }
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    let mut at = 0;
    // SAFETY: all accesses lie within `len` bytes of either pointer.
    unsafe {
        while at + 8 <= len {
            let (x, y) = (a.add(at).cast::<u64>().read_unaligned(), b.add(at).cast::<u64>().read_unaligned());
            if x != y {
                return if x.swap_bytes() < y.swap_bytes() { -1 } else { 1 };
            }
            at += 8;
        }
        while at < len {
            let (x, y) = (*a.add(at), *b.add(at));
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            at += 1;
        }
    }
    0
}

/// # Safety
/// As `memcmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, len) }
}

/// The precompiled libraries refer to these for unwinding, which never happens: panics end the engine.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() {}

/// The engine's heap.
pub struct Heap {
    busy: AtomicBool,
    talc: UnsafeCell<Talc<ErrOnOom>>,
    used: AtomicU64,
}

// SAFETY: `talc` is touched only while `busy` is held.
unsafe impl Sync for Heap {}

#[global_allocator]
pub static HEAP: Heap =
    Heap { busy: AtomicBool::new(false), talc: UnsafeCell::new(Talc::new(ErrOnOom)), used: AtomicU64::new(0) };

impl Heap {
    fn with<T>(&self, action: impl FnOnce(&mut Talc<ErrOnOom>) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: `busy` is held, so this is the only reference.
        let result = action(unsafe { &mut *self.talc.get() });
        self.busy.store(false, Ordering::Release);
        result
    }

    /// Gives the heap its memory.
    ///
    /// # Safety
    /// The range is mapped, writable and used by nothing else, for good.
    pub unsafe fn claim(&self, base: u64, size: u64) -> bool {
        let span = Span::from_base_size(base as *mut u8, size as usize);
        // SAFETY: the caller's promise.
        self.with(|talc| unsafe { talc.claim(span) }).is_ok()
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What is so large is a table: no entry of a line's size should be in two.
const LARGE: usize = 4096;
const LINE: usize = 64;

/// The layout that a block of `layout` really has.
fn placed(layout: Layout) -> Layout {
    let lines = if layout.size() >= LARGE { layout.align_to(LINE) } else { Ok(layout) };
    lines.unwrap_or(layout)
}

// SAFETY: Talc hands out disjoint blocks of the layout asked for, under the lock.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: `GlobalAlloc` callers never ask for zero bytes.
        match self.with(|talc| unsafe { talc.malloc(placed(layout)) }) {
            Ok(block) => {
                self.used.fetch_add(layout.size() as u64, Ordering::Relaxed);
                block.as_ptr()
            }
            Err(()) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = ptr::NonNull::new(block) else { return };
        // SAFETY: the block came from `alloc` with this layout, which was placed the same way.
        self.with(|talc| unsafe { talc.free(block, placed(layout)) });
        self.used.fetch_sub(layout.size() as u64, Ordering::Relaxed);
    }
}
