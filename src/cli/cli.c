#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

static int parse_int64(const char *text, int suffixes, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || errno == ERANGE) return 0;
    int64_t scale = 1;
    if (suffixes && (*end == 'k' || *end == 'K'))
        scale = 1000, end++;
    else if (suffixes && (*end == 'm' || *end == 'M'))
        scale = 1000000, end++;
    else if (suffixes && (*end == 'g' || *end == 'G'))
        scale = 1000000000, end++;
    return !*end && !__builtin_mul_overflow((int64_t)value, scale, out);
}

/* Stores `text` as the option's value; 0 if it is not of its type. */
static int store_value(const struct cli_option *option, const char *text) {
    int64_t number;
    char *end;
    struct cli_list *list;
    switch (option->type) {
    case CLI_FLAG:
        *(int *)option->value = 1;
        return 1;
    case CLI_INT:
        if (!parse_int64(text, 0, &number) || number < INT32_MIN || number > INT32_MAX) return 0;
        *(int *)option->value = (int)number;
        return 1;
    case CLI_COUNT:
        return parse_int64(text, 1, option->value);
    case CLI_REAL:
        *(double *)option->value = strtod(text, &end);
        return end != text && !*end && isfinite(*(double *)option->value);
    case CLI_TEXT:
        *(const char **)option->value = text;
        return 1;
    case CLI_LIST:
        list = option->value;
        if (list->n == CLI_LIST_MAX) return 0;
        list->items[list->n++] = text;
        return 1;
    }
    return 0;
}

static const struct cli_option *find_option(const struct cli_option *options, const char *text, size_t length) {
    for (; options->name; options++) {
        if (strlen(options->name) == length && memcmp(options->name, text, length) == 0) return options;
        if (options->short_name && strlen(options->short_name) == length &&
            memcmp(options->short_name, text, length) == 0)
            return options;
    }
    return NULL;
}

static void print_options(const struct cli_option *options) {
    for (; options->name; options++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", options->short_name ? options->short_name : "",
                 options->short_name ? ", " : "", options->name, options->argument ? " " : "",
                 options->argument ? options->argument : "");
        printf("  %-28s %s\n", left, options->help);
    }
}

int cli_parse(struct cli *cli, const char *usage, const char *about, const char *example,
              const struct cli_option *options, int argc, char **argv, const char **positionals, int min, int max) {
    int help = 0, n_positionals = 0, only_positionals = 0;
    cli->device = "auto";
    cli->progress = "auto";
    const struct cli_option common[] = {
        {"--device", NULL, CLI_TEXT, &cli->device, "D", "auto, cpu, cuda, cuda:N, cuda:all (default auto)"},
        {"--threads", NULL, CLI_INT, &cli->threads, "N", "worker threads (default: all usable processors)"},
        {"--seed", NULL, CLI_COUNT, &cli->seed, "N", "seed of everything random (default 0)"},
        {"--json", NULL, CLI_FLAG, &cli->json, NULL, "one JSON object on stdout, nothing else"},
        {"--quiet", NULL, CLI_FLAG, &cli->quiet, NULL, "errors only"},
        {"--progress", NULL, CLI_TEXT, &cli->progress, "MODE", "auto, plain or none"},
        {"--help", "-h", CLI_FLAG, &help, NULL, "this text"},
        {0},
    };
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (only_positionals || arg[0] != '-' || !arg[1]) {
            if (n_positionals == max) return cli_usage(cli, "unexpected argument '%s'", arg);
            positionals[n_positionals++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_positionals = 1;
            continue;
        }
        const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
        size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
        const struct cli_option *option = find_option(options, arg, length);
        if (!option) option = find_option(common, arg, length);
        if (!option) return cli_usage(cli, "unknown option '%s'", arg);
        const char *value = equals ? equals + 1 : NULL;
        if (option->type == CLI_FLAG) {
            if (value) return cli_usage(cli, "%s takes no value", option->name);
        } else if (!value) {
            if (i + 1 == argc) return cli_usage(cli, "%s needs a value (%s)", option->name, option->argument);
            value = argv[++i];
        }
        if (!store_value(option, value))
            return cli_usage(cli, "%s cannot be '%s' (%s)", option->name, value, option->help);
    }
    if (help) {
        printf("usage: reel %s %s\n\n%s\n\noptions:\n", cli->command, usage, about);
        print_options(options);
        puts("common options:");
        print_options(common);
        printf("\nexample:\n  %s\n", example);
        return CLI_OK;
    }
    if (n_positionals < min) return cli_usage(cli, "too few arguments (usage: reel %s %s)", cli->command, usage);
    return -1;
}

