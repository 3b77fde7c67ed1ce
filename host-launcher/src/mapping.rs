//! Anonymous memory of the launcher: guest RAM, the engine's memory, the shared block.
//!
//! Aligned to 2 MiB and meant for huge pages, because a virtual machine pays per page of backing memory touched.

use std::io;

pub const HUGE: usize = 2 << 20;

/// A mapping, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    addr: *mut u8,
    size: usize,
}

// SAFETY: the mapping is plain memory; what is shared through it is atomics or handed over before threads start.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself hands out raw pointers only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory, readable and writable, and executable if asked for. The size is rounded up to whole 2 MiB.
    ///
    /// # Errors
    /// The host won't give it.
    pub fn new(size: usize, executable: bool) -> io::Result<Self> {
        let size = size.checked_next_multiple_of(HUGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let reserve = size.checked_add(HUGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let prot = libc::PROT_READ | libc::PROT_WRITE | if executable { libc::PROT_EXEC } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping anywhere touches no existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), reserve, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = base.cast::<u8>();
        let lead = base.align_offset(HUGE);
        // SAFETY: both trimmed ranges lie in the mapping just made and nothing uses them; the advice changes no content.
        unsafe {
            if lead != 0 {
                libc::munmap(base.cast(), lead);
            }
            if lead != HUGE {
                libc::munmap(base.add(lead + size).cast(), HUGE - lead);
            }
            libc::madvise(base.add(lead).cast(), size, libc::MADV_HUGEPAGE);
        }
        // SAFETY: `lead` is at most `HUGE`, within the reservation.
        Ok(Self { addr: unsafe { base.add(lead) }, size })
    }

    #[must_use]
    pub fn addr(&self) -> *mut u8 {
        self.addr
    }

    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// A pointer to `len` bytes at `offset`, if they all lie within.
    #[must_use]
    pub fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // SAFETY: checked to lie within the mapping.
        (end <= self.size).then(|| unsafe { self.addr.add(offset) })
    }

    /// Makes the host back a range now instead of at first touch; only advice.
    pub fn populate(&self, offset: usize, len: usize) {
        if let Some(start) = self.at(offset, len) {
            // SAFETY: populating keeps the content.
            unsafe { libc::madvise(start.cast(), len, libc::MADV_POPULATE_WRITE) };
        }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// They don't fit: callers lay memory out before they fill it.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len()).expect("the write lies within the mapping");
        // SAFETY: `to` has room for the bytes, and a slice the caller holds can't overlap memory only we hand out raw.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing can use it any more: users hold it through an `Arc`.
        unsafe { libc::munmap(self.addr.cast(), self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_aligned_and_bounded() {
        let mapping = Mapping::new(3 << 20, false).unwrap();
        assert_eq!(mapping.addr() as usize % HUGE, 0);
        assert_eq!(mapping.size(), 4 << 20);
        mapping.write(mapping.size() - 2, &[1, 2]);
        assert!(mapping.at(mapping.size(), 0).is_some());
        assert!(mapping.at(mapping.size(), 1).is_none());
        assert!(mapping.at(usize::MAX, 2).is_none());
        mapping.populate(0, HUGE);
    }
}
