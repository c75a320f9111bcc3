/* SPDX-License-Identifier: MIT */
/* disk: images as files. A table of verbs, each with its own options. */
#include "block/disk.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/disk.h"

#include <jansson.h>
#include <string.h>

struct verb {
    const char *name;
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

#define SIZE_TEXT 16u

enum {
    OPTION_CLUSTER = 1000,
    OPTION_REFCOUNT,
    OPTION_LAZY,
    OPTION_EXTENDED,
    OPTION_COMPRESSION,
};

/* What `create` and `convert` share. */
#define IMAGE_OPTIONS                                                                              \
    {"format", required_argument, NULL, 'f'}, {"backing", required_argument, NULL, 'b'},           \
        {"backing-format", required_argument, NULL, 'F'},                                          \
        {"cluster-size", required_argument, NULL, OPTION_CLUSTER},                                 \
        {"refcount-bits", required_argument, NULL, OPTION_REFCOUNT},                               \
        {"lazy-refcounts", no_argument, NULL, OPTION_LAZY},                                        \
        {"extended-l2", no_argument, NULL, OPTION_EXTENDED},                                       \
        {"compression", required_argument, NULL, OPTION_COMPRESSION}, CLI_HELP_OPTION

/* One of IMAGE_OPTIONS; -1 when the value is bad, 1 when the option is another. */
static int image_option(int option, const char **format, struct pv_disk_options *o,
                        struct pv_error **err)
{
    uint64_t value;
    switch (option) {
    case 'f': *format = optarg; return 0;
    case 'b': o->backing = optarg; return 0;
    case 'F': o->backing_format = optarg; return 0;
    case OPTION_CLUSTER:
        if (pv_parse_size(optarg, "--cluster-size", 512, 2 * PV_MIB, &value, err) < 0)
            return -1;
        o->cluster_size = (uint32_t)value;
        return 0;
    case OPTION_REFCOUNT:
        if (pv_parse_u64(optarg, "--refcount-bits", 1, 64, &value, err) < 0)
            return -1;
        o->refcount_bits = (unsigned)value;
        return 0;
    case OPTION_LAZY: o->lazy_refcounts = true; return 0;
    case OPTION_EXTENDED: o->extended_l2 = true; return 0;
    case OPTION_COMPRESSION:
        o->zstd = !strcmp(optarg, "zstd");
        if (o->zstd || !strcmp(optarg, "zlib"))
            return 0;
        pv_error_set(err, 22, "--compression '%s', want zlib or zstd", optarg);
        return -1;
    default: return 1;
    }
}

static int create(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {IMAGE_OPTIONS, {0}};
    struct pv_disk_options o = {0};
    struct pv_error *err = NULL;
    const char *format = "qcow2";
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP)
            return CLI_OK;
        int ret = image_option(option, &format, &o, &err);
        if (ret < 0)
            return cli_usage_error(command, &err);
        if (ret > 0)
            return CLI_USAGE;
    }
    const int names = argc - optind;
    if (names < 1 || names > 2 || (names == 1 && !o.backing))
        return cli_usage(command, "create wants FILE and SIZE (or --backing)");
    if (names == 2 &&
        pv_parse_size(argv[optind + 1], "SIZE", 0, UINT64_C(1) << 56, &o.size, &err) < 0)
        return cli_usage_error(command, &err);
    return pv_disk_create(argv[optind], format, &o, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

static void show_line(const char *name, const char *value)
{
    if (value)
        printf("%-14s %s\n", name, value);
}

static void show_info(const struct pv_disk_info *i)
{
    char text[SIZE_TEXT];
    show_line("format", i->format);
    printf("%-14s %s (%llu bytes)\n", "size", pv_format_size(i->size, text),
           (unsigned long long)i->size);
    show_line("on disk", pv_format_size(i->used, text));
    show_line("backing", i->backing);
    show_line("backing format", i->backing_format);
    show_line("data file", i->data_file);
    if (!i->cluster_size)
        return;
    printf("%-14s %u\n%-14s %s\n", "version", i->version, "cluster size",
           pv_format_size(i->cluster_size, text));
    printf("%-14s %u bits%s\n%-14s %s\n", "refcounts", i->refcount_bits,
           i->lazy_refcounts ? ", lazy" : "", "compression", i->compression);
    printf("%-14s %s\n%-14s %u\n", "subclusters", i->extended_l2 ? "yes" : "no", "snapshots",
           i->snapshots);
    if (i->corrupt || i->dirty)
        show_line("state", i->corrupt ? "damaged" : "was not closed");
}

static int show_info_json(const struct pv_disk_info *i)
{
    json_t *root =
        json_pack("{s:s, s:I, s:I, s:s*, s:s*, s:s*}", "format", i->format, "size",
                  (json_int_t)i->size, "on-disk", (json_int_t)i->used, "backing", i->backing,
                  "backing-format", i->backing_format, "data-file", i->data_file);
    if (root && i->cluster_size) {
        json_t *more =
            json_pack("{s:i, s:i, s:i, s:b, s:s, s:b, s:i, s:b, s:b}", "version", (int)i->version,
                      "cluster-size", (int)i->cluster_size, "refcount-bits", (int)i->refcount_bits,
                      "lazy-refcounts", i->lazy_refcounts, "compression", i->compression,
                      "extended-l2", i->extended_l2, "snapshots", (int)i->snapshots, "damaged",
                      i->corrupt, "not-closed", i->dirty);
        json_object_update(root, more);
        json_decref(more);
    }
    return cli_disk_print_json(root);
}

static int info(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, CLI_HELP_OPTION, {0}};
    struct pv_error *err = NULL;
    struct pv_disk_info i;
    bool json = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option != 'j')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        json = true;
    }
    if (argc - optind != 1)
        return cli_usage(command, "info wants one FILE");
    if (pv_disk_info(&i, argv[optind], &err) < 0)
        return cli_fail(&err);
    int status = CLI_OK;
    if (json)
        status = show_info_json(&i);
    else
        show_info(&i);
    pv_disk_info_finish(&i);
    return status;
}

