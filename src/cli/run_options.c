/* SPDX-License-Identifier: MIT */
#include "cli/run_options.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int cli_parse_disk(char *text, struct pv_config *config, struct pv_error **err)
{
    if (config->disk_count == PV_CONFIG_MAX_DISKS)
        return pv_error_set(err, EINVAL, "--disk '%s': at most %u disks", text,
                            PV_CONFIG_MAX_DISKS);
    struct pv_config_disk disk = {.path = text};
    char *comma = strrchr(text, ',');
    if (comma) {
        if (strcmp(comma + 1, "ro") != 0)
            return pv_error_set(err, EINVAL, "--disk '%s': unknown flag '%s'; the only one is ro",
                                text, comma + 1);
        disk.read_only = true;
        *comma = '\0';
    }
    if (!*text)
        return pv_error_set(err, EINVAL, "--disk: a file name is needed");
    config->disks[config->disk_count++] = disk;
    return 0;
}

int cli_parse_cdrom(char *text, struct pv_config *config, struct pv_error **err)
{
    if (config->disk_count == PV_CONFIG_MAX_DISKS)
        return pv_error_set(err, EINVAL, "--cdrom '%s': at most %u disks", text,
                            PV_CONFIG_MAX_DISKS);
    config->disks[config->disk_count++] = (struct pv_config_disk){.path = text, .read_only = true};
    return 0;
}

int cli_parse_acpi(const char *text, struct pv_config *config, struct pv_error **err)
{
    if (!strcmp(text, "on"))
        config->acpi = PV_ACPI_ON;
    else if (!strcmp(text, "off"))
        config->acpi = PV_ACPI_OFF;
    else if (!strcmp(text, "auto"))
        config->acpi = PV_ACPI_AUTO;
    else
        return pv_error_set(err, EINVAL, "--acpi '%s': use on, off or auto", text);
    return 0;
}

int cli_parse_forward(const char *text, struct pv_port_forward *forward, struct pv_error **err)
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

int cli_parse_net(char *text, struct pv_config *config, struct pv_error **err)
{
    if (!strcmp(text, "none")) {
        config->net_count = 0;
        return 0;
    }
    if (config->net_count == PV_CONFIG_MAX_NETS)
        return pv_error_set(err, EINVAL, "--net '%s': at most %u networks", text,
                            PV_CONFIG_MAX_NETS);
    struct pv_config_net net = {.kind = PV_NET_USER};
    const char *kind = strsep(&text, ",");
    if (strcmp(kind, "user") != 0)
        return pv_error_set(err, EINVAL, "--net '%s': unknown network; use user or none", kind);
    while (text) {
        const char *part = strsep(&text, ",");
        if (strncmp(part, "forward=", 8) != 0)
            return pv_error_set(err, EINVAL,
                                "--net user: unknown option '%s'; use "
                                "forward=tcp:HOSTPORT:GUESTPORT",
                                part);
        if (net.forward_count == PV_CONFIG_MAX_FORWARDS)
            return pv_error_set(err, EINVAL, "--net user: at most %u forwards",
                                PV_CONFIG_MAX_FORWARDS);
        int ret = cli_parse_forward(part + 8, &net.forwards[net.forward_count], err);
        if (ret < 0)
            return pv_error_prefix(err, "--net user");
        net.forward_count++;
    }
    config->nets[config->net_count++] = net;
    return 0;
}

int cli_parse_console(char *text, struct pv_config *config, struct pv_error **err)
{
    static const char suffix[] = ",virtio";
    size_t len = strlen(text);
    if (len >= strlen(suffix) && !strcmp(text + len - strlen(suffix), suffix)) {
        config->console_virtio = true;
        text[len - strlen(suffix)] = '\0';
    }
    if (!strcmp(text, "stdio")) {
        config->console = PV_CONSOLE_STDIO;
    } else if (!strcmp(text, "pty")) {
        config->console = PV_CONSOLE_PTY;
    } else if (!strncmp(text, "unix:", 5) && text[5]) {
        config->console = PV_CONSOLE_UNIX;
        config->console_path = text + 5;
    } else {
        return pv_error_set(err, EINVAL, "--console '%s': use stdio, pty or unix:PATH", text);
    }
    return 0;
}

int cli_parse_virtio(const char *text, struct pv_config *config, struct pv_error **err)
{
    bool on = !strcmp(text, "packed=on");
    if (!on && strcmp(text, "packed=off") != 0)
        return pv_error_set(err, EINVAL, "--virtio '%s': use packed=on or packed=off", text);
    config->packed_rings = on;
    return 0;
}
