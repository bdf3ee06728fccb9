/* reel info: what a dataset or model file says of itself. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static void print_metadata(const json_t *metadata) {
    const char *key;
    json_t *value;
    puts("\nmetadata");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        printf("  %-32s %s\n", key, json_string_value(value));
}

/* "[3, 5]" */
static const char *shape_text(const json_t *shape, char *text, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(shape); i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" JSON_INTEGER_FORMAT, i ? ", " : "[",
                               json_integer_value(json_array_get(shape, i)));
    snprintf(text + at, size - at, at ? "]" : "[]");
    return text;
}

static void print_tensors(const json_t *tensors) {
    size_t index;
    json_t *tensor;
    printf("\n%-34s %-6s %-22s %16s\n", "tensor", "dtype", "shape", "bytes");
    json_array_foreach(tensors, index, tensor) {
        char shape[128]; /* 4 dimensions of at most 19 digits */
        printf("  %-32s %-6s %-22s %16s\n", json_string_value(json_object_get(tensor, "name")),
               json_string_value(json_object_get(tensor, "dtype")),
               shape_text(json_object_get(tensor, "shape"), shape, sizeof shape),
               cli_thousands(json_integer_value(json_object_get(tensor, "bytes"))));
    }
}

/* *facts = what the model in the file tells of itself, NULL for other files. Returns -1 to go on, else an exit status.
 */
static int load_facts(const struct cli *cli, const char *path, const json_t *info, json_t **facts) {
    reel_error err;
    reel_model *model = NULL;
    const char *kind = json_string_value(json_object_get(info, "kind"));
    *facts = NULL;
    if (!kind || strcmp(kind, "model") != 0 || !json_object_get(json_object_get(info, "metadata"), "algorithm"))
        return -1;
    reel_status status = reel_model_open(cli->ctx, path, &model, &err);
    if (status != REEL_OK) return status == REEL_NO_MEMORY ? cli_fail(cli, &err) : -1;
    *facts = cli_load_json(reel_model_facts(model));
    reel_model_free(model);
    return *facts ? -1 : cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
}

static void print_importances(const json_t *facts) {
    size_t index;
    json_t *entry;
    const json_t *list = json_object_get(facts, "importances");
    if (json_array_size(list) == 0) return;
    puts("\nfeature importances");
    json_array_foreach(list, index, entry) {
        double share = json_real_value(json_object_get(entry, "share"));
        if (share > 0) printf("  %-32s %.4f\n", json_string_value(json_object_get(entry, "feature")), share);
    }
}

int cmd_info(struct cli *cli, int argc, char **argv) {
    static const struct cli_option options[] = {{0}};
    const char *path = NULL;
    int exit_status = cli_parse(cli, "FILE", "Describes a dataset or model file.", "reel info ml-latest-small.reel",
                                options, argc, argv, &path, 1, 1);
    if (exit_status >= 0) return exit_status;
    exit_status = cli_context(cli);
    if (exit_status >= 0) return exit_status;
    reel_error err;
    char *text = NULL;
    if (reel_file_info(cli->ctx, path, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *info = cli_load_json(text);
    if (!info) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    json_t *facts;
    exit_status = load_facts(cli, path, info, &facts);
    if (exit_status >= 0) {
        json_decref(info);
        return exit_status;
    }
    if (facts && json_object_update(info, facts) != 0) json_decref(info), info = NULL;
    if (cli->json) {
        json_decref(facts);
        return cli_print_json(cli, info);
    }
    const json_t *tensors = json_object_get(info, "tensors");
    printf("%s: %s, %zu tensors, %s bytes\n", path, json_string_value(json_object_get(info, "kind")),
           json_array_size(tensors), cli_thousands(json_integer_value(json_object_get(info, "tensor_bytes"))));
    print_metadata(json_object_get(info, "metadata"));
    print_importances(facts);
    print_tensors(tensors);
    json_decref(facts);
    json_decref(info);
    return CLI_OK;
}
