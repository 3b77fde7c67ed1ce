//! CRC32 and CRC32C checksums as the CRC32 instructions accumulate them: reflected, without inversion.
//!
//! One table lookup per byte, all independent of each other: `TABLE[k]` advances a byte over the k bytes that follow it.

type Tables = [[u32; 256]; 8];

const fn tables(polynomial: u32) -> Tables {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (polynomial & (crc & 1).wrapping_neg());
            bit += 1;
        }
        t[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let before = t[k - 1][i];
            t[k][i] = (before >> 8) ^ t[0][(before & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

static CRC32: Tables = tables(0xedb8_8320);
static CRC32C: Tables = tables(0x82f6_3b78);

/// `bytes` is 1, 2, 4 or 8; the bytes of `data` count from the lowest.
fn accumulate(table: &Tables, crc: u64, data: u64, bytes: u64) -> u64 {
    let crc = crc & 0xffff_ffff;
    let n = bytes.min(8) as usize;
    let mixed = (crc ^ data).to_le_bytes();
    let mut result = if n < 4 { (crc >> (8 * n)) as u32 } else { 0 };
    for (i, byte) in mixed.iter().take(n).enumerate() {
        result ^= table[n - 1 - i][usize::from(*byte)];
    }
    u64::from(result)
}

/// Polynomial 0x04C11DB7.
pub fn crc32(acc: u64, v: u64, bytes: u64) -> u64 {
    accumulate(&CRC32, acc, v, bytes)
}

/// Polynomial 0x1EDC6F41 (Castagnoli).
pub fn crc32c(acc: u64, v: u64, bytes: u64) -> u64 {
    accumulate(&CRC32C, acc, v, bytes)
}

#[cfg(test)]
mod tests {
    use super::{crc32, crc32c};

    fn whole(f: fn(u64, u64, u64) -> u64, data: &[u8], step: usize) -> u32 {
        let mut crc = 0xffff_ffff;
        for chunk in data.chunks(step) {
            // A short rest is fed bytewise.
            if chunk.len() == step {
                let mut bytes = [0xa5; 8];
                bytes[..step].copy_from_slice(chunk);
                crc = f(crc, u64::from_le_bytes(bytes), step as u64);
            } else {
                for b in chunk {
                    crc = f(crc, u64::from(*b), 1);
                }
            }
        }
        !(crc as u32)
    }

    /// The check values of the catalogue of CRC algorithms.
    #[test]
    fn check_values() {
        for step in [1, 2, 4, 8] {
            assert_eq!(whole(crc32, b"123456789", step), 0xcbf4_3926);
            assert_eq!(whole(crc32c, b"123456789", step), 0xe306_9283);
        }
    }
}
