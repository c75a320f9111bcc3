/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "net/netdev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int pv_port_forward_parse(const char *text, struct pv_port_forward *forward, struct pv_error **err)
{
    static const char form[] = "use tcp:[ADDRESS:]HOSTPORT:GUESTPORT or udp:...";
    char copy[64];
    char *fields[4];
    size_t count = 0;
    if (strlen(text) >= sizeof(copy))
        return pv_error_set(err, EINVAL, "forward '%s': %s", text, form);
    memcpy(copy, text, strlen(text) + 1);
    char *rest = copy;
    while (rest && count < PV_ARRAY_SIZE(fields))
        fields[count++] = strsep(&rest, ":");
    if (rest || count < 3 || (strcmp(fields[0], "tcp") != 0 && strcmp(fields[0], "udp") != 0))
        return pv_error_set(err, EINVAL, "forward '%s': %s", text, form);

    struct in_addr address = {0};
    if (count == 4 && inet_pton(AF_INET, fields[1], &address) != 1)
        return pv_error_set(err, EINVAL, "forward '%s': '%s' is not an IPv4 address", text,
                            fields[1]);
    uint64_t host, guest;
    int ret = pv_parse_u64(fields[count - 2], "host port", 1, 65535, &host, err);
    if (ret >= 0)
        ret = pv_parse_u64(fields[count - 1], "guest port", 1, 65535, &guest, err);
    if (ret < 0)
        return pv_error_prefix(err, "forward '%s'", text);
    *forward = (struct pv_port_forward){
        .udp = fields[0][0] == 'u',
        .host_address = ntohl(address.s_addr),
        .host_port = (uint16_t)host,
        .guest_port = (uint16_t)guest,
    };
    return 0;
}
