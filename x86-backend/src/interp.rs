//! The reference interpreter: performs an instruction's semantics at once, on the vCPU itself.
//!
//! It is [`Emit`] with values for `V`; what it does is [`crate::eval`]. It serves as the oracle for translated code,
//! and as the engine's way to execute single instructions. Values are `u128`, zero-extended from their width;
//! condition flags are N:Z:C:V in the low four bits.

use crate::emit::{
    Access, AtomicOp, BinOp, BranchKind, CmpOp, Cond, Emit, FLAGS, FpBinOp, FpCmpOp, FpFmt, FpUnOp, HelperDecl,
    HelperId, HelperRet, Rounding, Slot, Stop, UnOp, VBinOp, VShiftOp, VTernOp, VUnOp, Width, flags,
};
use crate::eval;
use crate::guest::Guest;
use crate::runtime::{MemDesc, Vcpu};
use core::marker::PhantomData;

/// Guest memory as the interpreter sees it. Data are zero-extended; `Err(Stop)` means that a guest exception has been
/// taken and the state says where to continue.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub trait InterpMemory<S> {
    fn load(&mut self, cpu: &mut Vcpu<S>, n: Width, addr: u64, acc: Access) -> Result<u128, Stop>;
    fn store(&mut self, cpu: &mut Vcpu<S>, n: Width, addr: u64, v: u128, acc: Access) -> Result<(), Stop>;
    /// Gives the old value.
    fn atomic(
        &mut self,
        cpu: &mut Vcpu<S>,
        op: AtomicOp,
        n: Width,
        addr: u64,
        v: u128,
        acc: Access,
    ) -> Result<u128, Stop>;
    /// Gives the old value.
    fn cas(
        &mut self,
        cpu: &mut Vcpu<S>,
        n: Width,
        addr: u64,
        expected: u128,
        new: u128,
        acc: Access,
    ) -> Result<u128, Stop>;
}

/// Memory through the engine's slow paths ([`crate::runtime::SlowPaths`]): what translated code sees.
#[derive(Clone, Copy, Debug)]
pub struct EngineMemory {
    /// The MMU mode of ordinary accesses, and of unprivileged ones.
    pub mode: usize,
    pub unprivileged_mode: usize,
}

impl EngineMemory {
    /// For a guest in that context.
    #[must_use]
    pub fn of_context<G: Guest>(context: u64) -> Self {
        Self { mode: G::mmu_mode(context, false), unprivileged_mode: G::mmu_mode(context, true) }
    }

    fn desc(self, n: Width, acc: Access) -> MemDesc {
        let mode = if acc.contains(Access::UNPRIV) { self.unprivileged_mode } else { self.mode };
        MemDesc::new(n / 8, mode as u32, acc)
    }

    fn result<S>(cpu: &Vcpu<S>, n: Width, ret: HelperRet) -> Result<u128, Stop> {
        if ret.status != 0 {
            return Err(Stop);
        }
        Ok(if n > 64 { cpu.rt.scratch[0] } else { u128::from(ret.value) & eval::mask(n) })
    }
}

impl<S> InterpMemory<S> for EngineMemory {
    fn load(&mut self, cpu: &mut Vcpu<S>, n: Width, addr: u64, acc: Access) -> Result<u128, Stop> {
        let ret = (cpu.rt.slow.load)((&raw mut *cpu).cast(), addr, self.desc(n, acc).0);
        Self::result(cpu, n, ret)
    }

    fn store(&mut self, cpu: &mut Vcpu<S>, n: Width, addr: u64, v: u128, acc: Access) -> Result<(), Stop> {
        cpu.rt.scratch[0] = v;
        let ret = (cpu.rt.slow.store)((&raw mut *cpu).cast(), addr, self.desc(n, acc).0, v as u64);
        if ret.status != 0 { Err(Stop) } else { Ok(()) }
    }

