/* SPDX-License-Identifier: MIT */
/* `pearvisor run`: one VM in the foreground, in this process. */
#include "cli/run.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/library.h"
#include "cli/run_options.h"
#include "engine/engine.h"
#include "host/signals.h"
#include "vm/vm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define MIN_MEMORY (64 * PV_MIB)
#define MAX_MEMORY (255 * PV_GIB)

enum {
    OPTION_ENGINE = 256,
    OPTION_CPUS,
    OPTION_MEMORY,
    OPTION_FIRMWARE,
    OPTION_VARS,
    OPTION_ACPI,
    OPTION_KERNEL,
    OPTION_INITRD,
    OPTION_APPEND,
    OPTION_DTB,
    OPTION_DISK,
    OPTION_CDROM,
    OPTION_NET,
    OPTION_HOTPLUG_SLOTS,
    OPTION_CONSOLE,
    OPTION_CONSOLE_LOG,
    OPTION_CONTROL,
    OPTION_CONFINE,
    OPTION_GRANT,
    OPTION_RESTORE,
    OPTION_RESTART,
    OPTION_MSI,
    OPTION_WATCHDOG,
    OPTION_ON_PANIC,
    OPTION_TRANSPORT,
    OPTION_VIRTIO,
    OPTION_PORT,
    OPTION_BALLOON,
    OPTION_VSOCK,
    OPTION_INPUT,
    OPTION_STATS,
    OPTION_TRACE_ENGINE,
    OPTION_PERF_MAP,
    OPTION_SYMBOLS,
    OPTION_GPU,
    OPTION_DISPLAY,
    OPTION_SOUND,
};

static const struct option run_options[] = {
    {"engine", required_argument, NULL, OPTION_ENGINE},
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"firmware", required_argument, NULL, OPTION_FIRMWARE},
    {"vars", required_argument, NULL, OPTION_VARS},
    {"acpi", required_argument, NULL, OPTION_ACPI},
    {"kernel", required_argument, NULL, OPTION_KERNEL},
    {"initrd", required_argument, NULL, OPTION_INITRD},
    {"append", required_argument, NULL, OPTION_APPEND},
    {"dtb", required_argument, NULL, OPTION_DTB},
    {"disk", required_argument, NULL, OPTION_DISK},
    {"cdrom", required_argument, NULL, OPTION_CDROM},
    {"net", required_argument, NULL, OPTION_NET},
    {"hotplug-slots", required_argument, NULL, OPTION_HOTPLUG_SLOTS},
    {"console", required_argument, NULL, OPTION_CONSOLE},
    {"console-log", required_argument, NULL, OPTION_CONSOLE_LOG},
    {"control", required_argument, NULL, OPTION_CONTROL},
    {"confine", required_argument, NULL, OPTION_CONFINE},
    {"grant", required_argument, NULL, OPTION_GRANT},
    {"restore", required_argument, NULL, OPTION_RESTORE},
    {"restart", required_argument, NULL, OPTION_RESTART},
    {"msi", required_argument, NULL, OPTION_MSI},
    {"watchdog", required_argument, NULL, OPTION_WATCHDOG},
    {"on-panic", required_argument, NULL, OPTION_ON_PANIC},
    {"transport", required_argument, NULL, OPTION_TRANSPORT},
    {"virtio", required_argument, NULL, OPTION_VIRTIO},
    {"port", required_argument, NULL, OPTION_PORT},
    {"balloon", required_argument, NULL, OPTION_BALLOON},
    {"vsock", required_argument, NULL, OPTION_VSOCK},
    {"input", required_argument, NULL, OPTION_INPUT},
    {"stats", no_argument, NULL, OPTION_STATS},
    {"trace-engine", required_argument, NULL, OPTION_TRACE_ENGINE},
    {"perf-map", no_argument, NULL, OPTION_PERF_MAP},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"gpu", required_argument, NULL, OPTION_GPU},
    {"display", required_argument, NULL, OPTION_DISPLAY},
    {"sound", required_argument, NULL, OPTION_SOUND},
    CLI_HELP_OPTION,
    {0},
};

static int parse_transport(const char *text, struct pv_config *config, struct pv_error **err)
{
    if (!strcmp(text, "pci"))
        config->transport = PV_TRANSPORT_PCI;
    else if (!strcmp(text, "mmio"))
        config->transport = PV_TRANSPORT_MMIO;
    else
        return pv_error_set(err, EINVAL, "--transport '%s': use pci or mmio", text);
    return 0;
}

