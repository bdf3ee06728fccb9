/* reel serve: the HTTP service. */
#define _GNU_SOURCE /* pipe2 */
#include "cli.h"

#ifndef REEL_WITH_SERVE
#define REEL_WITH_SERVE 0
#endif

#if REEL_WITH_SERVE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <reel/serve.h>

enum { NAME_BYTES = 33, DRAIN_MS = 10000 };

/* "name=file", or a file that lends its name: svd-50.reel is svd-50. */
static int name_model(const struct cli *cli, const char *text, char *name, reel_serve_model *model) {
    const char *equals = strchr(text, '='), *slash = strrchr(text, '/');
    const char *begin = equals ? text : slash ? slash + 1 : text;
    size_t length = equals ? (size_t)(equals - text) : strcspn(begin, ".");
    if (length == 0 || length >= NAME_BYTES)
        return cli_usage(cli, "--model takes NAME=FILE with a name of 1 to 32 characters (found '%.80s')", text);
    memcpy(name, begin, length);
    name[length] = '\0';
    *model = (reel_serve_model){name, equals ? equals + 1 : text};
    return -1;
}

static int print_ready(const struct cli *cli, const reel_serve_options *options, const reel_server *server) {
    char url[160];
    int is_v6 = strchr(options->bind, ':') != NULL;
    snprintf(url, sizeof url, is_v6 ? "http://[%s]:%d" : "http://%s:%d", options->bind, reel_server_port(server));
    if (cli->json)
        return cli_print_json(
            cli, options->unix_socket
                     ? json_pack("{s:s,s:i}", "unix_socket", options->unix_socket, "pid", getpid())
                     : json_pack("{s:s,s:i,s:i}", "url", url, "port", reel_server_port(server), "pid", getpid()));
    printf("listening on %s%s\n", options->unix_socket ? "unix:" : "",
           options->unix_socket ? options->unix_socket : url);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

/* Signals may arrive in any thread, also in those that OpenBLAS started before main: the handler passes them on. */
static int signal_pipe[2];

static void on_signal(int number) {
    int code = errno;
    char byte = (char)number;
    if (write(signal_pipe[1], &byte, 1) < 0) { /* full: signals enough are waiting */
    }
    errno = code;
}

static int watch_signals(const struct cli *cli) {
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (pipe2(signal_pipe, O_CLOEXEC) != 0 || fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK) != 0 ||
        sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGHUP, &action, NULL) != 0)
        return cli_fail(cli, &(reel_error){REEL_IO, "signals cannot be watched"});
    signal(SIGPIPE, SIG_IGN);
    return -1;
}

/* Until SIGINT or SIGTERM; SIGHUP loads everything afresh. */
static void serve_until_stopped(const struct cli *cli, reel_server *server) {
    char number = SIGHUP;
    while (number == SIGHUP) {
        struct pollfd signals = {.fd = signal_pipe[0], .events = POLLIN};
        if (poll(&signals, 1, -1) < 1) continue; /* interrupted by the very signal */
        if (read(signal_pipe[0], &number, 1) != 1 || number != SIGHUP) break;
        reel_error err;
        reel_status status = reel_server_reload(server, &err);
        if (status != REEL_OK)
            fprintf(stderr, "reel: serve: not reloaded: %s\n", err.message);
        else if (!cli->quiet)
            fprintf(stderr, "reel: serve: reloaded\n");
    }
}

static int serve(struct cli *cli, const reel_serve_options *options) {
    reel_error err;
    reel_server *server;
    int status = watch_signals(cli);
    if (status >= 0) return status;
    if (reel_server_start(cli->ctx, options, &server, &err) != REEL_OK) return cli_fail(cli, &err);
    status = print_ready(cli, options, server);
    if (status == CLI_OK) serve_until_stopped(cli, server);
    if (!cli->quiet) fprintf(stderr, "reel: serve: stopping\n");
    reel_server_stop(server, DRAIN_MS);
    return status;
}

