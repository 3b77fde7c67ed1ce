// Exceptions: the vectors, calls from both levels, undefined instructions, breakpoints, alignment.

.equ SVC_EL1, 0x56000000        // EC 0x15, IL
.equ DAIF_EL1H, 0x3c5
.equ DAIF_EL0, 0x3c0

test_exceptions:
    mov x26, x30
    adr x27, exceptions_name

    // SVC here: the syndrome, where it came from, and the state it came from.
    msr daifclr, #0x4
    mov x1, #0xa0000000
    adr x25, exceptions_svc_done
    msr nzcv, x1
exceptions_svc:
    svc #0x1234
exceptions_svc_done:
    mov x0, x20
    bl expect
    .quad 0x56001234
    adr x1, exceptions_svc
    sub x0, x22, x1
    bl expect
    .quad 4                     // the next instruction
    mov x0, x23
    bl expect
    .quad 0xa00002c5            // N, C; D, I and F masked; EL1h
    msr daifset, #0xf

    // SVC from EL0, where system registers are out of reach.
    adr x0, exceptions_user
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x56000007
    mov x0, x23
    bl expect
    .quad DAIF_EL0
    mov x0, x18
    bl expect
    .quad 42
    adr x0, exceptions_user_msr
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x2000000             // there is no such register at EL0
    adr x1, exceptions_user_msr
    sub x0, x22, x1
    bl expect
    .quad 0
    adr x0, exceptions_user_mask
    bl exceptions_drop
    lsr x0, x20, #26
    bl expect
    .quad 0x18                  // there is one, but SCTLR_EL1.UMA is clear
    mrs x0, currentel
    bl expect
    .quad 4

    // Undefined instructions and breakpoints, which return to themselves.
    adr x25, exceptions_undefined_done
exceptions_undefined:
    udf #0
exceptions_undefined_done:
    mov x0, x20
    bl expect
    .quad 0x2000000
    adr x1, exceptions_undefined
    sub x0, x22, x1
    bl expect
    .quad 0
    adr x25, exceptions_brk_done
    brk #0x55
exceptions_brk_done:
    mov x0, x20
    bl expect
    .quad 0xf2000055

    // FP and SIMD, trapped.
    mov x1, #0
    msr cpacr_el1, x1
    isb
    adr x25, exceptions_fp_done
    fadd d0, d0, d0
exceptions_fp_done:
    mov x1, #0x300000
    msr cpacr_el1, x1
    isb
    mov x0, x20
    bl expect
    .quad 0x1fe00000

    // Alignment: of exclusives always, of others when SCTLR_EL1.A says so.
    mov x5, #SCRATCH
    add x5, x5, #2
    adr x25, exceptions_exclusive_done
    ldxr w1, [x5]
exceptions_exclusive_done:
    mov x0, x20
    bl expect
    .quad 0x96000021
    mov x1, #SCRATCH
    sub x0, x21, x1
    bl expect
    .quad 2
    mrs x6, sctlr_el1
    orr x1, x6, #0x2
    msr sctlr_el1, x1
    isb
    adr x25, exceptions_aligned_done
    str w1, [x5]
exceptions_aligned_done:
    msr sctlr_el1, x6
    isb
    mov x0, x20
    bl expect
    .quad 0x96000061
    mov x1, #SCRATCH
    sub x0, x21, x1
    bl expect
    .quad 2
    b passed

// Goes to x0 at EL0; an exception from there comes back to the caller.
exceptions_drop:
    mov x25, x30
    msr elr_el1, x0
    mov x1, #DAIF_EL0
    msr spsr_el1, x1
    eret

exceptions_user:
    mov x18, #42
    svc #0x7
exceptions_user_msr:
    msr vbar_el1, x0
exceptions_user_mask:
    msr daifset, #0x2
    svc #0x8

// Takes note of the exception and goes on at x25.
synchronous:
    cbz x25, unwanted
    mrs x20, esr_el1
    mrs x21, far_el1
    mrs x22, elr_el1
    mrs x23, spsr_el1
    msr elr_el1, x25
    mov x25, #DAIF_EL1H
    msr spsr_el1, x25
    mov x25, #0
    eret

// Takes the interrupt, whose number goes to x21, and makes the timer stop asking for it.
interrupt:
    mov x20, #GICC
    ldr w21, [x20, #0xc]
    msr cntv_ctl_el0, xzr
    isb
    str w21, [x20, #0x10]
    add x24, x24, #1
    mrs x22, elr_el1
    eret

// Says what came, and ends the run.
unwanted:
    bl print_failed
    adr x0, unwanted_text
    bl print
    mrs x0, esr_el1
    bl print_hex
    adr x0, elr_text
    bl print
    mrs x0, elr_el1
    bl print_hex
    adr x0, far_text
    bl print
    mrs x0, far_el1
    bl print_hex
    adr x0, newline_text
    bl print
    b power_off

exceptions_name:
    .asciz "exceptions"
unwanted_text:
    .asciz ": exception, ESR 0x"
elr_text:
    .asciz ", ELR 0x"
far_text:
    .asciz ", FAR 0x"
    .align 11

vectors:
    b unwanted                  // from this level with SP_EL0
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
    b synchronous               // with SP_EL1
    .align 7
    b interrupt
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
    b synchronous               // from EL0
    .align 7
    b interrupt
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
    b unwanted                  // from AArch32
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
    b unwanted
    .align 7
