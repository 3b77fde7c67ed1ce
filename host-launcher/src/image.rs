//! Reading kernels: the arm64 `Image` header, and the wrappings an Image comes in (gzip, EFI zboot).
//!
//! The format is the one of Linux's "Booting AArch64 Linux" document. Everything here is arithmetic on a byte slice that a
//! user gave: no length is believed before it is checked.

use flate2::read::GzDecoder;
use std::io::Read;

/// Larger kernels are refused: a damaged or hostile compressed file must not fill the host's memory.
const MAX_KERNEL: u64 = 1 << 30;
const HEADER_BYTES: usize = 64;
const MAGIC: &[u8] = b"ARM\x64";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    #[error("the file is too short for a kernel ({0} bytes)")]
    Short(usize),
    #[error("it is an ELF file; give the raw arm64 Image (arch/arm64/boot/Image)")]
    Elf,
    #[error("it is a 32-bit ARM zImage; only arm64 kernels run here")]
    Arm32,
    #[error("it is an x86 bzImage; only arm64 kernels run here")]
    X86,
    #[error("it is not an arm64 Image: the magic number \"ARM\\x64\" is missing at offset 0x38")]
    NotAnImage,
    #[error("it is a big-endian kernel; only little-endian kernels run here")]
    BigEndian,
    #[error("its header says {image_size} bytes, the file has {file}: it is truncated or damaged")]
    Sizes { image_size: u64, file: u64 },
    #[error("its compressed data is damaged: {0}")]
    Compressed(String),
    #[error(
        "it is an EFI zboot image with {0} compression, which is not supported; give the Image itself or one with gzip"
    )]
    Compression(String),
    #[error("it is an EFI zboot image whose payload lies outside the file")]
    Payload,
    #[error("it unpacks to more than {} MiB", MAX_KERNEL >> 20)]
    TooLarge,
}

/// Bytes of a file that must be looked at to know what it is.
pub const PROBE_BYTES: usize = 1024;

/// What the Image header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Distance from a 2 MiB boundary to the first byte.
    pub text_offset: u64,
    /// Memory the kernel needs from its first byte on, its BSS included.
    pub memory_size: u64,
}

impl Header {
    /// Reads the header of an unpacked kernel of `file` bytes, whose first [`PROBE_BYTES`] are in `bytes`.
    ///
    /// # Errors
    /// It is not one; the error says what it looks like instead.
    pub fn parse(bytes: &[u8], file: u64) -> Result<Self, ImageError> {
        if bytes.len() < HEADER_BYTES {
            return Err(ImageError::Short(bytes.len()));
        }
        if &bytes[0x38..0x3c] != MAGIC {
            return Err(what_else(bytes));
        }
        let mut text_offset = u64_at(bytes, 8);
        let mut image_size = u64_at(bytes, 16);
        let flags = u64_at(bytes, 24);
        if image_size == 0 {
            // Kernels before 3.17 say neither size nor byte order; their offset is fixed.
            text_offset = 0x80000;
            image_size = file.saturating_add(1 << 20);
        } else if flags & 1 != 0 {
            return Err(ImageError::BigEndian);
        }
        if image_size > MAX_KERNEL || text_offset > MAX_KERNEL || image_size.saturating_add(0x1000) < file / 2 {
            return Err(ImageError::Sizes { image_size, file });
        }
        Ok(Self { memory_size: image_size.max(file), text_offset })
    }
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether a file that starts so must be unpacked first.
#[must_use]
pub fn is_packed(start: &[u8]) -> bool {
    start.starts_with(GZIP_MAGIC) || start.len() >= 0x40 && start.starts_with(b"MZ") && &start[4..8] == b"zimg"
}

/// Takes the compression off a file that [`is_packed`].
///
/// # Errors
/// The compression is damaged or of an unsupported kind.
pub fn unpack(file: &[u8]) -> Result<Vec<u8>, ImageError> {
    if file.starts_with(GZIP_MAGIC) {
        return gunzip(file);
    }
    let (offset, size) = (u32_at(file, 8) as usize, u32_at(file, 12) as usize);
    let payload = offset.checked_add(size).and_then(|end| file.get(offset..end)).ok_or(ImageError::Payload)?;
    let name = &file[24..56];
    let name = &name[..name.iter().position(|b| *b == 0).unwrap_or(name.len())];
    match name {
        b"gzip" => gunzip(payload),
        other => Err(ImageError::Compression(String::from_utf8_lossy(other).into_owned())),
    }
}

fn gunzip(packed: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed)
        .take(MAX_KERNEL + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ImageError::Compressed(error.to_string()))?;
    if bytes.len() as u64 > MAX_KERNEL { Err(ImageError::TooLarge) } else { Ok(bytes) }
}

/// What a file without the Image magic seems to be.
fn what_else(bytes: &[u8]) -> ImageError {
    if bytes.starts_with(b"\x7fELF") {
        ImageError::Elf
    } else if u32_at(bytes, 0x24) == 0x016f_2818 {
        ImageError::Arm32
    } else if bytes.get(0x202..0x206) == Some(b"HdrS") {
        ImageError::X86
    } else {
        ImageError::NotAnImage
    }
}

/// The caller has checked the length.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// The caller has checked the length.
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    pub fn image(text_offset: u64, image_size: u64, flags: u64, code: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&image_size.to_le_bytes());
        bytes[24..32].copy_from_slice(&flags.to_le_bytes());
        bytes[0x38..0x3c].copy_from_slice(MAGIC);
        bytes.extend_from_slice(code);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zboot(compression: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x100];
        bytes[..8].copy_from_slice(b"MZ\0\0zimg");
        bytes[8..12].copy_from_slice(&0x100u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes[24..24 + compression.len()].copy_from_slice(compression);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Header, ImageError> {
        Header::parse(bytes, bytes.len() as u64)
    }

    #[test]
    fn raw_gzip_and_zboot_agree() {
        let raw = image(0x1000, 0x20000, 2, b"code");
        assert_eq!(parse(&raw), Ok(Header { text_offset: 0x1000, memory_size: 0x20000 }));
        for packed in [gzip(&raw), zboot(b"gzip", &gzip(&raw))] {
            assert!(is_packed(&packed));
            assert_eq!(unpack(&packed).unwrap(), raw);
        }
        assert!(!is_packed(&raw));
    }

    #[test]
    fn old_kernels_have_a_fixed_offset() {
        let kernel = parse(&image(0, 0, 0, b"code")).unwrap();
        assert_eq!(kernel.text_offset, 0x80000);
        assert!(kernel.memory_size > 68);
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        let parse = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert_eq!(parse(&[]), ImageError::Short(0));
        assert_eq!(parse(&[0; 100]), ImageError::NotAnImage);
        let mut elf = vec![0; 100];
        elf[..4].copy_from_slice(b"\x7fELF");
        assert_eq!(parse(&elf), ImageError::Elf);
        assert_eq!(parse(&image(0, 0x1000, 1, b"")), ImageError::BigEndian);
        assert!(matches!(parse(&image(0, u64::MAX, 0, b"")), ImageError::Sizes { .. }));
        assert_eq!(unpack(&zboot(b"xz", b"123")).unwrap_err(), ImageError::Compression("xz".to_owned()));
        let mut outside = zboot(b"gzip", b"");
        outside[12] = 1;
        assert_eq!(unpack(&outside).unwrap_err(), ImageError::Payload);
        let mut damaged = gzip(&image(0, 0x1000, 0, &[7; 5000]));
        damaged.truncate(40);
        assert!(matches!(unpack(&damaged).unwrap_err(), ImageError::Compressed(_)));
    }
}
