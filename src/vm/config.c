/* SPDX-License-Identifier: MIT */
#include "vm/config.h"

#include "base/util.h"

void pv_config_init(struct pv_config *config)
{
    *config = (struct pv_config){
        .cpus = 1,
        .memory = PV_GIB,
        .msi = PV_MSI_ITS,
        .transport = PV_TRANSPORT_PCI,
        .hotplug_slots = 4,
        .console = PV_CONSOLE_STDIO,
        .gpu_heads = 1,
        .gpu_width = 1280,
        .gpu_height = 800,
        .gpu_window = 4 * PV_GIB,
    };
}
