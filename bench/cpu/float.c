/* SPDX-License-Identifier: MIT */
/* Floating point in scalar code, as gcc -O2 leaves it. */
#include <math.h>
#include <string.h>

#include "suite.h"

#define BODIES 5

static double bits(double x)
{
    uint64_t word;
    memcpy(&word, &x, 8);
    result = mix(result, word);
    return x;
}

/* Five bodies under gravity, a step of time after the other. */
static double nbody(void)
{
    struct body {
        double at[3], speed[3], mass;
    } bodies[BODIES];
    for (unsigned i = 0; i < BODIES; i++)
        bodies[i] = (struct body){
            {i * 3.0, 1.0 / (i + 1), i * 0.25}, {0.1 * i, 0.3 - 0.1 * i, 0.05}, 1.0 / (1 + i * i)};
    for (unsigned step = 0; step < 20000; step++) {
        for (unsigned i = 0; i < BODIES; i++) {
            for (unsigned j = i + 1; j < BODIES; j++) {
                double d[3], square = 0;
                for (unsigned k = 0; k < 3; k++) {
                    d[k] = bodies[i].at[k] - bodies[j].at[k];
                    square += d[k] * d[k];
                }
                double pull = 0.01 / (square * sqrt(square));
                for (unsigned k = 0; k < 3; k++) {
                    bodies[i].speed[k] -= d[k] * bodies[j].mass * pull;
                    bodies[j].speed[k] += d[k] * bodies[i].mass * pull;
                }
            }
        }
        for (unsigned i = 0; i < BODIES; i++)
            for (unsigned k = 0; k < 3; k++)
                bodies[i].at[k] += 0.01 * bodies[i].speed[k];
    }
    for (unsigned i = 0; i < BODIES; i++)
        bits(bodies[i].at[0]);
    return 20000;
}

static double mandelbrot(void)
{
    uint64_t steps = 0;
    for (unsigned y = 0; y < 100; y++) {
        for (unsigned x = 0; x < 100; x++) {
            double a = 0, b = 0, real = 0.03 * x - 2.2, imaginary = 0.03 * y - 1.5;
            for (unsigned i = 0; i < 200 && a * a + b * b < 4; i++, steps++) {
                double next = a * a - b * b + real;
                b = 2 * a * b + imaginary;
                a = next;
            }
        }
    }
    result = steps;
    return (double)steps;
}

/* The largest eigenvalue of an infinite matrix's corner: divisions and conversions. */
static double spectral(void)
{
    enum { N = 200 };
    static double u[N], v[N];
    for (unsigned i = 0; i < N; i++)
        u[i] = 1;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < N; i++) {
            double sum = 0;
            for (unsigned j = 0; j < N; j++)
                sum += u[j] / (double)((i + j) * (i + j + 1) / 2 + i + 1);
            v[i] = sum;
        }
        memcpy(u, v, sizeof(u));
    }
    bits(u[0]);
    return 4.0 * N * N;
}

/* The C library's polynomials: tables, fused sums, roundings, integer and float moves. */
static double functions(void)
{
    double sum = 0;
    for (unsigned i = 1; i <= 40000; i++) {
        double x = i * 0.0017;
        sum += sin(x) + exp(-x) + log(x) + floor(x) + pow(x, 0.3);
    }
    bits(sum);
    return 5 * 40000;
}

static double floats_to_bytes(void)
{
    static float samples[65536];
    static uint8_t bytes[65536];
    uint64_t state = 1;
    for (unsigned i = 0; i < 65536; i++) {
        state = state * 6364136223846793005u + 1;
        samples[i] = (float)(state >> 40) / 65536.0f - 20.0f;
    }
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 65536; i++) {
            float x = samples[i];
            bytes[i] = (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : (int)(x + 0.5f));
        }
        touched(bytes);
    }
    result = digest(bytes, sizeof(bytes));
    return 20 * 65536;
}

const struct bench float_benches[] = {
    {"nbody", nbody},    {"mandelbrot", mandelbrot},         {"spectral", spectral},
    {"libm", functions}, {"float-to-byte", floats_to_bytes}, {NULL, NULL},
};
