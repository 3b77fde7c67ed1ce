//! Confirms the processor features the launcher found, by executing one instruction of each.
//!
//! A hypervisor may hide features from CPUID that work, or run code on a processor that lacks what its own CPUID says; only
//! execution tells.

use crate::nucleus::probe;
use core::arch::naked_asm;
use dbt_kernel::shared::host_feature;

macro_rules! probes {
    ($($bit:ident: $($instruction:literal),+;)*) => {
        $(
            #[allow(non_snake_case)]
            #[unsafe(naked)]
            unsafe extern "sysv64" fn $bit() {
                naked_asm!($($instruction,)+ "ret")
            }
        )*
        /// The features of `wanted` that work.
        pub fn confirmed(wanted: u64) -> u64 {
            let mut works = wanted;
            $(
                // SAFETY: each sequence changes caller-saved registers only, and returns.
                if wanted & host_feature::$bit != 0 && unsafe { probe($bit) } == 0 {
                    works &= !host_feature::$bit;
                }
            )*
            works
        }
    };
}

probes! {
    SSSE3: "pshufb xmm0, xmm0";
    SSE41: "ptest xmm0, xmm0";
    SSE42: "pcmpgtq xmm0, xmm0";
    POPCNT: "popcnt rax, rcx";
    AVX: "vaddps ymm0, ymm0, ymm0", "vzeroupper";
    AVX2: "vpaddd ymm0, ymm0, ymm0", "vzeroupper";
    BMI1: "andn rax, rax, rax";
    BMI2: "mulx rax, rcx, rax";
    LZCNT: "lzcnt rax, rcx";
    FMA: "vfmadd231ps xmm0, xmm0, xmm0";
    AES: "aesenc xmm0, xmm0";
    PCLMUL: "pclmulqdq xmm0, xmm0, 0";
    SHA: "sha1nexte xmm0, xmm0";
    F16C: "vcvtph2ps xmm0, xmm0";
    // Compares with and writes back whatever is there, or stores a copy: below the return address nothing lives.
    CX16: "mov rsi, rbx", "lea rdi, [rsp - 64]", "and rdi, -16", "xor eax, eax", "xor edx, edx", "xor ebx, ebx",
        "xor ecx, ecx", "cmpxchg16b [rdi]", "mov rbx, rsi";
    MOVBE: "movbe rax, [rsp]";
    RDRAND: "rdrand rax";
    GFNI: "gf2p8mulb xmm0, xmm0";
}
