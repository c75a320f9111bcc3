/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without libFuzzer: on the files given, or on inputs from a fixed generator;
 * with --kept FILE on those of a kept corpus as well, an input a line in base64; with --kept-only
 * FILE on those alone, where an input takes long.
 */
#include "base/util.h"
#include "fuzz.h"

#define ROUNDS    2000u
#define INPUT_MAX 1024u

static int run_file(const char *path)
{
    PV_CLEANUP_FILE FILE *file = fopen(path, "rb");
    static uint8_t data[1 << 20];
    if (!file) {
        perror(path);
        return 1;
    }
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), file));
    return 0;
}

static int digit_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes up to the first character that is no digit (RFC 4648, section 4); returns the bytes. */
static size_t decode_line(const char *line, uint8_t *data)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t size = 0;
    for (int value; (value = digit_value(*line)) >= 0; line++) {
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            data[size++] = (uint8_t)(bits >> count);
        }
    }
    return size;
}

/* An empty corpus is a mistake. */
static int run_kept(const char *path)
{
    PV_CLEANUP_FILE FILE *file = fopen(path, "r");
    static char line[1 << 16];
    static uint8_t data[sizeof(line)];
    unsigned count = 0;
    if (!file) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof(line), file)) {
        size_t size = decode_line(line, data);
        count += size > 0;
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%u kept inputs\n", count);
    return count == 0;
}

static void run_made_up(void)
{
    uint64_t seed = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t data[INPUT_MAX];
        size_t size = round % INPUT_MAX;
        for (size_t i = 0; i < size; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            /* Half of the bytes small: lengths, flags and indices that mean something. */
            data[i] = (uint8_t)(seed >> 56) >> (seed >> 40 & 1 ? 5 : 0);
        }
        LLVMFuzzerTestOneInput(data, size);
    }
}

int main(int argc, char **argv)
{
    int ret = 0;
    if (argc == 3 && !strcmp(argv[1], "--kept")) {
        ret = run_kept(argv[2]);
        run_made_up();
        return ret;
    }
    if (argc == 3 && !strcmp(argv[1], "--kept-only"))
        return run_kept(argv[2]);
    for (int i = 1; i < argc; i++)
        ret |= run_file(argv[i]);
    if (argc == 1)
        run_made_up();
    return ret;
}
