//! What the host processor offers to translated code.

use bitflags::bitflags;

bitflags! {
    /// Host processor features; the bits are those the launcher reports. Without any, translated code needs
    /// x86-64-v2 only.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct HostFeatures: u64 {
        const SSE41 = 1 << 0;
        const SSE42 = 1 << 1;
        const POPCNT = 1 << 2;
        const AVX = 1 << 3;
        const AVX2 = 1 << 4;
        const BMI1 = 1 << 5;
        const BMI2 = 1 << 6;
        const LZCNT = 1 << 7;
        const FMA = 1 << 8;
        const AES = 1 << 9;
        const PCLMUL = 1 << 10;
        const SHA = 1 << 11;
        const F16C = 1 << 12;
        const CX16 = 1 << 13;
        const MOVBE = 1 << 14;
        const SSSE3 = 1 << 15;
        const GFNI = 1 << 16;
        const RDRAND = 1 << 17;
    }
}
