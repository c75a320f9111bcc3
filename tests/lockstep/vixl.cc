/* SPDX-License-Identifier: MIT */
/*
 * A second opinion beside oracle.c: the simulator of VIXL, Arm's library, executes the same
 * requests in this process. C++ because its interface is; nothing of it is linked with the product.
 *
 * It has no FPSR and one mode of FPCR, hence CASE_PLAIN_FP. An instruction that it does not know
 * makes it abort(), and some make it crash, which here becomes the answer UNKNOWN for the word.
 */
#include "case.h"

#include <aarch64/simulator-aarch64.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace vixl::aarch64;

static const uint64_t UNKNOWN = 2;

static sigjmp_buf aborted;
static case_state state;

static void on_abort(int)
{
    siglongjmp(aborted, 1);
}

static void load(Simulator &sim)
{
    for (unsigned i = 0; i < 31; i++)
        sim.WriteXRegister(i, (int64_t)state.x[i], Simulator::NoRegLog);
    sim.WriteXRegister(31, (int64_t)state.sp, Simulator::NoRegLog, Reg31IsStackPointer);
    for (unsigned i = 0; i < 32; i++) {
        Simulator::qreg_t value;
        memcpy(value.val, state.v[i], sizeof(value.val));
        sim.WriteQRegister(i, value, Simulator::NoRegLog);
    }
    sim.ReadNzcv().SetRawValue((uint32_t)state.nzcv);
    sim.ReadFpcr().SetRawValue((uint32_t)state.fpcr);
    sim.ClearLocalMonitor();
    sim.WritePc(reinterpret_cast<const Instruction *>((uintptr_t)CASE_PC), Simulator::NoBranchLog);
}

static void store(Simulator &sim)
{
    for (unsigned i = 0; i < 31; i++)
        state.x[i] = (uint64_t)sim.ReadXRegister(i);
    state.sp = (uint64_t)sim.ReadXRegister(31, Reg31IsStackPointer);
    for (unsigned i = 0; i < 32; i++) {
        const Simulator::qreg_t value = sim.ReadQRegister(i);
        memcpy(state.v[i], value.val, sizeof(value.val));
    }
    state.nzcv = sim.ReadNzcv().GetRawValue();
    state.taken = (uintptr_t)sim.ReadPc() == CASE_TAKEN;
}

static uint64_t run_case(Simulator &sim, const case_request &request, uint32_t number)
{
    uint8_t *const memory = (uint8_t *)(uintptr_t)CASE_MEMORY;
    case_make(&state, &request, number);
    if (case_uses_memory(request.word[0]))
        memcpy(memory, state.memory, CASE_MEMORY_SIZE);
    load(sim);
    for (unsigned i = 0; i < CASE_WORDS && request.word[i] != CASE_NOP; i++)
        sim.ExecuteInstruction();
    store(sim);
    if (case_uses_memory(request.word[0]))
        memcpy(state.memory, memory, CASE_MEMORY_SIZE);
    return case_hash(&state, &request);
}

static bool map_fixed(uint32_t at, size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    return mmap((void *)(uintptr_t)at, size, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}

/* Answers for every case of a word; from the one that aborts on, they are unknown. */
static void answer(Simulator &sim, const case_request &request, uint32_t cases, bool states,
                   FILE *out)
{
    static volatile uint32_t number;
    static volatile bool known;
    number = 0;
    known = true;
    memcpy((void *)(uintptr_t)CASE_PC, request.word, sizeof(request.word));
    if (sigsetjmp(aborted, 1) != 0)
        known = false;
    for (; number < cases; number = number + 1) {
        const uint64_t hash = known ? run_case(sim, request, number) : UNKNOWN;
        if (states)
            fwrite(&state, sizeof(state), 1, out);
        else
            fwrite(&hash, sizeof(hash), 1, out);
    }
}

int main(int argc, char **argv)
{
    const uint32_t cases = argc > 1 ? (uint32_t)atoi(argv[1]) : 1;
    /* VIXL writes about unknown instructions to standard output. */
    FILE *const out = fdopen(dup(STDOUT_FILENO), "wb");
    if (!out || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr) ||
        !map_fixed(CASE_MEMORY, CASE_MEMORY_SIZE) || !map_fixed(CASE_CODE, 4096))
        return 1;
    struct sigaction action = {};
    action.sa_handler = on_abort;
    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    Decoder decoder;
    Simulator sim(&decoder);
    sim.SetCPUFeatures(vixl::CPUFeatures::All());
    sim.SilenceExclusiveAccessWarning();
    for (case_request request; fread(&request, sizeof(request), 1, stdin) == 1;)
        answer(sim, request, cases, argc > 2, out);
    return fclose(out) ? 1 : 0;
}
