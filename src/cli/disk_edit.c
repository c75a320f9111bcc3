/* SPDX-License-Identifier: MIT */
/* disk: the verbs that change images, and map. */
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/disk.h"

#include <string.h>
#include <time.h>

#define SIZE_TEXT 16u

static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
    const unsigned percent = total ? (unsigned)(done * 100 / total) : 100;
    fprintf(stderr, "\r%3u%%%s", percent, done == total ? "\n" : "");
}

struct pv_disk_progress cli_disk_progress(void)
{
    return (struct pv_disk_progress){.show = isatty(STDERR_FILENO) ? show_progress : NULL};
}

int cli_disk_print_json(json_t *root)
{
    if (!root) {
        cli_error("out of memory");
        return CLI_FAILURE;
    }
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
    return CLI_OK;
}

/* Parses one option without a value and --help. -1 to go on, else an exit status. */
static int flag_option(const struct cli_command *command, int argc, char **argv, const char *name,
                       bool *set)
{
    const struct option options[] = {{name, no_argument, NULL, 'x'}, CLI_HELP_OPTION, {0}};
    int option;
    *set = false;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        if (option != 'x')
            return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        *set = true;
    }
    return -1;
}

/* ---- Changing one image ---- */

int cli_disk_resize(const struct cli_command *command, int argc, char **argv)
{
    struct pv_error *err = NULL;
    struct pv_disk_info info;
    uint64_t size;
    bool shrink;
    int status = flag_option(command, argc, argv, "shrink", &shrink);
    if (status >= 0)
        return status;
    if (argc - optind != 2)
        return cli_usage(command, "resize wants FILE and SIZE");
    const char *text = argv[optind + 1];
    const bool more = *text == '+';
    if (pv_parse_size(text + more, "SIZE", 0, UINT64_C(1) << 56, &size, &err) < 0)
        return cli_usage_error(command, &err);
    if (more) {
        if (pv_disk_info(&info, argv[optind], &err) < 0)
            return cli_fail(&err);
        size += info.size;
        pv_disk_info_finish(&info);
    }
    return pv_disk_resize(argv[optind], size, shrink, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cli_disk_compact(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {CLI_HELP_OPTION, {0}};
    const struct pv_disk_progress progress = cli_disk_progress();
    struct pv_error *err = NULL;
    uint64_t saved;
    char text[SIZE_TEXT];
    int option = cli_next_option(command, argc, argv, options);
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (argc - optind != 1)
        return cli_usage(command, "compact wants one FILE");
    if (pv_disk_compact(argv[optind], &progress, &saved, &err) < 0)
        return cli_fail(&err);
    printf("%s given back\n", pv_format_size(saved, text));
    return CLI_OK;
}

/* ---- Snapshots ---- */

static void show_snapshot(void *opaque, const struct pv_disk_snapshot *s)
{
    char when[32] = "", size[SIZE_TEXT];
    const time_t seconds = (time_t)s->seconds;
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof(when), "%F %T", &tm);
    printf("%-6s %-24s %-20s %s%s\n", s->id, s->name, when, pv_format_size(s->size, size),
           s->vm_state_size ? ", with VM state" : "");
}

static void add_snapshot(void *opaque, const struct pv_disk_snapshot *s)
{
    json_array_append_new(opaque,
                          json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", s->id, "name", s->name,
                                    "time", (json_int_t)s->seconds, "size", (json_int_t)s->size,
                                    "vm-state", (json_int_t)s->vm_state_size));
}

static int list_snapshots(const char *path, bool json)
{
    struct pv_error *err = NULL;
    json_t *root = json ? json_array() : NULL;
    if (pv_disk_snapshot_list(path, json ? add_snapshot : show_snapshot, root, &err) < 0) {
        json_decref(root);
        return cli_fail(&err);
    }
    return json ? cli_disk_print_json(root) : CLI_OK;
}