static int parse_action(const char *option, const char *text, enum pv_machine_action *action,
                        struct pv_error **err)
{
    if (!strcmp(text, "none"))
        *action = PV_ACTION_NONE;
    else if (!strcmp(text, "reset"))
        *action = PV_ACTION_RESET;
    else if (!strcmp(text, "poweroff"))
        *action = PV_ACTION_POWEROFF;
    else if (!strcmp(text, "pause"))
        *action = PV_ACTION_PAUSE;
    else
        return pv_error_set(err, EINVAL, "%s '%s': use none, reset, poweroff or pause", option,
                            text);
    return 0;
}

static int parse_msi(const char *text, struct pv_config *config, struct pv_error **err)
{
    if (!strcmp(text, "its"))
        config->msi = PV_MSI_ITS;
    else if (!strcmp(text, "v2m"))
        config->msi = PV_MSI_V2M;
    else
        return pv_error_set(err, EINVAL, "--msi '%s': use its or v2m", text);
    return 0;
}

static int parse_option(struct cli_run *request, int option, char *value, struct pv_error **err)
{
    struct pv_config *config = &request->config;
    uint64_t number;
    int ret = 0;
    switch (option) {
    case OPTION_ENGINE:
        config->engine = value;
        if (!pv_engine_find(value))
            ret = pv_error_set(err, EINVAL,
                               "--engine '%s': unknown; 'pearvisor engines' lists them", value);
        break;
    case OPTION_CPUS:
        ret = pv_parse_u64(value, "--cpus", 1, PV_MAX_VCPUS, &number, err);
        if (ret >= 0)
            config->cpus = (unsigned)number;
        break;
    case OPTION_MEMORY:
        ret = pv_parse_size(value, "--memory", MIN_MEMORY, MAX_MEMORY, &config->memory, err);
        break;
    case OPTION_FIRMWARE: config->firmware = value; break;
    case OPTION_VARS: config->vars = value; break;
    case OPTION_ACPI: ret = cli_parse_acpi(value, config, err); break;
    case OPTION_KERNEL: config->kernel = value; break;
    case OPTION_INITRD: config->initrd = value; break;
    case OPTION_APPEND: config->append = value; break;
    case OPTION_DTB: config->dtb = value; break;
    case OPTION_DISK: ret = cli_parse_disk(value, config, err); break;
    case OPTION_CDROM: ret = cli_parse_cdrom(value, config, err); break;
    case OPTION_NET:
        request->net_given = true;
        ret = cli_parse_net(value, config, err);
        break;
    case OPTION_HOTPLUG_SLOTS:
        ret = pv_parse_u64(value, "--hotplug-slots", 0, PV_CONFIG_MAX_SLOTS, &number, err);
        if (ret >= 0)
            config->hotplug_slots = (unsigned)number;
        break;
    case OPTION_CONSOLE: ret = cli_parse_console(value, config, err); break;
    case OPTION_CONSOLE_LOG: config->console_log = value; break;
    case OPTION_RESTORE: config->restore = value; break;
    case OPTION_CONTROL: config->control_path = value; break;
    case OPTION_CONFINE: ret = cli_parse_confine(value, config, err); break;
    case OPTION_GRANT: ret = cli_parse_grant(value, config, err); break;
    case OPTION_RESTART:
        request->restart_given = true;
        ret = cli_parse_restart(value, err);
        break;
    case OPTION_TRANSPORT: ret = parse_transport(value, config, err); break;
    case OPTION_MSI: ret = parse_msi(value, config, err); break;
    case OPTION_WATCHDOG: ret = parse_action("--watchdog", value, &config->watchdog, err); break;
    case OPTION_ON_PANIC: ret = parse_action("--on-panic", value, &config->on_panic, err); break;
    case OPTION_VIRTIO: ret = cli_parse_virtio(value, config, err); break;
    case OPTION_PORT: ret = cli_parse_port(value, config, err); break;
    case OPTION_BALLOON:
        config->balloon = true;
        ret = pv_parse_size(value, "--balloon", 0, MAX_MEMORY, &config->balloon_target, err);
        break;
    case OPTION_VSOCK: ret = cli_parse_vsock(value, config, err); break;
    case OPTION_INPUT: ret = cli_parse_input(value, config, err); break;
    case OPTION_STATS: request->stats = true; break;
    case OPTION_TRACE_ENGINE: ret = cli_parse_trace(value, &config->watch, err); break;
    case OPTION_PERF_MAP: config->watch.perf_map = true; break;
    case OPTION_SYMBOLS: config->watch.symbols = value; break;
    case OPTION_GPU: ret = cli_parse_gpu(value, config, err); break;
    case OPTION_DISPLAY: ret = cli_parse_display(value, config, err); break;
    case OPTION_SOUND: ret = cli_parse_sound(value, config, err); break;
    }
    return ret;
}

