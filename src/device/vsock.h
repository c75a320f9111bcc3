/* SPDX-License-Identifier: MIT */
/*
 * virtio-vsock (section 5.10): stream sockets between programs in the guest and on the host, by
 * context ID (the guest's own; 2 is the host) and port. On the host each port is a unix socket:
 *
 *  - A guest that connects to port N reaches whoever listens at DIR/vsock.sock_N.
 *  - A host program connects to DIR/vsock.sock, writes "CONNECT N\n", reads "OK M\n" (M is the
 *    port it has on the host's side) and is connected to port N in the guest. When nobody listens
 *    there, the socket is closed instead.
 */
#ifndef PV_DEVICE_VSOCK_H
#define PV_DEVICE_VSOCK_H

#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

#define PV_VSOCK_MIN_CID 3u
#define PV_VSOCK_MAX_CID UINT32_C(0xfffffffe)

/* `directory` must exist; DIR/vsock.sock is made in it, and removed with the device. */
int pv_vsock_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, uint32_t cid, const char *directory,
                    struct pv_error **err);

#endif
