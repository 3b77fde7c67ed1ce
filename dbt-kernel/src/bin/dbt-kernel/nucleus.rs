//! The nucleus: all that runs in ring 0, and the ring-3 side of its two doors.
//!
//! Where a hypervisor has no hardware support, every ring-0 instruction is emulated at about a thousand cycles, and SSE isn't
//! possible at all: so the nucleus is a few integer instructions per entry. It is mapped supervisor-only; interrupts stay off
//! inside the virtual machine, so nothing else ever enters ring 0.
//!
//! * An exception in ring 3 lands on the nucleus's stack page. Its stub completes a [`Frame`] there, and returns to
//!   `fault_entry` in ring 3 on the engine's fault stack, all registers but RAX and RSP as they were. Ring 3 reads the frame
//!   through a read-only view of the page (`layout::FAULT_FRAME`).
//! * `int3` with a service number in EAX (`shared::nucleus`) is a call; `int3` with anything else is an exception.
//!
//! An exception in the nucleus itself takes the same way and is seen by its CS. An exception while `fault_entry` or what it
//! calls is at work rings `doorbell::DOUBLE_FAULT`.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use dbt_kernel::shared::{doorbell, layout, nucleus};

/// Everything about an exception; `fault_entry` builds it, the handler may change it to resume elsewhere.
#[repr(C)]
pub struct Context {
    /// R15 down to R8, RDI, RSI, RBP, RBX, RDX, RCX.
    pub general: [u64; 14],
    pub frame: nucleus::Frame,
}

/// Names of `Context::general`.
pub const NAMES: [&str; 14] =
    ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rdi", "rsi", "rbp", "rbx", "rdx", "rcx"];

unsafe extern "sysv64" {
    /// `int3` service with two arguments.
    pub fn nucleus_call(service: u32, arg0: u64, arg1: u64);
    /// Runs `code` (a bare instruction sequence ending in RET); returns 1, or 0 if it raised an exception.
    pub fn probe(code: unsafe extern "sysv64" fn()) -> u32;
}

unsafe extern "C" {
    /// Where `probe` goes on after an exception, and its stack pointer while it is at work.
    safe static probe_failed: u8;
    safe static probe_stack: AtomicU64;
}

/// Lets a running [`probe`] end if it raised this exception.
pub fn recover_probe(context: &mut Context) -> bool {
    const INVALID_OPCODE: u64 = 6;
    const DEVICE_NOT_AVAILABLE: u64 = 7;
    const GENERAL_PROTECTION: u64 = 13;
    const PAGE_FAULT: u64 = 14;
    let expected =
        matches!(context.frame.vector, INVALID_OPCODE | DEVICE_NOT_AVAILABLE | GENERAL_PROTECTION | PAGE_FAULT);
    if !expected || probe_stack.load(Ordering::Relaxed) == 0 {
        return false;
    }
    context.frame.rip = (&raw const probe_failed) as u64;
    true
}

/// Cycles of the cheapest of a few page faults in ring 3, with their way to the handler and back.
pub fn fault_cost(tsc: fn() -> u64) -> u64 {
    #[unsafe(naked)]
    unsafe extern "sysv64" fn touch() {
        core::arch::naked_asm!("xor eax, eax", "mov al, [rax]", "ret")
    }
    let once = |_| {
        let before = tsc();
        // SAFETY: nothing is mapped at address 0, so all it does is fault.
        unsafe { probe(touch) };
        tsc() - before
    };
    (0..4).map(once).min().unwrap_or(u64::MAX)
}

