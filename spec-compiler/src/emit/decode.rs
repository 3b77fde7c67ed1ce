//! `Insn`, `decode` and the conditions of encodings.

use super::ALLOW;
use super::body::BodyEmitter;
use super::text::{Text, camel, quote, snake};
use crate::decoder::{Candidate, Encoding, Node, encoding};
use crate::model::Model;
use crate::passes::times;

/// Subtrees with more leaves become functions of their own.
const SPLIT: usize = 12;

pub fn emit(model: &Model, tree: &Node, t: &mut Text) {
    t.line("/// An instruction of the description.");
    t.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]");
    t.line("#[repr(u16)]");
    t.open("pub enum Insn {");
    for insn in &model.insns {
        t.doc(&insn.doc);
        t.line(format!("{},", camel(&insn.name)));
    }
    t.close("}");
    t.line("");
    t.line("/// Names of all instructions, in the order of [`Insn`].");
    t.open("pub static INSN_NAMES: &[&str] = &[");
    for insn in &model.insns {
        t.line(format!("{},", quote(&insn.name)));
    }
    t.close("];");
    t.line("");
    t.line("/// How an instruction is encoded, for test generators and documentation.");
    t.line("#[derive(Clone, Copy, Debug)]");
    t.open("pub struct InsnInfo {");
    t.line("pub name: &'static str,");
    t.line("/// The bits that its pattern fixes. Not every word that has them is this instruction: ask [`decode`].");
    t.line("pub mask: u32,");
    t.line("pub value: u32,");
    t.line("/// The features that it needs.");
    t.line("pub requires: &'static [&'static str],");
    t.line("pub doc: &'static str,");
    t.close("}");
    t.line("");
    t.line("/// All instructions, in the order of [`Insn`].");
    t.open("pub static INSNS: &[InsnInfo] = &[");
    for insn in &model.insns {
        let Encoding { mask, value } = encoding(insn);
        let requires: Vec<String> = insn.requires.iter().map(|r| quote(r)).collect();
        let (name, doc) = (quote(&insn.name), quote(insn.doc.trim()));
        let requires = requires.join(", ");
        t.line(format!(
            "InsnInfo {{ name: {name}, mask: {mask:#x}, value: {value:#x}, requires: &[{requires}], doc: {doc} }},"
        ));
    }
    t.close("];");
    t.line("");
    t.open("impl Insn {");
    t.line("/// The name in the description.");
    t.line("#[must_use]");
    t.open("pub fn name(self) -> &'static str {");
    t.line("INSN_NAMES[self as usize]");
    t.close("}");
    t.close("}");
    t.line("");
    t.line("/// The instruction that a word encodes.");
    t.line("#[must_use]");
    t.open("pub fn decode(word: u32) -> Option<Insn> {");
    t.line("decoder::decode(word)");
    t.close("}");
    t.line("");
    t.line(ALLOW);
    t.open("mod decoder {");
    t.line("use super::{Insn, fixed};");
    let mut e = Emitter { model, functions: Vec::new() };
    let mut root = Text::at(2);
    e.node(tree, &mut root);
    t.line("");
    t.open("pub fn decode(word: u32) -> Option<Insn> {");
    t.out.push_str(&root.out);
    t.close("}");
    for f in e.functions {
        t.line("");
        t.out.push_str(&f);
    }
    for insn in &model.insns {
        let Some(valid) = insn.decode.valid else { continue };
        t.line("");
        t.open(format!("fn valid_{}(word: u32) -> bool {{", snake(&insn.name)));
        let mut body = insn.decode.body.clone();
        crate::passes::dead::run(model, &mut body, &[valid]);
        times::infer(model, &mut body);
        let mut b = BodyEmitter::new(model, &body, Some(&insn.pattern), 2);
        b.note_use(valid);
        b.run();
        let text = b.expr(valid);
        t.out.push_str(&b.text.out);
        t.line(text);
        t.close("}");
    }
    t.close("}");
    t.line("");
}

struct Emitter<'a> {
    model: &'a Model,
    functions: Vec<String>,
}

fn leaves(node: &Node) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Switch { cases, .. } => cases.values().map(leaves).sum(),
    }
}

impl Emitter<'_> {
    /// The value of a node as an expression on lines of its own.
    fn node(&mut self, node: &Node, t: &mut Text) {
        match node {
            Node::Leaf(candidates) => t.line(self.leaf(candidates)),
            Node::Switch { lo, width, cases } => {
                t.open(format!("match word >> {lo} & {:#x} {{", crate::fixed::mask(*width)));
                let mut groups: Vec<(Vec<u32>, &Node)> = Vec::new();
                for (&v, n) in cases {
                    match groups.iter_mut().find(|(_, g)| *g == n) {
                        Some((values, _)) => values.push(v),
                        None => groups.push((vec![v], n)),
                    }
                }
                for (values, n) in groups {
                    let pattern: Vec<String> = values.iter().map(|v| format!("{v:#x}")).collect();
                    let pattern = pattern.join(" | ");
                    match n {
                        Node::Leaf(c) => t.line(format!("{pattern} => {},", self.leaf(c))),
                        Node::Switch { .. } if leaves(n) > SPLIT => {
                            let name = self.function(n);
                            t.line(format!("{pattern} => {name}(word),"));
                        }
                        Node::Switch { .. } => {
                            t.open(format!("{pattern} => {{"));
                            self.node(n, t);
                            t.close("}");
                        }
                    }
                }
                if cases.len() < 1 << width {
                    t.line("_ => None,");
                } else {
                    t.line("_ => unreachable!(),");
                }
                t.close("}");
            }
        }
    }

    fn function(&mut self, node: &Node) -> String {
        let mut t = Text::at(2);
        self.node(node, &mut t);
        let name = format!("group_{}", self.functions.len());
        let mut f = Text::at(1);
        f.open(format!("fn {name}(word: u32) -> Option<Insn> {{"));
        f.out.push_str(&t.out);
        f.close("}");
        self.functions.push(f.out);
        name
    }

    fn leaf(&self, candidates: &[Candidate]) -> String {
        let mut text = String::new();
        for c in candidates {
            let insn = &self.model.insns[c.insn];
            let mut tests = Vec::new();
            if c.rest.mask != 0 {
                tests.push(format!("word & {:#x} == {:#x}", c.rest.mask, c.rest.value));
            }
            if c.conditional {
                tests.push(format!("valid_{}(word)", snake(&insn.name)));
            }
            let some = format!("Some(Insn::{})", camel(&insn.name));
            if tests.is_empty() {
                return if text.is_empty() { some } else { format!("{text} {{ {some} }}") };
            }
            text.push_str(&format!(
                "{}if {} {{ {some} }} else",
                if text.is_empty() { "" } else { " " },
                tests.join(" && ")
            ));
        }
        if text.is_empty() { "None".to_owned() } else { format!("{text} {{ None }}") }
    }
}
