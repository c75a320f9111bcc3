/* SPDX-License-Identifier: MIT */
#include "cli/run_options.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "device/vsock.h"
#include "display/display.h"
#include "display/sink.h"

#include <errno.h>
#include <string.h>

/* Slower disks make guests believe that they are broken. */
#define MIN_IOPS 10u
#define MIN_BPS  (UINT64_C(64) << 10)
#define MAX_RATE (UINT64_C(1) << 40)

static int add_disk(const char *option, const struct pv_config_disk *disk, struct pv_config *config,
                    struct pv_error **err)
{
    if (!*disk->path)
        return pv_error_set(err, EINVAL, "%s: a file name is needed", option);
    if (config->disk_count == PV_CONFIG_MAX_DISKS)
        return pv_error_set(err, EINVAL, "%s '%s': at most %u disks", option, disk->path,
                            PV_CONFIG_MAX_DISKS);
    config->disks[config->disk_count++] = *disk;
    return 0;
}

/* The N of a flag bootindex=N; any other flag is 0 and leaves it alone. */
static int parse_boot_index(const char *flag, unsigned *index, struct pv_error **err)
{
    static const char name[] = "bootindex=";
    uint64_t number;

    if (strncmp(flag, name, strlen(name)) != 0)
        return 0;
    int ret = pv_parse_u64(flag + strlen(name), "bootindex", 1, PV_CONFIG_MAX_BOOT, &number, err);
    if (ret < 0)
        return ret;
    *index = (unsigned)number;
    return 1;
}

/* As that, of the flags iops=N and bps=SIZE. */
static int parse_rate(const char *flag, struct pv_config_disk *disk, struct pv_error **err)
{
    int ret = 0;

    if (!strncmp(flag, "iops=", 5))
        ret = pv_parse_u64(flag + 5, "iops", MIN_IOPS, MAX_RATE, &disk->iops, err);
    else if (!strncmp(flag, "bps=", 4))
        ret = pv_parse_size(flag + 4, "bps", MIN_BPS, MAX_RATE, &disk->bps, err);
    else
        return 0;
    return ret < 0 ? ret : 1;
}

/* Flags are taken off the end, the last first. */
int cli_parse_disk(char *text, struct pv_config *config, struct pv_error **err)
{
    struct pv_config_disk disk = {.path = text};
    for (char *comma; (comma = strrchr(text, ',')); *comma = '\0') {
        int ret = parse_boot_index(comma + 1, &disk.boot_index, err);
        if (ret == 0)
            ret = parse_rate(comma + 1, &disk, err);
        if (ret < 0)
            return pv_error_prefix(err, "--disk '%s'", text);
        if (ret > 0)
            continue;
        if (!strcmp(comma + 1, "ro"))
            disk.read_only = true;
        else if (!strcmp(comma + 1, "if=scsi"))
            disk.bus = PV_DISK_SCSI;
        else if (!strcmp(comma + 1, "if=nvme"))
            disk.bus = PV_DISK_NVME;
        else if (strcmp(comma + 1, "if=virtio") != 0)
            return pv_error_set(err, EINVAL,
                                "--disk '%s': unknown flag '%s'; there are ro, if=virtio, "
                                "if=scsi, if=nvme, iops=N, bps=SIZE and bootindex=N",
                                text, comma + 1);
    }
    if (disk.bus == PV_DISK_NVME && disk.boot_index)
        return pv_error_set(err, EINVAL,
                            "--disk '%s': bootindex does not go with if=nvme: firmware has no name "
                            "for such a disk in its order",
                            text);
    return add_disk("--disk", &disk, config, err);
}

