//! Every form of the emitter, decoded by an independent decoder.

use crate::jit::asm::*;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter, Mnemonic};

fn decode(f: impl FnOnce(&mut Asm)) -> String {
    let mut buf = [0u8; 64];
    // SAFETY: the buffer outlives the emitter.
    let mut asm = unsafe { Asm::new(buf.as_mut_ptr(), buf.len()) };
    f(&mut asm);
    let bytes = asm.bytes(0, asm.pos());
    let mut d = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let insn = d.decode();
    assert_eq!(insn.len(), bytes.len(), "{bytes:x?} is not one instruction");
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_small_hex_numbers_in_decimal(true);
    formatter.format(&insn, &mut text);
    text
}

const R64: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const R32: [&str; 16] = [
    "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d",
    "r15d",
];
const R16: [&str; 16] =
    ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w"];
const R8N: [&str; 16] =
    ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b"];

fn name(size: u32, r: u8) -> &'static str {
    let r = usize::from(r);
    match size {
        1 => R8N[r],
        2 => R16[r],
        4 => R32[r],
        _ => R64[r],
    }
}

fn word(size: u32) -> &'static str {
    match size {
        1 => "byte ptr ",
        2 => "word ptr ",
        4 => "dword ptr ",
        8 => "qword ptr ",
        _ => "xmmword ptr ",
    }
}

#[test]
fn ends_of_lines_are_skipped_through_nops() {
    for (start, most) in (0..=64).flat_map(|start| (0..=16).map(move |most| (start, most))) {
        let mut buf = [0; 256];
        // SAFETY: the buffer outlives the emitter.
        let mut asm = unsafe { Asm::new(buf.as_mut_ptr(), buf.len()) };
        (0..start).for_each(|_| asm.ret());
        asm.skip_end_of_line(most);
        let end = if start + most >= 64 { 64 } else { start };
        assert_eq!(asm.pos(), if start == 0 { 0 } else { end }, "{start} {most}");
        let nops: Vec<_> = Decoder::new(64, asm.bytes(start, asm.pos()), DecoderOptions::NONE).into_iter().collect();
        assert!(nops.iter().all(|nop| nop.mnemonic() == Mnemonic::Nop) && nops.len() <= 2, "{start} {most}");
    }
}

