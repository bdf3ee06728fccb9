/* reel export: a model for other programs. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* Each kind of file with the call that exports it: fills *json with {"files":[...]} and more. */
static const struct exporter {
    const char *kind; /* as reel_file_info tells it; NULL = any other */
    reel_status (*run)(reel_context *ctx, const char *path, const char *folder, char **json, reel_error *err);
} exporters[] = {
    {NULL, reel_export},
};

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

int cmd_export(struct cli *cli, int argc, char **argv) {
    const char *path = NULL, *folder = NULL;
    const struct cli_option options[] = {
        {"--output", "-o", CLI_TEXT, &folder, "DIR", "folder for the files; made if it is not there"},
        {0},
    };
    int status =
        cli_parse(cli, "MODEL -o DIR",
                  "Writes a model for other programs: every array as .npy, the trees of gbdt, forest and tree\n"
                  "also as forest.json, which XGBoost loads; a cluster file as .npy arrays.",
                  "reel export gbdt.reel -o gbdt-files", options, argc, argv, &path, 1, 1);
    if (status >= 0) return status;
    if (!folder) return cli_usage(cli, "-o DIR is missing");
    status = cli_context(cli);
    if (status >= 0) return status;
    reel_error err;
    char *text = NULL;
    if (reel_file_info(cli->ctx, path, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *info = cli_load_json(text);
    if (!info) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    const struct exporter *exporter = exporter_of(json_string_value(json_object_get(info, "kind")));
    json_decref(info);
    if (exporter->run(cli->ctx, path, folder, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *report = cli_load_json(text);
    return report ? answer(cli, path, folder, report) : cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
}
