// Branches, calls and loops: long enough that the translator chains their blocks.

test_branches:
    mov x26, x30
    adr x27, branches_name

    // A sum and a Fibonacci number.
    mov x0, #0
    mov x1, #0x10000
branches_sum:
    add x0, x0, x1
    subs x1, x1, #1
    b.ne branches_sum
    bl expect
    .quad 0x80008000
    mov x0, #0
    mov x1, #1
    mov x2, #90
branches_fibonacci:
    add x3, x0, x1
    mov x0, x1
    mov x1, x3
    sub x2, x2, #1
    cbnz x2, branches_fibonacci
    bl expect
    .quad 2880067194370816120

    // The steps of Collatz from 27: branches that no pattern predicts.
    mov x0, #0
    mov x1, #27
branches_collatz:
    cmp x1, #1
    b.eq branches_collatz_end
    add x0, x0, #1
    tbnz w1, #0, branches_odd
    lsr x1, x1, #1
    b branches_collatz
branches_odd:
    add x1, x1, x1, lsl #1
    add x1, x1, #1
    b branches_collatz
branches_collatz_end:
    bl expect
    .quad 111

    // Primes below 1000, by sieve.
    mov x5, #SCRATCH
    mov x1, #0
branches_clear:
    strb wzr, [x5, x1]
    add x1, x1, #1
    cmp x1, #1000
    b.cc branches_clear
    mov x0, #0
    mov x1, #2
    mov w4, #1
branches_prime:
    ldrb w2, [x5, x1]
    cbnz w2, branches_next
    add x0, x0, #1
    mul x3, x1, x1
branches_strike:
    cmp x3, #1000
    b.cs branches_next
    strb w4, [x5, x3]
    add x3, x3, x1
    b branches_strike
branches_next:
    add x1, x1, #1
    cmp x1, #1000
    b.cc branches_prime
    bl expect
    .quad 168

    // Calls through a register, with targets that change.
    mov x0, #0
    mov x1, #1000
branches_call:
    adr x2, branches_one
    adr x3, branches_two
    tst x1, #1
    csel x2, x2, x3, eq
    blr x2
    sub x1, x1, #1
    cbnz x1, branches_call
    bl expect
    .quad 1500
    adr x2, branches_end
    br x2
    mov x0, #0                  // jumped over
branches_end:
    bl expect
    .quad 1500

    // Every condition: bit n for condition n.
    mov x1, #0x0
    msr nzcv, x1
    adr x2, branches_conditions
    blr x2
    bl expect
    .quad 0x16aa
    mov x1, #0xf0000000
    msr nzcv, x1
    adr x2, branches_conditions
    blr x2
    bl expect
    .quad 0x2655
    mov x1, #0x90000000
    msr nzcv, x1
    adr x2, branches_conditions
    blr x2
    bl expect
    .quad 0x165a
    mov x1, #0x20000000
    msr nzcv, x1
    adr x2, branches_conditions
    blr x2
    bl expect
    .quad 0x15a6
    b passed

// Gives the conditions that hold in x0.
branches_conditions:
    mov x0, #0
    b.ne branches_not_eq
    orr x0, x0, #0x1
branches_not_eq:
    b.eq branches_not_ne
    orr x0, x0, #0x2
branches_not_ne:
    b.cc branches_not_hs
    orr x0, x0, #0x4
branches_not_hs:
    b.cs branches_not_lo
    orr x0, x0, #0x8
branches_not_lo:
    b.pl branches_not_mi
    orr x0, x0, #0x10
branches_not_mi:
    b.mi branches_not_pl
    orr x0, x0, #0x20
branches_not_pl:
    b.vc branches_not_vs
    orr x0, x0, #0x40
branches_not_vs:
    b.vs branches_not_vc
    orr x0, x0, #0x80
branches_not_vc:
    b.ls branches_not_hi
    orr x0, x0, #0x100
branches_not_hi:
    b.hi branches_not_ls
    orr x0, x0, #0x200
branches_not_ls:
    b.lt branches_not_ge
    orr x0, x0, #0x400
branches_not_ge:
    b.ge branches_not_lt
    orr x0, x0, #0x800
branches_not_lt:
    b.le branches_not_gt
    orr x0, x0, #0x1000
branches_not_gt:
    b.gt branches_not_le
    orr x0, x0, #0x2000
branches_not_le:
    ret

branches_one:
    add x0, x0, #1
    ret
branches_two:
    add x0, x0, #2
    ret

branches_name:
    .asciz "branches and loops"
    .align 2