#[test]
fn register_forms() {
    for a in 0..16u8 {
        for b in 0..16u8 {
            let (d, s) = (Gpr(a), Gpr(b));
            for (w, size) in [(false, 4), (true, 8)] {
                let (dn, sn) = (name(size, a), name(size, b));
                assert_eq!(decode(|x| x.mov_rr(w, d, s)), format!("mov {dn}, {sn}"));
                for (op, text) in [
                    (Alu::Add, "add"),
                    (Alu::Or, "or"),
                    (Alu::Adc, "adc"),
                    (Alu::Sbb, "sbb"),
                    (Alu::And, "and"),
                    (Alu::Sub, "sub"),
                    (Alu::Xor, "xor"),
                    (Alu::Cmp, "cmp"),
                ] {
                    assert_eq!(decode(|x| x.alu(op, w, d, s)), format!("{text} {dn}, {sn}"));
                    for bits in [8, 16] {
                        let (dn, sn) = (name(bits / 8, a), name(bits / 8, b));
                        assert_eq!(decode(|x| x.alu_n(op, bits, d, s)), format!("{text} {dn}, {sn}"));
                    }
                }
                assert_eq!(decode(|x| x.test_rr(w, d, s)), format!("test {dn}, {sn}"));
                assert_eq!(decode(|x| x.imul(w, d, s)), format!("imul {dn}, {sn}"));
                // The decoder prints the two-operand form when source and destination are one.
                let both = if a == b { dn.to_string() } else { format!("{dn}, {sn}") };
                assert_eq!(decode(|x| x.imul_i(w, d, s, 5)), format!("imul {both}, 5"));
                assert_eq!(decode(|x| x.imul_i(w, d, s, 500)), format!("imul {both}, 0x1f4"));
                assert_eq!(decode(|x| x.lzcnt(w, d, s)), format!("lzcnt {dn}, {sn}"));
                assert_eq!(decode(|x| x.tzcnt(w, d, s)), format!("tzcnt {dn}, {sn}"));
                assert_eq!(decode(|x| x.popcnt(w, d, s)), format!("popcnt {dn}, {sn}"));
                assert_eq!(decode(|x| x.bsr(w, d, s)), format!("bsr {dn}, {sn}"));
                assert_eq!(decode(|x| x.bsf(w, d, s)), format!("bsf {dn}, {sn}"));
                assert_eq!(decode(|x| x.cmov(Cc::G, w, d, s)), format!("cmovg {dn}, {sn}"));
                assert_eq!(decode(|x| x.shrd(w, d, s, 7)), format!("shrd {dn}, {sn}, 7"));
                for c in [0u8, 7, 9, 15] {
                    let cn = name(size, c);
                    for (op, text) in [(Sh::Shl, "shlx"), (Sh::Shr, "shrx"), (Sh::Sar, "sarx")] {
                        assert_eq!(decode(|x| x.shiftx(op, w, d, s, Gpr(c))), format!("{text} {dn}, {sn}, {cn}"));
                    }
                    assert_eq!(decode(|x| x.mulx(w, d, s, Gpr(c))), format!("mulx {dn}, {sn}, {cn}"));
                    assert_eq!(decode(|x| x.andn(w, d, s, Gpr(c))), format!("andn {dn}, {sn}, {cn}"));
                }
                assert_eq!(decode(|x| x.rorx(w, d, s, 9)), format!("rorx {dn}, {sn}, 9"));
                for (bits, from) in [(8, 1), (16, 2)] {
                    let sn = name(from, b);
                    assert_eq!(decode(|x| x.movsx(bits, w, d, s)), format!("movsx {dn}, {sn}"));
                    assert_eq!(decode(|x| x.movzx(bits, d, s)), format!("movzx {}, {sn}", name(4, a)));
                }
                assert_eq!(decode(|x| x.mov_xr(w, Xmm(a), s)), {
                    format!("{} xmm{a}, {sn}", if w { "movq" } else { "movd" })
                });
                assert_eq!(decode(|x| x.mov_rx(w, d, Xmm(b))), {
                    format!("{} {dn}, xmm{b}", if w { "movq" } else { "movd" })
                });
            }
            assert_eq!(decode(|x| x.movsx(32, true, d, s)), format!("movsxd {}, {}", name(8, a), name(4, b)));
            assert_eq!(decode(|x| x.movaps(Xmm(a), Xmm(b))), format!("movaps xmm{a}, xmm{b}"));
            assert_eq!(decode(|x| x.movq_xx(Xmm(a), Xmm(b))), format!("movq xmm{a}, xmm{b}"));
            let pshufb = Opc::new(0x66, 2, 0);
            assert_eq!(decode(|x| x.sse(pshufb, Xmm(a), Xmm(b))), format!("pshufb xmm{a}, xmm{b}"));
            let palignr = Opc::new(0x66, 3, 0x0f);
            assert_eq!(decode(|x| x.sse_i(palignr, Xmm(a), Xmm(b), 3)), format!("palignr xmm{a}, xmm{b}, 3"));
            for (byte, text) in [(0xca, "sha1msg2"), (0xcc, "sha256msg1"), (0xcd, "sha256msg2")] {
                let op = Opc::new(0, 2, byte);
                assert_eq!(decode(|x| x.sse(op, Xmm(a), Xmm(b))), format!("{text} xmm{a}, xmm{b}"));
            }
            let (rounds1, rounds256) = (Opc::new(0, 3, 0xcc), Opc::new(0, 2, 0xcb));
            assert_eq!(decode(|x| x.sse_i(rounds1, Xmm(a), Xmm(b), 2)), format!("sha1rnds4 xmm{a}, xmm{b}, 2"));
            assert_eq!(decode(|x| x.sse(rounds256, Xmm(a), Xmm(b))), format!("sha256rnds2 xmm{a}, xmm{b}"));
        }
    }
}

