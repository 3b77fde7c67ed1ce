// The virtual timer's interrupt through the GIC, and waiting for it.

.equ GICD, 0x08000000
.equ GICC, 0x08010000
.equ TIMER_BIT, 0x08000000      // of interrupt 27

test_timer:
    mov x26, x30
    adr x27, timer_name
    mov x24, #0
    mov x5, #GICD
    mov x6, #GICC
    mov w1, #1
    str w1, [x5]
    mov w2, #TIMER_BIT
    str w2, [x5, #0x100]        // enabled
    mov w2, #0xff
    str w2, [x6, #4]            // no priority is too low
    str w1, [x6]

    // The counter counts.
    isb
    mrs x1, cntvct_el0
timer_counts:
    isb
    mrs x2, cntvct_el0
    cmp x2, x1
    b.eq timer_counts
    cset x0, hi
    bl expect
    .quad 1

    // Masked, the interrupt ends the waiting and stays pending.
    mrs x1, cntfrq_el0
    mov x2, #200
    udiv x7, x1, x2             // 5 ms
    msr cntv_tval_el0, x7
    mov x1, #1
    msr cntv_ctl_el0, x1
    isb
timer_wait_masked:
    wfi
    mrs x1, isr_el1
    cbz x1, timer_wait_masked
    mov x0, x1
    bl expect
    .quad 0x80
    mrs x0, cntv_ctl_el0
    bl expect
    .quad 5                     // enabled, its time has come
    ldr w0, [x5, #0x200]
    and x0, x0, #TIMER_BIT
    bl expect
    .quad TIMER_BIT
    mov x0, x24
    bl expect
    .quad 0

    // Unmasked, it is taken at once.
    msr daifclr, #0x2
    isb
    msr daifset, #0x2
    mov x0, x24
    bl expect
    .quad 1
    mov x0, x21
    bl expect
    .quad 27
    mrs x0, isr_el1
    bl expect
    .quad 0

    // Unmasked from the start, it is taken while waiting, and out of a loop that doesn't wait.
    msr cntv_tval_el0, x7
    mov x1, #1
    msr cntv_ctl_el0, x1
    msr daifclr, #0x2
timer_wait:
    wfi
    cmp x24, #2
    b.cc timer_wait
    mrs x1, cntvct_el0
    mrs x2, cntv_cval_el0
    cmp x1, x2
    cset x0, cs
    bl expect
    .quad 1
    msr cntv_tval_el0, x7
    mov x1, #1
    msr cntv_ctl_el0, x1
timer_spin:
    cmp x24, #3
    b.cc timer_spin
    msr daifset, #0x2
    ldr w0, [x6, #0xc]
    and x0, x0, #0x3ff
    bl expect
    .quad 1023                  // nothing more is pending
    b passed

timer_name:
    .asciz "timer interrupts"
    .align 2
