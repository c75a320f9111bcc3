/* SPDX-License-Identifier: MIT */
/*
 * Files by the system's sandbox, for good and for all threads. There is no list of system calls on
 * macOS; what the profile takes away beyond files stands in for the worst of them.
 */
#include "host/confine.h"

#include "base/buffer.h"
#include "base/error.h"
#include "host/sandbox_profile.h"

#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>

#define MAX_PROFILE (1u << 20)

/*
 * As <sandbox.h> has them, in which they are deprecated in favour of entitlements, which whoever
 * signs a program gives to all that it does; a profile is of one VM. Flags 0: it is a text.
 */
int sandbox_init(const char *profile, uint64_t flags, char **message);
void sandbox_free_error(char *message);

int pv_confine_files(const struct pv_grant *grants, size_t count, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer profile = PV_BUFFER_INIT(MAX_PROFILE);
    char *message = NULL;
    int ret = pv_sandbox_profile(&profile, grants, count, err);
    if (ret < 0)
        return ret;
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){0}) < 0)
        return pv_error_errno(err, errno, "confinement: core dumps");
    if (sandbox_init(profile.data, 0, &message) < 0) {
        ret = pv_error_set(err, EPERM, "confinement: macOS refuses the sandbox: %s",
                           message ? message : "no reason given");
        sandbox_free_error(message);
        return ret;
    }
    return 1;
}

int pv_confine_calls(unsigned sets, struct pv_error **err)
{
    return 0;
}
