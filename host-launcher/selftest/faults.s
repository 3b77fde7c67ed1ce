// What faults report: which access, which address, which instruction; and what they leave alone. Runs with the tables and the window of
// the test of address translation: page 0 is not there, 1 is read only, 2 not there, 5 is for EL0, 6 lacks the access flag.

.equ ENTRIES, 0x3000            // from TABLES: the window's descriptors

test_faults:
    mov x26, x30
    adr x27, faults_name
    mov x5, #SCRATCH
    mov x6, #WINDOW
    mov x8, #TABLES
    mov x1, #ENTRIES
    add x8, x8, x1
    add x7, x6, #0x1, lsl #12
    add x9, x6, #0x2, lsl #12

    // A read-modify-write is reported as a read if a read would have failed, too.
    adr x25, faults_atomic_read_only
    ldadd x1, x2, [x7]
faults_atomic_read_only:
    mov x0, x20
    bl expect
    .quad 0x9600004f
    adr x25, faults_atomic_unmapped
    ldadd x1, x2, [x9]
faults_atomic_unmapped:
    mov x0, x20
    bl expect
    .quad 0x96000007
    adr x25, faults_swap_read_only
    swpal w1, w2, [x7]
faults_swap_read_only:
    mov x0, x20
    bl expect
    .quad 0x9600004f
    ldxr x1, [x7]
    adr x25, faults_exclusive_read_only
    stxr w2, x1, [x7]