static int check(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"repair", no_argument, NULL, 'r'}, CLI_HELP_OPTION, {0}};
    struct pv_error *err = NULL;
    struct pv_disk_check c;
    bool repair = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP)
            return CLI_OK;
        if (option != 'r')
            return CLI_USAGE;
        repair = true;
    }
    if (argc - optind != 1)
        return cli_usage(command, "check wants one FILE");
    if (pv_disk_check(&c, argv[optind], repair, &err) < 0)
        return cli_fail(&err);
    if (repair)
        printf("repaired: refcounts counted anew, %llu table entries changed\n",
               (unsigned long long)c.repaired);
    printf("%llu errors, %llu leaked clusters; %llu guest clusters stored, %llu of them "
           "compressed\n",
           (unsigned long long)c.errors, (unsigned long long)c.leaks,
           (unsigned long long)c.allocated, (unsigned long long)c.compressed);
    return c.errors || c.leaks ? CLI_FAILURE : CLI_OK;
}

/* As image_option(). */
static int convert_option(int option, struct pv_disk_conversion *c, struct pv_error **err)
{
    uint64_t threads;
    switch (option) {
    case 'c': c->compress = true; return 0;
    case 't':
        if (pv_parse_u64(optarg, "--threads", 1, PV_DISK_THREADS_MAX, &threads, err) < 0)
            return -1;
        c->threads = (unsigned)threads;
        return 0;
    default: return image_option(option, &c->format, &c->options, err);
    }
}

