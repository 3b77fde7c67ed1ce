// The image header, the order of the tests, and the end of the run.
//
// Registers with a meaning throughout:
//   x20..x23  ESR, FAR, ELR and SPSR of the last exception     x24  interrupts taken
//   x25  where to go on after an exception that is wanted; 0: none is
//   x26  where a test returns to     x27  its name     x28  its number of checks
// There is no stack: a test calls only what calls nothing.

.equ UART, 0x09000000
.equ IMAGE_OFFSET, 0x80000
.equ IMAGE_SIZE, 0x180000
.equ TABLES, 0x40100000         // translation tables: 64 KiB
.equ SCRATCH, 0x40180000        // for data, until the end of the image's memory

image:
    b start
    .word 0
    .quad IMAGE_OFFSET, IMAGE_SIZE
    .quad 2                     // little-endian, 4 KiB pages
    .quad 0, 0, 0
    .ascii "ARMd"
    .word 0

start:
    msr daifset, #0xf
    msr spsel, #1
    adr x0, vectors
    msr vbar_el1, x0
    mov x0, #0x300000           // no traps of FP and SIMD
    msr cpacr_el1, x0
    isb
    mov x24, #0
    mov x25, #0
    adr x27, start_name
    mov x28, #0
    adr x0, start_text
    bl print

    bl test_arithmetic
    bl test_memory
    bl test_branches
    bl test_atomics
    bl test_float
    bl test_simd
    bl test_exceptions
    bl test_mmu
    bl test_faults
    bl test_pauth
    bl test_bti
    bl test_timer
    bl test_code

    adr x0, passed_text
    bl print
power_off:
    mov x0, #0x8                // PSCI SYSTEM_OFF
    movk x0, #0x8400, lsl #16
    hvc #0x0
    b power_off

start_name:
    .asciz "start"
start_text:
    .asciz "Self-test of the arm64 machine (give --kernel to boot one)\n"
passed_text:
    .asciz "Self-test passed\n"
    .align 2
