//! The toy machine's SSA and generated code, compared with the files in `golden/`.
//!
//! `BLESS=1 cargo test -p spec-compiler --test golden` rewrites them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use spec_compiler::build::{Options, check, generate};
use spec_compiler::passes::OptLevel;
use spec_compiler::print;

/// One top-level module of the generated file.
fn module<'a>(text: &'a str, head: &str) -> &'a str {
    let start = text.find(head).expect("the module is there");
    let end = text[start..].find("\n}\n").expect("the module ends") + start + 3;
    &text[start..end]
}

#[test]
fn toy() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for level in [OptLevel::O0, OptLevel::O4] {
        let mut checked = check(&dir.join("../tests/toy/toy.isa")).unwrap_or_else(|e| panic!("{e}"));
        let (code, _) = generate(&mut checked, &Options { level, dump: None });
        let mut ssa = String::new();
        for insn in &checked.model.insns {
            let _ = writeln!(ssa, "insn {}\n{}", insn.name, print::body(&checked.model, &insn.exec));
        }
        let code = format!("{}\n{}", module(&code, "mod decoder {"), module(&code, "mod exec {"));
        for (text, extension) in [(ssa, "ssa"), (code, "rs.txt")] {
            let path = dir.join(format!("tests/golden/toy.{level:?}.{extension}"));
            if bless {
                fs::write(&path, &text).expect("a writable golden file");
            } else if fs::read_to_string(&path).unwrap_or_default() != text {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "differs (BLESS=1 accepts): {}", wrong.join(", "));
}
