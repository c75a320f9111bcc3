/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target without libFuzzer: on the files given, or on inputs from a fixed generator. */
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

int main(int argc, char **argv)
{
    int ret = 0;
    for (int i = 1; i < argc; i++)
        ret |= run_file(argv[i]);
    uint64_t seed = 1;
    for (unsigned round = 0; argc == 1 && round < ROUNDS; round++) {
        uint8_t data[INPUT_MAX];
        size_t size = round % INPUT_MAX;
        for (size_t i = 0; i < size; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            /* Half of the bytes small: lengths, flags and indices that mean something. */
            data[i] = (uint8_t)(seed >> 56) >> (seed >> 40 & 1 ? 5 : 0);
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    return ret;
}
