// group: system
// Code written at run time: functions are generated, made coherent, called a few times and overwritten, as a just-in-time
// compiler does.
#define ITERATIONS 30000
#include "bench.h"
#include <sys/mman.h>

#define SIZE 4096
#define TERMS 24

typedef uint64_t function(uint64_t);

// f(x) = x + constants[0] + constants[1] + ...
static size_t generate(uint8_t *at, const uint32_t *constants) {
    uint8_t *start = at;
#if defined(__aarch64__)
    for (int i = 0; i < TERMS; i++, at += 4) memcpy(at, &(uint32_t){0x91000000 | constants[i] << 10}, 4); // add x0, x0, #constant
    memcpy(at, &(uint32_t){0xd65f03c0}, 4);                                                                // ret
    at += 4;
#elif defined(__x86_64__)
    memcpy(at, "\x48\x89\xf8", 3); // mov rax, rdi
    at += 3;
    for (int i = 0; i < TERMS; i++, at += 6) memcpy(at, "\x48\x05", 2), memcpy(at + 2, &constants[i], 4); // add rax, constant
    *at++ = 0xc3;                                                                                         // ret
#else
#error "no code generator for this machine"
#endif
    return (size_t)(at - start);
}

static uint64_t work(uint64_t iterations) {
    uint8_t *code = mmap(NULL, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) fail("mmap");
    uint64_t sum = 0, seed = 41;
    while (iterations--) {
        uint32_t constants[TERMS];
        for (int i = 0; i < TERMS; i++) constants[i] = (uint32_t)(random64(&seed) & 4095);
        uint8_t *at = code + (iterations & 3) * 1024;
        size_t size = generate(at, constants);
        __builtin___clear_cache((char *)at, (char *)at + size);
        function *f;
        memcpy(&f, &at, sizeof f);
        for (int i = 0; i < 100; i++) sum = f(sum);
    }
    return fold(0, sum);
}
