// group: fp
// Planets attracting each other: double precision with divisions and square roots.
#define ITERATIONS 630000
#include "bench.h"
#include <math.h>

#define N 5

static struct body {
    double x[3], v[3], mass;
} bodies[N];

static double energy(void) {
    double e = 0;
    for (int i = 0; i < N; i++) {
        const struct body *a = &bodies[i];
        e += 0.5 * a->mass * (a->v[0] * a->v[0] + a->v[1] * a->v[1] + a->v[2] * a->v[2]);
        for (int j = i + 1; j < N; j++) {
            double d2 = 0;
            for (int k = 0; k < 3; k++) d2 += (a->x[k] - bodies[j].x[k]) * (a->x[k] - bodies[j].x[k]);
            e -= a->mass * bodies[j].mass / sqrt(d2);
        }
    }
    return e;
}

static uint64_t work(uint64_t iterations) {
    for (int i = 0; i < N; i++) {
        double r = 1.0 + 2.0 * i, speed = i ? sqrt(10.0 / r) : 0;
        bodies[i] = (struct body){{i ? r : 0, 0, 0.01 * i}, {0, speed, 0.001 * i}, i ? 0.001 * i : 10.0};
    }
    const double dt = 0.0005;
    while (iterations--) {
        for (int i = 0; i < N; i++)
            for (int j = i + 1; j < N; j++) {
                double d[3], d2 = 0;
                for (int k = 0; k < 3; k++) d[k] = bodies[i].x[k] - bodies[j].x[k], d2 += d[k] * d[k];
                double force = dt / (d2 * sqrt(d2));
                for (int k = 0; k < 3; k++) {
                    bodies[i].v[k] -= d[k] * bodies[j].mass * force;
                    bodies[j].v[k] += d[k] * bodies[i].mass * force;
                }
            }
        for (int i = 0; i < N; i++)
            for (int k = 0; k < 3; k++) bodies[i].x[k] += dt * bodies[i].v[k];
    }
    return fold_rounded(0, energy());
}
