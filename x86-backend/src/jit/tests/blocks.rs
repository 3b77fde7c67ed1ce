//! Exits, chaining, retirement and the quality of the code for typical guest instructions.

use super::listing::body;
use super::machine::{BASE, Compiler, Machine, START, State, host_features, slot};
use crate::emit::{Access, BinOp, BranchKind, CmpOp, Cond, Emit, Stop, UnOp, VBinOp, VTernOp};
use crate::jit::{BlockContext, Builder, CompiledBlock, HostFeatures, Onward};
use crate::runtime::{ARRIVAL_STRIDE, JUMP_ENTRIES, JumpEntry, exit};

fn zero() -> State {
    State { x: [0; 8], v: [0; 4], w: [0; 4], h: [0; 4], b: [0; 8], nzcv: 0, pc: 0 }
}

fn add_one(b: &mut Builder<'_>, i: usize) {
    let (v, one) = (b.get(slot(0, i)), b.konst(64, 1));
    let v = b.bin(BinOp::Add, 64, v, one);
    b.put(slot(0, i), v);
}

fn block_at(pc: u64) -> BlockContext {
    BlockContext { pc, ..Compiler::context() }
}

#[test]
fn chaining_and_retiring() {
    let mut c = Compiler::new(host_features(), true);
    let mut m = Machine::new(&zero(), true);
    let first = c.compile_at(block_at(START), START + 4, |b| {
        b.begin_insn(START);
        add_one(b, 0);
        Ok(())
    });
    let second = c.compile_at(block_at(START + 4), START + 0x2000, |b| {
        b.begin_insn(START + 4);
        add_one(b, 1);
        Ok(())
    });
    let third = c.compile_at(block_at(START + 4), START + 0x3000, |b| {
        b.begin_insn(START + 4);
        add_one(b, 2);
        Ok(())
    });
    let vcpu = m.ptr();
    c.jit.enter(vcpu, first.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::CHAIN, START + 4));
    c.jit.patch(m.cpu.rt.exit_site, second.entry);
    c.jit.enter(vcpu, first.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::LOOKUP, START + 0x2000));
    assert_eq!(m.cpu.state.x[..2], [2, 1]);
    // The jump cache leads on.
    let pc = START + 0x2000;
    let key = m.cpu.rt.jump_key;
    m.cpu.rt.jump[(pc >> 2) as usize & (JUMP_ENTRIES - 1)] = JumpEntry { tag: pc ^ key, code: second.entry };
    m.cpu.rt.jump[(pc >> 2) as usize & (JUMP_ENTRIES - 1)].code = first.entry;
    let head = c.jit.redirect(second.entry, third.entry);
    c.jit.enter(vcpu, first.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::LOOKUP, START + 0x3000));
    assert_eq!(m.cpu.state.x[..3], [3, 1, 1]);
    c.jit.restore(second.entry, head);
    m.cpu.rt.jump[(pc >> 2) as usize & (JUMP_ENTRIES - 1)].tag = 0;
    c.jit.enter(vcpu, first.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::LOOKUP, START + 0x2000));
    assert_eq!(m.cpu.state.x[..3], [4, 2, 1]);
    assert_eq!((m.cpu.rt.blocks_run, m.cpu.rt.insns_run), (7, 7));
    m.cpu.rt.events.store(1, std::sync::atomic::Ordering::Relaxed);
    c.jit.enter(vcpu, first.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::EVENTS, START));
}

