/* SPDX-License-Identifier: MIT */
/* The values of `pearvisor run`'s options, apart from what they are used for. */
#ifndef PV_CLI_RUN_OPTIONS_H
#define PV_CLI_RUN_OPTIONS_H

#include "vm/config.h"

struct pv_error;

/*
 * Each parses one option's value into the config and changes it nowhere else. `text` is cut up in
 * place and must outlive the config.
 */
int cli_parse_disk(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_acpi(const char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_net(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_console(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_cdrom(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_port(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_vsock(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_input(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_trace(char *text, struct pv_engine_watch *watch, struct pv_error **err);
int cli_parse_gpu(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_display(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_sound(char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_virtio(const char *text, struct pv_config *config, struct pv_error **err);
int cli_parse_confine(const char *text, struct pv_config *config, struct pv_error **err);
/* Only checked: it is pearvisord that reads it. */
int cli_parse_restart(const char *text, struct pv_error **err);
int cli_parse_grant(char *text, struct pv_config *config, struct pv_error **err);

#endif
