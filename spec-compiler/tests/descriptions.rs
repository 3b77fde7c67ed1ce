//! Descriptions that must be accepted (`pass/`) and ones whose diagnostics are compared with the `.txt` beside them (`fail/`).
//!
//! `BLESS=1 cargo test -p spec-compiler --test descriptions` rewrites the expected texts.

use std::fs;
use std::path::{Path, PathBuf};

use spec_compiler::build::check;
use spec_compiler::frontend::load;
use spec_compiler::ssa::Body;
use spec_compiler::verify::verify;

fn files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let mut out: Vec<PathBuf> = fs::read_dir(dir)
        .expect("the folder exists")
        .map(|e| e.expect("readable").path())
        .filter(|p| p.extension().is_some_and(|e| e == "isa"))
        .collect();
    out.sort();
    assert!(!out.is_empty());
    out
}

#[test]
fn accepted() {
    let mut roots = files("pass");
    roots.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/toy/toy.isa"));
    for path in roots {
        if let Err(f) = check(&path) {
            panic!("{} was rejected:\n{f}", path.display());
        }
        let model = load(&path).expect("just checked").model;
        let verified = |what: &str, b: &Body| {
            if let Err(e) = verify(&model, b) {
                panic!("{}: {what}: {e}", path.display());
            }
        };
        for i in &model.insns {
            verified(&i.name, &i.decode.body);
            verified(&i.name, &i.exec);
            i.lands.iter().for_each(|b| verified(&i.name, b));
            i.asm.iter().for_each(|a| verified(&i.name, &a.body));
        }
        for h in &model.helpers {
            h.body.iter().for_each(|b| verified(&h.name, b));
        }
        for r in &model.sysregs {
            let bodies = [&r.get, &r.set, &r.read_when, &r.write_when];
            bodies.into_iter().flatten().for_each(|b| verified(&r.name, b));
        }
    }
}

#[test]
fn rejected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    for path in files("fail") {
        let found = match check(&path) {
            Ok(_) => String::from("accepted\n"),
            Err(f) => f.to_string(),
        };
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, &found).expect("writable");
            continue;
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            wrong.push_str(&format!("--- {}\nexpected:\n{wanted}\nfound:\n{found}\n", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}BLESS=1 accepts what was found");
}
