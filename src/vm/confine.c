/* SPDX-License-Identifier: MIT */
#include "vm/confine.h"

#include "base/error.h"
#include "base/util.h"
#include "block/disk.h"
#include "block/image.h"
#include "host/confine.h"
#include "machine/map.h"
#include "machine/varstore.h"
#include "vm/config.h"
#include "vm/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MAX_GRANTS 256u
/* A chain of images that is longer is one that comes back to itself. */
#define MAX_CHAIN 32u

struct grants {
    struct pv_grant list[MAX_GRANTS];
    char *owned[MAX_GRANTS];
    size_t count;
    bool failed; /* memory was short, or there are too many */
};

/* Takes `path`, which is NULL when there was no memory for it. */
static void grant_owned(struct grants *grants, char *path, enum pv_grant_access access)
{
    if (!path || grants->count == MAX_GRANTS) {
        grants->failed = true;
        free(path);
        return;
    }
    grants->owned[grants->count] = path;
    grants->list[grants->count++] = (struct pv_grant){path, access};
}

static void grant(struct grants *grants, const char *path, enum pv_grant_access access)
{
    if (path)
        grant_owned(grants, strdup(path), access);
}

/* For what is made, renamed or removed: what is beside it is reached too. */
static void grant_folder(struct grants *grants, const char *path, enum pv_grant_access access)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (path)
        grant_owned(grants, slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("."),
                    access);
}

/*
 * A disk, and what it rests on. What is wrong with an image is for its opening to say, which comes
 * next.
 */
static void grant_disk(struct grants *grants, const struct pv_config_disk *disk)
{
    PV_CLEANUP_FREE char *path = strdup(disk->path);
    enum pv_grant_access access = disk->read_only ? PV_GRANT_READ : PV_GRANT_WRITE;
    for (unsigned i = 0; path && i < MAX_CHAIN; i++) {
        struct pv_disk_info info = {0};
        grant(grants, path, access);
        if (pv_disk_info(&info, path, NULL) < 0)
            return;
        if (!strcmp(info.format, "vmdk"))
            grant_folder(grants, path, PV_GRANT_READ); /* its extents lie there */
        if (info.data_file)
            grant_owned(grants, pv_block_name_beside(path, info.data_file), access);
        char *next = info.backing ? pv_block_name_beside(path, info.backing) : NULL;
        pv_disk_info_finish(&info);
        free(path);
        path = next;
        access = PV_GRANT_READ;
    }
}

/* What all processes of this program read, and what the NAT does. */
static void grant_system(struct grants *grants, const struct pv_config *config)
{
    static const char *const read[] = {
        "/usr/share",       "/usr/local/share", "/usr/lib/u-boot",         "/dev/urandom",
        "/etc/resolv.conf", "/etc/localtime",   "/sys/devices/system/cpu",
    };
    static const char *const gpu_read[] = {
        "/usr/lib",       "/usr/lib64",   "/usr/local/lib", "/etc/ld.so.cache",
        "/etc/vulkan",    "/etc/drirc",   "/sys/devices",   "/sys/dev/char",
        "/sys/class/drm", "/sys/bus/pci", "/proc",
    };
    static const char *const gpu_write[] = {"/dev/dri", "/dev/shm"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(read); i++)
        grant(grants, read[i], PV_GRANT_READ);
    grant(grants, "/dev/null", PV_GRANT_WRITE);
    grant(grants, "/dev/kvm", PV_GRANT_WRITE);
    if (config->gpu != PV_GPU_VENUS)
        return;
    for (size_t i = 0; i < PV_ARRAY_SIZE(gpu_read); i++)
        grant(grants, gpu_read[i], PV_GRANT_READ);
    for (size_t i = 0; i < PV_ARRAY_SIZE(gpu_write); i++)
        grant(grants, gpu_write[i], PV_GRANT_WRITE);
}

