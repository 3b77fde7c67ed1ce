//! Links the unikernel: its own layout, nothing of the host's C runtime.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernel.ld");
    let Ok(dir) = std::env::var("CARGO_MANIFEST_DIR") else { return };
    if std::env::var_os("CARGO_FEATURE_BARE_METAL").is_some() {
        for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,norelro"] {
            println!("cargo::rustc-link-arg-bin=dbt-kernel={arg}");
        }
        println!("cargo::rustc-link-arg-bin=dbt-kernel=-Wl,-T,{dir}/kernel.ld");
    }
}
