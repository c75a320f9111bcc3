/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

static int run_help(const struct cli_command *command, int argc, char **argv);

static const struct cli_command cli_help = {
    .name = "help",
    .summary = "explain a command",
    .help = "usage: pearvisor help [COMMAND]\n",
    .run = run_help,
};

static const struct cli_command *const commands[] = {
    &cli_run,        &cli_create,   &cli_start,   &cli_stop, &cli_suspend, &cli_pause,
    &cli_resume,     &cli_reset,    &cli_list,    &cli_exec, &cli_cp,      &cli_ssh,
    &cli_stats,      &cli_snapshot, &cli_console, &cli_logs, &cli_config,  &cli_clone,
    &cli_delete,     &cli_control,  &cli_image,   &cli_disk, &cli_engines, &cli_gpu_info,
    &cli_gpu_server, &cli_version,  &cli_help,
};

void cli_error(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fprintf(stderr, "pearvisor: %s\n", line);
}

int cli_fail(struct pv_error **err)
{
    cli_error("%s", pv_error_message(*err));
    pv_error_free(err);
    return CLI_FAILURE;
}

int cli_usage(const struct cli_command *command, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    cli_error("%s (see 'pearvisor %s --help')", line, command->name);
    return CLI_USAGE;
}

int cli_usage_error(const struct cli_command *command, struct pv_error **err)
{
    cli_usage(command, "%s", pv_error_message(*err));
    pv_error_free(err);
    return CLI_USAGE;
}

/* Levenshtein distance, for words of up to 31 characters. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= PV_ARRAY_SIZE(row) || b_len >= PV_ARRAY_SIZE(row))
        return 99;
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = PV_MIN(PV_MIN(row[j] + 1, row[j - 1] + 1), replaced);
        }
    }
    return row[b_len];
}

const char *cli_nearest(const char *word, const char *const *known)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (; *known; known++) {
        unsigned d = distance(word, *known);
        if (d < best_distance) {
            best = *known;
            best_distance = d;
        }
    }
    return best;
}

static const char *nearest_option(const char *word, const struct option *options)
{
    const char *known[64];
    size_t count = 0;
    for (; options->name && count + 1 < PV_ARRAY_SIZE(known); options++)
        known[count++] = options->name;
    known[count] = NULL;
    return cli_nearest(word, known);
}

int cli_next_option(const struct cli_command *command, int argc, char **argv,
                    const struct option *options)
{
    opterr = 0;
    int before = optind;
    int option = getopt_long(argc, argv, command->short_options ? command->short_options : ":h",
                             options, NULL);
    if (option == CLI_OPTION_HELP) {
        fputs(command->help, stdout);
    } else if (option == ':') {
        cli_usage(command, "option '%s' needs a value", argv[optind - 1]);
        return '?';
    } else if (option == '?') {
        const char *word = argv[before];
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + strspn(word, "-"), "="),
                 word + strspn(word, "-"));
        const char *nearest = nearest_option(name, options);
        if (optopt && strlen(name) > 1 && nearest && !strcmp(nearest, name))
            cli_usage(command, "option '--%s' takes no value", name);
        else if (nearest)
            cli_usage(command, "unknown option '%s'; did you mean '--%s'?", word, nearest);
        else
            cli_usage(command, "unknown option '%s'", word);
    }
    return option;
}

static void print_commands(FILE *to)
{
    fputs("usage: pearvisor COMMAND [OPTION...]\n\n"
          "Runs ARM64 Linux guests.\n\ncommands:\n",
          to);
    for (size_t i = 0; i < PV_ARRAY_SIZE(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'pearvisor COMMAND --help' explains a command.\n"
          "Set PEARVISOR_LOG (e.g. to 'info,virtio=debug') to see more of what happens.\n",
          to);
}

static const struct cli_command *find_command(const char *name)
{
    const char *known[PV_ARRAY_SIZE(commands) + 1] = {0};
    for (size_t i = 0; i < PV_ARRAY_SIZE(commands); i++) {
        if (!strcmp(name, commands[i]->name))
            return commands[i];
        known[i] = commands[i]->name;
    }
    const char *nearest = cli_nearest(name, known);
    if (nearest)
        cli_error("unknown command '%s'; did you mean '%s'?", name, nearest);
    else
        cli_error("unknown command '%s'; 'pearvisor help' lists them", name);
    return NULL;
}

static int run_help(const struct cli_command *command, int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stdout);
        return CLI_OK;
    }
    const struct cli_command *about = find_command(argv[1]);
    if (!about)
        return CLI_USAGE;
    fputs(about->help, stdout);
    return CLI_OK;
}

int main(int argc, char **argv)
{
    /* A console or network peer that went away is an error code, not the end of the VM. */
    signal(SIGPIPE, SIG_IGN);

    const char *filter = getenv("PEARVISOR_LOG");
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (filter && pv_log_set_filter(filter, &err) < 0) {
        cli_error("PEARVISOR_LOG: %s", pv_error_message(err));
        return CLI_USAGE;
    }
    if (argc < 2) {
        print_commands(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_commands(stdout);
        return CLI_OK;
    }
    const char *name = strcmp(argv[1], "--version") ? argv[1] : "version";
    const struct cli_command *command = find_command(name);
    return command ? command->run(command, argc - 1, argv + 1) : CLI_USAGE;
}
