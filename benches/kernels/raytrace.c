// group: fp
// Rays against spheres: square roots, compares and branches on floating-point values, small structures passed around.
#define ITERATIONS 1320
#include "bench.h"
#include <math.h>

struct vector {
    double x, y, z;
};
struct sphere {
    struct vector centre;
    double radius, shade;
};

static struct vector minus(struct vector a, struct vector b) { return (struct vector){a.x - b.x, a.y - b.y, a.z - b.z}; }
static struct vector along(struct vector a, struct vector b, double t) { return (struct vector){a.x + b.x * t, a.y + b.y * t, a.z + b.z * t}; }
static double dot(struct vector a, struct vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static struct vector unit(struct vector a) {
    double l = 1 / sqrt(dot(a, a));
    return (struct vector){a.x * l, a.y * l, a.z * l};
}

#define SPHERES 9
static struct sphere spheres[SPHERES];

__attribute__((noinline)) static double trace(struct vector from, struct vector direction, int depth) {
    double nearest = 1e30;
    const struct sphere *hit = NULL;
    for (int i = 0; i < SPHERES; i++) {
        struct vector oc = minus(from, spheres[i].centre);
        double b = dot(oc, direction), c = dot(oc, oc) - spheres[i].radius * spheres[i].radius, d = b * b - c;
        if (d <= 0) continue;
        double t = -b - sqrt(d);
        if (t > 1e-6 && t < nearest) nearest = t, hit = &spheres[i];
    }
    if (!hit) return 0.2 + 0.3 * fabs(direction.y);
    struct vector point = along(from, direction, nearest), normal = unit(minus(point, hit->centre));
    double light = fmax(0, dot(normal, unit((struct vector){1, 2, -1}))) * hit->shade;
    if (depth == 0) return light;
    return light + 0.5 * trace(point, along(direction, normal, -2 * dot(direction, normal)), depth - 1);
}

static uint64_t work(uint64_t side) {
    for (int i = 0; i < SPHERES; i++)
        spheres[i] = (struct sphere){{i % 3 * 2.0 - 2, i / 3 * 2.0 - 2, 8 + i % 2}, 0.6 + 0.05 * i, 0.3 + 0.07 * i};
    double total = 0;
    for (uint64_t y = 0; y < side; y++)
        for (uint64_t x = 0; x < side; x++)
            total += trace((struct vector){0}, unit((struct vector){(double)x / (double)side - 0.5, (double)y / (double)side - 0.5, 1}), 3);
    return fold_rounded(0, total / (double)(side * side));
}
