/* SPDX-License-Identifier: MIT */
#ifndef PV_CLI_GPU_SERVER_H
#define PV_CLI_GPU_SERVER_H

/* `pearvisor gpu-server`: arguments after the subcommand's name, which is argv[0]. */
int pv_cli_gpu_server(int argc, char **argv);

#endif