#[test]
fn one_register_forms() {
    for a in 0..16u8 {
        let r = Gpr(a);
        for (w, size) in [(false, 4), (true, 8)] {
            let n = name(size, a);
            for (op, text) in [
                (F7::Not, "not"),
                (F7::Neg, "neg"),
                (F7::Mul, "mul"),
                (F7::Imul, "imul"),
                (F7::Div, "div"),
                (F7::Idiv, "idiv"),
            ] {
                assert_eq!(decode(|x| x.f7(op, w, r)), format!("{text} {n}"));
            }
            for (op, text) in [(Sh::Rol, "rol"), (Sh::Ror, "ror"), (Sh::Shl, "shl"), (Sh::Shr, "shr"), (Sh::Sar, "sar")]
            {
                assert_eq!(decode(|x| x.shift_i(op, w, r, 1)), format!("{text} {n}, 1"));
                assert_eq!(decode(|x| x.shift_i(op, w, r, 9)), format!("{text} {n}, 9"));
                assert_eq!(decode(|x| x.shift_cl(op, w, r)), format!("{text} {n}, cl"));
            }
            assert_eq!(decode(|x| x.bswap(w, r)), format!("bswap {n}"));
            assert_eq!(decode(|x| x.bt_i(w, r, 5)), format!("bt {n}, 5"));
            assert_eq!(decode(|x| x.alu_i(Alu::And, w, r, 100)), format!("and {n}, 0x64"));
            assert_eq!(decode(|x| x.alu_i(Alu::Sub, w, r, 1000)), format!("sub {n}, 0x3e8"));
            assert_eq!(decode(|x| x.test_ri(w, r, 0x1000)), format!("test {n}, 0x1000"));
        }
        assert_eq!(decode(|x| x.test_ri(true, r, 4)), format!("test {}, 4", name(1, a)));
        assert_eq!(decode(|x| x.test_n(8, r)), format!("test {0}, {0}", name(1, a)));
        assert_eq!(decode(|x| x.test_n(16, r)), format!("test {0}, {0}", name(2, a)));
        assert_eq!(decode(|x| x.mov_ri(r, 5)), format!("mov {}, 5", name(4, a)));
        assert_eq!(decode(|x| x.mov_ri(r, u64::MAX)), format!("mov {}, 0xffffffffffffffff", name(8, a)));
        assert_eq!(decode(|x| x.mov_ri(r, 1 << 40)), format!("mov {}, 0x10000000000", name(8, a)));
        assert_eq!(decode(|x| x.setcc(Cc::NE, r)), format!("setne {}", name(1, a)));
        assert_eq!(decode(|x| x.push(r)), format!("push {}", name(8, a)));
        assert_eq!(decode(|x| x.pop(r)), format!("pop {}", name(8, a)));
        assert_eq!(decode(|x| x.jmp_rm(r)), format!("jmp {}", name(8, a)));
        assert_eq!(decode(|x| x.call_rm(r)), format!("call {}", name(8, a)));
        assert!(
            decode(|x| {
                x.lea_rip(r);
            })
            .starts_with(&format!("lea {}, [", name(8, a)))
        );
    }
}

#[test]
fn memory_forms() {
    let places = |f: &mut dyn FnMut(Mem, String)| {
        for base in 0..16u8 {
            let b = name(8, base);
            f(Mem::new(Gpr(base), 0), format!("[{b}]"));
            f(Mem::new(Gpr(base), -8), format!("[{b}-8]"));
            f(Mem::new(Gpr(base), 0x1234), format!("[{b}+0x1234]"));
            for index in (0..16u8).filter(|i| *i != 4) {
                let i = name(8, index);
                f(Mem::indexed(Gpr(base), Gpr(index), 0, 0x1234), format!("[{b}+{i}+0x1234]"));
                f(Mem::indexed(Gpr(base), Gpr(index), 3, 1), format!("[{b}+{i}*8+1]"));
            }
        }
    };
    places(&mut |m, at| {
        for r in [0u8, 3, 6, 8, 15] {
            for size in [1u32, 2, 4, 8] {
                let n = name(size, r);
                let load = match size {
                    1 | 2 => format!("movzx {}, {}{at}", name(4, r), word(size)),
                    _ => format!("mov {n}, {at}"),
                };
                assert_eq!(
                    decode(|x| x.load(size, Gpr(r), m)).replace("qword ptr ", "").replace("dword ptr ", ""),
                    load
                );
                assert_eq!(decode(|x| x.store(size, m, Gpr(r))), format!("mov {at}, {n}"));
                assert_eq!(decode(|x| x.store_imm(size, m, 5)), format!("mov {}{at}, 5", word(size)));
                assert_eq!(decode(|x| x.xchg_m(size, m, Gpr(r))), format!("xchg {at}, {n}"));
                assert_eq!(decode(|x| x.xadd_m(size, m, Gpr(r))), format!("xadd {at}, {n}"));
                assert_eq!(decode(|x| x.cmpxchg_m(size, m, Gpr(r))), format!("cmpxchg {at}, {n}"));
            }
            assert_eq!(decode(|x| x.lea(true, Gpr(r), m)), format!("lea {}, {at}", name(8, r)));
            assert_eq!(decode(|x| x.alu(Alu::Xor, true, Gpr(r), m)), format!("xor {}, {at}", name(8, r)));
            assert_eq!(decode(|x| x.alu_mr(Alu::Add, false, m, Gpr(r))), format!("add {at}, {}", name(4, r)));
            assert_eq!(decode(|x| x.movups_load(Xmm(r), m)), format!("movups xmm{r}, {at}"));
            assert_eq!(decode(|x| x.movups_store(m, Xmm(r))), format!("movups {at}, xmm{r}"));
            for (size, op) in [(4, "movd"), (8, "movq")] {
                assert_eq!(decode(|x| x.load_x(size, Xmm(r), m)), format!("{op} xmm{r}, {at}"));
                assert_eq!(decode(|x| x.store_x(size, m, Xmm(r))), format!("{op} {at}, xmm{r}"));
            }
            assert_eq!(decode(|x| x.shiftx(Sh::Shl, true, Gpr(r), m, RCX)), format!("shlx {}, {at}, rcx", name(8, r)));
        }
        assert_eq!(decode(|x| x.alu_i(Alu::Cmp, true, m, 1)), format!("cmp qword ptr {at}, 1"));
        assert_eq!(decode(|x| x.alu_i_mem(Alu::Or, false, m, 0)), format!("or dword ptr {at}, 0"));
        assert_eq!(decode(|x| x.alu_i_mem(Alu::Add, true, m, 5)), format!("add qword ptr {at}, 5"));
        assert_eq!(decode(|x| x.test_mi8(m, 0x40)), format!("test byte ptr {at}, 0x40"));
        assert_eq!(decode(|x| x.ldmxcsr(m)), format!("ldmxcsr {at}"));
        assert_eq!(decode(|x| x.stmxcsr(m)), format!("stmxcsr {at}"));
        assert_eq!(decode(|x| x.cmpxchg16b(m)), format!("cmpxchg16b {at}"));
        assert_eq!(decode(|x| x.jmp_rm(m)), format!("jmp qword ptr {at}"));
    });
}