/* Of the commas in a file's name only one before bootindex= is not a part of it. */
int cli_parse_cdrom(char *text, struct pv_config *config, struct pv_error **err)
{
    struct pv_config_disk disk = {
        .path = text, .read_only = true, .bus = PV_DISK_SCSI, .cdrom = true};
    char *comma = strrchr(text, ',');
    int ret = comma ? parse_boot_index(comma + 1, &disk.boot_index, err) : 0;
    if (ret < 0)
        return pv_error_prefix(err, "--cdrom '%s'", text);
    if (ret > 0)
        *comma = '\0';
    return add_disk("--cdrom", &disk, config, err);
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
        int ret = parse_boot_index(part, &net.boot_index, err);
        if (ret < 0)
            return pv_error_prefix(err, "--net user");
        if (ret > 0)
            continue;
        if (strncmp(part, "forward=", 8) != 0)
            return pv_error_set(err, EINVAL,
                                "--net user: unknown option '%s'; use "
                                "forward=tcp:HOSTPORT:GUESTPORT or bootindex=N",
                                part);
        if (net.forward_count == PV_CONFIG_MAX_FORWARDS)
            return pv_error_set(err, EINVAL, "--net user: at most %u forwards",
                                PV_CONFIG_MAX_FORWARDS);
        ret = pv_port_forward_parse(part + 8, &net.forwards[net.forward_count], err);
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

int cli_parse_port(char *text, struct pv_config *config, struct pv_error **err)
{
    struct pv_config_port port = {.name = text};
    char *comma = strchr(text, ',');
    if (config->port_count == PV_CONFIG_MAX_PORTS)
        return pv_error_set(err, EINVAL, "--port '%s': at most %u ports", text,
                            PV_CONFIG_MAX_PORTS);
    if (!comma || comma == text ||
        (strcmp(comma + 1, "pty") != 0 && (strncmp(comma + 1, "unix:", 5) != 0 || !comma[6])))
        return pv_error_set(err, EINVAL, "--port '%s': use NAME,unix:PATH or NAME,pty", text);
    *comma = '\0';
    if (comma[1] == 'u')
        port.path = comma + 6;
    config->ports[config->port_count++] = port;
    return 0;
}

int cli_parse_vsock(char *text, struct pv_config *config, struct pv_error **err)
{
    uint64_t cid = 0;
    const char *directory = NULL;
    for (char *rest = text, *part; (part = strsep(&rest, ","));) {
        if (!strncmp(part, "cid=", 4)) {
            int ret = pv_parse_u64(part + 4, "--vsock cid", PV_VSOCK_MIN_CID, PV_VSOCK_MAX_CID,
                                   &cid, err);
            if (ret < 0)
                return ret;
        } else if (!strncmp(part, "dir=", 4) && part[4]) {
            directory = part + 4;
        } else {
            return pv_error_set(err, EINVAL, "--vsock: unknown option '%s'; use cid=N,dir=PATH",
                                part);
        }
    }
    if (!cid || !directory)
        return pv_error_set(err, EINVAL, "--vsock: both are needed: cid=N,dir=PATH");
    config->vsock_cid = (uint32_t)cid;
    config->vsock_directory = directory;
    return 0;
}

static int parse_size(const char *text, uint32_t *width, uint32_t *height, struct pv_error **err)
{
    uint64_t w = 0, h = 0;
    char copy[16];
    char *cross = NULL;
    if (strlen(text) < sizeof(copy)) {
        memcpy(copy, text, strlen(text) + 1);
        cross = strchr(copy, 'x');
    }
    if (!cross)
        return pv_error_set(err, EINVAL, "--gpu size '%s': use WIDTHxHEIGHT", text);
    *cross = '\0';
    int ret = pv_parse_u64(copy, "--gpu width", 64, PV_DISPLAY_MAX, &w, err);
    if (ret >= 0)
        ret = pv_parse_u64(cross + 1, "--gpu height", 64, PV_DISPLAY_MAX, &h, err);
    *width = (uint32_t)w;
    *height = (uint32_t)h;
    return ret;
}

static int parse_gpu_option(const char *part, struct pv_config *config, struct pv_error **err)
{
    uint64_t number = 0;
    int ret;
    if (!strncmp(part, "size=", 5))
        return parse_size(part + 5, &config->gpu_width, &config->gpu_height, err);
    if (!strncmp(part, "heads=", 6)) {
        ret = pv_parse_u64(part + 6, "--gpu heads", 1, PV_DISPLAY_HEADS, &number, err);
        if (ret >= 0)
            config->gpu_heads = (unsigned)number;
        return ret;
    }
    if (strncmp(part, "window=", 7) != 0)
        return pv_error_set(
            err, EINVAL, "--gpu: unknown option '%s'; use size=WxH, heads=N or window=SIZE", part);
    ret = pv_parse_size(part + 7, "--gpu window", 64 * PV_MIB, 64 * PV_GIB, &number, err);
    if (ret >= 0 && (number & (number - 1)))
        return pv_error_set(err, EINVAL, "--gpu window '%s': must be a power of two", part + 7);
    if (ret >= 0)
        config->gpu_window = number;
    return ret;
}

int cli_parse_gpu(char *text, struct pv_config *config, struct pv_error **err)
{
    const char *kind = strsep(&text, ",");
    int ret = 0;
    if (!strcmp(kind, "none"))
        config->gpu = PV_GPU_NONE;
    else if (!strcmp(kind, "2d"))
        config->gpu = PV_GPU_2D;
    else if (!strcmp(kind, "venus"))
        config->gpu = PV_GPU_VENUS;
    else
        return pv_error_set(err, EINVAL, "--gpu '%s': use none, 2d or venus", kind);
    while (text && ret >= 0)
        ret = parse_gpu_option(strsep(&text, ","), config, err);
    return ret;
}

static int parse_vnc(char *text, struct pv_config *config, struct pv_error **err)
{
    uint64_t number = 0;
    char *where = strsep(&text, ",");
    int ret = 0;
    config->display = PV_DISPLAY_VNC;
    if (!strncmp(where, "vnc=unix:", 9) && where[9])
        config->display_path = where + 9;
    else if (!strncmp(where, "vnc=:", 5))
        ret = pv_parse_u64(where + 5, "--display vnc", 0, 99, &number, err);
    else if (strcmp(where, "vnc") != 0)
        ret = pv_error_set(err, EINVAL, "--display '%s': use vnc, vnc=:N or vnc=unix:PATH", where);
    config->vnc_port = (uint16_t)(PV_VNC_PORT + number);
    if (ret < 0 || !text)
        return ret;
    if (strncmp(text, "password=", 9) != 0 || !text[9] || strlen(text + 9) > 8)
        return pv_error_set(err, EINVAL,
                            "--display vnc: unknown option '%s'; use password=TEXT, of up to 8 "
                            "characters",
                            text);
    config->vnc_password = text + 9;
    return 0;
}

int cli_parse_display(char *text, struct pv_config *config, struct pv_error **err)
{
    config->display_path = NULL;
    config->vnc_password = NULL;
    if (!strncmp(text, "vnc", 3))
        return parse_vnc(text, config, err);
    if (!strcmp(text, "none")) {
        config->display = PV_DISPLAY_NONE;
        return 0;
    }
    if (!strcmp(text, "window")) {
        config->display = PV_DISPLAY_WINDOW;
        return 0;
    }
    if (strncmp(text, "png=", 4) != 0 || !text[4])
        return pv_error_set(
            err, EINVAL, "--display '%s': use none, window, png=FILE, vnc, vnc=:N or vnc=unix:PATH",
            text);
    config->display = PV_DISPLAY_PNG;
    config->display_path = text + 4;
    return 0;
}

int cli_parse_sound(char *text, struct pv_config *config, struct pv_error **err)
{
    static const char *const kinds[] = {
        [PV_SOUND_NONE] = "none", [PV_SOUND_NULL] = "null", [PV_SOUND_SDL] = "sdl"};
    config->sound_play = config->sound_record = NULL;
    for (size_t i = 0; i < PV_ARRAY_SIZE(kinds); i++)
        if (kinds[i] && !strcmp(text, kinds[i])) {
            config->sound = (enum pv_config_sound)i;
            return 0;
        }
    config->sound = PV_SOUND_FILE;
    while (text) {
        char *part = strsep(&text, ",");
        if (!strncmp(part, "file=", 5) && part[5])
            config->sound_play = part + 5;
        else if (!strncmp(part, "record=", 7) && part[7])
            config->sound_record = part + 7;
        else
            return pv_error_set(
                err, EINVAL, "--sound '%s': use none, null, sdl, file=FILE or record=FILE", part);
    }
    return 0;
}

int cli_parse_input(char *text, struct pv_config *config, struct pv_error **err)
{
    static const char *const names[] = {
        [PV_INPUT_KEYBOARD] = "keyboard", [PV_INPUT_MOUSE] = "mouse", [PV_INPUT_TABLET] = "tablet"};
    for (char *part; (part = strsep(&text, ","));) {
        size_t kind = 0;
        while (kind < PV_ARRAY_SIZE(names) && strcmp(part, names[kind]) != 0)
            kind++;
        if (kind == PV_ARRAY_SIZE(names))
            return pv_error_set(err, EINVAL, "--input '%s': use keyboard, mouse or tablet", part);
        if (config->input_count == PV_CONFIG_MAX_INPUTS)
            return pv_error_set(err, EINVAL, "--input '%s': at most %u devices", part,
                                PV_CONFIG_MAX_INPUTS);
        config->inputs[config->input_count++] = (enum pv_input_kind)kind;
    }
    return 0;
}

/* FIRST-LAST, in hexadecimal with 0x or in decimal. */
static int parse_range(char *text, struct pv_engine_watch *watch, struct pv_error **err)
{
    char *dash = strchr(text, '-');
    if (!dash)
        return pv_error_set(err, EINVAL,
                            "--trace-engine: unknown '%s'; 'entered' or a range of addresses, "
                            "FIRST-LAST, can follow the file",
                            text);
    *dash = '\0';
    int ret = pv_parse_u64(text, "--trace-engine FIRST", 0, UINT64_MAX, &watch->trace_first, err);
    if (ret < 0)
        return ret;
    return pv_parse_u64(dash + 1, "--trace-engine LAST", watch->trace_first, UINT64_MAX,
                        &watch->trace_last, err);
}

int cli_parse_trace(char *text, struct pv_engine_watch *watch, struct pv_error **err)
{
    char *rest = strchr(text, ',');
    int ret = 0;
    watch->trace = text;
    watch->trace_entered = false;
    watch->trace_first = 0;
    watch->trace_last = UINT64_MAX;
    if (rest)
        *rest++ = '\0';
    if (!*text)
        return pv_error_set(err, EINVAL, "--trace-engine: a file name is needed");
    while (rest && ret >= 0) {
        char *word = strsep(&rest, ",");
        if (!strcmp(word, "entered"))
            watch->trace_entered = true;
        else
            ret = parse_range(word, watch, err);
    }
    return ret;
}

int cli_parse_confine(const char *text, struct pv_config *config, struct pv_error **err)
{
    config->confine = !strcmp(text, "on");
    return config->confine || !strcmp(text, "off")
               ? 0
               : pv_error_set(err, EINVAL, "--confine '%s': use on or off", text);
}

int cli_parse_grant(char *text, struct pv_config *config, struct pv_error **err)
{
    struct pv_config_grant *grant = &config->grants[config->grant_count];
    char *comma = strrchr(text, ',');
    if (config->grant_count == PV_CONFIG_MAX_GRANTS)
        return pv_error_set(err, EINVAL, "--grant '%s': at most %u", text, PV_CONFIG_MAX_GRANTS);
    *grant = (struct pv_config_grant){.path = text};
    if (comma && !strcmp(comma, ",ro")) {
        *comma = '\0';
        grant->read_only = true;
    }
    if (access(text, F_OK) < 0)
        return pv_error_errno(err, errno, "--grant '%s'", text);
    config->grant_count++;
    return 0;
}

int cli_parse_restart(const char *text, struct pv_error **err)
{
    if (!strcmp(text, "never") || !strcmp(text, "on-failure") || !strcmp(text, "always"))
        return 0;
    return pv_error_set(err, EINVAL, "--restart '%s': use never, on-failure or always", text);
}