#[test]
fn indirect_branches_use_the_jump_cache() {
    let mut c = Compiler::new(host_features(), false);
    let mut m = Machine::new(&zero(), true);
    let indirect = c.compile(0, |b| {
        b.begin_insn(START);
        let t = b.get(slot(0, 2));
        b.branch(t, BranchKind::Return)
    });
    let other = c.compile_at(block_at(0x5000), 0x5004, |b| {
        b.begin_insn(0x5000);
        add_one(b, 3);
        Ok(())
    });
    m.cpu.state.x[2] = 0x5000;
    let vcpu = m.ptr();
    c.jit.enter(vcpu, indirect.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::LOOKUP, 0x5000));
    let tag = 0x5000 ^ m.cpu.rt.jump_key;
    m.cpu.rt.jump[0x5000 >> 2 & (JUMP_ENTRIES - 1)] = JumpEntry { tag, code: other.entry };
    c.jit.enter(vcpu, indirect.entry);
    assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc, m.cpu.state.x[3]), (exit::CHAIN, 0x5004, 1));
}

#[test]
fn indirect_branches_arrive_under_keys_of_their_own() {
    let mut c = Compiler::new(host_features(), false);
    let mut m = Machine::new(&zero(), true);
    m.cpu.state.x[2] = 0x5000;
    m.cpu.rt.arrival_keys = [0x100, 0x200, 0x300];
    let vcpu = m.ptr();
    let at = 0x5000 >> 2 & (JUMP_ENTRIES - 1);
    for (i, kind) in BranchKind::ARRIVALS.into_iter().enumerate() {
        let indirect = c.compile(0, |b| {
            b.begin_insn(START);
            let t = b.get(slot(0, 2));
            b.branch(t, kind)
        });
        // To a constant address on another page.
        let direct = c.compile(0, |b| {
            b.begin_insn(START);
            let t = b.konst(64, 0x5000);
            b.branch(t, kind)
        });
        let other = c.compile_at(block_at(0x5000), 0x5004, |b| {
            b.begin_insn(0x5000);
            add_one(b, 3);
            Ok(())
        });
        for branch in [indirect, direct] {
            // Neither another kind's entry nor another key will do.
            let entry = JumpEntry { tag: 0x5000 ^ m.cpu.rt.arrival_keys[i], code: other.entry };
            m.cpu.rt.jump[at] = entry;
            m.cpu.rt.jump[at + (i + 1) * ARRIVAL_STRIDE] = JumpEntry { tag: 0x5000 ^ m.cpu.rt.jump_key, ..entry };
            c.jit.enter(vcpu, branch.entry);
            assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::LOOKUP, 0x5000));
            assert_eq!(m.cpu.rt.exit_arrival, i as u32 + 1);
            m.cpu.rt.jump[at + (i + 1) * ARRIVAL_STRIDE] = entry;
            c.jit.enter(vcpu, branch.entry);
            assert_eq!((m.cpu.rt.exit_reason, m.cpu.rt.exit_pc), (exit::CHAIN, 0x5004));
        }
    }
    assert_eq!(m.cpu.state.x[3], 6);
}

#[test]
fn what_is_seldom_run_is_apart_from_what_runs() {
    let mut c = Compiler::new(host_features(), false);
    let mut before: Option<CompiledBlock> = None;
    for _ in 0..10 {
        let block = c.compile(START + 4, |b| {
            let a = b.get(slot(0, 1));
            let v = b.load(64, a, Access::empty())?;
            b.put(slot(0, 2), v);
            Ok(())
        });
        let ends =
            |block: &CompiledBlock| (block.entry + u64::from(block.code_len), block.cold + u64::from(block.cold_len));
        assert!(
            block.code_len > 16 && block.cold_len > 16 && block.bytes() == (block.code_len + block.cold_len).into()
        );
        assert!(before.is_none_or(|before| block.entry - ends(&before).0 < 16 && block.cold == ends(&before).1));
        assert!(ends(&block).0 < block.cold);
        before = Some(block);
    }
}

