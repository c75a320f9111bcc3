/* SPDX-License-Identifier: MIT */
/*
 * pv_metal_bridge: what drivers that translate Vulkan to another API want, MoltenVK (Metal) above
 * all. All of it is said in Vulkan or in settings, so it is compiled and tested everywhere:
 *
 * - such drivers show up only in instances that ask for them (VK_KHR_portability_enumeration);
 * - their devices want VK_KHR_portability_subset enabled, with the features of it that they have;
 * - MoltenVK has settings, read from the environment when it is loaded.
 *
 * Sharing needs nothing of Metal: MoltenVK takes host pointers (VK_EXT_external_memory_host), so
 * guest memory goes the same way as on every other driver (memory.c).
 */
#ifndef PV_GPU_VENUS_METAL_BRIDGE_H
#define PV_GPU_VENUS_METAL_BRIDGE_H

#include "gpu/venus/context.h"

/* Makes portability drivers show up, where the loader knows of them. */
void pv_metal_bridge_instance(const struct pv_vn_context *ctx, VkInstanceCreateInfo *info);

/* The feature struct of VK_KHR_portability_subset, whose header declares it only as a beta. */
struct pv_metal_bridge_features {
    VkStructureType type;
    void *next;
    VkBool32 features[15];
};

/*
 * Adds what a portability driver's device wants: a name to `names` (room for one more) and `room`
 * to the chain.
 */
void pv_metal_bridge_device(const struct pv_vn_physical *physical, VkDeviceCreateInfo *info,
                            const char **names, struct pv_metal_bridge_features *room);

/* Says each setting to `set`; before the driver is loaded. */
void pv_metal_bridge_configure(void (*set)(void *opaque, const char *name, const char *value),
                               void *opaque);

#endif