int cmd_serve(struct cli *cli, int argc, char **argv) {
    reel_serve_options options;
    struct cli_list models = {0};
    reel_serve_model named[CLI_LIST_MAX];
    char names[CLI_LIST_MAX][NAME_BYTES];
    reel_serve_options_default(&options);
    options.port = 8080;
    const struct cli_option table[] = {
        {"--dataset", "-d", CLI_TEXT, &options.dataset, "FILE", "the dataset (needed)"},
        {"--model", "-m", CLI_LIST, &models, "[NAME=]FILE", "a model; may be given again, the first is the default"},
        {"--clusters", NULL, CLI_TEXT, &options.clusters, "FILE", "clusters of `reel cluster -o`"},
        {"--store", NULL, CLI_TEXT, &options.store, "FILE", "SQLite file of live ratings and jobs, made when missing"},
        {"--models-dir", NULL, CLI_TEXT, &options.models_dir, "DIR",
         "where jobs write models (default: beside the store)"},
        {"--bind", NULL, CLI_TEXT, &options.bind, "ADDRESS", "address to listen on (default 127.0.0.1)"},
        {"--port", "-p", CLI_INT, &options.port, "N", "port, 0 = any free one (default 8080)"},
        {"--unix-socket", NULL, CLI_TEXT, &options.unix_socket, "PATH", "listen on a UNIX socket instead"},
        {"--daemons", NULL, CLI_INT, &options.daemons, "N", "epoll threads (default: one a processor)"},
        {"--workers", NULL, CLI_INT, &options.workers, "N", "threads that score (default: one a processor)"},
        {"--api-key-file", NULL, CLI_TEXT, &options.api_key_file, "FILE", "key for writing and admin paths"},
        {"--auth-secret-file", NULL, CLI_TEXT, &options.auth_secret_file, "FILE", "secret of HS256 tokens"},
        {"--auth-all", NULL, CLI_FLAG, &options.auth_all, NULL, "reading needs a key too"},
        {"--max-connections", NULL, CLI_INT, &options.max_connections, "N", "in all (default 20000)"},
        {"--max-connections-per-address", NULL, CLI_INT, &options.max_connections_per_address, "N", "0 = no limit"},
        {"--rate-limit", NULL, CLI_INT, &options.rate_limit, "N", "requests a second an address (default 0 = none)"},
        {"--request-deadline-ms", NULL, CLI_INT, &options.request_deadline_ms, "N",
         "for a whole request (default 5000)"},
        {"--max-body", NULL, CLI_COUNT, &options.max_body_bytes, "BYTES", "of a request (default 1048576)"},
        {"--cache", NULL, CLI_COUNT, &options.cache_bytes, "BYTES", "for finished answers (default 268435456)"},
        {"--max-queue", NULL, CLI_INT, &options.max_queue, "N", "scoring requests that may wait (default 4096)"},
        {"--max-batch", NULL, CLI_INT, &options.max_batch, "N", "scored in one call (default 64)"},
        {"--max-wait-us", NULL, CLI_INT, &options.max_wait_us, "N", "how long a batch waits to fill (default 200)"},
        {"--access-log", NULL, CLI_TEXT, &options.access_log, "FILE", "JSON lines; - = standard error"},
        {0},
    };
    int status = cli_parse(cli, "--dataset FILE [--model [NAME=]FILE]... [--port N]",
                           "Serves recommendations over HTTP until it is interrupted. Prints one line when it takes\n"
                           "requests. SIGHUP loads all files afresh and opens the access log anew; SIGTERM and Ctrl-C\n"
                           "end it after the running requests.",
                           "reel serve --dataset ml.reel --model svd=svd.model --clusters ml.clusters --port 8080",
                           table, argc, argv, NULL, 0, 0);
    if (status >= 0) return status;
    if (!options.dataset) return cli_usage(cli, "--dataset FILE is needed");
    for (size_t i = 0; i < models.n; i++)
        if ((status = name_model(cli, models.items[i], names[i], &named[i])) >= 0) return status;
    options.models = named;
    options.n_models = models.n;
    status = cli_context(cli);
    if (status >= 0) return status;
    options.device = cli->device;
    return serve(cli, &options);
}

#else

int cmd_serve(struct cli *cli, int argc, char **argv) {
    static const struct cli_option options[] = {{0}};
    int status = cli_parse(cli, "", "This build has no HTTP service: it was configured with REEL_SERVE=OFF.",
                           "cmake -DREEL_SERVE=ON", options, argc, argv, NULL, 0, argc);
    if (status == CLI_OK) return status;
    return cli_fail(cli, &(reel_error){REEL_UNSUPPORTED, "this build has no HTTP service (REEL_SERVE=OFF)"});
}

#endif
