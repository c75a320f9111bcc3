/* SPDX-License-Identifier: MIT */
/* Finding the host's Vulkan loader and a driver's procs, without Vulkan at link time. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "gpu/venus/context.h"
#include "gpu/venus/metal_bridge.h"

#ifdef __APPLE__
#define DEFAULT_LIBRARY "libvulkan.1.dylib"

static void set_environment(void *opaque, const char *name, const char *value)
{
    setenv(name, value, false); /* what the user says counts */
}

static void configure(void)
{
    pv_metal_bridge_configure(set_environment, NULL);
}
#else
#define DEFAULT_LIBRARY "libvulkan.so.1"

static void configure(void) {}
#endif

int pv_vn_driver_open(struct pv_vn_driver *driver, const char *library, struct pv_error **err)
{
    const char *name = library ? library : DEFAULT_LIBRARY;
    configure();
    driver->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!driver->library)
        return pv_error_set(err, ENOENT,
                            "no Vulkan loader (%s); install libvulkan1 and a driver "
                            "(mesa-vulkan-drivers has one for machines without a GPU)",
                            dlerror());
    driver->get_proc = (PFN_vkGetInstanceProcAddr)dlsym(driver->library, "vkGetInstanceProcAddr");
    if (!driver->get_proc) {
        pv_vn_driver_close(driver);
        return pv_error_set(err, ENOENT, "%s has no vkGetInstanceProcAddr", name);
    }
    return 0;
}

void pv_vn_driver_close(struct pv_vn_driver *driver)
{
    if (driver->library)
        dlclose(driver->library);
    *driver = (struct pv_vn_driver){0};
}

void pv_vn_procs_load(PFN_vkVoidFunction *procs, enum pv_vn_level level,
                      PFN_vkVoidFunction (*get)(void *handle, const char *name), void *handle)
{
    for (unsigned i = 0; i < PV_VN_COMMAND_COUNT; i++) {
        procs[i] = NULL;
        if (!pv_vn_proc_names[i] || pv_vn_commands[i].level != level)
            continue;
        char name[96];
        for (const char *at = pv_vn_proc_names[i]; *at && !procs[i];) {
            size_t length = strcspn(at, " ");
            snprintf(name, sizeof(name), "%.*s", (int)length, at);
            procs[i] = get(handle, name);
            at += length + (at[length] == ' ');
        }
    }
}