#[test]
fn a_full_buffer_is_reported_and_left_alone() {
    let mut c = Compiler::new(host_features(), false);
    let mut blocks = 0;
    let full = loop {
        let room = c.jit.room();
        let mut b = c.jit.begin(Compiler::context());
        b.begin_insn(START);
        for i in 0..200 {
            add_one(&mut b, i);
            let (a, v) = (b.get(slot(0, i)), b.get(slot(0, i + 1)));
            let _ = b.store(64, a, v, Access::empty());
        }
        match b.finish(START + 4) {
            Ok(_) => blocks += 1,
            Err(_) => break c.jit.room() == room,
        }
    };
    assert!(full && blocks > 10);
    c.jit.reset();
    let block = c.compile(START + 4, |b| {
        add_one(b, 0);
        Ok(())
    });
    let mut m = Machine::new(&zero(), true);
    let vcpu = m.ptr();
    c.jit.enter(vcpu, block.entry);
    assert_eq!(m.cpu.state.x[0], 1);
}

#[test]
fn accesses_are_counted() {
    let mut c = Compiler::new(host_features(), true);
    let mut m = Machine::new(&zero(), true);
    m.fill_tlb();
    let block = c.compile(START + 8, |b| {
        b.begin_insn(START);
        let a = b.konst(64, BASE.into());
        let v = b.load(64, a, Access::empty())?;
        b.put(slot(0, 0), v);
        b.begin_insn(START + 4);
        b.store(64, a, v, Access::empty())
    });
    let vcpu = m.ptr();
    for n in 1..3 {
        c.jit.enter(vcpu, block.entry);
        let rt = &m.cpu.rt;
        assert_eq!((rt.blocks_run, rt.insns_run, rt.accesses_run), (n, 2 * n, 2 * n));
    }
}

/// Two accesses next to each other of `bits` each at `va`, loads into state elements or stores; gives the addresses that came to slow
/// paths, and the state.
fn pair_of(bits: u32, va: u64, stores: bool) -> (Vec<u64>, Machine) {
    let mut c = Compiler::new(host_features(), false);
    let kind = if bits == 128 { 1 } else { 0 };
    let block = c.compile(START + 4, |b| {
        b.begin_insn(START);
        let a = b.get(slot(0, 6));
        let size = b.konst(64, u128::from(bits / 8));
        let second = b.bin(BinOp::Add, 64, a, size);
        for (i, a) in [a, second].into_iter().enumerate() {
            if stores {
                let v = b.get(slot(kind, i));
                b.store(bits, a, v, Access::empty())?;
            } else {
                let v = b.load(bits, a, Access::empty())?;
                b.put(slot(kind, i), v);
            }
        }
        Ok(())
    });
    let mut state = zero();
    state.x = [0x0123_4567_89ab_cdef; 8];
    state.v = [0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00; 4];
    state.x[6] = va;
    let mut m = Machine::new(&state, true);
    m.fill_tlb();
    let vcpu = m.ptr();
    c.jit.enter(vcpu, block.entry);
    (m.engine.seen.iter().map(|(_, args, ..)| args[0]).collect(), m)
}

#[test]
fn pairs_across_pages_that_the_tlb_has_take_no_slow_path() {
    for bits in [32, 64, 128] {
        let size = u64::from(bits / 8);
        let va = BASE + 4096 - size;
        let (slow, m) = pair_of(bits, va, false);
        assert_eq!(slow, [], "{bits} bits");
        let at = |va: u64| {
            let offset = (va - BASE) as usize;
            let bytes = &m.engine.memory[offset..offset + size as usize];
            bytes.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
        };
        let got = if bits == 128 {
            m.cpu.state.v[..2].to_vec()
        } else {
            m.cpu.state.x[..2].iter().map(|x| (*x).into()).collect()
        };
        assert_eq!(got, [at(va), at(va + size)], "{bits} bits");
        // The second page is not writable.
        let (slow, m) = pair_of(bits, va, true);
        assert_eq!(slow, [BASE + 4096], "{bits} bits");
        let stored = if bits == 128 { m.cpu.state.v[0] } else { u128::from(m.cpu.state.x[0]) };
        let bytes = &m.engine.memory[4096 - size as usize..4096];
        assert_eq!(bytes, &stored.to_le_bytes()[..size as usize], "{bits} bits");
        // Who isn't aligned may run over the page's end.
        assert_eq!(pair_of(bits, va + 1, false).0[0], va + 1, "{bits} bits");
    }
}

