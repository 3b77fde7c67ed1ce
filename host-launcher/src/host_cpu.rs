//! What the launcher knows about the host's processor: its features and its time stamp counter.

use dbt_kernel::shared::host_feature;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The host's time stamp counter.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and it touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Its frequency in Hz, measured against the monotonic clock once per process.
pub fn tsc_hz() -> u64 {
    static HZ: OnceLock<u64> = OnceLock::new();
    *HZ.get_or_init(|| {
        from_cpuid().unwrap_or_else(|| {
            // The tightest of a few tries: a thread may lose its processor between two instructions.
            let sample = || {
                let tries = (0..8).map(|_| {
                    let before = tsc();
                    let now = Instant::now();
                    (tsc() - before, now, before)
                });
                let (width, now, before) = tries.min_by_key(|(width, ..)| *width).expect("there were tries");
                (now, before + width / 2)
            };
            let (start, first) = sample();
            std::thread::sleep(Duration::from_millis(20));
            let (end, last) = sample();
            let hz = u128::from(last - first) * 1_000_000_000 / (end - start).as_nanos().max(1);
            u64::try_from(hz).unwrap_or(1_000_000_000).max(1_000_000)
        })
    })
}

/// Leaf 0x15: crystal frequency and ratio, where the processor says both.
fn from_cpuid() -> Option<u64> {
    use core::arch::x86_64::{__cpuid, __get_cpuid_max};
    // A hypervisor may pass the leaf of another machine on: trust it on bare metal only.
    #[allow(unused_unsafe, reason = "cpuid intrinsics are unsafe in older compilers")]
    // SAFETY: every x86-64 processor has CPUID.
    let (max, hypervisor) = unsafe { (__get_cpuid_max(0).0, __cpuid(1).ecx >> 31 & 1 != 0) };
    if max < 0x15 || hypervisor {
        return None;
    }
    #[allow(unused_unsafe, reason = "as above")]
    // SAFETY: the leaf exists.
    let leaf = unsafe { __cpuid(0x15) };
    if leaf.eax == 0 || leaf.ebx == 0 || leaf.ecx == 0 {
        return None;
    }
    Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax))
}

/// [`host_feature`] bits. In a virtual machine the engine confirms each by using it.
#[must_use]
pub fn features() -> u64 {
    let mut bits = 0;
    macro_rules! detect {
        ($($name:tt => $bit:ident),* $(,)?) => {
            $(if std::arch::is_x86_feature_detected!($name) { bits |= host_feature::$bit; })*
        };
    }
    detect! {
        "ssse3" => SSSE3, "sse4.1" => SSE41, "sse4.2" => SSE42, "popcnt" => POPCNT, "avx" => AVX, "avx2" => AVX2, "bmi1" => BMI1,
        "bmi2" => BMI2, "lzcnt" => LZCNT, "fma" => FMA, "aes" => AES, "pclmulqdq" => PCLMUL, "sha" => SHA, "f16c" => F16C,
        "cmpxchg16b" => CX16, "movbe" => MOVBE, "gfni" => GFNI, "rdrand" => RDRAND,
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_plausible() {
        let hz = tsc_hz() as f64;
        let start = (Instant::now(), tsc());
        std::thread::sleep(Duration::from_millis(30));
        let cycles = (tsc() - start.1) as f64;
        let expected = start.0.elapsed().as_secs_f64() * hz;
        assert!((cycles / expected - 1.0).abs() < 0.02, "{cycles} against {expected}");
    }
}
