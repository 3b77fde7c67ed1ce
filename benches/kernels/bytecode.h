// A byte-code program for the two interpreters: sums of a sequence in nested loops.
#ifndef BYTECODE_H
#define BYTECODE_H

enum { LOAD, ADD, SUB, MUL, XOR, SHIFT, DECREMENT, JUMP_NOT_ZERO, MOVE, HALT };

struct operation {
    uint8_t code, to, from;
    int32_t value;
};

// Registers: 0 outer counter (set by the caller), 1 inner counter, 2 sum, 3 factor, 4 scratch.
static const struct operation program[] = {
    {LOAD, 2, 0, 1},  {LOAD, 3, 0, 7},       {LOAD, 1, 0, 1000},          {ADD, 2, 1, 0},  {MUL, 3, 2, 0},
    {MOVE, 4, 3, 0},  {SHIFT, 4, 0, 9},      {XOR, 2, 4, 0},              {SUB, 2, 0, 0},  {ADD, 3, 1, 0},
    {DECREMENT, 1, 0, 0}, {JUMP_NOT_ZERO, 1, 0, 3}, {DECREMENT, 0, 0, 0}, {JUMP_NOT_ZERO, 0, 0, 2}, {HALT, 0, 0, 0},
};

#endif