    fn atomic(
        &mut self,
        cpu: &mut Vcpu<S>,
        op: AtomicOp,
        n: Width,
        addr: u64,
        v: u128,
        acc: Access,
    ) -> Result<u128, Stop> {
        cpu.rt.scratch[0] = v;
        let desc = self.desc(n, acc | Access::ATOMIC).with_atomic(op);
        let ret = (cpu.rt.slow.atomic)((&raw mut *cpu).cast(), addr, desc.0, v as u64);
        Self::result(cpu, n, ret)
    }

    fn cas(
        &mut self,
        cpu: &mut Vcpu<S>,
        n: Width,
        addr: u64,
        expected: u128,
        new: u128,
        acc: Access,
    ) -> Result<u128, Stop> {
        cpu.rt.scratch[0] = expected;
        cpu.rt.scratch[1] = new;
        let desc = self.desc(n, acc | Access::ATOMIC);
        let ret = (cpu.rt.slow.cas)((&raw mut *cpu).cast(), addr, desc.0, expected as u64, new as u64);
        Self::result(cpu, n, ret)
    }
}

/// Executes one instruction on a vCPU.
pub struct Interp<'a, S, M> {
    cpu: *mut Vcpu<S>,
    memory: &'a mut M,
    helpers: &'static [HelperDecl],
    branched: Option<u64>,
    ended: bool,
    _cpu: PhantomData<&'a mut Vcpu<S>>,
}

impl<'a, S, M: InterpMemory<S>> Interp<'a, S, M> {
    #[must_use]
    pub fn new(cpu: &'a mut Vcpu<S>, memory: &'a mut M, helpers: &'static [HelperDecl]) -> Self {
        Self { cpu, memory, helpers, branched: None, ended: false, _cpu: PhantomData }
    }

    /// Where the instruction branched to, if it did.
    #[must_use]
    pub fn next_pc(&self) -> Option<u64> {
        self.branched
    }

    /// Whether the instruction may have changed what translation depends on.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn cpu(&mut self) -> (&mut Vcpu<S>, &mut M) {
        // SAFETY: the pointer comes from an exclusive borrow that lasts as long as `self`.
        (unsafe { &mut *self.cpu }, self.memory)
    }

    fn env(&mut self) -> &mut crate::runtime::FpEnv {
        &mut self.cpu().0.rt.fp
    }

    /// The bytes in which a slot is stored.
    fn slot(&mut self, slot: Slot) -> &mut [u8] {
        let bytes = if slot.is_flags { 2 } else { (slot.width.max(1).div_ceil(8) as usize).next_power_of_two() };
        let offset = slot.offset as usize;
        assert!(offset + bytes <= size_of::<S>(), "a slot of the generated semantics lies outside the state");
        // SAFETY: inside the state, of which this object has the exclusive use; slots are plain integers.
        unsafe { core::slice::from_raw_parts_mut((&raw mut (*self.cpu).state).cast::<u8>().add(offset), bytes) }
    }
}

/// Calls a helper whose register arguments are `args`.
///
/// # Safety
/// `entry` is a helper's entry ([`HelperDecl::entry`]) that takes that many arguments; `cpu` is its vCPU.
unsafe fn call_entry(entry: *const (), cpu: *mut u8, args: &[u64]) -> HelperRet {
    type F0 = unsafe extern "sysv64" fn(*mut u8) -> HelperRet;
    type F1 = unsafe extern "sysv64" fn(*mut u8, u64) -> HelperRet;
    type F2 = unsafe extern "sysv64" fn(*mut u8, u64, u64) -> HelperRet;
    type F3 = unsafe extern "sysv64" fn(*mut u8, u64, u64, u64) -> HelperRet;
    type F4 = unsafe extern "sysv64" fn(*mut u8, u64, u64, u64, u64) -> HelperRet;
    type F5 = unsafe extern "sysv64" fn(*mut u8, u64, u64, u64, u64, u64) -> HelperRet;
    // SAFETY: the caller vouches for the function's type.
    unsafe {
        match *args {
            [] => core::mem::transmute::<*const (), F0>(entry)(cpu),
            [a] => core::mem::transmute::<*const (), F1>(entry)(cpu, a),
            [a, b] => core::mem::transmute::<*const (), F2>(entry)(cpu, a, b),
            [a, b, c] => core::mem::transmute::<*const (), F3>(entry)(cpu, a, b, c),
            [a, b, c, d] => core::mem::transmute::<*const (), F4>(entry)(cpu, a, b, c, d),
            [a, b, c, d, e] => core::mem::transmute::<*const (), F5>(entry)(cpu, a, b, c, d, e),
            _ => unreachable!("helpers have at most five register arguments"),
        }
    }
}

