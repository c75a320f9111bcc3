/* SPDX-License-Identifier: MIT */
/*
 * Runs in a Linux guest, static: `vsock-echo listen PORT` or `vsock-echo connect PORT` (of the
 * host's), then sends back what comes until its end, and says how much that was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h> /* needs sys/socket.h before it */

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static long long echo(int fd)
{
    static char data[1 << 16];
    long long total = 0;
    ssize_t n, done;
    while ((n = read(fd, data, sizeof(data))) > 0) {
        for (done = 0; done < n;) {
            ssize_t part = write(fd, data + done, (size_t)(n - done));
            if (part < 0)
                return -1;
            done += part;
        }
        total += n;
    }
    return n < 0 ? -1 : total;
}

int main(int argc, char **argv)
{
    struct sockaddr_vm address = {.svm_family = AF_VSOCK};
    if (argc != 3)
        return 2;
    address.svm_port = (unsigned)strtoul(argv[2], NULL, 10);
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (fd < 0)
        return fail("socket");
    if (!strcmp(argv[1], "listen")) {
        address.svm_cid = VMADDR_CID_ANY;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0)
            return fail("listen");
        puts("listening");
        fflush(stdout);
        fd = accept(fd, NULL, NULL);
        if (fd < 0)
            return fail("accept");
    } else {
        address.svm_cid = VMADDR_CID_HOST;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            return fail("connect");
    }
    long long total = echo(fd);
    if (total < 0)
        return fail("echo");
    printf("echoed %lld\n", total);
    return 0;
}