/* Puts the image's disk first, and its kernel where none was given. */
static int use_image(struct cli_run *request, const char *name, struct pv_error **err)
{
    struct pv_config *config = &request->config;
    int ret = cli_image_find(&request->image, name, err);
    if (ret < 0)
        return ret;
    if (config->disk_count == PV_CONFIG_MAX_DISKS)
        return pv_error_set(err, EINVAL, "image '%s': it and %u disks are one too many", name,
                            PV_CONFIG_MAX_DISKS);
    memmove(config->disks + 1, config->disks, config->disk_count * sizeof(config->disks[0]));
    config->disks[0] = (struct pv_config_disk){.path = request->image.disk};
    config->window_title = name;
    config->disk_count++;
    if (!config->kernel) {
        config->kernel = request->image.kernel;
        if (!config->initrd)
            config->initrd = request->image.initrd;
    }
    if (!request->image.append)
        return 0;
    if (asprintf(&request->append, "%s%s%s", request->image.append, config->append ? " " : "",
                 config->append ? config->append : "") < 0) {
        request->append = NULL;
        return pv_error_set(err, ENOMEM, "image '%s': out of memory", name);
    }
    config->append = request->append;
    return 0;
}

/* ---- Running ---- */

struct session {
    struct pv_vm *vm;
    bool asked; /* the power button was pressed already */
};

/* The first request is the guest's to answer; the second is not. */
static void end(struct session *session, const char *again)
{
    if (session->asked) {
        pv_vm_kill(session->vm);
        return;
    }
    session->asked = true;
    fprintf(stderr, "\r\npearvisor: asking the guest to power off; %s ends it at once\r\n", again);
    pv_vm_power_button(session->vm);
}

static void on_signal(void *opaque, int signal_number)
{
    end(opaque, signal_number == SIGINT ? "a second interrupt" : "a second SIGTERM");
}

static void on_escape(void *opaque)
{
    end(opaque, "Ctrl-] q again");
}

static void on_close(void *opaque)
{
    end(opaque, "closing the window again");
}

static void on_console(void *opaque, const char *path)
{
    fprintf(stderr, "pearvisor: console at %s\n", path);
}

static void on_port(void *opaque, const char *name, const char *path)
{
    fprintf(stderr, "pearvisor: port %s at %s\n", name, path);
}

static void on_save(void *opaque, int signal_number)
{
    struct session *session = opaque;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (pv_vm_save_picture(session->vm, &err) < 0)
        fprintf(stderr, "pearvisor: %s\r\n", pv_error_message(err));
}

static void print_stats(struct pv_vm *vm)
{
    PV_CLEANUP_BUFFER struct pv_buffer text = PV_BUFFER_INIT(64 * PV_KIB);
    pv_vm_report(vm, &text);
    if (text.data)
        fprintf(stderr, "%s", text.data);
}

int cli_run_vm(const struct cli_run *run, void (*ready)(void *opaque), void *opaque,
               enum pv_vm_end *end, struct pv_error **err)
{
    const struct pv_config *config = &run->config;
    struct session session = {0};
    const struct pv_vm_events events = {
        .console_escape = on_escape,
        .window_closed = on_close,
        .console_ready = on_console,
        .port_ready = on_port,
        .opaque = &session,
    };
    struct pv_signal *term = NULL, *interrupt = NULL, *save = NULL;
    int ret = pv_vm_create(&session.vm, config, &events, err);
    if (ret < 0)
        return ret;
    struct pv_loop *loop = pv_vm_loop(session.vm);
    ret = pv_signal_create(&term, loop, SIGTERM, on_signal, &session, err);
    if (ret >= 0)
        ret = pv_signal_create(&interrupt, loop, SIGINT, on_signal, &session, err);
    if (ret >= 0 && config->display == PV_DISPLAY_PNG)
        ret = pv_signal_create(&save, loop, SIGUSR1, on_save, &session, err);
    if (ret >= 0 && config->console == PV_CONSOLE_STDIO && isatty(STDIN_FILENO))
        fprintf(stderr, "pearvisor: Ctrl-] q leaves\r\n");
    if (ret >= 0 && ready)
        ready(opaque);
    if (ret >= 0)
        ret = pv_vm_run(session.vm, end, err);
    if (ret >= 0 && run->stats)
        print_stats(session.vm);
    pv_signal_destroy(term);
    pv_signal_destroy(interrupt);
    pv_signal_destroy(save);
    pv_vm_destroy(session.vm);
    return ret;
}