static void grant_sockets(struct grants *grants, const struct pv_config *config)
{
    bool terminal = config->console == PV_CONSOLE_PTY;
    if (config->console == PV_CONSOLE_UNIX)
        grant_folder(grants, config->console_path, PV_GRANT_CREATE);
    for (size_t i = 0; i < config->port_count; i++) {
        terminal |= !config->ports[i].path;
        grant_folder(grants, config->ports[i].path, PV_GRANT_CREATE);
    }
    if (terminal) {
        grant(grants, "/dev/ptmx", PV_GRANT_WRITE);
        grant(grants, "/dev/pts", PV_GRANT_WRITE);
    }
    grant_folder(grants, config->control_path, PV_GRANT_CREATE);
    grant(grants, config->vsock_directory, PV_GRANT_CREATE);
    if (config->display != PV_DISPLAY_NONE)
        grant_folder(grants, config->display_path, PV_GRANT_CREATE);
}

/* Made now, so that the file will do for a grant, not the folder it is made in. */
static int make_variables(const struct pv_config *config, struct pv_error **err)
{
    struct pv_firmware_files files;
    PV_CLEANUP_FD int fd = -1;
    if (access(config->vars, F_OK) == 0)
        return 0;
    int ret = pv_firmware_choose(&files, config, err);
    return ret < 0
               ? ret
               : pv_varstore_open(&fd, config->vars, files.vars_template, PV_MAP_FLASH_BANK, err);
}

static int too_many(struct pv_error **err)
{
    return pv_error_set(err, E2BIG, "confinement: memory is short, or more than %u files are named",
                        MAX_GRANTS);
}

/* Likewise, of what has no content yet. */
static int make_file(const char *path, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    return fd < 0 ? pv_error_errno(err, errno, "%s", path) : 0;
}

int pv_vm_confine_files(const struct pv_config *config, struct pv_error **err)
{
    struct grants grants = {.count = 0};
    int ret = 0;
    if (config->sound == PV_SOUND_SDL || config->display == PV_DISPLAY_WINDOW)
        return pv_error_set(err, ENOTSUP,
                            "confinement: windows and the host's sound need files and calls that "
                            "it takes away; use VNC and --sound file=FILE, or --confine off");
    grant_system(&grants, config);
    grant(&grants, config->kernel, PV_GRANT_READ);
    grant(&grants, config->dtb, PV_GRANT_READ);
    grant(&grants, config->initrd, PV_GRANT_READ);
    grant(&grants, config->restore, PV_GRANT_READ);
    if (config->firmware && strchr(config->firmware, '/'))
        grant(&grants, config->firmware, PV_GRANT_READ);
    if (config->vars) {
        ret = make_variables(config, err);
        grant(&grants, config->vars, PV_GRANT_WRITE);
    }
    for (size_t i = 0; i < config->disk_count; i++)
        grant_disk(&grants, &config->disks[i]);
    grant_sockets(&grants, config);
    grant_folder(&grants, config->console_log, PV_GRANT_CREATE);
    if (config->sound_play && ret >= 0) {
        ret = make_file(config->sound_play, err);
        grant(&grants, config->sound_play, PV_GRANT_WRITE);
    }
    grant(&grants, config->sound_record, PV_GRANT_READ);
    for (size_t i = 0; i < config->grant_count; i++)
        grant(&grants, config->grants[i].path,
              config->grants[i].read_only ? PV_GRANT_READ : PV_GRANT_CREATE);
    /* For whoever looks into the engine. */
    grant_folder(&grants, config->watch.trace, PV_GRANT_CREATE);
    grant(&grants, config->watch.symbols, PV_GRANT_READ);
    if (config->watch.perf_map)
        grant(&grants, "/tmp", PV_GRANT_CREATE);

    if (ret >= 0)
        ret = grants.failed ? too_many(err) : pv_confine_files(grants.list, grants.count, err);
    for (size_t i = 0; i < grants.count; i++)
        free(grants.owned[i]);
    return ret;
}

unsigned pv_vm_call_sets(const struct pv_config *config)
{
    return config->gpu == PV_GPU_VENUS ? PV_CALLS_GPU : 0;
}
