/* SPDX-License-Identifier: MIT */
/* Files: Landlock (Linux 5.13), whose rules grow with the kernel; what it lacks is not asked for.
 */
#include "host/confine.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Later than the headers of Debian 12's kernel (ABI 3, 5). */
#define ACCESS_TRUNCATE  (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_WRITE                                                                               \
    (ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)
#define ACCESS_CREATE                                                                              \
    (ACCESS_WRITE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                 \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK)
/* What a rule on something that is not a folder may say. */
#define ACCESS_OF_FILES                                                                            \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |   \
     ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)
/* All that ABI 1 knows: bits 0 to 12. */
#define ACCESS_ABI_1 ((1ULL << 13) - 1)

/* The accesses that this kernel can refuse; 0 when it has no Landlock. */
static uint64_t known_accesses(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    uint64_t known = abi >= 1 ? ACCESS_ABI_1 : 0;
    if (abi >= 2)
        known |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        known |= ACCESS_TRUNCATE;
    if (abi >= 5)
        known |= ACCESS_IOCTL_DEV;
    return known;
}

static int add_grant(int rules, uint64_t known, const struct pv_grant *grant, struct pv_error **err)
{
    static const uint64_t accesses[] = {
        [PV_GRANT_READ] = ACCESS_READ,
        [PV_GRANT_WRITE] = ACCESS_WRITE,
        [PV_GRANT_CREATE] = ACCESS_CREATE,
    };
    struct landlock_path_beneath_attr beneath = {.allowed_access = accesses[grant->access] & known};
    PV_CLEANUP_FD int fd = open(grant->path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES
                   ? 0
                   : pv_error_errno(err, errno, "confinement: %s", grant->path);
    if (!S_ISDIR(st.st_mode))
        beneath.allowed_access &= ACCESS_OF_FILES;
    beneath.parent_fd = fd;
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
        return pv_error_errno(err, errno, "confinement: %s", grant->path);
    return 0;
}

/*
 * Of root's powers these stay: a VMM that root runs still opens disks that are not root's, and
 * listens on the port that it was told to.
 */
static int drop_capabilities(struct pv_error **err)
{
    static const unsigned kept[] = {CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_NET_BIND_SERVICE,
                                    CAP_SYS_NICE};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3];
    uint32_t mask = 0;
    for (size_t i = 0; i < PV_ARRAY_SIZE(kept); i++)
        mask |= 1u << kept[i];
    if (syscall(SYS_capget, &header, has) < 0)
        return pv_error_errno(err, errno, "confinement: capabilities");
    for (size_t i = 0; i < PV_ARRAY_SIZE(has); i++) {
        const uint32_t keep = i ? 0 : mask; /* all four are below 32 */
        has[i].effective &= keep;
        has[i].permitted &= keep;
        has[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, has) < 0)
        return pv_error_errno(err, errno, "confinement: capabilities");
    return 0;
}

int pv_confine_files(const struct pv_grant *grants, size_t count, struct pv_error **err)
{
    const uint64_t known = known_accesses();
    const struct landlock_ruleset_attr attr = {.handled_access_fs = known};
    int ret = drop_capabilities(err);
    if (ret < 0)
        return ret;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        setrlimit(RLIMIT_CORE, &(struct rlimit){0}) < 0)
        return pv_error_errno(err, errno, "confinement: privileges");
    if (!known)
        return 0;
    PV_CLEANUP_FD int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (rules < 0)
        return pv_error_errno(err, errno, "confinement: files");
    for (size_t i = 0; i < count && ret >= 0; i++)
        ret = add_grant(rules, known, &grants[i], err);
    if (ret >= 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        ret = pv_error_errno(err, errno, "confinement: files");
    return ret < 0 ? ret : 1;
}
