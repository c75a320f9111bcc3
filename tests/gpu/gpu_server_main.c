/* SPDX-License-Identifier: MIT */
/* `gpu-server` as a program of its own, so that GPU tests need nothing else of pearvisor. */
#include "cli/gpu_server.h"

int main(int argc, char **argv)
{
    return pv_cli_gpu_server(argc, argv);
}
