/* SPDX-License-Identifier: MIT */
/*
 * The `pearvisor` command: a table of subcommands (main.c), one file each. This is a program, not
 * the library: it prints, and it decides the exit status.
 */
#ifndef PV_CLI_CLI_H
#define PV_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>

struct pv_error;

/* Exit statuses. */
#define CLI_OK      0
#define CLI_FAILURE 1
#define CLI_USAGE   2

struct cli_command {
    const char *name;
    const char *summary; /* one line for the list of commands */
    const char *help;    /* the whole of `NAME --help` */
    /* getopt's; NULL for those that have long options only, anywhere among the words. */
    const char *short_options;
    /* argv[0] is the command's name. Returns an exit status. */
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

extern const struct cli_command cli_run;
extern const struct cli_command cli_create;
extern const struct cli_command cli_start;
extern const struct cli_command cli_stop;
extern const struct cli_command cli_suspend;
extern const struct cli_command cli_pause;
extern const struct cli_command cli_resume;
extern const struct cli_command cli_reset;
extern const struct cli_command cli_list;
extern const struct cli_command cli_console;
extern const struct cli_command cli_logs;
extern const struct cli_command cli_config;
extern const struct cli_command cli_clone;
extern const struct cli_command cli_delete;
extern const struct cli_command cli_exec;
extern const struct cli_command cli_cp;
extern const struct cli_command cli_ssh;
extern const struct cli_command cli_stats;
extern const struct cli_command cli_snapshot;
extern const struct cli_command cli_control;
extern const struct cli_command cli_image;
extern const struct cli_command cli_disk;
extern const struct cli_command cli_engines;
extern const struct cli_command cli_gpu_info;
extern const struct cli_command cli_gpu_server;
extern const struct cli_command cli_version;

/* `pearvisor: MESSAGE` on stderr, one line. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints the error, frees it, and returns CLI_FAILURE. */
int cli_fail(struct pv_error **err);

/* A usage error: prints it with a pointer to --help; returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for an error that the parsing of a value returned. */
int cli_usage_error(const struct cli_command *command, struct pv_error **err);

/*
 * The next option as getopt_long returns it, -1 at the end. '?' after a bad one: the message is
 * printed (with the nearest known option), the command returns CLI_USAGE. --help is handled with
 * CLI_OPTION_HELP: the command returns CLI_OK.
 */
int cli_next_option(const struct cli_command *command, int argc, char **argv,
                    const struct option *options);
#define CLI_OPTION_HELP 'h'
#define CLI_HELP_OPTION                                                                            \
    {                                                                                              \
        "help", no_argument, NULL, CLI_OPTION_HELP                                                 \
    }

/* The known word nearest to `word` when it is near enough to be meant, else NULL. */
const char *cli_nearest(const char *word, const char *const *known);

#endif
