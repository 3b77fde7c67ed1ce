// archives: libquantum.a
// flags: -fopenmp
// Factors a small number with libquantum, from several bases, as a benchmark of simulated quantum gates.
#include <complex.h>
#include <quantum.h>
#include <stdio.h>
#include <stdlib.h>

static int order(int n, int x) {
    const int width = quantum_getwidth(n * n), swidth = quantum_getwidth(n);
    quantum_reg reg = quantum_new_qureg(0, width);
    for (int i = 0; i < width; i++) quantum_hadamard(i, &reg);
    quantum_addscratch(3 * swidth + 2, &reg);
    quantum_exp_mod_n(n, x, width, swidth, &reg);
    for (int i = 0; i < 3 * swidth + 2; i++) quantum_bmeasure(0, &reg);
    quantum_qft(width, &reg);
    for (int i = 0; i < width / 2; i++) {
        quantum_cnot(i, width - i - 1, &reg);
        quantum_cnot(width - i - 1, i, &reg);
        quantum_cnot(i, width - i - 1, &reg);
    }
    printf("%d qubits, %d states\n", reg.width, reg.size);
    int a = (int)quantum_measure(reg), b = 1 << width;
    if (a < 0) return 1;
    quantum_frac_approx(&a, &b, width);
    printf("measured %d / %d\n", a, b);
    quantum_delete_qureg(&reg);
    return 0;
}

int main(void) {
    srand(1);
    return order(85, 3) || order(85, 7) || order(85, 11);
}
