//! Compiles the architecture description into `$OUT_DIR/isa.rs`.

use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arch-specs/armv8-a/armv8-a.isa");
    spec_compiler::build::build_script(&root);
}
