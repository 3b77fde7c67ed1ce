//! Just enough ELF to load the unikernel, which is built together with the launcher.

const PT_LOAD: u32 = 1;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    #[error("the unikernel isn't in this build of the launcher")]
    Missing,
    #[error("the unikernel is damaged")]
    Damaged,
}

/// A loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub address: u64,
    pub memory_size: u64,
    pub bytes: &'a [u8],
    pub writable: bool,
    pub executable: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Elf<'a> {
    pub entry: u64,
    pub segments: Vec<Segment<'a>>,
}

impl<'a> Elf<'a> {
    /// # Errors
    /// It isn't an x86-64 executable whose segments lie within the file.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        if file.is_empty() {
            return Err(ElfError::Missing);
        }
        Self::read(file).ok_or(ElfError::Damaged)
    }

    fn read(file: &'a [u8]) -> Option<Self> {
        const ELF64_LE: &[u8] = b"\x7fELF\x02\x01\x01";
        const EXECUTABLE: u64 = 2;
        const X86_64: u64 = 62;
        let number = |offset: usize, size: usize| {
            let bytes = file.get(offset..offset.checked_add(size)?)?;
            Some(bytes.iter().rev().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte)))
        };
        if !file.starts_with(ELF64_LE) || number(16, 2)? != EXECUTABLE || number(18, 2)? != X86_64 {
            return None;
        }
        let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
        let mut segments = Vec::new();
        for index in 0..count {
            let at = table.checked_add(index * size)?;
            if number(at, 4)? as u32 != PT_LOAD {
                continue;
            }
            let (flags, offset) = (number(at + 4, 4)?, number(at + 8, 8)? as usize);
            let bytes = file.get(offset..offset.checked_add(number(at + 32, 8)? as usize)?)?;
            let memory_size = number(at + 40, 8)?.max(bytes.len() as u64);
            segments.push(Segment {
                address: number(at + 16, 8)?,
                memory_size,
                bytes,
                executable: flags & 1 != 0,
                writable: flags & 2 != 0,
            });
        }
        Some(Self { entry: number(24, 8)?, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_refused() {
        assert_eq!(Elf::parse(&[]), Err(ElfError::Missing));
        assert_eq!(Elf::parse(b"\x7fELF"), Err(ElfError::Damaged));
        let own = std::fs::read("/proc/self/exe").unwrap();
        for len in [10, 60, 100, 300] {
            assert_eq!(Elf::parse(&own[..len]), Err(ElfError::Damaged));
        }
    }
}
