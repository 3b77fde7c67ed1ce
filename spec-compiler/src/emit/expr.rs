//! Rust expressions as text: literals, casts, parentheses.

use crate::ssa::{Time, Ty};

/// The Rust type of a value.
pub(super) fn rust_type(ty: Ty, time: Time) -> &'static str {
    match (time, ty) {
        (Time::Dynamic, _) => "B::V",
        (_, Ty::Int) => "i64",
        (_, Ty::Bool) => "bool",
        (_, Ty::Bits(_) | Ty::Flags) => "u128",
        (_, Ty::Unit) => "()",
    }
}

/// `let a: T = `, `let (a, b): (T, U) = `, or nothing.
pub(super) fn binding(names: &[String], types: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("let {one}: {} = ", types[0]),
        _ => format!("let ({}): ({}) = ", names.join(", "), types.join(", ")),
    }
}

pub(super) fn tuple(values: &[String]) -> String {
    match values {
        [one] => strip(one),
        _ => format!("({})", values.join(", ")),
    }
}

pub(super) fn ends_in_return(out: &str) -> bool {
    out.trim_end().ends_with("return Err(Stop);")
}

pub(super) fn is_literal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(super) fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A literal that must not be taken for an `i32`.
pub(super) fn typed_int(text: &str) -> String {
    if is_literal(text) {
        format!("{text}_i64")
    } else if let Some(negative) = text.strip_prefix("(-").and_then(|t| t.strip_suffix(')'))
        && is_literal(negative)
    {
        format!("(-{negative}_i64)")
    } else {
        text.to_owned()
    }
}

pub(super) fn typed_bits(text: &str) -> String {
    if is_literal(text) { format!("{text}_u128") } else { text.to_owned() }
}

pub(super) fn as_cast(text: &str, ty: &str) -> String {
    if is_literal(text) {
        return text.to_owned();
    }
    // Through `i64` and on: once is enough for what fits both.
    let direct = text.strip_prefix('(').and_then(|t| t.strip_suffix(" as i64)")).filter(|t| is_word(t));
    format!("{} as {ty}", direct.unwrap_or(text))
}

pub(super) fn as_u32(text: &str) -> String {
    as_cast(text, "u32")
}

/// Without the parentheses around it.
pub(super) fn strip(text: &str) -> String {
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else { return text.to_owned() };
    let mut depth = 0_i32;
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text.to_owned();
        }
    }
    inner.to_owned()
}

pub(super) fn mask(width: &str) -> String {
    match width.parse::<u32>() {
        Ok(n) => format!("{:#x}", crate::fixed::mask(n)),
        Err(_) => format!("fixed::mask({width})"),
    }
}