#[test]
fn fixed_forms() {
    assert_eq!(decode(Asm::lahf), "lahf");
    assert_eq!(decode(Asm::sahf), "sahf");
    assert_eq!(decode(Asm::cmc), "cmc");
    assert_eq!(decode(Asm::stc), "stc");
    assert_eq!(decode(Asm::ret), "ret");
    assert_eq!(decode(|x| x.sign_rdx(false)), "cdq");
    assert_eq!(decode(|x| x.sign_rdx(true)), "cqo");
    assert_eq!(decode(|x| x.add_al(0x7f)), "add al, 0x7f");
    assert_eq!(decode(|x| x.bind_here_after(|x| x.jcc(Cc::LE))), "jle 6");
}

trait BindAfter {
    fn bind_here_after(&mut self, f: impl FnOnce(&mut Asm) -> Fixup);
}

impl BindAfter for Asm {
    fn bind_here_after(&mut self, f: impl FnOnce(&mut Asm) -> Fixup) {
        let fixup = f(self);
        self.bind(fixup);
    }
}

/// The instructions that [`Asm::tlb_probe`] lays out are those that the generic functions emit.
#[test]
fn probes() {
    fn bytes(f: impl FnOnce(&mut Asm) -> Vec<u32>) -> (Vec<u8>, Vec<u32>) {
        let mut buf = [0u8; 256];
        // SAFETY: the buffer outlives the emitter.
        let mut asm = unsafe { Asm::new(buf.as_mut_ptr(), buf.len()) };
        let misses = f(&mut asm);
        assert!(!asm.full());
        (asm.bytes(0, asm.pos()).to_vec(), misses)
    }
    let registers = (0..16).map(Gpr).filter(|r| *r != RSP && *r != RBP);
    let all = || registers.clone();
    for (va, t, u) in all().flat_map(|va| all().flat_map(move |t| all().map(move |u| (va, t, u)))) {
        if t == u {
            continue;
        }
        for (rorx, last, tags) in [(true, 7, &[4096][..]), (false, 0, &[0x12345]), (true, 31, &[4104, 4096])] {
            let p = TlbProbe { va, t, u, rorx, shift: 7, mask: 0x1fe0, last, tag_bits: -4096 | 7, tags, addend: 4112 };
            let table = |disp| Mem::indexed(RBP, t, 0, disp);
            let laid_out = bytes(|x| x.tlb_probe(&p).into_iter().flatten().map(|f| f.0).collect());
            let generic = bytes(|x| {
                if rorx {
                    x.rorx(true, t, va, 7);
                } else {
                    x.mov_rr(true, t, va);
                    x.shift_i(Sh::Shr, true, t, 7);
                }
                x.alu_i(Alu::And, false, t, 0x1fe0);
                if last == 0 {
                    x.mov_rr(true, u, va)
                } else {
                    x.lea(true, u, Mem::new(va, last.into()))
                }
                x.alu_i(Alu::And, true, u, -4096 | 7);
                let misses = tags.iter().map(|tag| {
                    x.alu(Alu::Cmp, true, u, table(*tag));
                    x.jcc(Cc::NE).0
                });
                let misses = misses.collect();
                x.load(8, t, table(4112));
                misses
            });
            assert_eq!(laid_out, generic, "{va:?} {t:?} {u:?}");
        }
    }
}
