/* What the subcommands share: option parsing, the context made of the common flags, JSON output and
 * errors. Exit status: 0 done, 1 the work failed, 2 wrong usage. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <reel/reel.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_type { CLI_FLAG, CLI_INT, CLI_COUNT, CLI_REAL, CLI_TEXT, CLI_LIST };

#define CLI_LIST_MAX 256
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t n;
};

/* One option. `value` points at int (FLAG, INT), int64_t (COUNT: also 20M, 5k), double (REAL), const char *
 * (TEXT) or struct cli_list (LIST: may be given again). */
struct cli_option {
    const char *name;       /* "--factors" */
    const char *short_name; /* "-k" or NULL */
    enum cli_type type;
    void *value;
    const char *argument; /* "FILE", "N"; NULL for flags */
    const char *help;
};

/* The common flags, filled by cli_parse. */
struct cli {
    const char *command;
    int threads, json, quiet;
    const char *device, *progress;
    int64_t seed;
    reel_context *ctx; /* made by cli_context, freed by main */
};

struct cli_command {
    const char *name;
    const char *summary; /* one line for `reel --help` */
    int (*run)(struct cli *cli, int argc, char **argv);
};

/* Parses options and up to `max` positionals ("DATASET" ...: `usage` is "DATASET -m ALGO -o MODEL"). Options
 * and positionals may be mixed; "--" ends options; "--name=value" works. Prints help with `example` for --help.
 * Returns -1 to go on, else the exit status to return at once. `options` ends with a NULL name. */
int cli_parse(struct cli *cli, const char *usage, const char *about, const char *example,
              const struct cli_option *options, int argc, char **argv, const char **positionals, int min, int max);
/* Makes cli->ctx of the common flags and lets Ctrl-C cancel it. Returns -1 to go on, else an exit status. */
int cli_context(struct cli *cli);
/* Prints an error ("reel: ..." on stderr, and with --json {"error":{...}} on stdout); returns the exit status:
 * 2 for INVALID_ARGUMENT, else 1. */
int cli_fail(const struct cli *cli, const reel_error *err);
/* Wrong usage: prints the line and a pointer to --help; returns 2. */
__attribute__((format(printf, 2, 3))) int cli_usage(const struct cli *cli, const char *format, ...);
/* To be called first: from now on a failed allocation inside jansson is remembered, because version 2.14 may go on
 * with text that lacks characters. cli_load_json and cli_print_json then fail. */
void cli_watch_json(void);
/* Parses JSON text that the library made, and frees it. NULL for NULL and when memory runs out. */
json_t *cli_load_json(char *text);
/* Prints one JSON object and a newline on stdout, takes `object` over. Returns 0, or 1 if stdout fails. */
int cli_print_json(const struct cli *cli, json_t *object);
/* "12,345,678" in one of a few rotating buffers. */
const char *cli_thousands(int64_t n);
/* Splits "a,b,c" in place into list items. */
int cli_split_commas(char *text, struct cli_list *list);
/* "key=value" items to parameters; `out` has room for list->n; the keys are malloc'd, freed by
 * cli_params_free. Returns -1 to go on, else an exit status. */
int cli_params(const struct cli *cli, const struct cli_list *list, reel_param *out);
void cli_params_free(reel_param *params, size_t n);

#endif