/// Instructions of a block's main path without the two of its head and the final jump.
fn cost(f: impl FnOnce(&mut Builder<'_>) -> Result<(), Stop>) -> Vec<String> {
    let mut c = Compiler::new(host_features(), false);
    let block = c.compile(START + 4, |b| {
        b.begin_insn(START);
        f(b)
    });
    let mut lines = body(&c.jit, &block);
    lines.drain(..2);
    lines.pop();
    lines
}

fn at_most(n: usize, f: impl FnOnce(&mut Builder<'_>) -> Result<(), Stop>) {
    let lines = cost(f);
    assert!(lines.len() <= n, "more than {n}:\n{}", lines.join("\n"));
}

fn branch_if(b: &mut Builder<'_>, t: crate::jit::ir::Val, target: u64) -> Result<(), Stop> {
    let target = b.konst(64, u128::from(target));
    b.branch_on(t, [], |b| b.branch(target, BranchKind::Jump).map(|()| []), |_| Ok([])).map(|_| ())
}

fn subs_and_branch(b: &mut Builder<'_>, target: u64) -> Result<(), Stop> {
    let (x, k, c) = (b.get(slot(0, 0)), b.konst(64, !1), b.konst(1, 1));
    let f = b.add_flags(64, x, k, c);
    let s = b.bin(BinOp::Add, 64, x, k);
    let cz = b.zext(1, 64, c);
    let s = b.bin(BinOp::Add, 64, s, cz);
    b.put(slot(0, 0), s);
    b.put(slot(5, 0), f);
    let f = b.get(slot(5, 0));
    let t = b.cond(f, Cond::Ne);
    branch_if(b, t, target)
}

#[test]
fn quality_of_typical_code() {
    // add x0, x1, x2
    at_most(3, |b| {
        let (x, y) = (b.get(slot(0, 1)), b.get(slot(0, 2)));
        let v = b.bin(BinOp::Add, 64, x, y);
        b.put(slot(0, 0), v);
        Ok(())
    });
    // add w0, w1, #1
    at_most(3, |b| {
        let x = b.get(slot(0, 1));
        let w = b.extract(64, x, 0, 32);
        let one = b.konst(32, 1);
        let v = b.bin(BinOp::Add, 32, w, one);
        let v = b.zext(32, 64, v);
        b.put(slot(0, 0), v);
        Ok(())
    });
    // subs x0, x0, #1; b.ne elsewhere
    at_most(9, |b| subs_and_branch(b, START + 0x40));
    // The same in a loop: with the check for events, without the load.
    at_most(12, |b| subs_and_branch(b, START));
    // cbz w0
    at_most(3, |b| {
        let x = b.get(slot(0, 1));
        let w = b.extract(64, x, 0, 32);
        let zero = b.konst(32, 0);
        let t = b.cmp(CmpOp::Eq, 32, w, zero);
        branch_if(b, t, START + 0x40)
    });
    // tbz x0, #3
    at_most(3, |b| {
        let x = b.get(slot(0, 1));
        let bit = b.extract(64, x, 3, 1);
        let t = b.un(UnOp::Not, 1, bit);
        branch_if(b, t, START + 0x40)
    });
    // ldr x0, [x1, #8]
    at_most(11, |b| {
        let (x, k) = (b.get(slot(0, 1)), b.konst(64, 8));
        let a = b.bin(BinOp::Add, 64, x, k);
        let v = b.load(64, a, Access::empty())?;
        b.put(slot(0, 0), v);
        Ok(())
    });
    // csel x0, x1, x2, eq, flags from state
    at_most(5, |b| {
        let f = b.get(slot(5, 0));
        let t = b.cond(f, Cond::Eq);
        let (p, q) = (b.get(slot(0, 1)), b.get(slot(0, 2)));
        let v = b.select(64, t, p, q);
        b.put(slot(0, 0), v);
        Ok(())
    });
}

/// Twice four rounds of SHA-256 on a state that stands in another order than the operation wants it, as A64 has them.
#[test]
fn hash_state_keeps_its_order_between_instructions() {
    if !host_features().contains(HostFeatures::SHA) {
        return;
    }
    const LOW: [u8; 16] = [4, 5, 6, 7, 0, 1, 2, 3, 20, 21, 22, 23, 16, 17, 18, 19];
    let high = LOW.map(|i| i + 8);
    let lines = cost(|b| {
        for words in [2, 3] {
            let (abcd, efgh, words) = (b.get(slot(1, 0)), b.get(slot(1, 1)), b.get(slot(1, words)));
            let (abef, cdgh) = (b.shuffle(efgh, abcd, LOW), b.shuffle(efgh, abcd, high));
            let second = b.vtern(VTernOp::Sha256Rounds, 32, abef, cdgh, words);
            let later = b.vbin(VBinOp::ZipHigh, 64, words, words);
            let fourth = b.vtern(VTernOp::Sha256Rounds, 32, second, abef, later);
            let (abcd, efgh) = (b.shuffle(fourth, second, high), b.shuffle(fourth, second, LOW));
            b.put(slot(1, 0), abcd);
            b.put(slot(1, 1), efgh);
        }
        Ok(())
    });
    let count = |name: &str| lines.iter().filter(|l| l.contains(name)).count();
    assert_eq!((count("sha256rnds2"), count("shufps")), (4, 4), "{}", lines.join("\n"));
}

#[test]
fn blocks_that_are_recorded_together_are_what_they_are_alone() {
    // What a block is specialised on changes from one to the next, and so does what follows it.
    let contexts = [0, 1, 2, 3].map(|i| BlockContext {
        mmu_mode: i & 1,
        strict_align: i & 2 != 0,
        fp_inline: i != 2,
        heat: (i != 1).then_some(5 + i),
        ..block_at(START + 0x40 * u64::from(i))
    });
    let fill = |b: &mut Builder<'_>, n: usize, pc: u64| {
        b.begin_block();
        for i in 0..=n {
            b.begin_insn(pc + 4 * i as u64);
            add_one(b, i);
            let addr = b.get(slot(0, i));
            let v = b.load(64, addr, Access::empty()).unwrap();
            b.put(slot(0, n), v);
        }
        pc + 4 * (n as u64 + 1)
    };
    let mut alone = Compiler::new(host_features(), true);
    let mut together = Compiler::new(host_features(), true);
    let mut expected = Vec::new();
    for (n, ctx) in contexts.into_iter().enumerate() {
        let mut b = alone.jit.begin(ctx);
        let behind = fill(&mut b, n, ctx.pc);
        expected.push(b.finish(behind).unwrap());
    }
    for (n, ctx) in contexts.into_iter().enumerate() {
        let mut b = together.jit.begin(ctx);
        let behind = fill(&mut b, n, ctx.pc);
        assert_eq!(b.keep(behind), Onward { behind: true, target: None });
    }
    for block in &expected {
        let kept = together.jit.compile_kept().unwrap().unwrap();
        assert_eq!((kept.insns, kept.end), (block.insns, block.end));
        assert_eq!(together.jit.code(&kept), alone.jit.code(block));
        let jumps = |of: &CompiledBlock| of.jumps.map(|jump| (jump.pc, jump.site.saturating_sub(of.entry)));
        assert_eq!(jumps(&kept), jumps(block));
        assert!(kept.jumps[0].site != 0 && kept.jumps[1].site == 0);
    }
    assert_eq!(together.jit.compile_kept(), None);
}
