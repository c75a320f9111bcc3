/* SPDX-License-Identifier: MIT */
/*
 * The vtest socket in front of a renderer: what Mesa's drivers speak in place of virtio-gpu when
 * they are told to (VN_DEBUG=vtest, VTEST_SOCKET_NAME=PATH). With it native Vulkan programs run
 * through the renderer without a virtual machine. Whoever can open the socket has the GPU.
 */
#ifndef PV_GPU_VTEST_H
#define PV_GPU_VTEST_H

struct pv_error;
struct pv_renderer_config;
struct pv_vtest;

/*
 * Listens at `path` (taken over when a socket is there already) and serves each client on a thread
 * of its own with a renderer of its own. `config`'s callback and need_fd are the server's.
 */
int pv_vtest_create(struct pv_vtest **out, const char *path, const char *renderer,
                    const struct pv_renderer_config *config, struct pv_error **err);

/* Disconnects the clients, waits for their threads, removes the socket. NULL is fine. */
void pv_vtest_destroy(struct pv_vtest *vtest);

/* Serves one client that is already connected, until it hangs up. Takes the descriptor over. */
int pv_vtest_serve(int fd, const char *renderer, const struct pv_renderer_config *config,
                   struct pv_error **err);

#endif