impl<S, M: InterpMemory<S>> Emit for Interp<'_, S, M> {
    type V = u128;

    fn konst(&mut self, n: Width, v: u128) -> u128 {
        v & eval::mask(if n == FLAGS { 4 } else { n })
    }

    fn get(&mut self, slot: Slot) -> u128 {
        let mut bytes = [0; 16];
        let stored = self.slot(slot);
        bytes[..stored.len()].copy_from_slice(stored);
        let v = u128::from_le_bytes(bytes);
        if slot.is_flags { u128::from(flags::to_nzcv(v as u16)) } else { v & eval::mask(slot.width) }
    }

    fn put(&mut self, slot: Slot, v: u128) {
        let v = if slot.is_flags { u128::from(flags::from_nzcv(v as u8 & 15)) } else { v & eval::mask(slot.width) };
        let stored = self.slot(slot);
        stored.copy_from_slice(&v.to_le_bytes()[..stored.len()]);
    }

    fn un(&mut self, op: UnOp, n: Width, a: u128) -> u128 {
        eval::un(op, n, a)
    }

    fn bin(&mut self, op: BinOp, n: Width, a: u128, b: u128) -> u128 {
        eval::bin(op, n, a, b)
    }

    fn cmp(&mut self, op: CmpOp, n: Width, a: u128, b: u128) -> u128 {
        eval::cmp(op, n, a, b)
    }

    fn zext(&mut self, from: Width, to: Width, a: u128) -> u128 {
        eval::zext(from, to, a)
    }

    fn sext(&mut self, from: Width, to: Width, a: u128) -> u128 {
        eval::sext(from, to, a)
    }

    fn extract(&mut self, n: Width, a: u128, lo: u32, len: Width) -> u128 {
        eval::extract(n, a, lo, len)
    }

    fn concat(&mut self, hi_n: Width, hi: u128, lo_n: Width, lo: u128) -> u128 {
        eval::concat(hi_n, hi, lo_n, lo)
    }

    fn select(&mut self, _n: Width, c: u128, a: u128, b: u128) -> u128 {
        eval::select(c, a, b)
    }

    fn add_flags(&mut self, n: Width, a: u128, b: u128, carry_in: u128) -> u128 {
        eval::add_flags(n, a, b, carry_in)
    }

    fn logic_flags(&mut self, n: Width, a: u128) -> u128 {
        eval::logic_flags(n, a)
    }

    fn pack_flags(&mut self, nzcv: u128) -> u128 {
        nzcv & 15
    }

    fn unpack_flags(&mut self, f: u128) -> u128 {
        f & 15
    }

    fn cond(&mut self, f: u128, cond: Cond) -> u128 {
        eval::cond(f, cond)
    }

    fn lane(&mut self, e: Width, a: u128, i: u32) -> u128 {
        eval::lane(e, a, i)
    }

    fn set_lane(&mut self, e: Width, a: u128, i: u32, v: u128) -> u128 {
        eval::set_lane(e, a, i, v)
    }

    fn splat(&mut self, e: Width, v: u128) -> u128 {
        eval::splat(e, v)
    }

    fn vun(&mut self, op: VUnOp, e: Width, a: u128) -> u128 {
        eval::vun(op, e, a)
    }

    fn vbin(&mut self, op: VBinOp, e: Width, a: u128, b: u128) -> u128 {
        eval::vbin(op, e, a, b)
    }

    fn vtern(&mut self, op: VTernOp, e: Width, a: u128, b: u128, c: u128) -> u128 {
        eval::vtern(op, e, a, b, c)
    }

    fn vshift(&mut self, op: VShiftOp, e: Width, a: u128, amount: u32) -> u128 {
        eval::vshift(op, e, a, amount)
    }

    fn shuffle(&mut self, a: u128, b: u128, idx: [u8; 16]) -> u128 {
        eval::shuffle(a, b, idx)
    }

    fn fp_un(&mut self, op: FpUnOp, fmt: FpFmt, lanes: u32, a: u128) -> u128 {
        eval::fp::un(self.env(), op, fmt, lanes, a)
    }

    fn fp_bin(&mut self, op: FpBinOp, fmt: FpFmt, lanes: u32, a: u128, b: u128) -> u128 {
        eval::fp::bin(self.env(), op, fmt, lanes, a, b)
    }

    fn fp_fma(&mut self, fmt: FpFmt, lanes: u32, addend: u128, x: u128, y: u128) -> u128 {
        eval::fp::fma(self.env(), fmt, lanes, addend, x, y)
    }

    fn fp_cmp(&mut self, op: FpCmpOp, fmt: FpFmt, lanes: u32, a: u128, b: u128) -> u128 {
        eval::fp::cmp(self.env(), op, fmt, lanes, a, b)
    }

    fn fp_cmp_flags(&mut self, fmt: FpFmt, signaling: bool, a: u128, b: u128) -> u128 {
        eval::fp::cmp_flags(self.env(), fmt, signaling, a, b)
    }

    fn fp_convert(&mut self, from: FpFmt, to: FpFmt, rounding: Rounding, a: u128) -> u128 {
        eval::fp::convert(self.env(), from, to, rounding, a)
    }

    fn fp_to_int(&mut self, fmt: FpFmt, n: Width, signed: bool, fbits: u32, rounding: Rounding, a: u128) -> u128 {
        eval::fp::to_int(self.env(), fmt, n, signed, fbits, rounding, a)
    }

    fn int_to_fp(&mut self, n: Width, signed: bool, fbits: u32, fmt: FpFmt, a: u128) -> u128 {
        eval::fp::from_int(self.env(), n, signed, fbits, fmt, a)
    }

    fn load(&mut self, n: Width, addr: u128, acc: Access) -> Result<u128, Stop> {
        let (cpu, memory) = self.cpu();
        memory.load(cpu, n, addr as u64, acc)
    }

    fn store(&mut self, n: Width, addr: u128, v: u128, acc: Access) -> Result<(), Stop> {
        let (cpu, memory) = self.cpu();
        memory.store(cpu, n, addr as u64, v & eval::mask(n), acc)
    }

    fn atomic(&mut self, op: AtomicOp, n: Width, addr: u128, v: u128, acc: Access) -> Result<u128, Stop> {
        let (cpu, memory) = self.cpu();
        memory.atomic(cpu, op, n, addr as u64, v & eval::mask(n), acc)
    }

    fn cas(&mut self, n: Width, addr: u128, expected: u128, new: u128, acc: Access) -> Result<u128, Stop> {
        let (cpu, memory) = self.cpu();
        memory.cas(cpu, n, addr as u64, expected & eval::mask(n), new & eval::mask(n), acc)
    }

    fn fence(&mut self) {
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }

    fn call(&mut self, helper: HelperId, args: &[u128]) -> Result<Option<u128>, Stop> {
        let decl = &self.helpers[usize::from(helper.0)];
        assert_eq!(decl.params.len(), args.len(), "call of {}", decl.name);
        let mut registers = [0; 5];
        let mut used = 0;
        for (i, (&n, &arg)) in decl.params.iter().zip(args).enumerate() {
            if n > 64 {
                self.cpu().0.rt.scratch[i] = arg;
            } else {
                registers[used] = arg as u64;
                used += 1;
            }
        }
        // SAFETY: the declaration describes its entry; the vCPU is exclusively ours and not borrowed during the call.
        let ret = unsafe { call_entry(decl.entry, self.cpu.cast(), &registers[..used]) };
        if ret.status != 0 || decl.never {
            return Err(Stop);
        }
        Ok(decl.result.map(|n| if n > 64 { self.cpu().0.rt.scratch[0] } else { u128::from(ret.value) & eval::mask(n) }))
    }

    fn branch(&mut self, target: u128, _kind: BranchKind) -> Result<(), Stop> {
        self.branched = Some(target as u64);
        Err(Stop)
    }

    fn end_block(&mut self) {
        self.ended = true;
    }

    fn branch_on<const N: usize>(
        &mut self,
        c: u128,
        _widths: [Width; N],
        then: impl FnOnce(&mut Self) -> Result<[u128; N], Stop>,
        otherwise: impl FnOnce(&mut Self) -> Result<[u128; N], Stop>,
    ) -> Result<[u128; N], Stop> {
        if c & 1 != 0 { then(self) } else { otherwise(self) }
    }
}

