//! Several lines: labels and directives, for test programs.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::matching::number;
use super::{AsmError, Assembler};

impl Assembler<'_> {
    /// A small program: labels, instructions, `.word`, `.quad`, `.ascii`, `.asciz`, `.align`, `.space`, `.equ`, `//` comments. A
    /// label as an operand stands for its address, a name given by `.equ` for its value.
    ///
    /// # Errors
    /// The first line that can't be assembled.
    pub fn program(&self, text: &str, base: u64) -> Result<Vec<u8>, AsmError> {
        let unit = u64::from(self.model.word_bits / 8);
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(i, l)| (i + 1, l.split("//").next().unwrap_or("").trim()))
            .filter(|(_, l)| !l.is_empty())
            .collect();
        let mut labels = HashMap::new();
        let mut at = base;
        for &(line, text) in &lines {
            if let Some(label) = text.strip_suffix(':') {
                labels.insert(label.trim().to_owned(), at);
            } else if let Some((name, value)) = text.strip_prefix(".equ ").and_then(|t| t.split_once(',')) {
                let value = constant(value, &labels).map_err(|message| AsmError::Line { line, message })?;
                labels.insert(name.trim().to_owned(), value);
            } else {
                at += directive_size(text, at).map_err(|message| AsmError::Line { line, message })?.unwrap_or(unit);
            }
        }
        let mut out = Vec::new();
        for &(line, text) in &lines {
            if text.ends_with(':') || text.starts_with(".equ ") {
                continue;
            }
            let fail = |message: String| AsmError::Line { line, message };
            let pc = base + out.len() as u64;
            if text.starts_with('.') {
                directive(text, pc, &labels, &mut out).map_err(fail)?;
            } else {
                let word = self.assemble(&substitute(text, &labels), pc).map_err(|e| fail(e.to_string()))?;
                out.extend_from_slice(&word.to_le_bytes()[..unit as usize]);
            }
        }
        Ok(out)
    }
}

/// Bytes of a directive, `None` for an instruction.
fn directive_size(text: &str, at: u64) -> Result<Option<u64>, String> {
    let Some(text) = text.strip_prefix('.') else { return Ok(None) };
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let items = rest.split(',').count() as u64;
    Ok(Some(match name {
        "byte" => items,
        "word" => 4 * items,
        "quad" => 8 * items,
        "ascii" => string(rest)?.len() as u64,
        "asciz" => string(rest)?.len() as u64 + 1,
        "align" => padding(rest, at)?,
        "space" => constant(rest, &HashMap::new())?,
        _ => return Err(format!("unknown directive .{name}")),
    }))
}

fn padding(rest: &str, at: u64) -> Result<u64, String> {
    let align = 1_u64.checked_shl(u32::try_from(constant(rest, &HashMap::new())?).unwrap_or(64)).unwrap_or(1);
    Ok(at.wrapping_neg() & (align - 1))
}

fn directive(text: &str, at: u64, labels: &HashMap<String, u64>, out: &mut Vec<u8>) -> Result<(), String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let width = match name {
        ".byte" => 1,
        ".word" => 4,
        ".quad" => 8,
        ".ascii" | ".asciz" => {
            out.extend(string(rest)?);
            out.extend((name == ".asciz").then_some(0));
            return Ok(());
        }
        _ => {
            let n = directive_size(text, at)?.unwrap_or(0);
            out.resize(out.len() + usize::try_from(n).map_err(|e| e.to_string())?, 0);
            return Ok(());
        }
    };
    for item in rest.split(',') {
        out.extend_from_slice(&constant(item, labels)?.to_le_bytes()[..width]);
    }
    Ok(())
}

fn constant(text: &str, labels: &HashMap<String, u64>) -> Result<u64, String> {
    let text = text.trim();
    if let Some(&address) = labels.get(text) {
        return Ok(address);
    }
    match number(text.as_bytes()) {
        Some((v, [])) => Ok(v as u64),
        _ => Err(format!("`{text}` is no number and no label")),
    }
}

fn string(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.trim().strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut out = Vec::new();
    let mut chars = inner.ok_or("expected a string in quotes")?.bytes();
    while let Some(c) = chars.next() {
        out.push(match c {
            b'\\' => match chars.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(c) => c,
                None => return Err("a backslash at the end of a string".to_owned()),
            },
            c => c,
        });
    }
    Ok(out)
}

/// Labels among the operands become addresses.
fn substitute(text: &str, labels: &HashMap<String, u64>) -> String {
    let (mnemonic, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut out = mnemonic.to_owned();
    out.push(' ');
    let mut word = String::new();
    for c in operands.chars().chain(Some(' ')) {
        if c.is_alphanumeric() || c == '_' || c == '.' {
            word.push(c);
            continue;
        }
        match labels.get(&word) {
            Some(address) => {
                let _ = write!(out, "{address:#x}");
            }
            None => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    out
}