void cli_run_init(struct cli_run *run)
{
    pv_config_init(&run->config);
}

void cli_run_finish(struct cli_run *run)
{
    cli_image_finish(&run->image);
    free(run->append);
}

static const struct option *find_option(const char *key)
{
    for (const struct option *option = run_options; option->name; option++) {
        if (option->has_arg == required_argument && !strcmp(option->name, key))
            return option;
    }
    return NULL;
}

bool cli_run_knows(const char *key)
{
    return find_option(key);
}

int cli_run_set(struct cli_run *run, const char *key, char *value, struct pv_error **err)
{
    const struct option *option = find_option(key);
    if (!option)
        return pv_error_set(err, EINVAL,
                            "'%s' is not a key; keys are the options of 'pearvisor run', "
                            "without the dashes",
                            key);
    return parse_option(run, option->val, value, err);
}

int cli_run_complete(struct cli_run *run, struct pv_error **err)
{
    struct pv_config *config = &run->config;
    if (!config->kernel && !config->firmware && !config->disk_count)
        return pv_error_set(err, EINVAL,
                            "nothing to run: name an image, or give --kernel or --disk");
    if (!run->net_given)
        config->nets[config->net_count++] = (struct pv_config_net){.kind = PV_NET_USER};
    return 0;
}

static int parse(const struct cli_command *command, struct cli_run *request, int argc, char **argv)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    int option;
    while ((option = cli_next_option(command, argc, argv, run_options)) != -1) {
        if (option == CLI_OPTION_HELP || option == '?' || option == ':')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        if (parse_option(request, option, optarg, &err) < 0)
            return cli_usage_error(command, &err);
    }
    if (argc - optind > 1)
        return cli_usage(command, "unexpected argument '%s'", argv[optind + 1]);
    if (optind < argc && use_image(request, argv[optind], &err) < 0)
        return cli_fail(&err);
    if (request->restart_given)
        return cli_usage(command, "--restart is for VMs that 'pearvisor create' makes");
    if (cli_run_complete(request, &err) < 0)
        return cli_usage_error(command, &err);
    return -1;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli_run request = {0};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    enum pv_vm_end end;
    cli_run_init(&request);
    int status = parse(command, &request, argc, argv);
    if (status < 0)
        status = cli_run_vm(&request, NULL, NULL, &end, &err) < 0 ? cli_fail(&err) : CLI_OK;
    cli_run_finish(&request);
    return status;
}