global_asm!(
    // Ring 0: stubs, 16 bytes apart. An error code is pushed where the processor pushes none.
    ".section .nucleus.text,\"ax\",@progbits",
    ".irp v,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".balign 16",
    ".if \\v == 3",
    "jmp nucleus_gate",
    ".else",
    ".if (0x60227d00 >> \\v) & 1",
    ".else",
    "push 0",
    ".endif",
    "push \\v",
    "jmp nucleus_reflect",
    ".endif",
    ".endr",
    ".balign 16",
    "nucleus_gate:",
    "cmp eax, {INVALIDATE}",
    "je 2f",
    "cmp eax, {FLUSH}",
    "je 3f",
    "cmp eax, {SET_ROOT}",
    "jne 4f",
    "mov cr3, rdi",
    "iretq",
    "2:",
    "invlpg [rdi]",
    "add rdi, 4096",
    "cmp rdi, rsi",
    "jb 2b",
    "iretq",
    "3:",
    "mov rax, cr3",
    "mov cr3, rax",
    "iretq",
    "4:",
    "push 0",
    "push 3",
    "nucleus_reflect:",
    "push rax",
    "mov rax, cr2",
    "push rax",
    "mov esp, offset nucleus_to_ring3",
    "iretq",
    // Ring 0: tables. Descriptors have their accessed and busy bits set, so that nothing is ever written back.
    ".section .nucleus.data,\"aw\",@progbits",
    ".balign 4096",
    "nucleus_data_start:",
    ".quad 0, 0",
    ".quad 0x00af9b000000ffff", // 0x10 kernel code
    ".quad 0x00cf93000000ffff", // 0x18 kernel data
    ".quad 0",
    ".quad 0x00cff3000000ffff", // 0x2b user data
    ".quad 0x00affb000000ffff", // 0x33 user code
    ".quad 0x00008b0000000067 | (({TSS} & 0xffffff) << 16)",
    ".quad 0",
    ".org nucleus_data_start + 0x80",
    ".long 0",                                    // TSS
    ".quad {STACK_END}, 0, 0, 0, {STACK_END}",    // RSP0-2, reserved, IST1
    ".fill 0x3a, 1, 0",
    ".short 0x68",
    ".org nucleus_data_start + 0x100",
    ".irp v,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".short ({STUBS} + \\v * 16) & 0xffff, {KERNEL_CODE}",
    ".byte 1",
    ".if \\v == 3",
    ".byte 0xee",
    ".else",
    ".byte 0x8e",
    ".endif",
    ".short ({STUBS} + \\v * 16) >> 16",
    ".long 0, 0",
    ".endr",
    ".balign 16",
    "nucleus_to_ring3:",
    ".quad fault_entry, {USER_CODE}, 2, fault_stack_end, {USER_DATA}",
    ".section .nucleus.bss,\"aw\",@nobits",
    ".balign 4096",
    ".skip 4096",
    // Ring 3: the engine's end of an exception.
    ".text",
    "fault_entry:",
    "lock bts dword ptr [rip + fault_active], 0",
    "jc 9f",
    "sub rsp, {FRAME_BYTES}", // room for the frame
    "push rcx",
    "push rdx",
    "push rbx",
    "push rbp",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "lea rdi, [rsp + {GENERAL_BYTES}]",
    "movabs rsi, {FAULT_FRAME_START}",
    "mov ecx, {FRAME_BYTES} / 8",
    "rep movsq",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "sub rsp, 512",
    "and rsp, -16",
    "fxsave64 [rsp]",
    "call fault",
    "fxrstor64 [rsp]",
    "mov rsp, rbx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rbp",
    "pop rbx",
    "pop rdx",
    "pop rcx",
    "mov rax, [rsp + 8]",
    "add rsp, {RIP_OFFSET}",
    "mov dword ptr [rip + fault_active], 0",
    "iretq",
    "9:",
    "movabs rax, {DOORBELL}",
    "mov dword ptr [rax], {DOUBLE_FAULT}",
    "ud2",
    ".globl nucleus_call",
    "nucleus_call:",
    "mov eax, edi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "int3",
    "ret",
    ".globl probe",
    "probe:",
    "push rbx",
    "mov [rip + probe_stack], rsp",
    "call rdi",
    "mov eax, 1",
    "jmp 1f",
    ".globl probe_failed",
    "probe_failed:",
    "mov rsp, [rip + probe_stack]",
    "xor eax, eax",
    "1:",
    "mov qword ptr [rip + probe_stack], 0",
    "pop rbx",
    "ret",
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "call main",
    "ud2",
    ".bss",
    ".balign 16",
    ".skip 65536",
    "fault_stack_end:",
    "fault_active: .skip 8",
    ".globl probe_stack",
    "probe_stack: .skip 8",
    ".text",
    STUBS = const nucleus::STUBS,
    INVALIDATE = const nucleus::INVALIDATE,
    FLUSH = const nucleus::FLUSH,
    SET_ROOT = const nucleus::SET_ROOT,
    TSS = const nucleus::TSS,
    STACK_END = const nucleus::STACK_END,
    KERNEL_CODE = const nucleus::KERNEL_CODE,
    USER_CODE = const nucleus::USER_CODE,
    USER_DATA = const nucleus::USER_DATA,
    FRAME_BYTES = const size_of::<nucleus::Frame>(),
    RIP_OFFSET = const core::mem::offset_of!(nucleus::Frame, rip),
    GENERAL_BYTES = const 14 * 8,
    FAULT_FRAME_START = const layout::FAULT_FRAME + 4096 - size_of::<nucleus::Frame>() as u64,
    DOORBELL = const layout::DOORBELL,
    DOUBLE_FAULT = const doorbell::DOUBLE_FAULT,
);

// The assembly above has these as literals.
const _: () = {
    assert!(nucleus::GDT == layout::NUCLEUS + 0x1000 && nucleus::STUB_BYTES == 16);
    assert!(nucleus::TSS == nucleus::GDT + 0x80 && nucleus::IDT == nucleus::GDT + 0x100);
    assert!(core::mem::offset_of!(nucleus::Frame, rax) == 8);
    assert!(nucleus::VECTORS == 32);
    assert!(layout::NUCLEUS == 0x10_0000 && layout::IMAGE == 0x20_0000);
};
