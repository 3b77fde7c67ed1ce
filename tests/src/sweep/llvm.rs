//! LLVM's disassembler, from its shared library if there is one.

use super::{Decoder, PC};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

type Handle = *mut c_void;
type Initialise = unsafe extern "C" fn();
type Create = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const c_char,
    *mut c_void,
    c_int,
    *mut c_void,
    *mut c_void,
) -> Handle;
type Disassemble = unsafe extern "C" fn(Handle, *mut u8, u64, u64, *mut c_char, usize) -> usize;

/// Libraries to try, the newest first.
const LIBRARIES: [&str; 7] = [
    "libLLVM.so",
    "libLLVM-19.so.1",
    "libLLVM-18.so.1",
    "libLLVM-17.so.1",
    "libLLVM-16.so.1",
    "libLLVM-15.so.1",
    "libLLVM-14.so.1",
];
/// What the machine has.
const FEATURES: &str = "+v8.2a,+pauth,+rcpc,+rcpc-immo,+jsconv,+complxnum,+dotprod,+crypto,+aes,+sha2,+sha3,+sm4,+fullfp16,\
    +fp16fml,+flagm,+altnzcv,+fptoint,+ccpp,+ccdp,+sb,+ssbs,+predres,+rand,+bf16,+i8mm,+dit,+lse,+crc,+rdm";

pub struct Llvm {
    context: Handle,
    disassemble: Disassemble,
}

impl Llvm {
    /// `None`: there is no library with that target.
    #[must_use]
    pub fn load() -> Option<Self> {
        LIBRARIES.iter().find_map(|name| Self::open(name))
    }

    fn open(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: a library whose initialisers have no requirements; it stays loaded.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: an open library.
            let p = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!p.is_null()).then_some(p)
        };
        for name in
            [c"LLVMInitializeAArch64TargetInfo", c"LLVMInitializeAArch64TargetMC", c"LLVMInitializeAArch64Disassembler"]
        {
            let function = symbol(name)?;
            // SAFETY: these functions take and give nothing.
            unsafe { std::mem::transmute::<*mut c_void, Initialise>(function)() };
        }
        let create = symbol(c"LLVMCreateDisasmCPUFeatures")?;
        let disassemble = symbol(c"LLVMDisasmInstruction")?;
        let features = CString::new(FEATURES).ok()?;
        let null = std::ptr::null_mut();
        // SAFETY: the types are those of LLVM's stable C interface; the strings are copied.
        let context = unsafe {
            std::mem::transmute::<*mut c_void, Create>(create)(
                c"aarch64-linux-gnu".as_ptr(),
                c"generic".as_ptr(),
                features.as_ptr(),
                null,
                0,
                null,
                null,
            )
        };
        // SAFETY: as above.
        let disassemble = unsafe { std::mem::transmute::<*mut c_void, Disassemble>(disassemble) };
        (!context.is_null()).then_some(Self { context, disassemble })
    }
}

/// LLVM prints distances where others print targets.
fn absolute(text: &str) -> String {
    let (mnemonic, operands) = text.split_once('\t').unwrap_or((text, ""));
    let branch =
        matches!(mnemonic, "b" | "bl" | "cbz" | "cbnz" | "tbz" | "tbnz" | "adr" | "adrp") || mnemonic.starts_with("b.");
    let literal = matches!(mnemonic, "ldr" | "ldrsw" | "prfm") && !operands.contains('[');
    let (head, last) = operands.rsplit_once(", ").map_or(("", operands), |(h, l)| (h, l));
    match last.strip_prefix('#').and_then(|d| d.parse::<i64>().ok()) {
        Some(distance) if branch || literal => {
            let separator = if head.is_empty() { "" } else { ", " };
            format!("{mnemonic}\t{head}{separator}{:#x}", PC.wrapping_add_signed(distance))
        }
        _ => text.to_owned(),
    }
}

impl Decoder for Llvm {
    fn name(&self) -> &'static str {
        "llvm"
    }

    fn decode(&mut self, words: &[u32]) -> Vec<Option<String>> {
        let mut text = [0u8; 256];
        words
            .iter()
            .map(|w| {
                let mut bytes = w.to_le_bytes();
                // SAFETY: a live context, four bytes in, and a buffer of that length.
                let used = unsafe {
                    (self.disassemble)(self.context, bytes.as_mut_ptr(), 4, PC, text.as_mut_ptr().cast(), text.len())
                };
                let end = text.iter().position(|b| *b == 0)?;
                (used == 4).then(|| absolute(String::from_utf8_lossy(&text[..end]).trim()))
            })
            .collect()
    }
}
