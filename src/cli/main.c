/* reel: one program, git-like subcommands. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "commands.h"

#define CLI_DECLARE(name, summary) int cmd_##name(struct cli *cli, int argc, char **argv);
CLI_COMMANDS(CLI_DECLARE)

static const struct cli_command commands[] = {
#define CLI_ROW(name, summary) {#name, summary, cmd_##name},
    CLI_COMMANDS(CLI_ROW)};
enum { N_COMMANDS = (int)(sizeof commands / sizeof commands[0]) };

/* As it is typed: import-model, where C says import_model. */
static const char *typed_name(const struct cli_command *command, char name[32]) {
    snprintf(name, 32, "%s", command->name);
    for (char *at = name; *at; at++)
        if (*at == '_') *at = '-';
    return name;
}

static void print_help(FILE *out) {
    char name[32];
    fputs("usage: reel COMMAND [OPTION]... (reel COMMAND --help explains one)\n\n", out);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-12s %s\n", typed_name(&commands[i], name), commands[i].summary);
    fputs("\ncommon options: --device auto|cpu|cuda|cuda:N|cuda:all  --threads N  --seed N  --json  --quiet\n"
          "                --progress auto|plain|none  --help\n",
          out);
}

static void print_version(void) {
    json_t *facts = cli_load_json(reel_doctor_json());
    const char *compiled = json_string_value(json_object_get(facts, "devices_compiled"));
    const char *usable = json_string_value(json_object_get(facts, "devices_usable"));
    printf("reel %s (commit %s)\ndevices compiled: %s\ndevices usable:   %s\n", reel_version(), reel_build_commit(),
           compiled ? compiled : "unknown", usable ? usable : "unknown");
    json_decref(facts);
}

int main(int argc, char **argv) {
    cli_watch_json();
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(name, "--version") == 0) {
        print_version();
        return CLI_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        char typed[32];
        if (strcmp(name, typed_name(&commands[i], typed)) != 0) continue;
        struct cli cli = {.command = name};
        int status = commands[i].run(&cli, argc - 2, argv + 2);
        reel_context_free(cli.ctx);
        return status;
    }
    fprintf(stderr, "reel: there is no command '%s' (reel --help lists them)\n", name);
    return CLI_USAGE;
}
