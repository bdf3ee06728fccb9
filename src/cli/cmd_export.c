/* reel export: a model, a dataset or a service's store for other programs. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#ifndef REEL_WITH_SERVE
#define REEL_WITH_SERVE 0
#endif

#if REEL_WITH_SERVE
#include <reel/serve.h>
#else
static reel_status no_service(reel_context *ctx, const char *path, const char *folder, char **json, reel_error *err) {
    (void)ctx, (void)folder, (void)json;
    err->status = REEL_UNSUPPORTED;
    snprintf(err->message, sizeof err->message, "%.500s: needs the service's part of reel (this build: REEL_SERVE=OFF)",
             path);
    return REEL_UNSUPPORTED;
}
#define reel_dataset_export no_service
#define reel_store_export   no_service
#endif

/* Each kind of file with the call that exports it: fills *json with {"files":[...]} and more. */
static const struct exporter {
    const char *kind; /* as reel_file_info tells it; NULL = any other */
    reel_status (*run)(reel_context *ctx, const char *path, const char *folder, char **json, reel_error *err);
} exporters[] = {
    {"dataset", reel_dataset_export},
    {"store", reel_store_export},
    {NULL, reel_export},
};

/* 1 for a store: it is the one kind of file that is no safetensors file but SQLite. */
static int is_store(const char *path) {
    static const char magic[16] = "SQLite format 3";
    char start[sizeof magic];
    FILE *file = fopen(path, "rb");
    int is = file && fread(start, 1, sizeof start, file) == sizeof start && memcmp(start, magic, sizeof magic) == 0;
    if (file) fclose(file);
    return is;
}

static const struct exporter *exporter_of(const char *kind) {
    const struct exporter *exporter = exporters;
    while (exporter->kind && strcmp(exporter->kind, kind) != 0) exporter++;
    return exporter;
}

static int answer(struct cli *cli, const char *path, const char *folder, json_t *report) {
    if (cli->json) return cli_print_json(cli, report);
    const json_t *files = json_object_get(report, "files");
    if (!cli->quiet) printf("%s: %zu files in %s\n", path, json_array_size(files), folder);
    for (size_t i = 0; !cli->quiet && i < json_array_size(files); i++)
        printf("  %s\n", json_string_value(json_array_get(files, i)));
    json_decref(report);
    return CLI_OK;
}

/* Finds out what the file is. Returns -1 to go on, else an exit status. */
static int choose_exporter(struct cli *cli, const char *path, const struct exporter **out) {
    reel_error err;
    char *text = NULL;
    *out = exporter_of("store");
    if (is_store(path)) return -1;
    if (reel_file_info(cli->ctx, path, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *info = cli_load_json(text);
    if (!info) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    *out = exporter_of(json_string_value(json_object_get(info, "kind")));
    json_decref(info);
    return -1;
}

int cmd_export(struct cli *cli, int argc, char **argv) {
    const char *path = NULL, *folder = NULL;
    const struct cli_option options[] = {
        {"--output", "-o", CLI_TEXT, &folder, "DIR", "folder for the files; made if it is not there"},
        {0},
    };
    int status =
        cli_parse(cli, "MODEL|DATASET|STORE -o DIR",
                  "Writes a model for other programs: every array as .npy, the trees of gbdt, forest and tree\n"
                  "also as forest.json, which XGBoost loads; a cluster file as .npy arrays. Of a dataset, or of the\n"
                  "store of reel serve: users, movies and metadata as NDJSON for mongoimport.",
                  "reel export gbdt.reel -o gbdt-files", options, argc, argv, &path, 1, 1);
    if (status >= 0) return status;
    if (!folder) return cli_usage(cli, "-o DIR is missing");
    status = cli_context(cli);
    if (status >= 0) return status;
    const struct exporter *exporter;
    status = choose_exporter(cli, path, &exporter);
    if (status >= 0) return status;
    reel_error err;
    char *text = NULL;
    if (exporter->run(cli->ctx, path, folder, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *report = cli_load_json(text);
    return report ? answer(cli, path, folder, report) : cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
}
