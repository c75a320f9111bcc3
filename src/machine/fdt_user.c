/* SPDX-License-Identifier: MIT */
/*
 * A device tree that a person wrote. It is checked as a whole before anything else looks at it:
 * libfdt's other functions trust what its offsets say. What only this machine knows replaces what
 * the tree has: the memory, and in /chosen the initrd, the seeds and, where there is one, the
 * command line. The rest is its author's.
 */
#include "machine/fdt.h"

#include "base/error.h"
#include "base/util.h"
#include "machine/map.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <string.h>

#define UART "/pl011@9000000"

/* Nodes, properties and names. */
#define MAX_CONTENT (512u * 1024)

/* Each costs a walk over the tree, which a hostile one makes long; boards have one or two. */
#define MAX_MEMORY_NODES 16u

/* The node at the root, made where there is none; negative: libfdt's error. */
static int root_node(void *fdt, const char *name)
{
    int node = fdt_subnode_offset(fdt, 0, name);
    return node == -FDT_ERR_NOTFOUND ? fdt_add_subnode(fdt, 0, name) : node;
}

static int set_initrd(void *fdt, int chosen, const struct pv_fdt_config *config)
{
    static const char *const names[] = {"linux,initrd-start", "linux,initrd-end"};
    const uint64_t values[] = {config->initrd_start, config->initrd_start + config->initrd_size};
    int ret = 0;

    for (unsigned i = 0; i < PV_ARRAY_SIZE(names) && !ret; i++) {
        ret = config->initrd_size ? fdt_setprop_u64(fdt, chosen, names[i], values[i])
                                  : fdt_delprop(fdt, chosen, names[i]);
        if (ret == -FDT_ERR_NOTFOUND)
            ret = 0;
    }
    return ret;
}

static int set_chosen(void *fdt, const struct pv_fdt_config *config)
{
    int chosen = root_node(fdt, "chosen");
    int ret = chosen < 0 ? chosen : set_initrd(fdt, chosen, config);

    if (!ret)
        ret = fdt_setprop(fdt, chosen, "kaslr-seed", config->seed, 8);
    if (!ret)
        ret = fdt_setprop(fdt, chosen, "rng-seed", config->seed + 8, PV_FDT_SEED_SIZE - 8);
    if (!ret && config->bootargs)
        ret = fdt_setprop_string(fdt, chosen, "bootargs", config->bootargs);
    if (!ret && !fdt_getprop(fdt, chosen, "stdout-path", NULL) && fdt_path_offset(fdt, UART) >= 0)
        ret = fdt_setprop_string(fdt, chosen, "stdout-path", UART);
    return ret;
}

/* The first node at the root that describes memory, or negative. */
static int find_memory(const void *fdt)
{
    int node, len;

    fdt_for_each_subnode(node, fdt, 0)
    {
        const char *type = fdt_getprop(fdt, node, "device_type", &len);
        if (type && len == sizeof("memory") && !memcmp(type, "memory", sizeof("memory")))
            break;
    }
    return node;
}

static int set_memory(void *fdt, uint64_t size)
{
    char name[32];
    int node, ret = 0;

    for (unsigned i = 0; !ret && (node = find_memory(fdt)) >= 0; i++)
        ret = i < MAX_MEMORY_NODES ? fdt_del_node(fdt, node) : -FDT_ERR_BADVALUE;
    if (ret)
        return ret;
    snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)PV_MAP_RAM);
    node = root_node(fdt, name);
    ret = node < 0 ? node : fdt_setprop_string(fdt, node, "device_type", "memory");
    if (!ret)
        ret = fdt_delprop(fdt, node, "reg");
    if (ret == -FDT_ERR_NOTFOUND)
        ret = 0;
    return ret ? ret : fdt_appendprop_addrrange(fdt, 0, node, "reg", PV_MAP_RAM, size);
}

/*
 * That it is whole, of a version that says how long its parts are, and not made to keep us busy.
 * Blobs come with room at their end, which does not count.
 */
static int check(const void *blob, size_t size, struct pv_error **err)
{
    int ret = size < FDT_V17_SIZE ? -FDT_ERR_TRUNCATED : fdt_check_header(blob);

    if (!ret && fdt_version(blob) < 17)
        ret = -FDT_ERR_BADVERSION;
    if (!ret && (uint64_t)fdt_size_dt_struct(blob) + fdt_size_dt_strings(blob) > MAX_CONTENT)
        return pv_error_set(err, E2BIG, "a device tree of more than %u KiB", MAX_CONTENT / 1024);
    if (!ret)
        ret = fdt_check_full(blob, size);
    return ret ? pv_error_set(err, EINVAL, "not a device tree blob, or a damaged one: %s",
                              fdt_strerror(ret))
               : 0;
}

int pv_fdt_adopt(void *buf, size_t size, const void *blob, size_t blob_size,
                 const struct pv_fdt_config *config, struct pv_error **err)
{
    int ret = check(blob, blob_size, err);

    if (ret < 0)
        return ret;
    ret = fdt_open_into(blob, buf, (int)size);
    if (!ret)
        ret = set_memory(buf, config->ram_size);
    if (!ret)
        ret = set_chosen(buf, config);
    if (ret == -FDT_ERR_NOSPACE)
        return pv_error_set(err, E2BIG,
                            "no room for what goes into it: it may have %" PRIu64 " KiB then",
                            size / PV_KIB);
    return ret ? pv_error_set(err, EINVAL, "/memory and /chosen cannot be put into it: %s",
                              fdt_strerror(ret))
               : 0;
}
