/* SPDX-License-Identifier: MIT */
/* Loops that the compiler makes vector code of. Compiled with -O3, sums in any order. */
#include <string.h>

#include "suite.h"

#define N 4096

static float fa[N], fb[N], fc[N];
static double da[N], db[N], dc[N];

static void prepare(void)
{
    for (unsigned i = 0; i < N; i++) {
        fb[i] = (float)i * 0.5f;
        fc[i] = 3.0f - (float)i * 0.25f;
        db[i] = i * 0.5;
        dc[i] = 3.0 - i * 0.25;
    }
}

static double saxpy(void)
{
    prepare();
    memset(fa, 0, sizeof(fa));
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < N; i++)
            fa[i] += 0.5f * fb[i];
        touched(fa);
    }
    result = digest(fa, sizeof(fa));
    return 1000.0 * N;
}

static double triad(void)
{
    prepare();
    for (unsigned round = 0; round < 500; round++) {
        for (unsigned i = 0; i < N; i++)
            da[i] = db[i] + 3.0 * dc[i];
        touched(da);
    }
    result = digest(da, sizeof(da));
    return 500.0 * N;
}

static double dot(void)
{
    float sum = 0;
    prepare();
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < N; i++)
            sum += fb[i] * fc[i];
        touched(fb);
    }
    result = digest(&sum, sizeof(sum));
    return 1000.0 * N;
}

static double matmul_double(void)
{
    enum { SIDE = 96 };
    static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
    for (unsigned i = 0; i < SIDE; i++)
        for (unsigned j = 0; j < SIDE; j++) {
            a[i][j] = i + 0.5 * j;
            b[i][j] = i - 0.25 * j;
            c[i][j] = 0;
        }
    for (unsigned i = 0; i < SIDE; i++)
        for (unsigned k = 0; k < SIDE; k++)
            for (unsigned j = 0; j < SIDE; j++)
                c[i][j] += a[i][k] * b[k][j];
    result = digest(c, sizeof(c));
    return SIDE * SIDE * SIDE;
}

static double matmul_float(void)
{
    enum { SIDE = 128 };
    static float a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
    for (unsigned i = 0; i < SIDE; i++)
        for (unsigned j = 0; j < SIDE; j++) {
            a[i][j] = (float)i + 0.5f * (float)j;
            b[i][j] = (float)i - 0.25f * (float)j;
            c[i][j] = 0;
        }
    for (unsigned i = 0; i < SIDE; i++)
        for (unsigned k = 0; k < SIDE; k++)
            for (unsigned j = 0; j < SIDE; j++)
                c[i][j] += a[i][k] * b[k][j];
    result = digest(c, sizeof(c));
    return SIDE * SIDE * SIDE;
}

/* 16 coefficients over 16-bit samples, saturated. */
static double fir(void)
{
    enum { TAPS = 16, SAMPLES = 16384 };
    static int16_t in[SAMPLES + TAPS], out[SAMPLES], taps[TAPS];
    fill(in, sizeof(in), 3);
    fill(taps, sizeof(taps), 4);
    for (unsigned round = 0; round < 32; round++) {
        for (unsigned i = 0; i < SAMPLES; i++) {
            int32_t sum = 1 << 14;
            for (unsigned t = 0; t < TAPS; t++)
                sum += in[i + t] * (taps[t] >> 4);
            sum >>= 15;
            out[i] = (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
        }
        touched(out);
    }
    result = digest(out, sizeof(out));
    return 32.0 * SAMPLES;
}

/* The 3 by 3 weights 1 2 1, 2 4 2, 1 2 1 over bytes. */
static double blur(void)
{
    enum { WIDTH = 512, HEIGHT = 256 };
    static uint8_t in[HEIGHT][WIDTH], out[HEIGHT][WIDTH];
    fill(in, sizeof(in), 5);
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned y = 1; y < HEIGHT - 1; y++) {
            const uint8_t *a = in[y - 1], *b = in[y], *c = in[y + 1];
            for (unsigned x = 1; x < WIDTH - 1; x++) {
                unsigned left = a[x - 1] + 2u * b[x - 1] + c[x - 1];
                unsigned middle = a[x] + 2u * b[x] + c[x];
                unsigned right = a[x + 1] + 2u * b[x + 1] + c[x + 1];
                out[y][x] = (uint8_t)((left + 2 * middle + right + 8) >> 4);
            }
        }
        touched(out);
    }
    result = digest(out, sizeof(out));
    return 8.0 * WIDTH * HEIGHT;
}

/* Red, green and blue interleaved to grey: structures of three, widening products. */
static double grey(void)
{
    enum { PIXELS = 32768 };
    static uint8_t in[3 * PIXELS], out[PIXELS];
    fill(in, sizeof(in), 6);
    for (unsigned round = 0; round < 32; round++) {
        for (unsigned i = 0; i < PIXELS; i++)
            out[i] = (uint8_t)((77u * in[3 * i] + 150u * in[3 * i + 1] + 29u * in[3 * i + 2]) >> 8);
        touched(out);
    }
    result = digest(out, sizeof(out));
    return 32.0 * PIXELS;
}

/* Sums of absolute differences, as video encoders have them. */
static double differences(void)
{
    static uint8_t a[N], b[N];
    uint64_t sum = 0;
    fill(a, sizeof(a), 7);
    fill(b, sizeof(b), 8);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned each = 0;
        for (unsigned i = 0; i < N; i++)
            each += (unsigned)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
        touched(a);
        sum += each;
    }
    result = sum;
    return 1000.0 * N;
}

static double conversions(void)
{
    static int32_t in[N];
    static int16_t out[N];
    fill(in, sizeof(in), 9);
    for (unsigned round = 0; round < 500; round++) {
        for (unsigned i = 0; i < N; i++)
            out[i] = (int16_t)((float)in[i] * (1.0f / 65536.0f));
        touched(out);
    }
    result = digest(out, sizeof(out));
    return 500.0 * N;
}

const struct bench vector_benches[] = {
    {"saxpy", saxpy},
    {"triad", triad},
    {"dot", dot},
    {"matmul-double", matmul_double},
    {"matmul-float", matmul_float},
    {"fir-s16", fir},
    {"blur-u8", blur},
    {"grey-rgb", grey},
    {"sad-u8", differences},
    {"convert-s32", conversions},
    {NULL, NULL},
};