int cli_usage(const struct cli *cli, const char *format, ...) {
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "reel: %s: %s (reel %s --help explains)\n", cli->command, line, cli->command);
    if (cli->json) {
        json_t *error = json_pack("{s:{s:s,s:s}}", "error", "code", "usage", "message", line);
        if (error) json_dumpf(error, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(error);
    }
    return CLI_USAGE;
}

/* ---- context ---- */

static reel_context *interruptible;

static void on_interrupt(int signal_number) {
    if (interruptible) reel_context_cancel(interruptible);
    /* A second Ctrl-C ends the program at once; atomic writes keep files whole. */
    signal(signal_number, SIG_DFL);
}

static void print_log(void *user_data, reel_log_level level, const char *message) {
    const struct cli *cli = user_data;
    if (cli->quiet && level > REEL_LOG_ERROR) return;
    fprintf(stderr, "reel: %s%s\n", level == REEL_LOG_WARNING ? "note: " : "", message);
}

int cli_context(struct cli *cli) {
    reel_context_options options;
    reel_context_options_default(&options);
    if (cli->threads < 0 || cli->threads > 1024) return cli_usage(cli, "--threads must be 1..1024");
    options.threads = cli->threads;
    options.device = cli->device;
    options.log = print_log;
    options.user_data = cli;
    if (strcmp(cli->progress, "auto") == 0)
        options.progress_mode = REEL_PROGRESS_AUTO;
    else if (strcmp(cli->progress, "plain") == 0)
        options.progress_mode = REEL_PROGRESS_PLAIN;
    else if (strcmp(cli->progress, "none") != 0)
        return cli_usage(cli, "--progress must be auto, plain or none (found '%s')", cli->progress);
    if (cli->quiet) options.progress_mode = REEL_PROGRESS_NONE;
    reel_error err;
    if (reel_context_new(&options, &cli->ctx, &err) != REEL_OK) return cli_fail(cli, &err);
    interruptible = cli->ctx;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return -1;
}

/* ---- output ---- */

int cli_fail(const struct cli *cli, const reel_error *err) {
    fprintf(stderr, "reel: %s\n", err->message);
    if (cli->json) {
        json_t *error =
            json_pack("{s:{s:s,s:s}}", "error", "code", reel_status_name(err->status), "message", err->message);
        if (error) json_dumpf(error, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(error);
    }
    return err->status == REEL_INVALID_ARGUMENT ? CLI_USAGE : CLI_FAILED;
}

static atomic_int json_memory_failed;

static void *json_malloc(size_t size) {
    void *pointer = malloc(size);
    if (!pointer) atomic_store(&json_memory_failed, 1);
    return pointer;
}

void cli_watch_json(void) {
    json_set_alloc_funcs(json_malloc, free);
}

json_t *cli_load_json(char *text) {
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    reel_string_free(text);
    if (!atomic_load(&json_memory_failed)) return value;
    json_decref(value);
    return NULL;
}

int cli_print_json(const struct cli *cli, json_t *object) {
    if (!object || atomic_load(&json_memory_failed)) {
        json_decref(object);
        return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    }
    int failed = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0;
    json_decref(object);
    putchar('\n');
    if (fflush(stdout) != 0 || failed) {
        fprintf(stderr, "reel: writing the JSON answer failed\n");
        return CLI_FAILED;
    }
    return CLI_OK;
}

const char *cli_thousands(int64_t n) {
    static char buffers[8][32];
    static int next;
    char *out = buffers[next++ % 8];
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, n), at = 0;
    for (int i = 0; i < length; i++) {
        out[at++] = digits[i];
        int left = length - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') out[at++] = ',';
    }
    out[at] = '\0';
    return out;
}

int cli_split_commas(char *text, struct cli_list *list) {
    char *rest = NULL;
    for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        if (list->n == CLI_LIST_MAX) return 0;
        list->items[list->n++] = item;
    }
    return list->n > 0;
}

int cli_params(const struct cli *cli, const struct cli_list *list, reel_param *out) {
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals || equals == list->items[i]) {
            cli_params_free(out, i);
            return cli_usage(cli, "-p takes key=value (found '%s')", list->items[i]);
        }
        out[i].key = strndup(list->items[i], (size_t)(equals - list->items[i]));
        out[i].value = equals + 1;
        if (out[i].key) continue;
        cli_params_free(out, i);
        return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    }
    return -1;
}

void cli_params_free(reel_param *params, size_t n) {
    for (size_t i = 0; i < n; i++) free((char *)(uintptr_t)params[i].key);
}
