/* What the parts of the program share: random decisions, complaints, and the areas of memory whose content is known. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define AREAS 24
#define MAX_PAGES 40
/* A level 2 block: what a transparent huge page is with pages of 4 KiB. */
#define LARGE 0x200000ul

enum kind { PRIVATE, SHARED, FILE_SHARED };

struct area {
    unsigned char *at;
    int pages, prot, fd;
    enum kind kind;
    /* What each page holds: bytes of a sequence that the key starts; 0: zeros. */
    uint32_t key[MAX_PAGES];
};

extern struct area areas[AREAS];
extern uint64_t state;
/* Accesses that are expected to fault: sigsetjmp(recover, 1), and the handler comes back with what it was told. */
extern sigjmp_buf recover;
extern volatile uintptr_t fault_at;
extern volatile int fault_code;
/* While this is set, the handler instead makes the page accessible and lets the instruction run again; faults are counted. */
extern unsigned char *volatile repaired;
extern volatile int repairs;
/* Runs under QEMU's user mode, which follows changes of code through the mapping that executes only. */
extern int user_mode;

uint32_t rnd(void);
uint32_t below(uint32_t n);
void note(uint64_t v);
_Noreturn void fail(const char *what, const void *at);
/* Word `i` of the content that `key` stands for. */
uint64_t word(uint32_t key, unsigned i);
/* Addresses all over the lower half, so that many top-level table entries are in use; else wherever the kernel likes. */
void *hint(void);
void handle_faults(void);

/* areas.c */
void map(struct area *a);
void unmap(struct area *a);
void protect(struct area *a);
void forget(struct area *a);
void move(struct area *a);
void resize(struct area *a);
void alias(struct area *a);
void fill_page(struct area *a, int page);
void check_page(struct area *a, int page);
void check(struct area *a);
void check_all(void);
void visit_all(void);
static inline int is_writable(const struct area *a) { return a->prot == (PROT_READ | PROT_WRITE); }

/* accesses.c */
void system_call(struct area *a);
void unaligned(struct area *a);
void half_protected(struct area *a);
void restarted(struct area *a);
void zero_block(struct area *a);
void atomics(struct area *a);
void aged(struct area *a);

/* large.c */
void large(void);

/* apart.c */
void apart(void);

/* processes.c */
void fork_and_check(void);
void share(void);
void many(void);
void threads(void);
/* What the program does when another of its kind executes it. */
int executed(char **argv);

/* code.c */
void code(void);
void buried_code(void);
void switched_code(void);
void aliased_code(void);
void poked_code(void);