faults_exclusive_read_only:
    mov x0, x20
    bl expect
    .quad 0x9600004f

    // Ordered and atomic accesses may be unaligned within 16 bytes.
    mov x1, #0x7788
    movk x1, #0x5566, lsl #16
    movk x1, #0x3344, lsl #32
    movk x1, #0x1122, lsl #48
    str x1, [x5, #16]
    add x10, x5, #19
    ldar w0, [x10]
    bl expect
    .quad 0x22334455
    mov w1, #1
    ldadd w1, w0, [x10]
    bl expect
    .quad 0x22334455
    ldr x0, [x5, #16]
    bl expect
    .quad 0x1122334456667788
    add x10, x5, #30
    adr x25, faults_ordered_load
    ldar w0, [x10]
faults_ordered_load:
    mov x0, x20
    bl expect
    .quad 0x96000021
    adr x25, faults_ordered_store
    stlr w0, [x10]
faults_ordered_store:
    mov x0, x20
    bl expect
    .quad 0x96000061
    sub x0, x21, x5
    bl expect
    .quad 30
    adr x25, faults_atomic_unaligned
    ldadd w1, w0, [x10]
faults_atomic_unaligned:
    mov x0, x20
    bl expect
    .quad 0x96000021
    add x11, x5, #8
    adr x25, faults_pair_unaligned
    casp x0, x1, x2, x3, [x11]
faults_pair_unaligned:
    mov x0, x20
    bl expect
    .quad 0x96000021
    // With nAA ordered ones may be unaligned anywhere.
    mrs x12, sctlr_el1
    orr x1, x12, #0x40
    msr sctlr_el1, x1
    isb
    mov w1, #0xabcd
    str w1, [x10]
    ldar w0, [x10]
    bl expect
    .quad 0xabcd
    msr sctlr_el1, x12
    isb

    // Across the end of a page: the address is that of the page which fails, and nothing has changed.
    add x10, x9, #0
    sub x11, x10, #8
    mov x12, x11
    mov x0, #77
    adr x25, faults_pair
    ldp x0, x1, [x12], #16
faults_pair:
    bl expect
    .quad 77
    mov x0, x20
    bl expect
    .quad 0x96000007
    sub x0, x21, x6
    bl expect
    .quad 0x2000
    sub x0, x12, x11
    bl expect
    .quad 0
    sub x11, x10, #4
    adr x25, faults_crossing
    ldr x0, [x11]
faults_crossing:
    sub x0, x21, x6
    bl expect
    .quad 0x2000
    adr x25, faults_vector
    ldr q0, [x11]
faults_vector:
    sub x0, x21, x6
    bl expect
    .quad 0x2000
    mov x1, #0x5000
    add x10, x6, x1
    str wzr, [x5, #0xffc]
    add x11, x10, #0xffc
    mov x1, #-1
    adr x25, faults_store_crossing
    str x1, [x11]
faults_store_crossing:
    mov x0, x20
    bl expect
    .quad 0x9600004b            // access flag fault by a store
    sub x0, x21, x6
    bl expect
    .quad 0x6000
    ldr w0, [x5, #0xffc]
    bl expect
    .quad 0

    // Maintenance reports the address in its register, as a write, and that it is maintenance; zeroing a block is a store.
    add x10, x9, #24
    adr x25, faults_zva
    dc zva, x10
faults_zva:
    mov x0, x20
    bl expect
    .quad 0x96000047
    sub x0, x21, x6
    bl expect
    .quad 0x2018
    adr x25, faults_clean
    dc cvac, x10
faults_clean:
    mov x0, x20
    bl expect
    .quad 0x96000147
    sub x0, x21, x6
    bl expect
    .quad 0x2018
    adr x25, faults_icache
    ic ivau, x10
faults_icache:
    mov x0, x20
    bl expect
    .quad 0x96000147
    adr x25, faults_invalidate
    dc ivac, x7                 // takes the right to write
faults_invalidate:
    mov x0, x20
    bl expect
    .quad 0x9600014f

    // Walks that end at other levels.
    mov x1, #0x10000000000
    adr x25, faults_level_0
    ldr x0, [x1]
faults_level_0:
    mov x0, x20
    bl expect
    .quad 0x96000004            // beyond the 39 bits
    mov x1, #0x40600000
    adr x25, faults_level_2
    str x0, [x1]
faults_level_2:
    mov x0, x20
    bl expect
    .quad 0x96000046
    adr x25, faults_fetch_level_2
    br x1
faults_fetch_level_2:
    mov x0, x20
    bl expect
    .quad 0x86000006
    mov x1, #0xc0000000
    adr x25, faults_fetch_level_1
    br x1
faults_fetch_level_1:
    mov x0, x20
    bl expect
    .quad 0x86000005
    mov x1, #0x703
    movk x1, #0x2000, lsl #32   // beyond the 40 bits of physical address
    str x1, [x8, #56]
    dsb ishst
    mov x1, #0x7000
    add x10, x6, x1
    adr x25, faults_address_size
    ldr x0, [x10]
faults_address_size:
    mov x0, x20
    bl expect
    .quad 0x96000003

    // The program counter, and the stack pointer.
    add x1, x5, #2
    adr x25, faults_pc
    br x1
faults_pc:
    mov x0, x20
    bl expect
    .quad 0x8a000000
    sub x0, x21, x5
    bl expect
    .quad 2
    sub x0, x22, x5
    bl expect
    .quad 2
    mrs x12, sctlr_el1
    orr x1, x12, #0x8
    msr sctlr_el1, x1
    isb
    mov x13, sp
    add x1, x5, #8
    mov sp, x1
    adr x25, faults_sp
    ldr x0, [sp]
faults_sp:
    mov sp, x13
    msr sctlr_el1, x12
    isb
    mov x0, x20
    bl expect
    .quad 0x9a000000

    // Data of EL0 with PSTATE.PAN; the rights of EL0 unless PSTATE.UAO.
    mov x1, #0x5000
    add x10, x6, x1
    msr pan, #0x1
    adr x25, faults_pan
    ldr x0, [x10]
faults_pan:
    msr pan, #0x0
    mov x0, x20
    bl expect
    .quad 0x9600000f
    msr pan, #0x1
    ldtr x0, [x10]
    msr pan, #0x0
    ldr x1, [x5]
    sub x0, x0, x1
    bl expect
    .quad 0
    adr x25, faults_unprivileged
    ldtr x0, [x7]
faults_unprivileged:
    mov x0, x20
    bl expect
    .quad 0x9600000f
    msr uao, #0x1
    ldtr x0, [x7]
    mrs x1, uao
    msr uao, #0x0
    lsr x0, x1, #20
    bl expect
    .quad 8

    // What EL0 may not do: each is a trap that names the register, or undefined.
    adr x1, faults_user
    and x1, x1, #0xfffffffffffff000
    add x1, x1, #PAGE_USER_RO
    str x1, [x8, #32]
    dsb ishst
    tlbi vmalle1
    dsb ish
    isb
    adr x0, faults_user
    and x10, x0, #0xfff
    mov x1, #0x4000
    add x10, x10, x1
    add x10, x10, x6
    msr cntkctl_el1, xzr
    mov x0, x10
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x6232c0a1            // MRS X5, CTR_EL0
    add x0, x10, #4
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x6212dd28            // DC ZVA, X9
    add x0, x10, #8
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x07e00000            // WFI
    add x0, x10, #12
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x6234f8e1            // MRS X7, CNTVCT_EL0
    add x0, x10, #16
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x2000000             // MRS X0, SCTLR_EL1
    add x0, x10, #20
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x2000000             // ERET
    add x0, x10, #24
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x92000047            // from a lower level: translation fault at level 3 by a store
    b passed

    .align 5
faults_user:
    mrs x5, ctr_el0
    dc zva, x9
    wfi
    mrs x7, cntvct_el0
    mrs x0, sctlr_el1
    eret
    str x0, [x9]

faults_name:
    .asciz "faults"
    .align 2
