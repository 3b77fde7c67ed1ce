// Pointer authentication.

.equ KEYS_ENABLED, 0xc800       // EnIA, EnIB, EnDA in the upper half of the lower word
.equ KEY_DB_ENABLED, 0x2000

test_pauth:
    mov x26, x30
    adr x27, pauth_name
    mov x5, #SCRATCH
    mov x1, #0x1111111111111111
    msr apiakeylo_el1, x1
    mov x1, #0x2222222222222222
    msr apiakeyhi_el1, x1
    msr apibkeylo_el1, x1
    msr apdakeyhi_el1, x1
    msr apgakeylo_el1, x1
    mrs x0, apiakeyhi_el1
    bl expect
    .quad 0x2222222222222222

    // Without a key nothing happens.
    mov x1, x5
    pacia x1, x2
    sub x0, x1, x5
    bl expect
    .quad 0
    mrs x12, sctlr_el1
    mov x1, #KEY_DB_ENABLED
    movk x1, #KEYS_ENABLED, lsl #16
    orr x1, x12, x1
    msr sctlr_el1, x1
    isb

    // In and out, by every key; a code depends on pointer, modifier and key.
    mov x2, #0x1234
    mov x1, x5
    pacia x1, x2
    cmp x1, x5
    cset x0, ne
    bl expect
    .quad 1
    mov x3, x5
    pacib x3, x2
    cmp x1, x3
    cset x0, ne
    bl expect
    .quad 1
    mov x4, x5
    pacia x4, x5
    cmp x1, x4
    cset x0, ne
    bl expect
    .quad 1
    eor x0, x1, x5
    lsl x0, x0, #25             // only bits above the 39 of the address
    bl expect
    .quad 0
    mov x0, x1
    autia x0, x2
    bl expect
    .quad SCRATCH
    mov x0, x3
    autib x0, x2
    bl expect
    .quad SCRATCH
    mov x0, x5
    pacdza x0
    autdza x0
    bl expect
    .quad SCRATCH
    mov x0, x5
    pacdb x0, sp
    autdb x0, sp
    bl expect
    .quad SCRATCH
    xpaci x1
    mov x0, x1
    bl expect
    .quad SCRATCH

    // A wrong code leaves a pointer that does not translate, and that tells the key.
    mov x1, x3
    autia x1, x2
    lsr x0, x1, #61
    bl expect
    .quad 1
    adr x25, pauth_bad
    ldr x0, [x1]
pauth_bad:
    mov x0, x20
    bl expect
    .quad 0x96000004
    mov x1, x5
    autdb x1, x2
    lsr x0, x1, #61
    bl expect
    .quad 2
    // Upper half.
    mov x1, #-16
    mov x0, x1
    pacda x0, x2
    autda x0, x2
    bl expect
    .quad 0xfffffffffffffff0

    // Branches and loads.
    adr x1, pauth_there
    pacia x1, x2
    mov x0, #0
    braa x1, x2
    mov x0, #1
pauth_there:
    bl expect
    .quad 0
    adr x1, pauth_function
    paciza x1
    blraaz x1
    bl expect
    .quad 99
    mov x1, #0x5678
    str x1, [x5, #8]
    mov x1, x5
    pacdza x1
    ldraa x0, [x1, #8]!
    bl expect
    .quad 0x5678
    sub x0, x1, x5
    bl expect
    .quad 8
    pacga x0, x1, x2
    cmp x0, #0
    cset x1, ne
    lsl x0, x0, #32
    orr x0, x0, x1
    bl expect
    .quad 1
    adr x1, pauth_bad_branch
    mov x25, x1
    braaz x1
pauth_bad_branch:
    mov x0, x20
    bl expect
    .quad 0x86000004            // the fetch fails
    msr sctlr_el1, x12
    isb
    b passed

// Signs its return address, and its copy.
pauth_function:
    paciasp
    mov x0, #99
    retaa

pauth_name:
    .asciz "pointer authentication"
    .align 2
