/* SPDX-License-Identifier: MIT */
/* A guest's agent whose every byte is the input's, behind each request that the host makes. */
#include "agent/client.h"
#include "agent/wire.h"
#include "fuzz.h"

#include "base/error.h"
#include "base/util.h"

#include <fcntl.h>
#include <sys/socket.h>

static void request(int fd, int nowhere, unsigned which)
{
    static const char *const argv[] = {"true", NULL}, *const words[] = {"info"};
    static struct pv_agent_frame answer;
    char *parts[17];
    unsigned mode;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const struct pv_agent_exec exec = {
        .argv = argv, .input = which & 4 ? nowhere : -1, .output = nowhere, .error = nowhere};
    switch (which % 4) {
    case 0: pv_agent_run(fd, &exec, &err); break;
    case 1: pv_agent_get(fd, "/file", nowhere, &mode, &err); break;
    case 2: pv_agent_put(fd, nowhere, "/file", "name", 0600, &err); break;
    default:
        if (pv_agent_ask(fd, words, PV_ARRAY_SIZE(words), &answer, &err) == 0)
            pv_agent_words(&answer, parts, PV_ARRAY_SIZE(parts) - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    int fds[2];
    const unsigned which = (unsigned)fuzz_take(&input, 1);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    FUZZ_REQUIRE(nowhere >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    if (input.size)
        FUZZ_REQUIRE(send(fds[1], input.data, input.size, MSG_NOSIGNAL) == (ssize_t)input.size);
    shutdown(fds[1], SHUT_WR);
    request(fds[0], nowhere, which);
    close(fds[0]);
    close(fds[1]);
    close(nowhere);
    return 0;
}