static int convert(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {IMAGE_OPTIONS,
                                            {"compress", no_argument, NULL, 'c'},
                                            {"threads", required_argument, NULL, 't'},
                                            {0}};
    struct pv_disk_conversion c = {.format = "qcow2"};
    struct pv_error *err = NULL;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option == CLI_OPTION_HELP)
            return CLI_OK;
        int ret = convert_option(option, &c, &err);
        if (ret < 0)
            return cli_usage_error(command, &err);
        if (ret > 0)
            return CLI_USAGE;
    }
    if (argc - optind != 2)
        return cli_usage(command, "convert wants two FILEs, the source and the new one");
    if (c.options.backing)
        return cli_usage(command, "convert makes whole images; --backing is for create");
    c.progress = cli_disk_progress();
    return pv_disk_convert(argv[optind], argv[optind + 1], &c, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

static const struct verb verbs[] = {
    {"create", create},
    {"info", info},
    {"check", check},
    {"convert", convert},
    {"resize", cli_disk_resize},
    {"compact", cli_disk_compact},
    {"snapshot", cli_disk_snapshot},
    {"commit", cli_disk_commit},
    {"rebase", cli_disk_rebase},
    {"map", cli_disk_map},
};

#define VERBS "create, info, check, convert, resize, compact, snapshot, commit, rebase or map"

static int run(const struct cli_command *command, int argc, char **argv)
{
    const char *names[PV_ARRAY_SIZE(verbs) + 1] = {0};
    if (argc < 2)
        return cli_usage(command, "what to do is missing: " VERBS);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(command->help, stdout);
        return CLI_OK;
    }
    for (size_t i = 0; i < PV_ARRAY_SIZE(verbs); i++) {
        if (!strcmp(argv[1], verbs[i].name))
            return verbs[i].run(command, argc - 1, argv + 1);
        names[i] = verbs[i].name;
    }
    const char *nearest = cli_nearest(argv[1], names);
    return nearest ? cli_usage(command, "unknown verb '%s'; did you mean '%s'?", argv[1], nearest)
                   : cli_usage(command, "unknown verb '%s'; use " VERBS, argv[1]);
}

const struct cli_command cli_disk = {
    .name = "disk",
    .summary = "make, look at, check, convert and change disk images",
    .help =
        "usage: pearvisor disk create [OPTIONS] FILE SIZE\n"
        "       pearvisor disk info [--json] FILE\n"
        "       pearvisor disk check [--repair] FILE\n"
        "       pearvisor disk convert [OPTIONS] [--compress] FILE NEW\n"
        "       pearvisor disk resize [--shrink] FILE [+]SIZE\n"
        "       pearvisor disk compact FILE\n"
        "       pearvisor disk snapshot create|apply|delete FILE NAME\n"
        "       pearvisor disk snapshot list [--json] FILE\n"
        "       pearvisor disk commit [--keep] FILE\n"
        "       pearvisor disk rebase [--unsafe] [--backing NAME] [--backing-format NAME] FILE\n"
        "       pearvisor disk map [--json] FILE\n"
        "\n"
        "Formats are qcow2 (the default for what is made) and raw; what is read is probed, and "
        "may\n"
        "be vmdk, vhdx, vdi or dmg as well.\n"
        "\n"
        "  --format NAME          qcow2 or raw\n"
        "  --backing FILE         what the new image does not hold comes from there; a name\n"
        "                         without / at its beginning is relative to the new image\n"
        "  --backing-format NAME  qcow2 or raw; the default is what FILE looks like\n"
        "  --cluster-size SIZE    512 to 2M, a power of two (default 64K)\n"
        "  --refcount-bits N      1 to 64, a power of two (default 16)\n"
        "  --lazy-refcounts       fewer writes; counted anew after a crash\n"
        "  --extended-l2          32 subclusters in a cluster: less copying in large clusters\n"
        "  --compression NAME     zlib (default) or zstd, of compressed clusters\n"
        "  --compress             convert: compress every cluster\n"
        "  --threads N            convert: 1 to 64 (default: one for each CPU)\n"
        "\n"
        "check prints errors and leaks and ends with status 1 if there are any; --repair counts\n"
        "all refcounts anew.\n"
        "resize takes the new size, or with + what to add; --shrink allows it to lose what is\n"
        "beyond a smaller size. compact gives back the space of stored zeroes and of the file's\n"
        "free end. A snapshot is kept inside its qcow2 image, for a disk that no VM uses; apply\n"
        "goes back to it, and what was written since is lost.\n"
        "commit writes what the image stores into its backing image and empties it (not with\n"
        "--keep). rebase gives it another backing image, or none; the contents stay, unless\n"
        "--unsafe only changes the name. map shows which parts are stored, and how deep in the\n"
        "chain.\n",
    .run = run,
};
