//! Compiles the description into `$OUT_DIR/isa.rs`.

use std::path::Path;

fn main() {
    spec_compiler::build::build_script(&Path::new(env!("CARGO_MANIFEST_DIR")).join("toy.isa"));
}
