/* An arm64 Image (Linux: Documentation/arm64/booting.rst): header, entry, vectors. Works wherever it is loaded. */

    .section .head, "ax"
    .globl image
image:
    b       entry
    .word   0
    .quad   0                       /* text offset */
    .quad   image_size
    .quad   0xa                     /* little-endian, pages of 4 KiB, anywhere in memory */
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

entry:
    adrp    x1, stack_top
    add     sp, x1, :lo12:stack_top
    adrp    x1, vectors
    add     x1, x1, :lo12:vectors
    msr     vbar_el1, x1
    msr     daifset, #15
    mov     x1, #3 << 20            /* floating point doesn't trap */
    msr     cpacr_el1, x1
    isb
    adrp    x1, bss_start
    add     x1, x1, :lo12:bss_start
    adrp    x2, bss_end
    add     x2, x2, :lo12:bss_end
1:  cmp     x1, x2
    b.hs    2f
    str     xzr, [x1], #8
    b       1b
2:  bl      start                   /* x0: the device tree */
3:  wfi
    b       3b

/* A program defines the handlers that it wants: they may change what the code they interrupt doesn't mind. */
.macro slot handler
    .balign 128
    b       \handler
.endm

    .weak   el1_sync, el1_irq, el0_sync
    .set    el1_sync, surprise
    .set    el1_irq, surprise
    .set    el0_sync, surprise

    .text
    .balign 2048
vectors:
    .rept 4
    slot    surprise
    .endr
    slot    el1_sync
    slot    el1_irq
    slot    surprise
    slot    surprise
    slot    el0_sync
    .rept 7
    slot    surprise
    .endr

surprise:
    adrp    x3, stack_top
    add     sp, x3, :lo12:stack_top
    mrs     x0, esr_el1
    mrs     x1, elr_el1
    mrs     x2, far_el1
    bl      unexpected