/// How one instruction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next one in sequence, or the target of a branch, follows.
    Next,
    /// An exception was taken, or a helper left the instruction: the state says where to continue.
    Left,
}

/// Executes the instruction `word`, which stands at the state's program counter, and moves the program counter on.
pub fn step<G: Guest, M: InterpMemory<G::State>>(cpu: &mut Vcpu<G::State>, memory: &mut M, word: u32) -> Step {
    let context = G::context(&cpu.state);
    step_in::<G, M>(cpu, memory, word, context)
}

/// [`step`] in a context that its page, too, has a part in ([`crate::guest::Mapping::code_context`]).
pub fn step_in<G: Guest, M: InterpMemory<G::State>>(
    cpu: &mut Vcpu<G::State>,
    memory: &mut M,
    word: u32,
    context: u64,
) -> Step {
    let slot = Slot { offset: G::PC_OFFSET, width: 64, is_flags: false };
    let mut interp = Interp::new(cpu, memory, G::HELPERS);
    let pc = interp.get(slot) as u64;
    let result = G::translate(&mut interp, word, pc, context);
    let next = match (interp.next_pc(), result) {
        (Some(target), _) => target,
        (None, Ok(())) => pc.wrapping_add(u64::from(G::INSN_BYTES)),
        (None, Err(Stop)) => return Step::Left,
    };
    interp.put(slot, u128::from(next));
    Step::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Services;
    use crate::runtime::Runtime;

    #[repr(C)]
    struct State {
        x: [u64; 4],
        v: u128,
        nzcv: u16,
        small: u8,
    }

    extern "sysv64" fn sum(cpu: *mut Vcpu<State>, a: u64, b: u64) -> HelperRet {
        // SAFETY: called with the test's vCPU.
        let wide = unsafe { (*cpu).rt.scratch[1] };
        HelperRet { value: a + b + wide as u64, status: 0 }
    }

    extern "sysv64" fn leave(_: *mut Vcpu<State>) -> HelperRet {
        HelperRet { value: 0, status: 1 }
    }

    static HELPERS: &[HelperDecl] = &[
        HelperDecl {
            name: "sum",
            params: &[64, 128, 64],
            result: Some(64),
            pure_: true,
            raises: false,
            never: false,
            entry: sum as *const (),
        },
        HelperDecl {
            name: "leave",
            params: &[],
            result: None,
            pure_: false,
            raises: true,
            never: true,
            entry: leave as *const (),
        },
    ];

    struct Flat(Vec<u8>);

    impl InterpMemory<State> for Flat {
        fn load(&mut self, _: &mut Vcpu<State>, n: Width, addr: u64, _: Access) -> Result<u128, Stop> {
            let bytes = self.0.get(addr as usize..addr as usize + n as usize / 8).ok_or(Stop)?;
            Ok(bytes.iter().rev().fold(0, |v, &b| (v << 8) | u128::from(b)))
        }
        fn store(&mut self, _: &mut Vcpu<State>, n: Width, addr: u64, v: u128, _: Access) -> Result<(), Stop> {
            let len = n as usize / 8;
            self.0.get_mut(addr as usize..addr as usize + len).ok_or(Stop)?.copy_from_slice(&v.to_le_bytes()[..len]);
            Ok(())
        }
        fn atomic(
            &mut self,
            cpu: &mut Vcpu<State>,
            op: AtomicOp,
            n: Width,
            addr: u64,
            v: u128,
            acc: Access,
        ) -> Result<u128, Stop> {
            let old = self.load(cpu, n, addr, acc)?;
            self.store(cpu, n, addr, eval::atomic(op, n, old, v), acc)?;
            Ok(old)
        }
        fn cas(
            &mut self,
            cpu: &mut Vcpu<State>,
            n: Width,
            addr: u64,
            expected: u128,
            new: u128,
            acc: Access,
        ) -> Result<u128, Stop> {
            let old = self.load(cpu, n, addr, acc)?;
            if old == expected {
                self.store(cpu, n, addr, new, acc)?;
            }
            Ok(old)
        }
    }

    fn vcpu() -> Box<Vcpu<State>> {
        let mut cpu = Box::<Vcpu<State>>::new_uninit();
        // SAFETY: the slow paths are never called and are given valid addresses; everything else is valid when zero.
        unsafe {
            cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Vcpu<State>>());
            let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
            (&raw mut (*rt).slow).cast::<[usize; 5]>().write([leave as *const () as usize; 5]);
            (&raw mut (*rt).services).write(None::<*mut dyn Services>);
            cpu.assume_init()
        }
    }

    fn slot(offset: usize, width: Width) -> Slot {
        Slot { offset: offset as u32, width, is_flags: width == FLAGS }
    }

    #[test]
    fn state_memory_helpers_and_control() {
        let mut cpu = vcpu();
        let mut memory = Flat(vec![0; 64]);
        let mut i = Interp::new(&mut cpu, &mut memory, HELPERS);
        let x1 = slot(8, 64);
        let nzcv = slot(core::mem::offset_of!(State, nzcv), FLAGS);
        let small = slot(core::mem::offset_of!(State, small), 5);

        i.put(x1, 41);
        let one = i.konst(64, 1);
        let a = i.get(x1);
        let sum = i.bin(BinOp::Add, 64, a, one);
        i.put(x1, sum);
        i.put(small, 0xff);
        assert_eq!(i.get(small), 0x1f);
        let f = i.add_flags(64, sum, !sum, 1);
        i.put(nzcv, f);
        assert_eq!(i.get(nzcv), 0b0110);

        assert_eq!(i.store(128, 16, u128::MAX / 3, Access::empty()), Ok(()));
        assert_eq!(i.load(16, 20, Access::empty()), Ok(0x5555));
        assert_eq!(i.load(64, 60, Access::empty()), Err(Stop));
        assert_eq!(i.cas(32, 16, 0x5555_5555, 7, Access::empty()), Ok(0x5555_5555));
        assert_eq!(i.atomic(AtomicOp::Add, 32, 16, 3, Access::empty()), Ok(7));
        assert_eq!(i.load(32, 16, Access::empty()), Ok(10));

        assert_eq!(i.call(HelperId(0), &[1, 2, 3]), Ok(Some(6)));
        assert_eq!(i.call(HelperId(1), &[]), Err(Stop));
        let picked = i.branch_on(0, [64], |i| i.branch(1, BranchKind::Jump).map(|()| [1]), |_| Ok([2]));
        assert_eq!((picked, i.next_pc()), (Ok([2]), None));
        assert_eq!(i.branch(0x1000, BranchKind::Jump), Err(Stop));
        assert_eq!(i.next_pc(), Some(0x1000));
        i.end_block();
        assert!(i.ended());
        assert_eq!((cpu.state.x[1], cpu.state.nzcv, cpu.state.v), (42, 0x4100, 0));
    }
}