int cli_disk_snapshot(const struct cli_command *command, int argc, char **argv)
{
    struct pv_error *err = NULL;
    bool json;
    int status = flag_option(command, argc, argv, "json", &json);
    if (status >= 0)
        return status;
    const int names = argc - optind;
    const char *verb = names ? argv[optind] : "";
    if (!strcmp(verb, "list"))
        return names == 2 ? list_snapshots(argv[optind + 1], json)
                          : cli_usage(command, "snapshot list wants one FILE");
    if (names != 3)
        return cli_usage(command, "snapshot wants create, apply or delete, FILE and NAME; or list "
                                  "and FILE");
    const char *path = argv[optind + 1], *name = argv[optind + 2];
    int ret;
    if (!strcmp(verb, "create"))
        ret = pv_disk_snapshot_create(path, name, &err);
    else if (!strcmp(verb, "apply"))
        ret = pv_disk_snapshot_apply(path, name, &err);
    else if (!strcmp(verb, "delete"))
        ret = pv_disk_snapshot_delete(path, name, &err);
    else
        return cli_usage(command, "snapshot '%s', want create, apply, delete or list", verb);
    return ret < 0 ? cli_fail(&err) : CLI_OK;
}

/* ---- Chains ---- */

int cli_disk_commit(const struct cli_command *command, int argc, char **argv)
{
    const struct pv_disk_progress progress = cli_disk_progress();
    struct pv_error *err = NULL;
    bool keep;
    int status = flag_option(command, argc, argv, "keep", &keep);
    if (status >= 0)
        return status;
    if (argc - optind != 1)
        return cli_usage(command, "commit wants one FILE");
    return pv_disk_commit(argv[optind], keep, &progress, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cli_disk_rebase(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"backing", required_argument, NULL, 'b'},
                                            {"backing-format", required_argument, NULL, 'F'},
                                            {"unsafe", no_argument, NULL, 'u'},
                                            CLI_HELP_OPTION,
                                            {0}};
    const struct pv_disk_progress progress = cli_disk_progress();
    const char *backing = NULL, *format = NULL;
    struct pv_error *err = NULL;
    bool unsafe = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) != -1) {
        switch (option) {
        case 'b': backing = optarg; break;
        case 'F': format = optarg; break;
        case 'u': unsafe = true; break;
        default: return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
        }
    }
    if (argc - optind != 1)
        return cli_usage(command, "rebase wants one FILE");
    return pv_disk_rebase(argv[optind], backing, format, unsafe, &progress, &err) < 0
               ? cli_fail(&err)
               : CLI_OK;
}

static const char *extent_kind(const struct pv_disk_extent *e)
{
    return e->data ? "data" : e->absent ? "absent" : "zero";
}

static void show_extent(void *opaque, const struct pv_disk_extent *e)
{
    printf("%16llu %16llu  %-6s %5u\n", (unsigned long long)e->offset,
           (unsigned long long)e->length, extent_kind(e), e->depth);
}

static void add_extent(void *opaque, const struct pv_disk_extent *e)
{
    json_array_append_new(opaque, json_pack("{s:I, s:I, s:s, s:i}", "start", (json_int_t)e->offset,
                                            "length", (json_int_t)e->length, "kind", extent_kind(e),
                                            "depth", (int)e->depth));
}

int cli_disk_map(const struct cli_command *command, int argc, char **argv)
{
    struct pv_error *err = NULL;
    bool json;
    int status = flag_option(command, argc, argv, "json", &json);
    if (status >= 0)
        return status;
    if (argc - optind != 1)
        return cli_usage(command, "map wants one FILE");
    json_t *root = json ? json_array() : NULL;
    if (!json)
        printf("%16s %16s  %-6s %5s\n", "start", "length", "kind", "depth");
    if (pv_disk_map(argv[optind], json ? add_extent : show_extent, root, &err) < 0) {
        json_decref(root);
        return cli_fail(&err);
    }
    return json ? cli_disk_print_json(root) : CLI_OK;
}
