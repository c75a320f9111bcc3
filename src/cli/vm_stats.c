/* SPDX-License-Identifier: MIT */
/* stats: what VMs use, as the guest sees it (by its agent) and as the host does. */
#include "agent/client.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"
#include "cli/cli.h"
#include "host/program.h"
#include "vm/library.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct stats {
    uint64_t memory, resident; /* as configured; of the host */
    uint64_t total, available; /* the guest's; 0: no agent answers */
    char load[32], address[64];
};

static void take_word(struct stats *stats, const char *word)
{
    if (!strncmp(word, "memory-total=", 13))
        stats->total = strtoull(word + 13, NULL, 10);
    else if (!strncmp(word, "memory-available=", 17))
        stats->available = strtoull(word + 17, NULL, 10);
    else if (!strncmp(word, "load=", 5))
        snprintf(stats->load, sizeof(stats->load), "%.*s", (int)strcspn(word + 5, " "), word + 5);
    else if (!strncmp(word, "address=", 8) && !stats->address[0])
        snprintf(stats->address, sizeof(stats->address), "%s",
                 word + 8 + strcspn(word + 8, " ") + (strchr(word + 8, ' ') != NULL));
}

/* A guest without an agent has no figures of its own; that is no error. */
static void ask_agent(const char *name, struct stats *stats)
{
    char *words[PV_AGENT_WORDS_MAX + 1];
    const char *request[] = {"info"};
    PV_CLEANUP_FD int fd = pv_library_agent(name, NULL);
    PV_CLEANUP_FREE struct pv_agent_frame *answer = malloc(sizeof(*answer));
    if (fd < 0 || !answer || pv_agent_ask(fd, request, 1, answer, NULL) < 0)
        return;
    const int count = pv_agent_words(answer, words, PV_AGENT_WORDS_MAX);
    for (int i = 0; i < count; i++)
        take_word(stats, words[i]);
}

static int collect(const char *name, struct stats *stats, struct pv_error **err)
{
    json_t *status = NULL;
    PV_CLEANUP_FREE char *folder = NULL;
    int ret = pv_library_find(name, &folder, err);
    if (ret >= 0 && !pv_library_is_alive(folder))
        ret = pv_error_set(err, ESRCH, "VM '%s' is not running", name);
    if (ret >= 0)
        ret = pv_library_ask(folder, "status", NULL, &status, err);
    if (ret < 0)
        return ret;
    stats->memory = (uint64_t)json_integer_value(json_object_get(status, "memory"));
    stats->resident =
        pv_program_resident((pid_t)json_integer_value(json_object_get(status, "pid")));
    json_decref(status);
    ask_agent(name, stats);
    return 0;
}

static void print_text(const char *name, const struct stats *stats)
{
    char used[32] = "-";
    if (stats->total)
        snprintf(used, sizeof(used), "%" PRIu64, (stats->total - stats->available) / PV_MIB);
    printf("%-20s %8" PRIu64 " %10s %9" PRIu64 " %6s  %s\n", name, stats->memory / PV_MIB, used,
           stats->resident / PV_MIB, stats->load[0] ? stats->load : "-",
           stats->address[0] ? stats->address : "-");
}

static json_t *as_json(const char *name, const struct stats *stats)
{
    json_t *row = json_pack("{s:s, s:I, s:I}", "name", name, "memory", (json_int_t)stats->memory,
                            "resident", (json_int_t)stats->resident);
    if (stats->total) {
        json_object_set_new(row, "guest-used",
                            json_integer((json_int_t)(stats->total - stats->available)));
        json_object_set_new(row, "load", json_string(stats->load));
        json_object_set_new(row, "address", json_string(stats->address));
    }
    return row;
}

static int stats(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, CLI_HELP_OPTION, {0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    bool json = false;
    int option;
    while ((option = cli_next_option(command, argc, argv, options)) == 'j')
        json = true;
    if (option != -1)
        return option == CLI_OPTION_HELP ? CLI_OK : CLI_USAGE;
    if (optind == argc)
        return cli_usage(command, "names of VMs are needed; 'pearvisor list' has them");
    json_t *rows = json_array();
    int status = CLI_OK;
    if (!json)
        printf("%-20s %8s %10s %9s %6s  %s\n", "NAME", "MIB", "GUEST USES", "HOST HAS", "LOAD",
               "ADDRESS");
    for (int i = optind; i < argc; i++) {
        struct stats now = {0};
        if (collect(argv[i], &now, &err) < 0)
            status = cli_fail(&err);
        else if (json)
            json_array_append_new(rows, as_json(argv[i], &now));
        else
            print_text(argv[i], &now);
    }
    if (json && json_dumpf(rows, stdout, JSON_INDENT(2)) == 0)
        putchar('\n');
    json_decref(rows);
    return status;
}

const struct cli_command cli_stats = {
    .name = "stats",
    .summary = "what virtual machines use, in the guest and of the host",
    .help =
        "usage: pearvisor stats [--json] NAME...\n\n"
        "MIB is what a VM was given; GUEST USES what its kernel counts as used, LOAD and ADDRESS\n"
        "need the agent in the guest; HOST HAS is all the memory of the VM's process.\n",
    .run = stats,
};