const struct cli_command cli_run = {
    .name = "run",
    .summary = "run a guest in the foreground",
    .help = "usage: pearvisor run [OPTION...] [IMAGE]\n\n"
            "Boots an image of the library, the kernel given with --kernel, or else by UEFI from\n"
            "the first disk or CD that can be booted, and connects the guest's console to this\n"
            "terminal.\n\n"
            "  --engine NAME       what executes the guest (see 'pearvisor engines')\n"
            "  --cpus N            virtual CPUs, 1 to 64 (default 1)\n"
            "  --memory SIZE       guest memory, such as 512M or 4G (default 1G)\n"
            "  --firmware uefi|uboot|PATH|none\n"
            "                      what starts in flash (default: none with a kernel, else uefi)\n"
            "  --vars FILE         keeps the firmware's variables; made when it is not there\n"
            "  --acpi on|off|auto  ACPI tables or a device tree for the guest (default auto:\n"
            "                      ACPI with UEFI)\n"
            "  --kernel FILE       arm64 Linux kernel: Image, Image.gz or EFI zboot\n"
            "  --initrd FILE       initial RAM disk\n"
            "  --append TEXT       kernel command line (behind the image's own)\n"
            "  --dtb FILE          a device tree blob instead of the board's own; memory, initrd,\n"
            "                      command line and seeds are put into it\n"
            "  --disk FILE[,ro][,if=virtio|scsi|nvme][,iops=N][,bps=SIZE][,bootindex=N]\n"
            "                      a disk image; may be repeated. iops and bps: at most so many\n"
            "                      requests and bytes a second. UEFI boots from the device with\n"
            "                      the lowest bootindex, 1 to 99, first\n"
            "  --cdrom FILE[,bootindex=N]\n"
            "                      an ISO image in a SCSI CD-ROM drive; may be repeated\n"
            "  --net user[,forward=tcp|udp:[ADDRESS:]HOSTPORT:GUESTPORT]...[,bootindex=N]\n"
            "                      NAT to the host's network (default), with ports of the host\n"
            "                      (127.0.0.1 unless ADDRESS says otherwise) that reach the guest\n"
            "  --net none          no network\n"
            "  --hotplug-slots N   how many disks and networks 'pearvisor control' can attach\n"
            "                      while the guest runs, 0 to 16 (default 4)\n"
            "  --console stdio|pty|unix:PATH[,virtio]\n"
            "                      where the guest's console goes (default stdio); with virtio it\n"
            "                      is the guest's hvc0 instead of its UART, ttyAMA0\n"
            "  --console-log FILE  where all that the guest writes there is appended as well\n"
            "  --control PATH      a socket to ask things of the VM (see 'pearvisor control')\n"
            "  --confine on|off    on: before the guest runs, the process gives up all files but\n"
            "                      those named here, and all system calls that it does not need\n"
            "                      (default off; for VMs of the library on)\n"
            "  --grant PATH[,ro]   a file or folder that it keeps nevertheless, for disks to be\n"
            "                      attached later; may be repeated\n"
            "  --restore FOLDER    go on from a snapshot, on a VM made alike, instead of booting\n"
            "  --transport pci|mmio\n"
            "                      how virtio devices are attached (default pci)\n"
            "  --port NAME,unix:PATH|pty\n"
            "                      a byte stream to /dev/virtio-ports/NAME; may be repeated\n"
            "  --balloon SIZE      a memory balloon: what the guest frees goes back to the host,\n"
            "                      and SIZE (may be 0) is asked for from the start\n"
            "  --vsock cid=N,dir=PATH\n"
            "                      sockets to the guest, N: a host program connects to\n"
            "                      PATH/vsock.sock and writes \"CONNECT PORT\"; a guest that\n"
            "                      connects to CID 2, port P, reaches PATH/vsock.sock_P\n"
            "  --input keyboard|mouse|tablet[,...]\n"
            "                      input devices\n"
            "  --gpu none|2d|venus[,size=WxH][,heads=N][,window=SIZE]\n"
            "                      a virtio-gpu: 2d shows a framebuffer, venus adds Vulkan on the\n"
            "                      host's driver (default none; 1280x800, 1 head, 4G that the\n"
            "                      guest can map at a time)\n"
            "  --display none|window|png=FILE|vnc[=:N|=unix:PATH][,password=TEXT]\n"
            "                      who sees the GPU's picture: you, in a window (Ctrl+Alt+F: full\n"
            "                      screen, Ctrl+Alt+G: grabs the pointer); a file, written at the\n"
            "                      end and at each SIGUSR1; or VNC viewers, at port 5900 + N\n"
            "                      (default 0) of 127.0.0.1 or a socket. Window and VNC bring a\n"
            "                      keyboard and a pointer for the guest\n"
            "  --sound none|null|sdl|[file=WAV][,record=WAV]\n"
            "                      a sound card: that nobody hears, on the host's devices, or\n"
            "                      whose sound goes to a WAV file and comes from another (default\n"
            "                      none)\n"
            "  --msi its|v2m       what takes PCI devices' messages (default its)\n"
            "  --watchdog none|reset|poweroff|pause\n"
            "                      gives the guest a watchdog (sbsa_gwdt); what when it bites\n"
            "  --on-panic none|reset|poweroff|pause\n"
            "                      gives the guest a pvpanic device; what when it panics\n"
            "  --virtio packed=on|off\n"
            "                      whether virtio devices offer packed rings (default off)\n"
            "  --stats             prints at the end what the engine counted\n"
            "  --trace-engine FILE[,entered][,FIRST-LAST]\n"
            "                      writes to FILE each block that the translator makes and, with\n"
            "                      entered, each time one is entered (slow); FIRST and LAST bound\n"
            "                      the guest's virtual addresses\n"
            "  --perf-map          writes /tmp/perf-PID.map, by which perf names guest code\n"
            "  --symbols FILE      the guest kernel's /proc/kallsyms or System.map, for names in\n"
            "                      these two; boot it with nokaslr\n\n"
            "Ctrl-] q leaves: the guest is asked to power off, and ended when asked again. So do\n"
            "SIGTERM and SIGINT. Ctrl-] Ctrl-] sends one Ctrl-] to the guest.\n\n"
            "Exit status: 0 after the guest powered off, 1 on failure, 2 for wrong usage.\n",
    .run = run,
};
